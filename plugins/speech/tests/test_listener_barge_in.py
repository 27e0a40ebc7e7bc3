"""Someone speaks while Omni speaks, on virtual time: what cuts, what doesn't, and how fast."""

from __future__ import annotations

from contextlib import asynccontextmanager

import numpy as np
import pytest
from omni_speech.interruption import CERTAIN_AFTER_S, FRAME_S, Interruption, Verdict

from omni.capabilities import Transcript
from omni.clock import run_virtual
from omni.errors import OmniError
from omni.events import (
    AudioFlush,
    AudioHold,
    Backchannel,
    BargeIn,
    ReplyFinished,
    SpeechStarted,
    TurnCommitted,
    TurnDropped,
)


async def _asked(on):
    """A question was asked, so that there is an answer to interrupt."""
    await on.say("What", "is", "the", "time?")
    await on.silence(1.0)
    assert on.of(TurnCommitted)


def _obey(on):
    """The conversation's part: an interruption flushes the loudspeaker and ends the reply."""

    def react(event):
        if isinstance(event, BargeIn):
            on.session.publish(AudioFlush, turn=event.turn)
            on.session.publish(ReplyFinished, turn=event.turn, text="", reason="cut")

    on.session.bus.tap(react)


@asynccontextmanager
async def answering(scene, answer, text, *, sounds_for=1.0, seconds=8.0, obeyed=True, **listener):
    """A question was asked, and its answer of `seconds` has sounded `sounds_for` seconds: (the scene, the answer)."""
    async with scene(**listener) as on:
        await _asked(on)
        if obeyed:
            _obey(on)
        reply = answer(on, text, seconds=seconds)
        await reply.start()
        await on.silence(sounds_for)
        yield on, reply
        await reply.stop()


