"""Goes on for a second after it was cancelled."""

import asyncio

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        try:
            await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            await asyncio.sleep(1)
        return await super().embed_text(texts)


plugin = Plugin(Vectors)
