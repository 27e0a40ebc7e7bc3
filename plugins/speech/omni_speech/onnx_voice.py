"""What the two ONNX voices share: their life, a graph with one inner value made visible, and word times from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import SpeechChunk
from omni.errors import ModelMissing
from omni.worker import Worker
from omni_speech.phonemes import Phonemizer, Pronounced


class OnnxVoice:
    """The `Synthesizer` capability around one ONNX model. A voice adds `_load` and `_speak`; a clause comes in pieces.

    `folder` and `phonemizer` are awaited by `open`; the model runs with `threads` in a thread of its own.
    """

    name = ""  #: of the model's thread
    rate = 0  #: samples a second
    longest = 160  #: phonemes in a piece

    def __init__(
        self, folder: Callable[[], Awaitable[Path]], phonemizer: Callable[[], Awaitable[Phonemizer]], *,
        threads: int = 2,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._make_phonemizer = phonemizer
        self._threads = threads
        self._worker: Worker | None = None
        self._session: Any = None
        self._phonemizer: Phonemizer | None = None
        self._timed = False

    async def open(self) -> None:
        """Load the model and say a word, so that the first clause costs what the others cost."""
        if self._session is not None:
            return
        folder = await self._folder()
        self._phonemizer = await self._make_phonemizer()
        self._worker = Worker(self.name)
        await self._worker.run(self._load, folder)
        async for _ in self.synthesize("Ready when you are."):
            pass

    async def close(self) -> None:
        """Give the memory back. Idempotent."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self._session = None

    async def synthesize(self, text: str, *, voice: str = "", speed: float = 1.0) -> AsyncIterator[SpeechChunk]:
        """Speak one clause; stops between pieces when it is no longer iterated. `speed` 1.2 is a fifth faster."""
        if self._worker is None or self._phonemizer is None:
            raise ModelMissing("The voice was used before its model was loaded.", "Call open() first.")
        name = self._chosen(voice)
        parts = pieces(self._phonemizer.pronounce(text), self.longest)
        clause = ClauseTimes(parts)
        for words in parts:
            chunk = await self._worker.run(self._speak, words, name, speed)
            times = clause.add(chunk.words, words, chunk.audio.size / chunk.rate)
            yield SpeechChunk(chunk.audio, chunk.rate, times)

    def _chosen(self, voice: str) -> str:
        """The voice that is meant by a name, "" for none. Raises `BadInput` for one that is not there."""
        return voice

    # -- in the worker's thread -----------------------------------------------------------------

    def _load(self, folder: Path) -> None:
        """Load the model in `folder`. Raises `ModelMissing`."""
        raise NotImplementedError

    def _speak(self, words: list[Pronounced], voice: str, speed: float) -> SpeechChunk:
        """One piece."""
        raise NotImplementedError

    def _finished(self, outputs: Sequence[Any], words: Sequence[Pronounced], owners: Sequence[int]) -> SpeechChunk:
        """The piece that the graph's outputs (samples, and the durations of tokens where it is timed) make."""
        audio = np.clip(outputs[0].reshape(-1).astype(np.float32), -1.0, 1.0)
        durations = outputs[1].reshape(-1).astype(np.float32) if self._timed else np.ones(len(owners), np.float32)
        times = word_times(words, owners, durations, audio.size / self.rate)
        audio, times = without_lead(audio, self.rate, times)
        return SpeechChunk(fade_edges(audio, self.rate), self.rate, times)


