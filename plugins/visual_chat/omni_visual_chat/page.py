"""A page of recognised text: its lines, the rows they stand in, and fields found on it."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omni.capabilities import Region

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Field:
    """Something read from a page: `text` as printed, `value` JSON-ready, `boxes` where, `confidence` 0..1.

    `checked` says in words what confirms it, "" when nothing does.
    """

    name: str
    text: str
    value: Any
    boxes: tuple[Box, ...] = ()
    confidence: float = 1.0
    checked: str = ""

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "text": self.text,
            "value": self.value,
            "boxes": [[round(edge) for edge in box] for box in self.boxes],
            "confidence": round(self.confidence, 3),
            "checked": self.checked,
        }


@dataclass(frozen=True, slots=True)
class Row:
    """Lines that stand side by side, from left to right."""

    lines: tuple[Region, ...]
    text: str = field(default="")

    @property
    def box(self) -> Box:
        return union([line.box for line in self.lines])


def page_rows(lines: Sequence[Region]) -> list[Row]:
    """The rows of a page from top to bottom. Lines share a row when they overlap by half of the lower one's height."""
    found: list[list[Region]] = []
    for line in sorted(lines, key=lambda one: (one.box[1] + one.box[3]) / 2):
        for row in reversed(found[-3:]):
            nearest = min(row, key=lambda one: abs(one.box[0] - line.box[0]))
            shared = min(nearest.box[3], line.box[3]) - max(nearest.box[1], line.box[1])
            beside = min(nearest.box[2], line.box[2]) - max(nearest.box[0], line.box[0])
            lower = min(nearest.box[3] - nearest.box[1], line.box[3] - line.box[1])
            narrow = min(nearest.box[2] - nearest.box[0], line.box[2] - line.box[0])
            if shared > 0.5 * max(lower, 1) and beside <= 0.5 * narrow:
                row.append(line)
                break
        else:
            found.append([line])
    rows = []
    for row in found:
        ordered = tuple(sorted(row, key=lambda one: one.box[0]))
        rows.append(Row(ordered, "  ".join(tidy(one.text) for one in ordered)))
    return rows


def tidy(text: str) -> str:
    """Full-width characters as plain ones, white space as single blanks."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def letters(text: str) -> str:
    """Lower case with the digits that recognisers take for letters put right: "T0TAI" -> "total"-like."""
    swapped = text.lower().translate(str.maketrans("015|", "olsl"))
    return re.sub(r"[^a-z ]+", " ", swapped)


def says(text: str, *words: str) -> bool:
    """Whether one of these words (or phrases) stands in the text, one wrong letter in six forgiven."""
    have = _words(text)
    return any(_phrase_in(have, _words(word)) for word in words)


@functools.lru_cache(4096)
def _words(text: str) -> tuple[str, ...]:
    return tuple(letters(text).split())


def _phrase_in(have: tuple[str, ...], phrase: tuple[str, ...]) -> bool:
    return any(
        all(alike(a, b) for a, b in zip(have[start:], phrase, strict=False))
        for start in range(len(have) - len(phrase) + 1)
    )


@functools.lru_cache(65536)
def alike(a: str, b: str) -> bool:
    """Equal but for one letter in six (none in words of less than five)."""
    if a == b:
        return True
    allowed = len(b) // 6 if len(b) > 5 else int(len(b) == 5)
    return bool(allowed) and abs(len(a) - len(b)) <= allowed and distance(a, b) <= allowed


def distance(a: str, b: str) -> int:
    """Edit distance (Levenshtein)."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[-1]
