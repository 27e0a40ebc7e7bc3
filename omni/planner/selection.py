"""Which tools fit: nearest declared example first, the chat model only where that is not clear.

Every tool declares requests it is right for. A request is compared with all of them at once (one
small matrix product); a tool's score is the mean of its two nearest examples. Where the best tool
leads by a clear margin it is chosen without asking any model; otherwise the nearest few are handed
to the model as a question with few answers. "None" is a class of its own, with examples like any tool.
"""

from __future__ import annotations

import hashlib
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

#: The lead over the second tool from which the nearest example decides alone.
MARGIN = 0.1
#: Below this similarity nothing that was declared is near: no tool is meant.
FLOOR = 0.3
#: Tools that the model is asked about.
SHORT_LIST = 3
#: A sentence whose embedding tells embedders apart, so that cached vectors are never mixed.
_PROBE = "the quick brown fox jumps over the lazy dog"


@dataclass(frozen=True, slots=True)
class Example:
    """A request and the tool that is right for it."""

    text: str
    tool: str
    learned: bool = False  #: from a person's correction: it counts twice


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
class ExampleIndex:
    """The vectors of all examples. Kept on disk by what was embedded, so a start embeds only what is new."""

    embed: Embed
    folder: Path | None = None
    sure: float = 0.0
    _vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _examples: tuple[Example, ...] = ()
    _matrix: NDArray[np.float32] | None = None  # [examples, dimension]
    _file: Path | None = None
    _signature: frozenset[Example] = frozenset()

    async def prepare(self, tools: Iterable[Tool], learned: Iterable[Example] = ()) -> None:
        """Make the index of these tools' examples and of what was learned. Cheap when nothing changed."""
        examples = [Example(text, tool.name) for tool in tools for text in tool.examples]
        names = {example.tool for example in examples}
        examples += [Example(text, NONE) for text in NO_TOOL_EXAMPLES]
        examples += [e for e in learned if e.tool in names or e.tool == NONE]
        signature = frozenset(examples)
        if signature == self._signature and self._matrix is not None:
            return
        if self._file is None and self.folder is not None:
            await self._load()
        missing = [e.text for e in examples if e.text not in self._vectors]
        if missing:
            unique = list(dict.fromkeys(missing))
            vectors = await self.embed(unique)
            self._vectors.update(zip(unique, vectors, strict=True))
            self._save({e.text for e in examples})
        self._examples = tuple(examples)
        self._matrix = np.stack([self._vectors[e.text] for e in examples])
        self._signature = signature

    async def routes(self, texts: Sequence[str]) -> list[Route]:
        """Where the nearest examples point, for each text."""
        if self._matrix is None:
            return [Route(text, ()) for text in texts]
        queries = await self.embed(list(texts))
        return [self._route(text, self._matrix @ query) for text, query in zip(texts, queries, strict=True)]

    def _route(self, text: str, similarities: NDArray[np.float32]) -> Route:
        """`similarities`: [examples]."""
        by_tool: dict[str, list[float]] = {}
        order = np.argsort(-similarities)
        for index in order:
            example = self._examples[index]
            nearest = by_tool.setdefault(example.tool, [])
            nearest += [float(similarities[index])] * (2 if example.learned else 1)
        ranked = sorted(((name, sum(s[:2]) / len(s[:2])) for name, s in by_tool.items()), key=lambda pair: -pair[1])
        near = tuple(self._examples[index] for index in order[:24])
        return Route(text, tuple(ranked), near, self.sure)

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


#: How near word overlap alone must come before it decides.
WORDS_SURE = 0.8


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
