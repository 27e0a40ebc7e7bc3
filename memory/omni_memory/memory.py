"""The `Memory` capability: the async face of `store.Store`. Nothing here blocks the loop."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import MemoryStats, Message, Moment, PastSession, Recalled
from omni.errors import BadInput
from omni_memory import history, recall, retention
from omni_memory.embedding import Embedding
from omni_memory.schema import Filter, now
from omni_memory.store import Record, Store, put_record
from omni_memory.summarise import summarise

T = TypeVar("T")

MAX_LIMIT = 1000
EXPORT_BATCH = 256


class LanceMemory:
    """One process's memory in `folder`. Without a `host` to ask for an embedder, words alone."""

    def __init__(self, folder: Path, *, host: Any = None, settings: dict[str, Any] | None = None) -> None:
        self.settings = settings or {}
        self._store = Store(Path(folder), language=self.settings.get("language", "English"))
        self._host = host
        self._reads = ThreadPoolExecutor(2, "memory-read")
        self._writes = ThreadPoolExecutor(1, "memory-journal")
        self._pending: deque[_Batch] = deque()
        self._pending_lock = threading.Lock()
        self._embedding: Embedding | None = None
        self._open = False

    # -- life ---------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take the folder in use. Raises `MemoryTooNew`, `MemoryDamaged` or `Busy`, and changes nothing then."""
        if self._open:
            return
        await self._run(self._store.open)
        keep = functools.partial(
            retention.retain,
            self._store,
            days=self.settings.get("retention_days", 0),
            max_mb=self.settings.get("max_mb", 0),
        )
        self._store.each_hour(keep)
        self._embedding = Embedding(self._store, self._host, self._run)
        self._embedding.start()
        self._open = True

    async def close(self) -> None:
        """Flush and give everything back. Idempotent."""
        if self._embedding is not None:
            await self._embedding.stop()
        if self._open:
            self._open = False
            await self._run(self._store.close)
        self._reads.shutdown(wait=False)
        self._writes.shutdown(wait=False)

    async def _run(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reads, functools.partial(function, *args, **kwargs))

    async def settled(self) -> None:
        """Return when everything remembered so far is in the tables, with its meaning where there is an embedder."""
        if self._embedding is not None:
            await self._embedding.settled()
        if self._store.writer:
            await self._run(self._store.flush)

    # -- writing ------------------------------------------------------------------------------

    async def remember(self, moments: Sequence[Moment]) -> list[str]:
        """See `Memory.remember`. Calls that come together share one sync of the disk."""
        record, ids = put_record(moments)
        if not ids:
            return []
        batch = _Batch(record)
        with self._pending_lock:
            self._pending.append(batch)
        await asyncio.get_running_loop().run_in_executor(self._writes, self._commit)
        if batch.error is not None:
            raise batch.error
        if self._embedding is not None:
            self._embedding.add(ids, moments)
        return ids

    def _commit(self) -> None:
        """Write whatever waits, in the one thread that does; an earlier call may have taken this one's batch along."""
        with self._pending_lock:
            batches = list(self._pending)
            self._pending.clear()
        if not batches:
            return
        try:
            self._store.write([batch.record for batch in batches])
        except Exception as error:
            for batch in batches:
                batch.error = error

    async def forget(
        self,
        ids: Sequence[str] = (),
        *,
        sources: Sequence[str] = (),
        sessions: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> int:
        """See `Memory.forget`. When this returns, no file of the folder holds the words or vectors any more."""
        where = Filter(tuple(sources), tuple(sessions), after, before, tuple(ids))
        return await self._run(self._store.forget, where)

    async def summarise(
        self,
        session: str,
        said: Sequence[Message],
        *,
        turns: tuple[int, int] = (0, 0),
        words: int = 120,
        keep: bool = True,
    ) -> str:
        """See `Memory.summarise`."""
        text = await summarise(self._host, said, words)
        if keep and text and session and self.settings.get("record", True):
            spoken = await self.timeline(session, sources=(history.SPEECH,), limit=MAX_LIMIT)
            rests = [m for m in spoken if turns == (0, 0) or turns[0] <= m.turn <= turns[1]]
            data = {"turns": list(turns), "of": [m.id for m in rests]}
            start = rests[0].start if rests else now()
            end = rests[-1].end if rests else start
            await self.remember([Moment("summary", text, start, end, session=session, turn=turns[1], data=data)])
        return text

    # -- reading ------------------------------------------------------------------------------

    async def recall(
        self,
        query: str = "",
        *,
        vector: NDArray[np.float32] | None = None,
        space: str = "text",
        limit: int = 5,
        sources: Sequence[str] = (),
        sessions: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> list[Recalled]:
        """See `Memory.recall`. Without a `vector`, the query's own is made where there is an embedder."""
        where = Filter(tuple(sources), tuple(sessions), after, before)
        limit = _limit(limit)
        if vector is None and query.strip() and space == "text" and self._embedding is not None:
            vector = await self._embedding.query(query)
        return await self._run(self._store.recall, query, vector, space, limit, where)

    async def around(self, moment: str, *, seconds: float = 30.0, sources: Sequence[str] = ()) -> list[Moment]:
        """See `Memory.around`: in order of time, without the moment itself."""
        found = await self._run(self._store.get, moment)
        if found is None:
            raise BadInput(f"There is no moment {moment!r} in the memory.", "It may have been forgotten.")
        where = replace(recall.overlapping(found, seconds), sources=tuple(sources))
        near = await self._run(lambda: list(self._store.moments(where)))
        return [m for m in near if m.id != moment and m.end >= found.start - seconds]

    async def sessions(self, query: str = "", *, limit: int = 50) -> list[PastSession]:
        """See `Memory.sessions`."""
        only: list[str] | None = None
        if query.strip():
            found = await self.recall(query, limit=200)
            only = list(dict.fromkeys(r.moment.session for r in found if r.moment.session))
            if not only:
                return []
        return await self._run(history.sessions, self._store, only, _limit(limit))

    async def timeline(
        self,
        session: str = "",
        *,
        sources: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
        limit: int = 1000,
    ) -> list[Moment]:
        """See `Memory.timeline`."""
        where = Filter(tuple(sources), (session,) if session else (), after, before)
        limit = _limit(limit)
        return await self._run(lambda: list(self._store.moments(where, newest=limit))[-limit:])

    async def export(
        self,
        *,
        sessions: Sequence[str] = (),
        sources: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> AsyncIterator[Moment]:
        """See `Memory.export`: read in batches, so that memory use does not grow with the timeline."""
        where = Filter(tuple(sources), tuple(sessions), after, before)
        moments = await self._run(self._store.moments, where)
        while batch := await self._run(lambda: [m for _, m in zip(range(EXPORT_BATCH), moments, strict=False)]):
            for moment in batch:
                yield moment

    async def stats(self) -> MemoryStats:
        """See `Memory.stats`."""
        return await self._run(history.stats, self._store)


class _Batch:
    """A record on its way into the journal, and what came of it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.error: Exception | None = None


def _limit(limit: int) -> int:
    if limit < 1:
        raise BadInput(f"{limit} moments can't be asked for.", "Ask for one or more.")
    return min(limit, MAX_LIMIT)
