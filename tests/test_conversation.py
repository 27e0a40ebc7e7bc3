"""A conversation on virtual time: interruption at every stage, revisions, failures, half an hour of talk."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from omni.capabilities import ChatModel, Synthesizer
from omni.clock import run_virtual
from omni.conversation import Conversation
from omni.errors import CapabilityUnavailable
from omni.events import (
    AudioHold,
    AudioOut,
    BargeIn,
    Drawing,
    Event,
    Notice,
    PartialTranscript,
    ReplyFinished,
    Spoken,
    TextDelta,
    TurnCommitted,
    TurnRevised,
    TurnSpeculated,
)
from omni.planner import Planner
from omni.planner.plan import Say
from omni.reply import Voice
from omni.session import Session
from omni.testing import FakeHost, Loudspeaker, ScriptedChat, ScriptedVoice

LONG = "One two three four five six seven eight nine ten. Eleven twelve thirteen fourteen fifteen sixteen."


class NoQuestion:
    """A planner of a test's own, as far as all of them are the same."""

    async def prefill(self, session: Session, stable: str) -> None: ...

    async def tend(self, session: Session) -> bool:
        return False

    def hear_answer(self, session: Session, text: str) -> bool:
        return False


@dataclass
class Scene:
    """A conversation with everything around it scripted."""

    chat: ScriptedChat
    voice: ScriptedVoice | None
    session: Session
    conversation: Conversation
    speaker: Loudspeaker
    seen: list[Event] = field(default_factory=list)
    ends: dict[int, asyncio.Event] = field(default_factory=dict)

    def of(self, kind: type) -> list[Any]:
        return [e for e in self.seen if isinstance(e, kind)]

    def speculate(self, text: str) -> None:
        self.session.publish(TurnSpeculated, text=text)

    def commit(self, text: str) -> None:
        self.session.publish(TurnCommitted, text=text, speech_end=self.session.clock.now())

    async def finished(self, turn: int) -> None:
        await self.ends.setdefault(turn, asyncio.Event()).wait()

    def see(self, event: Event) -> None:
        self.seen.append(event)
        if isinstance(event, ReplyFinished):
            self.ends.setdefault(event.turn, asyncio.Event()).set()


@contextlib.asynccontextmanager
async def scene(
    *, chat: ScriptedChat | None = None, voice: ScriptedVoice | None = None, mute: bool = False, planner: Any = None
) -> AsyncIterator[Scene]:
    chat = chat or ScriptedChat(reply=lambda _: LONG)
    voice = None if mute else voice or ScriptedVoice()
    host = FakeHost((ChatModel, chat), *([(Synthesizer, voice)] if voice else []))
    session = Session(host=host)
    conversation = Conversation(session, planner or Planner(host, None), lambda: Voice(voice) if voice else None)
    made = Scene(chat, voice, session, conversation, Loudspeaker(session))
    session.bus.tap(made.see)
    tasks = [asyncio.create_task(conversation.run()), asyncio.create_task(made.speaker.run())]
    try:
        yield made
    finally:
        await conversation.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def test_a_spoken_answer_is_heard_whole() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.commit("count")
            await s.finished(1)
            exchange = s.session.turns.exchange(1)
            assert exchange and exchange.heard == LONG and not exchange.cut
            assert "".join(e.text for e in s.of(TextDelta)).strip() == LONG
            assert s.of(Spoken)[-1].final and s.of(Spoken)[-1].text == LONG

    run_virtual(talk())


def test_nothing_is_heard_before_the_commit_and_the_guess_is_used_after_it() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.speculate("count to ten")
            await asyncio.sleep(2.0)
            assert len(s.chat.requests) == 1
            assert not s.of(TextDelta) and not s.of(AudioOut)
            s.commit("Count to ten.")
            await asyncio.sleep(0.02)
            assert s.of(AudioOut), "the first sound was ready and waited for the commit"
            await s.finished(1)
            assert len(s.chat.requests) == 1

    run_virtual(talk())


