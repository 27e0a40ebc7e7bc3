"""Timers and reminders: kept on disk, due at a moment of the calendar, announced by voice.

The file is written whole and put in place in one step, so a crash leaves the old one or the new one.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omni.errors import BadInput, DiskFull

#: Timers and reminders that may wait at once.
MOST = 500


@dataclass(frozen=True, slots=True)
class Timer:
    """A timer (`kind` "timer") or a reminder; `due` is Unix seconds, `text` a label or what to be reminded of."""

    id: str
    kind: str
    due: float
    text: str = ""
    seconds: float = 0.0  #: how long it was set for; 0 for a moment of the calendar
    session: str = ""

    def announcement(self, late_s: float = 0.0) -> str:
        """What is said when it is due."""
        from omni_tools.when import spoken_duration

        late = f" That was due {spoken_duration(late_s)} ago." if late_s > 90 else ""
        if self.kind == "reminder":
            return f"Here is your reminder: {self.text}.{late}"
        name = f"{self.text} timer" if self.text else f"{spoken_duration(self.seconds)} timer"
        return f"Your {name} is done.{late}"


class Timers:
    """All that wait. One for the process; a loop's `changed` event wakes whoever waits for the next one."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._timers: dict[str, Timer] | None = None
        self._sessions: set[str] = set()
        self._waiting: set[asyncio.Event] = set()

    def _all(self) -> dict[str, Timer]:
        if self._timers is None:
            self._timers = {}
            try:
                for entry in json.loads(self._path.read_text("utf-8")):
                    timer = Timer(**entry)
                    self._timers[timer.id] = timer
            except FileNotFoundError:
                pass
            except (ValueError, TypeError):
                # Damaged by something other than us: set aside for the person to look at, never overwritten.
                self._path.replace(self._path.with_suffix(".damaged"))
        return self._timers

    def _save(self) -> None:
        temporary = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("w", encoding="utf-8") as out:
                json.dump([asdict(timer) for timer in self._all().values()], out)
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(self._path)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DiskFull(f"The timer could not be kept: {error.strerror}.", "Free some disk space.") from error
        for waiting in self._waiting:
            waiting.set()

    def add(self, kind: str, due: float, text: str = "", *, seconds: float = 0.0, session: str = "") -> Timer:
        """Keep one more. Raises `BadInput` when there are too many, `DiskFull` when it can't be written."""
        if len(self._all()) >= MOST:
            raise BadInput(f"There are {MOST} timers and reminders already.", "Cancel some first.")
        timer = Timer(secrets.token_hex(4), kind, due, text, seconds, session)
        self._all()[timer.id] = timer
        try:
            self._save()
        except DiskFull:
            del self._all()[timer.id]
            raise
        return timer

    def waiting(self) -> list[Timer]:
        """All of them, the next one first."""
        return sorted(self._all().values(), key=lambda timer: timer.due)

    def find(self, which: str) -> list[Timer]:
        """Those that the words mean: by label, by kind, by "all"; all of them when nothing is named."""
        words = {w for w in which.lower().replace("'s", "").split() if w not in _FILLER}
        timers = self.waiting()
        kind = "timer" if words & {"timer", "timers", "countdown", "alarm"} else ""
        kind = kind or ("reminder" if words & {"reminder", "reminders"} else "")
        words -= {"timer", "timers", "reminder", "reminders", "countdown", "alarm", "all", "every", "everything"}
        of_kind = [timer for timer in timers if not kind or timer.kind == kind]
        if not words:
            return of_kind
        said = {timer.id: len(words & _words(timer)) for timer in of_kind}
        best = max(said.values(), default=0)
        return [timer for timer in of_kind if best and said[timer.id] == best]

    def cancel(self, timers: list[Timer]) -> None:
        """Forget these."""
        for timer in timers:
            self._all().pop(timer.id, None)
        self._save()

    # -- announcing -----------------------------------------------------------------------------

    def enter(self, session: str, changed: asyncio.Event) -> None:
        """A session listens for what is due."""
        self._sessions.add(session)
        self._waiting.add(changed)

    def leave(self, session: str, changed: asyncio.Event) -> None:
        """A session is over: what it set is announced wherever somebody listens."""
        self._sessions.discard(session)
        self._waiting.discard(changed)
        for waiting in self._waiting:
            waiting.set()

    def mine(self, session: str) -> list[Timer]:
        """What this session announces: its own, and those whose session is no longer open."""
        return [t for t in self.waiting() if t.session == session or t.session not in self._sessions]

    def claim(self, timer: Timer) -> bool:
        """Take a due timer to announce it; False when another session was first."""
        if self._all().pop(timer.id, None) is None:
            return False
        self._save()
        return True


_FILLER = frozenset("the a an my for to about that this one it of please set on i do have with in".split())  # noqa: SIM905


def _words(timer: Timer) -> set[str]:
    from omni_tools.when import spoken_duration

    described: list[Any] = [timer.text, spoken_duration(timer.seconds) if timer.seconds else ""]
    words = set(" ".join(described).lower().replace("'s", "").split())
    return words | {word.rstrip("s") for word in words}
