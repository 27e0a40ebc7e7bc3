"""Ten kills in the middle of indexing: the result is that of an uninterrupted run."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from omni_image_search.scan import BATCH
from omni_image_search.store import Store
from photo_fakes import COLOURS, paint

SCRIPT = Path(__file__).with_name("photo_killed.py")
COUNT, KILLS = 400, 10


def run(index: Path, folder: Path, where: str = "never", after: int = 0) -> subprocess.CompletedProcess:
    command = [sys.executable, str(SCRIPT), str(index), str(folder), where, str(after)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


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
def test_ten_kills_end_in_the_same_index(tmp_path):
    folder, names = tmp_path / "photos", list(COLOURS)
    for number in range(COUNT):
        paint(folder / f"{number % 9}" / f"{number}.png", names[number % len(names)], number)
    (folder / "broken.jpg").write_bytes(b"no picture")
    assert f"done {COUNT}" in run(tmp_path / "whole", folder).stdout
    chance, stages = random.Random(7), []
    for number in range(KILLS):
        # Soon after a batch, or before the first one: some runs get a batch further, some get nowhere.
        where, after = ("looking", "writing")[number % 2], chance.randrange(5, 2 * BATCH)
        killed = run(tmp_path / "killed", folder, where, after)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        store = Store(tmp_path / "killed")
        stages.append(store.count())
        store.close()
    assert stages == sorted(stages) and 0 < stages[-1] < COUNT and len(set(stages)) > 3
    final = run(tmp_path / "killed", folder)
    assert f"done {COUNT - stages[-1]}\n" == final.stdout
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
