"""Past conversations: from the shared memory where there is one, else those of this run.

A conversation is a session's spoken and typed turns. What the assistant "said" is what was heard of it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omni.capabilities import Memory, Moment
from omni.errors import CapabilityUnavailable
from omni.server.answers import NotThere
from omni.server.hub import Hub

#: Characters of a conversation's title.
TITLE = 80
#: Most moments read of one conversation.
MOMENTS = 2000


@dataclass(slots=True)
class Turn:
    """One exchange: what was asked, what was heard, when (Unix seconds)."""

    turn: int
    asked: str
    heard: str
    at: float
    cut: bool = False
    answer: str = ""


@dataclass(slots=True)
class Past:
    """One conversation. `open` while its session is still there."""

    id: str
    started: float
    ended: float
    turns: list[Turn] = field(default_factory=list)
    count: int = 0
    title: str = ""
    open: bool = False

    def brief(self) -> dict[str, Any]:
        """For the list."""
        return {
            "id": self.id, "title": self.title or "Untitled", "started": self.started, "ended": self.ended,
            "turns": self.count or len(self.turns), "open": self.open,
        }  # fmt: skip


class Archive:
    """Lists, reads and deletes past conversations."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def _memory(self) -> Any | None:
        try:
            return self._hub.runtime.host.get(Memory)
        except CapabilityUnavailable:
            return None

    def _of_this_run(self) -> dict[str, Past]:
        """The conversations whose sessions are still open, by id."""
        found = {}
        for link in self._hub.links.values():
            clock = link.session.clock
            turns = [
                Turn(e.turn, e.asked, e.heard, clock.wall(e.at), e.cut, e.answer)
                for e in link.session.turns.history
                if e.asked
            ]
            if turns:
                found[link.id] = Past(
                    link.id, turns[0].at, turns[-1].at, turns, len(turns), _title(turns[0].asked), open=True
                )
        return found

    async def list(self, query: str = "", limit: int = 100) -> list[Past]:
        """The newest conversations, or those that fit `query`, best first."""
        here = self._of_this_run()
        memory = self._memory()
        if not query:
            found = dict(here)
            if memory is not None:
                for past in await self._remembered(memory, limit):
                    found.setdefault(past.id, past)
            return sorted(found.values(), key=lambda past: -past.ended)[:limit]
        words = query.casefold().split()
        fitting = {p.id: p for p in here.values() if all(w in _text(p.turns) for w in words)}
        if memory is not None:
            for past in await self._remembered(memory, limit, query):
                fitting.setdefault(past.id, past)
        return list(fitting.values())[:limit]

    async def read(self, id: str) -> Past:
        """One conversation with its turns. Raises `NotThere`."""
        if past := self._of_this_run().get(id):
            return past
        memory = self._memory()
        past = await self._read_remembered(memory, id) if memory is not None else None
        if past is None:
            raise NotThere("That conversation is not kept.", "Look at the list again.")
        return past

    async def delete(self, id: str) -> int:
        """Forget a conversation for good. Returns how many moments of the memory went with it."""
        link = self._hub.get(id)
        past = await self.read(id)
        memory = self._memory()
        gone = await memory.forget(sessions=(id,)) if memory is not None else 0
        if link:
            link.session.turns.history.clear()
        return gone or len(past.turns)

    # -- the shared memory --------------------------------------------------------------------------

    async def _remembered(self, memory: Any, limit: int, query: str = "") -> list[Past]:
        return [
            Past(row.id, row.start, row.end, count=row.turns, title=_title(row.title), open=row.id in self._hub.links)
            for row in await memory.sessions(query, limit=limit)
        ]

    async def _read_remembered(self, memory: Any, id: str) -> Past | None:
        turns = turns_of(await memory.timeline(id, sources=("speech",), limit=MOMENTS))
        if not turns:
            return None
        title = _title(turns[0].asked)
        return Past(id, turns[0].at, turns[-1].at, turns, len(turns), title, open=id in self._hub.links)


def turns_of(moments: Sequence[Moment]) -> list[Turn]:
    """The exchanges in the speech moments of a session; `data["role"]` says who spoke."""
    turns: dict[int, Turn] = {}
    for moment in sorted(moments, key=lambda m: (m.start, m.data.get("role") != "user")):
        turn = turns.setdefault(moment.turn, Turn(moment.turn, "", "", moment.start))
        if moment.data.get("role") == "assistant":
            turn.heard = f"{turn.heard} {moment.text}".strip()
            turn.cut = turn.cut or bool(moment.data.get("cut"))
        else:
            turn.asked = f"{turn.asked} {moment.text}".strip()
    return list(turns.values())


def as_markdown(past: Past) -> str:
    """A conversation to keep or to send: who said what, and where an answer was cut off."""
    lines = [f"# {past.title or 'Conversation'}", "", f"*{_when(past.started)}*", ""]
    for turn in past.turns:
        if turn.asked:
            lines += [f"**You** ({_when(turn.at)[11:16]}): {turn.asked}", ""]
        if turn.heard:
            lines += [f"**Omni**: {turn.heard}{' — *(interrupted)*' if turn.cut else ''}", ""]
    return "\n".join(lines)


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _title(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= TITLE else text[: TITLE - 1].rsplit(" ", 1)[0] + "…"


def _text(turns: Sequence[Turn]) -> str:
    return " ".join(f"{turn.asked} {turn.heard}" for turn in turns).casefold()
