"""The documents of one Omni: index, ask, show, forget. What the command, the tools and the panel share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omni.capabilities import Memory, Moment
from omni.errors import BadInput, OmniError
from omni_rag.answer import Answer, ask, chosen
from omni_rag.evidence import Citation, cite
from omni_rag.indexing import Progress, Summary, index
from omni_rag.sandbox import Limits, render
from omni_rag.search import search
from omni_rag.store import Store

log = logging.getLogger("omni.rag")

AROUND = 26.0  #: points shown around a cited box
REMEMBERED = 1500  #: letters of a page that go to the memory


class Library:
    """On one folder; `host` gives embedder, re-ranker, text recognition, chat model and memory, where there are any."""

    def __init__(self, folder: Path, host: Any = None, settings: dict[str, Any] | None = None) -> None:
        settings = settings or {}
        self.store = Store(folder)
        self.host = host
        self.limits = Limits(
            memory_mb=int(settings.get("memory_mb") or 1536), page_s=float(settings.get("page_s") or 60.0)
        )
        self.word = bool(settings.get("word_answers", True))

    def close(self) -> None:
        """Idempotent."""
        self.store.close()

    async def index(self, targets: Sequence[Path], tell: Callable[[Progress], None] = lambda p: None) -> Summary:
        """Bring the index up to date with files and folders, and tell the memory."""
        summary = await index(self.store, self.host, list(targets), self.limits, tell)
        await self._remember(summary)
        return summary

    async def ask(self, question: str, documents: Sequence[str] = (), *, word: bool | None = None) -> Answer:
        """See `answer.ask`."""
        return await ask(self.store, self.host, question, documents=documents, word=self.word if word is None else word)

    async def find(self, query: str, documents: Sequence[str] = (), limit: int = 8) -> list[Citation]:
        """The passages that fit best."""
        if not any(c.isalnum() for c in query):
            raise BadInput("There is nothing to look for.", "Say some words of it.")
        known = {document.digest: document for document in await asyncio.to_thread(self.store.documents)}
        hits = await search(self.store, self.host, query, digests=chosen(list(known.values()), documents))
        return [
            cite(hit.chunk, known[hit.chunk.digest], 0, len(hit.chunk.text))
            for hit in hits
            if hit.chunk.digest in known
        ][:limit]

    async def crop(self, citation: Citation, *, whole: bool = False, width: int = 900) -> bytes:
        """The cited part of the page (or the `whole` page) as PNG, the passage framed and the quote marked."""
        left, top, right, bottom = citation.box
        box = None if whole else (left - AROUND, top - AROUND, right + AROUND, bottom + AROUND)
        marks = [{"box": mark, "strong": True} for mark in citation.marks] + [{"box": citation.box, "strong": False}]
        image, _ = await render(
            Path(citation.path), citation.page, box=box, marks=marks, width=width, limits=self.limits
        )
        return image

    async def page(self, path: str, page: int, marks: Sequence[dict[str, Any]] = (), width: int = 1000) -> bytes:
        """A page of an indexed file as PNG. Raises `BadInput` for a file that is not in the index."""
        if await asyncio.to_thread(self.store.file, path) is None:
            raise BadInput("That file is not in the index.", "Index it first.")
        image, _ = await render(Path(path), page, marks=marks, width=width, limits=self.limits)
        return image

    async def forget(self, names: Sequence[str]) -> list[str]:
        """Drop documents from the index and the memory; the files stay. Returns their names."""
        known = await asyncio.to_thread(self.store.documents)
        digests = set(chosen(known, names))
        going = [document for document in known if document.digest in digests]
        await asyncio.to_thread(lambda: self.store.drop_files([path for document in going for path in document.paths]))
        dropped = await asyncio.to_thread(self.store.sweep)
        await self._forget(dropped)
        return [document.name for document in going]

    async def _remember(self, summary: Summary) -> None:
        """Each page that was read is a moment of the source "document"; those of dropped contents go."""
        try:
            if self.host is None:
                return
            memory = self.host.get(Memory)
            await self._forget(summary.dropped)
            for digest in summary.added:
                moments = await asyncio.to_thread(self._moments, digest)
                if moments:
                    await memory.forget(ids=[moment.id for moment in moments])
                    await memory.remember(moments)
        except OmniError as error:
            log.info("the memory was not told of the documents: %s", error)

    async def _forget(self, digests: Sequence[str]) -> None:
        if not digests or self.host is None:
            return
        try:
            memory = self.host.get(Memory)
            wanted = set(digests)
            ids = [
                moment.id async for moment in memory.export(sources=["document"]) if moment.data.get("digest") in wanted
            ]
            if ids:
                await memory.forget(ids=ids)
        except OmniError as error:
            log.info("the memory keeps pages of dropped documents: %s", error)

    def _moments(self, digest: str) -> list[Moment]:
        import time

        document = next((one for one in self.store.documents() if one.digest == digest), None)
        if document is None:
            return []
        found = self.store.rows(
            "SELECT page, text FROM chunks WHERE digest = ? AND kind = 'page' ORDER BY page", (digest,)
        )
        now = time.time()
        return [
            Moment(
                "document", f"{document.title or document.name}, page {page}: {text[:REMEMBERED]}", now, now,
                id=f"document-{digest[:24]}-{page}",
                data={"digest": digest, "document": document.name, "path": document.paths[0], "page": page},
            )
            for page, text in found
        ]  # fmt: skip
