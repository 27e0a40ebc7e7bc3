"""Models that call tools by themselves: their calls are carried out, the results handed back, until they answer.

Only the tools that came nearest are offered, so that the prompt stays short with fifty installed.
Everything else is as for any model: arguments are validated, effects gated, results kept.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import BadInput
from omni.planner import permissions, prompt
from omni.planner.acting import Outcome, Run, act
from omni.planner.plan import Say
from omni.planner.selection import NONE, Route
from omni.tools import Tool, validate_arguments

if TYPE_CHECKING:
    from omni.planner.loop import Planner

#: Tools offered to a model that calls them itself.
OFFERED = 8


async def native_reply(planner: Planner, run: Run, tools: dict[str, Tool], route: Route) -> AsyncIterator[Say]:
    """Answer with a model that calls tools natively."""
    ranked = [name for name, _ in route.ranked if name in tools and name != NONE] or list(tools)
    offered = [tools[name].schema() for name in ranked[:OFFERED]]
    messages = planner.prefix(run.session, run.request.turn)
    note = prompt.time_note(run.request.text, run.session.clock.wall())
    messages.append(Message("user", prompt.user_content(run.request.text, (), (note,))))
    run.plan.tainted = run.plan.tainted or prompt.is_tainted(messages)
    seen: set[tuple[str, str]] = set()
    while True:
        spent = run.spent()
        calls: list[dict[str, Any]] = []
        written = ""
        request = ChatRequest(
            list(messages),
            slot=run.session.id,
            max_tokens=run.limits.answer_tokens,
            temperature=run.limits.temperature,
            tools=() if spent or run.plan.note else offered,
        )
        async with aclosing(planner.host.get(ChatModel).chat(request)) as deltas:
            async for delta in deltas:
                if delta.finish:
                    run.plan.prompt_tokens += delta.prompt_tokens
                    run.plan.cached_tokens += delta.cached_tokens
                    run.plan.completion_tokens += delta.completion_tokens
                if delta.tool_call:
                    calls.append(delta.tool_call)
                if delta.text:
                    written += delta.text
                    yield Say(delta.text)
        if not calls or not request.tools:
            return
        outcomes = await _carry_out(planner, run, tools, calls)
        messages.append(Message("assistant", written, tool_calls=tuple(calls)))
        for call, outcome in zip(calls, outcomes, strict=True):
            messages.append(Message("tool", outcome.line(), tool_call_id=call.get("id", ""), name=call["name"]))
            trace = (json.dumps([call["name"], call["arguments"]], sort_keys=True, default=str), outcome.line())
            if trace in seen:
                run.plan.note = "I was going in circles, so I stopped."
            seen.add(trace)


async def _carry_out(planner: Planner, run: Run, tools: dict[str, Tool], calls: list[dict[str, Any]]) -> list[Outcome]:
    """Run the model's calls: those that change nothing side by side, the others in order."""
    outcomes: list[Outcome | None] = [None] * len(calls)
    together: list[tuple[int, Any]] = []
    planner.show(run, "acting")
    for position, call in enumerate(calls):
        tool = tools.get(call["name"])
        step = run.plan.add(call["name"], run.request.text, effect=tool.effect.value if tool else "pure", how="native")
        spent = "" if len(run.plan.steps) <= run.limits.steps else f"I stopped after {run.limits.steps} steps."
        try:
            if tool is None:
                raise BadInput(f"There is no tool named {call['name']}.")
            if spent:
                raise BadInput(spent)
            step.arguments = validate_arguments(tool, call["arguments"])
        except BadInput as error:
            step.state, step.error = "failed", str(error)
            outcomes[position] = Outcome(step, error=str(error))
            continue
        if permissions.needed(tool, tainted=run.plan.tainted) == "nothing":
            together.append((position, asyncio.ensure_future(act(run, step, tool))))
        else:
            await _gather(together, outcomes)
            outcomes[position] = await act(run, step, tool)
    await _gather(together, outcomes)
    planner.show(run, "answering")
    return [outcome for outcome in outcomes if outcome is not None]


async def _gather(together: list[tuple[int, Any]], outcomes: list[Outcome | None]) -> None:
    """Wait for the calls that run side by side; when this is cancelled, so are they."""
    try:
        for position, task in together:
            outcomes[position] = await task
    except BaseException:
        for _, task in together:
            task.cancel()
        raise
    finally:
        together.clear()
