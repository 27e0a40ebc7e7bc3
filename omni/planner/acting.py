"""Running one step: the gate, the tool, its deadline, what is kept of it."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omni.errors import OmniError, Refused
from omni.events import ToolCalled, ToolReturned
from omni.planner import permissions, prompt
from omni.planner.plan import PREVIEW, Limits, Plan, Request, Say, Step
from omni.telemetry import Tracer
from omni.tools import Effect, Tool, ToolContext, ToolResult

if TYPE_CHECKING:
    from omni.session import Session

logger = logging.getLogger(__name__)

#: Characters of a result that go onto the bus.
SHOWN_LIMIT = 20_000


@dataclass(slots=True)
class Guesses:
    """Results of pure tools that ran for the present turn: a revision with the same call need not wait again."""

    turn: int = -1
    results: dict[str, ToolResult] = field(default_factory=dict)

    def of(self, turn: int) -> dict[str, ToolResult]:
        """The results of this turn; another turn's are forgotten."""
        if turn != self.turn:
            self.turn, self.results = turn, {}
        return self.results


@dataclass(slots=True)
class Outcome:
    """What came of a step: a result, or a sentence that says why there is none."""

    step: Step
    result: ToolResult | None = None
    error: str = ""

    def line(self) -> str:
        """As the model reads it."""
        if self.result is None:
            return prompt.render_result(self.step.tool, None, trusted=True, error=self.error)
        told = self.result.say or self.result.value  # the words are shorter, and they are what the person heard
        return prompt.render_result(self.step.tool, told, trusted=self.result.trusted)


@dataclass(slots=True)
class Run:
    """One turn being answered: the request, its plan, and what its steps gave so far."""

    session: Session
    request: Request
    plan: Plan
    limits: Limits
    guesses: Guesses
    approvals: permissions.Approvals
    tracer: Tracer
    began: float  #: loop time
    waited: float = 0.0  #: seconds spent waiting for a person or for the turn to become certain
    outcomes: list[Outcome] = field(default_factory=list)
    unkept: list[str] = field(default_factory=list)  #: lines that wait for the turn to become certain
    aloud: asyncio.Queue[Say] = field(default_factory=asyncio.Queue)  #: what is to be said while it works

    def spent(self) -> str:
        """Which limit is reached, as a sentence; empty while none is."""
        if len(self.plan.steps) >= self.limits.steps:
            return f"I stopped after {self.limits.steps} steps."
        if self.plan.completion_tokens >= self.limits.tokens:
            return "I stopped because this took more thinking than I am allowed."
        if self.seconds_left() <= 0:
            return f"I stopped because this took longer than {self.limits.seconds:.0f} seconds."
        return ""

    def seconds_left(self) -> float:
        """Of the time the whole turn may take."""
        return self.limits.seconds - (asyncio.get_running_loop().time() - self.began - self.waited)

    def keep(self, line: str) -> None:
        """Keep what a tool gave with the exchange, also when the answer is never heard to its end."""
        self.unkept.append(line)
        self.flush()

    def flush(self) -> None:
        """Hand what was kept to the exchange, once there is one."""
        if not self.request.committed.is_set():
            return
        if exchange := self.session.turns.exchange(self.request.turn):
            exchange.tool_results.extend(self.unkept)
            self.unkept.clear()


async def act(run: Run, step: Step, tool: Tool) -> Outcome:
    """Run one step whose arguments are known. Every failure becomes an outcome with a sentence."""
    outcome = Outcome(step)
    try:
        await _gate(run, step, tool)
        outcome.result = await _call(run, step, tool)
        step.state = "done"
        step.preview = outcome.result.say[:PREVIEW] or preview(outcome.result.value)
        if not outcome.result.trusted:
            run.plan.tainted = True
    except Refused as error:
        step.state, outcome.error = "refused", str(error)
    except OmniError as error:
        step.state, outcome.error = "failed", str(error)
    step.error = outcome.error
    if step.state != "refused":
        run.keep(outcome.line())
    run.outcomes.append(outcome)
    return outcome


