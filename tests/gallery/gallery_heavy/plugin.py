"""Imports a heavy library at the top of its module."""

import sys
import types

import numpy as np

from omni.capabilities import Embedder
from omni.errors import BadInput
from omni.host.hookspecs import Offer, hookimpl

# Stands for `import mediapipe`: a heavy library that none of the others looks for when it starts.
sys.modules.setdefault("mediapipe", types.ModuleType("mediapipe"))


class Vectors:
    space, dimension = "gallery", 2

    async def open(self):
        pass

    async def close(self):
        pass

    async def embed_text(self, texts, *, query=False):
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)

    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")


class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors, deadline_s=2.0)]


plugin = Plugin()
