"""The index: one SQLite file. Every step is a transaction, so a kill loses at most the page at hand.

Contents are known by their hash; files point to contents, so a moved or copied file costs nothing.
"""

from __future__ import annotations

import contextlib
import json
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
from omni_rag.chunks import Chunk
from omni_rag.page import Page

SCHEMA = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS roots(path TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS files(path TEXT PRIMARY KEY, digest TEXT NOT NULL, size INTEGER, mtime INTEGER);
CREATE INDEX IF NOT EXISTS files_digest ON files(digest);
CREATE TABLE IF NOT EXISTS contents(digest TEXT PRIMARY KEY, title TEXT, pages INTEGER, state TEXT);
CREATE TABLE IF NOT EXISTS pages(digest TEXT, number INTEGER, body TEXT, PRIMARY KEY(digest, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS chunks(id INTEGER PRIMARY KEY, digest TEXT, page INTEGER, kind TEXT, context TEXT,
  text TEXT, places TEXT, key TEXT);
CREATE INDEX IF NOT EXISTS chunks_digest ON chunks(digest);
CREATE INDEX IF NOT EXISTS chunks_key ON chunks(key);
CREATE TABLE IF NOT EXISTS vectors(key TEXT PRIMARY KEY, vector BLOB) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS problems(path TEXT, page INTEGER, message TEXT, at REAL, PRIMARY KEY(path, page))
  WITHOUT ROWID;
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(context, text, content='chunks', content_rowid='id',
  tokenize='porter unicode61 remove_diacritics 2');
CREATE TRIGGER IF NOT EXISTS chunk_in AFTER INSERT ON chunks BEGIN
  INSERT INTO words(rowid, context, text) VALUES (new.id, new.context, new.text); END;
CREATE TRIGGER IF NOT EXISTS chunk_out AFTER DELETE ON chunks BEGIN
  INSERT INTO words(words, rowid, context, text) VALUES ('delete', old.id, old.context, old.text); END;
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A chunk of the index, and whose it is."""

    id: int
    digest: str
    page: int
    kind: str
    context: str
    text: str
    blocks: list[list[Any]]
    lines: list[list[Any]]

    @property
    def full(self) -> str:
        """With its headings."""
        return f"{self.context}: {self.text}" if self.context else self.text


@dataclass(frozen=True, slots=True)
class Document:
    """A content of the index and where it lies."""

    digest: str
    title: str
    pages: int
    paths: tuple[str, ...]

    @property
    def name(self) -> str:
        """The file's name."""
        return Path(self.paths[0]).name if self.paths else self.digest[:12]


class Store:
    """Blocking; call it off the loop. Safe to share between threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.RLock()
        self._db: sqlite3.Connection | None = None
        self._matrix: tuple[Any, NDArray[np.int64], NDArray[np.float32]] | None = None

    @property
    def db(self) -> sqlite3.Connection:
        """The open database. Raises `PluginError` when it can't be opened."""
        with self._lock:
            if self._db is None:
                try:
                    self.folder.mkdir(parents=True, exist_ok=True)
                    db = sqlite3.connect(
                        self.folder / "documents.sqlite", timeout=30, check_same_thread=False, isolation_level=None
                    )
                    db.execute("PRAGMA journal_mode=WAL")
                    db.execute("PRAGMA synchronous=NORMAL")
                    version = db.execute("PRAGMA user_version").fetchone()[0]
                    if version > SCHEMA:
                        raise PluginError(
                            f"The index of documents in {self.folder} is from a newer Omni.", "Update Omni."
                        )
                    db.executescript(_TABLES)
                    db.execute(f"PRAGMA user_version={SCHEMA}")
                except (sqlite3.Error, OSError) as error:
                    raise trouble(error, self.folder) from error
                self._db = db
            return self._db

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            if self._db is not None:
                self._db.close()
            self._db = self._matrix = None

    @contextlib.contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Raises `DiskFull` or `PluginError`; then nothing of it was written."""
        with self._lock:
            db = self.db
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise trouble(error, self.folder) from error
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query gives."""
        with self._lock:
            try:
                return self.db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise trouble(error, self.folder) from error

    # --- files and contents ---

    def add_root(self, path: str) -> None:
        """A folder or file that was asked to be indexed."""
        with self.writing() as db:
            db.execute("INSERT OR IGNORE INTO roots VALUES (?)", (path,))

    def file(self, path: str) -> tuple[str, int, int] | None:
        """(digest, size, mtime) as last seen."""
        found = self.rows("SELECT digest, size, mtime FROM files WHERE path = ?", (path,))
        return found[0] if found else None

    def state(self, digest: str) -> str:
        """ "" (unknown), "reading" or "ready"."""
        found = self.rows("SELECT state FROM contents WHERE digest = ?", (digest,))
        return found[0][0] if found else ""

    def point(self, path: str, digest: str, size: int, mtime: int) -> None:
        """This file has that content now."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)", (path, digest, size, mtime))

    def drop_files(self, paths: Iterable[str]) -> None:
        """These files are gone."""
        with self.writing() as db:
            for path in paths:
                db.execute("DELETE FROM files WHERE path = ?", (path,))
                db.execute("DELETE FROM problems WHERE path = ?", (path,))

    def sweep(self) -> list[str]:
        """Drop contents that no file has. Returns their digests."""
        with self.writing() as db:
            gone = [
                row[0]
                for row in db.execute("SELECT digest FROM contents WHERE digest NOT IN (SELECT digest FROM files)")
            ]
            for digest in gone:
                for table in ("chunks", "pages", "contents"):
                    db.execute(f"DELETE FROM {table} WHERE digest = ?", (digest,))
            db.execute("DELETE FROM vectors WHERE key NOT IN (SELECT key FROM chunks)")
        return gone

    def begin(self, digest: str, title: str, pages: int) -> None:
        """Reading of a content has begun."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO contents VALUES (?, ?, ?, 'reading')", (digest, title, pages))

    def keep_page(self, digest: str, page: Page) -> None:
        """A page was read."""
        with self.writing() as db:
            db.execute(
                "INSERT OR REPLACE INTO pages VALUES (?, ?, ?)", (digest, page.number, json.dumps(page.as_json()))
            )

    def unread(self, digest: str) -> None:
        """Nothing of a content could be read: the next run begins anew."""
        with self.writing() as db:
            for table in ("pages", "contents"):
                db.execute(f"DELETE FROM {table} WHERE digest = ?", (digest,))

    def pages(self, digest: str) -> list[Page]:
        """All pages read, in order."""
        found = self.rows("SELECT body FROM pages WHERE digest = ? ORDER BY number", (digest,))
        return [Page.from_json(json.loads(body)) for (body,) in found]

    def finish(self, digest: str, title: str, chunks: Iterable[Chunk]) -> None:
        """All pages were read: these are the chunks. The pages themselves are no longer needed."""
        with self.writing() as db:
            db.execute("DELETE FROM chunks WHERE digest = ?", (digest,))
            for c in chunks:
                places = json.dumps(c.places(), separators=(",", ":"))
                db.execute(
                    "INSERT INTO chunks(digest, page, kind, context, text, places, key) VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (digest, c.page, c.kind, c.context, c.text, places, c.key),
                )
            db.execute("UPDATE contents SET state = 'ready', title = ? WHERE digest = ?", (title, digest))
            db.execute("DELETE FROM pages WHERE digest = ?", (digest,))

    def problem(self, path: str, message: str, page: int = 0) -> None:
        """Something of this file can't be read. Page 0 is the file as a whole."""
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO problems VALUES (?, ?, ?, ?)", (path, page, message, time.time()))

    def no_problem(self, path: str) -> None:
        """Forget what was wrong with this file: it is read anew."""
        with self.writing() as db:
            db.execute("DELETE FROM problems WHERE path = ?", (path,))

    def problems(self) -> list[tuple[str, int, str]]:
        """(path, page, sentence)."""
        return self.rows("SELECT path, page, message FROM problems ORDER BY path, page")

    def documents(self) -> list[Document]:
        """All that can be asked, by name."""
        paths: dict[str, list[str]] = {}
        for path, digest in self.rows("SELECT path, digest FROM files ORDER BY path"):
            paths.setdefault(digest, []).append(path)
        found = self.rows("SELECT digest, title, pages FROM contents WHERE state = 'ready'")
        documents = [Document(digest, title, pages, tuple(paths.get(digest, ()))) for digest, title, pages in found]
        return sorted((one for one in documents if one.paths), key=lambda one: one.name.lower())

    # --- vectors and searching ---

    def without_vector(self, limit: int) -> list[tuple[str, str]]:
        """(key, text) of chunks that have none yet; pages have none of their own."""
        return self.rows(
            "SELECT key, MIN(CASE WHEN context = '' THEN text ELSE context || ': ' || text END) FROM chunks "
            "WHERE kind != 'page' AND key NOT IN (SELECT key FROM vectors) GROUP BY key ORDER BY MIN(id) LIMIT ?",
            (limit,),
        )

    def missing_vectors(self) -> int:
        """How many chunks have no vector yet."""
        return self.rows(
            "SELECT COUNT(DISTINCT key) FROM chunks WHERE kind != 'page' AND key NOT IN (SELECT key FROM vectors)"
        )[0][0]

    def add_vectors(self, keys: Sequence[str], vectors: NDArray[np.float32]) -> None:
        """Unit vectors [n, d], kept in half precision."""
        with self.writing() as db:
            for key, vector in zip(keys, vectors.astype(np.float16), strict=True):
                db.execute("INSERT OR REPLACE INTO vectors VALUES (?, ?)", (key, vector.tobytes()))

    def matrix(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """(ids [n], vectors [n, d]) of all chunks with a vector; kept until the index changes."""
        with self._lock:
            version = (self.db.execute("PRAGMA data_version").fetchone()[0], self.db.total_changes)
            if self._matrix is None or self._matrix[0] != version:
                found = self.rows("SELECT c.id, v.vector FROM chunks c JOIN vectors v USING(key) ORDER BY c.id")
                ids = np.array([row[0] for row in found], np.int64)
                size = len(found[0][1]) // 2 if found else 0
                blob = b"".join(row[1] for row in found if len(row[1]) == 2 * size)
                vectors = np.frombuffer(blob, np.float16).reshape(-1, size or 1).astype(np.float32)
                self._matrix = (version, ids[: len(vectors)], vectors)
            return self._matrix[1], self._matrix[2]

    def by_words(
        self, query: str, limit: int, *, pages: bool = False, digests: Sequence[str] = ()
    ) -> list[tuple[int, float]]:
        """(id, BM25, higher is better) of chunks that hold words of an FTS5 `query`."""
        scope = f" AND c.digest IN ({','.join('?' * len(digests))})" if digests else ""
        found = self.rows(
            f"SELECT c.id, -bm25(words, 0.6, 1.0) FROM words JOIN chunks c ON c.id = words.rowid WHERE words MATCH ? "
            f"AND c.kind {'=' if pages else '!='} 'page'{scope} ORDER BY bm25(words, 0.6, 1.0) LIMIT ?",
            (query, *digests, limit),
        )
        return [(row[0], row[1]) for row in found]

    def frequency(self, terms: Sequence[str]) -> tuple[int, list[int]]:
        """(pages in all, pages that hold each FTS5 term)."""
        total = self.rows("SELECT COUNT(*) FROM chunks WHERE kind = 'page'")[0][0]
        counts = [
            self.rows(
                "SELECT COUNT(*) FROM words JOIN chunks c ON c.id = words.rowid "
                "WHERE words MATCH ? AND c.kind = 'page'",
                (term,),
            )[0][0]
            for term in terms
        ]
        return total, counts

    def chunks(self, ids: Sequence[int]) -> dict[int, Stored]:
        """By id."""
        if not ids:
            return {}
        found = self.rows(
            "SELECT id, digest, page, kind, context, text, places FROM chunks "
            f"WHERE id IN ({','.join('?' * len(ids))})",
            list(ids),
        )
        result = {}
        for row in found:
            places = json.loads(row[6])
            result[row[0]] = Stored(*row[:6], places["blocks"], places["lines"])
        return result

    def on_page(self, digest: str, page: int) -> list[Stored]:
        """The passages, tables, rows and figures of a page."""
        found = self.rows(
            "SELECT id FROM chunks WHERE digest = ? AND page = ? AND kind != 'page' ORDER BY id", (digest, page)
        )
        return list(self.chunks([row[0] for row in found]).values())

    def page_texts(self, pages: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """What stands on whole pages, with the document's name."""
        texts = {}
        for digest, page in pages:
            query = "SELECT context, text FROM chunks WHERE digest = ? AND page = ? AND kind = 'page'"
            texts[digest, page] = " ".join(f"{context} {text}" for context, text in self.rows(query, (digest, page)))
        return texts

    def ids_of(self, digests: Sequence[str]) -> NDArray[np.int64]:
        """The chunks of these contents."""
        found = self.rows(f"SELECT id FROM chunks WHERE digest IN ({','.join('?' * len(digests))})", list(digests))
        return np.array([row[0] for row in found], np.int64)


def trouble(error: Exception, folder: Path) -> OmniError:
    """What a database error means to a person."""
    text = str(error).lower()
    if "full" in text or getattr(error, "errno", 0) == 28:
        return DiskFull(
            f"There is no room left for the index of documents in {folder}.",
            "Make room, then index again: it goes on where it stopped.",
        )
    if "locked" in text:
        return PluginError("Another process is writing the index of documents.", "Try again when it is done.")
    if "malformed" in text or "not a database" in text:
        return PluginError(f"The index of documents in {folder} is damaged.", "Delete that folder and index again.")
    return PluginError(f"The index of documents in {folder} can't be used: {error}.")
