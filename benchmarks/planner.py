"""Does the planner call the right tools with the right arguments?

Every request of `planner_requests.toml` goes through the planner as it is, with the real models. The tools
are the installed ones and, for families that are not installed, their declared specs; calling them is
recorded, not carried out. Baselines: all tools in the prompt and free JSON; the nearest example alone.
Control: the same planner with the examples dealt out to the tools at random.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import tempfile
import time
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from card import Card, arguments

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import BadInput
from omni.events import ApprovalAsked, ApprovalGiven
from omni.planner import Limits, Planner, Request
from omni.planner.plan import Plan
from omni.planner.selection import NONE
from omni.session import Session
from omni.tools import Effect, Tool, ToolResult, validate_arguments

HERE = Path(__file__).parent


@dataclass
class Outcome:
    """What one request came to."""

    tools: list[str]
    arguments: list[dict[str, Any]]
    valid: bool = True
    seconds: float = 0.0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    how: list[str] = field(default_factory=list)


class BenchHost:
    """The real host's models with the benchmark's tools."""

    def __init__(self, host: Any, tools: Sequence[Tool]) -> None:
        self._host = host
        self._tools = list(tools)

    def get(self, capability: type, **features: Any) -> Any:
        return self._host.get(capability, **features)

    def tools(self) -> list[Tool]:
        return self._tools


def spec_tool(spec: dict[str, Any]) -> Tool:
    """A declared tool as the host would give it."""
    properties = {name: {"type": "string", "description": text} for name, text in spec["parameters"].items()}
    schema = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    async def nothing(**_: Any) -> ToolResult:
        return ToolResult("done", say="Done.")

    effect = Effect(spec.get("effect", "pure"))
    return Tool(spec["name"], spec["description"], schema, effect, nothing, examples=tuple(spec["examples"]))


def recorded(tool: Tool) -> Tool:
    """The tool with its deed left out."""

    async def nothing(**_: Any) -> ToolResult:
        return ToolResult("done", say="Done.")

    return replace(tool, function=nothing, takes_context=False)


def bench_tools(host: Any) -> tuple[list[Tool], dict[str, str]]:
    """All tools, and for each name the family that the requests call it by."""
    installed = {tool.name: tool for tool in host.tools()}
    family = {name: name for name in installed}
    tools = [recorded(tool) for tool in installed.values()]
    for spec in tomllib.loads((HERE / "planner_specs.toml").read_text())["tool"]:
        names = [name for name in (spec["name"], *spec["same"]) if name in installed]
        for name in names:
            family[name] = spec["name"]
        if not names:
            tools.append(spec_tool(spec))
            family[spec["name"]] = spec["name"]
    return tools, family


# --- is it right? -----------------------------------------------------------------------------


def right_tools(expected: Sequence[str], called: Sequence[str], family: dict[str, str]) -> bool:
    """The calls are exactly the expected ones, in their order."""
    families = [family.get(name, name) for name in called]
    return len(expected) == len(families) and all(f in e.split("|") for e, f in zip(expected, families, strict=True))


def right_arguments(check: dict[str, Any], tool: str, given: dict[str, Any]) -> bool:
    """Whether one call's arguments say what the request said."""
    from omni_tools import when
    from omni_tools.calculator import answer

    text = " ".join(str(value) for value in given.values()).lower()
    if "value" in check:
        try:
            found = answer(str(given.get("expression") or text))
            return abs(float(found.exact) - check["value"]) < 1e-4 * max(1.0, abs(check["value"]))
        except (BadInput, TypeError):
            return tool == "teach"
    if "seconds" in check:
        found = when.duration(str(given.get("duration") or given.get("at") or text))
        if found is None or abs(found[0] - check["seconds"]) > 0.5:
            return False
    if tool == "days_until" and (found := when.day(str(given.get("date", "")), _today())):
        text = found[0].isoformat()
    wanted = [word for words in check.get("has", {}).values() for word in words]
    return all(word.lower() in text for word in wanted)


def _today() -> Any:
    import datetime

    return datetime.date.today()


# --- ways to choose ---------------------------------------------------------------------------


