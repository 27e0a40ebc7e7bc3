"""Images in the *text* space, from what the labeller and the detector say: no image-text model is needed.

A convex combination of the label embeddings, weighted by the likeliest labels' probabilities (Norouzi et al.,
"Zero-Shot Learning by Convex Combination of Semantic Embeddings", 2013), joined by what the object detector
saw, so that photos, documents and transcripts are searched with one query.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Embedder
from omni_vision import labels, objects

TOP = 50  #: labels that take part
OBJECTS = 0.5  #: weight of the objects' embedding beside the labels': the best of 0, 0.5, 1 and 2 on captioned photos
SEEN = 0.2  #: objects below this score don't take part


class TextSpaceImages:
    """`Embedder`, space "text", images too. `text` is the plugin or model whose vectors it shares."""

    space = "text"
    dimension = 384

    def __init__(self, host: Any, perceive: Callable[[bytes], Any], text: str = "minilm-l6") -> None:
        self._host = host
        self._perceive = perceive
        self._text = text
        self._labels: np.ndarray | None = None
        self._objects: np.ndarray | None = None
        self._lock = asyncio.Lock()

    async def open(self) -> None:
        """Embed the names of all labels and objects, once (a second or two)."""
        async with self._lock:
            if self._labels is None:
                texts = self._host.get(Embedder, space="text", model=self._text)
                self._objects = await texts.embed_text([f"a photo of a {name}" for name in objects.names()])
                self._labels = await texts.embed_text([f"a photo of a {name}" for name in labels.names()])

    async def close(self) -> None:
        """Idempotent."""
        self._labels = self._objects = None

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, 384], by the text model itself."""
        return await self._host.get(Embedder, space="text", model=self._text).embed_text(texts, query=query)

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, 384], rows of length 1. The text *in* an image is not part of it: search that as text."""
        await self.open()
        assert self._labels is not None
        assert self._objects is not None
        rows = []
        for image in images:
            percept = await self._perceive(image)
            rows.append(combine(percept.labels, percept.presence, self._labels, self._objects))
        return np.stack(rows) if rows else np.zeros((0, self.dimension), np.float32)


def combine(
    chances: np.ndarray, presence: np.ndarray, label_vectors: np.ndarray, object_vectors: np.ndarray
) -> NDArray[np.float32]:
    """[dimension] unit vector from label probabilities [1000] and object scores [80]."""
    best = np.argsort(-chances)[:TOP]
    vector = _unit(chances[best] @ label_vectors[best])
    seen = np.where(presence >= SEEN, presence, 0.0)
    if seen.any():
        vector = vector + OBJECTS * _unit(seen @ object_vectors)
    return _unit(vector).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
