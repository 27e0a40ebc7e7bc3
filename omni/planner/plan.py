"""The plan of one turn: what was understood, which steps it takes, how far they are.

Everything here is plain data that goes to the page as JSON (`PlanUpdated`), so that a person can
watch the plan as it is made and carried out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from omni.events import Attachment

StepState = Literal["waiting", "asking", "running", "done", "failed", "refused"]
PlanState = Literal["understanding", "choosing", "acting", "answering", "done", "failed", "cut"]

#: A task that begins with this is something to say as it is, like a timer that is due: no tool, no model.
ANNOUNCE = "say: "

#: Characters of a tool's result that the plan shows; the whole result goes to the model.
PREVIEW = 300


@dataclass(frozen=True, slots=True)
class Say:
    """A piece of the answer's text, with whiteboard operations that appear when that text is heard."""

    text: str
    drawing: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a person wants of one turn.

    While `committed` is not set the turn may still turn out otherwise: only `pure` tools may run.
    """

    turn: int
    revision: int
    text: str
    attachments: tuple[Attachment, ...] = ()
    committed: asyncio.Event = field(default_factory=asyncio.Event)
    source: Literal["voice", "text", "task"] = "voice"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one turn may cost. Whatever is reached first ends the acting; the answer says so."""

    steps: int = 8  #: tool calls
    tokens: int = 4000  #: tokens the model writes, for choosing and for answering
    seconds: float = 120.0  #: waiting for a person's yes does not count
    tool_s: float = 120.0  #: one tool call, whatever deadline it has of its own
    answer_tokens: int = 512
    temperature: float = 0.0  #: of answers; what tools are called with is always written at 0
    approval_s: float = 60.0  #: an unanswered question for a yes is a no

    @classmethod
    def of(cls, config: Any) -> Limits:
        """As the settings `budgets.*` and `chat.*` have it."""
        return cls(
            steps=config.get("budgets.plan_steps"),
            seconds=config.get("budgets.plan_s"),
            tool_s=config.get("budgets.tool_s"),
            answer_tokens=config.get("chat.max_tokens"),
            temperature=config.get("chat.temperature"),
        )


class Step(msgspec.Struct, kw_only=True):
    """One tool call of a plan. `needs` are the ids of steps whose results its arguments rest on."""

    id: str
    tool: str
    request: str  #: the words it serves
    arguments: dict[str, Any] = {}
    effect: str = "pure"
    state: StepState = "waiting"
    how: str = ""  #: how it was chosen: "example", "words", "model", "native"
    needs: tuple[str, ...] = ()
    error: str = ""
    preview: str = ""
    seconds: float = 0.0


class Plan(msgspec.Struct, kw_only=True):
    """The plan of one turn as it stands."""

    turn: int
    revision: int
    request: str
    state: PlanState = "understanding"
    steps: list[Step] = []
    note: str = ""  #: why it ended early, in a sentence
    candidates: list[tuple[str, float]] = []  #: the tools that came nearest, with their scores
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    tainted: bool = False  #: text that nobody vouches for has entered this turn

    def add(self, tool: str, request: str, *, effect: str, how: str, needs: tuple[str, ...] = ()) -> Step:
        """A new step at the end."""
        step = Step(
            id=f"{self.turn}.{self.revision}.{len(self.steps) + 1}",
            tool=tool, request=request, effect=effect, how=how, needs=needs,
        )  # fmt: skip
        self.steps.append(step)
        return step

    def as_json(self) -> dict[str, Any]:
        """A snapshot, ready for JSON."""
        return msgspec.to_builtins(self)
