"""What the labeller sees before it decides on labels, as a vector: like pictures have like vectors.

For "more like this", for telling near-duplicates from chance, and for fitting a person's own words to pictures.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from omni.errors import CapabilityUnavailable
from omni_vision.perception import Percept, Spread


class PooledFeatures:
    """`Embedder`, space "image-features"."""

    space = "image-features"
    dimension = 1280

    def __init__(self, spread: Callable[[bytes], Awaitable[tuple[Percept, Spread]]]) -> None:
        self._spread = spread

    async def open(self) -> None:
        """Nothing: what computes them opens itself."""

    async def close(self) -> None:
        """Idempotent."""

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """Raises `CapabilityUnavailable`: this space has pictures only."""
        raise CapabilityUnavailable("The space of image features holds no text.", "Ask for the space 'image-text'.")

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, 1280], rows of length 1. Raises `BadInput` when one is no image."""
        rows = np.zeros((len(images), self.dimension), np.float32)
        for row, image in zip(rows, images, strict=True):
            row[:] = (await self._spread(image))[1].features
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
