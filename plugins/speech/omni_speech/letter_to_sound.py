"""Pronunciations for words no dictionary has: a small letter-to-sound network in numpy.

The network and its weights are those of g2p-en 2.1.0 (https://github.com/Kyubyong/g2p, Apache-2.0): a
GRU encoder over letters and a GRU decoder over ARPAbet phonemes, 0.8 M parameters, trained on CMUdict.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni.errors import ModelMissing
from omni_speech.words import word_list

_LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
_SOUNDS = word_list(
    "<pad> <unk> <s> </s> AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 "
    "P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
)
#: ARPAbet to the symbols of `phonemes` (diphthongs and affricates are single capitals and ligatures there).
_SYMBOLS = {
    "AA": "ɑ", "AE": "æ", "AH": "ʌ", "AO": "ɔ", "AW": "W", "AY": "I", "B": "b", "CH": "ʧ", "D": "d", "DH": "ð",
    "EH": "ɛ", "ER": "ɜɹ", "EY": "A", "F": "f", "G": "ɡ", "HH": "h", "IH": "ɪ", "IY": "i", "JH": "ʤ", "K": "k",
    "L": "l", "M": "m", "N": "n", "NG": "ŋ", "OW": "O", "OY": "Y", "P": "p", "R": "ɹ", "S": "s", "SH": "ʃ", "T": "t",
    "TH": "θ", "UH": "ʊ", "UW": "u", "V": "v", "W": "w", "Y": "j", "Z": "z", "ZH": "ʒ",
}  # fmt: skip
_LONGEST = 24


class LetterToSound:
    """Guesses how a word is said. Reading a word of eight letters costs about a millisecond."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._w = weights

    @classmethod
    def load(cls, path: Path) -> LetterToSound:
        """From `checkpoint20.npz`. Raises `ModelMissing` when it is not there."""
        if not path.is_file():
            raise ModelMissing(f"There is no {path.name} in {path.parent}.", "Run: omni models pull g2p-en")
        with np.load(path, allow_pickle=False) as archive:
            return cls({name: archive[name] for name in archive.files})

    def phonemes(self, word: str) -> str:
        """The pronunciation of a word of letters a to z, stress marks before the vowels."""
        w = self._w
        state = np.zeros(w["enc_w_hh"].shape[1], np.float32)
        for letter in [*(c for c in word.lower() if c in _LETTERS), "</s>"]:
            state = self._step("enc", w["enc_emb"][_LETTERS.index(letter)], state)
        said: list[str] = []
        sound = _SOUNDS.index("<s>")
        for _ in range(_LONGEST):
            state = self._step("dec", w["dec_emb"][sound], state)
            sound = int(np.argmax(w["fc_w"] @ state + w["fc_b"]))
            if _SOUNDS[sound] == "</s>":
                break
            said.append(_symbol(_SOUNDS[sound]))
        return "".join(said)

    def _step(self, side: str, x: NDArray[np.float32], h: NDArray[np.float32]) -> NDArray[np.float32]:
        """One step of a gated recurrent unit (Cho et al. 2014); gates in the order reset, update, new."""
        w = self._w
        given = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"]
        kept = w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
        size = h.size
        gates = 1.0 / (1.0 + np.exp(-(given[: 2 * size] + kept[: 2 * size])))
        reset, update = gates[:size], gates[size:]
        new = np.tanh(given[2 * size :] + reset * kept[2 * size :])
        return (1.0 - update) * new + update * h


def _symbol(sound: str) -> str:
    name, stress = (sound[:-1], sound[-1]) if sound[-1].isdigit() else (sound, "")
    if name not in _SYMBOLS:
        return ""
    if stress == "0" and name in ("AH", "ER"):
        return "ə" if name == "AH" else "əɹ"
    return {"1": "ˈ", "2": "ˌ"}.get(stress, "") + _SYMBOLS[name]
