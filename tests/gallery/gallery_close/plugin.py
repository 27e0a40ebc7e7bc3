"""Can be closed once only."""

from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    is_open = False

    async def open(self):
        self.is_open = True

    async def close(self):
        if not self.is_open:
            raise RuntimeError("closed already")
        self.is_open = False


plugin = Plugin(Vectors)
