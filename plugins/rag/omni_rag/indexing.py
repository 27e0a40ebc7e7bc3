"""Brings the index up to date with files: what changed is read, what moved is known, what went is dropped."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni.capabilities import Embedder, TextReader
from omni.errors import BadInput, Busy, CapabilityUnavailable, DiskFull, OmniError
from omni_rag.reading import NO_READER, Unreadable, read_document
from omni_rag.sandbox import Limits
from omni_rag.store import Store

log = logging.getLogger("omni.rag")

KINDS = frozenset({".pdf", ".txt", ".md", ".markdown", ".rst", ".html", ".htm", ".xhtml"})
BATCH = 32
LETTERS = 1200  #: of a text that are embedded: the model reads about 256 tokens
FREE = 64 * 2**20  #: bytes that must be free before anything is written


@dataclass(slots=True)
class Progress:
    """How far it is: files of all, pages of the one at hand, and what takes how long."""

    files: int = 0
    done: int = 0
    pages: int = 0  #: read in this run
    now: str = ""
    page: int = 0
    of: int = 0
    waiting: int = 0  #: passages without a vector
    embedded: int = 0  #: passages that got one in this run
    stage: str = "reading"
    began: float = field(default_factory=time.monotonic)
    total: int = 0  #: bytes of the files that are to be read, as far as is known
    behind: int = 0  #: bytes of those that were read
    size: int = 0  #: bytes of the one at hand

    def rate(self) -> float:
        """Pages a second so far."""
        return self.pages / max(0.001, time.monotonic() - self.began)

    def eta(self) -> float | None:
        """Seconds of this stage left, as far as can be told: a file counts as much as it is large."""
        spent = time.monotonic() - self.began
        if self.stage == "embedding":
            return spent * self.waiting / self.embedded if self.embedded else None
        read = self.behind + (self.size * self.page / self.of if self.of else 0.0)
        share = read / self.total if self.total else 0.0
        return spent * (1 - share) / share if share > 0.02 else None


@dataclass(slots=True)
class Summary:
    """What an indexing run did."""

    read: int = 0
    unchanged: int = 0
    moved: int = 0
    gone: int = 0
    pages: int = 0
    seconds: float = 0.0
    problems: list[tuple[str, int, str]] = field(default_factory=list)  #: (path, page, sentence's end)
    dropped: list[str] = field(default_factory=list)  #: contents that are in no file any more
    added: list[str] = field(default_factory=list)  #: contents read


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """One indexing at a time. Raises `Busy`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "indexing.lock").open("w") as lock:
        try:
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass  # Windows: SQLite's own lock keeps the index whole
        except OSError:
            raise Busy("Documents are being indexed by another process.", "Wait until it is done.") from None
        yield


async def index(
    store: Store, host: Any, targets: list[Path], limits: Limits, tell: Callable[[Progress], None] = lambda p: None
) -> Summary:
    """Index files and folders. Raises `BadInput` for a target that is not there, `DiskFull`, `Busy`."""
    summary, progress = Summary(), Progress()
    targets = [target.expanduser().absolute() for target in targets]
    for target in targets:
        if not target.exists():
            raise BadInput(f"{target} is not there.", "Check the name. What was indexed of it before is kept.")
    with alone(store.folder):
        _room(store.folder)
        for target in targets:
            await asyncio.to_thread(store.add_root, str(target))
        files = await asyncio.to_thread(lambda: sorted({file for target in targets for file in walk(target, summary)}))
        sizes = await asyncio.to_thread(lambda: {file: _size(file) for file in files})
        progress.files, progress.total = len(files), sum(sizes.values())
        for file in files:
            progress.now, progress.page, progress.of, progress.size = str(file), 0, 0, sizes[file]
            tell(progress)
            await _file(store, host, file, limits, summary, progress, tell)
            progress.done += 1
            if progress.page:
                progress.behind += progress.size
            else:  # it took no time, and says nothing of how long the others take
                progress.total -= progress.size
        await asyncio.to_thread(_gone, store, targets, set(files), summary)
        summary.dropped = await asyncio.to_thread(store.sweep)
        reading = time.monotonic() - progress.began
        progress.stage, progress.began = "embedding", time.monotonic()
        await embed(store, host, progress, tell)
    summary.seconds, summary.pages = reading + time.monotonic() - progress.began, progress.pages
    return summary


def _offered(host: Any) -> bool:
    """Whether pictures of text can be read now."""
    try:
        return host is not None and host.get(TextReader) is not None
    except OmniError:
        return False


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def walk(target: Path, summary: Summary) -> Iterator[Path]:
    """The documents in a folder, or the one file. Hidden files and folders are left out."""
    if target.is_file():
        if target.suffix.lower() not in KINDS:
            summary.problems.append(
                (str(target), 0, f"it is of a kind that is not read ({', '.join(sorted(KINDS))} are)")
            )
            return
        yield target
        return
    for folder, folders, names in os.walk(
        target,
        onerror=lambda e: summary.problems.append(
            (str(e.filename), 0, f"it can't be opened ({(e.strerror or '').lower()})")
        ),
    ):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in KINDS:
                yield path


