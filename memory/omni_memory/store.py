"""The memory folder at work: journal first, tables in the background, one writer.

`Store` is synchronous and thread-safe; `memory.LanceMemory` is its async face. What is in the
journal but not yet in the tables is read from the journal, by every process alike, so a moment
can be recalled as soon as it was acknowledged. The order "journal, then tables" in every read and
"tables, then journal" in every flush means that nothing is ever in neither.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Moment, Recalled
from omni.errors import BadInput, Busy, OmniError
from omni_memory import recall, schema
from omni_memory.journal import Journal, Record, Tail, read_segment
from omni_memory.locking import FolderLock
from omni_memory.schema import Filter
from omni_memory.tables import Tables, lance, migrate

log = logging.getLogger("omni.memory")
T = TypeVar("T")

#: Flushes between two optimisations, and rows that bring one forward: unindexed rows make full text slower.
OPTIMISE_FLUSHES = 32
OPTIMISE_ROWS = 2000
#: How often retention is looked after.
EVERY_S = 3600.0
#: How long another process's writer may take to carry out a `forget`.
FORGET_WAIT_S = 60.0


@dataclass(slots=True)
class Fresh:
    """What the journal says that the tables do not know yet."""

    moments: dict[str, Moment] = field(default_factory=dict)
    vectors: dict[str, dict[str, NDArray[np.float32]]] = field(default_factory=dict)  #: moment -> space -> vector
    gone: set[str] = field(default_factory=set)
    given: bool = False  #: whether some ids were not made by the memory, so that they may be in the tables already

    def apply(self, record: Record) -> None:
        """Take in one record of the journal."""
        match record["op"]:
            case "put":
                for values in record["moments"]:
                    moment = schema.from_wire(dict(values))
                    self.moments[moment.id] = moment
                self.given |= record.get("given", False)
            case "vectors":
                for item, vector in record["vectors"].items():
                    self.vectors.setdefault(item, {})[record["space"]] = np.frombuffer(vector, "<f4")
            case "forget":
                for item in record["ids"]:
                    self.moments.pop(item, None)
                    self.vectors.pop(item, None)
                    self.gone.add(item)

    @property
    def hidden(self) -> set[str]:
        """What is deleted but may still be in the tables."""
        return self.gone - self.moments.keys()

    def complete(self) -> dict[str, Moment]:
        """The moments with vectors that came later."""
        return {
            i: replace(m, vectors={**m.vectors, **self.vectors[i]}) if i in self.vectors else m
            for i, m in self.moments.items()
        }


class Store:
    """One process's hold on a memory folder. Only the process that has the lock writes tables."""

    def __init__(self, folder: Path, *, flush_s: float = 1.0, language: str = "English") -> None:
        self.folder = Path(folder)
        self.trouble = ""  #: why the last flush failed, in a sentence; empty when all is well
        self._flush_s = flush_s
        self._language = language
        self._lock = FolderLock(self.folder)
        self._role_lock = threading.Lock()
        self._journal = Journal(self.folder / "journal")
        self._tail = Tail(self._journal)
        self._fresh_lock = threading.Lock()
        self._fresh_key: list[Record] = []
        self._fresh = Fresh()
        self._lance: ThreadPoolExecutor | None = None
        self._stop = threading.Event()
        self._timer: threading.Thread | None = None
        self._duty: Callable[[], object] | None = None
        self._tables: Tables | None = None
        self._replayed = False
        self._flushes = 0
        self._rows = 0

    # -- life ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Take the folder in use. A folder of a newer schema is refused, untouched."""
        version = schema.read_version(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tables = Tables(self.folder / "lance", writable=False, stemming_language=self._language)
        lance()  # now, so that neither the first question nor the first flush pays for the import
        self._lance = ThreadPoolExecutor(1, "memory-lance")
        if self._lock.acquire():
            self._become_writer(version)
        elif version and version < schema.SCHEMA:
            raise Busy(f"Another process is bringing the memory in {self.folder} up to date.", "Try again in a minute.")

    def _become_writer(self, version: int) -> None:
        self.tables.writable = True
        if version != schema.SCHEMA:
            if version:
                migrate(self.tables, version)
            schema.write_version(self.folder)
        for path in self._journal.folder.glob("*.tmp"):
            if path.stat().st_mtime < time.time() - 60.0:
                path.unlink(missing_ok=True)  # what was being handed over when its process died: never acknowledged
        self._timer = threading.Thread(target=self._run, name="memory-flush", daemon=True)
        self._timer.start()

    @property
    def tables(self) -> Tables:
        if self._tables is None:
            raise OmniError("The memory is not open.", "Call open() first.")
        return self._tables

    @property
    def writer(self) -> bool:
        """Whether this process writes the tables. Another's place is taken when it has gone."""
        with self._role_lock:
            if not self._lock.held and self._tables is not None and self._lock.acquire():
                self._become_writer(schema.read_version(self.folder))
            return self._lock.held

    def close(self) -> None:
        """Flush, then give everything back. Idempotent."""
        if self._tables is None:
            return
        self._stop.set()
        if self._timer is not None:
            self._timer.join()
            try:
                self.flush()
            except OmniError as error:
                log.warning("%s", error)  # the journal keeps it for the next start
        if self._lance is not None:
            self._lance.shutdown(wait=True)
        self._lock.release()
        self._tables = self._timer = self._lance = None

    def _run(self) -> None:
        wait, next_duty = self._flush_s, 0.0
        while not self._stop.wait(wait):
            try:
                if self._journal.segments():
                    self.flush()
                if self._duty is not None and time.monotonic() >= next_duty:
                    next_duty = time.monotonic() + EVERY_S
                    self._duty()
                wait = self._flush_s
            except OmniError as error:
                wait = min(30.0, wait * 2)
                log.warning("%s", error)

    def each_hour(self, duty: Callable[[], object]) -> None:
        """Run `duty` soon and then every hour, while this process is the writer."""
        self._duty = duty

    def drop_space(self, space: str) -> None:
        """Drop every vector of a space; the moments stay."""
        self.flush()
        self.background(lambda: self.tables.drop_space(space)).result()

    def background(self, function: Callable[[], T]) -> Future[T]:
        """Run `function` in the one thread that writes tables."""
        if self._lance is None:
            raise OmniError("The memory is not open.", "Call open() first.")
        return self._lance.submit(function)

    # -- writing ------------------------------------------------------------------------------

    def remember(self, moments: Sequence[Moment]) -> list[str]:
        """Keep them; on return they survive a kill. Returns their ids."""
        record, ids = put_record(moments)
        if ids:
            self.write([record])
        return ids

    def add_vectors(self, space: str, vectors: dict[str, NDArray[np.float32]]) -> None:
        """Give moments (by id) a vector in `space` that they did not have."""
        units = {item: schema.unit(vector, space).astype("<f4").tobytes() for item, vector in vectors.items()}
        if units:
            self.write([{"op": "vectors", "space": space, "vectors": units}])

    def write(self, records: Sequence[Record]) -> None:
        """Make records durable with one sync of the disk; see `put_record`."""
        if self.writer:
            self._journal.append(records)
        else:
            self._journal.drop(records)

    def flush(self) -> None:
        """Bring the journal into the tables and let go of it. Raises `OmniError` and loses nothing when that fails."""
        try:
            self.background(self._flush).result()
            self.trouble = ""
        except Exception as error:
            self.trouble = f"The memory's tables in {self.folder} can't be written: {error}."
            remedy = "What was said is safe in the journal; free some space or check the rights."
            raise OmniError(self.trouble, remedy) from error

    def _flush(self) -> None:
        began = time.time()
        self._journal.seal()
        paths = self._journal.sealed()
        fresh = Fresh(given=not self._replayed)  # what a killed process left may be in the tables already
        for path in paths:
            read = read_segment(path)
            if read.damaged:
                log.error("%d records of %s are damaged and were left out", read.damaged, path.name)
            for record in read.records:
                fresh.apply(record)
        if not paths:
            return
        if not self._replayed:
            self.tables.repair()
        self.tables.delete(fresh.gone)
        moments = fresh.complete()
        warnings = self.tables.put(list(moments.values()), fresh=not fresh.given)
        warnings += self._put_late_vectors({i: v for i, v in fresh.vectors.items() if i not in moments})
        for warning in warnings:
            log.warning("%s They are found by their words.", warning)
        if fresh.gone:
            self.tables.purge()
        self.tables.sync(began)
        self._journal.remove(paths)
        self._replayed = True
        self._flushes += 1
        self._rows += len(moments) + len(fresh.vectors)
        if self._flushes >= OPTIMISE_FLUSHES or self._rows >= OPTIMISE_ROWS:
            self.tables.optimise()
            self._flushes = self._rows = 0

    def _put_late_vectors(self, late: dict[str, dict[str, NDArray[np.float32]]]) -> list[str]:
        if not late:
            return []
        known = self.tables.fetch(list(late))
        spaces = {space for vectors in late.values() for space in vectors}
        warnings: list[str] = []
        for space in sorted(spaces):
            items = [(known[i], vectors[space]) for i, vectors in late.items() if i in known and space in vectors]
            if items:
                self.tables.delete_vectors(space, [m.id for m, _ in items])
                warnings += self.tables.put_vectors(space, items)
        return warnings

    def forget(self, where: Filter) -> int:
        """Really delete what `where` lets through, and summaries that rest on it. Returns how many moments went."""
        if not where:
            raise BadInput("Nothing was said about what to forget.", "Name ids, sources, sessions or a time.")
        fresh = self.fresh()
        ids = {m.id for m in fresh.moments.values() if where.matches(m)}
        ids |= set(self.tables.reading(lambda: self.tables.ids(where))) - fresh.hidden
        ids |= self._resting_on(ids, fresh)
        if not ids:
            return 0
        record = {"op": "forget", "ids": sorted(ids)}
        if self.writer:
            self._journal.append([record])
            self.flush()
            return len(ids)
        path = self._journal.drop([record])
        deadline = time.monotonic() + FORGET_WAIT_S
        while path.exists():
            if self.writer:  # the writer has gone: its place is ours
                self.flush()
            elif time.monotonic() > deadline:
                raise Busy(
                    f"The process that writes the memory in {self.folder} has not deleted the moments yet.",
                    "They are marked and go as soon as it gets to it, at the latest when it is started again.",
                )
            time.sleep(0.02)
        return len(ids)

    def _resting_on(self, ids: set[str], fresh: Fresh) -> set[str]:
        """Summaries made from any of `ids`: they hold the same words."""
        stored = self.tables.reading(lambda: list(self.tables.moments(Filter(sources=("summary",)))))
        summaries = [*stored, *(m for m in fresh.moments.values() if m.source == "summary")]
        return {m.id for m in summaries if ids.intersection(m.data.get("of", ()))} if ids else set()

    # -- reading ------------------------------------------------------------------------------

    def fresh(self) -> Fresh:
        """What is in the journal at this moment."""
        with self._fresh_lock:
            records = list(self._tail.records())
            known = self._fresh_key
            if len(records) < len(known) or any(a is not b for a, b in zip(known, records, strict=False)):
                self._fresh, self._fresh_key = Fresh(), []
            new = records[len(self._fresh_key) :]
            if new:
                old = self._fresh  # a snapshot that others may be reading: never changed
                renewed = Fresh(dict(old.moments), {k: dict(v) for k, v in old.vectors.items()}, set(old.gone))
                for record in new:
                    renewed.apply(record)
                self._fresh, self._fresh_key = renewed, records
            return self._fresh

    def recall(
        self, query: str, vector: NDArray[np.float32] | None, space: str, limit: int, where: Filter
    ) -> list[Recalled]:
        """See `Memory.recall`."""
        fresh = self.fresh()
        pending = [m for m in fresh.complete().values() if where.matches(m)]
        tables = self.tables
        if not query.strip() and vector is None:

            def latest() -> list[Recalled]:
                stored = tables.moments(where, newest=limit + len(fresh.hidden))
                return recall.newest(pending, [m for m in stored if m.id not in fresh.hidden], limit)

            return tables.reading(latest)
        target = None if vector is None else schema.unit(vector, space)

        def look() -> list[Recalled]:
            """In the worker: both lists, fused."""
            lists: dict[str, list[str]] = {}
            if target is not None:
                near = recall.merge_nearest(target, space, tables.nearest(space, target, recall.DEPTH, where), pending)
                lists["vector"] = [i for i, _ in near]
            found = tables.full_text(query, recall.DEPTH, where)
            lists["text"] = recall.merge_fresh(query, found, pending)
            lists = {name: [i for i in dict.fromkeys(ids) if i not in fresh.hidden] for name, ids in lists.items()}
            moments = {m.id: m for m in pending}
            covered = (
                recall.coverage(query, dict(found) | {i: m.text for i, m in moments.items()})
                if target is not None
                else {}
            )
            order = recall.fuse(lists, {"text": covered})[: limit * 2 + 10]
            return recall.recalled(order, tables.fetch([i for i, *_ in order if i not in moments]) | moments, limit)

        return tables.reading(look)

    def moments(self, where: Filter, *, newest: int | None = None) -> Iterator[Moment]:
        """Moments that `where` lets through, earliest first."""
        fresh = self.fresh()
        pending = sorted((m for m in fresh.moments.values() if where.matches(m)), key=lambda m: (m.start, m.id))
        if not self.tables.writable:
            self.tables.refresh()
        known = fresh.gone | fresh.moments.keys()
        stored = (m for m in self.tables.moments(where, newest=newest) if m.id not in known)
        return merged(stored, pending)

    def get(self, item: str) -> Moment | None:
        """One moment by its id."""
        fresh = self.fresh()
        if item in fresh.hidden:
            return None
        return fresh.moments.get(item) or self.tables.reading(lambda: self.tables.fetch([item])).get(item)

    def size(self) -> int:
        """Bytes of the folder."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file())


def put_record(moments: Sequence[Moment]) -> tuple[Record, list[str]]:
    """The journal's record of new moments, and their ids. Raises `BadInput` when one can't be kept."""
    kept = [schema.checked(m) for m in moments]
    given = any(m.id for m in moments)
    return {"op": "put", "moments": [schema.to_wire(m) for m in kept], "given": given}, [m.id for m in kept]


def merged(stored: Iterable[Moment], pending: Sequence[Moment]) -> Iterator[Moment]:
    """Two runs of moments in order of time as one."""
    import heapq

    return heapq.merge(stored, pending, key=lambda m: (m.start, m.id))
