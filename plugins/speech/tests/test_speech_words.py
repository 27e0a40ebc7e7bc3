"""Endpointing, backchannels, doubt and word times: rules on text and numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from omni_speech.backchannel import echoes, is_backchannel, is_request, is_stop
from omni_speech.doubt import is_hallucination, is_repetition
from omni_speech.endpointing import DICTATING_S, FINISHED_S, HANGING_S, OPEN_S, silence_needed
from omni_speech.hearing import Utterance
from omni_speech.onnx_voice import ClauseTimes, word_times
from omni_speech.phonemes import Pronounced
from omni_speech.pieces import split_at_pauses

from omni.capabilities import Transcript, Word


@pytest.mark.parametrize(("text", "wait"), [
    ("What is the weather today?", FINISHED_S), ("What is that?", FINISHED_S), ("Stop.", FINISHED_S),
    ("Open the door and", HANGING_S), ("I would like to", HANGING_S), ("um", HANGING_S), ("So I was...", HANGING_S),
    ("My number is 555 123", DICTATING_S), ("How much is 170 times 23?", FINISHED_S),
    ("apples, pears, bananas", OPEN_S), ("And so my fellow Americans,", OPEN_S),
])  # fmt: skip
def test_the_wait_follows_the_words(text, wait):
    assert silence_needed(text) == pytest.approx(wait, rel=0.2)


def test_backchannels_are_told_from_answers_and_orders():
    repeated = ("I see. I see.", "OIC.", "Okay. Okay. Okay. Okay. Okay.")  # what a recogniser makes of short sounds
    for text in ("Mm-hmm.", "Yeah.", "Okay.", "Okay, I see.", "Right, right.", "Uh-huh", "Got it.", *repeated):
        assert is_backchannel(text), text
    for text in ("Yeah, but what about Tuesday?", "No.", "Stop!", "Wait", "", "Okay so tell me the other one"):
        assert not is_backchannel(text), text
    assert is_stop("Stop!")
    assert not is_stop("Stop at the station")
    for text in ("Why?", "No. No.", "But why?", "Not now."):
        assert is_request(text), text
    for text in ("Yeah.", "I'm from.", "", "Tell me the reason why"):
        assert not is_request(text), text


def test_own_words_are_an_echo():
    spoken = "The next train leaves at a quarter past nine from platform four."
    assert echoes("leaves at a quarter past", spoken) > 0.9
    assert echoes("wait what about the bus", spoken) < 0.3


def test_made_up_text_is_doubted():
    assert is_repetition("7 of clubs 7 of clubs 7 of clubs", 2.0)
    assert is_repetition("Would you like me to open it? Would you like me to open", 3.0)
    assert not is_repetition("very very good, really very good", 3.0)
    assert not is_repetition("five five", 1.6)
    assert is_hallucination("Thank you.", -1.0, 0.5, 1.0)
    assert not is_hallucination("Thank you.", -0.3, 0.05, 1.0)
    assert is_hallucination("[Music]", -0.2, 0.1, 3.0)
    assert is_hallucination("", 0.0, 0.0, 1.0)


def test_stable_words_lose_their_audio_and_the_text_stays_whole():
    audio = np.random.default_rng(0).normal(0, 0.1, 16000 * 8).astype(np.float32)
    utterance = Utterance(0.0)
    utterance.add(audio)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "today"]
    timed = tuple(Word(w, i * 0.7, i * 0.7 + 0.6) for i, w in enumerate(words))
    utterance.hear(Transcript(" ".join(words), timed), audio)
    text, stable = utterance.hear(Transcript(" ".join(words), timed), audio)
    assert text == " ".join(words)
    assert stable == " ".join(words[:-1])
    assert utterance.fixed == words[:7]
    assert utterance.audio().size < 16000 * 4
    assert utterance.samples == audio.size
    text, stable = utterance.hear(Transcript("the lazy dog today"), utterance.audio())  # the cut went through "the"
    assert text == " ".join(words)


def test_an_endless_utterance_stays_bounded():
    utterance = Utterance(0.0)
    for _ in range(16000 * 300 // 512):
        utterance.add(np.zeros(512, np.float32))
    assert utterance.audio().size <= 16000 * 121
    assert utterance.seconds > 299


def test_word_times_cover_every_word_and_add_up():
    words = [Pronounced("It", "ɪt"), Pronounced("-", ""), Pronounced("works.", "wˈɜɹks", ".")]
    owners = [-1, 0, 0, -1, 2, 2, 2, -1]
    times = word_times(words, owners, np.ones(8, np.float32), 1.6)
    assert [w for w, _, _ in times] == ["It", "-", "works."]
    assert times[0][1:] == pytest.approx((0.2, 0.6))
    assert times[2][1:] == pytest.approx((0.8, 1.4))
    clause = ClauseTimes([words[:1], words[1:]])
    first = clause.add([("It", 0.0, 0.5)], words[:1], 0.5)
    assert len(first) == 3  # the rest is estimated
    second = clause.add([("-", 0.0, 0.0), ("works.", 0.1, 0.9)], words[1:], 1.0)
    assert second[-1] == ("works.", pytest.approx(0.6), pytest.approx(1.4))


def test_long_audio_is_cut_where_it_is_quiet():
    audio = np.random.default_rng(0).normal(0, 0.1, 16000 * 70).astype(np.float32)
    audio[16000 * 25 : 16000 * 25 + 8000] = 0
    spans = split_at_pauses(audio, 16000, 28.0)
    assert spans[0][0] == 0
    assert spans[-1][1] == audio.size
    assert all(b - a <= 28 * 16000 for a, b in spans)
    assert 25.0 <= spans[0][1] / 16000 <= 25.5
