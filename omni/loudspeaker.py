"""A loudspeaker that is nowhere: it takes as long to play as a real one, and says what it played.

The demonstration and the tests use it; a real device or a page reports in the same way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from omni.bus import MailboxClosed, Overflow
from omni.events import AudioFlush, AudioOut, Played, SessionClosed
from omni.session import Session


class Loudspeaker:
    """Plays a session's `AudioOut` in the loop's time and reports `Played` with every piece.

    `sink(piece)` is called when a piece has sounded: to write it to a file, or to a device.
    """

    def __init__(self, session: Session, sink: Callable[[AudioOut], None] | None = None) -> None:
        self.session = session
        self._sink = sink
        self.heard: dict[int, int] = {}  #: turn -> samples played
        self.flushed_at: list[float] = []
        self.first_sound: dict[int, float] = {}
        self._mailbox = session.bus.subscribe(
            AudioOut, AudioFlush, SessionClosed, capacity=4096, overflow=Overflow.WAIT, name="loudspeaker"
        )

    async def run(self) -> None:
        """Play until the session closes."""
        waiting: deque[AudioOut] = deque()
        ends_at = 0.0  # when the piece that sounds now will have sounded
        while True:
            now = self.session.clock.now()
            try:
                event = await asyncio.wait_for(self._mailbox.get(), max(0.0, ends_at - now) if waiting else None)
            except TimeoutError:
                self._sounded(waiting.popleft(), last=not waiting)
                if waiting:
                    ends_at = self._begin(waiting[0], ends_at)
                continue
            except MailboxClosed:
                return
            if isinstance(event, SessionClosed):
                return
            if isinstance(event, AudioFlush):
                waiting.clear()
                self.flushed_at.append(self.session.clock.now())
                self._report(event.turn, final=True)
            elif isinstance(event, AudioOut):
                waiting.append(event)
                if len(waiting) == 1:
                    ends_at = self._begin(event, self.session.clock.now())

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
