"""The timelines: one SQLite file, a row for everything that happens in a video, found by content hash.

Each finished unit of work (a stretch of half a minute, one key frame) is a transaction, so a kill loses at most the
unit at hand. A file that was moved or copied points to the same content and costs nothing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.errors import DiskFull, OmniError, PluginError

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS files(path TEXT PRIMARY KEY, digest TEXT NOT NULL, size INTEGER, mtime INTEGER);
CREATE INDEX IF NOT EXISTS files_digest ON files(digest);
CREATE TABLE IF NOT EXISTS videos(digest TEXT PRIMARY KEY, duration REAL, width INTEGER, height INTEGER, audio INTEGER,
  state TEXT, seconds REAL DEFAULT 0, remembered INTEGER DEFAULT 0);
CREATE TABLE IF NOT EXISTS units(digest TEXT, kind TEXT, number INTEGER, data BLOB,
  PRIMARY KEY(digest, kind, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS frames(digest TEXT, segment INTEGER, number INTEGER, time REAL, jpeg BLOB, blocks BLOB,
  textness REAL, used INTEGER DEFAULT 0, seen INTEGER DEFAULT 0, labels TEXT DEFAULT '', space TEXT DEFAULT '',
  vector BLOB, text TEXT, PRIMARY KEY(digest, segment, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries(digest TEXT, stream TEXT, number INTEGER, start REAL, end REAL, label TEXT,
  text TEXT, score REAL, words TEXT, space TEXT, vector BLOB, PRIMARY KEY(digest, stream, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problems(path TEXT PRIMARY KEY, message TEXT, at REAL);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing on a timeline: `stream` is "speech", "picture", "screen", "sound", "cut", "fade" or "shot"."""

    stream: str
    start: float
    end: float
    label: str = ""
    text: str = ""
    score: float = 1.0
    words: str = ""  #: JSON: [[word, start, end], ...]
    space: str = ""
    vector: NDArray[np.float32] | None = None
    digest: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class Video:
    """A content of the index and where it lies."""

    digest: str
    duration: float
    width: int
    height: int
    has_audio: bool
    state: str  #: "ready" or "working"
    seconds: float  #: what indexing it took
    paths: tuple[str, ...]

    @property
    def path(self) -> Path:
        """A place where it is now, or the last one known."""
        paths = [Path(p) for p in self.paths] or [Path(self.digest[:12])]
        return next((p for p in paths if p.is_file()), paths[0])

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


def packed(array: NDArray[Any]) -> bytes:
    """An array as bytes that say their shape."""
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def unpacked(data: bytes) -> NDArray[Any]:
    """The array again."""
    return np.load(io.BytesIO(data), allow_pickle=False)


