"""The planner's tools, the commands, and the manifest they are declared in."""

from __future__ import annotations

import asyncio
import json
import tomllib
from datetime import datetime
from pathlib import Path

import omni_memory
import pytest
from omni_memory.commands import app
from omni_memory.memory import LanceMemory
from omni_memory.plugin import folder_of, plugin
from omni_memory.tools import tools, when
from typer.testing import CliRunner

from omni.capabilities import Memory, Moment
from omni.errors import BadInput, Refused
from omni.host.hookspecs import PluginContext
from omni.host.manifest import Manifest
from omni.session import Session
from omni.testing import FakeHost
from omni.tools import ToolContext, validate_arguments

MANIFEST = Manifest(**tomllib.loads((Path(omni_memory.__file__).parent / "plugin.toml").read_text()))


@pytest.fixture
async def memory(tmp_path):
    opened = LanceMemory(tmp_path / "memory")
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def call(memory):
    host = FakeHost((Memory, memory))
    offered = {t.name: t for t in tools(host, {})}

    async def run(name, arguments, session=None, turn=9, request=""):
        tool = offered[name]
        return await tool(validate_arguments(tool, arguments), ToolContext(session=session, turn=turn, request=request))

    run.offered = offered
    return run


def moment(text, at=1000.0, source="speech", role="user", session="s", turn=1):
    return Moment(source, text, at, at + 1.0, session=session, turn=turn, data={"role": role})


async def test_recall_gives_what_was_said_and_when(memory, call):
    await memory.remember(
        [moment("my dentist is Doctor Brown"), moment("web: Doctor Brown sells shoes", source="tool")]
    )
    result = await call("recall_memory", {"query": "dentist Brown"})
    assert result.value[0]["text"] == "my dentist is Doctor Brown"
    assert result.value[0]["from"] == "you"
    assert not result.trusted, "a tool's text is among it"
    assert (await call("recall_memory", {"query": "dentist"})).trusted
    assert (await call("recall_memory", {"query": "submarine"})).say.startswith("I don't remember")


async def test_recall_leaves_out_the_question_itself(memory, call):
    session = Session(host=None, id="s")
    await memory.remember([moment("what is my locker code", turn=9), moment("What is my locker code", turn=3)])
    result = await call("recall_memory", {"query": "locker code"}, session, request="what is my locker code")
    assert result.value == []


async def test_what_was_shown(memory, call):
    await memory.remember([
        moment("what does this invoice say", 1000.0),
        moment("invoice 4711 of Miller, 99.50", 990.0, "screen", ""),
    ])  # fmt: skip
    result = await call("what_was_shown", {"said": "invoice say"})
    assert [item["text"] for item in result.value] == ["invoice 4711 of Miller, 99.50"]
    assert not result.trusted
    assert (await call("what_was_shown", {"said": "submarine"})).value == []


async def test_remember_and_forget(memory, call):
    result = await call("remember_this", {"text": "the garage code is 7714"})
    assert result.say == "I'll remember that."
    assert (await call("recall_memory", {"query": "garage code"})).value[0]["text"] == "the garage code is 7714"
    assert (await call("forget_memory", {"about": "the garage code"})).value == {"forgotten": 1}
    assert (await call("recall_memory", {"query": "garage code"})).value == []
    assert (await call("forget_memory", {"about": "garage"})).value == {"forgotten": 0}


async def test_off_the_record_remembers_nothing(memory, call):
    session = Session(host=None, settings={"off_the_record": True})
    with pytest.raises(Refused, match="off the record"):
        await call("remember_this", {"text": "a secret"}, session)
    assert await memory.timeline() == []


async def test_forgetting_takes_only_what_holds_all_the_words(memory, call):
    await memory.remember([
        moment("Thomas likes tea", 1.0), moment("Thomas owes me money", 2.0), moment("money is short", 3.0),
    ])  # fmt: skip
    assert (await call("forget_memory", {"about": "Thomas and the submarine"})).value == {"forgotten": 0}
    assert (await call("forget_memory", {"about": "Thomas and money"})).value == {"forgotten": 1}
    assert (await call("forget_memory", {"about": "about Thomas"})).value == {"forgotten": 1}
    assert [m.text for m in await memory.timeline()] == ["money is short"]
    with pytest.raises(BadInput, match="not clear"):
        await call("forget_memory", {"about": "it"})
    with pytest.raises(BadInput, match="not clear"):
        await call("forget_memory", {})


async def test_forgetting_this_conversation_or_everything(memory, call):
    await memory.remember([moment("one", session="s"), moment("two", session="t")])
    assert (await call("forget_memory", {"conversation": True}, Session(host=None, id="s"))).value == {"forgotten": 1}
    assert (await call("forget_memory", {"everything": True})).value == {"forgotten": 1}
    assert await memory.timeline() == []


