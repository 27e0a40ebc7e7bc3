"""The perceptual hash: 64 bits that stay almost the same when a picture is scaled, recompressed or brightened.

The 8 x 8 lowest frequencies (without the mean) of the cosine transform of the picture at 32 x 32, each compared
with their median: Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010).
"""

from __future__ import annotations

import numpy as np

SIDE, LOW = 32, 8


def _cosines() -> np.ndarray:
    """[LOW, SIDE]: the first rows of the orthonormal DCT-II."""
    k, n = np.arange(LOW)[:, None], np.arange(SIDE)[None]
    basis = np.cos(np.pi * (n + 0.5) * k / SIDE) * np.sqrt(2 / SIDE)
    basis[0] /= np.sqrt(2)
    return basis


_BASIS = _cosines()


def of_grey(grey: np.ndarray) -> int:
    """The hash of a [32, 32] grey picture, as a signed 64-bit integer."""
    spectrum = (_BASIS @ grey.astype(np.float64) @ _BASIS.T).round(6).ravel()
    bits = spectrum > np.median(spectrum[1:])
    bits[0] = False  # the mean says how bright it is, not what it shows
    return int(np.packbits(bits).view(">i8")[0])


def distances(hashes: np.ndarray, one: int) -> np.ndarray:
    """[n] differing bits between int64 hashes [n] and one."""
    return np.bitwise_count(np.bitwise_xor(hashes.astype(np.int64), np.int64(one)).view(np.uint64))
