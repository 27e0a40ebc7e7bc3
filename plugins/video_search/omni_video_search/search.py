"""A moment is where the streams agree: each scores the timeline, the scores are fused with the question's weights.

Speech: words in common (weighted by rarity) and meaning. Picture: the key frame's vector and what it shows, in words.
Screen: words in common, misread letters forgiven. Sound: the labels of `sound`. A span is where the fused score
holds; below a floor nothing fits, and that is the answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.errors import BadInput
from omni_video_search.query import STREAMS, Part, parse, terms
from omni_video_search.seeing import Eyes
from omni_video_search.timeline import Entry, Timelines, Video

STEP_S = 0.25  #: of the grid on which streams meet
#: Below this a moment does not fit; where several things must hold at once, less of each will do.
FLOOR, FLOOR_TOGETHER = 0.45, 0.34
#: What is not recognised in a picture may be there all the same; what is not said was not said. Credit for it.
UNSEEN = 0.15
#: A span is where the score is at least this share of its peak.
SHOULDER = 0.9
#: Seconds by which something said may lie beside what is shown at the time.
SLACK_S = 1.5
#: Cosine between a question and what is said: from chance to certain.
SAID = (0.30, 0.70)
#: By space, of pictures: what a cosine is usually, and how far above it counts, from a little to certainly.
#: (Some questions are near to every picture: so each is compared with the middle of all key frames.)
SHOWN = {"text": (0.08, 0.10, 0.40), "image-text": (0.20, 0.02, 0.10)}
#: So many key frames have a middle worth the name.
ENOUGH = 8


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a stream has to say for a moment. `at` is the second to look at: the word, the picture, the bang."""

    stream: str
    start: float
    end: float
    at: float
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class Found:
    """A moment of a video, how sure it is (0..1), and why."""

    video: Video
    start: float
    end: float
    confidence: float
    evidence: tuple[Evidence, ...]

    def plain(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "file": str(self.video.path), "digest": self.video.digest, "start": round(self.start, 2),
            "end": round(self.end, 2), "confidence": round(self.confidence, 3),
            "evidence": [
                {"stream": e.stream, "start": round(e.start, 2), "end": round(e.end, 2), "at": round(e.at, 2),
                 "text": e.text, "score": round(e.score, 3)}
                for e in self.evidence
            ],
        }  # fmt: skip


@dataclass(slots=True)
class _Index:
    """Everything searched, in memory, grouped by video."""

    key: Any
    videos: dict[str, Video]
    entries: dict[str, list[Entry]]  #: by stream
    matrices: dict[tuple[str, str], tuple[list[int], NDArray[np.float32]]]  #: (stream, space) -> rows
    tokens: dict[str, list[list[str]]]
    rarity: dict[str, float]


class Finder:
    """Answers questions about moments. `host` embeds the question; without an embedder words alone decide."""

    def __init__(self, store: Timelines, host: Any) -> None:
        self._store = store
        self._eyes = Eyes(host)
        self._index: _Index | None = None

    async def find(
        self,
        question: str,
        *,
        limit: int = 5,
        streams: Sequence[str] = STREAMS,
        equal: bool = False,
        floor: float | None = None,
        within: Sequence[str] = (),
    ) -> list[Found]:
        """The best moments, best first; empty when nothing fits. Raises `BadInput` for an empty question.

        `streams` limits what is asked; `equal` switches the question's weights off; `within` are digests to look in.
        """
        if not terms(question) and not question.strip(" ?.!"):
            raise BadInput("The question is empty.", "Say what is said, shown or heard in the moment you look for.")
        index = await asyncio.to_thread(self._load)
        parts = parse(question[:500])
        if floor is None:
            floor = FLOOR_TOGETHER if len(parts) > 1 else FLOOR
        scored = [await self._score(index, part) for part in parts]
        return await asyncio.to_thread(_fuse, index, parts, scored, set(streams), equal, floor, limit, set(within))

    def _load(self) -> _Index:
        key = self._store.rows("SELECT COUNT(*), TOTAL(seconds), (SELECT COUNT(*) FROM entries), "
                               "(SELECT group_concat(path) FROM files) FROM videos WHERE state='ready'")  # fmt: skip
        if self._index is not None and self._index.key == key:
            return self._index
        videos = {v.digest: v for v in self._store.videos() if v.state == "ready" and v.paths}
        entries: dict[str, list[Entry]] = {stream: [] for stream in STREAMS}
        for entry in self._store.entries(streams=STREAMS):
            if entry.digest in videos:
                entries[entry.stream].append(entry)
        matrices: dict[tuple[str, str], tuple[list[int], NDArray[np.float32]]] = {}
        for stream in ("speech", "picture"):
            by_space: dict[str, list[int]] = defaultdict(list)
            for i, entry in enumerate(entries[stream]):
                if entry.vector is not None:
                    by_space[entry.space].append(i)
            for space, rows in by_space.items():
                matrices[stream, space] = rows, np.stack([entries[stream][i].vector for i in rows])
        tokens = {s: [terms(e.text) for e in entries[s]] for s in ("speech", "picture", "screen")}
        count = Counter(t for s in ("speech", "screen") for words in tokens[s] for t in set(words))
        total = sum(len(tokens[s]) for s in ("speech", "screen")) + 1
        rarity = {term: math.log(1 + total / n) for term, n in count.items()}
        self._index = _Index(key, videos, entries, matrices, tokens, rarity)
        return self._index

    async def _score(self, index: _Index, part: Part) -> dict[str, NDArray[np.float32]]:
        """For each stream, how well each entry fits, 0..1."""
        meaning: dict[tuple[str, str], NDArray[np.float32]] = {}
        for (stream, space), (rows, matrix) in index.matrices.items():
            asked = f"a photo of {part.text}" if stream == "picture" else part.text
            vectors = await self._eyes.embed([asked], space, query=stream == "speech")
            if vectors is not None and vectors.shape[1] == matrix.shape[1]:
                cosine = np.zeros(len(index.entries[stream]), np.float32)
                cosine[rows] = _calibrated(matrix @ vectors[0], stream, space)
                known = meaning.get((stream, ""))
                meaning[stream, ""] = cosine if known is None else np.maximum(known, cosine)
        return await asyncio.to_thread(_score_entries, index, part, meaning)