def test_a_revision_kills_the_work_of_the_one_before() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.speculate("what is")
            await asyncio.sleep(0.25)
            revision = s.session.turns.revise()
            s.session.publish(TurnRevised, revision=revision)
            await asyncio.sleep(0.2)
            assert s.chat.cancelled == 1
            s.speculate("what is the capital of France")
            s.commit("what is the capital of France")
            await s.finished(1)
            assert {e.revision for e in s.of(TextDelta)} == {1}
            assert {e.revision for e in s.of(AudioOut)} == {1}
            assert len(s.session.turns.history) == 1

    run_virtual(talk())


@pytest.mark.parametrize("pause", [0.01, 0.1, 0.16, 0.2, 0.3, 0.5, 0.75])
def test_a_revision_during_any_stage_leaves_no_trace(pause: float) -> None:
    """ASR, language model, voice: wherever the guess dies, nothing of it reaches the person."""

    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.speculate("first guess")
            await asyncio.sleep(pause)
            s.session.publish(TurnRevised, revision=s.session.turns.revise())
            await asyncio.sleep(0.05)
            s.commit("the whole request")
            await s.finished(1)
            assert s.chat.requests[-1].messages[-1].content.startswith("the whole request")
            assert {e.revision for e in s.of(AudioOut) + s.of(TextDelta)} == {1}

    run_virtual(talk())


def test_a_commit_with_other_words_than_the_guess_starts_again() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.speculate("call mum")
            await asyncio.sleep(0.3)
            s.commit("call Tom")
            await s.finished(1)
            assert [r.messages[-1].content for r in s.chat.requests] == ["call mum", "call Tom"]

    run_virtual(talk())


@pytest.mark.parametrize("after", [0.05, 0.17, 0.3, 0.8, 1.6, 3.1, 5.0])
def test_barge_in_at_every_stage_keeps_exactly_what_was_played(after: float) -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.commit("count")
            await asyncio.sleep(after)
            asked = s.session.clock.now()
            s.session.turns.begin()
            s.session.publish(BargeIn, turn=1)
            await s.finished(1)
            if s.speaker.flushed_at:
                assert s.speaker.flushed_at[0] - asked <= 0.15
            exchange = s.session.turns.exchange(1)
            assert exchange and exchange.cut
            played = s.speaker.heard.get(1, 0) / ScriptedVoice.rate
            words = int(played / 0.3 + 0.5)
            assert exchange.heard.split() == LONG.split()[:words]
            last = s.of(Spoken)[-1]
            assert last.final and last.cut and last.text == exchange.heard
            sent = len(s.of(AudioOut))
            await asyncio.sleep(5.0)
            assert len(s.of(AudioOut)) == sent, "nothing follows an interruption"

    run_virtual(talk())


def test_the_next_prompt_holds_only_what_was_heard() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.commit("count")
            await asyncio.sleep(1.5)
            s.session.turns.begin()
            s.session.publish(BargeIn, turn=1)
            s.commit("and now?")
            await s.finished(2)
            told = [m.content for m in s.chat.requests[-1].messages if m.role == "assistant"]
            heard = s.session.turns.exchange(1).heard
            assert heard and told == [heard]
            assert "sixteen" not in told[0]

    run_virtual(talk())


def test_typing_interrupts_and_is_answered() -> None:
    async def talk() -> None:
        async with scene() as s:
            await s.conversation.say("count")
            await asyncio.sleep(1.5)
            await s.conversation.say("stop, tell me a joke")
            await s.finished(2)
            assert s.session.turns.exchange(1).cut
            assert s.session.turns.exchange(2).heard == LONG

    run_virtual(talk())


