"""The same picture twice: files with one content, and pictures that are the same to the eye."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from omni_image_search.matrix import Matrix
from omni_image_search.store import Store

BITS = 6  #: of 64 that may differ; eight bands of eight bits find every pair up to 7
ALIKE = 0.9  #: cosine of the image features that a pair must have, too: flat pictures have like hashes


@dataclass(frozen=True, slots=True)
class Group:
    """`exact`: the files have one content. The first is the largest, then the oldest path."""

    exact: bool
    photos: tuple[int, ...]
    paths: tuple[str, ...]


def groups(store: Store, bits: int = BITS) -> list[Group]:
    """All of them, near ones first."""
    rows = store.rows("SELECT id, phash, width * height FROM photos ORDER BY id")
    ids = np.asarray([row[0] for row in rows], np.int64)
    hashes = np.asarray([row[1] for row in rows], np.int64)
    sizes = {row[0]: row[2] for row in rows}
    features = Matrix(store, "image-features")
    features.refresh()
    found = []
    near = [[int(ids[i]) for i in group] for group in _joined(len(ids), _pairs(ids, hashes, features, bits))]
    for group in near:
        group.sort(key=lambda photo: -sizes[photo])
        found.append(Group(False, tuple(group), tuple(path for photo in group for path in store.paths(photo))))
    grouped = {photo for group in near for photo in group}
    for (photo,) in store.rows("SELECT photo FROM files GROUP BY photo HAVING count(*) > 1 ORDER BY photo"):
        if photo not in grouped:
            found.append(Group(True, (photo,), store.paths(photo)))
    return found


def _pairs(ids: np.ndarray, hashes: np.ndarray, features: Matrix, bits: int) -> list[tuple[int, int]]:
    """Index pairs whose hashes differ in at most `bits` and whose features agree."""
    found: set[tuple[int, int]] = set()
    octets = hashes.astype(">i8").view(np.uint8).reshape(-1, 8)
    for band in range(8):
        order = np.argsort(octets[:, band], kind="stable")
        values = octets[order, band]
        for members in np.split(order, np.flatnonzero(np.diff(values)) + 1):
            found |= _within(members, hashes, bits)
    if not len(features.ids):
        return sorted(found)
    agreeing = []
    for i, j in sorted(found):
        one, other = features.of(int(ids[i])), features.of(int(ids[j]))
        if one is None or other is None or float(one @ other) >= ALIKE:
            agreeing.append((i, j))
    return agreeing


def _within(members: np.ndarray, hashes: np.ndarray, bits: int) -> set[tuple[int, int]]:
    """Pairs of one bucket; compared in blocks, so that a bucket of many thousands stays small in memory."""
    found = set()
    for start in range(0, len(members), 1024):
        block = members[start : start + 1024]
        differing = np.bitwise_count(np.bitwise_xor(hashes[block][:, None], hashes[members][None]).view(np.uint64))
        for i, j in zip(*np.nonzero(differing <= bits), strict=True):
            if block[i] < members[j]:
                found.add((int(block[i]), int(members[j])))
    return found


def _joined(count: int, pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Connected groups of at least two (union-find)."""
    parent = list(range(count))

    def top(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs:
        parent[top(j)] = top(i)
    members: dict[int, list[int]] = defaultdict(list)
    for i in sorted({i for pair in pairs for i in pair}):
        members[top(i)].append(i)
    return list(members.values())
