"""Keeps the question in itself, so that overlapping calls get each other's answers."""

import asyncio

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    question = ()

    async def embed_text(self, texts, *, query=False):
        self.question = texts
        await asyncio.sleep(0.001)
        return await super().embed_text(self.question)


plugin = Plugin(Vectors)
