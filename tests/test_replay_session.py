"""A session is recorded without its raw media, read back, replayed through another model, and compared."""

import asyncio
import errno
import json

import pytest

from omni.capabilities import ChatModel
from omni.cli.replay import feed, inputs, sources
from omni.clock import run_virtual
from omni.config import load_config
from omni.conversation import Conversation
from omni.errors import BadInput
from omni.events import AudioIn, AudioOut, Notice, StageTiming, ToolCalled, TurnCommitted, VideoFrame
from omni.planner import Planner
from omni.replay import Recorder, diff, read_recording, summarise
from omni.session import Session
from omni.testing import FakeHost, ScriptedChat


def config(tmp_path, **flags):
    return load_config(flags, environ={}, user=tmp_path / "none.toml")


async def conversation(chat, tmp_path):
    session = Session(host=FakeHost((ChatModel, chat)))
    made = Conversation(session, Planner(session.host, config(tmp_path)), lambda: None)
    return made, asyncio.create_task(made.run())


async def talk(tmp_path, folder, chat, questions):
    """A typed conversation, recorded into `folder`."""
    made, task = await conversation(chat, tmp_path)
    recorder = Recorder(made.session, folder, config(tmp_path))
    await asyncio.sleep(0.1)
    for question in questions:
        await made.say(question)
        await asyncio.sleep(0.5)
        await made.idle()
    await made.close()
    await task
    recorder.close()
    recorder.close()


async def again(tmp_path, folder, chat):
    made, task = await conversation(chat, tmp_path)
    seen = []
    made.session.bus.tap(seen.append)
    await feed(read_recording(folder), made)
    await made.close()
    await task
    return summarise(seen)


def test_the_same_models_give_the_same_session(tmp_path):
    questions = ["tell me about the sea", "and about the sky"]
    run_virtual(talk(tmp_path, tmp_path / "rec", ScriptedChat(), questions))
    before = summarise(read_recording(tmp_path / "rec").events)
    assert [turn.asked for turn in before] == questions and all(turn.answer for turn in before)
    after = run_virtual(again(tmp_path, tmp_path / "rec", ScriptedChat()))
    assert diff(before, after) == []


def test_another_model_shows_in_the_diff(tmp_path):
    run_virtual(talk(tmp_path, tmp_path / "rec", ScriptedChat(), ["tell me about the sea"]))
    before = summarise(read_recording(tmp_path / "rec").events)
    other = ScriptedChat(reply=lambda request: "Something else entirely.", first_s=2.0)
    after = run_virtual(again(tmp_path, tmp_path / "rec", other))
    kinds = {change.kind for change in diff(before, after)}
    assert "answer" in kinds and "transcript" not in kinds
    [change] = [change for change in diff(before, after) if change.kind == "answer"]
    assert "sea" in change.before and "Something else" in change.after


def committed(turn, text, at=1.0):
    return TurnCommitted(turn=turn, text=text, at=at, speech_end=at - 0.2)


def test_tool_calls_and_latency_are_compared():
    def run(call, expression, sound_at, asr_s):
        return [
            committed(1, "a"),
            ToolCalled(turn=1, call=call, tool="calculate", arguments={"e": expression}),
            AudioOut(turn=1, pcm=b"", rate=1, offset=0, clause=0, at=sound_at),
            StageTiming(turn=1, stage="asr", seconds=asr_s),
        ]

    before, after = run("x", "1+1", 1.3, 0.1), run("y", "1+2", 2.5, 0.11)
    changes = diff(summarise(before), summarise(after))
    assert [change.kind for change in changes] == ["tools", "latency"]
    assert "1+1" in changes[0].before and "first sound" in changes[1].after
    assert diff(summarise(after), summarise(before))[0].kind == "tools", "getting faster is no difference"
    assert len(diff(summarise(after), summarise(before))) == 1


def test_work_on_a_guess_belongs_to_its_turn_and_dropped_turns_do_not_count():
    early, dropped = (StageTiming(turn=turn, stage="asr", seconds=0.2) for turn in (1, 2))
    [turn] = summarise([early, committed(1, "a"), dropped])
    assert turn.timings == {"asr": 0.2}


