"""The Protocols a plugin can offer: the data plane, all async.

A capability is found with `host.get(Transcriber)`, or with features: `host.get(Embedder,
space="text")`. Implementations own one worker each (a thread, `omni.worker.Worker`, where the library
releases the GIL, a process where it does not), so no call blocks the loop. Every implementation has `open` (load;
called once, before first use) and `close` (idempotent). Cancelling a call frees its worker soon.

Audio given to and taken from a capability is float32, mono, in -1..1.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Audio = NDArray[np.float32]  #: shape [samples]


@runtime_checkable
class Capability(Protocol):
    """What all of them have."""

    async def open(self) -> None:
        """Load what is needed. Raises `ModelMissing` when a model is not there."""

    async def close(self) -> None:
        """Give everything back. Idempotent."""


# --- hearing and speaking -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Word:
    """One recognised word, `start` and `end` in seconds from the beginning of the audio given."""

    text: str
    start: float
    end: float
    probability: float = 1.0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was said. `no_speech` is the recogniser's own doubt that anything was (0..1)."""

    text: str
    words: tuple[Word, ...] = ()
    language: str = "en"
    confidence: float = 1.0
    no_speech: float = 0.0


@runtime_checkable
class Transcriber(Capability, Protocol):
    """Speech to text."""

    async def transcribe(
        self, audio: Audio, *, prompt: str = "", words: bool = False, language: str | None = None
    ) -> Transcript:
        """Recognise 16 kHz `audio` (any length). `words` asks for word times; `prompt` is what was said before."""


@runtime_checkable
class VoiceActivity(Capability, Protocol):
    """Voice activity detection."""

    def detector(self) -> VoiceDetector:
        """A fresh detector with its own state, for one stream."""


class VoiceDetector(Protocol):
    """One stream's voice activity. Synchronous: a frame costs well under a millisecond."""

    def probability(self, frame: Audio) -> float:
        """The probability (0..1) that this 16 kHz frame of 512 samples holds speech."""


@dataclass(frozen=True, slots=True)
class SpeechChunk:
    """A piece of synthesised voice. `words` (on the first piece of a clause) are (word, start, end) in seconds."""

    audio: Audio
    rate: int
    words: tuple[tuple[str, float, float], ...] = ()


@runtime_checkable
class Synthesizer(Capability, Protocol):
    """Text to speech."""

    rate: int

    def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[SpeechChunk]:
        """Speak one clause; the first piece comes as early as it can."""


# --- language -----------------------------------------------------------------------------------

Role = Literal["system", "user", "assistant", "tool"]


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a chat. `images` are encoded (JPEG/PNG) and only for models that see."""

    role: Role
    content: str
    images: tuple[bytes, ...] = ()
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_call_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class ChatDelta:
    """More of an answer: text, or a finished native tool call. The last one carries `finish` and the counts."""

    text: str = ""
    tool_call: dict[str, Any] | None = None  #: {"id", "name", "arguments": dict}
    finish: Literal["", "stop", "length", "cut"] = ""
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What to answer.

    `slot` names a conversation whose prefix stays in the model's cache (one slot a session);
    `schema` constrains the whole answer to JSON that fits it; `tools` are for models with native calls.
    """

    messages: Sequence[Message]
    slot: str = ""
    max_tokens: int = 512
    temperature: float = 0.0
    schema: dict[str, Any] | None = None
    tools: Sequence[dict[str, Any]] = ()
    stop: Sequence[str] = ()
    seed: int = 0


