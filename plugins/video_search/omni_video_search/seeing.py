"""What is seen on key frames, by asking the host: a vector, words, and the writing on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Embedder, TextReader, VisionModel
from omni.errors import CapabilityUnavailable, ModelError
from omni_video_search.screen_text import as_text

#: Spaces in which pictures and words meet, the better one first.
SPACES = ("image-text", "text")
_SURE = {"object": 0.3, "label": 0.12}
_PLURALS = {"person": "people", "bus": "buses", "bench": "benches", "couch": "couches", "sheep": "sheep",
            "knife": "knives", "wine glass": "wine glasses", "skis": "skis", "scissors": "scissors"}  # fmt: skip


@dataclass(slots=True)
class Seen:
    """`vector` lives in `space`; `labels` are words for what is there."""

    labels: str = ""
    space: str = ""
    vector: NDArray[np.float32] | None = None


class Eyes:
    """Looks at key frames. A capability that is missing is noted once in `missing` and not asked for again."""

    def __init__(self, host: Any) -> None:
        self._host = host
        self.missing: dict[str, str] = {}

    async def see(self, jpeg: bytes) -> Seen:
        """One key frame. Raises nothing for a missing capability: then there is less in the answer."""
        seen = Seen()
        for space in SPACES:
            if f"pictures in the space {space}" in self.missing:
                continue
            try:
                vectors = await self._host.get(Embedder, space=space, images=True).embed_images([jpeg])
            except (CapabilityUnavailable, ModelError) as error:
                self.missing[f"pictures in the space {space}"] = str(error)
                continue
            if np.isfinite(vectors).all():
                seen.space, seen.vector = space, np.asarray(vectors[0], np.float32)
                break
        if "image understanding" not in self.missing:
            try:
                scene = await self._host.get(VisionModel, engine="composed").look(jpeg, detail="fast")
                seen.labels = _in_words(scene.regions)
            except (CapabilityUnavailable, ModelError) as error:
                self.missing["image understanding"] = str(error)
        return seen

    async def read(self, jpeg: bytes) -> str:
        """The writing on it, "" where there is none or nobody can read."""
        if "text recognition" in self.missing:
            return ""
        try:
            return as_text(await self._host.get(TextReader).read(jpeg))
        except (CapabilityUnavailable, ModelError) as error:
            self.missing["text recognition"] = str(error)
            return ""

    async def embed(
        self, texts: Sequence[str], space: str = "text", *, query: bool = False
    ) -> NDArray[np.float32] | None:
        """[n, dimension] unit vectors, or None where nobody embeds."""
        features = {"space": space} if space == "text" else {"space": space, "images": True}
        if not texts or f"text in the space {space}" in self.missing:
            return None
        try:
            return np.asarray(
                await self._host.get(Embedder, **features).embed_text(list(texts), query=query), np.float32
            )
        except (CapabilityUnavailable, ModelError) as error:
            self.missing[f"text in the space {space}"] = str(error)
            return None


def _in_words(regions: Sequence[Any]) -> str:
    counted = Counter(r.text for r in regions if r.kind == "object" and r.confidence >= _SURE["object"])
    things = [name if number == 1 else f"{number} {_PLURALS.get(name, f'{name}s')}" for name, number in counted.items()]
    labels = [r.text for r in regions if r.kind == "label" and r.confidence >= _SURE["label"]]
    return ", ".join(dict.fromkeys([*things, *labels]))
