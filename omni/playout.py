"""What of an answer was really heard: from samples played to words, and to drawings that fall due."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omni.events import WordSpan


@dataclass(slots=True)
class _Clause:
    text: str
    start: int  #: first sample in the turn's audio
    samples: int = 0
    complete: bool = False
    words: tuple[WordSpan, ...] = ()
    drawing: tuple[dict[str, Any], ...] = ()
    drawn: bool = False


@dataclass(slots=True)
class Playout:
    """The audio of one answer, clause by clause.

    Positions are samples of the turn's audio at `rate` Hz. A word counts as heard when the
    loudspeaker has passed its middle.
    """

    rate: int = 0
    sent: int = 0
    played: int = 0
    clauses: list[_Clause] = field(default_factory=list)

    def begin(self, text: str, drawing: tuple[dict[str, Any], ...] = ()) -> int:
        """A clause starts at the present end of the audio. Returns its number."""
        if self.clauses:
            self.clauses[-1].complete = True
        self.clauses.append(_Clause(text, self.sent, drawing=drawing))
        return len(self.clauses) - 1

    def add(self, samples: int, words: tuple[WordSpan, ...] = ()) -> int:
        """`samples` of the present clause were sent. Returns the position of the first of them."""
        position = self.sent
        clause = self.clauses[-1]
        clause.samples += samples
        if words:
            clause.words = words
        self.sent += samples
        return position

    def end(self) -> None:
        """The last clause is complete."""
        if self.clauses:
            self.clauses[-1].complete = True

    def advance(self, samples: int) -> None:
        """The loudspeaker has played this many samples in all; it never goes back."""
        self.played = max(self.played, min(samples, self.sent))

    def heard(self) -> str:
        """The words that were heard so far."""
        return " ".join(part for clause in self.clauses if (part := self._heard_of(clause))).strip()

    def finished(self) -> bool:
        """Whether everything that was sent has been heard."""
        return self.played >= self.sent

    def due(self) -> list[tuple[dict[str, Any], ...]]:
        """Drawings whose words have begun to sound; each is handed out once."""
        ready = []
        for clause in self.clauses:
            reached = self.played > clause.start or (
                clause.samples == 0 and clause.complete and self.played >= clause.start
            )
            if clause.drawing and not clause.drawn and reached:
                clause.drawn = True
                ready.append(clause.drawing)
        return ready

    def _heard_of(self, clause: _Clause) -> str:
        into = self.played - clause.start
        if clause.complete and into >= clause.samples:
            return clause.text.strip()
        if into <= 0 or not self.rate:
            return ""
        words = clause.text.split()
        if len(clause.words) == len(words):
            seconds = into / self.rate
            count = sum(1 for span in clause.words if (span.start + span.end) / 2 <= seconds)
        else:
            count = _words_by_share(words, into / self._expected(clause))
        return " ".join(words[:count])

    def _expected(self, clause: _Clause) -> int:
        """The clause's length in samples; until it is complete, the voice's word times say more than what was sent."""
        timed = int(clause.words[-1].end * self.rate) if clause.words else 0
        return max(clause.samples, timed, 1)


def _words_by_share(words: list[str], share: float) -> int:
    """How many of `words` are past their middle after `share` (0..1) of the time, by their length in letters."""
    total = sum(len(word) + 1 for word in words) or 1
    passed, count = 0, 0
    for word in words:
        if (passed + len(word) / 2) / total > share:
            break
        passed += len(word) + 1
        count += 1
    return count
