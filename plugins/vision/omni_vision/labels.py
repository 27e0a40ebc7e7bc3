"""What a photo shows, in ImageNet's thousand words: EfficientNet-lite0, and the features behind it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Region
from omni_vision.efficientnet import SIZE, build
from omni_vision.runtime import session_of

SCORE = 0.08  #: a label below this says nothing


@cache
def names() -> tuple[str, ...]:
    """The thousand labels, in the model's order."""
    return tuple((Path(__file__).parent / "data" / "imagenet.txt").read_text().split("\n")[:1000])


@cache
def meanings() -> tuple[str, ...]:
    """What photos of each label show, in the words people use: "a border collie, a black and white dog running"."""
    return tuple((Path(__file__).parent / "data" / "meanings.txt").read_text().split("\n")[:1000])


class Labeller:
    """Labels images."""

    def __init__(self, model: Path, cache_dir: Path) -> None:
        def made(onnx: Path) -> None:
            build(next(model.glob("*.pth")), onnx)

        self._session: Any = session_of(cache_dir / "efficientnet-lite0.onnx", made)

    def predict(self, squares: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities [n, 1000] and features [n, 1280] of RGB images, which are made square."""
        batch = np.stack([_square(pixels) for pixels in squares])
        probabilities, features = self._session.run(["probabilities", "features"], {"image": batch})
        return probabilities, features


def likeliest(probabilities: np.ndarray, width: int, height: int, most: int = 5, score: float = SCORE) -> list[Region]:
    """The best labels of [1000] probabilities, `kind` "label", their box the whole image."""
    box = (0.0, 0.0, float(width), float(height))
    best = np.argsort(-probabilities)[:most]
    return [Region("label", names()[i], box, float(probabilities[i])) for i in best if probabilities[i] >= score]


def views(pixels: np.ndarray) -> list[np.ndarray]:
    """The middle square at seven eighths, as the model was evaluated; the whole picture; the middle at three fifths."""
    return [_middle(pixels, 0.875), pixels, _middle(pixels, 0.6)]


def _middle(pixels: np.ndarray, share: float) -> np.ndarray:
    height, width = pixels.shape[:2]
    side = max(1, round(min(height, width) * share))
    top, left = (height - side) // 2, (width - side) // 2
    return pixels[top : top + side, left : left + side]


def _square(pixels: np.ndarray) -> np.ndarray:
    """[3, 224, 224] in -1..1, whatever the shape was."""
    import cv2

    smaller = min(pixels.shape[:2]) > SIZE
    view = cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    return ((view.astype(np.float32) - 127.0) / 128.0).transpose(2, 0, 1)