def test_an_interruption_is_silent_within_a_quarter_second_and_becomes_a_turn(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine in the evening.") as (on, reply):
            onset = on.session.clock.now()
            await on.say("No", "I", "meant", "in", "Tokyo.")
            await on.silence(1.0)
            assert reply.speaker.held_at[0] - onset < 0.25
            cut = on.of(BargeIn)[0]
            assert cut.turn == 1
            assert on.of(TurnCommitted)[1].text == "No I meant in Tokyo."
            assert on.of(TurnCommitted)[1].turn == 2
            assert on.of(SpeechStarted)[1].at - onset < 0.1  # from its first sound on
            assert reply.speaker.flushed_at

    run_virtual(main())


def test_without_holding_words_cut_it(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.", hold=False) as (on, _):
            onset = on.session.clock.now()
            await on.say("No", "I", "meant", "in", "Tokyo.")
            assert not on.of(AudioHold)
            assert on.of(BargeIn)[0].at - onset < 1.0

    run_virtual(main())


def test_a_recognition_that_fails_after_the_cut_does_not_lose_the_words_that_cut(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.") as (on, _):
            on.transcriber.seconds, on.transcriber.instead = 2.5, [OmniError("It broke.")]
            await on.say("No", "I", "meant", "in", "Tokyo.")
            await on.silence(0.5)
            assert on.of(BargeIn) and len(on.transcriber.calls) == 3  # what runs is of the time before the cut
            await on.silence(5.0)
            assert on.of(TurnCommitted)[1].text == "No I meant in Tokyo."

    run_virtual(main())


def test_a_yeah_does_not_cut_it_off_and_it_goes_on_from_where_it_was(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine in the evening.") as (on, reply):
            await on.say("yeah", each=0.32)
            await on.silence(1.5)
            assert not on.of(BargeIn)
            assert on.of(Backchannel)[0].text == "yeah"
            assert [e.held for e in on.of(AudioHold)] == [True, False]
            waited = on.of(AudioHold)[1].at - on.of(AudioHold)[0].at
            assert waited < 0.7
            played = reply.speaker.heard[1]
            await on.silence(1.0)
            assert reply.speaker.heard[1] > played  # it speaks on
            assert on.session.turns.turn == 1  # and no turn was opened

    run_virtual(main())


def test_yeah_but_cuts(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.") as (on, _):
            await on.say("yeah", "but", "where?")
            await on.silence(1.5)
            assert on.of(BargeIn)
            assert on.of(TurnCommitted)[1].text == "yeah but where?"

    run_virtual(main())


def test_stop_cuts_and_needs_no_answer(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.") as (on, _):
            await on.say("stop!", each=0.4)
            await on.silence(1.5)
            assert on.of(BargeIn)
            assert on.of(TurnDropped)[-1].reason == "asked to stop"
            assert len(on.of(TurnCommitted)) == 1

    run_virtual(main())


@pytest.mark.parametrize(("heard", "cuts"), [
    ([("Um-hm.", 0.6), ("I'm Ham.", 0.45)], False),  # surely a hum before: still one
    ([("I'm sorry.", 0.5), ("Mm-hm.", 0.6)], False),  # half a hum is no words yet
    ([("Mm-hm.", 0.4), ("I'm sorry, what?", 0.7)], True),
    ([("Bye.", 0.3), ("Why?", 0.35)], True),  # a question, however short
    ([("Bye.", 0.3), ("Bye.", 0.35)], False),
])  # fmt: skip
def test_a_short_remark_is_judged_by_the_surest_words(scene, answer, heard, cuts):
    async def main():
        async with answering(scene, answer, "It is half past nine in the evening.") as (on, _):
            on.transcriber.instead = [Transcript(text, confidence=sure) for text, sure in heard]
            await on.say("remark", each=0.5)
            await on.silence(1.5)
            assert not on.transcriber.instead
            assert bool(on.of(BargeIn)) is cuts

    run_virtual(main())


def test_a_low_voice_silences_it_as_fast_and_a_long_hum_alone_does_not_cut():
    hum = np.sin(2 * np.pi * 150 * np.arange(512) / 16000).astype(np.float32)
    over = Interruption()
    verdicts = [over.frame(0.9, 1.0, hum) for _ in range(int(2 * CERTAIN_AFTER_S / FRAME_S))]
    assert verdicts.index(Verdict.HOLD) * FRAME_S < 0.1
    assert Verdict.WORDS in verdicts
    assert Verdict.CUT not in verdicts[: int(1.5 * CERTAIN_AFTER_S / FRAME_S)]


def test_its_own_voice_from_the_loudspeaker_never_interrupts(scene, answer):
    """The microphone hears what is played, 90 ms late and at a third of its level; every frame counts as speech."""

    async def main():
        evening = "It is half past nine in the evening."
        async with answering(scene, answer, evening, seconds=6.0, sounds_for=0.0) as (on, reply):
            heard = np.interp(np.arange(0, 6.0, 1 / 16000), np.arange(reply.audio.size) / 22050, reply.audio)
            echo = np.concatenate([np.zeros(1440), 0.33 * heard]).astype(np.float32)
            await on.sound(echo)
            await on.silence(1.0)
            assert not on.of(BargeIn)
            assert not on.of(Backchannel)
            assert len(on.of(TurnCommitted)) == 1

    run_virtual(main())


def test_a_knock_holds_for_a_moment_at_most(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.") as (on, _):
            await on.sound(np.full(1600, 0.9, np.float32))  # 0.1 s of something that is no word
            await on.silence(2.0)
            assert not on.of(BargeIn)
            held = on.of(AudioHold)
            assert not held or (held[-1].held is False and held[-1].at - held[0].at < 0.7)

    run_virtual(main())


def test_words_of_the_answer_itself_are_an_echo(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine in the evening.") as (on, _):
            await on.say("half", "past", each=0.25)  # louder than any echo that was learnt
            await on.silence(1.5)
            assert not on.of(BargeIn)
            assert on.session.turns.turn == 1

    run_virtual(main())


def test_speaking_on_before_the_answer_is_heard_joins_the_turns(scene):
    async def main():
        async with scene() as on:
            await on.say("What", "is", "the", "time?")
            await on.silence(0.8)
            assert on.of(TurnCommitted)
            await on.say("in", "Tokyo", "right", "now?")
            await on.silence(1.0)
            assert on.of(BargeIn)[0].turn == 1
            assert on.of(TurnCommitted)[1].text == "What is the time? in Tokyo right now?"

    run_virtual(main())


def test_speech_that_outlasts_the_answer_is_a_turn_of_its_own(scene, answer):
    async def main():
        async with answering(scene, answer, "It is half past nine.", seconds=1.2, obeyed=False) as (on, _):
            await on.say("And", each=0.25)
            on.session.publish(ReplyFinished, turn=1, text="It is half past nine.")
            await on.say("in", "Tokyo", "please?")
            await on.silence(1.5)
            assert on.of(TurnCommitted)[-1].text == "And in Tokyo please?"
            assert [e.held for e in on.of(AudioHold)][-1:] in ([], [False])  # never left holding

    run_virtual(main())


def test_two_sessions_do_not_hear_each_other(scene, answer):
    async def main():
        import asyncio

        async with scene() as one, scene() as two:
            await asyncio.gather(_asked(one), two.silence(2.0))
            await two.say("Hello", "over", "there?")
            await two.silence(1.0)
            assert [e.text for e in one.of(TurnCommitted)] == ["What is the time?"]
            assert [e.text for e in two.of(TurnCommitted)] == ["Hello over there?"]

    run_virtual(main())
