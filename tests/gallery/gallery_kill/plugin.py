"""Ends the process it runs in."""

import os
import signal

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        os.kill(os.getpid(), signal.SIGKILL)


plugin = Plugin(Vectors)
