"""A plugin that fails, in whatever way, is contained: the others go on and the person is told."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import asynccontextmanager
from functools import partial

import pytest

from omni.bus import Overflow
from omni.events import Custom, Notice, PluginChanged, SessionClosed, TextDelta
from omni.host import supervisor
from omni.host.contract.writing import write_plugin
from omni.host.deadlines import abandoned, stop_task
from omni.host.host import Host, Limits
from omni.host.supervisor import RestartPolicy
from omni.session import Session
from omni.testing import until

#: Answers each TextDelta with a Custom event: the healthy neighbour, standing for the conversation.
ECHO = """
from omni.events import Custom, TextDelta
from omni.host.hookspecs import StageOffer, hookimpl

class Echo:
    async def run(self, session):
        async for event in session.bus.subscribe(TextDelta, capacity=8):
            session.publish(Custom, topic="echo.said", payload={"text": event.text})

class Plugin:
    @hookimpl
    def omni_stages(self):
        return [StageOffer("echo", Echo)]

plugin = Plugin()
"""

STAGE = '[[stages]]\nname = "%s"\nreads = ["TextDelta"]\n'


def stage_plugin(name: str, run: str) -> str:
    """A plugin whose one stage has this body (indented by eight)."""
    return f"""
import asyncio
from omni.events import TextDelta
from omni.host.hookspecs import StageOffer, hookimpl

class Stage:
    async def run(self, session):
        {run}

class Plugin:
    @hookimpl
    def omni_stages(self):
        return [StageOffer("{name}", Stage)]

