"""What is known of a photo, on its way from the file to the index and back."""

from __future__ import annotations

from typing import Any

import msgspec


class Decoded(msgspec.Struct, frozen=True):
    """What a worker process tells of a file. `preview` is an upright JPEG for the detectors, `thumb` one to keep."""

    preview: bytes
    thumb: bytes
    width: int
    height: int
    format: str
    frames: int
    phash: int  #: 64 bits, signed, as SQLite keeps integers
    taken: float | None = None  #: Unix seconds, from EXIF; local time is taken as UTC
    place: tuple[float, float] | None = None  #: degrees north, degrees east
    camera: str = ""
    caption: str = ""  #: what the file says about itself: EXIF description, XMP title, IPTC caption


class Photo(msgspec.Struct, frozen=True):
    """One picture of the index, however many files hold it."""

    sha: str  #: sha256 of the file
    width: int
    height: int
    format: str
    frames: int
    phash: int
    taken: float | None
    place: tuple[float, float] | None
    camera: str
    words: str  #: what was seen: objects, labels, faces, colours
    ocr: str
    embedded: str  #: what the file says about itself
    caption: str  #: what people wrote about it, in files beside it
    thumb: bytes


class Problem(msgspec.Struct, frozen=True):
    """A file that could not be read. `lasting` ones are not tried again until the file changes."""

    path: str
    what: str
    remedy: str = ""
    lasting: bool = False


class Hit(msgspec.Struct, frozen=True):
    """A photo that fits. `score` is in standard deviations above what is usual for this query; `why` is what fitted."""

    photo: int
    score: float
    paths: tuple[str, ...]
    width: int
    height: int
    taken: float | None
    words: str
    why: tuple[str, ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return msgspec.to_builtins(self)


class Album(msgspec.Struct, frozen=True):
    """An indexed folder as it stands."""

    root: str
    files: int
    photos: int
    problems: int
    finished: float | None  #: Unix seconds of the last complete run


class Summary(msgspec.Struct):
    """What one run of indexing did."""

    root: str
    seen: int = 0
    added: int = 0
    unchanged: int = 0
    moved: int = 0
    removed: int = 0
    seen_again: int = 0  #: known ones that were looked at with something new
    bytes: int = 0
    seconds: float = 0.0
    complete: bool = False
    problems: list[Problem] = msgspec.field(default_factory=list)

    def sentence(self) -> str:
        """For a person."""
        rate = f", {self.added / self.seconds:.1f} new photos a second" if self.added and self.seconds else ""
        parts = [f"{self.seen} photos seen", f"{self.added} new", f"{self.unchanged} known"]
        parts += [f"{self.moved} moved or copied"] * bool(self.moved) + [f"{self.removed} gone"] * bool(self.removed)
        parts += [f"{len(self.problems)} with problems"] * bool(self.problems)
        return f"{', '.join(parts)}; {self.seconds:.0f} s{rate}."
