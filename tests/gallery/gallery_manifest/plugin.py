"""Its manifest names no licence."""

from unbroken import Plugin

plugin = Plugin()
