"""Gives every moment with words a vector of meaning, in the background and in batches."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import Embedder, Moment
from omni.errors import BadInput, CapabilityUnavailable, OmniError
from omni_memory.store import Store

log = logging.getLogger("omni.memory")

SPACE = "text"
BATCH = 32
#: Texts that may wait at once; more are found again by the next look through the table.
WAITING = 1024
#: Characters of a text that are embedded: the model reads about 256 tokens.
CHARACTERS = 1200
RETRY_S = 60.0
#: A question is answered without meaning rather than late.
QUERY_S = 2.0


class Embedding:
    """The queue of texts to embed, and the query's own vector. Lives on the loop."""

    def __init__(self, store: Store, host: Any, run: Any) -> None:
        self._store = store
        self._host = host
        self._run = run  #: runs a blocking function off the loop
        self._waiting: dict[str, str] = {}
        self._more = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._missed = True  #: look through the table for texts without a vector
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work, if there is a host to ask for an embedder."""
        if self._host is not None and self._task is None:
            self._idle.clear()
            self._more.set()
            self._task = asyncio.create_task(self._work(), name="memory-embedding")

    async def stop(self) -> None:
        """End. What waits is found again at the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def add(self, ids: Sequence[str], moments: Sequence[Moment]) -> None:
        """These were remembered: embed those with words and without a vector."""
        if self._host is None:
            return
        for item, moment in zip(ids, moments, strict=True):
            if moment.text.strip() and SPACE not in moment.vectors:
                if len(self._waiting) >= WAITING:
                    self._missed = True
                    break
                self._waiting[item] = moment.text
        if self._waiting:
            self._idle.clear()
            self._more.set()

    async def settled(self) -> None:
        """Return when nothing waits."""
        await self._idle.wait()

    async def query(self, text: str) -> NDArray[np.float32] | None:
        """The query's vector; None when there is no embedder at present, or it is too slow."""
        if self._host is None:
            return None
        try:
            embedder = self._host.get(Embedder, space=SPACE)
            vectors = await asyncio.wait_for(embedder.embed_text([text[:CHARACTERS]], query=True), QUERY_S)
        except (OmniError, TimeoutError) as error:
            log.info("recalling by words alone: %s", error or "the embedder is slow")
            return None
        dimension = await self._run(self._store.tables.dimension, SPACE)
        return vectors[0] if dimension in (None, len(vectors[0])) else None

    async def _work(self) -> None:
        while True:
            await self._more.wait()
            try:
                await self._once()
            except CapabilityUnavailable as error:
                log.info("texts wait for their meaning: %s", error)
                await self._rest()
            except Exception:
                log.exception("embedding for the memory failed")
                await self._rest()

    async def _rest(self) -> None:
        self._waiting.clear()  # they are in the table, and found there again
        self._missed = True
        self._idle.set()
        await asyncio.sleep(RETRY_S)

    async def _once(self) -> None:
        """One batch, or one look through the table."""
        if not self._waiting and self._missed:
            await self._look()
        if not self._waiting:
            self._more.clear()
            self._idle.set()
            return
        batch = dict(list(self._waiting.items())[:BATCH])
        embedder = self._host.get(Embedder, space=SPACE)
        vectors = await embedder.embed_text([text[:CHARACTERS] for text in batch.values()])
        await self._fit(int(vectors.shape[1]))
        try:
            await self._run(self._store.add_vectors, SPACE, dict(zip(batch, vectors, strict=True)))
        except BadInput as error:
            log.warning("%s", error)
        for item in batch:
            self._waiting.pop(item, None)

    async def _look(self) -> None:
        """Queue texts that have no vector yet, the newest first."""
        self._missed = False
        if not self._store.writer:
            return
        await self._run(self._store.flush)
        missing = await self._run(self._store.tables.without_vector, SPACE)
        self._missed = len(missing) > WAITING
        found = await self._run(self._store.tables.fetch, missing[:WAITING])
        self._waiting.update({item: moment.text for item, moment in found.items() if moment.text.strip()})

    async def _fit(self, dimension: int) -> None:
        """Another embedder than before: its vectors replace the old ones, which can't be compared with them."""
        present = await self._run(self._store.tables.dimension, SPACE)
        if present not in (None, dimension) and self._store.writer:
            log.warning("the embedder changed from %s to %s dimensions: embedding the memory anew", present, dimension)
            await self._run(self._store.drop_space, SPACE)
            self._missed = True
