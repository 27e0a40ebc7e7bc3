"""One session: what its stages, tools and panels share."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from omni.bus import Bus
from omni.clock import Clock
from omni.events import Event
from omni.turns import Turns

if TYPE_CHECKING:
    from omni.host.host import Host

E = TypeVar("E", bound=Event)

#: Attachments and frames a session holds at once.
MEDIA_LIMIT = 64


@dataclass(slots=True)
class Session:
    """A bus, a clock, the turns and the host. Stages are given one; nothing else is global.

    `media` holds the bytes that attachments and frames refer to, newest last, bounded by
    `MEDIA_LIMIT` entries.
    """

    host: Host
    id: str = field(default_factory=lambda: secrets.token_hex(6))
    bus: Bus = field(default_factory=Bus)
    clock: Clock = field(default_factory=Clock)
    turns: Turns = field(default_factory=Turns)
    settings: dict[str, Any] = field(default_factory=dict)  #: e.g. "off_the_record": True
    media: dict[str, bytes] = field(default_factory=dict)

    def event(self, kind: type[E], *, turn: int | None = None, revision: int | None = None, **fields: Any) -> E:
        """An event of this session, stamped with the present turn, revision and time."""
        return kind(
            session=self.id,
            turn=self.turns.turn if turn is None else turn,
            revision=self.turns.revision if revision is None else revision,
            at=fields.pop("at", None) or self.clock.now(),
            **fields,
        )

    def publish(self, kind: type[E], **fields: Any) -> bool:
        """`bus.publish` an event of this session."""
        return self.bus.publish(self.event(kind, **fields))

    async def send(self, kind: type[E], **fields: Any) -> None:
        """`bus.send` an event of this session (waits where a reader's mailbox is full)."""
        await self.bus.send(self.event(kind, **fields))

    def keep(self, ref: str, data: bytes) -> str:
        """Hold media for this session under `ref`; the oldest goes when there is too much."""
        self.media.pop(ref, None)
        self.media[ref] = data
        while len(self.media) > MEDIA_LIMIT:
            self.media.pop(next(iter(self.media)))
        return ref