async def by_planner(planner: Planner, host: Any, text: str) -> Outcome:
    """One request in a session of its own."""
    session = Session(host)
    asked = session.bus.subscribe(ApprovalAsked, name="bench")
    plans: list[Plan] = []
    show = planner.show

    def watch(run: Any, state: Any) -> None:
        plans[:] = [run.plan]
        show(run, state)

    planner.show = watch  # type: ignore[method-assign]

    async def agree() -> None:
        async for question in asked:
            session.publish(ApprovalGiven, call=question.call, digest=question.digest, approved=True)

    agreeing = asyncio.create_task(agree())
    turn, revision = session.turns.begin()
    session.turns.commit(text)
    request = Request(turn, revision, text)
    request.committed.set()
    began = time.perf_counter()
    took = 0.0
    answer = planner.answer(session, request)
    try:
        async for _ in answer:
            took = took or time.perf_counter() - began
            if plans[-1].state == "answering":
                break
    finally:
        await answer.aclose()
        agreeing.cancel()
        planner.show = show  # type: ignore[method-assign]
    plan = plans[-1]
    valid = not any(step.state == "failed" for step in plan.steps)
    return Outcome(
        [step.tool for step in plan.steps], [step.arguments for step in plan.steps], valid, took,
        plan.prompt_tokens, plan.cached_tokens, [step.how for step in plan.steps],
    )  # fmt: skip


async def by_free_json(host: Any, tools: Sequence[Tool], text: str) -> Outcome:
    """All tools in the prompt, free-form JSON: what most assistants do."""
    listed = "\n".join(f"- {t.name}({', '.join(t.parameters.get('properties', {}))}): {t.description}" for t in tools)
    system = (
        "You choose tools for a request. Tools:\n" + listed + "\n- none(): just talk\n"
        'Answer with JSON only: {"calls": [{"tool": "...", "arguments": {...}}]}. Use several calls if needed.'
    )
    began = time.perf_counter()
    written, tokens, cached = "", 0, 0
    request = ChatRequest([Message("system", system), Message("user", text)], slot="free", max_tokens=200)
    async for delta in host.get(ChatModel).chat(request):
        written += delta.text
        tokens, cached = max(tokens, delta.prompt_tokens), max(cached, delta.cached_tokens)
    took = time.perf_counter() - began
    known = {tool.name: tool for tool in tools}
    try:
        calls = json.loads(written.strip().removeprefix("```json").removesuffix("```").strip())["calls"]
        names = [str(call["tool"]).split("(")[0] for call in calls]
        given = [call.get("arguments") or {} for call in calls]
        pairs = [(n, a) for n, a in zip(names, given, strict=True) if n != NONE]
        for name, values in pairs:
            validate_arguments(known[name], values)
        return Outcome([n for n, _ in pairs], [a for _, a in pairs], True, took, tokens, cached)
    except (ValueError, KeyError, TypeError, AttributeError, BadInput):
        return Outcome(["?"], [{}], False, took, tokens, cached)


async def by_nearest(planner: Planner, tools: Sequence[Tool], text: str) -> Outcome:
    """The nearest example alone, whatever its margin; arguments only where words give them."""
    from omni.planner.arguments import certain

    began = time.perf_counter()
    index = await planner.chooser.index(tools)
    route = (await index.routes([text]))[0]
    if route.best == NONE:
        return Outcome([], [], True, time.perf_counter() - began)
    tool = next(t for t in tools if t.name == route.best)
    given = certain(tool, text)
    return Outcome([tool.name], [given or {}], given is not None, time.perf_counter() - began)


def shuffled(tools: Sequence[Tool], seed: int) -> list[Tool]:
    """The same tools with their examples dealt out at random."""
    examples = [text for tool in tools for text in tool.examples]
    random.Random(seed).shuffle(examples)
    dealt = iter(examples)
    return [replace(t, examples=tuple(next(dealt) for _ in t.examples), extract=None) for t in tools]


# --- counting ---------------------------------------------------------------------------------


