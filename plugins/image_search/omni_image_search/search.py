"""Search: words and pictures against the index, several views of a photo added up, and a line below which nothing fits.

Every view gives each photo a score in standard deviations above the gallery's mean for this question, so views add:
what is asked for counts up, what is to be left out counts down. For vectors of one space that is vector arithmetic
(the dot product with a sum is the sum of the dot products); across spaces it still works.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from omni.capabilities import Embedder
from omni.errors import BadInput, CapabilityUnavailable, ModelError, OmniError
from omni_image_search import tune
from omni_image_search.features import BY_TEXT, SPACES
from omni_image_search.languages import Translator, foreign
from omni_image_search.matrix import Matrix, standardise
from omni_image_search.query import Query, full_text, words
from omni_image_search.records import Hit
from omni_image_search.store import Store

WORDS = 0.5  #: weight of full text (BM25) beside the vectors, of which one standard deviation is 1
COLUMNS = (0.05, 1.0, 2.0, 1.0)  #: seen (the vectors know that already), read, written, named
RAREST = 5.0  #: full text counts no more than this
MINUS = 0.6  #: weight of what is to be left out
LIKE = 1.0
SHOWS = 0.17  #: with "auto", how much of what is asked for the labels must see in some photo,
SHARE = 0.5  #: and how much nearer to the question than the mean photo the others must be, as a share of the nearest;
FITS = 0.19  #: where there are no labels, how much nearer any must be in the text space;
SPELLED = 0.5  #: or how much full text it must have in common,
CUT = 3.0  #: or, where there is no text space, how many standard deviations above the mean it must be
SPREAD = 3.0  #: and how far below the best one it may be
SMALL = 12  #: in a smaller gallery the deviations say nothing: no cut-off


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, best first; `note` is what the person should know; `searched` is the text that was searched for."""

    hits: tuple[Hit, ...]
    note: str = ""
    searched: str = ""
    of: int = 0  #: photos that were compared
    best: float = 0.0  #: the score of the best one, whether or not it was good enough


@dataclass(frozen=True, slots=True)
class _Views:
    """Of each photo [n]: `meaning` in standard deviations, `spelled` for words in common (0: none), how much
    `nearer` than the mean photo its text vector is to the question, and how much of it is `shown`; None where unknown.
    """

    meaning: np.ndarray
    spelled: np.ndarray
    nearer: np.ndarray | None
    shown: np.ndarray | None

    def fits(self) -> np.ndarray | None:
        """[n] whether a photo has to do with the question at all; None where there is no measured line for that.

        Standard deviations can't tell: in every gallery some photo is three of them above the mean. What can is
        whether anything that is called about like what was asked for is seen in any photo.
        """
        if self.nearer is None:
            return None
        if self.shown is None:
            return (self.nearer >= FITS) | (self.spelled >= SPELLED)
        there = bool((self.shown >= SHOWS).any())
        return (there & (self.nearer >= SHARE * self.nearer.max())) | (self.spelled >= SPELLED)


