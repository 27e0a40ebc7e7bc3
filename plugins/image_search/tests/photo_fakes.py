"""Painted pictures and eyes that know colours: indexing and search without a model."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omni.capabilities import Embedder, Region, Scene, VisionModel
from omni.errors import BadInput
from omni.testing import BagOfWords, FakeHost

COLOURS = {
    "red": (220, 20, 20), "green": (20, 200, 40), "blue": (20, 40, 220), "yellow": (240, 230, 20), "black": (5, 5, 5),
    "white": (250, 250, 250), "grey": (128, 128, 128), "pink": (250, 130, 190), "orange": (250, 140, 10),
    "brown": (110, 60, 20), "cyan": (10, 220, 230), "purple": (130, 20, 160),
}  # fmt: skip


def paint(path: Path, colour: str, number: int = 0, size: tuple[int, int] = (48, 36), **options: Any) -> Path:
    """A picture of one colour with a small pattern of its own, so that no two files are equal."""
    pixels = np.empty((size[1], size[0], 3), np.uint8)
    pixels[:] = COLOURS[colour]
    chance = np.random.default_rng(number)
    pixels[:9, :9] = chance.integers(0, 255, (9, 9, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def album(folder: Path, count: int = 24) -> Path:
    """Photos of all colours in two folders, `red/0.png`, `red/12.png` and so on."""
    names = list(COLOURS)
    for number in range(count):
        colour = names[number % len(names)]
        paint(folder / ("a" if number % 2 else "b") / f"{number}.png", colour, number)
    return folder


def colour_of(encoded: bytes) -> str:
    """The nearest of the known colours."""
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            middle = np.asarray(image.convert("RGB"), float)[-8:, -8:].mean(axis=(0, 1))
    except OSError as error:
        raise BadInput("That is no image.") from error
    return min(COLOURS, key=lambda name: float(np.abs(middle - COLOURS[name]).sum()))


class ColourEmbedder(BagOfWords):
    """Images are embedded as the word of their colour."""

    images = True
    looked = 0

    async def embed_images(self, images: Sequence[bytes]) -> np.ndarray:
        """[n, dimension]."""
        self.looked += len(images)
        return await self.embed_text([f"{colour_of(image)} thing" for image in images])


class ColourVision:
    """Sees one object: its colour's name and "paper"."""

    engine = "composed"

    async def look(self, image: bytes, *, detail: str = "full") -> Scene:
        """One object and one label."""
        box = (0.0, 0.0, 1.0, 1.0)
        regions = (Region("object", "paper", box, 0.9), Region("label", colour_of(image), box, 0.9))
        return Scene(1, 1, regions, "", "", 0.0)


def host(*more: tuple[type, Any]) -> FakeHost:
    """Eyes for colours; `more` are other capabilities."""
    return FakeHost((Embedder, ColourEmbedder()), (VisionModel, ColourVision()), *more)
