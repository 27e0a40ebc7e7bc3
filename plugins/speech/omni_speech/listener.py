"""The stage that listens: microphone in, turns out.

It reads the microphone and what the loudspeaker plays, and decides when someone speaks, when they are done, and
whether they interrupt. Collaborators come by the constructor, so that tests script them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import numpy as np

from omni.bus import Mailbox, MailboxClosed, Overflow
from omni.capabilities import Audio, Transcriber, Transcript, VoiceActivity
from omni.errors import OmniError
from omni.events import (
    AudioFlush,
    AudioGap,
    AudioHold,
    AudioIn,
    AudioOut,
    Backchannel,
    BargeIn,
    Event,
    MicMuted,
    Notice,
    Played,
    ReplyFinished,
    SessionClosed,
    StageTiming,
    TurnCommitted,
)
from omni.session import Session
from omni_speech.backchannel import MOST_WORDS, echoes, is_backchannel, is_request, is_stop, once
from omni_speech.echo import FRAME, EchoGuard, PlayedVoice
from omni_speech.interruption import PERSON_SHARE, Interruption, Verdict
from omni_speech.microphone import MicrophoneHealth
from omni_speech.recogniser import Job, Recogniser
from omni_speech.turn_taking import ON, Pauses, TurnTaker

logger = logging.getLogger(__name__)

RATE = 16_000
#: Frames kept from before an onset: 0.29 s, so that no first consonant is lost.
PRE_ROLL = 9
#: The same over an answer, where what came before the onset is the loudspeaker: 0.1 s.
PRE_ROLL_OVER = 3
#: Frames of voice, of the last three, that begin an utterance.
ONSET = 2
#: Seconds without a frame, while someone speaks, after which the microphone counts as gone.
MIC_GONE_S = 0.8
#: A gap longer than this breaks an utterance; a shorter one is silence.
GAP_S = 1.0
#: Seconds after playing during which the echo still hangs in the room.
ECHO_TAIL_S = 0.6
#: Share of heard words that are Omni's own from which on it was the loudspeaker.
ECHO_WORDS = 0.6
#: How sure the recogniser must be of a short remark before it cuts an answer: at its end, in its midst (Whisper writes
#: half an "mm-hm" as "I'm sorry"), and of a word like "why?".
SURE, SURE_YET, SURE_REQUEST = 0.42, 0.6, 0.3
#: Said to the recogniser before a remark: it leaves hums out, or makes words of them, unless it has just read some.
HUMS = "Mm-hm. Uh-huh. Mm. Hmm. Yeah."
#: How long a hum lasts.
HUM_S = 0.7
#: Speech this soon after a turn was taken for finished goes on with it, if nothing of the answer was heard.
CONTINUES_S = 1.5

Frame = tuple[float, Audio, float]  #: probability, 512 samples, session time of its end


@dataclass(slots=True)
class _Answer:
    """The answer that is being made or spoken."""

    turn: int
    question: str = ""
    asked_at: float = 0.0
    by_voice: bool = False
    audible: bool = False
    clauses: deque[str] = field(default_factory=lambda: deque(maxlen=4))


class Listener:
    """Turns a session's `AudioIn` into turns. Role "turns": there is one in a session."""

    def __init__(
        self,
        vad: VoiceActivity,
        transcriber: Transcriber,
        *,
        small: Callable[[], Awaitable[Transcriber]] | None = None,
        pauses: Pauses | None = None,
        hold: bool = True,
        language: str | None = None,
    ) -> None:
        self._vad = vad
        self._transcriber = transcriber
        self._small = small
        self._pauses = pauses
        self._hold = hold
        self._language = language

    async def run(self, session: Session) -> None:
        """Listen until the session closes or this is cancelled."""
        self._session = session
        bus = session.bus
        microphone = bus.subscribe(
            AudioIn, AudioGap, MicMuted, SessionClosed, capacity=300, overflow=Overflow.GAP, name="listener microphone"
        )
        playback = bus.subscribe(
            AudioOut, AudioFlush, Played, ReplyFinished, TurnCommitted, SessionClosed,
            capacity=512, overflow=Overflow.WAIT, name="listener playback",
        )  # fmt: skip
        await self._vad.open()
        await self._transcriber.open()
        self._recogniser = Recogniser(
            self._transcriber, self._on_heard, clock=session.clock, small=self._small, notice=self._say_load,
            failed=self._on_failed, language=self._language,
        )  # fmt: skip
        self._taker = TurnTaker(session, self._recogniser.ask, self._pauses)
        self._interruption = Interruption(hold=self._hold)
        self._guard, self._voice, self._health = EchoGuard(), PlayedVoice(), MicrophoneHealth()
        self._answer: _Answer | None = None
        self._over: list[Frame] = []  # what is said over the answer, from a little before its onset
        self._over_id = 0
        self._over_judged = 0.0  #: seconds of speech that the last wish for final words covered
        self._over_hummed = 0.0  #: how sure the recogniser was at most that it is a hum or a "yeah"
        self._recent: deque[Frame] = deque(maxlen=PRE_ROLL)
        self._voiced: deque[bool] = deque(maxlen=3)
        self._muted = False
        self._last_played = -10.0
        self._fresh_ear()
        listening = asyncio.create_task(self._follow_playback(playback), name="listener playback")
        try:
            await self._follow_microphone(microphone)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await self._recogniser.close()
            bus.unsubscribe(microphone)
            bus.unsubscribe(playback)

    # -- the microphone -------------------------------------------------------------------------

    def _fresh_ear(self) -> None:
        self._detector = self._vad.detector()
        self._pending = np.zeros(0, np.float32)
        self._recent.clear()
        self._voiced.clear()

    async def _follow_microphone(self, mailbox: Mailbox) -> None:
        while True:
            waiting = self._taker.active or self._interruption.active
            try:
                event = await asyncio.wait_for(mailbox.get(), MIC_GONE_S if waiting else None)
            except TimeoutError:
                self._on_lost()
                continue
            except MailboxClosed:
                return
            if isinstance(event, SessionClosed):
                return
            self._on_microphone(event)

    def _on_microphone(self, event: Event) -> None:
        if isinstance(event, AudioIn):
            if not self._muted:
                self._on_audio(event)
        elif isinstance(event, AudioGap):
            if event.samples > GAP_S * RATE:
                self._on_lost()
            elif not self._muted:
                self._feed(np.zeros(max(event.samples, 0), np.float32), event.at)
        elif isinstance(event, MicMuted):
            self._muted = event.muted
            self._on_lost()

    def _on_lost(self) -> None:
        """No more sound for now: whoever was speaking is done, nothing stays "speaking" for ever."""
        self._fresh_ear()
        if self._interruption.active:
            self._over_is_over()
        self._taker.end_now()

    def _on_audio(self, event: AudioIn) -> None:
        pcm = event.pcm[: len(event.pcm) // 2 * 2]
        samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0
        if (sentence := self._health.check(samples)) is not None:
            self._session.publish(Notice, topic="microphone", text=sentence, level="warning")
        self._feed(samples, event.at)

    def _feed(self, samples: Audio, at: float) -> None:
        """Cut what came into frames; `at` is the session time of its last sample."""
        self._pending = np.concatenate([self._pending, samples])
        while self._pending.size >= FRAME:
            frame, self._pending = self._pending[:FRAME], self._pending[FRAME:]
            self._on_frame(frame, at - self._pending.size / RATE)

    def _on_frame(self, audio: Audio, ends: float) -> None:
        probability = self._detector.probability(audio)
        playing = self._voice.playing(ends)
        if playing:
            self._last_played = ends
        share = 1.0
        if ends - self._last_played < ECHO_TAIL_S:
            share = self._guard.person(audio, self._voice.frame(ends))
        frame = (probability, audio, ends)
        if self._taker.active:
            self._taker.frame(probability, audio, ends)
        elif self._answer is not None:
            self._on_frame_over_answer(frame, share, playing)
        else:
            self._voiced.append(probability >= ON and share >= PERSON_SHARE)
            if sum(self._voiced) >= ONSET:
                self._begin([*self._recent, frame])
                return
        self._recent.append(frame)

    def _begin(self, frames: list[Frame], *, carry: str = "", cutting: bool = False) -> None:
        first_voiced = next((ends for p, _, ends in frames if p >= ON), frames[-1][2])
        self._taker.begin(first_voiced - FRAME / RATE, frames, carry=carry, cutting=cutting)
        self._recent.clear()
        self._voiced.clear()

    # -- someone speaks over the answer ---------------------------------------------------------

    def _on_frame_over_answer(self, frame: Frame, share: float, playing: bool) -> None:
        if self._interruption.active:
            self._over.append(frame)
        verdict = self._interruption.frame(frame[0], share, frame[1])
        if verdict is Verdict.BEGINS:
            self._over_id -= 1
            self._over_judged = self._over_hummed = 0.0
            before = list(self._recent)
            self._over = [*(before[-PRE_ROLL_OVER:] if playing else before), frame]
            verdict = self._interruption.decide()
        if verdict is Verdict.HOLD:
            if playing:
                self._hold_voice(True)
        elif verdict is Verdict.WORDS:
            self._ask_over(final=False)
        elif verdict is Verdict.CUT:
            self._cut()
        elif verdict is Verdict.RELEASE:
            self._release()
        if self._interruption.active and self._interruption.silence_s >= 0.2:
            self._over_is_over()

    def _over_is_over(self) -> None:
        """They fell silent: let the words decide, once."""
        if self._over_judged != self._interruption.speech_s:
            self._over_judged = self._interruption.speech_s
            self._ask_over(final=True)

    def _ask_over(self, *, final: bool) -> None:
        if self._over:
            audio = np.concatenate([audio for _, audio, _ in self._over])
            self._recogniser.ask(Job(lambda: (audio, HUMS), final, (self._over_id, audio.size)))

    def _judge(self, job: Job, transcript: Transcript) -> None:
        """Words were recognised over the answer: whose are they, and do they mean to interrupt?"""
        if not self._is_judged(job):
            return
        text = transcript.text
        if self._answer and self._answer.audible and echoes(text, " ".join(self._answer.clauses)) >= ECHO_WORDS:
            self._release()
        elif not text:
            if job.final:
                self._release()
        elif self._is_listening(text, transcript.confidence):
            if job.final:
                self._session.publish(Backchannel, text=text)
                self._release()
        elif is_stop(text) or self._means_it(text, transcript.confidence, final=job.final):
            self._cut()
        elif job.final:
            self._release()

    def _is_judged(self, job: Job) -> bool:
        """Whether what was said over the answer still waits for a verdict, and these are its words."""
        return self._interruption.active and job.key[0] == self._over_id

    def _is_listening(self, text: str, confidence: float) -> bool:
        """Whether these words show that someone listens; or something as short that was surely heard as such before."""
        if is_backchannel(text):
            self._over_hummed = max(self._over_hummed, confidence)
            return True
        return confidence < self._over_hummed and len(once(text).split()) <= MOST_WORDS and not is_stop(text)

    def _means_it(self, text: str, confidence: float, *, final: bool) -> bool:
        """Whether these words interrupt. One short sound that is no clear word is a hum or a cough, so it doesn't."""
        if not final:
            return len(once(text).split()) >= 2 and confidence >= SURE_YET
        sure = SURE_REQUEST if is_request(text) else SURE
        return confidence >= sure or self._interruption.speech_s >= HUM_S

    def _cut(self) -> None:
        """They mean it: stop the answer and listen to them as to any turn, from their first sound on."""
        answer, frames = self._answer, self._over
        assert answer is not None
        onset = next((ends for p, _, ends in frames if p >= ON), self._session.clock.now())
        self._session.publish(BargeIn, turn=answer.turn, reason="speech")
        self._session.publish(
            StageTiming, turn=answer.turn, stage="barge_in", seconds=max(0.0, self._session.clock.now() - onset)
        )
        soon = onset - answer.asked_at < CONTINUES_S
        carry = answer.question if answer.by_voice and soon and not answer.audible else ""
        self._answer = None
        self._clear_over()
        self._begin(frames, carry=carry, cutting=not carry)

    def _release(self) -> None:
        """It was nothing, or a "yeah": the answer goes on from where it was."""
        if self._interruption.held:
            self._hold_voice(False)
        self._clear_over()

    def _clear_over(self) -> None:
        self._interruption.reset()
        self._over = []
        self._over_id -= 1
        self._recogniser.forget()

    def _hold_voice(self, held: bool) -> None:
        if self._answer is not None:
            self._voice.hold(held, self._session.clock.now())
            self._session.publish(AudioHold, turn=self._answer.turn, held=held)

    # -- what is recognised ---------------------------------------------------------------------

    def _on_heard(self, job: Job, transcript: Transcript, seconds: float) -> None:
        if job.key[0] < 0:
            self._judge(job, transcript)
        else:
            self._taker.hear(job, transcript)

    def _on_failed(self, job: Job, error: OmniError) -> None:
        logger.warning("recognition failed: %s", error)
        self._session.publish(Notice, topic="hearing", text=str(error), level="error")
        if job.key[0] >= 0:
            self._taker.fail(job)
        elif self._is_judged(job):
            self._release()

    def _say_load(self, sentence: str) -> None:
        self._session.publish(Notice, topic="hearing", text=sentence, level="warning")

    # -- what is played -------------------------------------------------------------------------

    async def _follow_playback(self, mailbox: Mailbox) -> None:
        async for event in mailbox:
            if isinstance(event, AudioOut):
                self._voice.add(event.turn, event.pcm, event.rate, event.offset, event.at)
                if self._answer is None or self._answer.turn != event.turn:
                    if event.turn != self._session.turns.turn:
                        continue  # the rest of an answer that was cut
                    self._answer = _Answer(event.turn)
                self._answer.audible = True
                if event.text:
                    self._answer.clauses.append(event.text)
            elif isinstance(event, Played):
                self._voice.played(event.turn, event.samples, event.final, event.at)
            elif isinstance(event, TurnCommitted):
                if self._taker.active and self._taker.turn != event.turn:
                    self._taker.abandon("typed instead")
                self._answer = _Answer(event.turn, event.text, event.at, event.source == "voice")
            elif isinstance(event, AudioFlush):
                self._voice.hold(False, event.at)
                self._voice.stop(event.at)
            elif isinstance(event, ReplyFinished) and self._answer and event.turn == self._answer.turn:
                self._answer_is_over()

    def _answer_is_over(self) -> None:
        """Whoever was speaking over its end simply speaks now."""
        if self._interruption.held:
            self._hold_voice(False)
        self._answer = None
        if self._interruption.active:
            frames = self._over
            self._clear_over()
            self._begin(frames)
