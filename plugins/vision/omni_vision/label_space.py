"""Images and questions in the space of labels: no image-text model is needed, and it finds more than one text vector.

An image is what the labeller and the detector believe it shows, square-rooted so that the first label does not drown
the others; a question is how near it lies to the name of each label, sharpened by a softmax. Averaging the label
embeddings into one vector (see `conse`) loses what a photo shows beside its main thing; this keeps it.
The temperature and the weights are those that found most of 255 captioned photos; another 255 were kept to report.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Embedder
from omni_vision import labels, objects

TEMPERATURE = 0.06
OBJECTS = 0.5  #: weight of the objects beside the labels
SEEN = 0.05  #: objects below this score don't take part


class LabelSpace:
    """`Embedder`, space "labels": [1000 labels | 80 objects]. `perceive` gives an image's `Percept`."""

    space = "labels"

    def __init__(self, host: Any, perceive: Callable[[bytes], Any], text: str = "minilm-l6") -> None:
        self._host = host
        self._perceive = perceive
        self._text = text
        self._names: np.ndarray | None = None
        self._lock = asyncio.Lock()
        self.dimension = len(labels.names()) + len(objects.names())

    async def open(self) -> None:
        """Nothing: the names are embedded when the first question comes."""

    async def close(self) -> None:
        """Idempotent."""
        self._names = None

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, 1080], rows of length 1."""
        embedder = self._host.get(Embedder, space="text", model=self._text)
        async with self._lock:
            if self._names is None:
                names = [*labels.names(), *objects.names()]
                self._names = await embedder.embed_text([f"a photo of a {name}" for name in names])
        return nearest(await embedder.embed_text(texts, query=query), self._names)

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, 1080], rows of length 1. Raises `BadInput` when one is no image."""
        rows = np.zeros((len(images), self.dimension), np.float32)
        for row, image in zip(rows, images, strict=True):
            percept = await self._perceive(image)
            row[:] = believed(percept.labels, percept.presence)
        return rows


def nearest(questions: np.ndarray, names: np.ndarray) -> NDArray[np.float32]:
    """[n, labels] from text vectors [n, d] and those of the labels' names [labels, d]."""
    closeness = questions @ names.T / TEMPERATURE
    return _unit(np.exp(closeness - closeness.max(axis=1, keepdims=True)) if len(closeness) else closeness)


def believed(chances: np.ndarray, presence: np.ndarray) -> NDArray[np.float32]:
    """[labels] from label probabilities [1000] and object scores [80]."""
    things = OBJECTS * np.where(presence >= SEEN, presence, 0.0)
    return _unit(np.concatenate([np.sqrt(np.maximum(chances, 0.0)), things])[None])[0]


def _unit(rows: np.ndarray) -> NDArray[np.float32]:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
