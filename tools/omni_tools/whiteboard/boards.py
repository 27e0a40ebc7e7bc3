"""The boards of all sessions, and the stage that keeps each true to what was really drawn."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from omni.bus import Overflow
from omni.errors import BadInput
from omni.events import Drawing, Notice, SessionClosed
from omni.session import Session
from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.board import Board
from omni_tools.whiteboard.lesson import Lesson

#: Sessions whose boards are held, and lessons of a session that can be gone back to.
SESSIONS = 64
LESSONS = 20


@dataclass(slots=True)
class Desk:
    """One session's board and the lessons given on it, by the name their drawings begin with."""

    board: Board = field(default_factory=Board)
    lessons: OrderedDict[str, Lesson] = field(default_factory=OrderedDict)
    current: str = ""  #: the lesson whose drawing appeared last
    _count: int = 0

    def plan(self, lesson: Lesson) -> str:
        """Name a lesson that may be given; it becomes the current one when its first line is drawn."""
        self._count += 1
        name = f"lesson{self._count}"
        self.lessons[name] = lesson
        while len(self.lessons) > LESSONS:
            self.lessons.popitem(last=False)
        return name

    def unused(self, kind: str) -> str:
        """An id that is not on the board."""
        self._count += 1
        return f"{kind}{self._count}"

    def draw(self, drawing: Drawing) -> None:
        """Take in what was drawn. Raises `BadInput`, the board unchanged, when it can't be read."""
        self.board.apply(drawing.operations, drawing.author)
        for operation in drawing.operations:
            name = str(operation.get("id", "")).partition("-")[0]
            if name in self.lessons:
                self.current = name


class Boards:
    """The desks by session. The oldest goes when there are too many."""

    def __init__(self) -> None:
        self._desks: OrderedDict[str, Desk] = OrderedDict()

    def of(self, session: Session) -> Desk:
        """The session's desk, made on first use."""
        desk = self._desks.setdefault(session.id, Desk())
        self._desks.move_to_end(session.id)
        while len(self._desks) > SESSIONS:
            self._desks.popitem(last=False)
        return desk

    async def snapshot(self, params: dict[str, Any]) -> dict[str, Any]:
        """A panel's call: everything on a session's board, for a page that comes later."""
        desk = self._desks.get(str(params.get("session", "")))
        return {"operations": desk.board.snapshot() if desk else [], "width": ops.WIDTH}

    def close(self, session: Session) -> None:
        """Forget a session's desk."""
        self._desks.pop(session.id, None)


class WhiteboardStage:
    """Keeps one session's board: Omni's lines as they are heard, the person's as they are drawn."""

    def __init__(self, boards: Boards) -> None:
        self._boards = boards

    async def run(self, session: Session) -> None:
        """Apply every `Drawing` until the session closes."""
        mailbox = session.bus.subscribe(Drawing, SessionClosed, capacity=256, overflow=Overflow.WAIT, name="whiteboard")
        ready = asyncio.create_task(asyncio.to_thread(_warm_up), name="algebra")
        try:
            async for event in mailbox:
                if isinstance(event, SessionClosed):
                    return
                assert isinstance(event, Drawing)
                try:
                    self._boards.of(session).draw(event)
                except BadInput as error:
                    session.publish(Notice, topic="whiteboard", text=str(error), level="warning")
        finally:
            session.bus.unsubscribe(mailbox)
            await asyncio.wait([ready])


def _warm_up() -> None:
    """Load the algebra beside the conversation: on first use it would hold up the loop for a second."""
    from omni_tools.whiteboard.lesson import Lesson
    from omni_tools.whiteboard.steps import solve

    Lesson(solve("2x = 4")).script(Board(), "unused")
