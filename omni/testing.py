"""Scripted fakes for the capabilities, a loudspeaker, all on the loop's own time, and a way to wait for what has none.

With `omni.clock.run_virtual` a conversation of half an hour is a test of milliseconds. Plugin
authors use these too.
"""

from __future__ import annotations

import asyncio
import inspect
import zlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from omni.capabilities import ChatDelta, ChatRequest, Message, SpeechChunk
from omni.errors import CapabilityUnavailable
from omni.loudspeaker import Loudspeaker

__all__ = ["PATIENCE_S", "BagOfWords", "FakeHost", "Loudspeaker", "ScriptedChat", "ScriptedVoice", "until"]

#: Seconds a test waits for what has to happen, where how soon is not the point: on a slow machine a test takes longer
#: and does not fail, and one that would hang still ends.
PATIENCE_S = 60.0


async def until(
    condition: Callable[[], Any], what: str = "", *, seconds: float = PATIENCE_S, why: Callable[[], Any] = str
) -> Any:
    """What `condition()` gives, or gives when awaited, as soon as that is true.

    For what another process, thread or page brings about and has no event of its own. Raises `AssertionError` with
    `what` and, where it is given, what `why()` gives or gives when awaited.
    """
    try:
        async with asyncio.timeout(seconds):
            while not (value := await _settled(condition())):  # noqa: ASYNC110 - what changes has no event
                await asyncio.sleep(0.02)
    except TimeoutError:
        reason = await _settled(why())
        raise AssertionError(f"{what or 'It'} did not happen within {seconds:.0f} s. {reason}".rstrip()) from None
    return value


async def _settled(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class FakeHost:
    """Hands out what it was given, by Protocol."""

    def __init__(self, *capabilities: tuple[type, Any], tools: Sequence[Any] = ()) -> None:
        self._capabilities = list(capabilities)
        self._tools = list(tools)

    def get(self, capability: type, **features: Any) -> Any:
        """The first that fits; raises `CapabilityUnavailable` where none does."""
        for kind, offered in self._capabilities:
            if kind is capability and all(getattr(offered, k, v) == v for k, v in features.items()):
                return offered
        raise CapabilityUnavailable(f"Nothing offers {capability.__name__}.", "Install a plugin that does.")

    def tools(self) -> list[Any]:
        """The tools it was given."""
        return self._tools


@dataclass
class ScriptedChat:
    """Answers with `reply(request)`, a word at a time; `first_s` and `word_s` are its speed in seconds."""

    reply: Callable[[ChatRequest], str] = lambda request: f"You said: {request.messages[-1].content}."
    first_s: float = 0.15
    word_s: float = 0.05
    context_tokens: int = 4096
    native_tools: bool = False
    requests: list[ChatRequest] = field(default_factory=list)
    prefills: list[str] = field(default_factory=list)
    finished: int = 0
    cancelled: int = 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """The scripted answer."""
        self.requests.append(request)
        complete = False
        try:
            await asyncio.sleep(self.first_s)
            for word in self.reply(request).split(" "):
                yield ChatDelta(text=word + " ")
                await asyncio.sleep(self.word_s)
            complete = True
            yield ChatDelta(finish="stop")
        finally:
            self.finished += complete
            self.cancelled += not complete

    async def prefill(self, messages: Sequence[Message], *, slot: str) -> None:
        """Takes note."""
        self.prefills.append(messages[-1].content)

    async def count_tokens(self, text: str) -> int:
        """A word is a token."""
        return len(text.split())


@dataclass
class ScriptedVoice:
    """Speaks `word_s` seconds of a low hum a word, made in `work_s` seconds a clause."""

    rate: int = 16_000
    word_s: float = 0.3
    work_s: float = 0.05
    fail_on: str = ""
    spoken: list[str] = field(default_factory=list)

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[SpeechChunk]:
        """One chunk a clause, with exact word times."""
        await asyncio.sleep(self.work_s)
        if self.fail_on and self.fail_on in text:
            raise CapabilityUnavailable("The voice failed.", "It starts again by itself.")
        self.spoken.append(text)
        words = text.split()
        times = tuple((word, i * self.word_s, (i + 1) * self.word_s) for i, word in enumerate(words))
        samples = int(len(words) * self.word_s * self.rate)
        audio = (0.1 * np.sin(np.arange(samples) * 0.05)).astype(np.float32)
        yield SpeechChunk(audio, self.rate, times)


@dataclass
class BagOfWords:
    """An embedder that only sees which words there are: equal words, equal vectors."""

    space: str = "text"
    dimension: int = 256

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        """[n, dimension], rows of length 1."""
        vectors = np.full((len(texts), self.dimension), 1e-6, np.float32)
        for row, text in zip(vectors, texts, strict=True):
            for word in "".join(c if c.isalnum() else " " for c in text.lower()).split():
                row[zlib.crc32(word.encode()) % self.dimension] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    async def embed_images(self, images: Sequence[bytes]) -> np.ndarray:
        """Refused: words only."""
        raise CapabilityUnavailable("This embedder sees no images.")
