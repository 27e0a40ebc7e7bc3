"""The quick voice: a Piper (VITS) model run by ONNX Runtime, with our own phonemes. Real-time factor about 0.05.

The model (https://github.com/rhasspy/piper, voice en_US-joe-medium) was trained on espeak's IPA; `_IPA` writes
our dictionary's symbols the way espeak would. Each phoneme is followed by a pad, as in training.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import SpeechChunk
from omni.errors import ModelMissing
from omni_speech.onnx_voice import ClauseTimes, fade_edges, load_with_output, without_lead, word_times
from omni_speech.phonemes import Phonemizer, Pronounced
from omni_speech.worker import Ticket, Worker

_DURATIONS = "/Ceil_output_0"
#: Longest pattern first: "ɜɹ" is one sound to espeak, "i" is long where it is stressed.
_IPA = (
    ("ɜɹ", "ɜː"), ("əɹ", "ɚ"), ("ᵊl", "əl"), ("A", "eɪ"), ("I", "aɪ"), ("O", "oʊ"), ("W", "aʊ"), ("Y", "ɔɪ"),
    ("ʤ", "dʒ"), ("ʧ", "tʃ"), ("ɑ", "ɑː"), ("ɔ", "ɔː"), ("u", "uː"), ("ᵊ", "ə"), ("ɔːɪ", "ɔɪ"),
)  # fmt: skip
_PAUSES = {",": ",", ".": ".", "!": "!", "?": "?", ":": ":", ";": ";"}


def espeak_style(phonemes: str) -> str:
    """The dictionary's symbols as espeak writes American English."""
    for ours, theirs in _IPA:
        phonemes = phonemes.replace(ours, theirs)
    return re.sub(r"([ˈˌ])i", r"\1iː", phonemes)


class PiperVoice:
    """The `Synthesizer` capability with one voice. A clause comes in pieces that end at its pauses."""

    rate = 22050

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
        self._settings: dict[str, Any] = {}
        self._ids: dict[str, int] = {}
        self._timed = False

    async def open(self) -> None:
        """Load the voice and say a word, so that the first clause costs what the others cost."""
        if self._session is not None:
            return
        folder = await self._folder()
        self._phonemizer = await self._make_phonemizer()
        self._worker = Worker("piper")
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
        parts = pieces(self._phonemizer.pronounce(text))
        clause = ClauseTimes(parts)
        for words in parts:
            chunk = await self._worker.run(self._speak, words, speed)
            times = clause.add(chunk.words, words, chunk.audio.size / chunk.rate)
            yield SpeechChunk(chunk.audio, chunk.rate, times)

    # -- in the worker's thread -----------------------------------------------------------------

    def _load(self, ticket: Ticket, folder: Path) -> None:
        model = next(iter(sorted(folder.glob("*.onnx"))), None)
        if model is None or not model.with_suffix(".onnx.json").is_file():
            raise ModelMissing(f"There is no Piper voice in {folder}.", f"Run: omni models pull {folder.name}")
        self._settings = json.loads(model.with_suffix(".onnx.json").read_text(encoding="utf-8"))
        self._ids = {symbol: ids[0] for symbol, ids in self._settings["phoneme_id_map"].items()}
        self.rate = int(self._settings["audio"]["sample_rate"])
        self._session, self._timed = load_with_output(model, _DURATIONS, self._threads)

    def _speak(self, ticket: Ticket, words: list[Pronounced], speed: float) -> SpeechChunk:
        tokens, owners = self._tokens(words)
        quality = self._settings["inference"]
        scales = [quality["noise_scale"], quality["length_scale"] / max(speed, 0.25), quality["noise_w"]]
        outputs = self._session.run(None, {
            "input": np.array([tokens], np.int64),
            "input_lengths": np.array([len(tokens)], np.int64),
            "scales": np.array(scales, np.float32),
        })  # fmt: skip
        audio = np.clip(outputs[0].reshape(-1).astype(np.float32), -1.0, 1.0)
        durations = outputs[1].reshape(-1) if self._timed else np.ones(len(tokens), np.float32)
        times = word_times(words, owners, durations, audio.size / self.rate)
        audio, times = without_lead(audio, self.rate, times)
        return SpeechChunk(fade_edges(audio, self.rate), self.rate, times)

    def _tokens(self, words: list[Pronounced]) -> tuple[list[int], list[int]]:
        """Phoneme ids as the model was trained on them, each followed by the pad; and which word each belongs to."""
        pad = self._ids["_"]
        tokens, owners = [self._ids["^"], pad], [-1, -1]
        for index, word in enumerate(words):
            for symbol in espeak_style(word.phonemes):
                if symbol in self._ids:
                    tokens += [self._ids[symbol], pad]
                    owners += [index, index]
            gap = _PAUSES.get(word.pause, "") + (" " if index + 1 < len(words) else "")
            for symbol in gap:
                tokens += [self._ids[symbol], pad]
                owners += [-1, -1]
        return [*tokens, self._ids["$"]], [*owners, -1]


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
