"""What a rule raises."""

from __future__ import annotations


class Broken(AssertionError):
    """A rule of the contract does not hold. The message says which plugin, what it did, and what it should do."""


class NotApplicable(Exception):
    """The rule does not concern this plugin, or can't be tried on this machine; the message says why."""
