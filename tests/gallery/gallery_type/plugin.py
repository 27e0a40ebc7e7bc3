"""Answers with a dictionary where an array is due."""

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        return {"vectors": [1.0, 0.0]}


plugin = Plugin(Vectors)
