"""A folder tree as a stream of photo files, however large it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from omni_image_search.captions import sidecar_mark
from omni_image_search.decoding import KNOWN
from omni_image_search.records import Problem

#: Folders of systems and programs that hold no one's photos.
SKIPPED = frozenset(
    [
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "node_modules",
        "__pycache__",
        "@eadir",
        ".trash",
        ".thumbnails",
    ]
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file to index. `mark` changes when it, or what is written beside it, changes."""

    path: str
    size: int
    mark: int


@dataclass(frozen=True, slots=True)
class Closed:
    """A folder that can't be listed: what was known below it stays."""

    path: str
    problem: Problem


def walk(root: Path) -> Iterator[Entry | Closed]:
    """Photo files below `root`, in the order the disk gives them. One folder's handle a level is all that is held.

    Hidden and system folders are left out; links to folders are not followed, so there are no rings.
    """
    levels: list[tuple[str, Iterator[os.DirEntry[str]]]] = []

    def enter(folder: str) -> Closed | None:
        try:
            levels.append((folder, os.scandir(folder)))
        except OSError as error:
            return _closed(folder, error)
        return None

    if closed := enter(str(root)):
        yield closed
    while levels:
        folder, entries = levels[-1]
        try:
            entry = next(entries, None)
        except OSError as error:  # the disk was pulled out
            levels.pop()
            yield _closed(folder, error)
            continue
        if entry is None:
            levels.pop()
        elif entry.name.startswith(".") or entry.name.lower() in SKIPPED:
            continue
        elif found := _found(entry):
            yield found
        elif _is_folder(entry) and (closed := enter(entry.path)):
            yield closed


def count(root: Path, limit: int = 5_000_000) -> int:
    """How many photo files there are, at most `limit`: for the time that is left."""
    total = 0
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".") and name.lower() not in SKIPPED]
        total += sum(os.path.splitext(name)[1].lower() in KNOWN and not name.startswith(".") for name in names)
        if total >= limit or not folder:
            break
    return total


def _found(entry: os.DirEntry[str]) -> Entry | Closed | None:
    stem, suffix = os.path.splitext(entry.name)
    if suffix.lower() not in KNOWN or not stem:
        return None
    try:
        entry.path.encode()
        if not entry.is_file():
            return None
        status = entry.stat()
    except UnicodeEncodeError:
        shown = os.fsencode(entry.path).decode("utf-8", "replace")
        return Closed(shown, Problem(shown, "Its name is not valid text.", "Rename it.", True))
    except OSError as error:
        return Closed(
            entry.path, Problem(entry.path, f"It can't be read ({error.strerror}).", "Check the disk it lies on.")
        )
    return Entry(entry.path, status.st_size, status.st_mtime_ns ^ sidecar_mark(entry.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False


def _closed(folder: str, error: OSError) -> Closed:
    gone = isinstance(error, FileNotFoundError | NotADirectoryError)
    what = "The folder is gone." if gone else f"The folder can't be listed ({error.strerror})."
    remedy = "Index it again when it is back." if gone else "Change its permissions, or check the disk."
    shown = os.fsencode(folder).decode("utf-8", "replace")
    return Closed(shown, Problem(shown, what, remedy))
