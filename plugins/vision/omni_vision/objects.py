"""The eighty everyday things of COCO, with boxes: a CenterNet of four megabytes.

A heat map for each class on a grid of 128 x 128 says where centres of things are; a second map gives, at each
centre, the distances to the left, top, right and bottom of its box. No overlapping boxes have to be suppressed:
a centre counts when it is the highest of its 3 x 3 neighbours (Zhou et al., "Objects as Points", 2019; the
distances are those of Liu et al., "Training-Time-Friendly Network", 2019).
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Region
from omni_vision.runtime import session_of
from omni_vision.tfjs import convert

SIZE, GRID, STRIDE = 512, 128, 4
SCORE = 0.17  #: below this a thing is not boxed
SURE = 0.3  #: from here on it is told unasked, and counted
MOST = 40
_OUTPUTS = {"tower_0/keypoints": 4, "tower_0/wh": 4}


@cache
def names() -> tuple[str, ...]:
    """The eighty classes, in the model's order."""
    return tuple((Path(__file__).parent / "data" / "coco.txt").read_text().split("\n")[:80])


class ObjectDetector:
    """Finds things."""

    def __init__(self, model: Path, cache_dir: Path) -> None:
        given = (model / "centernet.json", model / "centernet.bin", _OUTPUTS)
        self._session: Any = session_of(cache_dir / "centernet.onnx", partial(convert, *given))

    def detect(self, pixels: np.ndarray, score: float = SCORE) -> list[Region]:
        """Things in an RGB image [height, width, 3], most certain first; `kind` is "object"."""
        return self.detect_with_presence(pixels, score)[0]

    def detect_with_presence(self, pixels: np.ndarray, score: float = SCORE) -> tuple[list[Region], np.ndarray]:
        """The same, and [80]: the highest score of each class anywhere in the image."""
        heat, distances = self.maps(pixels)
        height, width = pixels.shape[:2]
        found = []
        for row, column, kind in _peaks(heat, score)[:MOST]:
            left, top, right, bottom = distances[row, column]
            x, y = column * STRIDE, row * STRIDE
            box = (
                float(np.clip((x - left) * width / SIZE, 0, width)),
                float(np.clip((y - top) * height / SIZE, 0, height)),
                float(np.clip((x + right) * width / SIZE, 0, width)),
                float(np.clip((y + bottom) * height / SIZE, 0, height)),
            )
            found.append(Region("object", names()[kind], box, float(heat[row, column, kind])))
        return found, heat.reshape(-1, len(names())).max(axis=0)

    def maps(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Heat [128, 128, 80] in 0..1, distances [128, 128, 4] in pixels of the 512 x 512 input."""
        import cv2

        resized = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
        heat, distances = self._session.run(
            None, {self._session.get_inputs()[0].name: resized[None].astype(np.float32)}
        )
        return heat[0], distances[0]


def _peaks(heat: np.ndarray, score: float) -> list[tuple[int, int, int]]:
    """(row, column, class) where the heat is the highest of its neighbours and at least `score`, highest first."""
    rows, columns, kinds = np.nonzero(heat >= score)
    values = heat[rows, columns, kinds]
    highest = values
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            beside = heat[np.clip(rows + down, 0, GRID - 1), np.clip(columns + right, 0, GRID - 1), kinds]
            highest = np.maximum(highest, beside)
    kept = values == highest
    rows, columns, kinds = rows[kept], columns[kept], kinds[kept]
    order = np.argsort(-values[kept])
    return [(int(rows[i]), int(columns[i]), int(kinds[i])) for i in order]
