"""The loop of one turn: understand, choose, act, observe, answer."""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from omni.capabilities import ChatModel, ChatRequest, Memory, Message
from omni.errors import BadInput, OmniError
from omni.events import PlanUpdated
from omni.planner import arguments, prompt
from omni.planner.acting import Guesses, Outcome, Run, act
from omni.planner.choosing import Before, Chooser, Part, finds_nothing
from omni.planner.native import native_reply
from omni.planner.past import Past
from omni.planner.permissions import Approvals
from omni.planner.plan import ANNOUNCE, Limits, Plan, PlanState, Request, Say, Step
from omni.planner.selection import NONE, Route
from omni.telemetry import Tracer
from omni.tools import Effect, Tool

if TYPE_CHECKING:
    from omni.host.host import Host
    from omni.session import Session

logger = logging.getLogger(__name__)

#: Sessions whose small state is held; a session that comes back after this many others starts afresh.
SESSIONS = 256
#: A tool this near to the request, and not yet used, is worth asking the model whether it is needed too.
FOLLOW_UP = 0.36
#: Tokens the prompt may take beside history and answer: the system prompt, tools, results.
OVERHEAD_TOKENS = 1400


@dataclass(slots=True)
class _Memo:
    """What is kept of a session between turns."""

    past: Past = field(default_factory=Past)
    guesses: Guesses = field(default_factory=Guesses)
    before: Before | None = None