def _calibrated(cosine: NDArray[np.float32], stream: str, space: str) -> NDArray[np.float32]:
    """Cosines to 0..1; those of pictures against what is usual for this question."""
    if stream == "speech":
        low, high = SAID
        return np.clip((cosine - low) / (high - low), 0, 1)
    usual, low, high = SHOWN[space]
    middle = float(np.median(cosine)) if len(cosine) >= ENOUGH else usual
    return np.clip((cosine - middle - low) / (high - low), 0, 1)


def _score_entries(
    index: _Index, part: Part, meaning: dict[tuple[str, str], NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    wanted = part.terms
    scores: dict[str, NDArray[np.float32]] = {}
    for stream in ("speech", "picture", "screen"):
        fuzzy = stream == "screen"
        words = np.array([_coverage(wanted, t, index.rarity, fuzzy) for t in index.tokens[stream]], np.float32)
        if stream == "speech":
            words = _with_neighbours(index, wanted, words)
        if stream == "picture":
            words *= 0.9
        sense = meaning.get((stream, ""))
        if sense is None or not len(words):
            scores[stream] = words
        else:
            scores[stream] = 0.75 * np.maximum(words, sense) + 0.25 * np.minimum(words, sense)
        for quote in part.quoted:
            exact = [_plain(quote) in _plain(entry.text) for entry in index.entries[stream]]
            scores[stream] = np.where(exact, np.maximum(scores[stream], 0.95), scores[stream]).astype(np.float32)
    sounds = index.entries["sound"]
    asked = [label for label in part.sounds if label != "loud"] or list(part.sounds)
    scores["sound"] = np.array([e.score if e.label in asked else 0.0 for e in sounds], np.float32)
    return scores


def _coverage(wanted: Sequence[str], have: Sequence[str], rarity: dict[str, float], fuzzy: bool) -> float:
    """The share of the wanted words that are there, weighted by rarity."""
    if not wanted or not have:
        return 0.0
    weights = [rarity.get(term, 4.0) for term in wanted]
    got = sum(w * _match(term, have, fuzzy) for w, term in zip(weights, wanted, strict=True))
    return got / sum(weights)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def _match(term: str, have: Sequence[str], fuzzy: bool) -> float:
    if term in have:
        return 1.0
    if fuzzy and len(term) >= 4:
        if any(term in word for word in have):  # words run together by the reader
            return 0.9
        best = max(SequenceMatcher(None, term, word).ratio() for word in have)
        return best if best >= 0.78 else 0.0
    return 0.0


def _with_neighbours(index: _Index, wanted: Sequence[str], own: NDArray[np.float32]) -> NDArray[np.float32]:
    """A question may rest on two sentences: with its neighbour an utterance covers more, for somewhat less credit."""
    entries, tokens, out = index.entries["speech"], index.tokens["speech"], own.copy()
    for i in np.flatnonzero(own > 0):
        for j in (i - 1, i + 1):
            near = 0 <= j < len(entries) and entries[j].digest == entries[i].digest
            if near and min(abs(entries[j].start - entries[i].end), abs(entries[i].start - entries[j].end)) < 3:
                out[i] = max(out[i], 0.85 * _coverage(wanted, tokens[i] + tokens[j], index.rarity, False))
    return out


# -- fusing ------------------------------------------------------------------------------------------


def _fuse(
    index: _Index,
    parts: list[Part],
    scored: list[dict[str, NDArray[np.float32]]],
    streams: set[str],
    equal: bool,
    floor: float,
    limit: int,
    within: set[str],
) -> list[Found]:
    weights = [
        {s: (0.7 if equal else part.weights[s]) for s in STREAMS if s in streams and (s != "sound" or part.sounds)}
        for part in parts
    ]
    hits: dict[str, list[tuple[int, Entry, float]]] = defaultdict(list)  # digest -> (part, entry, weighted score)
    for k, scores in enumerate(scored):
        for stream, weight in weights[k].items():
            for i in np.flatnonzero(scores[stream] * weight > 0.05):
                entry = index.entries[stream][i]
                if not within or entry.digest in within:
                    hits[entry.digest].append((k, entry, float(scores[stream][i]) * weight))
    found: list[Found] = []
    for digest, of_video in hits.items():
        found += _moments(index.videos[digest], of_video, parts, floor, limit)
    return sorted(found, key=lambda f: (-f.confidence, f.video.name, f.start))[:limit]


def _moments(
    video: Video, hits: list[tuple[int, Entry, float]], parts: list[Part], floor: float, limit: int
) -> list[Found]:
    """The best moments of one video."""
    cells = int(max([video.duration, *(e.end for _, e, _ in hits)]) / STEP_S) + 2
    layers = np.zeros((len(parts), len(STREAMS), cells), np.float32)
    for k, entry, score in hits:
        cut = slice(int(entry.start / STEP_S), max(math.ceil(entry.end / STEP_S), int(entry.start / STEP_S) + 1))
        row = layers[k, STREAMS.index(entry.stream)]
        row[cut] = np.maximum(row[cut], score)
    each = 1 - np.prod(1 - layers, axis=1)  # [parts, cells]: any stream may vouch for a part
    if len(parts) > 1:
        for k, part in enumerate(parts):
            if part.weights["picture"] == max(part.weights.values()):
                each[k] = UNSEEN + (1 - UNSEEN) * each[k]
        loose = np.stack([_widened(row, round(SLACK_S / STEP_S)) for row in each])
        both = np.prod(loose, axis=0) ** (1 / len(parts))
        strict = np.prod(each, axis=0) ** (1 / len(parts))
        fused = 0.8 * both + 0.2 * strict  # exactly at the same time is better than nearly
    else:
        fused = strict = each[0]
    found, left = [], fused.copy()
    while len(found) < limit and (peak := float(left.max())) >= floor:
        top = int(np.argmax(left))
        first, last = _plateau(left, top, peak * SHOULDER)
        exact = strict[first : last + 1]
        if len(parts) > 1 and float(exact.max()) >= peak / 2:  # where all parts hold, without the slack
            inner = _plateau(exact, int(np.argmax(exact)), float(exact.max()) * SHOULDER)
            span = first + inner[0], first + inner[1]
        else:
            span = first, last
        start, end = span[0] * STEP_S, min((span[1] + 1) * STEP_S, max(video.duration, STEP_S))
        evidence = _evidence(hits, parts, start, end)
        start, end = _exact(start, end, evidence, len(parts))
        found.append(Found(video, start, end, peak, evidence))
        left[first : last + 1] = 0
        left[max(0, first - 2) : last + 3] = np.minimum(left[max(0, first - 2) : last + 3], floor / 2)
    return found


def _widened(row: NDArray[np.float32], by: int) -> NDArray[np.float32]:
    padded = np.pad(row, by)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * by + 1).max(axis=1)


def _plateau(row: NDArray[np.float32], top: int, level: float) -> tuple[int, int]:
    first = last = top
    while first > 0 and row[first - 1] >= level:
        first -= 1
    while last < len(row) - 1 and row[last + 1] >= level:
        last += 1
    return first, last


def _evidence(
    hits: list[tuple[int, Entry, float]], parts: list[Part], start: float, end: float
) -> tuple[Evidence, ...]:
    """For each part and stream the best that overlaps the span, the strongest first."""
    best: dict[tuple[int, str], Evidence] = {}
    for k, entry, score in hits:
        if entry.end < start - 0.05 or entry.start > end + 0.05 or score < 0.1:
            continue
        known = best.get((k, entry.stream))
        if known is None or score > known.score:
            at = _word_time(entry, parts[k])
            best[k, entry.stream] = Evidence(entry.stream, entry.start, entry.end, at, entry.text, min(score, 1.0))
    unique: dict[tuple[str, float], Evidence] = {}
    for piece in sorted(best.values(), key=lambda e: -e.score):
        unique.setdefault((piece.stream, piece.start), piece)
    return tuple(unique.values())


def _word_time(entry: Entry, part: Part) -> float:
    """When the asked words are said: where most of them stand within four seconds; else when the entry begins."""
    if not entry.words:
        return entry.start
    wanted = set(part.terms)
    said = [(float(start), set(terms(text)) & wanted) for text, start, _ in json.loads(entry.words)]
    best, at = 0, entry.start
    for start, own in said:
        near = len(set().union(*(some for when, some in said if start <= when <= start + 4))) if own else 0
        if near > best:
            best, at = near, start
    return at


def _exact(start: float, end: float, evidence: tuple[Evidence, ...], parts: int) -> tuple[float, float]:
    """The grid is coarse: where one entry is the span, take its own bounds."""
    if evidence and parts == 1 and abs(evidence[0].start - start) <= STEP_S and abs(evidence[0].end - end) <= STEP_S:
        return evidence[0].start, evidence[0].end
    return start, end
