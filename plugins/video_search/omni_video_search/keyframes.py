"""Key frames: kept when the picture has changed, not when a clock says so.

A picture is compared with the last one kept, block by block, so that a new line on a slide counts as much as a
new scene; and it is kept once the change has come to rest, so that it is not a blur.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Blocks of a picture: columns and rows.
COLUMNS, ROWS = 16, 9
#: A block has changed when its mean absolute difference is above this (0..255) ...
BLOCK_CHANGE = 14.0
#: ... and a picture has, when this share of its blocks has.
CHANGED_SHARE = 0.05
#: Below this change from frame to frame it is at rest; it is kept anyway after so many seconds.
AT_REST, PATIENCE_S = 6.0, 0.7
#: Seconds between two, at least; grows within a stretch, so that confetti does not fill the disk.
GAP_S = 0.6
#: Longest side, in pixels, of what is looked at, and of what is kept afterwards.
WORK_SIDE, THUMB_SIDE = 960, 320


@dataclass(slots=True)
class Candidate:
    """A picture worth looking at: since when it was there, JPEG, its blocks, and how much of it looks like text."""

    time: float
    jpeg: bytes
    blocks: NDArray[np.uint8]
    textness: float


class Picker:
    """Chooses among the frames of one stretch, offered in order of time."""

    def __init__(self) -> None:
        self._kept: NDArray[np.float32] | None = None
        self._kept_at = -1e9
        self._since: float | None = None
        self._count = 0

    def wants(self, time: float, small: NDArray[np.float32], change: float) -> float | None:
        """Whether to keep this frame: the time from which it was there, or None.

        `small` is it at a small size, [h, w, 3]; `change` the difference to the frame before.
        """
        blank = small.mean() < 10 and small.std() < 6
        if self._kept is not None:
            if changed_share(small, self._kept) < CHANGED_SHARE:
                self._since = None
                return None
            self._since = time if self._since is None else self._since
            gap = GAP_S * (1 + self._count / 5)
            restless = change > AT_REST and time - self._since < PATIENCE_S
            if restless or time - self._kept_at < gap:
                return None
        elif blank:
            return None
        since, self._since = self._since if self._since is not None else time, None
        self._kept = small.copy()
        if blank:
            return None
        self._kept_at = time
        self._count += 1
        return since


def changed_share(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Share of the blocks in which two pictures differ."""
    return float((block_means(np.abs(a - b)).max(axis=2) > BLOCK_CHANGE).mean())


def block_means(small: NDArray[np.float32]) -> NDArray[np.float32]:
    """[ROWS, COLUMNS, 3] means of an image [h, w, 3]."""
    height, width = small.shape[0] // ROWS * ROWS, small.shape[1] // COLUMNS * COLUMNS
    blocks = small[:height, :width].reshape(ROWS, height // ROWS, COLUMNS, width // COLUMNS, 3)
    return blocks.mean(axis=(1, 3))


def keep(time: float, small: NDArray[np.float32], image: Any) -> Candidate:
    """A candidate from the small picture [h, w, 3] and its Pillow image."""
    return Candidate(time, as_jpeg(image, 85), block_means(small).astype(np.uint8), textness(image))


def as_jpeg(image: Any, quality: int) -> bytes:
    """Encoded."""
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


def thumbnail(jpeg: bytes) -> bytes:
    """The same picture, small: what stays in the index."""
    from PIL import Image

    image = Image.open(io.BytesIO(jpeg))
    image.thumbnail((THUMB_SIDE, THUMB_SIDE))
    return as_jpeg(image, 75)


def textness(image: Any) -> float:
    """0..1: how much of the picture has edges as dense as writing has, in rows."""
    grey = image.convert("L")
    if grey.width > 480:
        grey = grey.resize((480, max(1, round(grey.height * 480 / grey.width))))
    luma = np.asarray(grey, np.float32)
    if min(luma.shape) < 24:
        return 0.0
    edges = (np.abs(np.diff(luma, axis=1)) > 32).astype(np.float32)
    rows, columns = edges.shape[0] // 12, edges.shape[1] // 12
    density = edges[: rows * 12, : columns * 12].reshape(rows, 12, columns, 12).mean(axis=(1, 3))
    dense = density > 0.08
    in_row = dense[:, 1:-1] & dense[:, :-2] & dense[:, 2:] if columns > 2 else dense
    return float(min(1.0, in_row.sum() / 40))


def without_repeats(found: list[Candidate]) -> list[int]:
    """Indices to keep: what a stretch's first frame merely repeats from the stretch before is left out."""
    chosen: list[int] = []
    for i, candidate in enumerate(found):
        if chosen:
            last = found[chosen[-1]].blocks.astype(np.float32)
            if float((np.abs(candidate.blocks - last).max(axis=2) > BLOCK_CHANGE / 2).mean()) < CHANGED_SHARE / 3:
                continue
        chosen.append(i)
    return chosen
