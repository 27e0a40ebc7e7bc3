"""Starts a thread while it is imported."""

import threading

from unbroken import Plugin

threading.Thread(target=threading.Event().wait, daemon=True).start()

plugin = Plugin()