class Searcher:
    """Searches one store. One search at a time; what is in memory follows the store."""

    def __init__(self, store: Store, host: Any) -> None:
        self._store = store
        self._host = host
        self._matrices: dict[str, Matrix] = {}
        self._generation: tuple[int, int] | None = None
        self._chosen: tuple[Any, np.ndarray] | None = None  #: the latest narrowing and the photos within it
        self._head: tune.Head | None = None
        self._translator = Translator(host)
        self._lock = asyncio.Lock()

    async def search(self, query: Query) -> Found:
        """What fits. Raises `BadInput` for a question that asks nothing."""
        query = query.checked()
        async with self._lock:
            ids = await asyncio.to_thread(self._candidates, query)
            if not len(ids):
                return Found((), self._nothing(query), query.text)
            text, note = await self._in_english(query.text.strip())
            total = np.zeros(len(ids), np.float32)
            why: dict[str, np.ndarray] = {}
            fits: np.ndarray | None = None
            if text:
                views = await self._by_text(text, ids)
                total += views.meaning + np.minimum(WORDS * views.spelled, RAREST)
                why |= {"meaning": views.meaning, "words": views.spelled}
                fits = views.fits()
            for like in query.like:
                alike = await self._by_image(like, ids)
                total += LIKE * alike
                why["looks alike"] = alike
            for unwanted in query.minus:
                views = await self._by_text(unwanted, ids)
                total -= MINUS * np.maximum(views.meaning, 0)
                total[views.spelled > 0] = -np.inf  # it is said to be in the picture
            for one in query.like:
                if isinstance(one, int):
                    total[ids == one] = -np.inf
            return await asyncio.to_thread(self._pick, query, ids, total, why, fits, text, note)

    # -- views of a photo ------------------------------------------------------------------------

    async def _by_text(self, text: str, ids: np.ndarray) -> _Views:
        """What the photos have to do with a text."""
        vectors: dict[str, np.ndarray] = {}
        weights: dict[str, float] = {}
        for weights in BY_TEXT:
            vectors = await self._vectors(text, weights)
            if vectors:
                break
        things = (await self._vectors(text, ("labels",), plain=True)).get("labels") if "labels" in vectors else None
        return await asyncio.to_thread(self._views, text, vectors, weights, things, ids)

    async def _vectors(self, text: str, spaces: Iterable[str], plain: bool = False) -> dict[str, np.ndarray]:
        """The question in those of the spaces that the index has vectors in; `plain` leaves out how things look."""
        vectors = {}
        for space in spaces:
            if space in self._matrices:
                with contextlib.suppress(CapabilityUnavailable, ModelError):
                    embedder = self._host.get(Embedder, **SPACES[space])
                    vector = (await embedder.embed_text([text], query=not plain))[0]
                    if len(vector) == self._matrices[space].length:  # else the index is from before these models
                        vectors[space] = vector
        return vectors

    def _views(
        self, text: str, vectors: dict[str, np.ndarray], weights: dict[str, float], things: np.ndarray | None,
        ids: np.ndarray,
    ) -> _Views:  # fmt: skip
        """The spaces' scores, and what was fitted to the person's captions, added up; and full text."""
        meaning, nearer = np.zeros(len(ids), np.float32), None
        for space, vector in vectors.items():
            known, above, deviation = self._matrices[space].above(vector)
            above = _onto(ids, known, above)
            meaning += weights[space] / deviation * above
            if space == "text" and "image-text" not in self._matrices:
                nearer = above
        meaning = standardise(meaning)
        features = self._matrices.get("image-features")
        fitted = self._head is not None and features is not None and features.large is None and "text" in vectors
        if fitted and self._matrices["text"].large is None:
            learned = standardise(self._head.scores(features, self._matrices["text"], vectors["text"]))
            meaning = standardise(_onto(ids, features.ids, learned) + self._head.plain * meaning)
        shown = self._matrices["labels"].shown(things) if things is not None else None
        return _Views(meaning, self._spelled(text, ids), nearer, None if shown is None else _onto(ids, *shown))

    def _spelled(self, text: str, ids: np.ndarray) -> np.ndarray:
        """BM25 over what was seen, read, written and named; 0 without a word in common."""
        if not (asked := full_text(text)):
            return np.zeros(len(ids), np.float32)
        rows = self._store.rows("SELECT rowid, -bm25(texts, ?, ?, ?, ?) FROM texts WHERE texts MATCH ?",
                                (*COLUMNS, asked))  # in the order of their ids  # fmt: skip
        found = np.array(rows, np.float64).reshape(len(rows), 2)
        return _onto(ids, found[:, 0].astype(np.int64), np.maximum(found[:, 1], 1e-3))

    async def _by_image(self, like: bytes | int, ids: np.ndarray) -> np.ndarray:
        """[n] how much the photos look like one, in standard deviations."""
        for space in ("image-features", "image-text", "text"):
            matrix = self._matrices.get(space)
            if matrix is None or not len(matrix):
                continue
            if isinstance(like, int):
                vector = matrix.of(like)
                if vector is None:
                    continue
            else:
                try:
                    vector = (await self._host.get(Embedder, **SPACES[space]).embed_images([like]))[0]
                except (CapabilityUnavailable, ModelError):
                    continue
            return _onto(ids, *await asyncio.to_thread(matrix.scores, vector))
        raise BadInput(
            "Nothing here can tell what that picture looks like.", "Load the vision plugin, or search by words."
        )

    # -- what is searched ------------------------------------------------------------------------

    def _refresh(self) -> None:
        generation = self._store.generation()
        if generation == self._generation:
            return
        present = self._store.spaces()
        for space in present:
            self._matrices.setdefault(space, Matrix(self._store, space)).refresh()
        for space in set(self._matrices) - set(present):
            del self._matrices[space]
        self._head = tune.load(self._store)
        self._generation = self._store.generation()

    def _candidates(self, query: Query) -> np.ndarray:
        """Ids of the photos within the times and the album, ascending; kept while nothing changes."""
        self._refresh()
        narrowed = (self._generation, query.after, query.before, query.album)
        if self._chosen is None or self._chosen[0] != narrowed:
            self._chosen = narrowed, self._within(query)
        return self._chosen[1]

    def _within(self, query: Query) -> np.ndarray:
        where, values = ["1"], []
        for bound, sign in ((query.after, ">="), (query.before, "<")):
            if bound is not None:
                where.append(f"taken {sign} ?")
                values.append(bound)
        if query.album:
            where.append("id IN (SELECT photo FROM files WHERE album = ?)")
            values.append(query.album)
        return np.asarray(
            [
                row[0]
                for row in self._store.rows(f"SELECT id FROM photos WHERE {' AND '.join(where)} ORDER BY id", values)
            ],
            np.int64,
        )

    def _nothing(self, query: Query) -> str:
        if not self._store.count():
            return "No photo is indexed yet: omni photos index DIR."
        if query.after is not None or query.before is not None:
            return "No photo has a date within these times. Photos without a date are left out when a time is given."
        return "No photo is in that album."

    async def _in_english(self, text: str) -> tuple[str, str]:
        language = foreign(text)
        if not language:
            return text, ""
        english = await self._translator.english(text)
        if english:
            return english, f"Searched for: {english}"
        return text, f"That seems to be {language}; the text model here knows English, so only matching words count."

    # -- what is answered ------------------------------------------------------------------------

    def _pick(
        self,
        query: Query,
        ids: np.ndarray,
        total: np.ndarray,
        why: dict[str, np.ndarray],
        fits: np.ndarray | None,
        text: str,
        note: str,
    ) -> Found:
        order = np.argsort(-total, kind="stable")[: max(1, query.limit)]
        order = order[np.isfinite(total[order])]
        best = float(total[order[0]]) if len(order) else 0.0
        least = self._least(query, len(ids), best)
        if fits is not None and query.min_score == "auto" and len(ids) >= SMALL:
            least = best - SPREAD
            order = order[fits[order]]
        kept = [i for i in order if total[i] >= least]
        hits = self._hits(ids[kept].tolist(), total[kept].tolist(), {name: part[kept] for name, part in why.items()})
        if not hits and not note:
            shown = f"“{text}”" if text else "that"
            note = f"Nothing here fits {shown}."
        return Found(hits, note, text, len(ids), best)

    def _least(self, query: Query, gallery: int, best: float) -> float:
        if isinstance(query.min_score, int | float):
            return float(query.min_score)
        if query.min_score is None or gallery < SMALL:
            return -np.inf
        return max(CUT, best - SPREAD)

    def _hits(self, photos: list[int], scores: list[float], parts: dict[str, np.ndarray]) -> tuple[Hit, ...]:
        known = self._store.briefly(photos)
        fitted = {name: part > (0.0 if name == "words" else 1.5) for name, part in parts.items()}
        return tuple(
            Hit(photo, round(score, 3), *known[photo], tuple(name for name, well in fitted.items() if well[i]))
            for i, (photo, score) in enumerate(zip(photos, scores, strict=True))
            if photo in known  # gone meanwhile
        )


def _onto(ids: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """`values` of `known` ids (ascending) in the order of `ids`; 0 for those that are not known."""
    if not len(known):
        return np.zeros(len(ids), np.float32)
    if len(ids) == len(known) and np.array_equal(ids, known):
        return values.astype(np.float32)
    at = np.minimum(np.searchsorted(known, ids), len(known) - 1)
    return np.where(known[at] == ids, values[at], 0.0).astype(np.float32)


def describe(error: OmniError) -> dict[str, Any]:
    """For a page or a model."""
    return {"error": error.message, "remedy": error.remedy}


def highlights(text: str) -> list[str]:
    """The words a page may mark."""
    return words(text)
