"""A loudspeaker that is nowhere: it takes as long to play as a real one, and says what it played.

The demonstration and the tests use it; a real device or a page reports in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from omni.bus import MailboxClosed, Overflow
from omni.events import AudioFlush, AudioHold, AudioOut, Played, SessionClosed
from omni.session import Session

#: A loudspeaker that was asked to wait goes on by itself after this many seconds.
HOLD_S = 2.0


class Loudspeaker:
    """Plays a session's `AudioOut` in the loop's time and reports `Played` with every piece.

    `sink(piece)` is called when a piece has sounded: to write it to a file, or to a device.
    """

    def __init__(self, session: Session, sink: Callable[[AudioOut], None] | None = None) -> None:
        self.session = session
        self._sink = sink
        self.heard: dict[int, int] = {}  #: turn -> samples played
        self.flushed_at: list[float] = []
        self.held_at: list[float] = []
        self.first_sound: dict[int, float] = {}
        self._mailbox = session.bus.subscribe(
            AudioOut, AudioFlush, AudioHold, SessionClosed, capacity=4096, overflow=Overflow.WAIT, name="loudspeaker"
        )

    async def run(self) -> None:
        """Play until the session closes."""
        clock = self.session.clock
        waiting: deque[AudioOut] = deque()
        ends_at = 0.0  # when the piece that sounds now will have sounded
        held_at: float | None = None  # since when it waits, while it does
        while True:
            due = None if not waiting else ends_at if held_at is None else held_at + HOLD_S
            try:
                event = await asyncio.wait_for(
                    self._mailbox.get(), None if due is None else max(0.0, due - clock.now())
                )
            except TimeoutError:
                if held_at is not None:
                    ends_at, held_at = ends_at + clock.now() - held_at, None
                    continue
                self._sounded(waiting.popleft(), last=not waiting)
                if waiting:
                    ends_at = self._begin(waiting[0], ends_at)
                continue
            except MailboxClosed:
                return
            match event:
                case SessionClosed():
                    return
                case AudioFlush():
                    waiting.clear()
                    held_at = None
                    self.flushed_at.append(clock.now())
                    self._report(event.turn, final=True)
                case AudioHold(held=True) if waiting and held_at is None:
                    held_at = clock.now()
                    self.held_at.append(held_at)
                case AudioHold(held=False) if held_at is not None:
                    ends_at, held_at = ends_at + clock.now() - held_at, None
                case AudioOut():
                    waiting.append(event)
                    if len(waiting) == 1:
                        ends_at = self._begin(event, clock.now())

    def _begin(self, piece: AudioOut, at: float) -> float:
        """A piece begins to sound; returns when it ends. Counted from the last end, so that nothing drifts."""
        self.first_sound.setdefault(piece.turn, at)
        return at + len(piece.pcm) / 2 / piece.rate

    def _sounded(self, piece: AudioOut, *, last: bool) -> None:
        if self._sink:
            self._sink(piece)
        self.heard[piece.turn] = piece.offset + len(piece.pcm) // 2
        self._report(piece.turn, final=last)

    def _report(self, turn: int, *, final: bool) -> None:
        self.session.publish(Played, turn=turn, samples=self.heard.get(turn, 0), final=final)
