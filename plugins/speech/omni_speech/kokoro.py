"""The natural voice: Kokoro-82M (int8) run by ONNX Runtime. Real-time factor about 0.4 on two cores.

The model (https://github.com/hexgrad/kokoro, Apache-2.0) reads the dictionary's own symbols. A voice is a table
of style vectors, shape [510, 1, 256], one for each number of tokens.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni.capabilities import SpeechChunk
from omni.errors import BadInput, ModelMissing
from omni_speech.onnx_voice import OnnxVoice, load_with_output
from omni_speech.phonemes import Phonemizer, Pronounced

_DURATIONS = "/encoder/Clip_output_0"
#: The model's symbols and their numbers (config.json of hexgrad/Kokoro-82M), those that English uses.
_IDS = {
    ";": 1, ":": 2, ",": 3, ".": 4, "!": 5, "?": 6, " ": 16, "A": 24, "I": 25, "O": 31, "Q": 33, "W": 39, "Y": 41,
    "ᵊ": 42, "a": 43, "b": 44, "d": 46, "e": 47, "f": 48, "h": 50, "i": 51, "j": 52, "k": 53, "l": 54, "m": 55,
    "n": 56, "o": 57, "p": 58, "s": 61, "t": 62, "u": 63, "v": 64, "w": 65, "x": 66, "z": 68, "ɑ": 69, "ɐ": 70,
    "ɒ": 71, "æ": 72, "ɔ": 76, "ð": 81, "ʤ": 82, "ə": 83, "ɛ": 86, "ɜ": 87, "ɡ": 92, "ɪ": 102, "ŋ": 112, "θ": 119,
    "ɹ": 123, "ɾ": 125, "ʃ": 131, "ʧ": 133, "ʊ": 135, "ʌ": 138, "ʒ": 147, "ʔ": 148, "ˈ": 156, "ˌ": 157, "ː": 158,
    "ᵻ": 177,
}  # fmt: skip
_DEFAULT = "af_heart"


class KokoroVoice(OnnxVoice):
    """The voices of its folder."""

    name, rate = "kokoro", 24000
    longest = 90  # a short first piece is heard sooner; what follows is computed while it plays

    def __init__(
        self, folder: Callable[[], Awaitable[Path]], phonemizer: Callable[[], Awaitable[Phonemizer]], *,
        threads: int = 2, voice: str = _DEFAULT,
    ) -> None:  # fmt: skip
        super().__init__(folder, phonemizer, threads=threads)
        self._voice = voice
        self._files: dict[str, Path] = {}
        self._styles: dict[str, NDArray[np.float32]] = {}

    async def close(self) -> None:
        """Give the memory back. Idempotent."""
        await super().close()
        self._styles.clear()

    @property
    def voices(self) -> list[str]:
        """The names `synthesize` takes."""
        return sorted(self._files)

    def _chosen(self, voice: str) -> str:
        name = voice or self._voice
        if name not in self._files:
            raise BadInput(f"There is no voice '{name}'.", f"Choose one of: {', '.join(self.voices)}.")
        return name

    # -- in the worker's thread -----------------------------------------------------------------

    def _load(self, folder: Path) -> None:
        model = next(iter(sorted(folder.glob("*.onnx"))), None)
        self._files = {path.stem: path for path in folder.rglob("*.bin")}
        if model is None or not self._files:
            raise ModelMissing(f"There is no Kokoro model with voices in {folder}.", "Run: omni models pull kokoro-82m")
        if self._voice not in self._files:
            self._voice = self.voices[0]
        self._session, self._timed = load_with_output(model, _DURATIONS, self._threads)

    def _style(self, name: str, tokens: int) -> NDArray[np.float32]:
        if name not in self._styles:
            self._styles[name] = np.fromfile(self._files[name], np.float32).reshape(-1, 256)
        table = self._styles[name]
        return table[min(tokens, len(table) - 1)][None]

    def _speak(self, words: list[Pronounced], voice: str, speed: float) -> SpeechChunk:
        tokens, owners = [0], [-1]
        for index, word in enumerate(words):
            sounds = [_IDS[symbol] for symbol in word.phonemes if symbol in _IDS]
            tokens += sounds
            owners += [index] * len(sounds)
            gap = [_IDS[s] for s in word.pause + (" " if index + 1 < len(words) else "") if s in _IDS]
            tokens += gap
            owners += [-1] * len(gap)
        tokens, owners = [*tokens[:510], 0], [*owners[:510], -1]
        outputs = self._session.run(None, {
            "tokens": np.array([tokens], np.int64),
            "style": self._style(voice, len(tokens) - 2),
            "speed": np.array([speed], np.float32),
        })  # fmt: skip
        return self._finished(outputs, words, owners)
