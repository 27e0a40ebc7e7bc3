"""One utterance while it is being said: its audio, and its text as far as it is certain.

Words that two hypotheses in a row agree on are stable (LocalAgreement, Macháček et al. 2023,
https://arxiv.org/abs/2307.14743). Once enough words are stable the audio before them is set aside, so the
end of a long sentence costs what its last few words cost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from omni.capabilities import Audio, Transcript, Word
from omni_speech.words import plain

RATE = 16_000
#: Audio before a stable word is set aside when more than this many seconds wait to be recognised.
TRIM_AFTER_S = 5.0
#: Stable words that stay in the audio, so that the next hypothesis has something to hold on to.
KEEP_WORDS = 2
#: One utterance, at most: then its beginning is given up as it was last understood.
LONGEST_S = 120.0


@dataclass(slots=True)
class Utterance:
    """What one person says without a long pause. `started` is session time of its first sample."""

    started: float
    _parts: list[Audio] = field(default_factory=list)
    _size: int = 0  #: samples that wait to be recognised
    _aside: int = 0  #: samples before them, recognised and gone
    fixed: list[str] = field(default_factory=list)  #: words whose audio is gone
    stable: list[str] = field(default_factory=list)  #: words of the present audio that will not change
    _last: list[str] = field(default_factory=list)  #: the words of the last hypothesis

    def add(self, frame: Audio) -> None:
        """More audio (16 kHz)."""
        self._parts.append(frame)
        self._size += frame.size
        if self._size > LONGEST_S * RATE:
            self._set_aside(self._size // 2, [*self._last])

    def audio(self) -> Audio:
        """What waits to be recognised, shape [samples]."""
        if len(self._parts) > 1:
            self._parts = [np.concatenate(self._parts)]
        return self._parts[0] if self._parts else np.zeros(0, np.float32)

    def speech(self, until: int) -> Audio:
        """The last second of audio up to sample `until` of the utterance."""
        end = max(0, until - self._aside)
        return self.audio()[max(0, end - RATE) : end]

    @property
    def samples(self) -> int:
        """Samples since the utterance began."""
        return self._aside + self._size

    @property
    def seconds(self) -> float:
        return self.samples / RATE

    def prompt(self) -> str:
        """What was said before the audio that is recognised now."""
        return " ".join(self.fixed[-30:])

    def hear(self, transcript: Transcript, audio: Audio) -> tuple[str, str]:
        """A hypothesis for `audio`, which began where `audio()` begins. Returns (whole text, its stable prefix)."""
        words = transcript.text.split()
        words = _without_overlap(self.fixed, words)
        agreed = 0
        for now, before in zip(words, self._last, strict=False):
            if plain(now) != plain(before):
                break
            agreed += 1
        # The word at the edge is often half a word.
        agreed = min(agreed, max(0, len(words) - 1))
        self.stable = words[: max(agreed, min(len(self.stable), _agreement(words, self.stable)))]
        self._last = words
        text = " ".join([*self.fixed, *words])
        certain = " ".join([*self.fixed, *self.stable])
        self._trim(transcript.words, words, audio)
        return text, certain

    def _trim(self, timed: tuple[Word, ...], words: list[str], audio: Audio) -> None:
        """Set aside the audio of stable words, at the quietest point near the end of the last of them."""
        count = len(self.stable) - KEEP_WORDS
        if not is_long(audio) or count < 3:
            return
        end = _end_of_word(timed, words[:count])
        if end is None or end < 1.0:
            return
        lo, hi = int((end - 0.08) * RATE), int((end + 0.14) * RATE)
        hop = RATE // 100
        spots = range(max(lo, hop), min(hi, audio.size - hop), hop)
        if not spots:
            return
        cut = min(spots, key=lambda i: float(np.mean(audio[i - hop : i + hop] ** 2)))
        self._set_aside(cut, words[:count])
        self.stable = words[count : count + KEEP_WORDS]
        self._last = words[count:]

    def _set_aside(self, samples: int, words: list[str]) -> None:
        rest = self.audio()[samples:].copy()
        self.fixed.extend(words)
        self._parts = [rest]
        self._size = rest.size
        self._aside += samples
        self.stable, self._last = [], []


def is_long(audio: Audio) -> bool:
    """Whether so much audio waits that what is certain of it is set aside: that takes the times of its words."""
    return audio.size >= TRIM_AFTER_S * RATE


def _agreement(words: list[str], stable: list[str]) -> int:
    count = 0
    for now, before in zip(words, stable, strict=False):
        if plain(now) != plain(before):
            break
        count += 1
    return count


def _without_overlap(fixed: list[str], words: list[str]) -> list[str]:
    """`words` without a beginning that repeats the end of `fixed`: the cut went through a word."""
    for size in range(min(3, len(fixed), len(words)), 0, -1):
        if [plain(w) for w in fixed[-size:]] == [plain(w) for w in words[:size]]:
            return words[size:]
    return words


def _end_of_word(timed: tuple[Word, ...], words: list[str]) -> float | None:
    """When the last of `words` ends, found by letters: the recogniser times marks and words by rules of its own."""
    wanted = len(plain(" ".join(words)).replace(" ", ""))
    seen = 0
    for word in timed:
        seen += len(plain(word.text).replace(" ", ""))
        if seen >= wanted:
            return word.end if seen == wanted else None
    return None