class Timelines:
    """Blocking; call it off the loop. Safe to share between threads. `max_bytes` is for testing a full disk."""

    def __init__(self, folder: Path, *, max_bytes: int | None = None) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(folder / "timelines.sqlite", check_same_thread=False, timeout=30)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(_TABLES)
            self._db.execute(f"PRAGMA user_version={SCHEMA}")
            if max_bytes is not None:
                size = self._db.execute("PRAGMA page_size").fetchone()[0]
                self._db.execute(f"PRAGMA max_page_count={max(max_bytes // size, 1)}")
        except (OSError, sqlite3.Error) as error:
            raise self.trouble(error) from error

    def trouble(self, error: Exception) -> OmniError:
        """The error in words."""
        full = getattr(error, "errno", 0) == errno.ENOSPC or "full" in str(error)
        if full:
            return DiskFull(
                f"The disk with {self.folder} is full; what was indexed so far is kept.",
                "Make room, then index again: it goes on where it stopped.",
            )
        return PluginError(f"The video index in {self.folder} can't be used: {error}.", "Remove it, and index again.")

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction. Raises `DiskFull` when there is no room, with everything before it kept."""
        with self._lock:
            try:
                with self._db:
                    yield self._db
            except (OSError, sqlite3.Error) as error:
                raise self.trouble(error) from error

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise self.trouble(error) from error

    def close(self) -> None:
        """Idempotent."""
        with self._lock, contextlib.suppress(sqlite3.Error):
            self._db.close()

    # -- files and videos -------------------------------------------------------------------------

    def known(self, path: Path, size: int, mtime: int) -> str | None:
        """The digest of a file that is as it was when it was last read."""
        rows = self.rows("SELECT digest FROM files WHERE path=? AND size=? AND mtime=?", (str(path), size, mtime))
        return rows[0][0] if rows else None

    def place(self, path: Path, digest: str, size: int, mtime: int) -> None:
        """This content lies there."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO files VALUES(?,?,?,?)", (str(path), digest, size, mtime))

    def videos(self) -> list[Video]:
        """All of them, by name."""
        paths: dict[str, list[str]] = {}
        for path, digest in self.rows("SELECT path, digest FROM files ORDER BY path"):
            paths.setdefault(digest, []).append(path)
        rows = self.rows("SELECT digest, duration, width, height, audio, state, seconds FROM videos")
        found = [Video(r[0], r[1], r[2], r[3], bool(r[4]), r[5], r[6], tuple(paths.get(r[0], ()))) for r in rows]
        return sorted(found, key=lambda video: (video.name.lower(), video.digest))

    def video(self, digest: str) -> Video | None:
        """One of them."""
        return next((video for video in self.videos() if video.digest == digest), None)

    def begin(self, digest: str, duration: float, width: int, height: int, audio: bool) -> None:
        """Work on a video begins or goes on."""
        with self.writing() as db:
            db.execute(
                "INSERT INTO videos(digest,duration,width,height,audio,state) VALUES(?,?,?,?,?,'working') "
                "ON CONFLICT(digest) DO NOTHING",
                (digest, duration, width, height, int(audio)),
            )

    def forget_below(self, folder: Path) -> int:
        """Drop files of that folder that are gone, and contents that lie nowhere any more. Returns how many files."""
        below = [p for (p,) in self.rows("SELECT path FROM files") if Path(p).is_relative_to(folder)]
        gone = [p for p in below if not Path(p).exists()]
        with self.writing() as db:
            db.executemany("DELETE FROM files WHERE path=?", [(p,) for p in gone])
            for table in ("units", "frames", "entries", "videos"):
                db.execute(f"DELETE FROM {table} WHERE digest NOT IN (SELECT digest FROM files)")
        return len(gone)

    # -- units of work ----------------------------------------------------------------------------

    def done(self, digest: str, kind: str) -> set[int]:
        """Numbers of the units that are finished."""
        return {n for (n,) in self.rows("SELECT number FROM units WHERE digest=? AND kind=?", (digest, kind))}

    def units(self, digest: str, kind: str) -> list[tuple[int, bytes]]:
        """(number, data) in order."""
        return self.rows("SELECT number, data FROM units WHERE digest=? AND kind=? ORDER BY number", (digest, kind))

    def finish_unit(self, digest: str, kind: str, number: int, data: bytes, frames: Iterable[Any] = ()) -> None:
        """A unit is finished; the key frame candidates of a stretch come with it."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO units VALUES(?,?,?,?)", (digest, kind, number, data))
            db.executemany(
                "INSERT OR REPLACE INTO frames(digest,segment,number,time,jpeg,blocks,textness) VALUES(?,?,?,?,?,?,?)",
                [(digest, number, i, f.time, f.jpeg, packed(f.blocks), f.textness) for i, f in enumerate(frames)],
            )

    def spend(self, digest: str, seconds: float) -> None:
        """Note the time that was worked on it."""
        with self.writing() as db:
            db.execute("UPDATE videos SET seconds=seconds+? WHERE digest=?", (seconds, digest))

    def finish(self, digest: str, entries: Sequence[Entry]) -> None:
        """The timeline is complete: all entries at once, and what was only needed on the way goes."""
        rows, counts = [], {}
        for e in entries:
            number = counts[e.stream] = counts.get(e.stream, -1) + 1
            vector = e.vector.astype(np.float32).tobytes() if e.vector is not None else None
            rows.append((digest, e.stream, number, e.start, e.end, e.label, e.text, e.score, e.words, e.space, vector))
        with self.writing() as db:
            db.execute("DELETE FROM entries WHERE digest=?", (digest,))
            db.executemany("INSERT INTO entries VALUES(?,?,?,?,?,?,?,?,?,?,?)", rows)
            db.execute("DELETE FROM frames WHERE digest=? AND used=0", (digest,))
            db.execute("DELETE FROM units WHERE digest=? AND kind<>'sound'", (digest,))
            db.execute("UPDATE videos SET state='ready' WHERE digest=?", (digest,))

    def entries(self, digest: str = "", streams: Sequence[str] = ()) -> list[Entry]:
        """Of one video or of all, in order of time within each."""
        where, values = ["1"], []
        if digest:
            where.append("digest=?")
            values.append(digest)
        if streams:
            where.append(f"stream IN ({','.join('?' * len(streams))})")
            values.extend(streams)
        rows = self.rows(
            "SELECT stream,start,end,label,text,score,words,space,vector,digest,number FROM entries "
            f"WHERE {' AND '.join(where)} ORDER BY digest,start,stream,number",
            values,
        )
        return [Entry(*r[:8], np.frombuffer(r[8], np.float32) if r[8] else None, *r[9:]) for r in rows]

    def thumbnail(self, digest: str, at: float) -> bytes | None:
        """The JPEG of the key frame that stands at a time."""
        rows = self.rows(
            "SELECT jpeg FROM frames WHERE digest=? AND time<=?+0.05 AND used=1 ORDER BY time DESC LIMIT 1",
            (digest, at),
        ) or self.rows("SELECT jpeg FROM frames WHERE digest=? AND used=1 ORDER BY time LIMIT 1", (digest,))
        return rows[0][0] if rows else None

    # -- problems ---------------------------------------------------------------------------------

    def note_problem(self, path: Path, message: str) -> None:
        """What went wrong with a file, until it goes right."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO problems VALUES(?,?,?)", (str(path), message, time.time()))

    def solved(self, path: Path) -> None:
        """It went right."""
        with self.writing() as db:
            db.execute("DELETE FROM problems WHERE path=?", (str(path),))

    def problems(self) -> list[tuple[str, str]]:
        """(path, message)."""
        return self.rows("SELECT path, message FROM problems ORDER BY path")
