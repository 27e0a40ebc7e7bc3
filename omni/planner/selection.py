"""Which tools fit: nearest declared example first, the chat model only where that is not clear.

Every tool declares requests it is right for. A request is compared with all of them at once (a few
small matrix products): by meaning, by the meaning of its opening words ("remember that my sister's ..."
is about remembering, not about sisters), and by its words. A tool's score is the mean of its three nearest
examples, with a share of how near its centre is. Where the best tool leads by a clear margin it is chosen
without asking any model; otherwise the nearest few are handed to the model as a question with few answers.
"None" is a class of its own, with examples like any tool.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import zlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from omni.planner.smalltalk import NO_TOOL_EXAMPLES
from omni.tools import Tool

if TYPE_CHECKING:
    Embed = Callable[[Sequence[str]], Awaitable[NDArray[np.float32]]]

NONE = "none"

#: What counts how much: the meaning of all of it, of its opening words, the words themselves, and a tool's centre.
#: The best of 432 mixtures, by how many of the 898 declared examples go right when each is compared with all others
#: (80 %, and 58 % may be decided with one error in fourteen; with 0.4, 0.2, 0.2, 0.2 and two nearest 76 % and 44 %).
WEIGHTS = (0.3, 0.1, 0.3)
CENTRE_WEIGHT = 0.3
#: How many of a tool's nearest examples count.
NEAREST = 3
#: The lead over the second tool from which the nearest examples decide alone. From there on 620 of 665 declared
#: examples go right, each compared with all others; below it 141 of 233 would.
MARGIN = 0.04
#: Below this score nothing that was declared is near: no tool is meant. Set on benchmarks/planner_dev.toml.
FLOOR = 0.24
#: How many words open a request.
OPENING = 4
#: Tools that the model is asked about.
SHORT_LIST = 3
#: A sentence whose embedding tells embedders apart, so that cached vectors are never mixed.
_PROBE = "the quick brown fox jumps over the lazy dog"


@dataclass(frozen=True, slots=True)
class Example:
    """A request and the tool that is right for it."""

    text: str
    tool: str
    learned: bool = False  #: from a person's correction: it counts for more


@dataclass(frozen=True, slots=True)
class Route:
    """Where the nearest examples point. `ranked` is best first; `near` are the nearest examples, best first."""

    text: str
    ranked: tuple[tuple[str, float], ...]
    near: tuple[Example, ...] = ()
    sure: float = 0.0  #: the score from which a tool may be decided by examples alone

    @property
    def best(self) -> str:
        """The nearest tool, or "none"."""
        return self.ranked[0][0] if self.ranked else NONE

    @property
    def score(self) -> float:
        """How near the best is (cosine)."""
        return self.ranked[0][1] if self.ranked else 0.0

    @property
    def margin(self) -> float:
        """How far the best leads."""
        return self.score - (self.ranked[1][1] if len(self.ranked) > 1 else 0.0)

    @property
    def decided(self) -> str:
        """The tool (or "none") where the examples alone decide; empty where they don't."""
        if not self.ranked or self.score < FLOOR:
            return NONE
        return self.best if self.margin > MARGIN and self.score >= self.sure else ""

    def short_list(self, count: int = SHORT_LIST) -> list[str]:
        """The nearest tools, "none" apart."""
        return [name for name, _ in self.ranked if name != NONE][:count]


@dataclass(slots=True)
class _Matrices:
    """All examples as the router compares with them. Rows are examples, or tools for `centres`."""

    examples: tuple[Example, ...]
    meaning: NDArray[np.float32]  # [examples, dimension]
    openings: NDArray[np.float32]  # [examples, dimension]: the first words alone, which say what is wanted
    names: tuple[str, ...]
    centres: NDArray[np.float32]  # [tools, dimension]
    words: WordIndex


