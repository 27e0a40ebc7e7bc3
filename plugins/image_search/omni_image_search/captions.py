"""What people wrote about a photo, in files beside it.

`IMG.txt` or `IMG.jpg.txt`; the JSON of a Google Takeout; and a `captions.csv` (or `captions.txt`) of the folder,
one line a caption: the file's name, a comma or a tab, the words.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from functools import lru_cache
from pathlib import Path

MOST_BYTES = 20 << 20  #: of a folder's list
_LISTS = ("captions.csv", "captions.txt")


def _sidecars(path: str) -> tuple[str, ...]:
    stem = os.path.splitext(path)[0]
    folder = os.path.dirname(path)
    beside = (f"{stem}.txt", f"{path}.txt", f"{path}.json", f"{path}.supplemental-metadata.json")
    return (*beside, *(os.path.join(folder, name) for name in _LISTS))


def sidecar_mark(path: str) -> int:
    """A number that changes when one of the files beside a photo appears, changes or goes; 0 when there are none."""
    mark = 0
    for number, beside in enumerate(_sidecars(path), 1):
        try:
            mark ^= os.stat(beside).st_mtime_ns * number & (1 << 60) - 1
        except (OSError, ValueError):
            continue
    return mark


def read(path: str) -> str:
    """All captions of a photo beside it, sentences joined; empty when there are none. Unreadable files say nothing."""
    stem = os.path.splitext(path)[0]
    found = [_text(f"{stem}.txt"), _text(f"{path}.txt")]
    found += [_takeout(f"{path}.json"), _takeout(f"{path}.supplemental-metadata.json")]
    for name in _LISTS:
        listed = os.path.join(os.path.dirname(path), name)
        try:
            found += _listed(listed, os.stat(listed).st_mtime_ns).get(os.path.basename(path), [])
        except OSError:
            continue
    return "\n".join(dict.fromkeys(words for words in found if words))


def _text(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return " ".join(stream.read(4000).split())
    except OSError:
        return ""


def _takeout(path: str) -> str:
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
        return " ".join(str(data.get("description", "")).split())[:4000] if isinstance(data, dict) else ""
    except (OSError, ValueError):
        return ""


@lru_cache(maxsize=8)
def _listed(path: str, changed: int) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    if os.path.getsize(path) > MOST_BYTES:
        return found
    with open(path, encoding="utf-8", errors="replace", newline="") as stream:
        tabs = "\t" in stream.readline()
        stream.seek(0)
        for row in csv.reader(stream, delimiter="\t" if tabs else ","):
            if len(row) >= 2 and row[1].strip():
                name = os.path.basename(row[0].strip()).split("#")[0]
                found[name].append(" ".join(",".join(row[1:]).split()))
    return found
