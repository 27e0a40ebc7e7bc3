"""A runtime without engines: the real conversation, a scripted mind and a humming voice.

Tests use it, and so does whoever works on the page or on a panel: `python -m omni.server.scripted`
serves it. It answers what it is told by `say`, shows a plan for "calculate", asks for a yes for
"delete", draws for "draw" and fails for "fail".
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from omni.bus import Overflow
from omni.catalogue.store import ModelStore
from omni.config import Config, load_config
from omni.conversation import Conversation
from omni.errors import BadInput, Busy
from omni.events import (
    ApprovalAsked,
    ApprovalGiven,
    AudioGap,
    AudioIn,
    BargeIn,
    Drawing,
    Event,
    MicMuted,
    PartialTranscript,
    PlanUpdated,
    Played,
    SpeechStarted,
    TurnCommitted,
    VideoFrame,
)
from omni.host.hookspecs import Panel
from omni.planner.plan import Plan, Request, Say
from omni.reply import Voice
from omni.session import Session
from omni.testing import FakeHost, ScriptedVoice

LONG = (
    "There was once a lighthouse keeper who counted the ships. Every evening he wrote down their names. "
    "One night no ship came at all. He wrote down the names of the stars instead. In the morning the "
    "harbour master read the list and asked which port the ship Orion had sailed from."
)
CHARACTERS_S = 0.004


class ScriptedHost(FakeHost):
    """A host with no plugins, unless it is given `panels`."""

    def __init__(self, *capabilities: tuple[type, Any], panels: tuple[tuple[str, Panel], ...] = ()) -> None:
        super().__init__(*capabilities)
        self._panels = list(panels)

    def plugins(self) -> list[Any]:
        """None."""
        return []

    def panels(self) -> list[tuple[str, Panel]]:
        """Those it was given."""
        return self._panels


class ScriptedMind:
    """Answers by keyword, a few characters at a time, as a planner would."""

    def __init__(self, reply: Callable[[str], str] | None = None) -> None:
        self._reply = reply or (lambda text: LONG if "story" in text else f"You said: {text.rstrip('.?!')}.")

    def hear_answer(self, session: Session, text: str) -> bool:
        """It never asks."""
        return False

    async def prefill(self, session: Session, stable: str) -> None:
        """Nothing to prepare."""

    async def answer(self, session: Session, request: Request) -> AsyncIterator[Say]:
        """The script."""
        text = request.text.casefold()
        if "fail" in text:
            raise BadInput("I was told to fail.", "Ask for something else.")
        if "calculate" in text:
            async for say in self._calculate(session, request):
                yield say
            return
        if "delete" in text:
            async for say in self._delete(session, request):
                yield say
            return
        if "draw" in text:
            circle = {"op": "circle", "id": "c1", "x": 100, "y": 100, "r": 40}
            yield Say("This is a circle.", (circle,))
            return
        answer = self._reply(request.text)
        for start in range(0, len(answer), 12):
            await asyncio.sleep(12 * CHARACTERS_S)
            yield Say(answer[start : start + 12])

    async def _calculate(self, session: Session, request: Request) -> AsyncIterator[Say]:
        plan = Plan(turn=request.turn, revision=request.revision, request=request.text, state="acting")
        step = plan.add("calculate", request.text, effect="pure", how="example")
        step.arguments, step.state = {"expression": "20% of 42.50"}, "running"
        session.publish(PlanUpdated, turn=request.turn, plan=plan.as_json())
        await asyncio.sleep(0.2)
        step.state, step.preview, step.seconds, plan.state = "done", "8.50", 0.2, "answering"
        session.publish(PlanUpdated, turn=request.turn, plan=plan.as_json())
        yield Say("That is 8.50.")

    async def _delete(self, session: Session, request: Request) -> AsyncIterator[Say]:
        answers = session.bus.subscribe(ApprovalGiven, capacity=4, overflow=Overflow.LATEST, name="approval")
        await request.committed.wait()
        session.publish(
            ApprovalAsked, turn=request.turn, call="1", tool="delete_file", arguments={"path": "notes/old.txt"},
            sentence="May I delete the file notes/old.txt?", digest="d1",
        )  # fmt: skip
        try:
            given = await answers.get()
        finally:
            session.bus.unsubscribe(answers)
        yield Say("Done: it is deleted." if given.approved and given.digest == "d1" else "Then I leave it alone.")


class ScriptedRuntime:
    """What `build_app` needs of a runtime. `heard[session]` collects what the page sent."""

    def __init__(
        self,
        config: Config | None = None,
        *,
        host: Any = None,
        mind: Any = None,
        voice: Any = None,
        limit: int = 4,
    ) -> None:
        self.config = config or load_config()
        self.host = host or ScriptedHost()
        self.store = ModelStore.from_config(self.config)
        self.conversations: dict[str, Conversation] = {}
        self.heard: dict[str, list[Event]] = {}
        self._mind = mind or ScriptedMind()
        self._voice = Voice(voice or ScriptedVoice(rate=22_050))
        self._limit = limit
        self._tasks: dict[str, list[asyncio.Task[Any]]] = {}

    async def open_session(self, settings: dict[str, Any] | None = None) -> Conversation:
        """A session with the scripted mind. Raises `Busy` beyond `limit`."""
        if len(self.conversations) >= self._limit:
            raise Busy(f"{self._limit} conversations are open already.", "Close one.")
        session = Session(host=self.host, settings=dict(settings or {}))
        conversation = Conversation(
            session, self._mind, lambda: self._voice if session.settings.get("voice", True) else None
        )
        self.conversations[session.id] = conversation
        self.heard[session.id] = []
        self._tasks[session.id] = [
            asyncio.create_task(conversation.run(), name="conversation"),
            asyncio.create_task(self._listen(session), name="listener"),
        ]
        return conversation

    async def _listen(self, session: Session) -> None:
        """Collect what comes in; a sound that ends is a turn (there is no recogniser here)."""
        types = (AudioIn, AudioGap, MicMuted, Played, VideoFrame, Drawing, BargeIn, ApprovalGiven)
        mailbox = session.bus.subscribe(*types, capacity=4096, overflow=Overflow.LATEST, name="collector")
        loud = quiet = 0
        async for event in mailbox:
            self.heard[session.id].append(event)
            if not isinstance(event, AudioIn):
                continue
            level = max(abs(int.from_bytes(event.pcm[i : i + 2], "little", signed=True)) for i in range(0, 640, 16))
            loud, quiet = (loud + 1, 0) if level > 2000 else (loud, quiet + 1)
            if loud == 10 and quiet == 0:
                session.turns.begin()
                session.publish(SpeechStarted)
            if loud >= 10 and quiet == 0 and loud % 10 == 0:
                session.publish(PartialTranscript, text=f"a sound of {loud * 20} milliseconds", stable="a sound of ")
            if quiet == 30 and loud >= 10:
                session.publish(
                    TurnCommitted, text=f"A sound of {loud * 20} milliseconds.", speech_end=session.clock.now() - 0.6
                )
            if quiet >= 30:
                loud = 0

    async def close_session(self, id: str) -> None:
        """End a session. Idempotent."""
        conversation = self.conversations.pop(id, None)
        if conversation is None:
            return
        await conversation.close()
        tasks = self._tasks.pop(id)
        await asyncio.wait(tasks, timeout=1.0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def stop(self) -> None:
        """Close every session. Idempotent."""
        for id in list(self.conversations):
            await self.close_session(id)


async def main(port: int = 0) -> None:
    """Serve the page with the scripted mind until interrupted."""
    from omni.server.serve import serve

    runtime = ScriptedRuntime()
    try:
        await serve(runtime, port=port, ready=lambda url: print(f"Open {url}", flush=True))
    finally:
        await runtime.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
