"""The small kernel parts: virtual time, turn numbering, clauses, and what was really heard."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni.clauses import ClauseSplitter, speakable
from omni.clock import Clock, run_virtual
from omni.events import WordSpan
from omni.playout import Playout
from omni.turns import HISTORY_LIMIT, Turns


def test_virtual_time_jumps_and_keeps_order() -> None:
    order = []

    async def story() -> float:
        clock = Clock()

        async def at(seconds: float) -> None:
            await clock.sleep_until(seconds)
            order.append(seconds)

        await asyncio.gather(at(3600), at(0.5), at(60))
        return clock.now()

    started, worked = time.perf_counter(), time.process_time()
    assert run_virtual(story()) == pytest.approx(3600, abs=1e-6)
    assert time.perf_counter() - started < 60 and time.process_time() - worked < 2
    assert order == [0.5, 60, 3600]


def test_virtual_time_stands_still_while_a_thread_works() -> None:
    async def work() -> float:
        loop = asyncio.get_running_loop()
        ticker = asyncio.create_task(asyncio.sleep(1000))
        value = await loop.run_in_executor(None, sum, [1, 2, 3])
        assert value == 6
        now = loop.time()
        ticker.cancel()
        return now

    assert run_virtual(work()) < 1000


def test_virtual_time_ends_a_deadlock_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni.clock.VirtualLoop.DEADLOCK_SECONDS", 0.05)

    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run_virtual(forever(), seconds=5)


def test_work_of_an_old_revision_is_not_current() -> None:
    turns = Turns()
    turn, revision = turns.begin()
    assert turns.is_current(turn, revision)
    turns.revise()
    assert not turns.is_current(turn, revision)
    turns.begin()
    assert not turns.is_current(turn, 1)


def test_history_is_bounded_and_keeps_what_was_heard() -> None:
    turns = Turns()
    for n in range(HISTORY_LIMIT + 50):
        turns.begin()
        turns.commit(f"question {n}")
    assert len(turns.history) == HISTORY_LIMIT
    turns.hear(turns.turn, "only this", cut=True)
    assert (turns.history[-1].heard, turns.history[-1].cut) == ("only this", True)
    assert turns.exchange(1) is None


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Yes. It is true.", ["Yes.", "It is true."]),
        ("It costs 8.50 dollars. Fine!", ["It costs 8.50 dollars.", "Fine!"]),
        ("Dr. Smith knows it. Ask him.", ["Dr. Smith knows it.", "Ask him."]),
        ("Well, of course I can, and gladly.", ["Well, of course I can,", "and gladly."]),
        ("e.g. this one", ["e.g. this one"]),
        ("a\nb", ["a\n", "b"]),
        ("The sky is blue because of it. So.", ["The sky is blue", "because of it.", "So."]),
    ],
)
def test_clauses_end_where_a_speaker_would_pause(text: str, clauses: list[str]) -> None:
    splitter = ClauseSplitter()
    got = [c for letter in text for c in splitter.feed(letter)] + splitter.flush()
    assert [c.strip(" ") for c in got] == clauses


@given(st.text(alphabet="ab ,.!?;\n1`", max_size=400))
def test_no_letter_is_lost_between_clauses(text: str) -> None:
    splitter = ClauseSplitter()
    got = [c for letter in text for c in splitter.feed(letter)] + splitter.flush()
    assert "".join("".join(got).split()) == "".join(text.split())


def test_an_endless_sentence_is_cut_between_words() -> None:
    splitter = ClauseSplitter()
    clauses = splitter.feed("word " * 200)
    assert clauses and all(len(c) <= 220 and set(c.split()) == {"word"} for c in clauses)


def test_in_a_hurry_the_first_words_are_spoken_as_they_are() -> None:
    splitter = ClauseSplitter()
    assert splitter.feed("He might ") == [] and splitter.hurry() == []
    assert splitter.feed("have ") == [] and splitter.hurry() == ["He might have"]
    assert splitter.feed("been happy too ") == [] and splitter.hurry() == []
    assert splitter.flush() == ["been happy too "]


def test_markup_is_not_spoken() -> None:
    assert speakable("**Bold** and `code`, see [the page](http://x/y).") == "Bold and code, see the page."
    assert speakable("Look:\n```python\nx = 1\n```\n- done") == "Look: done"


def playout() -> Playout:
    made = Playout(rate=1000)
    made.begin("one two three four")
    made.add(2000, tuple(WordSpan(word=w, start=i * 0.5, end=i * 0.5 + 0.5) for i, w in enumerate("abcd")))
    made.begin("five six", ({"op": "line"},))
    made.add(1000)
    made.end()
    return made


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (0, ""),
        (249, ""),
        (250, "one"),
        (1300, "one two three"),
        (2000, "one two three four"),
        (2500, "one two three four five"),
        (9999, "one two three four five six"),
    ],
)
def test_what_was_said_is_what_was_played(samples: int, heard: str) -> None:
    made = playout()
    made.advance(samples)
    assert made.heard() == heard


def test_a_drawing_falls_due_once_when_its_clause_begins() -> None:
    made = playout()
    made.advance(2000)
    assert made.due() == []
    made.advance(2001)
    assert made.due() == [({"op": "line"},)]
    assert made.due() == []


@given(st.lists(st.integers(0, 4000), max_size=20))
def test_the_heard_words_only_ever_grow(reports: list[int]) -> None:
    made = playout()
    before = ""
    for samples in reports:
        made.advance(samples)
        assert made.heard().startswith(before)
        before = made.heard()
