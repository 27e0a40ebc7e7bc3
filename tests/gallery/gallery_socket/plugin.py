"""Connects to another machine though its manifest does not ask for the network."""

import contextlib
import socket

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
        with contextlib.suppress(TimeoutError):  # nobody answers there (RFC 5737), but it is tried
            socket.create_connection(("192.0.2.1", 9), timeout=0.2).close()
        return np.array([[len(text), 1.0] for text in texts], np.float32).reshape(-1, 2)

    async def embed_images(self, images):
        raise BadInput("This space has no images.", "Give it text.")


class Plugin:
    @hookimpl
    def omni_capabilities(self):
        return [Offer(Embedder, "vectors", Vectors, deadline_s=2.0)]


plugin = Plugin()
