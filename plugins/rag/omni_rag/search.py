"""Finding: full text and meaning over several kinds of chunks, fused by rank, then ordered by a few features."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omni.capabilities import Embedder, Reranker
from omni.errors import OmniError
from omni_rag.query import Asked, forms, fts, rarity, terms
from omni_rag.store import Store, Stored

log = logging.getLogger("omni.rag")

LIST = 80  #: candidates of each list
RERANKED = 20
PAGES = 30  #: pages looked at as a whole
UNSEEN = 5  #: good pages none of whose passages is a candidate: the best passage of each joins
K = 60.0  #: of reciprocal rank fusion (Cormack et al., 2009)
PAGE_WEIGHT = 0.6  #: of the list of whole pages
LETTERS = 900  #: of a passage that are re-ranked
FEATURES = ("rerank", "cosine", "fused", "held", "on_page", "wanted", "together")
#: Of the features, in their order: fitted by `benchmarks/docs_fit.py` on the development set.
WEIGHTS = (0.09, 0.07, 0.34, 0.05, 0.29, 0.12, 0.03)


@dataclass(slots=True)
class Hit:
    """A chunk that fits, with what speaks for it, each 0..1 or nearly so."""

    chunk: Stored
    score: float = 0.0
    ranks: dict[str, int] = field(default_factory=dict)
    fused: float = 0.0  #: reciprocal ranks, as a share of the best hit's
    cosine: float = 0.0
    rerank: float = 0.0
    held: float = 0.0  #: share of the question's words, by rarity, that it holds
    on_page: float = 0.0  #: the same of its page, with the document's name
    wanted: float = 0.0  #: it is a figure, or a table, and one was asked for; 2 on the cover, if that was
    together: float = 0.0  #: share of neighbouring words of the question that stand together in it

    def features(self) -> tuple[float, ...]:
        """What its score is made of."""
        return tuple(getattr(self, name) for name in FEATURES)


async def search(
    store: Store, host: Any, question: str, *, limit: int = RERANKED, digests: Sequence[str] = ()
) -> list[Hit]:
    """The chunks that fit best, best first. `digests` narrows it to these contents."""
    if not question.strip():
        return []
    vector = await _vector(host, question)
    asked = await asyncio.to_thread(understood, store, question)
    hits = await asyncio.to_thread(_candidates, store, asked, vector, tuple(digests), max(limit, RERANKED))
    await _rerank(host, asked, hits)
    order(hits)
    return hits[:limit]


def understood(store: Store, question: str) -> Asked:
    """The question with its words weighed by how rare they are in the index."""
    kept = terms(question)
    return Asked(question, tuple(kept), tuple(rarity(*store.frequency([forms(term) for term in kept]))))


def order(hits: list[Hit], weights: Sequence[float] = WEIGHTS) -> None:
    """Set the scores and sort, best first."""
    for hit in hits:
        hit.score = sum(w * x for w, x in zip(weights, hit.features(), strict=True))
    hits.sort(key=lambda hit: (-hit.score, hit.chunk.id))


async def _vector(host: Any, question: str) -> Any:
    try:
        return (await host.get(Embedder, space="text").embed_text([question[:1200]], query=True))[0] if host else None
    except OmniError as error:
        log.info("searching by words alone: %s", error)
        return None


def _candidates(store: Store, asked: Asked, vector: Any, digests: tuple[str, ...], limit: int) -> list[Hit]:
    """The best of the fused lists, and passages of good pages that are on none; all features but the re-ranker's."""
    lists: dict[str, list[int]] = {}
    cosines: dict[int, float] = {}
    query = fts(asked.text)
    if query:
        lists["words"] = [i for i, _ in store.by_words(query, LIST, digests=digests)]
    ids, matrix = store.matrix()
    if vector is not None and len(ids) and matrix.shape[1] == len(vector):
        scores = matrix @ np.asarray(vector, np.float32)
        if digests:
            scores = np.where(np.isin(ids, store.ids_of(digests)), scores, -2.0)
        top = np.argsort(-scores, kind="stable")[:LIST]
        lists["meaning"] = [int(ids[i]) for i in top if scores[i] > -1.5]
        cosines = {int(i): float(score) for i, score in zip(ids, scores, strict=True)}
    pages = [i for i, _ in store.by_words(query, PAGES, pages=True, digests=digests)] if query else []
    page_chunks = store.chunks(pages)
    page_rank = {(page_chunks[i].digest, page_chunks[i].page): rank for rank, i in enumerate(pages)}
    chunks = store.chunks(list({i for found in lists.values() for i in found}))
    hits = {i: Hit(chunk) for i, chunk in chunks.items()}
    for name, found in lists.items():
        for rank, i in enumerate(found):
            hits[i].ranks[name] = rank
            hits[i].fused += 1 / (K + rank)
    for hit in hits.values():
        rank = page_rank.get((hit.chunk.digest, hit.chunk.page))
        if rank is not None:
            hit.ranks["page"] = rank
            hit.fused += PAGE_WEIGHT / (K + rank)
    best = sorted(hits.values(), key=lambda hit: (-hit.fused, hit.chunk.id))[:limit]
    best += _unseen(store, asked, list(page_rank), best)
    _describe(store, asked, best, cosines)
    return best


def _unseen(store: Store, asked: Asked, pages: Sequence[tuple[str, int]], hits: Sequence[Hit]) -> list[Hit]:
    """Of the best whole pages none of whose passages was found, the passage that holds most of the question."""
    seen = {(hit.chunk.digest, hit.chunk.page) for hit in hits}
    found = []
    for rank, (digest, page) in enumerate(pages[: 2 * UNSEEN]):
        if (digest, page) in seen or len(found) == UNSEEN:
            continue
        chunks = store.on_page(digest, page)
        if chunks:
            chunk = max(chunks, key=lambda one: (asked.held(one.full), one.kind == "figure", len(one.text)))
            found.append(Hit(chunk, ranks={"page": rank}, fused=PAGE_WEIGHT / (K + rank)))
    return found


def _describe(store: Store, asked: Asked, hits: Sequence[Hit], cosines: dict[int, float]) -> None:
    """Set the features that need no model."""
    most = max((hit.fused for hit in hits), default=1.0)
    texts = store.page_texts({(hit.chunk.digest, hit.chunk.page) for hit in hits})
    for hit in hits:
        chunk = hit.chunk
        hit.fused /= most
        hit.cosine = cosines.get(chunk.id, 0.0)
        hit.held = asked.held(chunk.full)
        hit.on_page = asked.held(f"{texts.get((chunk.digest, chunk.page), '')} {chunk.full}")
        hit.together = asked.together(chunk.full)
        hit.wanted = float(
            (asked.picture and chunk.kind == "figure") or (asked.table and chunk.kind in ("table", "row"))
        )
        if hit.wanted and asked.cover and chunk.page == 1:
            hit.wanted = 2.0


async def _rerank(host: Any, asked: Asked, hits: Sequence[Hit]) -> None:
    """Ask the re-ranker, if there is one."""
    if not hits or host is None:
        return
    try:
        scores = await host.get(Reranker).rerank(asked.text, [hit.chunk.full[:LETTERS] for hit in hits])
    except OmniError as error:
        log.info("not re-ranked: %s", error)
        return
    for hit, score in zip(hits, scores, strict=True):
        hit.rerank = float(score)
