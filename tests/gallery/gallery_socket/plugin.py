"""Connects to another machine though its manifest does not ask for the network."""

import contextlib
import socket

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts, *, query=False):
        with contextlib.suppress(TimeoutError):  # nobody answers there (RFC 5737), but it is tried
            socket.create_connection(("192.0.2.1", 9), timeout=0.2).close()
        return await super().embed_text(texts)


plugin = Plugin(Vectors)
