"""Raises what it happens to meet on bad input."""

import numpy as np
from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        return np.array([[len(texts[0]), 1.0]], np.float32)


plugin = Plugin(Vectors)
