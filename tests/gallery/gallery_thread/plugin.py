"""Starts a thread at each opening and never ends it."""

import threading

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def open(self):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


plugin = Plugin(Vectors)
