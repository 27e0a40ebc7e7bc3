"""The quick voice: a Piper (VITS) model run by ONNX Runtime, with our own phonemes. Real-time factor about 0.05.

The model (https://github.com/rhasspy/piper, voice en_US-joe-medium) was trained on espeak's IPA; `_IPA` writes
our dictionary's symbols the way espeak would. Each phoneme is followed by a pad, as in training.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np

from omni.capabilities import SpeechChunk
from omni.errors import ModelMissing
from omni_speech.onnx_voice import OnnxVoice, load_with_output
from omni_speech.phonemes import Phonemizer, Pronounced

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


class PiperVoice(OnnxVoice):
    """One voice. A clause comes in pieces that end at its pauses."""

    name, rate = "piper", 22050

    def __init__(
        self, folder: Callable[[], Awaitable[Path]], phonemizer: Callable[[], Awaitable[Phonemizer]], *,
        threads: int = 2,
    ) -> None:  # fmt: skip
        super().__init__(folder, phonemizer, threads=threads)
        self._settings: dict[str, Any] = {}
        self._ids: dict[str, int] = {}

    # -- in the worker's thread -----------------------------------------------------------------

    def _load(self, folder: Path) -> None:
        model = next(iter(sorted(folder.glob("*.onnx"))), None)
        if model is None or not model.with_suffix(".onnx.json").is_file():
            raise ModelMissing(f"There is no Piper voice in {folder}.", f"Run: omni models pull {folder.name}")
        self._settings = json.loads(model.with_suffix(".onnx.json").read_text(encoding="utf-8"))
        self._ids = {symbol: ids[0] for symbol, ids in self._settings["phoneme_id_map"].items()}
        self.rate = int(self._settings["audio"]["sample_rate"])
        self._session, self._timed = load_with_output(model, _DURATIONS, self._threads)

    def _speak(self, words: list[Pronounced], voice: str, speed: float) -> SpeechChunk:
        tokens, owners = self._tokens(words)
        quality = self._settings["inference"]
        scales = [quality["noise_scale"], quality["length_scale"] / max(speed, 0.25), quality["noise_w"]]
        outputs = self._session.run(None, {
            "input": np.array([tokens], np.int64),
            "input_lengths": np.array([len(tokens)], np.int64),
            "scales": np.array(scales, np.float32),
        })  # fmt: skip
        return self._finished(outputs, words, owners)

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
