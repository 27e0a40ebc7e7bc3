"""Ends the process it runs in."""

import os
import signal

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
        os.kill(os.getpid(), signal.SIGKILL)

    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")


class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors, deadline_s=2.0)]


plugin = Plugin()
