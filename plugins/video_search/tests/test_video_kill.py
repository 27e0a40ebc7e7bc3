"""Killed ten times while it indexes, the result is that of a run in one go."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from video_kit import make_video, scene, speechlike, steady

CHILD = Path(__file__).with_name("video_killed.py")


def run(folder: Path, video: Path, die_at: int) -> int:
    return subprocess.run([sys.executable, str(CHILD), str(folder), str(video), str(die_at)], timeout=120).returncode


def content(folder: Path) -> dict[str, list]:
    """Everything in the index but the time it took."""
    with sqlite3.connect(folder / "timelines.sqlite") as db:
        tables = {t: db.execute(f"SELECT * FROM {t} ORDER BY 1,2,3").fetchall() for t in ("entries", "frames", "units")}
        tables["videos"] = db.execute("SELECT digest,duration,width,height,audio,state FROM videos").fetchall()
        tables["problems"] = db.execute("SELECT path,message FROM problems").fetchall()
    return tables


@pytest.mark.slow
def test_ten_kills_leave_the_result_of_an_uninterrupted_run(tmp_path):
    scenes = [(8.0 * i, scene(i)) for i in range(12)]
    sound = np.concatenate([speechlike(40), np.zeros(16_000 * 15, np.float32), speechlike(40)])
    video = make_video(tmp_path / "a.mp4", steady(scenes, 95, 4), duration=95, sound=sound)
    assert run(tmp_path / "whole", video, 0) == 0
    for n in range(10):
        assert run(tmp_path / "killed", video, 1 + n % 4) == -signal.SIGKILL
    assert run(tmp_path / "killed", video, 0) == 0
    whole = content(tmp_path / "whole")
    assert content(tmp_path / "killed") == whole
    assert len([row for row in whole["entries"] if row[1] == "picture"]) >= 12
    assert whole["videos"][0][-1] == "ready"
