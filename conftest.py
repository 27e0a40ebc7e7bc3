"""What all tests of the repository share."""

from __future__ import annotations

import pytest

#: Tests that live in real time (a browser, models that listen and speak, processes that are killed) meet the machine's
#: other work. Each gets a second try, and the report names those that needed it.
REAL_TIME = {"browser", "real", "slow"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of real time their second try."""
    for item in items:
        if REAL_TIME & {mark.name for mark in item.iter_markers()}:
            item.add_marker(pytest.mark.flaky(reruns=1, reruns_delay=1))