def test_a_slow_model_is_announced_and_then_heard() -> None:
    async def talk() -> None:
        async with scene(chat=ScriptedChat(reply=lambda _: "Here it is.", first_s=20.0)) as s:
            s.session.turns.begin()
            s.commit("think hard")
            await s.finished(1)
            texts = [e.text for e in s.of(Notice) if e.topic == "thinking"]
            assert texts[0].startswith("Still thinking") and texts[-1] == ""
            assert s.session.turns.exchange(1).heard == "Here it is."

    run_virtual(talk())


def test_a_voice_that_fails_in_mid_sentence_turns_the_rest_into_text() -> None:
    async def talk() -> None:
        async with scene(voice=ScriptedVoice(fail_on="Eleven")) as s:
            s.session.turns.begin()
            s.commit("count")
            await s.finished(1)
            assert s.voice.spoken and "Eleven" not in " ".join(s.voice.spoken)
            assert any(e.topic == "voice" and "write" in e.text for e in s.of(Notice))
            assert s.session.turns.exchange(1).heard == LONG

    run_virtual(talk())


def test_a_model_that_fails_is_said_and_the_conversation_goes_on() -> None:
    calls = 0

    def reply(_: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise CapabilityUnavailable("The language model is not loaded.", "Run `omni models pull`.")
        return "Fine again."

    async def talk() -> None:
        async with scene(chat=ScriptedChat(reply=reply)) as s:
            s.session.turns.begin()
            s.commit("hello")
            await s.finished(1)
            assert "omni models pull" in s.session.turns.exchange(1).heard
            s.session.turns.begin()
            s.commit("hello again")
            await s.finished(2)
            assert s.session.turns.exchange(2).heard == "Fine again."

    run_virtual(talk())


def test_a_bug_in_the_planner_does_not_silence_the_conversation() -> None:
    class Broken(NoQuestion):
        async def answer(self, session: Session, request: Any) -> AsyncIterator[Say]:
            yield Say("I begin. ")
            raise ZeroDivisionError("oops")

    async def talk() -> None:
        async with scene(planner=Broken()) as s:
            s.session.turns.begin()
            s.commit("hello")
            await s.finished(1)
            assert "ZeroDivisionError" in s.session.turns.exchange(1).heard

    run_virtual(talk())


def test_a_spoken_yes_lets_the_waiting_answer_go_on() -> None:
    class Asking(NoQuestion):
        def __init__(self) -> None:
            self.yes = asyncio.Event()

        def hear_answer(self, session: Session, text: str) -> bool:
            if text == "yes":
                self.yes.set()
            return text == "yes"

        async def answer(self, session: Session, request: Any) -> AsyncIterator[Say]:
            yield Say("Shall I delete it? ")
            await self.yes.wait()
            yield Say("It is gone. ")

    async def talk() -> None:
        async with scene(planner=Asking()) as s:
            s.session.turns.begin()
            s.commit("delete it")
            await asyncio.sleep(3)
            s.session.turns.begin()
            s.speculate("yes")
            s.commit("yes")
            await s.finished(1)
            assert s.session.turns.exchange(1).heard == "Shall I delete it? It is gone."
            assert len(s.session.turns.history) == 1

    run_virtual(talk())


def test_a_loudspeaker_that_does_not_play_is_noticed() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.speaker.session.bus.unsubscribe(s.speaker._mailbox)
            s.session.turns.begin()
            s.commit("count")
            await s.finished(1)
            assert any(e.topic == "speaker" for e in s.of(Notice))
            assert s.session.turns.exchange(1).heard == ""

    run_virtual(talk())


def test_a_loudspeaker_that_is_held_waits_and_goes_on_where_it_was() -> None:
    async def talk() -> None:
        async with scene() as s:
            s.session.turns.begin()
            s.commit("count")
            await asyncio.sleep(1.0)
            s.session.publish(AudioHold, turn=1, held=True)
            await asyncio.sleep(0.1)
            heard = s.speaker.heard[1]
            await asyncio.sleep(1.0)
            assert s.speaker.heard[1] == heard
            s.session.publish(AudioHold, turn=1, held=False)
            await s.finished(1)
            assert s.session.turns.exchange(1).heard == LONG
            unhindered = len(LONG.split()) * 0.3 + s.speaker.first_sound[1]
            assert 0.9 <= s.session.clock.now() - unhindered <= 1.3

    run_virtual(talk())


def test_without_a_voice_the_answer_is_text() -> None:
    async def talk() -> None:
        async with scene(mute=True) as s:
            await s.conversation.say("count")
            await s.finished(1)
            assert not s.of(AudioOut)
            assert s.session.turns.exchange(1).heard == LONG

    run_virtual(talk())


def test_a_drawing_appears_when_its_words_are_heard_and_stops_with_the_voice() -> None:
    class Teacher(NoQuestion):
        async def answer(self, session: Session, request: Any) -> AsyncIterator[Say]:
            yield Say("First we look at it. ", ({"op": "text", "id": 1},))
            yield Say("Then we divide both sides by two. ", ({"op": "text", "id": 2},))
            yield Say("That is the answer, you see. ", ({"op": "text", "id": 3},))

    async def talk() -> None:
        async with scene(planner=Teacher()) as s:
            s.session.turns.begin()
            s.commit("solve")
            await asyncio.sleep(1.0)
            assert [d.operations[0]["id"] for d in s.of(Drawing)] == [1]
            await asyncio.sleep(1.5)
            drawn = s.of(Drawing)
            assert [d.operations[0]["id"] for d in drawn] == [1, 2]
            start_of_second = s.speaker.first_sound[1] + 5 * 0.3
            assert abs(drawn[1].at - start_of_second) <= 0.15
            s.session.turns.begin()
            s.session.publish(BargeIn, turn=1)
            await asyncio.sleep(5.0)
            assert len(s.of(Drawing)) == 2

    run_virtual(talk())


def test_what_was_heard_so_far_is_fed_to_the_model_while_the_person_speaks() -> None:
    async def talk() -> None:
        async with scene() as s:
            await asyncio.sleep(0.01)
            s.session.turns.begin()
            s.session.publish(PartialTranscript, text="what is the", stable="what is")
            await asyncio.sleep(0.1)
            s.session.publish(PartialTranscript, text="what is the time?", stable="what is the")
            await asyncio.sleep(0.1)
            assert s.chat.prefills[-2:] == ["what is the", "what is the time"]

    run_virtual(talk())


def test_two_sessions_do_not_meet() -> None:
    async def talk() -> None:
        async with scene() as a, scene(chat=ScriptedChat(reply=lambda _: "Something else.")) as b:
            a.session.turns.begin()
            b.session.turns.begin()
            a.commit("count")
            b.commit("other")
            await asyncio.gather(a.finished(1), b.finished(1))
            assert a.session.turns.exchange(1).heard == LONG
            assert b.session.turns.exchange(1).heard == "Something else."
            assert {e.session for e in a.seen} == {a.session.id}

    run_virtual(talk())


def test_half_an_hour_of_talk_stays_bounded() -> None:
    async def talk() -> None:
        async with scene(voice=ScriptedVoice(rate=1000)) as s:
            turn = 0
            while s.session.clock.now() < 1800:
                turn += 1
                s.session.turns.begin()
                s.speculate(f"question {turn}")
                await asyncio.sleep(0.3)
                s.commit(f"question {turn}")
                if turn % 3 == 0:
                    await asyncio.sleep(1.5)
                    s.session.publish(BargeIn, turn=turn)
                await s.finished(turn)
                s.seen[:] = [e for e in s.seen if e.turn > turn - 2]
            assert turn > 200
            assert len(s.session.turns.history) <= 200
            for mailbox in s.session.bus.mailboxes():
                assert mailbox.metrics().high_water <= mailbox.capacity
                assert mailbox.metrics().dropped == 0
            assert len(asyncio.all_tasks()) < 12

    run_virtual(talk())
