"""Tiny videos made on the spot, and a host whose eyes and ears are scripted."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from omni.capabilities import Embedder, Region, Scene, TextReader, Transcriber, Transcript, VisionModel, Word
from omni.errors import CapabilityUnavailable

WIDTH, HEIGHT = 160, 90


def make_video(
    path: Path,
    pictures: Sequence[tuple[float, np.ndarray]],
    *,
    duration: float,
    sound: np.ndarray | None = None,
    rate: int = 16_000,
    codec: tuple[str, str] = ("mpeg4", "aac"),
) -> Path:
    """Write frames at exactly these times (seconds; any spacing, so variable frame rates too), and mono sound."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec[0], rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size = 12
        track = container.add_stream(codec[1], rate=rate, layout="mono") if sound is not None else None
        for time, picture in [*pictures, (duration - 0.001, pictures[-1][1])]:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if track is not None:
            for at in range(0, len(sound), 1024):
                piece = np.zeros((1, 1024), np.float32)
                piece[0, : len(sound[at : at + 1024])] = sound[at : at + 1024]
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
                container.mux(track.encode(frame))
            container.mux(track.encode())
    return path


def scene(seed: int) -> np.ndarray:
    """[HEIGHT, WIDTH, 3]: a picture of large coloured patches."""
    patches = np.random.default_rng(seed).integers(40, 256, (5, 8, 3), np.uint8)
    return np.asarray(Image.fromarray(patches).resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR))


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    """A picture of one colour."""
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


def steady(
    scenes: Sequence[tuple[float, np.ndarray]], duration: float, fps: float = 10.0
) -> list[tuple[float, np.ndarray]]:
    """Frames at a fixed rate from (start, picture)."""
    times = np.arange(0, duration, 1 / fps)
    return [(float(t), [picture for start, picture in scenes if start <= t + 1e-6][-1]) for t in times]


def speechlike(seconds: float, rate: int = 16_000) -> np.ndarray:
    """A buzz in syllables of four a second: what the rules take for speech."""
    t = np.arange(int(seconds * rate)) / rate
    buzz = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12))
    return (0.12 * buzz * np.clip(np.sin(2 * np.pi * 4 * t), 0, 1)).astype(np.float32)


class Words:
    """An embedder whose vectors are bags of words, pictures by their colour."""

    space, dimension = "text", 512

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> np.ndarray:
        rows = np.zeros((len(texts), 512), np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().replace("a photo of a ", "").replace("a photo of ", "").replace(".", "").split():
                row[zlib.crc32(word.encode()) % 512] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)

    async def embed_images(self, images: Sequence[bytes]) -> np.ndarray:
        return await self.embed_text([f"a photo of {colour(image)}" for image in images])


def colour(jpeg: bytes) -> str:
    """The name of the strongest channel of a picture."""
    mean = np.asarray(Image.open(io.BytesIO(jpeg)).convert("RGB"), np.float32).mean(axis=(0, 1))
    return ("red", "green", "blue")[int(mean.argmax())]


class Looks:
    """Labels a picture with its colour; reads "WELCOME" where it is bright in the middle."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def look(self, image: bytes, *, detail: str = "full") -> Scene:
        name = colour(image)
        return Scene(WIDTH, HEIGHT, (Region("label", name, (0, 0, 1, 1), 0.9),), name, "")

    async def answer(self, images: Sequence[bytes], question: str) -> Any:
        raise CapabilityUnavailable("This one only looks.")

    async def read(self, image: bytes) -> list[Region]:
        return [Region("text", "WELCOME", (0, 0, 1, 1), 0.95), Region("text", "smudge", (0, 0, 1, 1), 0.2)]


class Hears:
    """Says the same sentence for any sound, one word every 0.4 s."""

    def __init__(self, text: str = "the harvest of apples was good.") -> None:
        self.text, self.calls = text, 0

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def transcribe(self, audio: np.ndarray, **_: Any) -> Transcript:
        self.calls += 1
        words = tuple(Word(w, 0.4 * i, 0.4 * i + 0.35) for i, w in enumerate(self.text.split()))
        return Transcript(self.text, tuple(w for w in words if w.end < len(audio) / 16_000))


class ScriptedHost:
    """Gives the scripted capabilities, or those that are handed in."""

    def __init__(self, **given: Any) -> None:
        looks = Looks()
        self.all: dict[type, Any] = {Embedder: Words(), VisionModel: looks, TextReader: looks, Transcriber: Hears()}
        self.all |= {kind: given[kind.__name__] for kind in list(self.all) if kind.__name__ in given}

    def get(self, capability: type, **features: Any) -> Any:
        found = self.all.get(capability)
        if found is None or (capability is Embedder and features.get("space") != "text"):
            raise CapabilityUnavailable(f"Nobody offers {capability.__name__} {features}.")
        return found
