"""The index with everything around it: opened when first asked for, shared by tools, panel and commands."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omni.capabilities import Memory, Moment
from omni.errors import BadInput, CapabilityUnavailable, OmniError
from omni.host.hookspecs import Check
from omni_image_search.features import Eyes
from omni_image_search.large import LargeIndex
from omni_image_search.matrix import build_large
from omni_image_search.query import Query
from omni_image_search.records import Summary
from omni_image_search.scan import Indexer, Progress
from omni_image_search.search import Found, Searcher
from omni_image_search.store import Store

MOST_MOMENTS = 60  #: of one run, in the shared memory: days with photos, not photos


class Library:
    """Photos of one index. Nothing is opened before the first question."""

    def __init__(self, folder: Path, host: Any, config: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.host = host
        self.config = config or {}
        self._store: Store | None = None
        self._searcher: Searcher | None = None

    @property
    def store(self) -> Store:
        """The opened index. Raises `OmniError` when it can't be."""
        if self._store is None:
            self._store = Store(self.folder)
        return self._store

    def close(self) -> None:
        """Idempotent."""
        if self._store is not None:
            self._store.close()
            self._store = self._searcher = None

    async def search(self, query: Query) -> Found:
        """See `Searcher.search`."""
        if self._searcher is None:
            self._searcher = Searcher(self.store, self.host)
        return await self._searcher.search(query)

    async def index(
        self, root: Path, *, read: bool | None = None, retry: bool = False, progress: Progress | None = None,
        remember: bool = True,
    ) -> Summary:  # fmt: skip
        """Take a folder in; what is new is told to the shared memory, a moment a day of photos."""
        eyes = Eyes(self.host, read=bool(self.config.get("read_text")) if read is None else read)
        newest = self.store.rows("SELECT coalesce(max(id), 0) FROM photos")[0][0]
        limit = float(self.config.get("time_limit_s") or 30)
        try:
            summary = await Indexer(self.store, eyes, limit_s=limit, retry=retry, progress=progress).run(root)
            with contextlib.suppress(CapabilityUnavailable):  # without faiss search stays exact, and gets slower
                await asyncio.to_thread(build_large, self.store)
            return summary
        finally:
            self.missing = dict(eyes.missing)
            if remember:
                await self._remember(newest)

    async def _remember(self, newest: int) -> None:
        """Days of photos as moments. A memory that isn't there or can't write costs the moments, not the index."""
        moments = days(self.store, newest)
        if moments:
            with contextlib.suppress(OmniError):
                await self.host.get(Memory).remember(moments)

    def forget(self, root: Path) -> int:
        """Drop what is known of a folder (or of one file), and the photos that lie nowhere else. How many files."""
        album = str(root.expanduser().absolute().resolve())
        store = self.store
        store.lock()
        try:
            with store.transaction() as db:
                paths = [path for (path,) in db.execute(
                    "SELECT path FROM files WHERE album = ? OR path = ? OR substr(path, 1, ?) = ?",
                    (album, album, len(album) + 1, f"{album}/"),
                )]  # fmt: skip
                known = db.execute("DELETE FROM albums WHERE root = ? RETURNING root", (album,)).fetchall()
                db.execute("DELETE FROM problems WHERE album = ? OR path = ?", (album, album))
                if not paths and not known:
                    raise BadInput(f"Nothing below {album} is indexed.", "omni photos albums shows what is.")
                return store.remove_files(db, paths)
        finally:
            LargeIndex.remove(store.folder)  # it holds vectors of what was forgotten; the next run builds it anew
            store.unlock()


def days(store: Store, newest: int) -> list[Moment]:
    """The photos with an id above `newest`, a moment a day: how many, what is seen, where they lie."""
    rows = store.rows(
        "SELECT date(coalesce(taken, 0), 'unixepoch'), count(*), min(taken), max(taken), group_concat(words, ', '),"
        " min(id) FROM photos WHERE id > ? GROUP BY 1 ORDER BY 2 DESC LIMIT ?",
        (newest, MOST_MOMENTS),
    )
    return [_moment(store, *row) for row in rows]


def _moment(
    store: Store, day: str, count: int, start: float | None, end: float | None, words: str, first: int
) -> Moment:
    from collections import Counter

    said = Counter(word.strip().lstrip("0123456789 ") for word in (words or "").split(",") if word.strip())
    shown = ", ".join(word for word, _ in said.most_common(12))
    when = f" taken on {datetime.fromtimestamp(start, UTC):%d %B %Y}" if start is not None else ""
    paths = store.paths(first)
    folder = str(Path(paths[0]).parent) if paths else ""
    text = f"{count} photo{'s' * (count > 1)}{when} in {Path(folder).name}" + (f", showing {shown}" if shown else "")
    at = start if start is not None else time.time()
    return Moment("photo", text, at, end or at, data={"folder": folder, "photos": count, "day": day}, media=paths[:1])


def checks(folder: Path) -> list[Check]:
    """For `omni doctor`."""
    if not (folder / "photos.db").exists():
        found = [Check("photos", True, "no photo is indexed yet", "omni photos index DIR")]
    else:
        try:
            store = Store(folder)
            found = [Check("photos", True, f"{store.count()} photos are indexed in {folder}")]
            store.close()
        except OmniError as error:
            return [Check("photos", False, error.message, error.remedy)]
    for module, what, extra in (("pi_heif", "HEIC photos", "heic"), ("rawpy", "camera raw files", "raw")):
        there = importlib.util.find_spec(module) is not None
        remedy = "" if there else f"pip install 'omni-image-search[{extra}]'"
        found.append(Check(what, True, "can be read" if there else "can't be read yet (optional)", remedy))
    return found
