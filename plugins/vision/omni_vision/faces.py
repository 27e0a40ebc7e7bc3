"""Faces, with boxes: BlazeFace (Bazarevsky et al., 2019), half a megabyte, ten milliseconds."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Region
from omni_vision.images import tiles
from omni_vision.runtime import session_of
from omni_vision.tfjs import convert

SIZE = 256
SCORE = 0.6
_OUTPUTS = {"Identity": 3, "Identity_1": 3, "Identity_2": 3, "Identity_3": 3}


class FaceDetector:
    """Finds faces."""

    def __init__(self, model: Path, cache_dir: Path) -> None:
        given = (model / "blazeface.json", model / "blazeface.bin", _OUTPUTS)
        self._session: Any = session_of(cache_dir / "blazeface.onnx", partial(convert, *given))
        self._anchors = _anchors()

    def detect(self, pixels: np.ndarray, score: float = SCORE, *, closely: bool = True) -> list[Region]:
        """Faces in an RGB image, most certain first; `kind` is "face". Large images also in quarters, if `closely`."""
        height, width = pixels.shape[:2]
        boxes, scores = self._window(pixels, 0, 0, score)
        side = max(width, height)
        if closely and side >= 2 * SIZE:
            half = int(side * 0.6)
            for left, top, right, bottom in tiles(width, height, half, half // 4):
                more, their = self._window(pixels[top:bottom, left:right], left, top, score)
                boxes, scores = np.concatenate([boxes, more]), np.concatenate([scores, their])
        kept = suppress(boxes, scores, 0.3)
        return [Region("face", "face", _tuple(boxes[i], width, height), float(scores[i])) for i in kept]

    def _window(self, pixels: np.ndarray, left: int, top: int, score: float) -> tuple[np.ndarray, np.ndarray]:
        """Boxes [n, 4] in pixels of the whole image and their scores [n], from one square view."""
        import cv2

        height, width = pixels.shape[:2]
        side = max(width, height)
        square = np.zeros((side, side, 3), np.uint8)
        y, x = (side - height) // 2, (side - width) // 2
        square[y : y + height, x : x + width] = pixels
        view = cv2.resize(square, (SIZE, SIZE), interpolation=cv2.INTER_AREA).astype(np.float32) / 127.5 - 1
        logits16, logits8, boxes16, boxes8 = self._session.run(None, {"input": view[None]})
        logits = np.concatenate([logits16[0, :, 0], logits8[0, :, 0]])
        raw = np.concatenate([boxes16[0], boxes8[0]])
        scores = 1 / (1 + np.exp(-np.clip(logits, -50, 50)))
        keep = np.nonzero(scores >= score)[0]
        centre = raw[keep, :2] / SIZE + self._anchors[keep]
        size = raw[keep, 2:4] / SIZE
        boxes = np.concatenate([centre - size / 2, centre + size / 2], axis=1) * side
        return boxes - [x, y, x, y] + [left, top, left, top], scores[keep]


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> list[int]:
    """Indices of boxes [n, 4] that no better box covers by more than `overlap` (intersection over union)."""
    kept: list[int] = []
    for i in np.argsort(-scores):
        if all(iou(boxes[i], boxes[j]) <= overlap for j in kept):
            kept.append(int(i))
    return kept


def iou(a: np.ndarray | tuple[float, ...], b: np.ndarray | tuple[float, ...]) -> float:
    """Intersection over union of two boxes (left, top, right, bottom)."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(width * height / (both - width * height))


def _anchors() -> np.ndarray:
    """[896, 2]: the centres the network predicts from, two a cell at stride 16, six at stride 32."""
    found = []
    for stride, count in ((16, 2), (32, 6)):
        cells = (np.arange(SIZE // stride) + 0.5) * stride / SIZE
        grid = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2)
        found.append(np.repeat(grid, count, axis=0))
    return np.concatenate(found).astype(np.float32)


def _tuple(box: np.ndarray, width: int, height: int) -> tuple[float, float, float, float]:
    left, right = np.clip(box[[0, 2]], 0, width)
    top, bottom = np.clip(box[[1, 3]], 0, height)
    return float(left), float(top), float(right), float(bottom)
