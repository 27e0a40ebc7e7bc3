"""Raises what it happens to meet on bad input."""

import numpy as np

from omni.capabilities import Embedder
from omni.errors import BadInput
from omni.host.hookspecs import Offer, hookimpl


class Vectors:
    space, dimension = "gallery", 2

    async def open(self):
        pass

    async def close(self):
        pass

    async def embed_text(self, texts, *, query=False):
        return np.array([[len(texts[0]), 1.0]], np.float32)

    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")


class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors, deadline_s=2.0)]


plugin = Plugin()
