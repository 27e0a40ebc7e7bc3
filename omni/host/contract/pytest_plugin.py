"""The pytest plugin of the contract kit: its marker, its options, its fixtures."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker that the kit's tests carry."""
    config.addinivalue_line("markers", "contract: a rule every plugin has to keep (omni.host.contract)")
