"""Images and questions in the space of labels and colours, beside the text space: what is named in both counts.

An image is what the labeller and the detector believe it shows, square-rooted so that the first label does not drown
the others, and its colours; a question is how near it lies to the name of each label, sharpened by a softmax, and the
colours it names. One vector of meaning (see `conse`) loses what a photo shows beside its main thing; this keeps it.
The temperature and the weights are those that found most of 255 captioned photos; another 255 were kept to report.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from omni_vision import labels, objects
from omni_vision.colours import NAMES
from omni_vision.perception import Percept, Spread
from omni_vision.vocabulary import Vocabulary

TEMPERATURE = 0.06
OBJECTS = 0.5  #: weight of the objects beside the labels
SEEN = 0.05  #: objects below this score don't take part
COLOURS = 0.3  #: weight of a picture's colours; a question's have 1
_CALLED = {"gray": "grey", "blond": "yellow", "blonde": "yellow", "golden": "yellow", "tan": "brown",
           "beige": "brown", "turquoise": "cyan", "violet": "purple"}  # fmt: skip


class LabelSpace:
    """`Embedder`, space "labels": [1000 labels | 80 objects | 12 colours]."""

    space = "labels"

    def __init__(self, vocabulary: Vocabulary, spread: Callable[[bytes], Awaitable[tuple[Percept, Spread]]]) -> None:
        self._vocabulary = vocabulary
        self._spread = spread
        self.dimension = len(labels.names()) + len(objects.names()) + len(NAMES)

    async def open(self) -> None:
        """Nothing: the names are embedded when the first question comes."""

    async def close(self) -> None:
        """Idempotent."""
        self._vocabulary.forget()

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, 1092], rows of length 1. Colours count in a `query` alone: what a thing *is* has none."""
        names = np.concatenate(await self._vocabulary.vectors())
        asked = nearest(await self._vocabulary.embedder.embed_text(texts, query=query), names)
        called = np.zeros((len(texts), len(NAMES)), np.float32)
        for row, text in zip(called, texts if query else (), strict=False):
            row[:] = coloured(text)
        return _unit(np.hstack([asked, called]))

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, 1092], rows of length 1. Raises `BadInput` when one is no image."""
        rows = np.zeros((len(images), self.dimension), np.float32)
        for row, image in zip(rows, images, strict=True):
            percept, spread = await self._spread(image)
            row[:] = believed(spread.chances, percept.presence, spread.palette)
        return rows


def nearest(questions: np.ndarray, names: np.ndarray) -> NDArray[np.float32]:
    """[n, labels] from text vectors [n, d] and those of the labels' names [labels, d]."""
    closeness = questions @ names.T / TEMPERATURE
    return _unit(np.exp(closeness - closeness.max(axis=1, keepdims=True)) if len(closeness) else closeness)


def coloured(text: str) -> NDArray[np.float32]:
    """[12] the colours that are named, together of weight 1."""
    row = np.zeros(len(NAMES), np.float32)
    for word in re.findall(r"[a-z]+", text.lower()):
        if (name := _CALLED.get(word, word)) in NAMES:
            row[NAMES.index(name)] = 1.0
    return row / max(float(row.sum()), 1.0)


def believed(chances: np.ndarray, presence: np.ndarray, palette: np.ndarray) -> NDArray[np.float32]:
    """[labels | objects | colours] from label probabilities [1000], object scores [80] and shares of colours [12]."""
    things = OBJECTS * np.where(presence >= SEEN, presence, 0.0)
    shown = _unit(np.concatenate([np.sqrt(np.maximum(chances, 0.0)), things])[None])[0]
    return _unit(np.concatenate([shown, COLOURS * np.sqrt(np.maximum(palette, 0.0))])[None])[0]


def _unit(rows: np.ndarray) -> NDArray[np.float32]:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)).astype(np.float32)
