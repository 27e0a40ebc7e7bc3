"""Raises while it is imported."""

from unbroken import Plugin

raise RuntimeError("broken on purpose")

plugin = Plugin()