def score(requests: Sequence[dict[str, Any]], outcomes: Sequence[Outcome], family: dict[str, str]) -> dict[str, Any]:
    """The figures of one way."""
    tools_right, calls_right, arguments_right, arguments_asked = 0, 0, 0, 0
    kinds: dict[str, list[bool]] = {"none": [], "one": [], "two": []}
    for request, outcome in zip(requests, outcomes, strict=True):
        chosen = right_tools(request["tools"], outcome.tools, family)
        good = chosen
        if chosen:
            for check, name, given in zip(request.get("arguments", []), outcome.tools, outcome.arguments, strict=False):
                if check:
                    fits = right_arguments(check, family.get(name, name), given)
                    arguments_asked += 1
                    arguments_right += fits
                    good = good and fits
        tools_right += chosen
        calls_right += good
        kinds[("none", "one", "two")[len(request["tools"])]].append(good)
    count = len(requests)
    seconds = sorted(o.seconds for o in outcomes)
    return {
        "right_calls": calls_right / count,
        "right_tools": tools_right / count,
        "right_arguments": arguments_right / max(1, arguments_asked),
        "valid_json": sum(o.valid for o in outcomes) / count,
        "prompt_tokens": statistics.mean(o.prompt_tokens for o in outcomes),
        "read_tokens": statistics.mean(o.prompt_tokens - o.cached_tokens for o in outcomes),
        "seconds": statistics.mean(seconds),
        "p50_s": seconds[count // 2],
        **{f"right_{kind}": sum(right) / max(1, len(right)) for kind, right in kinds.items()},
    }


async def measure(card: Card, args: Any) -> None:
    """Run every way over the requests and fill the card."""
    from omni.catalogue.store import ModelStore
    from omni.config import load_config
    from omni.host.host import Host

    name = "planner_dev.toml" if args.dev else "planner_requests.toml"
    data = tomllib.loads((HERE / name).read_text())
    requests = data.get("request", [])
    requests += [{"text": t, "tools": w.split("+") if w else []} for t, w in data.get("requests", ())]
    if args.quick:
        requests = requests[::3]
    card.data([HERE / name, HERE / "planner_specs.toml"])
    config = load_config()
    with tempfile.TemporaryDirectory() as folder:
        host = Host(config, ModelStore.from_config(config), Path(folder), deny=("speech",))
        await host.start()
        try:
            await _ways(card, args, host, requests)
        finally:
            await host.stop()


async def _ways(card: Card, args: Any, host: Any, requests: list[dict[str, Any]]) -> None:
    tools, family = bench_tools(host)
    limits = Limits(answer_tokens=8)
    ways: dict[str, list[Outcome]] = {}
    # The same fixed text first, so that no way pays for loading the models.
    await by_free_json(host, tools[:2], "hello")
    bench = BenchHost(host, tools)
    planner = Planner(bench, limits=limits)  # type: ignore[arg-type]
    await planner.chooser.index(tools)
    scores: dict[str, dict[str, Any]] = {}

    async def run(way: str, of: Sequence[dict[str, Any]], one: Callable[[str], Awaitable[Outcome]]) -> None:
        """One way over these requests; its right calls are told at once, the rest at the end."""
        ways[way] = []
        began = time.perf_counter()
        for request in of:
            ways[way].append(await one(request["text"]))
            done = len(ways[way])
            if done % 20 == 0:
                left = (time.perf_counter() - began) / done * (len(of) - done)
                print(f"{way}: {done} of {len(of)}, {left:.0f} s left", flush=True)
        scores[way] = score(of, ways[way], family) | {"requests": len(of)}
        print(f"{way}: {scores[way]['right_calls']:.3f} right of {len(of)}", flush=True)

    await run("planner", requests, lambda text: by_planner(planner, bench, text))
    await run("nearest example", requests, lambda text: by_nearest(planner, tools, text))
    if not args.dev:
        # What leaves everything to the model is slow: a third of the requests will do, of the control a fifth.
        await run("free JSON", requests[::3], lambda text: by_free_json(host, tools, text))
        mixed = BenchHost(host, shuffled(tools, args.seed))
        control = Planner(mixed, limits=limits)  # type: ignore[arg-type]
        await run("shuffled", requests[::5], lambda text: by_planner(control, mixed, text))
    columns = ["right_calls", "right_tools", "right_arguments", "valid_json", "prompt_tokens", "seconds", "p50_s",
               "right_none", "right_one", "right_two"]  # fmt: skip
    card.table("Ways", ["way", *columns], [[way, *(s[c] for c in columns)] for way, s in scores.items()])
    wrong = []
    for request, outcome in zip(requests, ways["planner"], strict=True):
        checks = zip(request.get("arguments", []), outcome.tools, outcome.arguments, strict=False)
        fits = all(right_arguments(c, family.get(n, n), a) for c, n, a in checks if c)
        if not (right_tools(request["tools"], outcome.tools, family) and fits):
            wrong.append([request["text"][:60], "+".join(request["tools"]) or NONE,
                          "+".join(outcome.tools) or NONE, json.dumps(outcome.arguments)[:60]])  # fmt: skip
    card.table("Wrong", ["request", "expected", "called", "arguments"], wrong)
    card.figures = scores["planner"] | {"tools": len(tools), "requests": len(requests)}
    decided = [how for outcome in ways["planner"] for how in outcome.how]
    card.figures["without_model"] = sum(how != "model" for how in decided) / max(1, len(decided))
    if not args.dev:
        card.baseline = {"free_json": scores["free JSON"], "nearest_example": scores["nearest example"]}
        card.control = scores["shuffled"]


def main() -> int:
    """Measure and print the card."""
    args = arguments(
        "planner", "Does the planner call the right tools?",
        dev={"action": "store_true", "help": "the development requests, for tuning; the card is not to be quoted"},
    )  # fmt: skip
    card = Card("planner-dev" if args.dev else "planner", args)
    asyncio.run(measure(card, args))
    card.expect("right_calls", ">=", 0.9)
    card.expect("valid_json", "==", 1.0)
    return card.finish()


if __name__ == "__main__":
    raise SystemExit(main())
