"""The loop of one turn: understand, choose, act, observe, answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from omni.capabilities import ChatModel, ChatRequest, Message
from omni.errors import OmniError
from omni.events import PlanUpdated
from omni.planner import prompt
from omni.planner.plan import Limits, Plan, Request, Say

if TYPE_CHECKING:
    from omni.host.host import Host
    from omni.session import Session


class Planner:
    """Answers turns. One for all sessions; what it keeps of a session is small and bounded."""

    def __init__(self, host: Host, config: Any = None, *, limits: Limits | None = None) -> None:
        self.host = host
        self.config = config
        self.limits = limits or Limits()
        self._first: dict[str, int] = {}  # session id -> first turn of the history that the model is told

    def _prefix(self, session: Session, turn: int) -> list[Message]:
        """System prompt and history of this session: the same for `prefill` and `answer`."""
        model = self.host.get(ChatModel)
        room = max(512, model.context_tokens - self.limits.answer_tokens - 1400)
        first = prompt.window(session.turns.history, turn, self._first.get(session.id, 0), room)
        self._first[session.id] = first
        return prompt.conversation(session.turns.history, before=turn, first=first)

    async def prefill(self, session: Session, stable_text: str) -> None:
        """Put what is certain of the coming prompt into the model's cache while the person still speaks."""
        messages = self._prefix(session, session.turns.turn)
        if stable := stable_text.strip():
            messages.append(Message("user", stable))
        await self.host.get(ChatModel).prefill(messages, slot=session.id)

    async def answer(self, session: Session, request: Request) -> AsyncIterator[Say]:
        """The answer, a piece at a time. Close the iterator to stop; nothing that failed is raised from here."""
        plan = Plan(turn=request.turn, revision=request.revision, request=request.text)
        try:
            async for say in self._reply(session, request, plan):
                yield say
            self._show(session, plan, "done")
        except OmniError as error:
            plan.note = str(error)
            self._show(session, plan, "failed")
            yield Say(str(error))

    async def _reply(self, session: Session, request: Request, plan: Plan) -> AsyncIterator[Say]:
        """Let the chat model answer."""
        self._show(session, plan, "answering")
        note = prompt.time_note(request.text, session.clock.wall())
        messages = self._prefix(session, request.turn)
        messages.append(Message("user", prompt.user_content(request.text, (), (note,))))
        chat = ChatRequest(messages, slot=session.id, max_tokens=self.limits.answer_tokens)
        async with aclosing(self.host.get(ChatModel).chat(chat)) as deltas:
            async for delta in deltas:
                if delta.text:
                    yield Say(delta.text)

    def _show(self, session: Session, plan: Plan, state: str) -> None:
        """Publish the plan as it stands."""
        plan.state = state
        session.bus.publish(
            session.event(PlanUpdated, turn=plan.turn, revision=plan.revision, plan=plan.as_json())
        )
