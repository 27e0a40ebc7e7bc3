"""Typed streams with bounded mailboxes and a declared overflow policy.

A session has one bus. Whoever wants events subscribes with the types, a capacity and what is to
happen when the mailbox is full; nothing is unbounded and nothing is dropped without a count.
Everything runs on one event loop and is not thread-safe: a thread hands events over with
`loop.call_soon_threadsafe(bus.publish, event)`.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass

from omni.errors import OmniError
from omni.events import CONTROL, AudioGap, AudioIn, Event

#: Control events are never dropped; a mailbox that holds this many belongs to a reader that died.
CONTROL_LIMIT = 4096

#: Who subscribes, inherited by tasks: set by whoever starts a stage, so that its mailboxes can be found when it dies.
OWNER: ContextVar[str] = ContextVar("omni_bus_owner", default="")


class Overflow(enum.Enum):
    """What a full mailbox does with one event more."""

    WAIT = "wait"  #: the sender waits for room (`send`), or the event is refused (`publish`)
    LATEST = "latest"  #: the oldest goes: what matters is what is now (camera, screen)
    COALESCE = "coalesce"  #: an event replaces the one of the same key that still waits (partials)
    GAP = "gap"  #: the oldest goes and an `AudioGap` in its place says how much is missing (microphone)


@dataclass(slots=True)
class MailboxMetrics:
    """Counts since the mailbox was opened; `depth` and `oldest_s` are as of now."""

    received: int = 0
    dropped: int = 0
    coalesced: int = 0
    high_water: int = 0
    depth: int = 0
    oldest_s: float = 0.0


class MailboxClosed(OmniError):
    """The mailbox was closed; its reader is gone."""


class Mailbox:
    """A bounded queue of events for one reader, control events first.

    Iterate it (`async for event in mailbox`); the loop ends when the mailbox is closed and empty.
    """

    def __init__(
        self,
        types: Iterable[type[Event]],
        *,
        capacity: int,
        overflow: Overflow,
        key: Callable[[Event], Hashable] | None = None,
        name: str = "",
    ) -> None:
        if capacity < 1:
            raise ValueError("a mailbox holds at least one event")
        self.types = frozenset(types)
        self.capacity = capacity
        self.overflow = overflow
        self.name = name
        self.owner = OWNER.get()
        self.taken = 0  #: events read so far
        self._key = key or type
        self._control: deque[Event] = deque()
        self._events: deque[Event] = deque()
        self._gap: AudioGap | None = None
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._closed = False
        self._metrics = MailboxMetrics()

    # -- the bus puts -------------------------------------------------------------------------

    def put(self, event: Event) -> bool:
        """Take an event if the policy allows it at once; False when the sender would have to wait."""
        if self._closed:
            return True
        if isinstance(event, CONTROL):
            if len(self._control) >= CONTROL_LIMIT:
                self._closed = True  # its reader stopped reading: cut it off rather than grow
                self._ready.set()
                return True
            self._control.append(event)
        elif not self._put_data(event):
            return False
        metrics = self._metrics
        metrics.received += 1
        depth = len(self._events) + len(self._control)
        if depth > metrics.high_water:
            metrics.high_water = depth
        self._ready.set()
        return True

    def _put_data(self, event: Event) -> bool:
        events = self._events
        if self.overflow is Overflow.COALESCE:
            key = self._key(event)
            for index in range(len(events) - 1, -1, -1):
                if self._key(events[index]) == key:
                    events[index] = event
                    self._metrics.coalesced += 1
                    return True
        if len(events) >= self.capacity:
            if self.overflow is Overflow.WAIT:
                self._room.clear()
                return False
            self._metrics.dropped += 1
            lost = events.popleft()
            if self.overflow is Overflow.GAP:
                self._note_gap(lost)
        events.append(event)
        return True

    def _note_gap(self, lost: Event) -> None:
        """Keep one `AudioGap`, read before what waits, that stands for everything lost since the last read."""
        samples = len(lost.pcm) // 2 if isinstance(lost, AudioIn) else getattr(lost, "samples", 0)
        first = self._gap or lost
        self._gap = AudioGap(
            session=first.session,
            turn=first.turn,
            revision=first.revision,
            at=first.at,
            samples=samples + (self._gap.samples if self._gap else 0),
            reason="overflow",
        )

    # -- the reader takes ---------------------------------------------------------------------

    async def get(self) -> Event:
        """The next event, control first. Raises `MailboxClosed` when closed and empty."""
        while not self._control and not self._events:
            if self._closed:
                raise MailboxClosed(f"The mailbox {self.name or 'of this reader'} is closed.")
            self._ready.clear()
            await self._ready.wait()
        return self._pop()

    def get_nowait(self) -> Event | None:
        """The next event, or None when nothing waits."""
        return self._pop() if self._control or self._events else None

    def _pop(self) -> Event:
        self.taken += 1
        if self._control:
            return self._control.popleft()
        if self._gap:
            gap, self._gap = self._gap, None
            return gap
        event = self._events.popleft()
        if not self._room.is_set():
            self._room.set()
        return event

    def drain(self) -> list[Event]:
        """Everything that waits, at once."""
        taken = [*self._control, *([self._gap] if self._gap else []), *self._events]
        self._control.clear()
        self._gap = None
        self._events.clear()
        self._room.set()
        self.taken += len(taken)
        return taken

    async def __aiter__(self) -> AsyncIterator[Event]:
        while True:
            try:
                event = await self.get()
            except MailboxClosed:
                return
            yield event

    async def wait_for_room(self) -> None:
        """Return when a `WAIT` mailbox has room again, or is closed."""
        await self._room.wait()

    def close(self) -> None:
        """No more events; what waits can still be read. Idempotent."""
        self._closed = True
        self._ready.set()
        self._room.set()

    @property
    def closed(self) -> bool:
        return self._closed

    def metrics(self, now: float | None = None) -> MailboxMetrics:
        """Counts so far; with `now` (session seconds) also the age of the oldest waiting event."""
        self._metrics.depth = len(self._events) + len(self._control)
        oldest = self._events[0].at if self._events else None
        self._metrics.oldest_s = max(0.0, now - oldest) if now is not None and oldest is not None else 0.0
        return self._metrics


class Bus:
    """Carries a session's events from whoever publishes to whoever subscribed."""

    def __init__(self) -> None:
        self._by_type: dict[type[Event], tuple[Mailbox, ...]] = {}
        self._mailboxes: list[Mailbox] = []
        self._taps: tuple[Callable[[Event], None], ...] = ()
        self._closed = False

    def subscribe(
        self,
        *types: type[Event],
        capacity: int = 256,
        overflow: Overflow = Overflow.WAIT,
        key: Callable[[Event], Hashable] | None = None,
        name: str = "",
    ) -> Mailbox:
        """A mailbox for events of exactly these types."""
        mailbox = Mailbox(types, capacity=capacity, overflow=overflow, key=key, name=name)
        if self._closed:
            mailbox.close()
            return mailbox
        self._mailboxes.append(mailbox)
        for kind in mailbox.types:
            self._by_type[kind] = (*self._by_type.get(kind, ()), mailbox)
        return mailbox

    def unsubscribe(self, mailbox: Mailbox) -> None:
        """Close a mailbox and forget it. Idempotent."""
        mailbox.close()
        if mailbox in self._mailboxes:
            self._mailboxes.remove(mailbox)
        for kind in mailbox.types:
            self._by_type[kind] = tuple(m for m in self._by_type.get(kind, ()) if m is not mailbox)

    def tap(self, function: Callable[[Event], None]) -> Callable[[], None]:
        """Call `function` with every event, before delivery (the recorder). Returns how to stop."""
        self._taps = (*self._taps, function)

        def untap() -> None:
            self._taps = tuple(t for t in self._taps if t is not function)

        return untap

    def publish(self, event: Event) -> bool:
        """Deliver at once. False when a `WAIT` mailbox was full and refused: use `send` for what must arrive."""
        for tap in self._taps:
            tap(event)
        delivered = True
        for mailbox in self._by_type.get(type(event), ()):
            if not mailbox.put(event):
                mailbox._metrics.dropped += 1
                delivered = False
        return delivered

    async def send(self, event: Event) -> None:
        """Deliver, waiting for room where a reader's policy is `WAIT`: this is the back-pressure."""
        for tap in self._taps:
            tap(event)
        for mailbox in self._by_type.get(type(event), ()):
            while not mailbox.put(event):
                await mailbox.wait_for_room()

    def mailboxes(self) -> list[Mailbox]:
        """All open mailboxes, for metrics."""
        return list(self._mailboxes)

    def close(self) -> None:
        """Close every mailbox. Idempotent."""
        self._closed = True
        for mailbox in self._mailboxes:
            mailbox.close()
        self._mailboxes.clear()
        self._by_type.clear()
