"""The rules of the kernel, one test named after each. Other tests go deeper; these say what must never break."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from omni import capabilities, events
from omni.bus import Bus, Overflow
from omni.capabilities import ChatModel, Embedder, Synthesizer
from omni.clock import run_virtual
from omni.conversation import Conversation
from omni.events import AudioOut, Drawing, TextDelta, TurnCommitted, TurnSpeculated
from omni.host import hookspecs
from omni.planner import Planner
from omni.planner.plan import Request
from omni.reply import Voice
from omni.session import Session
from omni.telemetry import LoopWatchdog
from omni.testing import PATIENCE_S, BagOfWords, FakeHost, Loudspeaker, ScriptedChat, ScriptedVoice
from omni.tools import Effect, ToolContext, tool

ROOT = Path(__file__).parent.parent


def test_hooks_are_sync_and_cold() -> None:
    hooks = [f for name, f in vars(hookspecs.Hooks).items() if name.startswith("omni_")]
    assert len(hooks) >= 5
    assert not any(inspect.iscoroutinefunction(hook) for hook in hooks)


def test_capabilities_are_async_and_hot() -> None:
    """Every method either is a coroutine, streams, or makes a detector that is called per frame."""
    for protocol in capabilities.BY_NAME.values():
        for name, function in vars(protocol).items():
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            streams = "AsyncIterator" in str(function.__annotations__.get("return", ""))
            assert inspect.iscoroutinefunction(function) or streams or name == "detector", f"{protocol.__name__}.{name}"


def test_the_kernel_imports_no_machine_learning_and_no_plugin() -> None:
    """A fresh interpreter that imports the whole kernel holds none of the heavy libraries."""
    code = (
        "import importlib, pkgutil, sys, omni\n"
        "for m in pkgutil.walk_packages(omni.__path__, 'omni.'):\n"
        "    if '.contract' in m.name or m.name.endswith(('.main', '__main__')): continue\n"
        "    importlib.import_module(m.name)\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'faster_whisper', 'lancedb', 'playwright', 'cv2'}\n"
        "print(sorted((heavy | {m for m in sys.modules if m.startswith('omni_')}) & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_import_contracts_hold() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        capture_output=True,
        text=True,
        timeout=180,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


async def test_every_stream_is_bounded() -> None:
    bus = Bus()
    for policy in Overflow:
        mailbox = bus.subscribe(TextDelta, capacity=8, overflow=policy, key=id)
        for n in range(100):
            mailbox.put(TextDelta(text=str(n)))
        assert mailbox.metrics().depth <= 8


def test_every_event_belongs_to_a_turn() -> None:
    for kind in events.ALL:
        assert {"session", "turn", "revision"} <= set(kind.__struct_fields__)


def _session(chat: ScriptedChat, tools: list[Any] | None = None) -> tuple[Session, Conversation, list[Any]]:
    voice = ScriptedVoice()
    host = FakeHost((ChatModel, chat), (Synthesizer, voice), (Embedder, BagOfWords()), tools=tools or [])
    session = Session(host=host)
    seen: list[Any] = []
    session.bus.tap(seen.append)
    return session, Conversation(session, Planner(host, None), lambda: Voice(voice)), seen


def test_work_of_a_dead_revision_never_surfaces() -> None:
    async def talk() -> None:
        session, conversation, seen = _session(ScriptedChat())
        tasks = [asyncio.create_task(conversation.run()), asyncio.create_task(Loudspeaker(session).run())]
        session.turns.begin()
        session.publish(TurnSpeculated, text="one")
        await asyncio.sleep(1)
        session.publish(events.TurnRevised, revision=session.turns.revise())
        session.publish(TurnCommitted, text="one two")
        await asyncio.sleep(10)
        await conversation.close()
        await asyncio.gather(*tasks)
        spoken = [e for e in seen if isinstance(e, TextDelta | AudioOut | Drawing | events.Spoken)]
        assert spoken and {e.revision for e in spoken} == {1}

    run_virtual(talk())


def test_only_pure_tools_run_before_the_turn_is_committed() -> None:
    ran: list[str] = []

    async def talk() -> None:
        def made(effect: Effect) -> Any:
            async def act() -> str:
                """Do the one thing this tool is for."""
                ran.append(effect.value)
                return "done"

            return tool(
                act,
                name=f"{effect.value}_act",
                effect=effect,
                examples=(f"do the {effect.value} thing now", f"now do the {effect.value} thing"),
            )

        for effect in (Effect.PURE, Effect.IDEMPOTENT, Effect.MUTATING):
            session, _, _ = _session(ScriptedChat(), [made(effect)])
            planner = Planner(session.host, None)
            request = Request(turn=1, revision=0, text=f"do the {effect.value} thing now")
            session.turns.begin()
            answer = asyncio.create_task(_collect(planner, session, request))
            await asyncio.sleep(5)
            assert (effect.value in ran) is (effect is Effect.PURE), "before the commit"
            request.committed.set()
            await answer
            assert ran.count(effect.value) == 1, "after the commit, once"

    run_virtual(talk())


async def _collect(planner: Planner, session: Session, request: Request) -> str:
    return "".join([say.text async for say in planner.answer(session, request)])


def test_what_the_assistant_said_is_what_was_played() -> None:
    async def talk() -> None:
        session, conversation, _ = _session(ScriptedChat(reply=lambda _: "One two three four five six seven."))
        speaker = Loudspeaker(session)
        tasks = [asyncio.create_task(conversation.run()), asyncio.create_task(speaker.run())]
        session.turns.begin()
        session.publish(TurnCommitted, text="count")
        await asyncio.sleep(1.6)
        session.publish(events.BargeIn, turn=1)
        await asyncio.sleep(1)
        exchange = session.turns.exchange(1)
        played_words = int(speaker.heard[1] / ScriptedVoice.rate / 0.3 + 0.5)
        said = ["One", "two", "three", "four", "five", "six", "seven."]
        assert exchange and exchange.heard.split() == said[:played_words]
        await conversation.close()
        await asyncio.gather(*tasks)

    run_virtual(talk())


def test_a_loop_stall_over_fifty_milliseconds_is_reported_with_its_task() -> None:
    reports: list[Any] = []

    async def stall() -> None:
        watchdog = LoopWatchdog(on_stall=reports.append)
        watchdog.start()
        async with asyncio.timeout(PATIENCE_S):
            # on a starved machine the watchdog itself may be late, and then it rightly says nothing
            while not any("the culprit" in str(report) for report in reports):
                await asyncio.create_task(_block(), name="the culprit")
                await asyncio.sleep(0.05)
        watchdog.stop()

    asyncio.run(stall())
    assert any("the culprit" in str(report) for report in reports) and all(report.seconds > 0.05 for report in reports)


async def _block() -> None:
    done = time.monotonic() + 0.2
    while time.monotonic() < done:
        pass


def test_virtual_time_starts_no_thread_and_takes_no_time() -> None:
    threads = threading.active_count()
    began, worked = time.perf_counter(), time.process_time()
    run_virtual(asyncio.sleep(3600))
    assert time.perf_counter() - began < 60 and time.process_time() - worked < 1
    assert threading.active_count() == threads


def test_pickles_are_never_loaded_without_weights_only() -> None:
    unsafe = re.compile(r"torch\.load\((?![^)]*weights_only=True)|pickle\.loads?\(")
    offenders = [
        str(path)
        for folder in ("omni", "memory", "tools", "plugins")
        for path in (ROOT / folder).rglob("*.py")
        if "tests" not in path.parts and unsafe.search(path.read_text())
    ]
    assert not offenders


def test_a_tool_context_knows_its_turn() -> None:
    assert {"session", "turn", "revision", "request"} <= set(ToolContext.__dataclass_fields__)


def test_heavy_libraries_are_not_imported_by_the_help() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "omni.cli.main", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in done.stderr.splitlines()}
    assert done.returncode == 0
    assert not imported & {"numpy", "torch", "starlette", "lancedb", "onnxruntime", "pydantic"}
    assert not any(name.startswith("omni_") for name in imported)


@pytest.mark.parametrize("module", ["pickle", "marshal"])
def test_nothing_that_executes_is_read_from_the_wire(module: str) -> None:
    for folder in ("omni/wire", "omni/server"):
        for path in (ROOT / folder).rglob("*.py"):
            assert f"import {module}" not in path.read_text(), path
