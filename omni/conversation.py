"""One session: listens to turns, asks the planner, speaks, is interrupted.

The listener says when a turn may be over (`TurnSpeculated`), is not (`TurnRevised`) and is
(`TurnCommitted`). Work starts on the guess and is heard only after the commit. There is at most one
answer in the making and one being cut off.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection

from omni.bus import Overflow
from omni.errors import OmniError
from omni.events import (
    Attachment,
    BargeIn,
    Event,
    Notice,
    PartialTranscript,
    Played,
    ReplyFinished,
    SessionClosed,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
    TurnRevised,
    TurnSpeculated,
)
from omni.planner import Planner
from omni.planner.plan import Request
from omni.reply import Reply, Voice
from omni.session import Session

#: Longest typed message, in characters.
TEXT_LIMIT = 20_000


def _same(a: str, b: str) -> bool:
    """Whether two transcripts are the same request: case, spaces and end marks do not count."""
    return "".join(filter(str.isalnum, a.casefold())) == "".join(filter(str.isalnum, b.casefold()))


class Conversation:
    """Ties one session's turns to the planner and to a voice.

    `voice` gives the present voice, or None where there is none (text only).
    """

    def __init__(self, session: Session, planner: Planner, voice: Callable[[], Voice | None]) -> None:
        self.session = session
        self._planner = planner
        self._voice = voice
        self._reply: Reply | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._prefill: asyncio.Task[None] | None = None
        self._tending: asyncio.Task[None] | None = None
        self._wanted = ""  #: what the model is to be fed next
        self._waiting_attachments: tuple[Attachment, ...] = ()
        bus = session.bus
        self._turns = bus.subscribe(
            TurnSpeculated, TurnRevised, TurnCommitted, TurnDropped, BargeIn, SpeechStarted, SessionClosed,
            capacity=64, overflow=Overflow.WAIT, name="conversation",
        )  # fmt: skip
        self._progress = bus.subscribe(
            Played, PartialTranscript, capacity=8, overflow=Overflow.COALESCE,
            key=lambda e: (type(e), e.turn), name="conversation progress",
        )  # fmt: skip

    # -- from outside --------------------------------------------------------------------------

    async def say(self, text: str, attachments: tuple[Attachment, ...] = (), *, source: str = "text") -> int:
        """A typed turn. Interrupts what is being said, unless it answers its question. Returns the turn's number."""
        text = text.strip()[:TEXT_LIMIT]
        turns = self.session.turns
        if self._planner.hear_answer(self.session, text):
            return turns.turn
        if self._reply and not self._reply.done.is_set():
            self.interrupt("text")
        turn, revision = turns.begin()
        self.session.publish(
            TurnCommitted, turn=turn, revision=revision, text=text, source=source,
            speech_end=self.session.clock.now(), attachments=attachments,
        )  # fmt: skip
        return turn

    def attach(self, attachments: tuple[Attachment, ...]) -> None:
        """Show something: it goes with the next turn, spoken or typed."""
        self._waiting_attachments = tuple(dict.fromkeys((*self._waiting_attachments, *attachments)))[-8:]

    def detach(self, refs: Collection[str]) -> None:
        """Take back what was shown with `attach`, by reference, before a turn took it."""
        self._waiting_attachments = tuple(a for a in self._waiting_attachments if a.ref not in refs)

    def interrupt(self, reason: str = "key") -> None:
        """Stop what is being said."""
        if self._reply:
            self.session.publish(BargeIn, turn=self._reply.turn, reason=reason)

    async def idle(self) -> None:
        """Return when no answer is being made or spoken."""
        while self._reply and not self._reply.done.is_set():
            await self._reply.done.wait()

    async def close(self) -> None:
        """End the session: cut what is said, stop every stage. Idempotent."""
        if self._reply:
            await self._reply.stop()
        self.session.publish(SessionClosed)
        self.session.bus.close()

    # -- the loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Serve the session until it closes."""
        progress = asyncio.create_task(self._follow_progress(), name="conversation progress")
        self._begin_prefill("")
        try:
            async for event in self._turns:
                if isinstance(event, SessionClosed):
                    break
                await self._on_turn(event)
        finally:
            progress.cancel()
            if self._prefill:
                self._prefill.cancel()
            self._stop_tending()
            if self._reply:
                await self._reply.stop()
            for task in self._tasks:
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await progress

    async def _on_turn(self, event: Event) -> None:
        reply = self._reply
        if isinstance(event, SpeechStarted):
            self._stop_tending()
        elif isinstance(event, TurnSpeculated):
            self._start(event, committed=False)
        elif isinstance(event, TurnRevised):
            if reply and reply.turn == event.turn and reply.revision < event.revision and not reply.committed:
                self._discard()
        elif isinstance(event, TurnCommitted):
            self._commit(event)
        elif isinstance(event, TurnDropped):
            if reply and reply.turn == event.turn and not reply.committed:
                self._discard()
        elif isinstance(event, BargeIn) and reply and reply.committed and not reply.done.is_set():
            self._discard()

    def _commit(self, event: TurnCommitted) -> None:
        if self._planner.hear_answer(self.session, event.text):
            # A yes or no to a question of the answer that is being made: that answer goes on, no new one begins.
            self.session.publish(ReplyFinished, turn=event.turn, revision=event.revision, text="")
            return
        turns = self.session.turns
        attachments = tuple(dict.fromkeys((*event.attachments, *self._waiting_attachments)))
        self._waiting_attachments = ()
        text = event.text
        turns.commit(text, source=event.source, attachments=attachments, at=event.at)
        reply = self._reply
        ready = (
            reply
            and (reply.turn, reply.revision) == (event.turn, event.revision)
            and _same(reply.request.text, text)
            and reply.request.attachments == attachments
            and not reply.cut
        )
        if not ready:
            self._start(event, committed=True, attachments=attachments)
        assert self._reply
        self._reply.commit(event.speech_end)

    def _start(
        self,
        event: TurnSpeculated | TurnCommitted,
        *,
        committed: bool,
        attachments: tuple[Attachment, ...] | None = None,
    ) -> None:
        after = self._reply.done if self._reply and self._reply.committed else None
        if self._reply and not self._reply.done.is_set():
            if not committed and self._reply.committed:
                return  # someone speaks over the answer; whether that interrupts is the listener's to say
            self._discard()
        self._stop_tending()
        if after is None:
            # The model reads the last words while the planner chooses; from then on the answer goes before this.
            self._feed_model(event.text)
        elif self._prefill:
            self._prefill.cancel()  # the last answer's books are still open: what it was heard to say comes first
        request = Request(
            turn=event.turn,
            revision=event.revision,
            text=event.text,
            attachments=self._waiting_attachments if attachments is None else attachments,
            committed=asyncio.Event(),
            source=getattr(event, "source", "voice"),
        )
        self._reply = Reply(self.session, self._planner, request, self._voice(), after)
        self._reply.start()
        task = asyncio.create_task(self._prepare_next(self._reply), name="prepare next")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _discard(self) -> None:
        """Stop the present reply without waiting for its books to close."""
        if self._reply is None:
            return
        task = asyncio.create_task(self._reply.stop(), name=f"stop reply {self._reply.turn}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if not self._reply.committed:
            self._reply = None

    # -- progress ------------------------------------------------------------------------------

    async def _follow_progress(self) -> None:
        async for event in self._progress:
            if isinstance(event, Played):
                if self._reply and event.turn == self._reply.turn:
                    self._reply.on_played(event.samples, event.final)
            elif isinstance(event, PartialTranscript) and event.text:
                # The unstable tail too: where it turns out otherwise, the cache is kept up to there.
                self._begin_prefill(event.text.rstrip(" .?!…"))

    def _begin_prefill(self, text: str) -> None:
        """Feed what was heard so far to the model while the person still speaks; the latest text wins."""
        if self._reply is None or self._reply.done.is_set():
            self._feed_model(text)

    def _feed_model(self, text: str) -> None:
        self._wanted = text
        if self._prefill is None or self._prefill.done():
            self._prefill = asyncio.create_task(self._feed(), name="prefill")

    async def _prepare_next(self, reply: Reply) -> None:
        """Once an answer is over, put the history it left behind into the model's cache, and see to that history."""
        await reply.done.wait()
        if reply.committed:
            self._begin_prefill("")
            self._stop_tending()
            self._tending = asyncio.create_task(self._tend(), name="tend the past")

    async def _tend(self) -> None:
        if self._prefill:
            await asyncio.wait([self._prefill])
        if await self._planner.tend(self.session):
            self._begin_prefill("")

    def _stop_tending(self) -> None:
        """Someone speaks or types: the model is needed. What was not finished is taken up in the next pause."""
        if self._tending:
            self._tending.cancel()

    async def _feed(self) -> None:
        fed: str | None = None
        while fed != self._wanted:
            fed = self._wanted
            try:
                await self._planner.prefill(self.session, fed)
            except OmniError as error:
                if not fed:  # said once, when the session opens; an answer will say it again where it matters
                    self.session.publish(Notice, topic="chat", text=str(error), level="warning")
