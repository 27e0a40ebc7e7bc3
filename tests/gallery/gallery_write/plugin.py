"""Writes into a folder that is not its own."""

from pathlib import Path

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        Path("/var/tmp/omni-gallery-was-here").write_text("outside")  # noqa: ASYNC240
        return await super().embed_text(texts)


plugin = Plugin(Vectors)
