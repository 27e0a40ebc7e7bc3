"""Turn taking on virtual time: scripted voice, scripted words, every pause exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from omni_speech.turn_taking import TurnTaker

from omni.capabilities import Transcript
from omni.clock import run_virtual
from omni.errors import OmniError
from omni.events import (
    AudioGap,
    MicMuted,
    Notice,
    PartialTranscript,
    ReplyFinished,
    SpeechStarted,
    StageTiming,
    TurnCommitted,
    TurnDropped,
    TurnRevised,
    TurnSpeculated,
)
from omni.session import Session

RATE = 16_000
TURN = (SpeechStarted, TurnSpeculated, TurnRevised, TurnCommitted, TurnDropped)


def test_a_finished_sentence_is_guessed_and_then_certain(scene):
    async def main():
        async with scene() as on:
            await on.silence(0.5)
            await on.say("What", "is", "the", "time?")
            await on.silence(1.0)
            assert on.names(*TURN) == ["SpeechStarted", "TurnSpeculated", "TurnCommitted"]
            started, guess, certain = on.of(*TURN)
            assert guess.text == certain.text == "What is the time?"
            assert (guess.turn, guess.revision) == (certain.turn, certain.revision) == (1, 0)
            assert started.at == pytest.approx(0.51, abs=0.05)
            assert certain.speech_end == pytest.approx(1.71, abs=0.05)
            assert guess.at - certain.speech_end < 0.30  # 0.20 s of silence and no wait for the recogniser
            assert certain.at - certain.speech_end < 0.65

    run_virtual(main())


def test_stage_times_add_up_to_the_wait(scene):
    async def main():
        async with scene(seconds=0.25) as on:
            await on.say("What", "is", "the", "time?")
            await on.silence(1.2)
            certain = on.of(TurnCommitted)[0]
            stages = {e.stage: e.seconds for e in on.of(StageTiming)}
            assert set(stages) == {"vad_silence", "asr_tail", "endpoint_wait"}
            assert sum(stages.values()) == pytest.approx(certain.at - certain.speech_end, abs=0.02)

    run_virtual(main())


def test_what_was_heard_of_all_but_the_very_end_is_guessed_with_before_the_tail_is_recognised(scene):
    async def main():
        async with scene(seconds=0.3) as on:
            await on.say("What", "is", "the", each=0.2)  # a partial is asked for after 0.8 s, in the last word
            await on.say("time?", each=0.3)
            await on.silence(1.5)
            assert on.names(*TURN) == ["SpeechStarted", "TurnSpeculated", "TurnCommitted"]
            guess, certain = on.of(TurnSpeculated, TurnCommitted)
            assert guess.text == certain.text == "What is the time?"
            assert guess.at - certain.speech_end < 0.3 + 0.03  # the tail alone would have taken longer than this

    run_virtual(main())


def test_a_guess_that_the_tail_contradicts_is_revised(scene):
    async def main():
        async with scene(seconds=0.3) as on:
            await on.say("What", "is", "the", each=0.25)
            await on.say("day", each=0.06)  # too short to be heard as a word
            await on.say("time?", each=0.2)
            await on.silence(1.5)
            assert on.names(*TURN) == [
                "SpeechStarted", "TurnSpeculated", "TurnRevised", "TurnSpeculated", "TurnCommitted",
            ]  # fmt: skip
            assert [e.text for e in on.of(TurnSpeculated, TurnCommitted)] == [
                "What is the", "What is the time?", "What is the time?",
            ]  # fmt: skip

    run_virtual(main())


class Dictation:
    """A turn taker alone: sound of any loudness goes in, wishes to recognise come out."""

    def __init__(self):
        self.session = Session(host=None)
        self.events, self.jobs = [], []
        self.session.bus.tap(self.events.append)
        self.taker = TurnTaker(self.session, self._ask)
        self._began = self._ends = self.session.clock.now()
        self.taker.begin(self._began, [])

    def _ask(self, job):
        job.audio, _ = job.source()
        self.jobs.append(job)
        return True

    def sound(self, seconds, level, probability):
        for _ in range(round(seconds * RATE / 512)):
            self._ends += 512 / RATE
            if self.taker.active:
                self.taker.frame(probability, np.full(512, level, np.float32), self._ends)

    def fading(self, faint_s):
        """A loud word that becomes faint before the detector hears silence."""
        self.sound(0.6, 0.1, 0.95)
        self.sound(faint_s, 0.01, 0.8)

    def names(self):
        return [type(e).__name__ for e in self.events if isinstance(e, TURN)]


@pytest.mark.parametrize(("faint_s", "wishes"), [(0.09, [False]), (0.19, [False, True])])
def test_where_a_voice_fades_it_is_recognised_and_the_tail_only_if_much_of_it_was_missed(faint_s, wishes):
    async def main():
        on = Dictation()
        on.fading(faint_s)
        on.sound(0.2, 0.0, 0.02)
        assert [job.final for job in on.jobs] == wishes
        assert 0.6 < on.jobs[0].audio.size / RATE < 0.65  # at once, not after the next 0.7 s
        on.taker.hear(on.jobs[-1], Transcript("What is the time?"))
        on.sound(0.5, 0.0, 0.02)
        assert on.names() == ["SpeechStarted", "TurnSpeculated", "TurnCommitted"]

    run_virtual(main())


def test_a_fading_word_that_could_not_be_recognised_is_tried_again_or_given_up_when_nothing_more_comes():
    async def main():
        on = Dictation()
        on.fading(0.09)
        on.taker.fail(on.jobs[-1])
        on.sound(0.2, 0.0, 0.02)
        assert [job.final for job in on.jobs] == [False, True]
        muted = Dictation()
        muted.fading(0.09)
        muted.taker.end_now()
        muted.taker.fail(muted.jobs[-1])
        assert muted.names() == ["SpeechStarted", "TurnDropped"]

    run_virtual(main())


def test_speech_that_resumes_revises_the_turn_and_the_words_join(scene):
    async def main():
        async with scene() as on:
            await on.say("I", "would", "like", "to")
            await on.silence(0.7)  # guessed at 0.2 s, but "to" is no end
            await on.say("know", "the", "time.")
            await on.silence(1.0)
            assert on.names(*TURN) == [
                "SpeechStarted", "TurnSpeculated", "TurnRevised", "TurnSpeculated", "TurnCommitted",
            ]  # fmt: skip
            certain = on.of(TurnCommitted)[0]
            assert certain.text == "I would like to know the time."
            assert (certain.turn, certain.revision) == (1, 1)
            assert on.session.turns.is_current(1, 1)

    run_virtual(main())


@pytest.mark.parametrize(("words", "least", "most"), [
    (("What", "is", "the", "time?"), 0.2, 0.7),
    (("Open", "the", "door", "and"), 1.2, 2.0),
    (("um",), 1.2, 2.0),
    (("My", "number", "is", "555", "123"), 1.2, 2.0),
])  # fmt: skip
def test_the_wait_depends_on_what_was_said(scene, words, least, most):
    async def main():
        async with scene() as on:
            await on.say(*words)
            await on.silence(2.5)
            certain = on.of(TurnCommitted)[0]
            assert least < certain.at - certain.speech_end < most

    run_virtual(main())


def test_partials_come_while_speaking_and_their_stable_prefix_only_grows(scene):
    async def main():
        async with scene() as on:
            await on.say("one", "word", "after", "the", "other", "is", "said", "without", "any", "pause", "at", "all")
            await on.silence(1.0)
            partials = on.of(PartialTranscript)
            assert len(partials) >= 4
            before_end = [p for p in partials if p.at < on.of(TurnCommitted)[0].speech_end]
            assert len(before_end) >= 3
            stable = [p.stable for p in partials]
            assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(stable))
            assert before_end[-1].stable
            assert on.transcriber.most_running == 1  # never two at once

    run_virtual(main())


def test_noise_without_words_is_dropped(scene):
    async def main():
        async with scene() as on:
            await on.sound(np.full(8000, 0.9, np.float32))  # loud, and no word of the script
            await on.silence(1.5)
            assert on.names(*TURN) == ["SpeechStarted", "TurnDropped"]
            assert on.of(TurnDropped)[0].reason == "noise"
            await on.say("What", "is", "that?")
            await on.silence(1.0)
            assert on.of(TurnCommitted)[0].turn == 2

    run_virtual(main())


def test_a_click_in_the_pause_does_not_revise(scene):
    async def main():
        async with scene() as on:
            await on.say("I", "would", "like", "to")
            await on.silence(0.5)
            await on.sound(np.full(320, 0.5, np.float32))  # 20 ms
            await on.silence(2.0)
            assert not on.of(TurnRevised)
            assert len(on.of(TurnCommitted)) == 1

    run_virtual(main())


def test_muting_while_speaking_ends_the_turn_with_what_was_heard(scene):
    async def main():
        async with scene() as on:
            await on.say("What", "is", "the", "time")
            on.session.publish(MicMuted, muted=True)
            await on.silence(1.0)  # a muted page may still send silence; it counts for nothing
            assert on.of(TurnCommitted)[0].text == "What is the time"
            assert on.of(TurnCommitted)[0].at < 2.0
            on.session.publish(MicMuted, muted=False)
            on.session.publish(ReplyFinished, turn=1, text="")
            await on.say("And", "now?")
            await on.silence(2.0)
            assert on.of(TurnCommitted)[1].text == "And now?"

    run_virtual(main())


def test_a_microphone_that_vanishes_does_not_leave_it_speaking(scene):
    async def main():
        import asyncio

        async with scene() as on:
            await on.say("Tell", "me", "a", "story.")
            await asyncio.sleep(3.0)  # no frames at all
            assert [e.text for e in on.of(TurnCommitted)] == ["Tell me a story."]

    run_virtual(main())


def test_a_short_gap_is_silence_and_a_long_one_an_end(scene):
    async def main():
        async with scene() as on:
            await on.say("I", "would", "like", "to")
            on.session.publish(AudioGap, samples=1600, reason="network")
            await on.say("go.")
            assert not on.of(TurnCommitted)
            on.session.publish(AudioGap, samples=32000, reason="network")
            await on.silence(0.5)
            assert on.of(TurnCommitted)[0].text == "I would like to go."

    run_virtual(main())


def test_a_failing_recogniser_drops_the_turn_says_so_and_listens_on(scene):
    async def main():
        async with scene() as on:
            on.transcriber.error = OmniError("The recogniser is broken.", "Restart it.")
            await on.say("Hello", "there", "friend.")
            await on.silence(1.0)
            assert on.of(TurnDropped)
            assert "broken" in on.of(Notice)[0].text
            on.transcriber.error = None
            await on.say("Can", "you", "hear", "me?")
            await on.silence(1.0)
            assert on.of(TurnCommitted)[0].text == "Can you hear me?"

    run_virtual(main())


def test_an_unexpected_exception_in_the_recogniser_is_contained(scene):
    async def main():
        async with scene() as on:
            on.transcriber.error = RuntimeError("boom")
            await on.say("Hello", "there", "friend.")
            await on.silence(1.0)
            assert on.of(TurnDropped)
            assert "RuntimeError" in on.of(Notice)[0].text

    run_virtual(main())


def test_a_slow_machine_drops_partials_then_takes_the_small_model_and_comes_back(scene):
    async def main():
        made = []

        async def small():
            from copy import copy

            lighter = copy(on.transcriber)
            lighter.seconds = 0.05
            made.append(lighter)
            return lighter

        async with scene(seconds=1.5, small=small) as on:
            for _ in range(8):
                await on.say("What", "is", "the", "time?")
                await on.silence(4.0)
            assert made, "the small model was opened"
            notices = [e.text for e in on.of(Notice) if e.topic == "hearing"]
            assert "captions wait" in notices[0]
            assert "smaller model" in notices[1]
            assert len(on.of(TurnCommitted)) == 8  # never by silence
            on.transcriber.seconds = 0.05
            for _ in range(20):
                await on.say("What", "is", "the", "time?")
                await on.silence(2.0)
            assert [e.text for e in on.of(Notice) if e.topic == "hearing"][-1] == ""

    run_virtual(main())


def test_dead_and_clipped_microphones_are_reported(scene):
    async def main():
        async with scene() as on:
            await on.silence(8.0)
            assert "only silence" in on.of(Notice)[0].text
            await on.sound(np.tile(np.array([0.999, -0.999], np.float32), 40_000))
            assert any("too loud" in e.text for e in on.of(Notice))
            assert not on.of(TurnCommitted)

    run_virtual(main())


def test_half_a_sample_and_odd_frame_lengths_are_taken(scene):
    async def main():
        from omni.events import AudioIn

        async with scene() as on:
            on.session.publish(AudioIn, pcm=b"\x01\x02\x03", seq=0)
            on.session.publish(AudioIn, pcm=b"", seq=1)
            await on.say("Can", "you", "hear", "me?")
            await on.silence(1.0)
            assert on.of(TurnCommitted)

    run_virtual(main())


def test_a_typed_message_takes_the_turn_from_a_speaker(scene):
    async def main():
        async with scene() as on:
            await on.say("I", "was", "saying")
            turn, _ = on.session.turns.begin()
            on.session.publish(TurnCommitted, turn=turn, text="typed", source="text")
            await on.silence(0.1)
            dropped = on.of(TurnDropped)[0]
            assert dropped.turn == 1
            assert dropped.reason == "typed instead"

    run_virtual(main())


def test_half_an_hour_of_talk_keeps_memory_and_queues_bounded(scene):
    async def main():
        async with scene() as on:
            for _ in range(120):
                await on.say("Please", "tell", "me", "more", "about", "that.")
                on.transcriber.words.clear()
                await on.silence(13.0)
                on.session.publish(ReplyFinished, turn=on.session.turns.turn, text="")
                on.events[:] = on.events[-500:]
            assert on.session.clock.now() > 1700
            assert on.session.turns.turn == 120
            deepest = max(m.metrics().high_water for m in on.session.bus.mailboxes())
            assert deepest < 50
            assert len(on.listener._recent) <= 9
            assert not on.listener._over

    run_virtual(main())
