"""The life of one spoken turn: it begins, pauses, is guessed to be over, is revised, is certain or was nothing.

Silence is counted in samples of audio, not in time passed, so a machine that stutters hears the same pauses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np

from omni.capabilities import Audio, Transcript
from omni.events import (
    Event,
    PartialTranscript,
    SpeechPaused,
    SpeechStarted,
    StageTiming,
    TurnCommitted,
    TurnDropped,
    TurnRevised,
    TurnSpeculated,
)
from omni.session import Session
from omni_speech.backchannel import is_stop
from omni_speech.endpointing import silence_needed
from omni_speech.hearing import RATE, Utterance
from omni_speech.recogniser import Job
from omni_speech.words import plain

#: The probability that starts speech, and the lower one that ends it.
ON, OFF = 0.5, 0.35
#: The share of the loudest frames (root mean square) below which a voice is faint, and what is left of them each frame.
FAINT, FORGET = 0.25, 0.98
#: Samples, far from any.
NOTHING = -(10**9)


@dataclass(frozen=True, slots=True)
class Pauses:
    """When what happens, in seconds of silence; and how often partials are recognised."""

    recognise_s: float = 0.03  #: the tail is recognised before it is certain that this is a pause
    speculate_s: float = 0.12  #: a wrong guess costs a little work, a guess not made a tenth of a second
    sure_s: float = 0.10  #: speech fades: what was heard without this much of its end is what was said
    fresh_s: float = 0.25  #: what was heard without this much of its end is guessed with, and then checked
    nothing_s: float = 0.60  #: without a word by then it was noise
    first_partial_s: float = 0.8
    partial_every_s: float = 0.7
    partial_least_s: float = 0.4  #: sooner where the voice fades, for a word ends there, and perhaps the turn
    resume_frames: int = 2  #: frames of voice after a pause that count as speech again
    endpoint: Callable[[str], float] = silence_needed  #: the seconds that a text needs


class Loudness:
    """Tells where a voice fades: words end there, and turns, a tenth of a second before the detector hears silence."""

    def __init__(self) -> None:
        self._peak = 0.0
        self._faint = True

    def fades(self, audio: Audio) -> bool:
        """Whether the voice became faint with this frame."""
        loudness = float(np.sqrt(np.mean(audio * audio)))
        self._peak = max(loudness, FORGET * self._peak)
        before, self._faint = self._faint, loudness < FAINT * self._peak
        return self._faint and not before


class TurnTaker:
    """Follows one utterance at a time and publishes what becomes of it. Lives on the session's loop.

    `ask` wishes for a recognition and says whether it will be done.
    """

    def __init__(self, session: Session, ask: Callable[[Job], bool], pauses: Pauses | None = None) -> None:
        self._session = session
        self._ask = ask
        self._pauses = pauses or Pauses()
        self._ids = count(1)
        self._id = 0
        self._turn = self._revision = 0
        self._utterance: Utterance | None = None

    @property
    def active(self) -> bool:
        """Whether a turn is open."""
        return self._utterance is not None

    @property
    def turn(self) -> int:
        """The number of the turn that is open, or was last."""
        return self._turn

    def begin(
        self, started: float, frames: Sequence[tuple[float, Audio, float]], *, carry: str = "", cutting: bool = False
    ) -> None:
        """Someone began to speak at `started`; `frames` (probability, audio, end time) were kept from before.

        `carry` is the text of a turn that was taken for finished too early: this one goes on with it.
        `cutting` says that it interrupts an answer.
        """
        self._turn, self._revision = self._session.turns.begin()
        self._id = next(self._ids)
        first = frames[0] if frames else None
        self._utterance = Utterance(first[2] - first[1].size / RATE if first else started)
        self._carry = carry
        self._cutting = cutting
        self._voiced = True
        self._spoken_until = 0  #: samples of the utterance until the end of its speech
        self._speech_end = started
        self._voice_run = 0
        self._loudness = Loudness()
        self._asked_until = 0  #: how much of the utterance the last wish covered
        self._asked_speech = NOTHING  #: how much of its speech
        self._paused_at = 0.0
        self._speculated_at = 0.0
        self._paused = self._forced = False
        self._heard, self._heard_speech = "", NOTHING  #: the last hypothesis, and how much of the speech it covers
        self._guess = ""  #: what is speculated with, if anything
        self._needed = 0.0
        self._text = ""
        self._publish(SpeechStarted, at=started)
        for probability, audio, ends in frames:
            self.frame(probability, audio, ends)

    def frame(self, probability: float, audio: Audio, ends: float) -> None:
        """32 ms more of microphone that end at session time `ends`."""
        assert self._utterance is not None
        self._utterance.add(audio)
        self._voiced = probability >= (OFF if self._voiced else ON)
        fades = self._loudness.fades(audio)
        if self._voiced:
            self._on_voice(ends, fades)
        elif self._spoken_until:
            self._on_silence()

    def end_now(self) -> None:
        """No more audio comes (muted, unplugged): the turn ends with what was heard."""
        if self._utterance is None:
            return
        self._forced = True
        if self._misses(self._asked_speech) > self._pauses.sure_s:
            self._ask_for(final=True)
        else:
            self._consider()

    def abandon(self, reason: str) -> None:
        """The turn was none."""
        if self._utterance is not None:
            self._utterance = None
            self._publish(TurnDropped, reason=reason)

    # -- voice and silence ----------------------------------------------------------------------

    def _on_voice(self, ends: float, fades: bool) -> None:
        assert self._utterance is not None
        self._voice_run += 1
        if self._paused and self._voice_run < self._pauses.resume_frames:
            return
        self._spoken_until = self._utterance.samples
        self._speech_end = ends
        if self._paused:
            self._resume()
        wait = self._pauses.partial_every_s if self._asked_until else self._pauses.first_partial_s
        if self._utterance.samples - self._asked_until >= (self._pauses.partial_least_s if fades else wait) * RATE:
            self._ask_for(final=False)

    def _resume(self) -> None:
        self._paused = False
        if self._guess:
            self._revise()

    def _revise(self) -> None:
        self._guess = ""
        self._revision = self._session.turns.revise()
        self._publish(TurnRevised)

    @property
    def _silence(self) -> float:
        """Seconds since the end of the speech."""
        assert self._utterance is not None
        return (self._utterance.samples - self._spoken_until) / RATE

    def _misses(self, speech: int) -> float:
        """Seconds at the end of the speech that a wish or hypothesis of so much of it lacks."""
        return (self._spoken_until - speech) / RATE

    def _on_silence(self) -> None:
        self._voice_run = 0
        if self._silence >= self._pauses.recognise_s and self._misses(self._asked_speech) > self._pauses.sure_s:
            self._ask_for(final=True)
        if self._silence >= self._pauses.speculate_s and not self._paused:
            self._paused = True
            self._paused_at = self._session.clock.now()
            self._publish(SpeechPaused, at=self._speech_end)
            self._timing("vad_silence", self._paused_at - self._speech_end)
        if self._paused:
            self._consider()

    def _consider(self) -> None:
        """In a pause: is there a text to guess with, is it right, is it certain yet, was it anything at all?"""
        misses = self._misses(self._heard_speech)
        if misses > self._pauses.sure_s:
            if self._heard and not self._guess and misses <= self._pauses.fresh_s:
                self._speculate(self._heard)
            return
        if not self._heard:
            if self._silence >= self._pauses.nothing_s or self._forced:
                self.abandon("noise")
            return
        if self._guess and plain(self._guess) != plain(self._heard):
            self._revise()
        if not self._guess:
            self._speculate(self._heard)
        if self._silence >= self._needed or self._forced:
            self._commit()

    # -- text -----------------------------------------------------------------------------------

    def _job(self, *, final: bool) -> Job:
        utterance = self._utterance
        assert utterance is not None
        carry = self._carry
        return Job(
            lambda: (utterance.audio(), f"{carry} {utterance.prompt()}".strip()), final, (self._id, self._spoken_until)
        )

    def _ask_for(self, *, final: bool) -> None:
        assert self._utterance is not None
        self._asked_until = self._utterance.samples
        if self._ask(self._job(final=final)):
            self._asked_speech = self._spoken_until

    def hear(self, job: Job, transcript: Transcript) -> None:
        """What the recogniser made of a job of ours; of an earlier utterance it is ignored."""
        if self._utterance is None or job.key[0] != self._id:
            return
        text, stable = self._utterance.hear(transcript, job.audio)
        text, stable = f"{self._carry} {text}".strip(), f"{self._carry} {stable}".strip()
        if text and text != self._text:
            self._text = text
            self._publish(PartialTranscript, text=text, stable=text if job.final else stable)
        self._heard, self._heard_speech = text, job.key[1]
        self._needed = self._pauses.endpoint(text)
        if self._paused or self._forced:
            self._consider()

    def fail(self, job: Job) -> None:
        """The recogniser could not do it."""
        if self._utterance is None or job.key[0] != self._id:
            return
        if job.final or self._forced:
            self.abandon("could not be recognised")
        else:
            self._asked_speech = NOTHING  # in a pause it is tried once more

    def _speculate(self, text: str) -> None:
        self._guess = text
        self._speculated_at = self._session.clock.now()
        if self._paused:
            self._timing("asr_tail", self._speculated_at - self._paused_at)
        self._publish(TurnSpeculated, text=text)

    def _commit(self) -> None:
        text = self._heard
        self._utterance = None
        if self._cutting and is_stop(text):
            self._publish(TurnDropped, reason="asked to stop")
            return
        self._timing("endpoint_wait", self._session.clock.now() - self._speculated_at)
        self._publish(TurnCommitted, text=text, speech_end=self._speech_end)

    def _publish(self, kind: type[Event], **fields: Any) -> None:
        self._session.publish(kind, turn=self._turn, revision=self._revision, **fields)

    def _timing(self, stage: str, seconds: float) -> None:
        self._publish(StageTiming, stage=stage, seconds=max(0.0, seconds))
