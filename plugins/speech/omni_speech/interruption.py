"""Someone speaks while Omni speaks: does it stop?

Sound alone can't tell "yeah" from "yeah, but" in a quarter of a second, and words take half a second. So the
loudspeaker is first only held: silence comes at once, the echo is gone, and what follows is clean. Then words decide:
the answer is cut, or it goes on from where it was.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

import numpy as np

from omni.capabilities import Audio

FRAME_S = 0.032
#: Share of the bands that the echo must leave unexplained for a frame to be the person's. In simulated rooms the echo
#: alone leaves at most 0.11 unexplained in 95 of 100 frames.
PERSON_SHARE = 0.2
#: The voice detector's probability from which on a frame may be the person's; lower than for a turn of its own,
#: since a wrong guess here only holds the voice for a moment.
PERSON_PROBABILITY = 0.35
#: Frames of the person's voice, of the last three, that make an onset.
ONSET_FRAMES = 2
#: Speech after the onset, in seconds, when words are asked for, and when it cuts without waiting for words.
WORDS_AFTER_S = 0.35
CERTAIN_AFTER_S = 0.9
#: A hum ("mmmm") has less than this share of its power above 500 Hz, where the first formant of an open vowel ("or",
#: "no") lies: however long, it needs words to cut. It holds like anything else: in a quarter of a second it sounds
#: like the beginning of "even so", and a boomy room takes as much from the vowels.
HUM_SHARE, HUM_EDGE_HZ = 0.05, 500
#: Held sound that no speech follows goes on after this time: it was an echo or a knock.
FALSE_ALARM_S = 0.25
#: Nobody is kept in silence longer than this.
LONGEST_HOLD_S = 1.6


class Verdict(Enum):
    """What to do after a frame."""

    NOTHING = "nothing"
    BEGINS = "begins"  #: someone may be interrupting: keep the audio from here on
    HOLD = "hold"  #: silence the loudspeaker until it is clear
    WORDS = "words"  #: recognise what there is
    CUT = "cut"  #: it is an interruption
    RELEASE = "release"  #: it was nothing: go on


class Interruption:
    """Follows one answer. Feed it frames; it says what to do. Words are judged by the listener.

    `hold` says whether the loudspeaker can wait; without it only words or duration cut.
    """

    def __init__(self, *, hold: bool = True) -> None:
        self.hold = hold
        self._recent: deque[bool] = deque(maxlen=3)
        self._hum: deque[float] = deque(maxlen=8)
        self.reset()

    def reset(self) -> None:
        """Nobody speaks over it (any more)."""
        self._recent.clear()
        self._hum.clear()
        self.active = False
        self.held = False
        self._speech_s = 0.0
        self._quiet_s = 0.0
        self._held_s = 0.0
        self._asked_at = 0.0

    @property
    def speech_s(self) -> float:
        """Seconds of the person's voice so far."""
        return self._speech_s

    @property
    def silence_s(self) -> float:
        """Seconds since the person was last heard."""
        return self._quiet_s

    def frame(self, probability: float, share: float, audio: Audio) -> Verdict:
        """One frame: the voice detector's probability, the share of it that is not echo, and its samples."""
        person = probability > PERSON_PROBABILITY and share >= PERSON_SHARE
        self._recent.append(person)
        if person:
            self._hum.append(_high_share(audio))
        if not self.active:
            if sum(self._recent) < ONSET_FRAMES:
                return Verdict.NOTHING
            self.active = True
            self._speech_s = sum(self._recent) * FRAME_S
            return Verdict.BEGINS
        self._speech_s += FRAME_S if person else 0.0
        self._quiet_s = 0.0 if person else self._quiet_s + FRAME_S
        if self.held:
            self._held_s += FRAME_S
        return self.decide()

    def decide(self) -> Verdict:
        """What to do as things stand; also right after `BEGINS`."""
        if self.held and self._quiet_s >= FALSE_ALARM_S and self._speech_s < 0.16:
            return Verdict.RELEASE
        if self._held_s > LONGEST_HOLD_S:
            return Verdict.CUT if self._speech_s > WORDS_AFTER_S else Verdict.RELEASE
        if self._speech_s >= CERTAIN_AFTER_S and float(np.median(self._hum)) >= HUM_SHARE:
            return Verdict.CUT
        if self._speech_s - self._asked_at >= WORDS_AFTER_S:
            self._asked_at = self._speech_s
            return Verdict.WORDS
        if self.hold and not self.held and self._quiet_s == 0.0:
            self.held = True
            return Verdict.HOLD
        return Verdict.NOTHING


def _high_share(audio: Audio) -> float:
    power = np.abs(np.fft.rfft(audio * np.hanning(audio.size))) ** 2
    edge = int(HUM_EDGE_HZ / 16_000 * audio.size)
    return float(power[edge:].sum() / max(float(power.sum()), 1e-12))
