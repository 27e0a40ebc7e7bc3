"""The colours a person would name, of a whole image or of a part of it."""

from __future__ import annotations

import numpy as np

#: Hue in degrees where each colour of the circle begins.
_HUES = (
    (0, "red"), (14, "orange"), (40, "yellow"), (66, "green"), (165, "cyan"), (190, "blue"), (255, "purple"),
    (290, "pink"), (335, "red"),
)  # fmt: skip
SAMPLE = 6000  #: pixels that are looked at
NAMES = ("black", "grey", "white", "brown", "red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")


def dominant(pixels: np.ndarray, most: int = 3, least: float = 0.12) -> list[tuple[str, float]]:
    """(name, share) of the colours that take at least `least` of an RGB image [height, width, 3], largest first."""
    return named(shares(pixels), most, least)


def named(shares: np.ndarray, most: int = 3, least: float = 0.12) -> list[tuple[str, float]]:
    """The same of shares [12]."""
    order = np.argsort(-shares)[:most]
    return [(NAMES[i], float(shares[i])) for i in order if shares[i] >= least]


def shares(pixels: np.ndarray) -> np.ndarray:
    """[12] how much of an RGB image each colour of `NAMES` takes; zeros for no pixels."""
    if not pixels.size:
        return np.zeros(len(NAMES), np.float32)
    step = max(1, int((pixels.shape[0] * pixels.shape[1] / SAMPLE) ** 0.5))
    known = _name(pixels[::step, ::step].reshape(-1, 3).astype(np.float32) / 255)
    return (np.bincount(known, minlength=len(NAMES)) / len(known)).astype(np.float32)


def middle(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The pixels in the middle of a box, where the thing is rather than what is behind it."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return pixels[
        int(top + 0.2 * height) : max(int(bottom - 0.2 * height), int(top + 0.2 * height) + 1),
        int(left + 0.2 * width) : max(int(right - 0.2 * width), int(left + 0.2 * width) + 1),
    ]


def _name(rgb: np.ndarray) -> np.ndarray:
    """[n] indices into `NAMES` for colours [n, 3] in 0..1, by hue, saturation and lightness."""
    high, low = rgb.max(axis=1), rgb.min(axis=1)
    chroma = high - low
    light = (high + low) / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        r, g, b = rgb.T
        hue = (
            np.select([high == r, high == g], [((g - b) / chroma) % 6, (b - r) / chroma + 2], (r - g) / chroma + 4)
            * 60.0
        )
        saturation = chroma / (1 - np.abs(2 * light - 1))
    hue, saturation = np.nan_to_num(hue), np.nan_to_num(saturation)
    names = np.zeros(len(rgb), int)
    for start, colour in _HUES:
        names[hue >= start] = NAMES.index(colour)
    brown = (hue >= 10) & (hue < 45) & (light < 0.45) & (saturation < 0.85)
    names[brown] = NAMES.index("brown")
    grey = (saturation < 0.15) | (chroma < 0.08)
    names[grey] = NAMES.index("grey")
    names[(grey & (light > 0.85)) | (light > 0.95)] = NAMES.index("white")
    names[(grey & (light < 0.2)) | (light < 0.1)] = NAMES.index("black")
    return names
