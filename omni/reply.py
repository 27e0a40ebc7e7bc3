"""One answer, from the first thought to the last word heard.

Two tasks: `_think` reads the planner and cuts clauses, `_speak` turns clauses into sound. Nothing is
published before the turn is committed, so a reply that was started on a guess dies without a trace.
Every wait is bounded: by the clause queue, by how far sound may run ahead of the loudspeaker, by deadlines.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from omni.capabilities import SpeechChunk, Synthesizer
from omni.clauses import ClauseSplitter, speakable
from omni.errors import OmniError
from omni.events import AudioFlush, AudioOut, Drawing, Notice, ReplyFinished, Spoken, StageTiming, TextDelta, WordSpan
from omni.planner.plan import Request, Say
from omni.playout import Playout
from omni.session import Session

logger = logging.getLogger(__name__)

#: Seconds of sound that may wait in front of the loudspeaker.
LEAD_S = 12.0
#: Clauses that may wait for the voice.
CLAUSE_QUEUE = 4
#: Seconds without a playback report before the loudspeaker counts as silent.
SILENT_SPEAKER_S = 4.0
#: Seconds the loudspeaker gets to say where it stopped after a flush.
FLUSH_REPORT_S = 0.4
#: Seconds after the first word when the first clause is spoken as far as it goes.
HURRY_S = 0.15
#: Seconds without a first word before Omni says that it is still thinking.
SLOW_S = 6.0
#: Seconds one piece of sound lasts on the wire.
PIECE_S = 0.1


class Answerer(Protocol):
    """What a reply needs of the planner."""

    def answer(self, session: Session, request: Request) -> AsyncIterator[Say]:
        """The answer, piece by piece."""


@dataclass(frozen=True, slots=True)
class Voice:
    """How answers are spoken; None in its place means text only."""

    synthesizer: Synthesizer
    name: str = ""
    speed: float = 1.0


class Reply:
    """The answer to one revision of one turn.

    `after`, where given, is set when the previous answer's books are closed.
    """

    def __init__(
        self,
        session: Session,
        planner: Answerer,
        request: Request,
        voice: Voice | None,
        after: asyncio.Event | None = None,
    ) -> None:
        self.session = session
        self.request = request
        self.turn = request.turn
        self.revision = request.revision
        self.text = ""
        self.speech_end = 0.0
        self.playout = Playout()
        self.cut = False
        self.done = asyncio.Event()
        self._planner = planner
        self._voice = voice
        self._after = after
        self._clauses: asyncio.Queue[tuple[str, tuple[dict[str, Any], ...]] | None] = asyncio.Queue(CLAUSE_QUEUE)
        self._played = asyncio.Event()
        self._stopped_at = asyncio.Event()
        self._started = session.clock.now()
        self._first_text = True
        self._wrote_at = 0.0  #: when the first text came
        self._task: asyncio.Task[None] | None = None
        self._shown = ""  #: what went out as text because no voice could say it

    # -- from outside -------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to work. Nothing leaves before `commit`."""
        self._task = asyncio.create_task(self._run(), name=f"reply {self.turn}.{self.revision}")

    def commit(self, speech_end: float) -> None:
        """The turn is certain: let it be heard."""
        self.speech_end = speech_end
        self.request.committed.set()

    @property
    def committed(self) -> bool:
        return self.request.committed.is_set()

    def on_played(self, samples: int, final: bool) -> None:
        """The loudspeaker reports: draw what is due, say what was heard."""
        self.playout.advance(samples)
        self._played.set()
        if self.done.is_set():
            return
        if not self.cut:
            for operations in self.playout.due():
                self._publish(Drawing, operations=operations)
        if final and self.cut:
            self._stopped_at.set()
        self._publish(Spoken, text=self.heard())

    def heard(self) -> str:
        """Exactly what reached the person: words played, and text shown where there is no voice."""
        return f"{self.playout.heard()} {self._shown}".strip()

    async def stop(self) -> None:
        """Cut the answer off: sound first, then work, then the books. Idempotent."""
        if self.done.is_set():
            return
        if self.cut:
            await self.done.wait()
            return
        self.cut = True
        speaking = self.committed and self.playout.sent > 0
        if speaking:
            self._publish(AudioFlush)
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._task], timeout=1.0)
        if speaking and not self.playout.finished():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FLUSH_REPORT_S):
                    await self._stopped_at.wait()
        if self.committed:
            self._close("cut")
        else:
            self.done.set()

    # -- the work ------------------------------------------------------------------------------

    async def _run(self) -> None:
        reason = "done"
        if self._after:
            await self._after.wait()  # the history this answer reads must hold what was heard of the last one
        tasks = [asyncio.create_task(self._think(), name="think"), asyncio.create_task(self._own_up(), name="own up")]
        try:
            await (self._speak() if self._voice else self._show())
            await tasks[0]
            await self._await_silence()
        except Exception as error:  # the last wall: a bug in here must not silence the conversation
            reason = "failed"
            logger.exception("reply %s.%s failed", self.turn, self.revision)
            self._publish(Notice, topic="answer", text=_sentence(error), level="error")
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if not self.cut:
            self._close(reason)

    async def _own_up(self) -> None:
        """Never a silent stall: say so when thinking takes long."""
        await self.request.committed.wait()
        await asyncio.sleep(SLOW_S)
        if self._first_text:
            self._publish(Notice, topic="thinking", text="Still thinking: this takes longer than usual.")

    def _close(self, reason: str) -> None:
        if self.done.is_set():
            return
        heard = self.heard()
        self.session.turns.hear(self.turn, heard, cut=reason == "cut")
        if exchange := self.session.turns.exchange(self.turn):
            exchange.answer = self.text
        self._publish(ReplyFinished, text=self.text, reason=reason)
        self._publish(Spoken, text=heard, final=True, cut=reason == "cut")
        self.done.set()

    async def _think(self) -> None:
        """Read the planner, publish its text once committed, hand clauses on."""
        splitter = ClauseSplitter()
        held: list[str] = []
        try:
            async for say in self._planner.answer(self.session, self.request):
                if self._first_text:
                    self._first_text = False
                    self._wrote_at = self.session.clock.now()
                    self._timing("first_text", self._started)
                    self._publish(Notice, topic="thinking", text="")
                self.text += say.text
                held.append(say.text)
                if self.committed:
                    self._publish(TextDelta, text="".join(held))
                    held.clear()
                if say.drawing:  # a scripted line: its drawing belongs to exactly these words
                    for clause in splitter.flush():
                        await self._clauses.put((clause, ()))
                    await self._clauses.put((say.text, say.drawing))
                    continue
                clauses = splitter.feed(say.text)
                if not clauses and self.session.clock.now() - self._wrote_at > HURRY_S:
                    clauses = splitter.hurry()
                for clause in clauses:
                    await self._clauses.put((clause, ()))
        except Exception as error:
            if not isinstance(error, OmniError):
                logger.exception("the planner failed in turn %s", self.turn)
            apology = (
                f" I can't go on: {_sentence(error)}" if self.text else f"I can't answer that now: {_sentence(error)}"
            )
            self.text += apology
            held.append(apology)
            for clause in splitter.feed(apology):
                await self._clauses.put((clause, ()))
        for clause in splitter.flush():
            await self._clauses.put((clause, ()))
        await self._clauses.put(None)
        await self.request.committed.wait()
        if held:
            self._publish(TextDelta, text="".join(held))

    async def _show(self) -> None:
        """No voice: text counts as heard when it is shown, drawings appear at once."""
        await self.request.committed.wait()
        while (clause := await self._clauses.get()) is not None:
            self._show_clause(*clause)

    def _show_clause(self, text: str, drawing: tuple[dict[str, Any], ...]) -> None:
        self._shown = f"{self._shown} {text.strip()}".strip()
        if drawing:
            self._publish(Drawing, operations=drawing)

    async def _speak(self) -> None:
        """Say clause after clause; a clause that no voice can say is shown instead."""
        while (clause := await self._clauses.get()) is not None:
            text, drawing = clause
            spoken = speakable(text)
            try:
                if not any(c.isalnum() for c in spoken):
                    await self.request.committed.wait()
                    if drawing:
                        self._publish(Drawing, operations=drawing)
                    continue
                await self._say(spoken, drawing)
            except OmniError as error:
                await self.request.committed.wait()
                self._publish(
                    Notice, topic="voice", text=f"I can't speak at the moment, so I write: {error}", level="warning"
                )
                self._show_clause(text, drawing)
        self.playout.end()

    async def _say(self, text: str, drawing: tuple[dict[str, Any], ...]) -> None:
        assert self._voice
        asked = self.session.clock.now()
        number = -1
        stream = self._voice.synthesizer.synthesize(text, voice=self._voice.name, speed=self._voice.speed)
        async with contextlib.aclosing(stream):
            async for chunk in stream:
                first = number < 0
                if first:
                    if self.playout.sent == 0:
                        self._timing("first_clause_voice", asked)
                    await self.request.committed.wait()
                    number = self.playout.begin(text, drawing)
                await self._send(chunk, number, text if first else "")

    async def _send(self, chunk: SpeechChunk, clause: int, text: str) -> None:
        """Send one chunk in pieces, never further ahead of the loudspeaker than `LEAD_S`."""
        self.playout.rate = self.playout.rate or chunk.rate
        pcm = (np.clip(np.nan_to_num(chunk.audio), -1.0, 1.0) * 32767).astype("<i2").tobytes()
        words = tuple(WordSpan(word=w, start=a, end=b) for w, a, b in chunk.words)
        step = max(1, int(chunk.rate * PIECE_S)) * 2
        for start in range(0, len(pcm), step):
            piece = pcm[start : start + step]
            await self._await_room()
            if self.playout.sent == 0:
                self._timing("first_sound", self.speech_end or self._started)
            head = start == 0
            position = self.playout.add(len(piece) // 2, words if head else ())
            await self.session.bus.send(
                self.session.event(
                    AudioOut, turn=self.turn, revision=self.revision, pcm=piece, rate=chunk.rate, offset=position,
                    clause=clause, text=text if head else "", words=words if head else (),
                )
            )  # fmt: skip

    async def _await_room(self) -> None:
        while (self.playout.sent - self.playout.played) > LEAD_S * self.playout.rate:
            self._played.clear()
            if not await self._report_in(LEAD_S + SILENT_SPEAKER_S):
                raise _SpeakerSilent("The loudspeaker does not report that it plays.", "Check the page's sound output.")

    async def _await_silence(self) -> None:
        """Return when everything sent was played, or the loudspeaker has plainly stopped reporting."""
        await self.request.committed.wait()
        while not self.playout.finished():
            self._played.clear()
            left = (self.playout.sent - self.playout.played) / max(self.playout.rate, 1)
            if not await self._report_in(min(left, 1.0) + SILENT_SPEAKER_S):
                text = "I speak, but your loudspeaker does not play. Check the sound output; the text is on the page."
                self._publish(Notice, topic="speaker", text=text, level="warning")
                return

    async def _report_in(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):  # `wait_for` of Python 3.11 can swallow a cancellation
                await self._played.wait()
        except TimeoutError:
            return False
        return True

    # -- small things --------------------------------------------------------------------------

    def _publish(self, kind: type, **fields: Any) -> None:
        self.session.publish(kind, turn=self.turn, revision=self.revision, **fields)

    def _timing(self, stage: str, since: float) -> None:
        self._publish(StageTiming, stage=stage, seconds=max(0.0, self.session.clock.now() - since))


class _SpeakerSilent(OmniError):
    """Nobody plays what is sent."""


def _sentence(error: BaseException) -> str:
    if isinstance(error, OmniError):
        return str(error)
    return f"Something went wrong while answering ({type(error).__name__}: {error}). Please ask again."