def test_a_missing_turn_is_a_difference():
    changes = diff(summarise([committed(1, "a"), committed(2, "b")]), summarise([committed(1, "a")]))
    assert [(change.kind, change.before) for change in changes] == [("transcript", "b")]


async def record(tmp_path, events, **flags):
    session = Session(host=FakeHost())
    recorder = Recorder(session, tmp_path / "rec", config(tmp_path, **flags))
    for event in events:
        session.bus.publish(event)
    recorder.close()
    return read_recording(tmp_path / "rec")


MEDIA = [
    AudioIn(pcm=b"secret voice" * 50, seq=1),
    AudioOut(turn=1, pcm=b"omni's voice" * 50, rate=22050, offset=0, clause=0, text="Hello"),
    VideoFrame(source="camera", image=b"secret face" * 50, width=1, height=1),
    committed(1, "hello"),
]


async def test_raw_media_is_left_out_unless_asked_for(tmp_path):
    recording = await record(tmp_path, MEDIA)
    data = (tmp_path / "rec/events.bin").read_bytes()
    assert b"secret" not in data and b"omni's voice" not in data
    assert [type(event).__name__ for event in recording.events] == ["AudioOut", "VideoFrame", "TurnCommitted"]
    assert recording.events[0].text == "Hello" and not recording.media
    assert [type(event).__name__ for event, _ in inputs(recording)] == ["TurnCommitted"]


async def test_raw_media_is_kept_when_asked_for(tmp_path):
    recording = await record(tmp_path, MEDIA, **{"record.media": True})
    assert recording.events == MEDIA and recording.media
    assert [type(event).__name__ for event, _ in inputs(recording)] == ["AudioIn", "VideoFrame"]


async def test_no_secret_is_in_the_header(tmp_path):
    flags = {"chat.api_key": "sk-very-secret", "plugins.x.token": "hidden-too", "chat.max_tokens": 99}
    recording = await record(tmp_path, [], **flags)
    text = (tmp_path / "rec/header.json").read_text()
    assert "sk-very" not in text and "hidden-too" not in text
    assert recording.header["config"]["chat"]["max_tokens"] == 99 and recording.header["omni"]


async def test_a_recording_cut_short_is_read_up_to_there(tmp_path):
    await record(tmp_path, [committed(1, "a"), committed(2, "b")])
    path = tmp_path / "rec/events.bin"
    path.write_bytes(path.read_bytes()[:-3])
    recording = read_recording(tmp_path / "rec")
    assert recording.truncated and [event.text for event in recording.events] == ["a"]
    assert read_recording(tmp_path).events == recording.events, "the folder above one recording will do"


@pytest.mark.parametrize("damage", [b"\xff" * 40, b"\x03\x00\x00\x00abc", b"\x02\x00\x00\x00\x81\xa1"])
async def test_a_damaged_recording_says_where(tmp_path, damage):
    await record(tmp_path, [])
    (tmp_path / "rec/events.bin").write_bytes(damage)
    with pytest.raises(BadInput, match="damaged at byte 0"):
        read_recording(tmp_path / "rec")


async def test_what_is_no_recording_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not a recorded session"):
        read_recording(tmp_path)
    await record(tmp_path, [])
    header = tmp_path / "rec/header.json"
    header.write_text(json.dumps({**json.loads(header.read_text()), "format": 99}))
    with pytest.raises(BadInput, match="format 99"):
        read_recording(tmp_path / "rec")


async def test_a_full_disk_ends_the_recording_and_not_the_session(tmp_path):
    session = Session(host=FakeHost())
    box = session.bus.subscribe(Notice)
    recorder = Recorder(session, tmp_path / "rec", config(tmp_path))

    class Full:
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    recorder._file.close()
    recorder._file = Full()
    session.bus.publish(committed(1, "a"))
    session.bus.publish(committed(2, "b"))
    notices = box.drain()
    assert len(notices) == 1 and "No space left" in notices[0].text


def test_only_a_version_that_is_here_or_a_folder_can_be_replayed_with(tmp_path):
    for choice in ("speech", "speech=", f"speech={tmp_path}"):
        with pytest.raises(BadInput):
            sources([choice])