async def _file(
    store: Store,
    host: Any,
    file: Path,
    limits: Limits,
    summary: Summary,
    progress: Progress,
    tell: Callable[[Progress], None],
) -> None:
    path = str(file)
    try:
        stat = await asyncio.to_thread(file.stat)
        known = await asyncio.to_thread(store.file, path)
        again = _offered(host) and any(one[0] == path and one[2] == NO_READER for one in store.problems())
        same = known is not None and known[1:] == (stat.st_size, stat.st_mtime_ns)
        if known and same and not again and store.state(known[0]) == "ready":
            summary.unchanged += 1
            summary.problems.extend(problem for problem in store.problems() if problem[0] == path)
            return
        if not stat.st_size:
            await _wrong(store, summary, path, [(0, "it is empty")])
            return
        digest = await asyncio.to_thread(digest_of, file)
    except OSError as error:
        what = (
            "it is not there any more"
            if isinstance(error, FileNotFoundError)
            else f"it can't be read ({(error.strerror or '').lower()})"
        )
        await _wrong(store, summary, path, [(0, what)])
        return
    if store.state(digest) == "ready" and not again:
        if known and known[0] == digest:
            summary.unchanged += 1
        else:
            summary.moved += 1
        await asyncio.to_thread(store.no_problem, path)
        await asyncio.to_thread(store.point, path, digest, stat.st_size, stat.st_mtime_ns)
        return

    def on_page(number: int, of: int) -> None:
        progress.page, progress.of = number, of
        progress.pages += 1
        tell(progress)

    await asyncio.to_thread(store.no_problem, path)
    try:
        problems = await read_document(store, host, file, digest, limits, on_page)
    except Unreadable as error:
        await _wrong(store, summary, path, [(0, error.message)])
        return
    except OSError as error:
        if error.errno == 28:
            raise DiskFull(
                "There is no room left on the disk.", "Make room, then index again: it goes on where it stopped."
            ) from error
        await _wrong(store, summary, path, [(0, f"it can't be read ({(error.strerror or '').lower()})")])
        return
    await asyncio.to_thread(store.point, path, digest, stat.st_size, stat.st_mtime_ns)
    await _wrong(store, summary, path, problems)
    summary.read += 1
    summary.added.append(digest)


async def _wrong(store: Store, summary: Summary, path: str, problems: list[tuple[int, str]]) -> None:
    for page, message in problems:
        summary.problems.append((path, page, message))
        await asyncio.to_thread(store.problem, path, message, page)


def digest_of(file: Path) -> str:
    """sha256 of the content."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _gone(store: Store, targets: list[Path], present: set[Path], summary: Summary) -> None:
    """Drop files that were under the targets and are there no more; not when a whole target vanished."""
    lost = []
    for target in targets:
        if not target.exists():
            summary.problems.append(
                (str(target), 0, "it vanished while it was being indexed; what was read of it is kept")
            )
            store.problem(str(target), "it vanished while it was being indexed; what was read of it is kept")
            continue
        store.no_problem(str(target))
        for (path,) in store.rows("SELECT path FROM files UNION SELECT path FROM problems"):
            one = Path(path)
            if one not in present and (one == target or target in one.parents) and not os.path.lexists(one):
                lost.append(path)
    summary.gone = len([path for path in lost if store.file(path)])
    store.drop_files(lost)


async def embed(
    store: Store, host: Any, progress: Progress | None = None, tell: Callable[[Progress], None] = lambda p: None
) -> None:
    """Give a vector to every passage that has none. Without an embedder the next run does it."""
    progress = progress or Progress()
    while True:
        batch = await asyncio.to_thread(store.without_vector, BATCH)
        if not batch:
            return
        progress.waiting = await asyncio.to_thread(store.missing_vectors)
        tell(progress)
        try:
            if host is None:
                raise CapabilityUnavailable("No embedder.")
            vectors = await host.get(Embedder, space="text").embed_text([text[:LETTERS] for _, text in batch])
        except DiskFull:
            raise
        except OmniError as error:
            log.warning("documents are found by their words alone: %s", error)
            return
        await asyncio.to_thread(store.add_vectors, [key for key, _ in batch], vectors)
        progress.embedded += len(batch)


def _room(folder: Path) -> None:
    import shutil

    free = shutil.disk_usage(folder).free
    if free < FREE:
        raise DiskFull(f"Only {free // 2**20} MB are free in {folder}.", "Make room, then index again.")