plugin = Plugin()
"""


@asynccontextmanager
async def running(tmp_path, *plugins, limits=None, restarts=None):
    """A started host with only these plugins, from source."""
    ids = [plugin.name.removeprefix("omni_") for plugin in plugins]
    host = Host(None, None, tmp_path / "data", only=ids, sources=plugins, limits=limits, restarts=restarts)
    try:
        await host.start()
        yield host
    finally:
        await host.stop()
        for plugin in plugins:
            if str(plugin.parent) in sys.path:
                sys.path.remove(str(plugin.parent))


@asynccontextmanager
async def session_of(host):
    """A session whose stages run."""
    session = Session(host=host)
    stages = asyncio.create_task(host.run_stages(session))
    for _ in range(6):  # until the stages have taken their first step
        await asyncio.sleep(0)
    try:
        yield session
    finally:
        session.publish(SessionClosed)
        await asyncio.wait_for(stages, 5)


async def echoes(session, text="hello", seconds=2.0):
    """Whether the healthy plugin still answers."""
    mailbox = session.bus.subscribe(Custom, capacity=64, overflow=Overflow.LATEST)
    await asyncio.wait_for(session.send(TextDelta, text=text), seconds)
    async with asyncio.timeout(seconds):
        async for event in mailbox:
            if event.topic == "echo.said" and event.payload["text"] == text:
                return True


def state(host, plugin):
    return next((record.state, record.reason) for record in host.plugins() if record.id == plugin)


async def test_a_plugin_that_raises_on_import_leaves_the_others_running(tmp_path):
    bad = write_plugin(tmp_path, "cont_import", "import json\n1 / 0\n")
    good = write_plugin(tmp_path, "cont_echo_a", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good) as host, session_of(host) as session:
        assert state(host, "cont_import")[0] == "quarantined"
        assert "ZeroDivisionError" in state(host, "cont_import")[1]
        assert await echoes(session)
    assert "omni_cont_import.plugin" not in sys.modules  # rolled back: a mended plugin can be tried again


async def test_a_plugin_that_exits_on_import_leaves_the_others_running(tmp_path):
    bad = write_plugin(tmp_path, "cont_exit", "import sys\nsys.exit(3)\n")
    good = write_plugin(tmp_path, "cont_echo_b", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good) as host, session_of(host) as session:
        assert state(host, "cont_exit")[0] == "quarantined"
        assert await echoes(session)


@pytest.mark.parametrize("how", ["raise RuntimeError('no')", "return 7", "return [object()]", "raise SystemExit(1)"])
async def test_a_plugin_that_fails_on_registration_leaves_the_others_running(tmp_path, how):
    name = f"cont_register_{abs(hash(how)) % 10_000}"
    body = f"""
    from omni.host.hookspecs import hookimpl
    class Plugin:
        @hookimpl
        def omni_tools(self):
            {how}
    plugin = Plugin()
    """
    bad = write_plugin(tmp_path, name, body)
    good = write_plugin(tmp_path, f"{name}_echo", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good) as host, session_of(host) as session:
        assert state(host, name)[0] == "quarantined"
        assert host.tools() == []
        assert await echoes(session)


async def test_a_plugin_that_hangs_on_import_is_left_behind_after_its_deadline(tmp_path):
    bad = write_plugin(tmp_path, "cont_hang", "while True:\n    pass\n")
    good = write_plugin(tmp_path, "cont_echo_c", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good, limits=Limits(load_s=0.5)) as host, session_of(host) as session:
        assert state(host, "cont_hang")[0] == "quarantined"
        assert "0.5 s" in state(host, "cont_hang")[1]
        assert await echoes(session)
        for thread in threading.enumerate():
            if thread.name == "load-cont_hang":
                await asyncio.to_thread(thread.join, 5)
                assert not thread.is_alive(), "a Python loop in an abandoned thread is interrupted"


async def test_a_plugin_that_hangs_on_registration_is_left_behind_after_its_deadline(tmp_path):
    body = """
    import threading
    from omni.host.hookspecs import hookimpl
    class Plugin:
        @hookimpl
        def omni_tools(self):
            threading.Event().wait(20)
            return []
    plugin = Plugin()
    """
    bad = write_plugin(tmp_path, "cont_hang_register", body)
    good = write_plugin(tmp_path, "cont_echo_d", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good, limits=Limits(load_s=0.5)) as host, session_of(host) as session:
        assert state(host, "cont_hang_register")[0] == "quarantined"
        assert await echoes(session)


QUICK = RestartPolicy(limit=3, backoff_s=0.01, stuck_s=0.1, look_s=0.03)


async def test_a_stage_that_raises_is_restarted_and_then_quarantined(tmp_path):
    bad = write_plugin(tmp_path, "cont_stage", stage_plugin("bad", "raise ValueError('broken')"), STAGE % "bad")
    good = write_plugin(tmp_path, "cont_echo_e", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good, restarts=QUICK) as host:
        session = Session(host=host)
        changes = session.bus.subscribe(PluginChanged, Notice, capacity=64)
        stages = asyncio.create_task(host.run_stages(session))
        seen = []
        async with asyncio.timeout(5):
            async for event in changes:
                seen.append(event)
                if isinstance(event, Notice) and "was stopped" in event.text:
                    break
        states = [event.state for event in seen if isinstance(event, PluginChanged)]
        assert states[0] == "degraded" and states[-1] == "quarantined"
        assert "ValueError: broken" in seen[-1].text
        assert next(r for r in host.plugins() if r.id == "cont_stage").restarts == 2
        assert await echoes(session)
        session.publish(SessionClosed)
        await asyncio.wait_for(stages, 5)


async def test_a_stage_that_stops_reading_does_not_hold_up_the_session(tmp_path):
    hang = "session.bus.subscribe(TextDelta, capacity=2); await asyncio.Event().wait()"
    bad = write_plugin(tmp_path, "cont_stuck", stage_plugin("bad", hang), STAGE % "bad")
    good = write_plugin(tmp_path, "cont_echo_f", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good, restarts=QUICK) as host, session_of(host) as session:
        for number in range(20):  # the third would wait for ever
            assert await echoes(session, f"text {number}", 5.0)
        assert state(host, "cont_stuck")[0] in ("degraded", "quarantined")
        assert "has not read its mailbox" in state(host, "cont_stuck")[1]


async def test_a_stage_that_ignores_cancellation_is_abandoned(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, "stop_task", partial(stop_task, grace_s=0.05))
    stubborn = """
        while not session.settings.get("over"):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                pass
    """.strip()
    bad = write_plugin(tmp_path, "cont_stubborn", stage_plugin("bad", stubborn), STAGE % "bad")
    async with running(tmp_path, bad) as host:
        session = Session(host=host)
        stages = asyncio.create_task(host.run_stages(session))
        await asyncio.sleep(0.05)
        before = set(abandoned)
        session.publish(SessionClosed)
        await asyncio.wait_for(stages, 5)
        (left,) = abandoned - before
        assert not left.done()
        session.settings["over"] = True
        left.cancel()
        await asyncio.wait_for(left, 5)
        assert left not in abandoned


async def test_a_stage_that_exits_the_program_is_contained(tmp_path):
    bad = write_plugin(tmp_path, "cont_stage_exit", stage_plugin("bad", "raise SystemExit(9)"), STAGE % "bad")
    good = write_plugin(tmp_path, "cont_echo_g", ECHO, STAGE % "echo")
    async with running(tmp_path, bad, good, restarts=QUICK) as host, session_of(host) as session:
        assert await echoes(session)


async def test_a_failed_stage_leaves_no_mailbox_behind(tmp_path):
    leak = "session.bus.subscribe(TextDelta, capacity=1); raise ValueError('gone')"
    bad = write_plugin(tmp_path, "cont_mailbox", stage_plugin("bad", leak), STAGE % "bad")
    async with running(tmp_path, bad, restarts=QUICK) as host, session_of(host) as session:
        await until(lambda: state(host, "cont_mailbox")[0] == "quarantined", seconds=5)
        assert [m.owner for m in session.bus.mailboxes() if m.owner] == []


async def test_a_stage_that_blocks_the_loop_is_ended_and_quarantined(tmp_path):
    block = "import time; time.sleep(30)"
    bad = write_plugin(tmp_path, "cont_block", stage_plugin("bad", block), STAGE % "bad")
    good = write_plugin(tmp_path, "cont_echo_h", ECHO, STAGE % "echo")
    limits = Limits(stall_s=0.1, interrupt_s=0.2)
    async with running(tmp_path, bad, good, limits=limits, restarts=QUICK) as host, session_of(host) as session:
        assert await echoes(session, seconds=10)
        await until(lambda: state(host, "cont_block")[0] == "quarantined", seconds=10)
        assert "block" in state(host, "cont_block")[1]


async def test_a_stage_in_an_endless_loop_is_ended(tmp_path):
    bad = write_plugin(
        tmp_path, "cont_spin", stage_plugin("bad", "x = 0\n        while True:\n            x += 1"), STAGE % "bad"
    )
    good = write_plugin(tmp_path, "cont_echo_i", ECHO, STAGE % "echo")
    limits = Limits(stall_s=0.1, interrupt_s=0.2)
    async with running(tmp_path, bad, good, limits=limits, restarts=QUICK) as host, session_of(host) as session:
        assert await echoes(session, seconds=10)


async def test_a_plugin_is_reloaded_without_ending_the_session(tmp_path):
    folder = write_plugin(tmp_path, "cont_reload", ECHO.replace("echo.said", "echo.old"), STAGE % "echo")
    async with running(tmp_path, folder) as host, session_of(host) as session:
        said = session.bus.subscribe(Custom, capacity=64, overflow=Overflow.LATEST)
        await session.send(TextDelta, text="one")
        assert (await asyncio.wait_for(said.get(), 5)).topic == "echo.old"
        write_plugin(tmp_path, "cont_reload", ECHO.replace("echo.said", "echo.renewed"), STAGE % "echo")
        assert (await host.reload("cont_reload")).state == "ready"
        for _ in range(6):
            await asyncio.sleep(0)
        await session.send(TextDelta, text="two")
        assert (await asyncio.wait_for(said.get(), 5)).topic == "echo.renewed"
        write_plugin(tmp_path, "cont_reload", "def half(", STAGE % "echo")
        assert (await host.reload("cont_reload")).state == "quarantined"
        write_plugin(tmp_path, "cont_reload", ECHO + "# whole again\n", STAGE % "echo")
        assert (await host.reload("cont_reload")).state == "ready"
        for _ in range(6):
            await asyncio.sleep(0)
        assert await echoes(session)


async def test_an_unloaded_plugin_is_gone(tmp_path):
    folder = write_plugin(tmp_path, "cont_unload", ECHO, STAGE % "echo")
    async with running(tmp_path, folder) as host, session_of(host) as session:
        await host.unload("cont_unload")
        assert host.stages() == []
        await until(lambda: not any(box.owner for box in session.bus.mailboxes()), seconds=5)
