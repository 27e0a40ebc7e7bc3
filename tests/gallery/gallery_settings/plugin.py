"""The default of its setting is none of the choices."""

from unbroken import Plugin

plugin = Plugin()
