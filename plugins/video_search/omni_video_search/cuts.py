"""Where a shot ends: hard cuts by sudden change of content, fades by brightness, found apart and fused.

Cuts follow the idea of PySceneDetect's adaptive detector (BSD-3): the change from frame to frame in hue,
saturation and brightness, measured against the changes around it, so that a moving camera is no cut. Fades
follow its threshold detector: a stretch that is black (or one flat colour) between two pictures.
The two miss different things; together they see both.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

#: Size at which frames are compared, in pixels.
WIDTH, HEIGHT = 96, 54
#: A cut's change (0..255) is at least this, and this many times what is around it.
CONTENT_MIN, ADAPTIVE_RATIO = 15.0, 3.0
#: From this change on, it is a cut if it also stands out somewhat.
CONTENT_SURE, SURE_RATIO = 27.0, 1.8
#: Frames at either side with which a change is compared.
AROUND = 2
#: Mean brightness (0..255) below which a picture is black.
BLACK = 12.0
#: The shortest shot between two hard cuts, in seconds.
SHORTEST_S = 0.5
#: A film may begin in the dark: if its middle is later than this many seconds, that is a transition.
DARK_START_S = 0.3
#: A flash: content is back within this many frames, as it was.
FLASH_FRAMES, FLASH_SAME = 4, 0.5

FEATURES = ("time", "change", "luma", "spread", "histogram", "around")


@dataclass(frozen=True, slots=True)
class Transition:
    """Where one shot becomes another. For a fade `start`..`end` is the dark stretch and `time` its middle."""

    time: float
    kind: Literal["cut", "fade"]
    start: float
    end: float
    strength: float


class FrameMeter:
    """Turns frames into numbers, one after the other: what a detector needs, and no pixels."""

    def __init__(self) -> None:
        self._hsv: NDArray[np.float32] | None = None
        self._recent: list[NDArray[np.float32]] = []
        self._histogram: NDArray[np.float32] | None = None

    def measure(self, time: float, rgb: NDArray[np.uint8]) -> tuple[float, ...]:
        """(time, change, mean brightness, spread of it, change of the histogram, change over `FLASH_FRAMES` frames)."""
        hsv = hue_saturation_value(rgb)
        luma = hsv[..., 2]
        histogram = np.histogram(luma, 32, (0, 256))[0].astype(np.float32)
        histogram /= histogram.sum()
        change = difference(hsv, self._hsv) if self._hsv is not None else 0.0
        moved = float(np.abs(histogram - self._histogram).sum() / 2) if self._histogram is not None else 0.0
        around = difference(hsv, self._recent[0]) if len(self._recent) == FLASH_FRAMES else 0.0
        self._recent = [*self._recent[-(FLASH_FRAMES - 1) :], hsv]
        self._hsv, self._histogram = hsv, histogram
        return time, change, float(luma.mean()), float(luma.std()), moved, around


def hue_saturation_value(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[h, w, 3]: hue 0..180, saturation and value 0..255. Hue fades out where there is hardly any colour."""
    pixel = rgb.astype(np.float32)
    value, least = pixel.max(axis=2), pixel.min(axis=2)
    chroma = value - least
    safe = np.maximum(chroma, 1e-6)
    red, green, blue = pixel[..., 0], pixel[..., 1], pixel[..., 2]
    hue = np.where(
        value == red,
        ((green - blue) / safe) % 6,
        np.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = np.where(chroma > 0, hue * 30, 0) * np.minimum(chroma / 48, 1)  # noise in the dark has a hue, but no colour
    saturation = np.where(value > 0, chroma / np.maximum(value, 1) * 255, 0) * np.minimum(value / 48, 1)
    return np.stack([hue, saturation, value], axis=2)


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Mean absolute difference over hue, saturation and value, 0..255."""
    return float(np.abs(a - b).mean())


def find_transitions(features: NDArray[np.float32]) -> list[Transition]:
    """Both detectors over measured frames (shape [frames, 6], columns `FEATURES`), fused, in order of time."""
    if len(features) < 2:
        return []
    fades = find_fades(features)
    cuts = [cut for cut in find_cuts(features) if not any(_inside(cut.time, fade) for fade in fades)]
    return sorted([*cuts, *fades], key=lambda transition: transition.time)


def _inside(time: float, fade: Transition) -> bool:
    """Strictly within the dark: its edges may well be cuts to black, which count."""
    return fade.start + 0.1 < time < fade.end - 0.1


def find_cuts(features: NDArray[np.float32]) -> list[Transition]:
    """Hard cuts: change that stands out from what is around it."""
    time, change, around = features[:, 0], features[:, 1], features[:, 5]
    found: list[Transition] = []
    for i in np.flatnonzero(change >= CONTENT_MIN):
        near = np.concatenate([change[max(i - AROUND, 1) : i], change[i + 1 : i + 1 + AROUND]])
        ratio = float(change[i] / max(near.mean() if len(near) else 0.0, 1.0))
        stands_out = ratio >= ADAPTIVE_RATIO or (change[i] >= CONTENT_SURE and ratio >= SURE_RATIO)
        if not stands_out or change[i] < near.max(initial=0.0) or _flash(i, change, around):
            continue
        if found and time[i] - found[-1].time < SHORTEST_S:
            continue
        found.append(Transition(float(time[i]), "cut", float(time[i]), float(time[i]), round(ratio, 2)))
    return found


def _flash(i: int, change: NDArray[np.float32], around: NDArray[np.float32]) -> bool:
    """A flash comes with two changes, and afterwards everything is as before."""
    later = range(i + 1, min(i + FLASH_FRAMES, len(change)))
    again = [j for j in later if change[j] >= 0.6 * change[i]]
    earlier = [j for j in range(max(i - FLASH_FRAMES + 1, 1), i) if change[j] >= 0.6 * change[i]]
    for first, second in [(i, j) for j in again] + [(j, i) for j in earlier]:
        after = min(first + FLASH_FRAMES - 1, len(around) - 1)
        if second <= after and around[after] <= FLASH_SAME * change[first]:
            return True
    return False


def find_fades(features: NDArray[np.float32]) -> list[Transition]:
    """Black stretches between two pictures; the one at the very end is an end, and a blink at the start is nothing."""
    time, luma = features[:, 0], features[:, 2]
    found: list[Transition] = []
    edges = np.flatnonzero(np.diff(np.concatenate([[0], (luma < BLACK).astype(np.int8), [0]])))
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        if after >= len(time):
            break
        start, end = float(time[first]), float(time[after])
        depth = float(luma[after : after + 12].max(initial=0.0) - luma[first:after].min())
        if depth >= BLACK / 2 and (first > 0 or end - start >= 2 * DARK_START_S):
            found.append(Transition((start + end) / 2, "fade", start, end, round(depth, 1)))
    return found


def shots(transitions: list[Transition], duration: float) -> list[tuple[float, float]]:
    """(start, end) of every shot."""
    times = [0.0, *sorted(t.time for t in transitions if 0 < t.time < duration), duration]
    return [(a, b) for a, b in itertools.pairwise(times) if b - a > 1e-3]
