"""The index on disk: one SQLite file, so that a batch is either in it or not, whenever the power goes.

A *photo* is a content (sha256); a *file* is a path that holds it. Vectors lie with their photo, as float16; full
text is SQLite's FTS5. Everything else (matrices in memory, search structures) is derived and can be lost.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from omni.errors import Busy, DiskFull, OmniError
from omni_image_search.records import Album, Photo, Problem

VERSION = 1
_SCHEMA = """
CREATE TABLE photos(
  id INTEGER PRIMARY KEY AUTOINCREMENT, sha TEXT UNIQUE NOT NULL, width INTEGER, height INTEGER, format TEXT,
  frames INTEGER, phash INTEGER, taken REAL, north REAL, east REAL, camera TEXT, words TEXT, ocr TEXT,
  embedded TEXT, caption TEXT);
CREATE INDEX photos_taken ON photos(taken);
CREATE TABLE thumbs(photo INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE vectors(space TEXT, photo INTEGER, data BLOB NOT NULL, PRIMARY KEY(space, photo)) WITHOUT ROWID;
CREATE TABLE files(
  path TEXT PRIMARY KEY, photo INTEGER NOT NULL, size INTEGER, mtime INTEGER, album TEXT NOT NULL, run INTEGER)
  WITHOUT ROWID;
CREATE INDEX files_photo ON files(photo);
CREATE INDEX files_album ON files(album, run);
CREATE TABLE problems(
  path TEXT PRIMARY KEY, what TEXT, remedy TEXT, lasting INTEGER, size INTEGER, mtime INTEGER, album TEXT, run INTEGER)
  WITHOUT ROWID;
CREATE TABLE albums(root TEXT PRIMARY KEY, run INTEGER DEFAULT 0, finished REAL) WITHOUT ROWID;
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE VIRTUAL TABLE texts USING fts5(words, ocr, caption, names, tokenize='porter unicode61 remove_diacritics 2');
"""
_PHOTO = "sha, width, height, format, frames, phash, taken, north, east, camera, words, ocr, embedded, caption"


class Store:
    """Opened by one process for writing at a time; any number may read meanwhile. One thread at a time uses one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "photos.db"
        self._guard = threading.RLock()
        self._lock: Any = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with translated(self.path):
                self._db = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute("PRAGMA secure_delete=ON")
                self._prepare()
        except OSError as error:
            raise OmniError(
                f"The photo index can't be opened in {folder}: {error.strerror}.", "Check the folder."
            ) from error

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            with self.transaction():
                if self._db.execute("PRAGMA user_version").fetchone()[0] == 0:
                    for statement in _SCHEMA.split(";\n"):
                        if statement.strip():
                            self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version={VERSION}")
        elif version > VERSION:
            raise OmniError(
                f"{self.path} was written by a newer version of this plugin (index version {version}).",
                "Update the plugin.",
            )

    def close(self) -> None:
        """Idempotent."""
        with self._guard:
            self.unlock()
            self._db.close()

    def lock(self) -> None:
        """Be the one that writes; raises `Busy` when another process is."""
        from filelock import FileLock, Timeout

        lock = FileLock(str(self.folder / "writer.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise Busy(
                "Another process is indexing photos at the moment.", "Wait until it is done, or stop it."
            ) from error
        self._lock = lock

    def unlock(self) -> None:
        """Idempotent."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing. Raises `DiskFull`."""
        with self._guard, translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._guard, translated(self.path):
            return self._db.execute(statement, values).fetchall()

    # -- writing, inside a transaction -----------------------------------------------------------

    def add_photo(self, db: sqlite3.Connection, photo: Photo, vectors: dict[str, np.ndarray]) -> int:
        """Its id. The thumbnail, the vectors and the words go with it."""
        north, east = photo.place or (None, None)
        values = (
            photo.sha, photo.width, photo.height, photo.format, photo.frames, photo.phash, photo.taken, north, east,
            photo.camera, photo.words, photo.ocr, photo.embedded, photo.caption,
        )  # fmt: skip
        cursor = db.execute(f"INSERT INTO photos({_PHOTO}) VALUES({','.join('?' * len(values))})", values)
        number = int(cursor.lastrowid or 0)
        db.execute("INSERT INTO thumbs VALUES(?, ?)", (number, photo.thumb))
        for space, vector in vectors.items():
            db.execute("INSERT INTO vectors VALUES(?, ?, ?)", (space, number, vector.astype("<f2").tobytes()))
        values = (number, photo.words, photo.ocr, f"{photo.embedded}\n{photo.caption}", "")
        db.execute("INSERT INTO texts(rowid, words, ocr, caption, names) VALUES(?, ?, ?, ?, ?)", values)
        return number

    def link(self, db: sqlite3.Connection, path: str, photo: int, size: int, mtime: int, album: str, run: int) -> None:
        """A file holds a photo. Its name, and its folder's, become searchable."""
        known = db.execute("SELECT photo FROM files WHERE path = ?", (path,)).fetchone()
        db.execute(
            "INSERT INTO files VALUES(?,?,?,?,?,?)"
            " ON CONFLICT(path) DO UPDATE SET photo=excluded.photo, size=excluded.size,"
            " mtime=excluded.mtime, album=excluded.album, run=excluded.run",
            (path, photo, size, mtime, album, run),
        )
        db.execute("DELETE FROM problems WHERE path = ?", (path,))
        for one in {photo, *(known or ())}:
            self._name(db, one)
        if known and known[0] != photo:
            self._drop_orphans(db, [known[0]])

    def look_again(self, db: sqlite3.Connection, photo: int, words: str, vectors: dict[str, np.ndarray]) -> None:
        """A known photo was looked at with eyes that see more."""
        for space, vector in vectors.items():
            db.execute("INSERT OR REPLACE INTO vectors VALUES(?, ?, ?)", (space, photo, vector.astype("<f2").tobytes()))
        if words:
            db.execute("UPDATE photos SET words = ? WHERE id = ?", (words, photo))
            db.execute("UPDATE texts SET words = ? WHERE rowid = ?", (words, photo))

    def lacking(self, keys: Sequence[Any], spaces: Sequence[str], by_path: bool = True) -> set[Any]:
        """Those of the paths (or ids) whose photo has no vector in one of the spaces."""
        column = "path" if by_path else "photo"
        found = self.rows(
            f"SELECT {column} FROM files WHERE {column} IN ({_places(keys)}) AND"
            f" (SELECT count(*) FROM vectors v WHERE v.photo = files.photo AND v.space IN ({_places(spaces)})) < ?",
            (*keys, *spaces, len(spaces)),
        )
        return {row[0] for row in found}

    def holds(self, db: sqlite3.Connection, path: str, photo: int) -> bool:
        """Whether this file is already known to hold this photo."""
        return db.execute("SELECT 1 FROM files WHERE path = ? AND photo = ?", (path, photo)).fetchone() is not None

    def set_caption(self, db: sqlite3.Connection, photo: int, caption: str) -> None:
        """What people wrote about it has changed."""
        embedded = db.execute(
            "UPDATE photos SET caption = ? WHERE id = ? RETURNING embedded", (caption, photo)
        ).fetchone()
        db.execute("UPDATE texts SET caption = ? WHERE rowid = ?", (f"{embedded[0]}\n{caption}", photo))

    def note_problem(
        self, db: sqlite3.Connection, problem: Problem, size: int, mtime: int, album: str, run: int
    ) -> None:
        """A file that can't be indexed."""
        values = (problem.path, problem.what, problem.remedy, problem.lasting, size, mtime, album, run)
        db.execute(f"INSERT OR REPLACE INTO problems VALUES({','.join('?' * len(values))})", values)

    def remove_files(self, db: sqlite3.Connection, paths: Iterable[str]) -> int:
        """Forget files; photos that no file holds any more go with all that is known of them."""
        count, orphans = 0, set()
        for path in paths:
            found = db.execute("DELETE FROM files WHERE path = ? RETURNING photo", (path,)).fetchone()
            if found:
                count += 1
                orphans.add(found[0])
        self._drop_orphans(db, orphans)
        return count

    def _drop_orphans(self, db: sqlite3.Connection, photos: Iterable[int]) -> None:
        for photo in photos:
            if db.execute("SELECT 1 FROM files WHERE photo = ? LIMIT 1", (photo,)).fetchone():
                self._name(db, photo)
                continue
            for table, key in (("photos", "id"), ("thumbs", "photo"), ("vectors", "photo"), ("texts", "rowid")):
                db.execute(f"DELETE FROM {table} WHERE {key} = ?", (photo,))

    def _name(self, db: sqlite3.Connection, photo: int) -> None:
        names = [readable(path) for (path,) in db.execute("SELECT path FROM files WHERE photo = ?", (photo,))]
        db.execute("UPDATE texts SET names = ? WHERE rowid = ?", (" ".join(names), photo))

    # -- reading ---------------------------------------------------------------------------------

    def photo_of(self, sha: str) -> int | None:
        """The id of a content."""
        found = self.rows("SELECT id FROM photos WHERE sha = ?", (sha,))
        return found[0][0] if found else None

    def count(self) -> int:
        """Photos."""
        return self.rows("SELECT count(*) FROM photos")[0][0]

    def spaces(self) -> dict[str, int]:
        """Vectors per space."""
        return dict(self.rows("SELECT space, count(*) FROM vectors GROUP BY space"))

    def drop_strange(self, lengths: dict[str, int]) -> list[str]:
        """Vectors of another length than is due were made by other models, and can't be compared: they go.

        Their photos are looked at again by the run that asks. Returns the spaces this happened to.
        """
        dropped = []
        for space, length in lengths.items():
            known = self.rows("SELECT length(data) FROM vectors WHERE space = ? LIMIT 1", (space,))
            if known and known[0][0] != 2 * length:
                with self.transaction() as db:
                    db.execute("DELETE FROM vectors WHERE space = ?", (space,))
                dropped.append(space)
        return dropped

    def vectors(self, space: str, after: int = 0, limit: int = -1) -> tuple[np.ndarray, np.ndarray]:
        """(ids [n] int64 ascending, vectors [n, d] float16) of the photos with an id above `after`."""
        blocks = list(self.blocks(space, after, limit))
        if not blocks:
            return np.zeros(0, np.int64), np.zeros((0, 0), np.float16)
        return np.concatenate([ids for ids, _ in blocks]), np.concatenate([rows for _, rows in blocks])

    def blocks(self, space: str, after: int = 0, limit: int = -1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The same, some thousands at a time."""
        statement = "SELECT photo, data FROM vectors WHERE space = ? AND photo > ? ORDER BY photo LIMIT ?"
        while limit:
            rows = self.rows(statement, (space, after, 8192 if limit < 0 else min(limit, 8192)))
            if not rows:
                return
            ids = np.asarray([row[0] for row in rows], np.int64)
            after, limit = int(ids[-1]), limit if limit < 0 else limit - len(rows)
            yield ids, np.frombuffer(b"".join(row[1] for row in rows), "<f2").reshape(len(rows), -1)

    def generation(self) -> tuple[int, int]:
        """Changes whenever this or another process has written: (changes seen from elsewhere, changes made here)."""
        with self._guard:
            return self._db.execute("PRAGMA data_version").fetchone()[0], self._db.total_changes

    def paths(self, photo: int) -> tuple[str, ...]:
        """The files that hold it."""
        return tuple(row[0] for row in self.rows("SELECT path FROM files WHERE photo = ? ORDER BY path", (photo,)))

    def briefly(self, photos: Sequence[int]) -> dict[int, tuple[tuple[str, ...], int, int, float | None, str]]:
        """By id: the files that hold it, width, height, when it was taken, what is seen. Those that are gone lack."""
        known: dict[int, tuple[tuple[str, ...], int, int, float | None, str]] = {}
        for start in range(0, len(photos), 500):
            some = photos[start : start + 500]
            paths: dict[int, list[str]] = {}
            for photo, path in self.rows(
                f"SELECT photo, path FROM files WHERE photo IN ({_places(some)}) ORDER BY path", some
            ):
                paths.setdefault(photo, []).append(path)
            for photo, *rest in self.rows(
                f"SELECT id, width, height, taken, words FROM photos WHERE id IN ({_places(some)})", some
            ):
                known[photo] = (tuple(paths.get(photo, ())), *rest)
        return known

    def thumb(self, photo: int) -> bytes | None:
        """Its small JPEG."""
        found = self.rows("SELECT data FROM thumbs WHERE photo = ?", (photo,))
        return found[0][0] if found else None

    def problems(self, album: str = "") -> list[Problem]:
        """What could not be indexed."""
        where, values = (" WHERE album = ?", (album,)) if album else ("", ())
        found = self.rows(f"SELECT path, what, remedy, lasting FROM problems{where} ORDER BY path", values)
        return [Problem(path, what, remedy, bool(lasting)) for path, what, remedy, lasting in found]

    def albums(self) -> list[Album]:
        """The indexed folders."""
        return [
            Album(
                root,
                *self.rows("SELECT count(*), count(DISTINCT photo) FROM files WHERE album = ?", (root,))[0],
                self.rows("SELECT count(*) FROM problems WHERE album = ?", (root,))[0][0],
                finished,
            )
            for root, finished in self.rows("SELECT root, finished FROM albums ORDER BY root")
        ]

    def meta(self, key: str, default: str = "") -> str:
        """A value that was kept."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (key,))
        return found[0][0] if found else default

    def set_meta(self, key: str, value: str) -> None:
        """Keep a value; an empty one removes it."""
        with self.transaction() as db:
            db.execute("DELETE FROM meta WHERE key = ?", (key,))
            if value:
                db.execute("INSERT INTO meta VALUES(?, ?)", (key, value))


def _places(values: Sequence[Any]) -> str:
    return ",".join("?" * len(values))


def readable(path: str) -> str:
    """The words in a file's name and its two nearest folders."""
    parts = Path(path).with_suffix("").parts[-3:]
    return " ".join(part.replace("_", " ").replace("-", " ").replace(".", " ") for part in parts if part != "/")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """SQLite's errors as sentences."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise DiskFull(
                f"There is no room left for the photo index in {path.parent}.",
                "Free some space and index again: what was done is kept.",
            ) from error
        if "locked" in str(error) or "busy" in str(error):
            raise Busy("The photo index is being written by another process.", "Try again in a moment.") from error
        raise OmniError(
            f"The photo index {path} can't be used: {error}.", "Check the disk and the folder's permissions."
        ) from error
    except sqlite3.DatabaseError as error:
        raise OmniError(f"The photo index {path} is damaged: {error}.", "Delete it and index again.") from error
