"""Its manifest announces a capability that it does not register."""

from unbroken import Plugin

plugin = Plugin()
