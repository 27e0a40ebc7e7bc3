"""The recorder: a session's turns become moments, unless it is off the record."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest
from omni_memory.recorder import Recorder

from omni.capabilities import Memory, Scene, VisionModel
from omni.clock import run_virtual
from omni.errors import DiskFull
from omni.events import (
    Attachment,
    Drawing,
    Notice,
    SessionClosed,
    SpeechStarted,
    Spoken,
    ToolReturned,
    TurnCommitted,
    VideoFrame,
)
from omni.session import Session
from omni.testing import FakeHost


class FakeMemory:
    def __init__(self):
        self.moments = []
        self.full = False

    async def remember(self, moments):
        await asyncio.sleep(0.002)
        if self.full:
            raise DiskFull("There is no room left to remember anything.", "Free some space.")
        self.moments += moments
        return ["x"] * len(moments)


class FakeVision:
    def __init__(self):
        self.looked = 0

    async def look(self, image, *, detail="full"):
        self.looked += 1
        return Scene(64, 48, (), f"scene {self.looked}", "digest")


def play(script, *, settings=None, **session_settings):
    """Run `script(session, memory)` beside the recorder; returns (memory, vision, notices)."""
    memory, vision, notices = FakeMemory(), FakeVision(), []

    async def main():
        session = Session(host=FakeHost((Memory, memory), (VisionModel, vision)), settings=session_settings)
        session.bus.tap(lambda e: notices.append(e.text) if isinstance(e, Notice) else None)
        task = asyncio.create_task(Recorder(session.host, settings or {}).run(session))
        await asyncio.sleep(0.01)
        await script(session, memory)
        await asyncio.sleep(1.0)
        session.publish(SessionClosed)
        session.bus.close()
        await asyncio.wait_for(task, 5.0)
        return session

    session = run_virtual(main())
    assert session.bus.mailboxes() == []
    return memory, vision, notices


async def exchange(session, memory=None):
    session.turns.begin()
    session.publish(SpeechStarted)
    await asyncio.sleep(2.0)
    shown = Attachment(kind="image", ref="img-1", name="note.png")
    session.publish(TurnCommitted, text="what is this", speech_end=session.clock.now() - 0.5, attachments=(shown,))
    session.publish(ToolReturned, call="1", tool="calculate", result={"value": 4}, seconds=0.1)
    session.publish(ToolReturned, call="2", tool="recall_memory", result=["an old secret"])
    session.publish(ToolReturned, call="3", tool="web", error="timed out")
    session.publish(Drawing, operations=({"op": "text", "text": "x = 2"},))
    session.publish(Spoken, text="It is")
    await asyncio.sleep(1.0)
    session.publish(Spoken, text="It is a note", final=True, cut=True)


def test_an_exchange_becomes_moments():
    memory, _, notices = play(exchange)
    assert [(m.source, m.text) for m in memory.moments] == [
        ("speech", "what is this"),
        ("tool", 'calculate: {"value": 4}'),
        ("speech", "It is a note"),
        ("drawing", "x = 2"),
    ]
    asked, _, answer, _ = memory.moments
    assert asked.data["role"] == "user"
    assert asked.media == ("img-1",)
    assert asked.end - asked.start == pytest.approx(1.5)
    assert answer.data == {"role": "assistant", "cut": True}
    assert answer.end - answer.start == pytest.approx(1.0)
    assert {m.turn for m in memory.moments} == {1}
    assert notices == []


@pytest.mark.parametrize(
    "how", [{"off_the_record": True}, {"settings": {"record": False}}], ids=["this session", "all sessions"]
)
def test_off_the_record_keeps_nothing(how):
    memory, vision, _ = play(exchange, **how)
    assert memory.moments == []
    assert vision.looked == 0


def test_going_off_the_record_works_in_the_middle():
    async def script(session, memory):
        await exchange(session)
        await asyncio.sleep(1.0)
        session.settings["off_the_record"] = True
        await exchange(session)

    memory, _, _ = play(script)
    assert {m.turn for m in memory.moments} == {1}


def test_a_full_disk_is_said_once_and_taken_back_and_the_conversation_goes_on():
    async def script(session, memory):
        memory.full = True
        await exchange(session)
        await asyncio.sleep(1.0)
        memory.full = False
        await exchange(session)

    memory, _, notices = play(script)
    assert notices == ["There is no room left to remember anything. Free some space.", ""]
    assert {m.turn for m in memory.moments} == {2}


def jpeg(level):
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((48, 64, 3), level, np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_scenes_are_seldom_changed_and_quiet():
    async def script(session, memory):
        def show(level, source="camera"):
            session.publish(VideoFrame, source=source, image=jpeg(level), width=64, height=48)

        await asyncio.sleep(5.0)
        show(10)  # the first
        await asyncio.sleep(1.0)
        show(200)  # too soon
        await asyncio.sleep(70.0)
        show(12)  # the same as before
        await asyncio.sleep(70.0)
        session.publish(SpeechStarted)
        await asyncio.sleep(1.0)
        show(200)  # somebody speaks
        await asyncio.sleep(70.0)
        show(200)  # the second
        await asyncio.sleep(70.0)
        session.publish(VideoFrame, source="camera", image=b"no image", width=1, height=1)
        await asyncio.sleep(1.0)

    memory, vision, _ = play(script)
    assert [(m.source, m.text) for m in memory.moments] == [("camera", "scene 1"), ("camera", "scene 2")]
    assert vision.looked == 2


def test_no_scenes_when_they_are_turned_off():
    async def script(session, memory):
        await asyncio.sleep(5.0)
        session.publish(VideoFrame, source="screen", image=jpeg(10), width=64, height=48)

    assert play(script, settings={"scene_every_s": 0})[1].looked == 0
