"""Ten kills in the middle of indexing: the result is that of an uninterrupted run."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from omni_image_search.store import Store
from photo_fakes import COLOURS, paint

SCRIPT = Path(__file__).with_name("photo_killed.py")
COUNT, KILLS = 900, 10


def start(index: Path, folder: Path) -> subprocess.Popen:
    command = [sys.executable, str(SCRIPT), str(index), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def contents(index: Path) -> tuple[list, list, list, list]:
    """All that was learned, apart from the order it came in."""
    store = Store(index)
    assert store.rows("PRAGMA integrity_check") == [("ok",)]
    files = store.rows("SELECT path, sha, size, mtime FROM files JOIN photos ON photo = id ORDER BY path")
    photos = store.rows("SELECT sha, width, height, phash, words, caption FROM photos ORDER BY sha")
    vectors = store.rows("SELECT sha, space, data FROM vectors JOIN photos ON photo = id ORDER BY sha, space")
    texts = store.rows("SELECT sha, t.words, t.names FROM texts t JOIN photos ON t.rowid = id ORDER BY sha")
    problems = [(problem.path, problem.what) for problem in store.problems()]
    store.close()
    assert len(vectors) == len(photos)
    return files, [*photos, *vectors], texts, problems


@pytest.mark.slow
@pytest.mark.timeout(280)
def test_ten_kills_end_in_the_same_index(tmp_path):
    folder, names, chance = tmp_path / "photos", list(COLOURS), random.Random(7)
    for number in range(COUNT):
        paint(folder / f"{number % 9}" / f"{number}.png", names[number % len(names)], number)
    (folder / "broken.jpg").write_bytes(b"no picture")
    whole = start(tmp_path / "whole", folder)
    began = time.monotonic()
    assert f"done {COUNT}" in whole.communicate(timeout=200)[0]
    duration = time.monotonic() - began
    kills, stages = 0, []
    while kills < KILLS:
        process = start(tmp_path / "killed", folder)
        assert process.stdout.readline().strip() == "begun"
        try:
            process.wait(timeout=0.3 + chance.random() * duration / KILLS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
        else:
            break  # it got to its end between two kills
        store = Store(tmp_path / "killed")
        stages.append(store.count())
        store.close()
    final = start(tmp_path / "killed", folder)
    assert "done" in final.communicate(timeout=200)[0]
    assert kills >= 3 and stages == sorted(stages)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
