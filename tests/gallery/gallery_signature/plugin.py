"""Its `embed_text` knows no `query`, so whoever passes one gets a `TypeError`."""

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

    async def embed_text(self, texts):
        return np.array([[1.0, 0.0]] * len(texts), np.float32).reshape(-1, 2)

    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")


class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors, deadline_s=2.0)]


plugin = Plugin()
