"""The contract kit: what every plugin has to keep, as tests that any plugin package runs in one line.

    from omni.host.contract import contract_tests
    globals().update(contract_tests("omni_speech"))

That makes one test of each rule; those that need models on this machine carry the marker `real`.
Without pytest: `await check(path)`, or `python -m omni.host.contract PATH`.
"""

from __future__ import annotations

from omni.host.contract.kit import Outcome, check, check_apart, contract_tests
from omni.host.contract.verdicts import Broken, NotApplicable

__all__ = ["Broken", "NotApplicable", "Outcome", "check", "check_apart", "contract_tests"]
