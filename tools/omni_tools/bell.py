"""The stage that announces timers and reminders, in a pause of the conversation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from omni.events import (
    Notice,
    ReplyFinished,
    SessionClosed,
    SpeechStarted,
    Spoken,
    TurnCommitted,
    TurnDropped,
)
from omni.planner.plan import ANNOUNCE

if TYPE_CHECKING:
    from omni.session import Session
    from omni_tools.timers import Timer, Timers

#: The longest wait for a pause: a pasta timer can't wait for a lecture.
LONGEST_WAIT_S = 20.0
#: The longest sleep: a wall clock that was set, or a machine that slept, is noticed within this.
NAP_S = 30.0


class Bell:
    """Waits for what is due and says it as a turn of Omni's own."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self._quiet = asyncio.Event()
        self._quiet.set()

    async def run(self, session: Session) -> None:
        """Until the session closes."""
        changed = asyncio.Event()
        heard = session.bus.subscribe(
            SpeechStarted, TurnCommitted, TurnDropped, ReplyFinished, Spoken, SessionClosed, capacity=256, name="bell"
        )
        self.timers.enter(session.id, changed)
        listening = asyncio.create_task(self._listen(heard), name="bell listens")
        ringing = asyncio.create_task(self._ring(session, changed), name="bell rings")
        try:
            await asyncio.wait((listening, ringing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.timers.leave(session.id, changed)
            session.bus.unsubscribe(heard)
            for task in (listening, ringing):
                task.cancel()
            await asyncio.gather(listening, ringing, return_exceptions=True)

    async def _listen(self, heard: object) -> None:
        """Know whether someone is speaking."""
        async for event in heard:  # type: ignore[attr-defined]
            if isinstance(event, SessionClosed):
                return
            if isinstance(event, SpeechStarted | TurnCommitted):
                self._quiet.clear()
            elif isinstance(event, TurnDropped) or getattr(event, "final", False) or _failed(event):
                self._quiet.set()

    async def _ring(self, session: Session, changed: asyncio.Event) -> None:
        while True:
            changed.clear()
            waiting = self.timers.mine(session.id)
            pause = min([NAP_S, *(timer.due - session.clock.wall() for timer in waiting[:1])])
            if pause > 0:
                try:
                    async with asyncio.timeout(pause):
                        await changed.wait()
                except TimeoutError:
                    pass
                continue
            if self.timers.claim(waiting[0]):
                await self._announce(session, waiting[0])

    async def _announce(self, session: Session, timer: Timer) -> None:
        """Show it at once; say it as soon as nobody speaks."""
        text = timer.announcement(session.clock.wall() - timer.due)
        session.publish(Notice, topic=f"timer.{timer.id}", text=text)
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await self._quiet.wait()
        except TimeoutError:
            pass
        turn, revision = session.turns.begin()
        await session.send(TurnCommitted, turn=turn, revision=revision, text=ANNOUNCE + text, source="task")


def _failed(event: object) -> bool:
    """An answer that failed is never spoken to its end."""
    return isinstance(event, ReplyFinished) and event.reason == "failed"