@dataclass(slots=True)
class ExampleIndex:
    """All examples, ready to compare with. Vectors are kept on disk, so a start embeds only what is new."""

    embed: Embed
    folder: Path | None = None
    sure: float = 0.0
    _vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _matrices: _Matrices | None = None
    _file: Path | None = None

    async def prepare(self, tools: Iterable[Tool], learned: Iterable[Example] = ()) -> None:
        """Make the index of these tools' examples and of what was learned. Cheap when nothing changed."""
        examples = [Example(text, tool.name) for tool in tools for text in tool.examples]
        names = {example.tool for example in examples}
        examples += [Example(text, NONE) for text in NO_TOOL_EXAMPLES]
        examples += [e for e in learned if e.tool in names or e.tool == NONE]
        if self._matrices is not None and self._matrices.examples == tuple(examples):
            return
        if self._file is None and self.folder is not None:
            await self._load()
        texts = [e.text for e in examples]
        await self._fill([*texts, *map(opening, texts)])
        meaning = np.stack([self._vectors[text] for text in texts])
        order = tuple(dict.fromkeys(e.tool for e in examples))
        owners = np.array([order.index(e.tool) for e in examples])
        centres = np.stack([meaning[owners == row].mean(axis=0) for row in range(len(order))])
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
        openings = np.stack([self._vectors[opening(text)] for text in texts])
        self._matrices = _Matrices(tuple(examples), meaning, openings, order, centres, WordIndex(texts))

    async def _fill(self, texts: Sequence[str]) -> None:
        """Embed what was never embedded, and keep it."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._vectors))
        if missing:
            self._vectors.update(zip(missing, await self.embed(missing), strict=True))
            self._save(set(texts))

    async def routes(self, texts: Sequence[str]) -> list[Route]:
        """Where the nearest examples point, for each text."""
        if self._matrices is None or not texts:
            return [Route(text, ()) for text in texts]
        vectors = await self.embed([*texts, *map(opening, texts)])
        pairs = zip(texts, vectors[: len(texts)], vectors[len(texts) :], strict=True)
        return [self._route(text, meaning, start) for text, meaning, start in pairs]

    def _route(self, text: str, meaning: NDArray[np.float32], start: NDArray[np.float32]) -> Route:
        """Compare one request, given the vectors of all of it and of its opening."""
        index = self._matrices
        assert index is not None
        similar = index.meaning @ meaning
        alike = (similar, index.openings @ start, index.words.similarities(text))
        centred = dict(zip(index.names, (index.centres @ meaning).tolist(), strict=True))
        if NONE in centred:  # plain talk is about anything: it has no middle, only what is near
            centred[NONE] = _nearest(index.examples, similar)[NONE]
        nearest: dict[str, float] = dict.fromkeys(index.names, 0.0)
        for weight, similarities in zip(WEIGHTS, alike, strict=True):
            for name, score in _nearest(index.examples, similarities).items():
                nearest[name] += weight * score
        scores = {name: score + CENTRE_WEIGHT * centred[name] for name, score in nearest.items()}
        ranked = tuple(sorted(scores.items(), key=lambda pair: -pair[1]))
        near = tuple(index.examples[row] for row in np.argsort(-similar)[:24])
        return Route(text, ranked, near, self.sure)

    # -- the vectors on disk ------------------------------------------------------------------

    async def _load(self) -> None:
        probe = (await self.embed([_PROBE]))[0]
        fingerprint = hashlib.sha256(np.round(probe, 2).tobytes()).hexdigest()[:16]
        assert self.folder is not None
        self._file = self.folder / f"examples-{fingerprint}.npz"
        try:
            with np.load(self._file, allow_pickle=False) as kept:
                self._vectors.update(zip(kept["texts"].tolist(), kept["vectors"], strict=True))
        except (OSError, ValueError, KeyError):
            return  # not there yet, or damaged: it is made anew

    def _save(self, wanted: set[str]) -> None:
        """Keep the vectors in use. A disk that can't take them costs a little time at the next start, no more."""
        if self._file is None:
            return
        texts = sorted(wanted)
        temporary = self._file.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as out:
                np.savez(out, texts=np.array(texts), vectors=np.stack([self._vectors[t] for t in texts]))
            temporary.replace(self._file)
        except OSError:
            temporary.unlink(missing_ok=True)


def opening(text: str) -> str:
    """The first words, which say what is wanted; what it is wanted of comes after."""
    return " ".join(text.split()[:OPENING])


def _nearest(examples: Sequence[Example], similarities: NDArray[np.float32]) -> dict[str, float]:
    """For each tool the mean of its nearest examples; a correction counts for all but one of them."""
    nearest: dict[str, list[float]] = {}
    for row in np.argsort(-similarities):
        example = examples[row]
        found = nearest.setdefault(example.tool, [])
        if len(found) < NEAREST:
            found += [float(similarities[row])] * (NEAREST - 1 if example.learned else 1)
    return {name: sum(found[:NEAREST]) / len(found[:NEAREST]) for name, found in nearest.items()}


class WordIndex:
    """Texts as bags of words and word pairs, rare ones weighing more (tf-idf, unit length)."""

    def __init__(self, texts: Sequence[str]) -> None:
        grams = [_grams(text) for text in texts]
        self._count = len(texts)
        self._rows: dict[str, int] = {}
        for gram in sorted(set().union(*grams)):
            self._rows[gram] = len(self._rows)
        frequency = np.zeros(len(self._rows))
        for found in grams:
            frequency[[self._rows[gram] for gram in found]] += 1
        self._weights = np.log(1 + self._count / (1 + frequency)).astype(np.float32)
        self._matrix = np.stack([self._vector(found)[0] for found in grams])

    def _vector(self, grams: set[str]) -> tuple[NDArray[np.float32], float]:
        vector = np.zeros(len(self._rows), np.float32)
        known = [self._rows[gram] for gram in grams if gram in self._rows]
        vector[known] = self._weights[known]
        unknown = (len(grams) - len(known)) * np.log(1 + self._count) ** 2
        length = float(np.sqrt((vector**2).sum() + unknown))
        return (vector / length if length else vector), length

    def similarities(self, text: str) -> NDArray[np.float32]:
        """Cosine with each text, [texts]."""
        return self._matrix @ self._vector(_grams(text))[0]


def _grams(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}


#: How near word overlap alone must come before it decides.
WORDS_SURE = 0.6


async def embed_words(texts: Sequence[str]) -> NDArray[np.float32]:
    """Word overlap as vectors, [texts, 1024] of length 1: what routes where no embedder is installed."""
    vectors = np.zeros((len(texts), 1024), np.float32)
    for row, text in zip(vectors, texts, strict=True):
        for word in re.findall(r"\w+", text.lower()):
            for piece in {word, word[:5]}:
                row[zlib.crc32(piece.encode()) % len(row)] += 1.0
        row[0] += 1e-6  # a text without words is near to nothing, and still has a direction
        row /= np.linalg.norm(row)
    return vectors


def demonstrations(route: Route, names: Sequence[str], each: int = 2) -> list[Example]:
    """The nearest examples of these tools: what the model is shown before it chooses."""
    taken: dict[str, int] = {}
    shown = []
    for example in route.near:
        if example.tool in names and taken.get(example.tool, 0) < each:
            taken[example.tool] = taken.get(example.tool, 0) + 1
            shown.append(example)
    return shown