@runtime_checkable
class ChatModel(Capability, Protocol):
    """Chat with a language model."""

    context_tokens: int
    native_tools: bool

    def chat(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """Answer, a delta at a time. Closing the iterator stops generation within 50 ms."""

    async def prefill(self, messages: Sequence[Message], *, slot: str) -> None:
        """Put this prefix of a coming request into the slot's cache. The last message may be unfinished."""

    async def count_tokens(self, text: str) -> int:
        """How many tokens `text` is."""


@runtime_checkable
class Embedder(Capability, Protocol):
    """Embedding: meaning as a unit vector. Features: `space` ("text", "image-text"), `dimension`."""

    space: str
    dimension: int

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> NDArray[np.float32]:
        """[n, dimension], rows of length 1."""

    async def embed_images(self, images: Sequence[bytes]) -> NDArray[np.float32]:
        """[n, dimension], rows of length 1. Raises `CapabilityUnavailable` where the space has no images."""


@runtime_checkable
class Reranker(Capability, Protocol):
    """Reranking: puts candidates in order for a query."""

    async def rerank(self, query: str, passages: Sequence[str]) -> list[float]:
        """A score for each passage, higher is better."""


# --- seeing -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Region:
    """Something at a place in an image. `box` is (left, top, right, bottom) in pixels of the upright image."""

    kind: str  #: "text", "label", "face", "layout", "colour", ...
    text: str
    box: tuple[float, float, float, float]
    confidence: float


@dataclass(frozen=True, slots=True)
class Scene:
    """What can be told of an image without being asked: the upright size, regions, and a description of them."""

    width: int
    height: int
    regions: tuple[Region, ...]
    description: str
    digest: str  #: sha256 of the image's pixels: the key of every cache
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class VisualAnswer:
    """An answer about images, with the regions it rests on. `supported` is False for "I can't see that"."""

    text: str
    regions: tuple[tuple[int, Region], ...] = ()  #: (index of the image, region)
    supported: bool = True
    tokens: int = 0
    seconds: float = 0.0


@runtime_checkable
class VisionModel(Capability, Protocol):
    """Understanding of images. Feature: `engine` ("vlm", "composed")."""

    async def look(self, image: bytes, *, detail: Literal["fast", "full"] = "full") -> Scene:
        """What is in it. Cached by content, so the second call is free."""

    async def answer(self, images: Sequence[bytes], question: str) -> VisualAnswer:
        """Answer a question about one or several images."""


@runtime_checkable
class TextReader(Capability, Protocol):
    """Text recognition in images."""

    async def read(self, image: bytes) -> list[Region]:
        """The lines of text in reading order, `kind` "text"."""


@runtime_checkable
class AudioTagger(Capability, Protocol):
    """Sound tagging: what a sound is."""

    async def tag(self, audio: Audio) -> list[tuple[str, float, float, float]]:
        """(label, start, end, score) for 16 kHz `audio`, seconds from its beginning."""


# --- remembering --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened: `start` and `end` are Unix seconds.

    `source` is who made it ("speech", "screen", "camera", "document", "image", "tool", "drawing",
    "summary", "note", "video", "photo"); `text` is what full-text search reads; `vectors` maps the name of a
    space to a unit vector; `data` is JSON-ready and comes back as it was; `media` are paths or references.
    """

    source: str
    text: str
    start: float
    end: float
    session: str = ""
    turn: int = 0
    id: str = ""  #: given by the memory when empty
    vectors: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    media: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recalled:
    """A moment that fits, its fused score, and its rank in each list it came from."""

    moment: Moment
    score: float
    ranks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastSession:
    """One conversation in the history; `start` and `end` are Unix seconds."""

    id: str
    title: str  #: its first words
    start: float
    end: float
    turns: int  #: how many times the person spoke or typed


@dataclass(frozen=True, slots=True)
class MemoryStats:
    """How the memory stands."""

    moments: int
    waiting: int  #: acknowledged and safe in the journal, not in the tables yet
    by_source: dict[str, int]
    spaces: dict[str, int]  #: vectors per space
    bytes: int
    oldest: float | None  #: Unix seconds
    newest: float | None
    writer: bool  #: whether this process writes the tables; otherwise it hands over through the journal
    trouble: str = ""  #: why writing fails at present, in a sentence


@runtime_checkable
class Memory(Capability, Protocol):
    """Shared memory: the one timeline."""

    async def remember(self, moments: Sequence[Moment]) -> list[str]:
        """Keep them; when this returns they survive a kill. Returns their ids."""

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
        """The moments that fit best: vector and full-text lists fused by reciprocal rank."""

    async def around(self, moment: str, *, seconds: float = 30.0, sources: Sequence[str] = ()) -> list[Moment]:
        """What else was going on: "what was on screen when I said this"."""

    async def forget(
        self,
        ids: Sequence[str] = (),
        *,
        sources: Sequence[str] = (),
        sessions: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> int:
        """Really delete, then compact. Returns how many moments went. No filter at all is an error."""

    async def sessions(self, query: str = "", *, limit: int = 50) -> list[PastSession]:
        """Past conversations, the latest first; with a query, those in which it was talked about, best first."""

    async def timeline(
        self,
        session: str = "",
        *,
        sources: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
        limit: int = 1000,
    ) -> list[Moment]:
        """What happened, in order of time: of one conversation, or of all. The last `limit` moments."""

    def export(
        self,
        *,
        sessions: Sequence[str] = (),
        sources: Sequence[str] = (),
        after: float | None = None,
        before: float | None = None,
    ) -> AsyncIterator[Moment]:
        """Everything that fits, in order of time, however much it is."""

    async def summarise(
        self,
        session: str,
        said: Sequence[Message],
        *,
        turns: tuple[int, int] = (0, 0),
        words: int = 120,
        keep: bool = True,
    ) -> str:
        """What was `said`, in about so many words, for when the context is full.

        Kept as a moment of the source "summary" over `turns` (first, last) unless `keep` is False; it
        goes when what it rests on is forgotten. A "system" message in `said` is an earlier summary.
        """

    async def stats(self) -> MemoryStats:
        """Counts and sizes."""


#: By the name a manifest uses.
BY_NAME: dict[str, type] = {
    protocol.__name__: protocol
    for protocol in (
        Transcriber, VoiceActivity, Synthesizer, ChatModel, Embedder, Reranker, VisionModel, TextReader, AudioTagger,
        Memory,
    )
}  # fmt: skip


def describe(capability: type) -> str:
    """A capability's name as people say it: "speech to text"."""
    doc = (capability.__doc__ or capability.__name__).strip().splitlines()[0].split(". ")[0]
    return doc.split(":")[0].rstrip(".").lower()
