"""What waits to be sent to one page, and what was sent and may have to be sent again.

Frames are counted from the session's first; a page that comes back says how many it received, and
gets the rest. Nothing grows: text that follows text of the same turn is joined to it, states replace
older states, the voice makes its sender wait, and what was sent is kept only up to a limit.
"""

from __future__ import annotations

import asyncio
from collections import deque

from omni.events import (
    CONTROL,
    AudioFlush,
    AudioOut,
    Event,
    PartialTranscript,
    PlanUpdated,
    Spoken,
    TextDelta,
)
from omni.server.frames import encode_event, encode_plain, encode_voice

#: Bytes of voice that may wait for the line.
VOICE_ROOM = 256 * 1024
#: Events that may wait; one page that is this far behind gets a summary instead.
EVENT_ROOM = 1000
#: Frames and bytes kept after sending, until the page says it has them.
KEPT_FRAMES = 4096
KEPT_BYTES = 8 * 1024 * 1024

_SKIPPED = encode_plain(type="Skipped")
Item = Event | str | bytes


class Outbox:
    """One session's outgoing frames. Not thread-safe: it lives on the loop."""

    def __init__(self) -> None:
        self._waiting: deque[Item] = deque()
        self._sent: deque[str | bytes] = deque()
        self._sent_bytes = 0
        self._base = 0  #: number of the first frame in `_sent`
        self._cursor = 0  #: number of the next frame to go out
        self._voice_bytes = 0
        self._flushed = -1
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self.overrun = False  #: events were given up: the page needs a summary

    # -- in ---------------------------------------------------------------------------------------

    def put(self, item: Event | str) -> None:
        """Take an event or a ready text frame; never waits."""
        if isinstance(item, AudioFlush):
            self._drop_voice(item.turn)
        elif isinstance(item, Event) and self._joined(item):
            return
        if len(self._waiting) >= EVENT_ROOM:
            self.overrun = True
            self._waiting = deque(i for i in self._waiting if isinstance(i, AudioOut))
        if isinstance(item, CONTROL):
            self._waiting.appendleft(item)
        else:
            self._waiting.append(item)
        self._something.set()

    async def put_voice(self, event: AudioOut) -> None:
        """Take a piece of the voice, waiting while too much of it waits for the line."""
        while self._voice_bytes > VOICE_ROOM and event.turn > self._flushed:
            self._room.clear()
            await self._room.wait()
        if event.turn <= self._flushed:
            return
        self._voice_bytes += len(event.pcm)
        self._waiting.append(event)
        self._something.set()

    def _joined(self, event: Event) -> bool:
        """Whether `event` could be joined to, or take the place of, one that waits."""
        if not isinstance(event, TextDelta | PartialTranscript | PlanUpdated | Spoken):
            return False
        for index in range(len(self._waiting) - 1, -1, -1):
            other = self._waiting[index]
            if type(other) is not type(event) or (other.turn, other.revision) != (event.turn, event.revision):
                continue
            if isinstance(event, TextDelta):
                event = TextDelta(
                    session=event.session,
                    turn=event.turn,
                    revision=event.revision,
                    at=other.at,
                    text=other.text + event.text,
                )
            elif isinstance(event, Spoken) and (event.final or other.final):
                return False  # the last word keeps its place behind what came before it
            self._waiting[index] = event
            return True
        return False

    def _drop_voice(self, turn: int) -> None:
        """The voice up to `turn` is not to be heard any more: neither what waits nor what would be sent again."""
        self._flushed = max(self._flushed, turn)
        kept: deque[Item] = deque()
        for item in self._waiting:
            if isinstance(item, AudioOut) and item.turn <= turn:
                self._voice_bytes -= len(item.pcm)
            else:
                kept.append(item)
        self._waiting = kept
        self._sent = deque(_SKIPPED if isinstance(frame, bytes) else frame for frame in self._sent)
        self._sent_bytes = sum(map(len, self._sent))
        self._room.set()

    # -- out --------------------------------------------------------------------------------------

    async def take(self) -> str | bytes:
        """The next frame for the line; it counts as sent."""
        while True:
            index = self._cursor - self._base
            if index < len(self._sent):
                self._cursor += 1
                return self._sent[index]
            if self._waiting:
                return self._send(self._waiting.popleft())
            self._something.clear()
            await self._something.wait()

    def _send(self, item: Item) -> str | bytes:
        if isinstance(item, AudioOut):
            self._voice_bytes -= len(item.pcm)
            self._room.set()
            frame: str | bytes = encode_voice(item)
        else:
            frame = encode_event(item) if isinstance(item, Event) else item
        self._sent.append(frame)
        self._sent_bytes += len(frame)
        self._cursor += 1
        while len(self._sent) > KEPT_FRAMES or self._sent_bytes > KEPT_BYTES:
            self._forget_first()
        return frame

    def _forget_first(self) -> None:
        self._sent_bytes -= len(self._sent.popleft())
        self._base += 1

    # -- the page comes back ------------------------------------------------------------------------

    @property
    def next(self) -> int:
        """The number of the next frame to go out."""
        return self._cursor

    def acknowledge(self, received: int) -> None:
        """The page has the first `received` frames: they need not be kept."""
        while self._base < min(received, self._cursor):
            self._forget_first()

    def rewind(self, received: int) -> bool:
        """Send again from frame `received` on. False when that is not kept any more, or never was."""
        if self.overrun or not self._base <= received <= self._base + len(self._sent):
            return False
        self._cursor = received
        self.acknowledge(received)
        self._something.set()
        return True

    def start_over(self) -> None:
        """Forget all that waits and was sent: the page gets a summary and counts on from `next`."""
        self._waiting.clear()
        self._base = self._cursor = self._base + len(self._sent)
        self._sent.clear()
        self._sent_bytes = self._voice_bytes = 0
        self.overrun = False
        self._room.set()