@pytest.mark.parametrize(
    ("tool", "request_", "arguments"),
    [
        ("remember_this", "remember that my car is on level three", {"text": "my car is on level three"}),
        ("remember_this", "Please make a note: buy milk", {"text": "buy milk"}),
        ("remember_this", "don't forget, the key is under the pot", {"text": "the key is under the pot"}),
        ("remember_this", "do you remember my car", None),
        ("forget_memory", "forget what I said about my salary", {"about": "my salary"}),
        ("forget_memory", "erase the last 10 minutes", {"minutes": 10.0}),
        ("forget_memory", "wipe the last 2 hours", {"minutes": 120.0}),
        ("forget_memory", "please forget this whole conversation", {"conversation": True}),
        ("forget_memory", "forget everything you know about me", None),
        ("remember_this", "remember when we all had long hair", None),
        ("remember_this", "my locker is number 118, please remember that", {"text": "my locker is number 118"}),
        ("remember_this", "note on the whiteboard that we are closed", None),
        ("recall_memory", "remember that Ann likes tea", None),
        ("recall_memory", "what does Ann like", {"query": "what does Ann like"}),
        ("forget_memory", "forget the last half hour", {"minutes": 30.0}),
        ("forget_memory", "erase the last twenty minutes please", {"minutes": 20.0}),
        ("forget_memory", "wipe your whole memory", {"everything": True}),
        ("forget_memory", "forget what you know about my whole memory loss", {"about": "my whole memory loss"}),
        ("forget_memory", "forget my address", {"about": "my address"}),
        ("forget_memory", "never mind, forget it", None),
        ("forget_memory", "I worry about my exam", None),
        ("forget_memory", "I'll never forget that day", None),
        ("remember_this", "don't forget to breathe", None),
        ("forget_memory", "my memory is failing", None),
        ("what_was_shown", "what was on my screen when I said that rent is late", {"said": "rent is late"}),
        ("what_was_shown", "what did you see while we talked about the roof?", {"said": "the roof"}),
        ("what_was_shown", "what was on my screen", None),
    ],
)
async def test_arguments_straight_from_the_words(call, tool, request_, arguments):
    assert call.offered[tool].extract(request_) == arguments


def test_times_as_people_say_them():
    present = datetime(2026, 3, 10, 12, 0).timestamp()
    assert when(datetime(2026, 3, 10, 9, 5).timestamp(), present) == "today 9:05"
    assert when(datetime(2026, 3, 9, 23, 5).timestamp(), present) == "yesterday 23:05"
    assert when(datetime(2025, 12, 3, 7, 0).timestamp(), present) == "3 December 2025 7:00"


def test_the_manifest_says_what_the_plugin_does(tmp_path):
    context = PluginContext(
        id="memory",
        config={k: v.default for k, v in MANIFEST.config.items()},
        data=tmp_path,
        models=None,
        host=FakeHost(),
    )
    offered = {t.name: t.effect.value for t in plugin.omni_tools(context)}
    assert offered == {t.name: t.effect for t in MANIFEST.tools}
    assert all(len(set(t.examples)) >= 6 for t in MANIFEST.tools)
    assert [s.name for s in plugin.omni_stages(context)] == [s.name for s in MANIFEST.stages]
    (offer,) = plugin.omni_capabilities(context)
    assert offer.capability is Memory
    assert folder_of(context) == tmp_path
    assert not any(tmp_path.iterdir()), "registration touches nothing"


def test_doctor_says_when_the_folder_is_too_new(tmp_path):
    context = PluginContext(id="memory", config={}, data=tmp_path, models=None, host=None)
    assert plugin.omni_doctor(context)[0].ok
    (tmp_path / "meta.json").write_text('{"format": "omni-memory", "schema": 99}')
    (check,) = plugin.omni_doctor(context)
    assert not check.ok
    assert "newer Omni" in check.detail


class TestCommands:
    @pytest.fixture
    def run(self, tmp_path):
        async def fill():
            memory = LanceMemory(tmp_path / "memory")
            await memory.open()
            await memory.remember([moment("the dentist is on Friday", 1000.0), moment("tea is out", 2000.0)])
            await memory.close()

        asyncio.run(fill())

        def invoke(*arguments, **more):
            return CliRunner().invoke(app, [*arguments, "--folder", str(tmp_path / "memory")], **more)

        return invoke

    def test_recall(self, run):
        assert "the dentist is on Friday" in run("recall", "dentist").output
        found = json.loads(run("recall", "dentist", "--json").output)
        assert found[0]["text"] == "the dentist is on Friday"
        assert run("recall", "submarine").output.strip() == "Nothing remembered fits."

    def test_timeline_and_stats(self, run):
        assert len(run("timeline").output.splitlines()) == 2
        assert json.loads(run("stats", "--json").output)["moments"] == 2

    def test_export(self, run, tmp_path):
        assert "2 moments" in run("export", str(tmp_path / "out.jsonl")).output
        assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 2
        assert len(run("export").output.splitlines()) == 2

    def test_forget_asks_or_is_told(self, run):
        refused = run("forget", "--about", "dentist")
        assert refused.exit_code == 2
        assert "--yes" in refused.output
        assert run("forget", "--yes").exit_code == 2
        assert json.loads(run("forget", "--about", "dentist", "--yes", "--json").output) == {"forgotten": 1}
        assert run("recall", "dentist").output.strip() == "Nothing remembered fits."

    def test_mistakes_are_sentences(self, run, tmp_path):
        wrong = run("recall", "x", "--after", "someday")
        assert wrong.exit_code == 2
        assert "is not a time" in wrong.output
        nowhere = CliRunner().invoke(app, ["stats", "--folder", str(tmp_path / "nowhere")])
        assert nowhere.exit_code == 2
        assert "no memory in" in nowhere.output
        assert not (tmp_path / "nowhere").exists()
