"""A cheap request for each method of each capability, and a bad one: what the contract kit calls plugins with."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from omni.capabilities import (
    AudioTagger,
    ChatModel,
    ChatRequest,
    Embedder,
    Memory,
    Message,
    Moment,
    Reranker,
    Synthesizer,
    TextReader,
    Transcriber,
    VisionModel,
    VoiceActivity,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One call. `bad` marks input that has to be answered or refused with an `OmniError`, nothing else."""

    method: str
    args: tuple[Any, ...] = ()
    kwargs: tuple[tuple[str, Any], ...] = ()
    bad: bool = False
    other: tuple[Any, ...] = ()  #: arguments whose answer has to differ in nothing when calls overlap


def png(width: int = 64, height: int = 48, grey: int = 200) -> bytes:
    """A plain image as PNG (the format of RFC 2083, uncompressed filter 0)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = (b"\0" + bytes([grey, grey, grey]) * width) * height
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tone(seconds: float = 1.0, hertz: float = 220.0) -> np.ndarray:
    """A quiet tone at 16 kHz: float32 [samples]."""
    return (0.1 * np.sin(2 * np.pi * hertz * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.float32)


def _ask(text: str) -> ChatRequest:
    return ChatRequest(messages=(Message("user", text),), max_tokens=8)


_NOTE = Moment(source="document", text="The contract kit was here.", start=1.0, end=2.0, session="contract")

SAMPLES: dict[type, tuple[Sample, ...]] = {
    Transcriber: (
        Sample("transcribe", (tone(),), other=(np.zeros(8_000, np.float32),)),
        Sample("transcribe", (np.full(16_000, np.nan, np.float32),), bad=True),
        Sample("transcribe", (np.zeros(0, np.float32),), bad=True),
    ),
    VoiceActivity: (Sample("detector"),),
    Synthesizer: (Sample("synthesize", ("Hello.",)), Sample("synthesize", ("",), bad=True)),
    ChatModel: (
        Sample("count_tokens", ("How many tokens?",), other=("two words",)),
        Sample("chat", (_ask("Say hello."),)),
        Sample("chat", (ChatRequest(messages=()),), bad=True),
    ),
    Embedder: (
        Sample("embed_text", (["a dog"],), other=(["a letter from the bank"],)),
        Sample("embed_text", ([],), bad=True),
        Sample("embed_images", ([b"no image"],), bad=True),
    ),
    Reranker: (Sample("rerank", ("dog", ["a dog", "a bank"]), other=("bank", ["a dog", "a bank"])),),
    VisionModel: (
        Sample("look", (png(),), other=(png(grey=20),)),
        Sample("look", (b"no image",), bad=True),
    ),
    TextReader: (Sample("read", (png(),), other=(png(grey=20),)), Sample("read", (b"no image",), bad=True)),
    AudioTagger: (
        Sample("tag", (tone(),), other=(tone(hertz=880),)),
        Sample("tag", (np.zeros(0, np.float32),), bad=True),
    ),
    Memory: (
        Sample("remember", ([_NOTE],)),
        Sample("recall", ("contract kit",), (("limit", 3),)),
        Sample("forget", (), bad=True),
    ),
}


def samples(capability: type) -> list[Sample]:
    """The good requests of a capability."""
    return [sample for sample in SAMPLES.get(capability, ()) if not sample.bad]


def bad_samples(capability: type) -> list[Sample]:
    """The bad ones."""
    return [sample for sample in SAMPLES.get(capability, ()) if sample.bad]
