"""What sounds are taken for."""

from __future__ import annotations

import numpy as np
import pytest
from omni_video_search.sound import RATE, RuleTagger, events, measure
from video_kit import speechlike

RNG = np.random.default_rng(0)


def quiet(seconds: float) -> np.ndarray:
    return (RNG.normal(0, 1e-5, int(seconds * RATE))).astype(np.float32)


def chords(seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    return sum(0.05 * np.sin(2 * np.pi * f * t) for f in (220, 277, 330, 440, 554, 880, 1320)).astype(np.float32)


def bang() -> np.ndarray:
    t = np.arange(RATE) / RATE
    return (0.9 * RNG.normal(0, 0.35, RATE) * np.exp(-6 * t)).astype(np.float32)


def labels_at(audio: np.ndarray, second: float) -> set[str]:
    return {s.label for s in events(measure(audio)) if s.start <= second < s.end}


def test_silence_music_and_a_bang_are_told_apart():
    audio = np.concatenate([quiet(3), chords(4), quiet(2), bang(), quiet(2)])
    assert "silence" in labels_at(audio, 1.5)
    assert "music" in labels_at(audio, 5)
    assert "impact" in labels_at(audio, 9.1)
    assert "impact" not in labels_at(audio, 5)
    assert "music" not in labels_at(audio, 1.5)


def test_syllables_are_speech_and_a_beep_is_a_tone():
    t = np.arange(2 * RATE) / RATE
    beep = (0.2 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32)
    audio = np.concatenate([speechlike(4), quiet(2), beep, quiet(1)])
    assert "speech" in labels_at(audio, 2)
    assert "tone" in labels_at(audio, 7)
    assert "speech" not in labels_at(audio, 7)


def test_no_sound_at_all_is_no_event_and_nan_free():
    assert events(measure(np.zeros(0, np.float32))) == []
    features = measure(np.zeros(RATE, np.float32))
    assert np.isfinite(features).all()
    assert {s.label for s in events(features)} == {"silence"}


async def test_the_tagger_gives_labels_with_times():
    found = await RuleTagger().tag(np.concatenate([quiet(2), bang(), quiet(2)]))
    start, end = next((s, e) for label, s, e, _ in found if label == "impact")
    assert start == pytest.approx(2.0, abs=0.5)
    assert end > start
