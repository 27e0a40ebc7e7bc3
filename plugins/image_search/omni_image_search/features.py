"""What is seen in a photo, by asking the host: vectors of every space there is, and words.

Each capability may be missing: without the image-text model there is the text space, without an embedder
there are words, and without any of them file names and captions are still found.
"""

from __future__ import annotations

import asyncio
import io
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omni.capabilities import Embedder, Region, TextReader, VisionModel
from omni.errors import BadInput, CapabilityUnavailable, ModelError, OmniError

#: Spaces a photo has vectors in, and the features they are asked for with.
SPACES: dict[str, dict[str, Any]] = {
    "image-text": {"space": "image-text", "images": True},
    "labels": {"space": "labels", "images": True},
    "text": {"space": "text", "images": True},
    "image-features": {"space": "image-features", "images": True},
}
#: What a question in words is compared in, and the weights; the image-text model alone where the index has its vectors.
BY_TEXT: tuple[dict[str, float], ...] = ({"image-text": 1.0}, {"text": 1.0, "labels": 0.4})
PAUSES = (0.5, 2.0)  #: seconds before a look is tried again
_SURE = {"object": 0.3, "label": 0.15, "face": 0.0}


@dataclass(slots=True)
class Seen:
    """`vectors` by space; `words` for full text; `ocr` the text in the picture."""

    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    words: str = ""
    ocr: str = ""


class Eyes:
    """Looks at previews. `spaces` limits what is asked for; `read` adds the text in the pictures (slow)."""

    def __init__(self, host: Any, *, read: bool = False, spaces: tuple[str, ...] = tuple(SPACES)) -> None:
        self._host = host
        self._read = read
        self.spaces = tuple(spaces)
        self._looks = True
        self.lengths: dict[str, int] = {}  #: of the vectors of each space, once prepared
        self.missing: dict[str, str] = {}  #: what could not be used, and why

    async def prepare(self) -> tuple[str, ...]:
        """Find out which spaces there are, by one small picture each; the others are left out of this run."""
        blank = _blank()
        for space in tuple(self.spaces):
            try:
                self.lengths[space] = len(await self._embed(space, blank))
            except OmniError as error:
                self.spaces = tuple(one for one in self.spaces if one != space)
                self.missing[space] = str(error)
        return self.spaces

    async def see(self, preview: bytes) -> Seen:
        """Everything about one picture. Raises `OmniError` when it can't be seen now: it is tried again next time."""
        seen = Seen()
        for space in self.spaces:
            vector = await self._patiently(space, preview)
            if not np.isfinite(vector).all():
                raise BadInput("Its vector is not a number.", "Convert it to JPEG.")
            seen.vectors[space] = np.asarray(vector, np.float32)
        if self._looks:
            await self._look(preview, seen)
        if self._read:
            await self._text(preview, seen)
        return seen

    async def _embed(self, space: str, preview: bytes) -> np.ndarray:
        return (await self._host.get(Embedder, **SPACES[space]).embed_images([preview]))[0]

    async def _patiently(self, space: str, preview: bytes) -> np.ndarray:
        """A plugin that has just failed is given a moment to come back."""
        for pause in PAUSES:
            try:
                return await self._embed(space, preview)
            except BadInput:
                raise
            except OmniError:
                await asyncio.sleep(pause)
        return await self._embed(space, preview)

    async def _look(self, preview: bytes, seen: Seen) -> None:
        try:
            scene = await self._host.get(VisionModel, engine="composed").look(preview, detail="fast")
        except (CapabilityUnavailable, ModelError) as error:
            self._looks = False
            self.missing["words"] = str(error)
        else:
            seen.words = in_words(scene.regions)

    async def _text(self, preview: bytes, seen: Seen) -> None:
        try:
            lines = await self._host.get(TextReader).read(preview)
        except (CapabilityUnavailable, ModelError) as error:
            self._read = False
            self.missing["text"] = str(error)
        else:
            seen.ocr = " ".join(line.text for line in lines)


def in_words(regions: tuple[Region, ...]) -> str:
    """Objects with their number, labels, faces: "2 dogs, beach, golden retriever, 1 face"."""
    counted = Counter(r.text for r in regions if r.kind == "object" and r.confidence >= _SURE["object"])
    faces = sum(r.kind == "face" for r in regions)
    labels = [r.text for r in regions if r.kind == "label" and r.confidence >= _SURE["label"]]
    things = [name if number == 1 else f"{number} {plural(name)}" for name, number in counted.items()]
    return ", ".join(dict.fromkeys([*things, *labels, *([f"{faces} face{'s' * (faces > 1)}"] if faces else [])]))


def plural(name: str) -> str:
    """Of the things a detector knows: "people", "buses", "sheep"."""
    known = {"person": "people", "knife": "knives", "sheep": "sheep", "skis": "skis", "scissors": "scissors",
             "mouse": "mice"}  # fmt: skip
    return known.get(name) or f"{name}{'es' if name.endswith(('s', 'x', 'ch', 'sh')) else 's'}"


def _blank() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(out, "JPEG")
    return out.getvalue()