class Planner:
    """Answers turns. One for all sessions; what it keeps of a session is small and bounded."""

    def __init__(self, host: Host, config: Any = None, *, limits: Limits | None = None) -> None:
        self.host = host
        self.config = config
        self.limits = limits or (Limits.of(config) if config else Limits())
        self._system = prompt.system(config.get("chat.system_prompt") if config else "")
        data_dir = getattr(config, "data_dir", None)
        self.chooser = Chooser(host, data_dir / "planner" if data_dir else None)
        self.approvals = Approvals()
        self.tracer = Tracer(bool(config and config.get("telemetry.opentelemetry")))
        self._memos: OrderedDict[str, _Memo] = OrderedDict()

    def hear_answer(self, session: Session, text: str) -> bool:
        """Whether these words were the yes or no that a question of this session waits for; then they are no turn."""
        return self.approvals.hear(session, text)

    # -- the prompt's stable part ---------------------------------------------------------------

    def _memo(self, session: Session) -> _Memo:
        memo = self._memos.setdefault(session.id, _Memo())
        self._memos.move_to_end(session.id)
        while len(self._memos) > SESSIONS:
            self._memos.popitem(last=False)
        return memo

    def prefix(self, session: Session, turn: int) -> list[Message]:
        """System prompt and history of this session: the same for `prefill` and for all that `answer` asks."""
        return self._memo(session).past.messages(session.turns.history, turn, self._room(), self._system)

    def _room(self) -> int:
        """Tokens that the history may take."""
        return max(512, self.host.get(ChatModel).context_tokens - self.limits.answer_tokens - OVERHEAD_TOKENS)

    async def prefill(self, session: Session, stable_text: str) -> None:
        """Put what is certain of the coming prompt into the model's cache while the person still speaks.

        Without a text this is a pause: the last turn is over, and belongs to the past of the next one.
        """
        turn, stable = session.turns.turn, stable_text.strip()
        messages = self.prefix(session, turn if stable else turn + 1)
        if stable:
            messages.append(Message("user", stable))
        await self.host.get(ChatModel).prefill(messages, slot=session.id)
        if not stable:  # the time to make the examples' index, if it isn't there yet
            await self.chooser.index(self.host.tools())

    async def tend(self, session: Session) -> bool:
        """What there is to do while nobody speaks: summarise the past that does not fit much longer.

        Returns whether the prompts that follow begin differently. Cancel it when the model is needed.
        """
        past = self._memo(session).past
        try:
            due = past.due(session.turns.history, self._room())
            if due:
                await past.condense(session, self.host.get(Memory), due)
        except OmniError as error:
            logger.info("the past was not summarised: %s", error)
            return False
        return bool(due)

    # -- one turn -------------------------------------------------------------------------------

    async def answer(self, session: Session, request: Request) -> AsyncIterator[Say]:
        """The answer, a piece at a time. Close the iterator to stop.

        What fails is said, not raised: a tool that times out, a model that is away, a person's no.
        """
        memo = self._memo(session)
        plan = Plan(turn=request.turn, revision=request.revision, request=request.text)
        now = asyncio.get_running_loop().time()
        run = Run(session, request, plan, self.limits, memo.guesses, self.approvals, self.tracer, now)
        try:
            async with aclosing(self._turn(run, memo)) as saying:
                async for say in saying:
                    yield say
            self.show(run, "done")
        except OmniError as error:
            plan.note = str(error)
            self.show(run, "failed")
            yield Say(str(error))
        except (asyncio.CancelledError, GeneratorExit):
            self.show(run, "cut")
            raise
        finally:
            run.flush()

    async def _turn(self, run: Run, memo: _Memo) -> AsyncIterator[Say]:
        if run.request.source == "task" and run.request.text.startswith(ANNOUNCE):
            yield Say(run.request.text.removeprefix(ANNOUNCE))
            return
        tools = {tool.name: tool for tool in self.host.tools()}
        thinking = asyncio.create_task(self._think(run, memo, tools), name=f"plan {run.request.turn}")
        try:
            while (say := await _next_aloud(run, thinking)) is not None:
                yield say
            route, talk = await thinking
        finally:
            if not thinking.done():
                thinking.cancel()
                await asyncio.wait([thinking])
        async with aclosing(self._reply(run, tools, route, talk)) as reply:
            async for say in reply:
                yield say

    async def _think(self, run: Run, memo: _Memo, tools: dict[str, Tool]) -> tuple[Route, bool]:
        """Choose tools and run them. Returns where the request pointed, and whether something is left to talk about."""
        route = Route(run.request.text, ())
        if not tools or not run.request.text.strip():
            return route, True
        with run.tracer.span("plan", session=run.session.id, turn=run.request.turn, revision=run.request.revision):
            self.show(run, "choosing")
            shown = run.request.attachments[-1].kind if run.request.attachments else ""
            parts, route = await self.chooser.parts(run.request.text, tools, self._asker(run), memo.before, shown)
            run.plan.candidates = [(name, round(score, 3)) for name, score in route.ranked[:4]]
            if learned := self.chooser.corrected(run.request.text, memo.before, parts):
                await self.chooser.correct(learned.text, learned.tool)
            talk = any(part.tool == NONE for part in parts)
            if used := [part for part in parts if part.tool != NONE]:
                await self._act_on(run, used, tools)
                memo.before = Before(used[-1].words, used[-1].tool)
                if not talk:
                    await self._observe(run, route, tools)
        return route, talk

    def _asker(self, run: Run) -> arguments.AskJson:
        """How the chooser and the arguments ask the model: at the end of this turn's prompt, under a grammar."""

        async def ask(instruction: str, schema: dict[str, Any]) -> str:
            """The answer to an instruction, as JSON that fits the schema. Raises `OmniError` when a budget is spent."""
            if spent := run.spent():
                raise OmniError(spent)
            lines = [outcome.line() for outcome in run.outcomes]
            messages = self.prefix(run.session, run.request.turn)
            note = prompt.time_note(run.request.text, run.session.clock.wall())
            content = prompt.user_content(run.request.text, lines, (note, "", instruction))
            messages.append(Message("user", content))
            if prompt.is_tainted(messages):
                run.plan.tainted = True  # what the model chooses now may be what that text suggested
            room = min(300, max(16, run.limits.tokens - run.plan.completion_tokens))
            text = [say.text async for say in self.chat(run, messages, max_tokens=room, schema=schema)]
            return "".join(text)

        return ask

    async def chat(self, run: Run, messages: Sequence[Message], **options: Any) -> AsyncIterator[Say]:
        """Let the model write; the plan counts its tokens."""
        request = ChatRequest(list(messages), slot=run.session.id, **options)
        async with aclosing(self.host.get(ChatModel).chat(request)) as deltas:
            async for delta in deltas:
                if delta.finish:
                    run.plan.prompt_tokens += delta.prompt_tokens
                    run.plan.cached_tokens += delta.cached_tokens
                    run.plan.completion_tokens += delta.completion_tokens
                if delta.text:
                    yield Say(delta.text)

    # -- acting ---------------------------------------------------------------------------------

    async def _act_on(self, run: Run, parts: Sequence[Part], tools: dict[str, Tool]) -> None:
        """Carry out the parts: pure ones that rest on nothing side by side, the others in the order they were said."""
        waiting: list[tuple[Step, Tool]] = []
        for part in parts:
            tool = tools[part.tool]
            alone = part.bound or tool.effect is not Effect.PURE
            if alone:
                await self._run_together(run, waiting)
            if run.plan.note:
                return
            step = await self._prepare(run, part, tool)
            if step is None:
                continue
            waiting.append((step, tool))
            if alone:
                await self._run_together(run, waiting)
        await self._run_together(run, waiting)

    async def _prepare(self, run: Run, part: Part, tool: Tool) -> Step | None:
        """A step with its arguments; None (with the outcome noted) when they can't be had or the budget is spent."""
        if spent := run.spent():
            run.plan.note = spent
            return None
        needs = tuple(step.id for step in run.plan.steps) if part.bound else ()
        step = run.plan.add(tool.name, part.words, effect=tool.effect.value, how=part.how, needs=needs)
        self.show(run, "choosing")
        context = "\n".join(outcome.line() for outcome in run.outcomes)
        try:
            step.arguments, _ = await arguments.arguments_for(tool, part.words, self._asker(run), context=context)
        except BadInput as error:
            step.state, step.error = "failed", str(error)
            run.outcomes.append(Outcome(step, error=str(error)))
            return None
        return step

    async def _run_together(self, run: Run, waiting: list[tuple[Step, Tool]]) -> None:
        """Run these steps side by side and empty the list."""
        steps, waiting[:] = list(waiting), []
        if not steps:
            return
        self.show(run, "acting")
        async with asyncio.TaskGroup() as group:
            for step, tool in steps:
                group.create_task(act(run, step, tool), name=f"tool {tool.name}")
        order = {step.id: index for index, step in enumerate(run.plan.steps)}
        run.outcomes.sort(key=lambda outcome: order[outcome.step.id])
        self.show(run, "acting")

    async def _observe(self, run: Run, route: Route, tools: dict[str, Tool]) -> None:
        """Look at what came back: while another near tool may be needed too, ask the model for the next step."""
        while any(o.result is not None and not (o.result.say or o.result.script) for o in run.outcomes):
            used = {step.tool for step in run.plan.steps}
            near = [name for name, score in route.ranked if score >= FOLLOW_UP and name not in (NONE, *used)]
            near = [name for name in near if not finds_nothing(tools[name], run.request.text)][:3]
            if not near or self.host.get(ChatModel).native_tools:
                return
            if spent := run.spent():
                run.plan.note = spent
                return
            schema = {
                "type": "object",
                "properties": {"next": {"enum": [*near, "answer"]}},
                "required": ["next"],
                "additionalProperties": False,
            }
            written = await self._asker(run)(_next_step(run, near, tools), schema)
            name = json.loads(written).get("next", "answer") if written.startswith("{") else "answer"
            if name not in near:
                return
            await self._act_on(run, [Part(run.request.text, name, "model", bound=True)], tools)

    # -- answering ------------------------------------------------------------------------------

    async def _reply(self, run: Run, tools: dict[str, Tool], route: Route, talk: bool) -> AsyncIterator[Say]:
        """What the tools said themselves goes out as it is; the model puts the rest into words.

        A tool that the model picked and that could do nothing with the words may have been the wrong one: then the
        model answers, knowing that it failed.
        """
        self.show(run, "answering")
        untold: list[Outcome] = []
        for outcome in run.outcomes:
            result = outcome.result
            if result is not None and result.script:
                for line in result.script:
                    yield Say(line.text, tuple(line.drawing))
            elif result is not None and result.say:
                yield Say(result.say.rstrip() + " ")
            elif result is None and outcome.step.how != "model":
                yield Say(outcome.error.rstrip() + " ")
            else:
                untold.append(outcome)
        if run.plan.note:
            yield Say(run.plan.note + " ")
        if not untold and not talk:
            return
        if talk and not run.outcomes and tools and self.host.get(ChatModel).native_tools:
            async with aclosing(native_reply(self, run, tools, route)) as replying:
                async for say in replying:
                    yield say
            return
        messages = self.prefix(run.session, run.request.turn)
        note = prompt.time_note(run.request.text, run.session.clock.wall())
        lines = [outcome.line() for outcome in untold]
        messages.append(Message("user", prompt.user_content(run.request.text, lines, (note,))))
        limits = run.limits
        answer = self.chat(run, messages, max_tokens=limits.answer_tokens, temperature=limits.temperature)
        async with aclosing(answer) as writing:
            async for say in writing:
                yield say

    def show(self, run: Run, state: PlanState) -> None:
        """Publish the plan as it stands."""
        run.plan.state = state
        event = run.session.event(PlanUpdated, turn=run.plan.turn, revision=run.plan.revision, plan=run.plan.as_json())
        run.session.bus.publish(event)


async def _next_aloud(run: Run, thinking: asyncio.Task[Any]) -> Say | None:
    """What is to be said while the thinking goes on; None once it is over and nothing waits."""
    if not run.aloud.empty():
        return run.aloud.get_nowait()
    if thinking.done():
        return None
    waiting = asyncio.ensure_future(run.aloud.get())
    try:
        await asyncio.wait((waiting, thinking), return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else None
    finally:
        waiting.cancel()


def _next_step(run: Run, near: Sequence[str], tools: dict[str, Tool]) -> str:
    """The question whether another tool is needed before answering."""
    lines = ["Is one more tool needed before this request can be answered? Answer with JSON.", ""]
    lines += [f"- {name}: {tools[name].description.split('. ')[0].rstrip('.')}" for name in near]
    lines += ["- answer: no, the results above are enough"]
    return "\n".join(lines)
