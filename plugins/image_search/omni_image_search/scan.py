"""Indexing: a folder's photos into the store, a batch at a time, and what has gone out of it.

Whatever is interrupted goes on where it was: a batch is one transaction, and a file that is in the index with the
same size and time is not opened again. A file whose content is known (moved, renamed, copied) costs its hash.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from omni.errors import BadInput, OmniError
from omni_image_search import captions, walking
from omni_image_search.features import Eyes, Seen
from omni_image_search.large import LargeIndex
from omni_image_search.records import Decoded, Photo, Problem, Summary
from omni_image_search.store import Store
from omni_image_search.walking import Closed, Entry
from omni_image_search.workers import Decoders

LISTED = 256  #: files that are looked up at once
BATCH = 32  #: photos in one transaction
OPEN = 6  #: photos on their way at once
COMMIT_S = 5.0

Progress = Callable[[Summary, int | None, str], None]


@dataclass(slots=True)
class Outcome:
    """What became of one file: a known photo, a new one, or a problem."""

    entry: Entry
    known: int | None = None
    photo: Photo | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    caption: str = ""
    problem: Problem | None = None
    bytes: int = 0


class Indexer:
    """One run over one folder. `progress(summary, total or None, path)` is called often."""

    def __init__(
        self, store: Store, eyes: Eyes, *, workers: int = 2, limit_s: float = 30.0, retry: bool = False,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        self._store = store
        self._eyes = eyes
        self._workers = workers
        self._limit_s = limit_s
        self._retry = retry
        self._progress = progress or (lambda *_: None)
        self._total: int | None = None
        self._closed: list[str] = []

    async def run(self, root: Path) -> Summary:
        """Index `root`. Raises `BadInput` when it is no folder, `DiskFull` when the index can't grow."""
        album = await asyncio.to_thread(_folder, root)
        self._closed = []
        summary, began = Summary(album), time.perf_counter()
        self._store.lock()
        counting = asyncio.create_task(asyncio.to_thread(walking.count, Path(album)))
        counting.add_done_callback(self._counted)
        try:
            await self._eyes.prepare()
            if await asyncio.to_thread(self._store.drop_strange, self._eyes.lengths):
                LargeIndex.remove(self._store.folder)
            run = self._begin(album)
            await self._take_in(Path(album), album, run, summary)
            summary.seconds = time.perf_counter() - began
            self._finish(album, run, summary)
        finally:
            self._store.unlock()
            await asyncio.gather(counting, return_exceptions=True)
        summary.seconds = time.perf_counter() - began
        return summary

    def _counted(self, task: asyncio.Task[int]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._total = task.result()

    def _begin(self, album: str) -> int:
        with self._store.transaction() as db:
            db.execute("INSERT OR IGNORE INTO albums(root) VALUES(?)", (album,))
            return db.execute("UPDATE albums SET run = run + 1 WHERE root = ? RETURNING run", (album,)).fetchone()[0]

    async def _take_in(self, root: Path, album: str, run: int, summary: Summary) -> None:
        waiting: list[Outcome] = []
        committed = time.perf_counter()
        async with Decoders(self._workers, self._limit_s) as decoders:
            changed = self._changed(root, run, album, summary)
            # Closed before the decoders are, or what is still on its way would start them again.
            async with contextlib.aclosing(_bounded(changed, lambda entry: self._look(decoders, entry))) as outcomes:
                async for outcome in outcomes:
                    if outcome.problem and not outcome.problem.lasting and not await asyncio.to_thread(root.is_dir):
                        break  # the folder is gone: that is one thing to tell, not one for every file
                    waiting.append(outcome)
                    if len(waiting) >= BATCH or time.perf_counter() - committed > COMMIT_S:
                        await asyncio.to_thread(self._commit, waiting, album, run, summary)
                        waiting, committed = [], time.perf_counter()
            await asyncio.to_thread(self._commit, waiting, album, run, summary)

    async def _changed(self, root: Path, run: int, album: str, summary: Summary) -> AsyncIterator[Entry]:
        """The files that are new or different; those that are known are ticked off."""
        walker = walking.walk(root)
        while found := await asyncio.to_thread(lambda: list(itertools.islice(walker, LISTED))):
            closed = [one for one in found if isinstance(one, Closed)]
            entries = [one for one in found if isinstance(one, Entry)]
            known, skipped = await asyncio.to_thread(self._tick, entries, closed, album, run)
            self._closed += [one.path for one in closed]
            summary.seen += len(entries)
            summary.unchanged += len(known)
            summary.problems += [one.problem for one in closed] + list(skipped.values())
            if found and isinstance(found[-1], Entry):
                self._progress(summary, self._total, found[-1].path)
            for entry in entries:
                if entry.path not in known and entry.path not in skipped:
                    yield entry

    def _tick(
        self, entries: list[Entry], closed: list[Closed], album: str, run: int
    ) -> tuple[set[str], dict[str, Problem]]:
        """Note what was met and is as it was: (known paths, those with a lasting problem)."""
        known, skipped = self._known(entries, album)
        with self._store.transaction() as db:
            db.executemany("UPDATE files SET run = ? WHERE path = ?", [(run, path) for path in known])
            db.executemany("UPDATE problems SET run = ? WHERE path = ?", [(run, path) for path in skipped])
            for one in closed:
                self._store.note_problem(db, one.problem, 0, 0, album, run)
        return known, skipped

    def _known(self, entries: list[Entry], album: str) -> tuple[set[str], dict[str, Problem]]:
        """The paths that are as they were, and those with a lasting problem that are."""
        marks = {entry.path: (entry.size, entry.mark) for entry in entries}
        places = ",".join("?" * len(marks))
        files = self._store.rows(f"SELECT path, size, mtime, album FROM files WHERE path IN ({places})", list(marks))
        known = {path for path, size, mark, owner in files if marks[path] == (size, mark) and owner == album}
        known -= self._store.lacking(sorted(known), self._eyes.spaces)
        if self._retry:
            return known, {}
        bad = self._store.rows(
            f"SELECT path, what, remedy, size, mtime FROM problems WHERE lasting AND path IN ({places})", list(marks)
        )
        return known, {
            path: Problem(path, what, remedy, True)
            for path, what, remedy, size, mark in bad
            if marks[path] == (size, mark)
        }

    async def _look(self, decoders: Decoders, entry: Entry) -> Outcome:
        hashed = await decoders.ask("hash", entry.path)
        if hashed.problem:
            return Outcome(entry, problem=hashed.problem)
        beside = await asyncio.to_thread(captions.read, entry.path)
        known = self._store.photo_of(hashed.sha)
        if known is not None and not self._store.lacking([known], self._eyes.spaces, by_path=False):
            return Outcome(entry, known, caption=beside)
        answer = await decoders.ask("decode", entry.path)
        if answer.decoded is None:
            return Outcome(entry, problem=answer.problem or Problem(entry.path, "It could not be decoded."))
        try:
            seen = await self._eyes.see(answer.decoded.preview)
        except OmniError as error:
            return Outcome(entry, problem=Problem(entry.path, error.message, error.remedy))
        photo = _photo(hashed.sha, answer.decoded, seen, beside)
        return Outcome(entry, known, photo, seen.vectors, beside, bytes=hashed.size)

    def _commit(self, outcomes: list[Outcome], album: str, run: int, summary: Summary) -> None:
        """One batch: all of it or nothing."""
        if not outcomes:
            return
        counts = {"added": 0, "moved": 0, "seen_again": 0, "bytes": 0}
        with self._store.transaction() as db:
            for one in outcomes:
                if one.problem:
                    self._store.note_problem(db, one.problem, one.entry.size, one.entry.mark, album, run)
                    continue
                number = one.known
                if number is None and one.photo is not None:
                    number = self._store.photo_of(one.photo.sha)  # the same content twice in one batch
                    if number is None:
                        number = self._store.add_photo(db, one.photo, one.vectors)
                        counts["added"] += 1
                        counts["bytes"] += one.bytes
                    else:
                        counts["moved"] += 1
                elif one.known is not None:
                    counts["seen_again" if one.photo else "moved"] += 1
                    if one.photo:
                        self._store.look_again(db, one.known, one.photo.words, one.vectors)
                    if one.caption or self._store.holds(db, one.entry.path, one.known):
                        self._store.set_caption(db, one.known, one.caption)
                assert number is not None
                self._store.link(db, one.entry.path, number, one.entry.size, one.entry.mark, album, run)
        for name, count in counts.items():
            setattr(summary, name, getattr(summary, name) + count)
        summary.problems += [one.problem for one in outcomes if one.problem]
        self._progress(summary, self._total, outcomes[-1].entry.path)

    def _finish(self, album: str, run: int, summary: Summary) -> None:
        """What was not met any more is gone, if the folder is there and was read to its end."""
        if not Path(album).is_dir():
            self._warn(
                summary, album, run, "The folder went away while it was indexed.", "Index it again when it is back."
            )
            return
        known = self._store.rows("SELECT count(*) FROM files WHERE album = ?", (album,))[0][0]
        if not summary.seen and known and not self._closed:
            what = f"The folder is empty now; the index knows {known} photos in it."
            self._warn(summary, album, run, what, "If they are really gone: omni photos forget DIR.")
            return
        with self._store.transaction() as db:
            gone = [path for (path,) in db.execute("SELECT path FROM files WHERE album = ? AND run < ?", (album, run))]
            gone = [path for path in gone if not any(path == c or path.startswith(f"{c}/") for c in self._closed)]
            summary.removed = self._store.remove_files(db, gone)
            db.execute("DELETE FROM problems WHERE album = ? AND run < ?", (album, run))
            db.execute("UPDATE albums SET finished = ? WHERE root = ?", (time.time(), album))
        summary.complete = True

    def _warn(self, summary: Summary, album: str, run: int, what: str, remedy: str) -> None:
        problem = Problem(album, what, remedy)
        with self._store.transaction() as db:
            self._store.note_problem(db, problem, 0, 0, album, run)
        summary.problems.append(problem)


def _folder(root: Path) -> str:
    root = root.expanduser().absolute()
    if not root.is_dir():
        raise BadInput(f"There is no folder {root}.", "Check the name, and that the disk is connected.")
    return str(root.resolve())


def _photo(sha: str, decoded: Decoded, seen: Seen, beside: str) -> Photo:
    return Photo(
        sha=sha,
        width=decoded.width,
        height=decoded.height,
        format=decoded.format,
        frames=decoded.frames,
        phash=decoded.phash,
        taken=decoded.taken,
        place=decoded.place,
        camera=decoded.camera,
        words=seen.words,
        ocr=seen.ocr,
        embedded=decoded.caption,
        caption=beside,
        thumb=decoded.thumb,
    )


async def _bounded(
    entries: AsyncIterator[Entry], work: Callable[[Entry], object], most: int = OPEN
) -> AsyncIterator[Outcome]:
    """`work` on at most `most` entries at once, results as they come."""
    running: set[asyncio.Task[Outcome]] = set()
    try:
        async for entry in entries:
            running.add(asyncio.ensure_future(work(entry)))  # type: ignore[arg-type]
            if len(running) >= most:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    yield task.result()
        while running:
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
