"""Where in a TOML text a key stands: the standard parser keeps no positions, an error message needs them."""

from __future__ import annotations

import re
from collections.abc import Sequence

_HEADER = re.compile(r"^\s*(\[\[?)\s*([^\]#]+?)\s*\]\]?")
_KEY = re.compile(r"""^(\s*)("[^"]*"|'[^']*'|[A-Za-z0-9_\-.]+)\s*=""")


def _parts(dotted: str) -> list[str]:
    return [part.strip().strip("\"'") for part in dotted.split(".")]


def locate(text: str, path: Sequence[str | int]) -> tuple[int, int]:
    """(line, column), both from 1, of the key at `path` (names, and indexes for arrays of tables).

    The nearest enclosing table that is found stands in for a key that is not there; (1, 1) at worst.
    """
    best, best_depth = (1, 1), 0
    counts: dict[tuple[str | int, ...], int] = {}
    table: tuple[str | int, ...] = ()
    wanted = tuple(path)
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _resolve(_parts(header[2]), counts, array=header[1] == "[[")
            full, column = table, line.index("[") + 1
        elif key := _KEY.match(line):
            full, column = (*table, *_parts(key[2])), len(key[1]) + 1
        else:
            continue
        depth = _common(full, wanted)
        if depth == len(full) and depth > best_depth:
            best, best_depth = (number, column), depth
    return best


def _resolve(names: list[str], counts: dict[tuple[str | int, ...], int], *, array: bool) -> tuple[str | int, ...]:
    """A header's names with the index of every array of tables on the way put in."""
    path: tuple[str | int, ...] = ()
    for position, name in enumerate(names):
        path = (*path, name)
        last = position == len(names) - 1
        if array and last:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path = (*path, counts[path])
    return path


def _common(one: Sequence[str | int], other: Sequence[str | int]) -> int:
    depth = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        depth += 1
    return depth
