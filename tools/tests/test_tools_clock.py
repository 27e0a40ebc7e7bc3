"""Time, days, timers and reminders: what words mean, and the bell that rings by voice."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from omni_tools import when
from omni_tools.bell import LONGEST_WAIT_S, Bell
from omni_tools.clock import ClockTools, read_day, read_reminder, read_timer, read_which
from omni_tools.timers import Timers

from omni.clock import Clock, run_virtual
from omni.errors import BadInput, DiskFull
from omni.events import Notice, SessionClosed, SpeechStarted, Spoken, TurnCommitted
from omni.planner.plan import ANNOUNCE
from omni.session import Session
from omni.testing import FakeHost
from omni.tools import ToolContext

NOW = dt.datetime(2026, 11, 21, 10, 40)


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("ten minutes", 600), ("half an hour", 1800), ("an hour and a half", 5400), ("two and a half hours", 9000),
        ("1h 20m", 4800), ("one hour and twenty minutes", 4800), ("a 5-minute timer", 300), ("90 secs", 90),
        ("three quarters of an hour", 2700), ("a couple of minutes", 120), ("a week", 604800),
    ],
)  # fmt: skip
def test_durations(said: str, seconds: float) -> None:
    found = when.duration(said)
    assert found is not None and found[0] == seconds


@pytest.mark.parametrize("said", ["", "soon", "the minutes of the meeting", "5 apples"])
def test_no_duration(said: str) -> None:
    assert when.duration(said) is None


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("how many days until Christmas", "2026-12-25"), ("the 3rd of March", "2027-03-03"),
        ("march third", "2027-03-03"),
        ("next friday", "2026-11-27"), ("easter", "2027-03-28"), ("2027-01-05", "2027-01-05"),
        ("tomorrow", "2026-11-22"),
        ("the day after tomorrow", "2026-11-23"), ("29 february", "2028-02-29"), ("New Year's Eve", "2026-12-31"),
        ("the end of the month", "2026-11-30"), ("the twenty first of june 2030", "2030-06-21"),
    ],
)  # fmt: skip
def test_days(said: str, day: str) -> None:
    found = when.day(said, NOW.date())
    assert found is not None and found[0].isoformat() == day


@pytest.mark.parametrize("said", ["31 february", "someday", "", "2027-13-40"])
def test_no_day(said: str) -> None:
    assert when.day(said, NOW.date()) is None


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("in twenty minutes", "2026-11-21T11:00"), ("tomorrow at nine in the morning", "2026-11-22T09:00"),
        ("at 7 pm", "2026-11-21T19:00"), ("at 7", "2026-11-21T19:00"), ("at noon", "2026-11-21T12:00"),
        ("on friday evening", "2026-11-27T19:00"), ("half past 8", "2026-11-21T20:30"),
        ("at 18:30", "2026-11-21T18:30"),
        ("tonight at 8", "2026-11-21T20:00"), ("on the 3rd of march at 10 am", "2027-03-03T10:00"),
        ("at 9 am", "2026-11-22T09:00"), ("two hours from now", "2026-11-21T12:40"),
    ],
)  # fmt: skip
def test_moments(said: str, moment: str) -> None:
    found = when.moment(said, NOW)
    assert found is not None and found[0].isoformat(timespec="minutes") == moment


@pytest.mark.parametrize("said", ["buy 2 eggs", "every 5", "", "the 2 of us"])
def test_no_moment(said: str) -> None:
    assert when.moment(said, NOW) is None


def test_requests_are_read_without_a_model() -> None:
    assert read_timer("give me a twelve minute timer for the pasta") == {"duration": "12 minute", "label": "pasta"}
    assert read_timer("set a tea timer for 4 minutes") == {"duration": "4 minutes", "label": "tea"}
    assert read_timer("set a timer") is None
    assert read_timer("remind me in five minutes") is None
    reminder = read_reminder("remind me in twenty minutes to call Anna")
    assert reminder == {"text": "call Anna", "at": "in twenty minutes"}
    assert read_reminder("remind me to call Anna") is None
    assert read_which("cancel the tea timer") == {"which": "the tea timer"}
    assert read_which("which is better, tea or coffee") is None
    assert read_day("how long until the first of May") == {"date": "the 1 of may"}


# --- the tools ----------------------------------------------------------------------------------------


def context(session: Session | None, request: str = "") -> ToolContext:
    return ToolContext(session, 1, 0, request)


def session_at(unix: float) -> Session:
    return Session(FakeHost(), clock=Clock(wall_start=unix))  # type: ignore[arg-type]


async def test_timers_are_set_listed_and_cancelled(tmp_path: Path) -> None:
    tools = ClockTools(Timers(tmp_path / "timers.json"))
    session = session_at(1_800_000_000.0)
    said = await tools.set_timer("10 minutes", context(session), "pasta")
    assert said.say == "Pasta timer set for 10 minutes."
    await tools.set_timer("1 hour", context(session))
    listed = await tools.list_timers(context(session, "how long is left on my timers"))
    assert listed.say.startswith("The pasta timer has 10 minutes left.")
    which = await tools.cancel_timer(context(session, "cancel the timer"), "the timer")
    assert which.say == "Which one do you mean: pasta or 1 hour?"
    assert (
        await tools.cancel_timer(context(session, "stop the pasta timer"), "the pasta timer")
    ).say == "Cancelled: pasta."
    assert (await tools.cancel_timer(context(session, "stop the soup timer"), "the soup timer")).value[
        "cancelled"
    ] == []
    assert len(tools.timers.waiting()) == 1
    await tools.cancel_timer(context(session, "cancel all timers"), "all timers")
    assert (await tools.list_timers(context(session))).say.startswith("Nothing is running")


@pytest.mark.parametrize("duration", ["soon", "0 seconds", "500 weeks", ""])
async def test_a_timer_needs_a_sensible_duration(tmp_path: Path, duration: str) -> None:
    tools = ClockTools(Timers(tmp_path / "timers.json"))
    with pytest.raises(BadInput):
        await tools.set_timer(duration, context(None))
    assert not (tmp_path / "timers.json").exists()


async def test_days_until_counts_from_today() -> None:
    tools = ClockTools(Timers(Path("/nonexistent/timers.json")))
    session = session_at(dt.datetime(2026, 12, 24, 12).timestamp())
    assert (await tools.days_until("christmas", context(session))).say == "It's 1 day until Friday, 25 December 2026."
    with pytest.raises(BadInput):
        await tools.days_until("the day the music died", context(session))


# --- kept on disk ---------------------------------------------------------------------------------------


def test_timers_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "timers.json"
    kept = Timers(path).add("reminder", 5.0, "call Anna")
    assert Timers(path).waiting() == [kept]


def test_a_damaged_file_is_set_aside_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "timers.json"
    path.write_text("[{broken")
    timers = Timers(path)
    assert timers.waiting() == []
    timers.add("timer", 5.0)
    assert path.with_suffix(".damaged").read_text() == "[{broken"
    assert len(json.loads(path.read_text())) == 1


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(tmp_path / "timers.json")
    first = timers.add("timer", 5.0, "tea")

    def full(_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DiskFull):
        timers.add("timer", 6.0, "eggs")
    assert timers.waiting() == [first] == Timers(tmp_path / "timers.json").waiting()
    assert [p.name for p in tmp_path.iterdir()] == ["timers.json"]


# --- the bell ----------------------------------------------------------------------------------------------


class Hall:
    """Sessions with bells, on virtual time, and what was announced in them."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers
        self.tasks: list[asyncio.Task[None]] = []

    def open(self) -> tuple[Session, list[tuple[float, str]]]:
        session = Session(FakeHost())  # type: ignore[arg-type]
        said: list[tuple[float, str]] = []

        def hear(event: Any) -> None:
            if isinstance(event, TurnCommitted) and event.source == "task":
                said.append((round(session.clock.now(), 1), event.text.removeprefix(ANNOUNCE)))

        session.bus.tap(hear)
        self.tasks.append(asyncio.create_task(Bell(self.timers).run(session)))
        return session, said

    async def close(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_a_timer_rings_by_voice_when_it_is_due(tmp_path: Path) -> None:
    async def scenario() -> None:
        hall = Hall(Timers(tmp_path / "t.json"))
        session, said = hall.open()
        notices: list[Any] = []
        session.bus.tap(lambda event: notices.append(event) if isinstance(event, Notice) else None)
        await asyncio.sleep(1)
        await ClockTools(hall.timers).set_timer("10 minutes", context(session), "tea")
        await asyncio.sleep(590)
        assert said == []
        await asyncio.sleep(20)
        assert said == [(601.0, "Your tea timer is done.")]
        assert [n.text for n in notices] == ["Your tea timer is done."]
        assert hall.timers.waiting() == []
        await hall.close()

    run_virtual(scenario())


def test_the_bell_waits_for_a_pause_but_not_for_ever(tmp_path: Path) -> None:
    async def scenario() -> None:
        hall = Hall(Timers(tmp_path / "t.json"))
        session, said = hall.open()
        await asyncio.sleep(0)
        tools = ClockTools(hall.timers)
        await tools.set_timer("10 seconds", context(session))
        await asyncio.sleep(9)
        session.publish(SpeechStarted)
        await asyncio.sleep(6)
        assert said == []
        session.publish(Spoken, text="all of it", final=True)
        await asyncio.sleep(1)
        assert [at for at, _ in said] == [15.0]
        await tools.set_timer("10 seconds", context(session))
        session.publish(SpeechStarted)
        await asyncio.sleep(10 + LONGEST_WAIT_S + 1)
        assert len(said) == 2
        await hall.close()

    run_virtual(scenario())


def test_a_timer_rings_once_in_the_session_that_set_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        hall = Hall(Timers(tmp_path / "t.json"))
        (_, said_one), (two, said_two) = hall.open(), hall.open()
        await asyncio.sleep(1)
        await ClockTools(hall.timers).set_timer("5 seconds", context(two))
        await asyncio.sleep(10)
        assert said_one == [] and len(said_two) == 1
        await ClockTools(hall.timers).set_timer("5 seconds", context(two))
        two.publish(SessionClosed)
        await asyncio.sleep(10)
        assert len(said_one) == 1, "its session is closed, so another one announces it"
        await hall.close()

    run_virtual(scenario())


def test_what_was_due_while_omni_was_off_is_told_late(tmp_path: Path) -> None:
    async def scenario() -> None:
        import time

        path = tmp_path / "t.json"
        Timers(path).add("reminder", time.time() - 7200, "call Anna", session="gone")
        hall = Hall(Timers(path))
        _, said = hall.open()
        await asyncio.sleep(1)
        assert said[0][1].startswith("Here is your reminder: call Anna. That was due 2 hours")
        await hall.close()

    run_virtual(scenario())


def test_a_deed_said_before_the_order_is_what_to_be_reminded_of() -> None:
    read = read_reminder("in half an hour I need to feed the dog, give me a nudge then please")
    assert read == {"text": "feed the dog", "at": "in half an hour"}
    read = read_reminder("I have to be at the station at half past nine tomorrow, make sure I'm reminded at nine")
    assert read is not None and read["at"] == "tomorrow at nine" and read["text"].startswith("be at the station")
    assert read_reminder("I have to go, remind me") is None
    slip = read_reminder("remnid me to sweep at 5 pm")
    assert slip is not None and slip["text"] == "sweep"


@pytest.mark.parametrize(
    ("words", "which"),
    [
        ("please switch that timer off now", "that timer"),
        ("I don't need the reminder about the bins any more", "the reminder about the bins"),
        ("cancel the bread one", "the bread one"),
        ("no, I don't need a timer", None),
        ("delete the file about timing", None),
    ],
)
def test_what_to_cancel_is_named_in_the_words(words: str, which: str | None) -> None:
    assert read_which(words) == ({"which": which} if which else None)
