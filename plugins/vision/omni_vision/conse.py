"""Images in the *text* space, from what the labeller and the detector say: no image-text model is needed.

After the convex combination of label embeddings (Norouzi et al., "Zero-Shot Learning by Convex Combination of Semantic
Embeddings", 2013), with three changes that found more of 255 captioned photos: all labels take part, weighed by the
square of their logit above the picture's mean (a softmax keeps little but the first label); what all labels have in
common is taken out of their vectors; and the labels are those of several views of the picture, not of its middle alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from omni_vision.perception import Percept, Spread
from omni_vision.vocabulary import Vocabulary

OBJECTS = 0.3  #: weight of the objects' embedding beside the labels'
SEEN = 0.2  #: objects below this score don't take part


class TextSpaceImages:
    """`Embedder`, space "text", images too. It shares the vectors of the vocabulary's text model."""

    space = "text"
    dimension = 384

    def __init__(self, vocabulary: Vocabulary, spread: Callable[[bytes], Awaitable[tuple[Percept, Spread]]]) -> None:
        self._vocabulary = vocabulary
        self._spread = spread

    async def open(self) -> None:
        """Have the vectors of all labels and objects (some seconds, the first time)."""
        await self._vocabulary.vectors()

    async def close(self) -> None:
        """Idempotent."""
        self._vocabulary.forget()

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, 384], by the text model itself."""
        return await self._vocabulary.embedder.embed_text(texts, query=query)

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, 384], rows of length 1. The text *in* an image is not part of it: search that as text."""
        labels, things = await self._vocabulary.vectors()
        labels, things = labels - labels.mean(axis=0), things - things.mean(axis=0)
        rows = np.zeros((len(images), self.dimension), np.float32)
        for row, image in zip(rows, images, strict=True):
            percept, spread = await self._spread(image)
            row[:] = combine(spread.logits, percept.presence, labels, things)
        return rows


def combine(logits: np.ndarray, presence: np.ndarray, labels: np.ndarray, things: np.ndarray) -> NDArray[np.float32]:
    """[d] unit vector from logits [1000] above their mean, object scores [80], and centred vectors of both."""
    vector = _unit(np.maximum(logits, 0.0) ** 2 @ labels)
    seen = np.where(presence >= SEEN, presence, 0.0)
    if seen.any():
        vector = vector + OBJECTS * _unit(seen @ things)
    return _unit(vector).astype(np.float32)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
