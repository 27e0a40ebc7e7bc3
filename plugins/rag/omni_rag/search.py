"""Finding: full text and meaning over several kinds of chunks, fused by rank, then re-ranked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omni.capabilities import Embedder, Reranker
from omni.errors import OmniError
from omni_rag.query import coverage, fts, rarity, terms
from omni_rag.store import Store, Stored

log = logging.getLogger("omni.rag")

LIST = 80  #: candidates of each list
RERANKED = 20
K = 60.0  #: of reciprocal rank fusion (Cormack et al., 2009)
PAGE_WEIGHT = 0.6  #: of the list of whole pages
LETTERS = 900  #: of a passage that are re-ranked
WEIGHTS = (0.40, 0.25, 0.35)  #: of the re-ranker, the fused rank and the words held


@dataclass(slots=True)
class Hit:
    """A chunk that fits, with what speaks for it."""

    chunk: Stored
    score: float = 0.0
    ranks: dict[str, int] = field(default_factory=dict)
    cosine: float = 0.0
    rerank: float = 0.0
    covered: float = 0.0  #: share of the question's words, by rarity, that it holds


async def search(
    store: Store, host: Any, question: str, *, limit: int = RERANKED, digests: Sequence[str] = ()
) -> list[Hit]:
    """The chunks that fit best, best first. `digests` narrows it to these contents."""
    if not question.strip():
        return []
    vector = await _vector(host, question)
    hits, context = await asyncio.to_thread(_candidates, store, question, vector, tuple(digests))
    hits = hits[: max(limit, RERANKED)]
    await _rerank(host, question, hits, context)
    return hits[:limit]


async def _vector(host: Any, question: str) -> Any:
    try:
        return (await host.get(Embedder, space="text").embed_text([question[:1200]], query=True))[0] if host else None
    except OmniError as error:
        log.info("searching by words alone: %s", error)
        return None


def _candidates(
    store: Store, question: str, vector: Any, digests: tuple[str, ...]
) -> tuple[list[Hit], tuple[list[str], list[float]]]:
    lists: dict[str, list[int]] = {}
    cosines: dict[int, float] = {}
    query = fts(question)
    if query:
        lists["words"] = [i for i, _ in store.by_words(query, LIST, digests=digests)]
    ids, matrix = store.matrix()
    if vector is not None and len(ids) and matrix.shape[1] == len(vector):
        scores = matrix @ np.asarray(vector, np.float32)
        if digests:
            scores = np.where(np.isin(ids, store.ids_of(digests)), scores, -2.0)
        top = np.argsort(-scores, kind="stable")[:LIST]
        lists["meaning"] = [int(ids[i]) for i in top if scores[i] > -1.5]
        cosines = {int(ids[i]): float(scores[i]) for i in top}
    pages = [i for i, _ in store.by_words(query, 30, pages=True, digests=digests)] if query else []
    page_chunks = store.chunks(pages)
    page_rank = {(page_chunks[i].digest, page_chunks[i].page): rank for rank, i in enumerate(pages)}
    chunks = store.chunks(list({i for found in lists.values() for i in found}))
    hits = {i: Hit(chunk, cosine=cosines.get(i, 0.0)) for i, chunk in chunks.items()}
    for name, found in lists.items():
        for rank, i in enumerate(found):
            hits[i].ranks[name] = rank
            hits[i].score += 1 / (K + rank)
    for hit in hits.values():
        rank = page_rank.get((hit.chunk.digest, hit.chunk.page))
        if rank is not None:
            hit.ranks["page"] = rank
            hit.score += PAGE_WEIGHT / (K + rank)
    asked = terms(question)
    weights = rarity(*store.frequency([f'"{term}"' for term in asked]))
    return sorted(hits.values(), key=lambda hit: (-hit.score, hit.chunk.id)), (asked, weights)


async def _rerank(host: Any, question: str, hits: list[Hit], context: tuple[list[str], list[float]]) -> None:
    """Order the hits by re-ranker, fused rank and words held together."""
    if not hits:
        return
    try:
        if host is None:
            raise OmniError("No re-ranker.")
        scores = await host.get(Reranker).rerank(question, [hit.chunk.full[:LETTERS] for hit in hits])
        for hit, score in zip(hits, scores, strict=True):
            hit.rerank = float(score)
    except OmniError as error:
        log.info("not re-ranked: %s", error)
    best = max(hit.score for hit in hits)
    asked, weights = context
    for hit in hits:
        hit.covered = coverage(asked, hit.chunk.full, weights)
    a, b, c = WEIGHTS
    for hit in hits:
        hit.score = a * hit.rerank + b * hit.score / best + c * hit.covered
    hits.sort(key=lambda hit: (-hit.score, hit.chunk.id))
