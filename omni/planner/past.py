"""What the model is told of a conversation's past: the exchanges that fit, before them a summary of those that don't.

The window over the exchanges moves rarely and far: when the budget is full, half of it is freed at once. A
window that slid by one exchange a turn would change the prompt's beginning each time, and with it throw away
the model's cache. Before it must move, in a pause, the older half is summarised (`Memory.summarise`), so that
what was said is shortened and not lost; where no pause came in time, the next one makes up for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omni.capabilities import Memory, Message
from omni.planner import prompt
from omni.session import Session
from omni.turns import Exchange

#: The share of the budget from which on the older half is summarised when there is time.
DUE = 0.75
#: About how many words a summary has.
WORDS = 120


@dataclass(slots=True)
class Past:
    """The past of one session as its prompts hold it."""

    first: int = 0  #: the first turn that is told word for word
    covered: int = 0  #: the last turn that the summary tells of
    summary: str = ""

    def messages(self, history: Sequence[Exchange], before: int, budget_tokens: int, system: str) -> list[Message]:
        """System prompt with the summary, and the exchanges before turn `before`, in about so many tokens at most."""
        if _size(self._told(history, before)) > budget_tokens:
            self.first = self._next_first(history, before, budget_tokens)
        if self.summary:
            system = f"{system}\n\nEarlier in this conversation: {self.summary}"
        return [Message("system", system), *_as_messages(self._told(history, before))]

    def due(self, history: Sequence[Exchange], budget_tokens: int) -> list[Exchange]:
        """The exchanges that want to be summarised: left out already, or about to be. Empty while all is well."""
        left_out = [e for e in history if self.covered < e.turn < self.first]
        before = max((e.turn for e in history), default=0) + 1
        if _size(self._told(history, before)) > DUE * budget_tokens:
            first = self._next_first(history, before, budget_tokens)
            return [e for e in history if self.covered < e.turn < first]
        return left_out

    async def condense(self, session: Session, memory: Memory, exchanges: Sequence[Exchange]) -> None:
        """Put these exchanges into the summary, in the shared memory too unless the session is off the record."""
        said = [Message("system", self.summary)] if self.summary else []
        for exchange in exchanges:
            # What nobody vouches for stays out: in a summary its fence would be gone.
            trusted = [line for line in exchange.tool_results if prompt.FENCE_OPEN not in line]
            said.append(Message("user", prompt.user_content(exchange.asked, trusted)))
            if exchange.heard.strip():
                said.append(Message("assistant", exchange.heard.strip()))
        turns = (exchanges[0].turn, exchanges[-1].turn)
        keep = not session.settings.get("off_the_record", False)
        self.summary = await memory.summarise(session.id, said, turns=turns, words=WORDS, keep=keep) or self.summary
        self.covered = turns[1]
        self.first = max(self.first, turns[1] + 1)

    def _told(self, history: Sequence[Exchange], before: int) -> list[Exchange]:
        return [e for e in history if self.first <= e.turn < before]

    def _next_first(self, history: Sequence[Exchange], before: int, budget_tokens: int) -> int:
        """The first turn to tell when half the budget is to be free."""
        told = self._told(history, before)
        used, first = _size(told), self.first
        for exchange in told:
            if used <= budget_tokens / 2:
                break
            used -= _size([exchange])
            first = exchange.turn + 1
        return first


def _as_messages(exchanges: Sequence[Exchange]) -> list[Message]:
    return [message for exchange in exchanges for message in prompt.exchange_messages(exchange)]


def _size(exchanges: Sequence[Exchange]) -> float:
    """About how many tokens they take; ten each for the turn's marks."""
    characters = sum(len(message.content) for message in _as_messages(exchanges))
    return characters / prompt.CHARACTERS_PER_TOKEN + 10 * len(exchanges)
