"""Who speaks, what was said, what was cut off: the one place that numbers turns and revisions.

The scheme is `(session, turn, revision)`. Work that was started for a revision asks
`is_current(turn, revision)` at each boundary and dies when it is not. History holds what the
person said and what the assistant was *heard* to say.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from omni.events import Attachment

#: Exchanges kept in memory; older ones live in the shared memory.
HISTORY_LIMIT = 200


@dataclass(slots=True)
class Exchange:
    """One turn: what was asked and what was heard of the answer."""

    turn: int
    asked: str
    source: str = "voice"
    answer: str = ""  #: the whole text the model wrote
    heard: str = ""  #: the part of it that was played (or shown, for text)
    cut: bool = False
    attachments: tuple[Attachment, ...] = ()
    at: float = 0.0
    tool_results: list[str] = field(default_factory=list)  #: kept even when the answer is cut off


class Turns:
    """The turn counter and the history of one session. Not thread-safe: it lives on the loop."""

    def __init__(self) -> None:
        self.turn = 0
        self.revision = 0
        self.committed = False
        self.history: deque[Exchange] = deque(maxlen=HISTORY_LIMIT)

    def begin(self) -> tuple[int, int]:
        """A new turn opens (someone began to speak, or typed). Returns its `(turn, revision)`."""
        self.turn += 1
        self.revision = 0
        self.committed = False
        return self.turn, self.revision

    def revise(self) -> int:
        """Speech resumed: what was started for the present revision is dead. Returns the new revision."""
        self.revision += 1
        return self.revision

    def is_current(self, turn: int, revision: int) -> bool:
        """Whether work of this turn and revision may go on."""
        return turn == self.turn and revision == self.revision

    def commit(
        self, text: str, *, source: str = "voice", attachments: tuple[Attachment, ...] = (), at: float = 0.0
    ) -> Exchange:
        """The turn is certain: it enters the history with an empty answer."""
        self.committed = True
        exchange = Exchange(self.turn, text, source=source, attachments=attachments, at=at)
        self.history.append(exchange)
        return exchange

    def exchange(self, turn: int) -> Exchange | None:
        """The exchange of a turn, if it is still in the history."""
        return next((e for e in reversed(self.history) if e.turn == turn), None)

    def hear(self, turn: int, text: str, *, cut: bool = False) -> None:
        """The person has heard exactly `text` of that turn's answer."""
        if exchange := self.exchange(turn):
            exchange.heard = text
            exchange.cut = cut
