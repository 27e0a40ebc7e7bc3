"""Writing in the picture: read only where the edges look like writing, so many key frames a minute at most."""

from __future__ import annotations

from collections.abc import Sequence

from omni.capabilities import Region

#: Key frames read in a minute, at most.
PER_MINUTE = 20
#: Below this textness (see `keyframes.textness`) a picture is not read.
LEAST_TEXTNESS = 0.08
#: Lines the reader is less sure of are left out.
LEAST_SURE = 0.6


def worth_reading(frames: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the (time, textness) to read: of each minute those that look most like writing."""
    by_minute: dict[int, list[int]] = {}
    for i, (time, textness) in enumerate(frames):
        if textness >= LEAST_TEXTNESS:
            by_minute.setdefault(int(time // 60), []).append(i)
    chosen = [i for group in by_minute.values() for i in sorted(group, key=lambda i: (-frames[i][1], i))[:PER_MINUTE]]
    return sorted(chosen)


def as_text(lines: Sequence[Region]) -> str:
    """The lines as one text, the unsure ones left out."""
    return " / ".join(line.text.strip() for line in lines if line.confidence >= LEAST_SURE and line.text.strip())