def preview(value: Any) -> str:
    """A result as a person would like to read it beside the plan: what is short of it, without brackets."""
    if isinstance(value, dict):
        plain = {name: item for name, item in value.items() if isinstance(item, str | int | float) and item != ""}
        value = "; ".join(f"{name}: {item}" for name, item in plain.items()) or ", ".join(map(str, value))
    elif isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    return str(value)[:PREVIEW]


async def _gate(run: Run, step: Step, tool: Tool) -> None:
    """Wait for what the tool's effect asks for. Raises `Refused` where it is not given."""
    need = permissions.needed(tool, tainted=run.plan.tainted)
    if need == "nothing":
        return
    loop = asyncio.get_running_loop()
    since = loop.time()
    try:
        await permissions.wait_for_commit(run.session, run.request)
        run.flush()
        # What another step read while this one waited counts too.
        if permissions.needed(tool, tainted=run.plan.tainted) == "yes":
            step.state = "asking"
            tainted = run.plan.tainted and tool.effect is not Effect.CONSEQUENTIAL
            run.aloud.put_nowait(Say(permissions.sentence(tool, step.arguments, tainted=tainted) + " "))
            await run.approvals.ask(run.session, step, tool, tainted=tainted, timeout_s=run.limits.approval_s)
    finally:
        run.waited += loop.time() - since


async def _call(run: Run, step: Step, tool: Tool) -> ToolResult:
    """Call the tool within its deadline and tell the bus. A pure result serves the turn's next revision too."""
    session, loop = run.session, asyncio.get_running_loop()
    key = permissions.digest(tool, step.arguments)
    known = run.guesses.of(run.request.turn)
    step.state = "running"
    stamp = {"turn": run.request.turn, "revision": run.request.revision, "call": step.id, "tool": tool.name}
    if tool.effect is Effect.PURE and key in known:
        return known[key]
    context = ToolContext(session, run.request.turn, run.request.revision, run.request.text, run.request.attachments)
    session.publish(ToolCalled, arguments=step.arguments, **stamp)
    began, result, error = loop.time(), None, ""
    limit = max(0.05, min(tool.deadline_s, run.limits.tool_s, run.seconds_left()))
    try:
        with run.tracer.span("tool", tool=tool.name, turn=run.request.turn, effect=tool.effect.value):
            async with asyncio.timeout(limit):
                result = await tool(step.arguments, context)
    except TimeoutError:
        error = f"{_spoken(tool)} took longer than {limit:.0f} seconds, so I stopped it."
        raise OmniError(error) from None
    except OmniError as problem:
        error = str(problem)
        raise
    except asyncio.CancelledError:
        error = "It was interrupted."
        if tool.effect is not Effect.PURE:
            run.keep(f"[{tool.name} was interrupted: it is not certain whether it was done]")
        raise
    except Exception as problem:
        # A tool's own mistake is contained here: it costs its result, not the conversation.
        logger.exception("the tool %s failed", tool.name)
        error = f"{_spoken(tool)} failed: {type(problem).__name__}: {problem}"
        raise OmniError(error) from problem
    finally:
        step.seconds = loop.time() - began
        session.publish(ToolReturned, result=_shown(result), error=error, seconds=step.seconds, **stamp)
    if tool.effect is Effect.PURE:
        known[key] = result
    return result


def _shown(result: ToolResult | None) -> Any:
    """The result as the bus carries it: JSON-ready and of bounded size."""
    if result is None:
        return None
    text = json.dumps(result.value, ensure_ascii=False, default=str)
    return json.loads(text) if len(text) <= SHOWN_LIMIT else f"{text[:SHOWN_LIMIT]} … (cut)"


def _spoken(tool: Tool) -> str:
    return tool.name.replace("_", " ").capitalize()
