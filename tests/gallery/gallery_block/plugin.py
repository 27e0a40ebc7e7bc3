"""Sleeps on the event loop in each call."""

import time

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        time.sleep(0.2)  # noqa: ASYNC251 - that is what is broken
        return await super().embed_text(texts)


plugin = Plugin(Vectors)
