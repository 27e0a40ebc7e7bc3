"""Everything the detectors say about one picture, kept per picture, so that a second question is free.

The key is the digest of the pixels: the same picture in another file, or sent again tomorrow, costs nothing.
A few hundred are kept in memory, some thousands on disk; those without text in memory alone, for they are quickly
found again, and a disk full of photos that is looked through once would push out what was asked about.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections import OrderedDict
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import Region

VERSION = 1  #: raised when a detector changes: older files are not read
IN_MEMORY, ON_DISK = 256, 4000


@dataclass(frozen=True, slots=True)
class Spread:
    """A picture for search, where what is small or at the side counts too: means over several views of it."""

    chances: np.ndarray  #: [1000] probabilities of the labels
    logits: np.ndarray  #: [1000] their logits, above the picture's own mean
    features: np.ndarray  #: [1280]
    palette: np.ndarray  #: [12] the share of each colour, of the whole or of the thing that has most of it


@dataclass(frozen=True, slots=True)
class Percept:
    """What was found. `presence` [80] and `labels` [1000] are scores of the detector and the labeller;
    `colours` belong to the whole picture, `box_colours` to the regions by their index; `detail` is "fast" without text.
    """

    digest: str
    width: int
    height: int
    detail: str
    regions: tuple[Region, ...]
    presence: np.ndarray
    labels: np.ndarray
    colours: tuple[tuple[str, float], ...]
    box_colours: dict[int, tuple[tuple[str, float], ...]]
    frames: int
    seconds: float
    spread: Spread | None = None  #: for search; in memory only


class PerceptStore:
    """Least recently used in memory, all in files of a few kilobytes below `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._memory: OrderedDict[str, Percept] = OrderedDict()
        self._files = 0  #: written since they were counted

    def get(self, digest: str, detail: str, spread: bool = False) -> Percept | None:
        """A percept of at least this detail, or None."""
        percept = self._memory.get(digest) or self._read(digest)
        if percept is None or (detail == "full" and percept.detail != "full") or (spread and percept.spread is None):
            return None
        self._keep(percept)
        return percept

    def put(self, percept: Percept) -> None:
        """Keep it. A full disk costs the file, not the answer."""
        known = self._memory.get(percept.digest)
        if known is not None and known.detail == "full" and percept.detail != "full":
            percept = replace(known, spread=percept.spread or known.spread)
            self._keep(percept)
            return
        self._keep(percept)
        if percept.detail != "full":
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._path(percept.digest)
            partial = path.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(_plain(percept)))
            partial.replace(path)
            self._shorten()

    def forget(self, digest: str | None = None) -> None:
        """Remove one picture's findings, or all."""
        paths = [self._path(digest)] if digest else list(self._folder.glob("*.json"))
        for path in paths:
            path.unlink(missing_ok=True)
        if digest:
            self._memory.pop(digest, None)
        else:
            self._memory.clear()

    def _keep(self, percept: Percept) -> None:
        self._memory[percept.digest] = percept
        self._memory.move_to_end(percept.digest)
        while len(self._memory) > IN_MEMORY:
            self._memory.popitem(last=False)

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.json"

    def _read(self, digest: str) -> Percept | None:
        try:
            data = json.loads(self._path(digest).read_text())
            return _percept(data) if data["version"] == VERSION else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _shorten(self) -> None:
        self._files += 1
        if self._files % 100 != 1:  # counting takes longer than writing
            return
        paths = list(self._folder.glob("*.json"))
        if len(paths) > ON_DISK * 1.1:
            for path in sorted(paths, key=lambda one: one.stat().st_mtime)[: len(paths) - ON_DISK]:
                path.unlink(missing_ok=True)


def _plain(percept: Percept) -> dict[str, Any]:
    data = {name: getattr(percept, name) for name in Percept.__slots__ if name != "spread"}
    data["regions"] = [asdict(region) for region in percept.regions]
    data["presence"] = [round(float(value), 4) for value in percept.presence]
    data["labels"] = {int(i): round(float(percept.labels[i]), 5) for i in np.nonzero(percept.labels > 1e-4)[0]}
    return {"version": VERSION, **data}


def _percept(data: dict[str, Any]) -> Percept:
    labels = np.zeros(1000, np.float32)
    for index, value in data["labels"].items():
        labels[int(index)] = value
    return Percept(
        digest=data["digest"],
        width=data["width"],
        height=data["height"],
        detail=data["detail"],
        regions=tuple(
            Region(one["kind"], one["text"], tuple(one["box"]), one["confidence"]) for one in data["regions"]
        ),
        presence=np.asarray(data["presence"], np.float32),
        labels=labels,
        colours=tuple((name, share) for name, share in data["colours"]),
        box_colours={int(i): tuple((n, s) for n, s in pairs) for i, pairs in data["box_colours"].items()},
        frames=data["frames"],
        seconds=data["seconds"],
    )
