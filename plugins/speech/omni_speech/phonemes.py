"""How words are pronounced: a dictionary, rules for what is derived from it, and a guess for the rest.

The dictionary is that of misaki 0.9.4 (https://github.com/hexgrad/misaki, Apache-2.0): about 180,000
American English words. Its symbols are IPA with one capital for a diphthong (A as in day, I as
in my, O as in go, W as in now, Y as in boy) and ʤ, ʧ; stress marks stand right before the vowel.
No espeak is needed, so nothing here is under the GPL.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omni.errors import ModelMissing
from omni_speech.letter_to_sound import LetterToSound
from omni_speech.spoken_text import SpokenWord, spoken_words
from omni_speech.words import word_set

VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_VOICELESS = frozenset("ptkfθ")
_SIBILANT = frozenset("szʃʒʧʤ")
#: Function words lose their stress inside a sentence.
_WEAK = word_set(
    "a an the and or but of to in on at by for from with as is are was were be been am his her its their my "
    "your our that this it he she we they you them us him me do does did has have had can could will would "
    "shall should may might must if than then so not there"
)
_VERB_AFTER = word_set(
    "to will would can could should shall may might must i you we they don't doesn't didn't let's let please "
    "cannot can't won't do did does"
)
_PARTICIPLE_AFTER = word_set(
    "have has had was were been be is are i've we've you've they've being"
)
#: What is written with letters but is only a sound.
_SOUNDS = {"mm": "ˈʌm", "mmm": "ˈʌm", "hm": "hˈʌm", "hmm": "hˈʌm", "mhm": "ʌmhˈʌm", "shh": "ʃ", "psst": "pst"}
_ENDINGS = (("'s", "s"), ("s'", "s"), ("es", "s"), ("s", "s"), ("ed", "d"), ("d", "d"), ("ing", "ɪŋ"), ("ly", "li"),
            ("er", "əɹ"), ("ness", "nəs"), ("less", "ləs"), ("ment", "mənt"), ("able", "əbᵊl"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pronounced:
    """One written word of the text: its phonemes (spoken words separated by spaces) and the pause after it."""

    written: str
    phonemes: str
    pause: str = ""


class Phonemizer:
    """English text to phonemes."""

    def __init__(self, gold: dict[str, Any], silver: dict[str, str], guess: LetterToSound) -> None:
        self._gold = gold
        self._silver = silver
        self._guess = guess
        self._guessed: dict[str, str] = {}

    @classmethod
    def load(cls, lexicon: Path, letters: Path) -> Phonemizer:
        """From the folder with `us_gold.json` and `us_silver.json` and the one with `checkpoint20.npz`."""
        books = []
        for name in ("us_gold.json", "us_silver.json"):
            if not (lexicon / name).is_file():
                raise ModelMissing(f"There is no {name} in {lexicon}.", "Run: omni models pull misaki-english")
            books.append(json.loads((lexicon / name).read_text(encoding="utf-8")))
        return cls(books[0], books[1], LetterToSound.load(letters / "checkpoint20.npz"))

    def pronounce(self, text: str) -> list[Pronounced]:
        """Every whitespace-separated word of `text` in order, with what is said for it."""
        words = spoken_words(text)
        flat = [(i, said) for i, word in enumerate(words) for said in word.said]
        sounds: dict[int, list[str]] = {}
        for place, (index, said) in enumerate(flat):
            before = flat[place - 1][1] if place else ""
            after = flat[place + 1][1] if place + 1 < len(flat) else ""
            sounds.setdefault(index, []).append(self.word(said, before, after, end=_ends(words, flat, place)))
        return [
            Pronounced(word.written, " ".join(p for p in sounds.get(i, []) if p), word.pause)
            for i, word in enumerate(words)
        ]

    def word(self, word: str, before: str = "", after: str = "", *, end: bool = False) -> str:
        """One spoken word; its neighbours decide between "the" and "thee" and between the two ways to say "read"."""
        low = word.lower()
        if low == "the":
            return "ði" if _vowel_first(after) else "ðə"
        if low == "a" and after:
            return "ə"
        if low == "to" and not end:
            return "tə"
        if low == "i":
            return "ˌI"
        if low in _SOUNDS:
            return _SOUNDS[low]
        found = self._look_up(word, before.lower(), end)
        if found is None:
            found = self._derived(low, before.lower())
        if found is None:
            found = self._spell(word) if _is_acronym(word) else self._guessed_sounds(low)
        if low in _WEAK and not end:
            found = found.replace("ˈ", "").replace("ˌ", "")
        return found

    def _look_up(self, word: str, before: str, end: bool) -> str | None:
        if len(word) > 1 and word.isupper() and word not in self._gold and _is_acronym(word):
            return self._spell(word) if word.lower() not in self._gold else self._plain(word.lower(), before, end)
        for form in (word, word.lower(), word.capitalize()):
            found = self._plain(form, before, end)
            if found is not None:
                return found
        return None

    def _plain(self, form: str, before: str, end: bool) -> str | None:
        found = self._gold.get(form, self._silver.get(form))
        if not isinstance(found, dict):
            return found
        if end and found.get("None"):
            return found["None"]
        if before in _PARTICIPLE_AFTER and (found.get("VBN") or found.get("VBD")):
            return found.get("VBN") or found.get("VBD")
        if before in _VERB_AFTER and found.get("VERB"):
            return found["VERB"]
        return found["DEFAULT"]

    def _derived(self, word: str, before: str) -> str | None:
        """Plurals, past tenses, -ing and the like, and compounds of two known words."""
        for ending, sound in _ENDINGS:
            stem = word[: -len(ending)]
            if not word.endswith(ending) or len(stem) < 2:
                continue
            candidates = [stem, stem + "e", stem[:-1] + "y" if stem.endswith("i") else ""]
            if len(stem) > 2 and stem[-1] == stem[-2]:
                candidates.append(stem[:-1])
            for candidate in candidates:
                base = self._plain(candidate, before, False) if candidate else None
                if base:
                    return base + _ending_sound(base, sound)
        for cut in range(3, len(word) - 2):
            first, second = self._plain(word[:cut], "", False), self._plain(word[cut:], "", False)
            if first and second and word[:cut] in self._gold and word[cut:] in self._gold:
                return first + second.replace("ˈ", "ˌ")
        return None

    def _spell(self, word: str) -> str:
        letters = [self._gold.get(c.upper(), "") for c in word if c.isalpha()]
        sounds = [s if isinstance(s, str) else s["DEFAULT"] for s in letters]
        return "".join(s.replace("ˈ", "ˌ") for s in sounds[:-1]) + (sounds[-1] if sounds else "")

    def _guessed_sounds(self, word: str) -> str:
        if word not in self._guessed:
            if len(self._guessed) > 5000:
                self._guessed.clear()
            self._guessed[word] = self._guess.phonemes(word)
        return self._guessed[word]


def _ends(words: list[SpokenWord], flat: list[tuple[int, str]], place: int) -> bool:
    index = flat[place][0]
    last_of_word = place + 1 == len(flat) or flat[place + 1][0] != index
    return last_of_word and (bool(words[index].pause) or place + 1 == len(flat))


def _vowel_first(word: str) -> bool:
    return word[:1].lower() in "aeiou" and not word.lower().startswith(("uni", "use", "one", "eu"))


def _is_acronym(word: str) -> bool:
    if not word.isalpha():
        return False
    return len(word) == 1 or (word.isupper() and len(word) <= 5) or not any(c in "aeiouyAEIOUY" for c in word)


def _ending_sound(base: str, sound: str) -> str:
    last = base[-1]
    if sound == "s":
        return "ᵻz" if last in _SIBILANT else "s" if last in _VOICELESS else "z"
    if sound == "d":
        return "ᵻd" if last in "td" else "t" if last in _VOICELESS | set("sʃʧ") else "d"
    return sound
