"""The networks that look at a picture without being asked anything: objects beside faces and labels, a thread each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from omni.capabilities import Region
from omni.worker import Worker
from omni_vision import colours
from omni_vision.faces import FaceDetector
from omni_vision.images import Picture
from omni_vision.labels import Labeller, likeliest, views
from omni_vision.objects import ObjectDetector
from omni_vision.perception import Spread
from omni_vision.questions import UNKNOWN

Shade = tuple[str, float]  #: a colour's name and its share


@dataclass(frozen=True, slots=True)
class Looked:
    """All that was found."""

    regions: tuple[Region, ...]
    presence: np.ndarray  #: [80]
    labels: np.ndarray  #: [1000]
    colours: tuple[Shade, ...]
    box_colours: dict[int, tuple[Shade, ...]]
    spread: Spread | None


class Detectors:
    """Loaded from the folders of the two models; without the second, objects and faces are not seen."""

    def __init__(self, labels: Path, everyday: Path | None, cache: Path) -> None:
        self._labeller = Labeller(labels, cache)
        self._objects = ObjectDetector(everyday, cache) if everyday else None
        self._faces = FaceDetector(everyday, cache) if everyday else None
        self._workers = Worker("objects"), Worker("labels")

    def close(self) -> None:
        """Idempotent."""
        for worker in self._workers:
            worker.close()

    async def look(self, picture: Picture, *, closely: bool, spread: bool) -> Looked:
        """`closely` looks for small faces, too; `spread` is for search."""
        (things, presence, box_colours, boxed), (faces, labels, overall, seen) = await asyncio.gather(
            self._workers[0].run(self._things, picture, spread),
            self._workers[1].run(self._rest, picture, closely, spread),
        )
        if seen is not None:
            seen = Spread(*seen[:3], np.maximum(seen[3], boxed))
        regions = (*things, *faces, *likeliest(labels, picture.width, picture.height))
        return Looked(regions, presence, labels, overall, box_colours, seen)

    def _things(
        self, picture: Picture, spread: bool
    ) -> tuple[list[Region], np.ndarray, dict[int, tuple[Shade, ...]], np.ndarray]:
        """Objects with boxes, how likely each kind of object is, the colours in each box, and over all boxes."""
        palette = np.zeros(len(colours.NAMES), np.float32)
        if self._objects is None:
            return [], np.full(80, UNKNOWN, np.float32), {}, palette
        found, presence = self._objects.detect_with_presence(picture.pixels)
        shades = {}
        for i, one in enumerate(found):
            shares = colours.shares(colours.middle(picture.pixels, one.box))
            shades[i] = tuple(colours.named(shares))
            if spread:
                palette = np.maximum(palette, shares * min(1.0, one.confidence / 0.3))
        return found, presence, shades, palette

    def _rest(
        self, picture: Picture, closely: bool, spread: bool
    ) -> tuple[list[Region], np.ndarray, tuple[Shade, ...], tuple[np.ndarray, ...] | None]:
        """Faces, label probabilities, colours, and what a `Spread` is made of."""
        chances, features = self._labeller.predict(views(picture.pixels) if spread else views(picture.pixels)[:1])
        shares = colours.shares(picture.pixels)
        faces = self._faces.detect(picture.pixels, closely=closely) if self._faces else []
        if not spread:
            return faces, chances[0], tuple(colours.named(shares)), None
        logits = np.log(np.maximum(chances, 1e-30))  # a softmax keeps them but for a constant
        logits = (logits - logits.mean(axis=1, keepdims=True)).mean(axis=0)
        means = chances.mean(axis=0), logits, features.mean(axis=0), shares
        return faces, chances[0], tuple(colours.named(shares)), means