def pieces(words: list[Pronounced], longest: int = 160) -> list[list[Pronounced]]:
    """Cut a clause where it pauses, and anywhere once a piece has `longest` phonemes; silent words stay attached."""
    found: list[list[Pronounced]] = []
    current: list[Pronounced] = []
    length = 0
    for word in words:
        current.append(word)
        length += len(word.phonemes)
        at_stop = word.pause in tuple(".!?;:") and length >= 12
        if length >= longest or at_stop or (word.pause and length >= longest // 3):
            found.append(current)
            current, length = [], 0
    if any(word.phonemes for word in current):
        found.append(current)
    elif current and found:
        found[-1].extend(current)
    return found


def load_with_output(path: Path, inner: str, threads: int) -> tuple[Any, bool]:
    """An ONNX Runtime session that also returns the graph's inner value `inner` (the phoneme durations).

    A protobuf message that occurs twice is merged, so appending a `ModelProto` whose `graph` (field 7) holds
    nothing but one more `output` (field 12) adds that output without a library for editing graphs.
    Returns the session and whether it has the value; a graph without it is loaded as it is.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Workers that spin while they wait for the next piece would take the recogniser's cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = ["CPUExecutionProvider"]
    data = path.read_bytes()
    try:
        return onnxruntime.InferenceSession(data + _extra_output(inner), options, providers=providers), True
    except Exception:  # the runtime raises classes of its own for a name the graph lacks
        return onnxruntime.InferenceSession(data, options, providers=providers), False


def _extra_output(name: str) -> bytes:
    """`ModelProto{graph{output{name}}}` in protobuf's wire format (https://protobuf.dev/programming-guides/encoding/)."""
    value_info = _field(1, name.encode())
    return _field(7, _field(12, value_info))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def word_times(
    words: Sequence[Pronounced], owners: Sequence[int], durations: NDArray[np.float32], seconds: float
) -> tuple[tuple[str, float, float], ...]:
    """(written word, start, end) in seconds, for every word.

    `owners[i]` is the word that token `i` belongs to (-1 for what lies between words), `durations` how long each
    token takes in any unit; they are scaled to `seconds`. A word with no sound ends where it starts.
    """
    ends = np.cumsum(durations) * (seconds / max(float(np.sum(durations)), 1e-9))
    starts = np.concatenate([[0.0], ends[:-1]])
    owner = np.asarray(owners)
    times: list[tuple[str, float, float]] = []
    at = 0.0
    for index, word in enumerate(words):
        mine = np.flatnonzero(owner == index)
        start, end = (float(starts[mine[0]]), float(ends[mine[-1]])) if mine.size else (at, at)
        times.append((word.written, start, end))
        at = end
    return tuple(times)


class ClauseTimes:
    """Word times of a clause that is spoken in pieces, always for all of its words.

    What has been spoken is exact; the rest is estimated from the pace so far, by the number of phonemes.
    """

    def __init__(self, parts: Sequence[Sequence[Pronounced]]) -> None:
        self._rest = [word for part in parts for word in part]
        self._known: list[tuple[str, float, float]] = []
        self._seconds = 0.0
        self._sounds = 0

    def add(
        self, times: Sequence[tuple[str, float, float]], words: Sequence[Pronounced], seconds: float
    ) -> tuple[tuple[str, float, float], ...]:
        """A piece of `seconds` was spoken, its word times counted from its own start."""
        self._known.extend((word, start + self._seconds, end + self._seconds) for word, start, end in times)
        self._rest = self._rest[len(words) :]
        self._seconds += seconds
        self._sounds += sum(len(word.phonemes) + 1 for word in words)
        pace = self._seconds / max(self._sounds, 1)
        guessed: list[tuple[str, float, float]] = []
        at = self._seconds
        for word in self._rest:
            end = at + pace * (len(word.phonemes) + 1)
            guessed.append((word.written, at, end))
            at = end
        return (*self._known, *guessed)


def fade_edges(audio: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """The audio with 3 ms ramps at both ends, so that pieces join without a click."""
    ramp = min(int(rate * 0.003), audio.size // 2)
    if ramp:
        slope = np.linspace(0.0, 1.0, ramp, dtype=np.float32)
        audio = audio.copy()
        audio[:ramp] *= slope
        audio[-ramp:] *= slope[::-1]
    return audio


#: Sound below this share of full scale before the first word is silence; this much of it stays, so that nothing is cut.
_LEAD_LEVEL = 0.008
_LEAD_KEPT_S = 0.02


def without_lead(
    audio: NDArray[np.float32], rate: int, times: tuple[tuple[str, float, float], ...]
) -> tuple[NDArray[np.float32], tuple[tuple[str, float, float], ...]]:
    """The audio without the silence the voice begins with, and the word times moved with it.

    A tenth of a second of silence in front of every answer would be a tenth of a second that somebody waits.
    """
    loud = np.flatnonzero(np.abs(audio) > _LEAD_LEVEL)
    cut = max(0, int(loud[0]) - int(_LEAD_KEPT_S * rate)) if loud.size else 0
    moved = cut / rate
    return audio[cut:], tuple((word, max(0.0, start - moved), max(0.0, end - moved)) for word, start, end in times)
