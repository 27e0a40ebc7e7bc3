"""Cut long audio where it is quiet."""

from __future__ import annotations

import numpy as np

from omni.capabilities import Audio


def split_at_pauses(audio: Audio, rate: int, longest_s: float) -> list[tuple[int, int]]:
    """Spans (first sample, end) that cover `audio`, none longer than `longest_s`, cut in the quietest 0.2 s of the
    last third of each."""
    longest = int(longest_s * rate)
    spans: list[tuple[int, int]] = []
    start = 0
    while audio.size - start > longest:
        begin = start + longest * 2 // 3
        hop = rate // 50
        starts = range(begin, start + longest - hop * 10, hop)
        energy = np.array([float(np.mean(audio[i : i + hop * 10] ** 2)) for i in starts])
        cut = begin + int(np.argmin(energy)) * hop + hop * 5
        spans.append((start, cut))
        start = cut
    spans.append((start, audio.size))
    return spans
