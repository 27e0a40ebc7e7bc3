"""Cuts and fades, by presentation time."""

from __future__ import annotations

import numpy as np
import pytest
from omni_video_search import cuts, media
from omni_video_search.indexer import measured
from omni_video_search.keyframes import Picker, textness
from video_kit import make_video, plain, scene, steady


def transitions(path):
    features = np.concatenate([table for table, _ in measured(path, 0, 1)])
    return cuts.find_transitions(features)


def test_hard_cuts_are_found_to_the_frame(tmp_path):
    path = make_video(tmp_path / "a.mp4", steady([(0, scene(1)), (2, scene(2)), (3.5, scene(3))], 5.0), duration=5.0)
    found = transitions(path)
    assert [t.kind for t in found] == ["cut", "cut"]
    assert [t.time for t in found] == pytest.approx([2.0, 3.5], abs=0.11)


def test_a_variable_frame_rate_keeps_the_times(tmp_path):
    """Three frames a second, then thirty, then one: counting frames would put the cut at another second."""
    times = [*np.arange(0, 4, 1 / 3), *np.arange(4, 6, 1 / 30), *np.arange(6, 10, 0.5)]
    frames = [(float(t), scene(1) if t < 5.0 else scene(2)) for t in times]
    path = make_video(tmp_path / "vfr.mp4", frames, duration=10.0)
    found = transitions(path)
    assert [t.time for t in found] == pytest.approx([5.0], abs=0.05)
    assert media.probe(path).duration == pytest.approx(10.0, abs=0.6)


def test_a_fade_through_black_is_one_transition_in_its_middle(tmp_path):
    def at(t):
        level = float(np.clip(abs(t - 3.0) - 0.4, 0, 1))
        return (scene(1 if t < 3 else 2) * level).astype(np.uint8)

    path = make_video(tmp_path / "fade.mp4", [(t, at(t)) for t in np.arange(0, 6, 0.1)], duration=6.0)
    found = transitions(path)
    assert [t.kind for t in found] == ["fade"]
    assert found[0].time == pytest.approx(3.0, abs=0.25)


def test_a_flash_and_a_slow_pan_are_no_cuts(tmp_path):
    wide = np.concatenate([scene(1), scene(4), scene(5)], axis=1)

    def at(t):
        if 1.0 <= t < 1.1:
            return plain((255, 255, 255))
        left = int(t / 4 * 300)
        return wide[:, left : left + 160]

    path = make_video(tmp_path / "pan.mp4", [(t, at(t)) for t in np.arange(0, 4, 0.05)], duration=4.0)
    assert transitions(path) == []


def test_key_frames_come_with_change_and_not_with_time():
    picker, still, new = Picker(), np.full((54, 96, 3), 90, np.float32), np.full((54, 96, 3), 90, np.float32)
    new[10:20, 20:60] = 220  # a line appears
    kept = [t for t in np.arange(0, 60, 0.1) if picker.wants(t, still if t < 30 else new, 0.0) is not None]
    assert kept == pytest.approx([0.0, 30.0], abs=0.11)


def test_writing_has_more_textness_than_a_landscape():
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (640, 360), "white")
    for row in range(8):
        ImageDraw.Draw(page).text((40, 20 + row * 40), "the quick brown fox jumps over it " * 2, "black", font_size=22)
    assert textness(page) > 0.5
    assert textness(Image.fromarray(scene(3)).resize((640, 360))) < 0.05
