"""Its `embed_text` knows no `query`, so whoever passes one gets a `TypeError`."""

import numpy as np
from unbroken import Plugin
from unbroken import Vectors as Unbroken


class Vectors(Unbroken):
    async def embed_text(self, texts):
        return np.array([[1.0, 0.0]] * len(texts), np.float32).reshape(-1, 2)


plugin = Plugin(Vectors)
