"""kill -9 at any moment loses nothing that was acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from omni_memory.schema import Filter
from omni_memory.store import Store
from omni_memory.tables import Tables

from omni.capabilities import Moment

#: Writes as fast as it can, flushing all the time; says each text only after it was acknowledged.
WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    import numpy as np
    from omni.capabilities import Moment
    from omni_memory.schema import Filter
    from omni_memory.store import Store

    name = sys.argv[2]
    store = Store(Path(sys.argv[1]), flush_s=0.001)
    store.open()
    number, doomed = 0, None
    while True:
        texts = [f"{name}-{number + i}" for i in range(3)]
        vectors = {"text": np.ones(4, np.float32)}
        store.remember([Moment("speech", t, 1.0 + number, 2.0 + number, session=name, vectors=vectors) for t in texts])
        for text in texts:
            print("kept", text, flush=True)
        if number % 60 == 45:
            print("going", texts[1], flush=True)
            store.forget(Filter(ids=tuple(m.id for m in store.moments(Filter(sessions=(name,))) if m.text == texts[1])))
            print("gone", texts[1], flush=True)
        number += 3
""")

KILLS = 50
LANES = 2  #: folders that are written and killed side by side


def one_life(folder, name, chance, said):
    """Start a writer, kill it at a random moment after its first word, and note what it said."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder), name], stdout=subprocess.PIPE, text=True)
    try:
        first = writer.stdout.readline()
        killer = threading.Timer(
            chance.choice([0.02, 2.0, 4.0]) * chance.random() + 0.001, os.kill, (writer.pid, signal.SIGKILL)
        )
        killer.start()
        for line in [first, *writer.stdout]:
            if line.endswith("\n"):
                word, text = line.split()
                said[word].add(text)
    finally:
        writer.kill()
        assert writer.wait() == -signal.SIGKILL
        writer.stdout.close()


def check(folder, said):
    """What was acknowledged is there, once; what was forgotten is not; what was being forgotten may be either."""
    kept, gone = said["kept"] - said["going"], said["gone"]
    store = Store(folder, flush_s=3600.0)
    store.open()
    try:
        found = [m.text for m in store.moments(Filter())]
        assert len(found) == len(set(found))
        assert kept - set(found) == set()
        assert gone & set(found) == set()
        store.flush()
        after = [m.text for m in store.moments(Filter())]
        assert sorted(after) == sorted(found)
        some = sorted(kept)[-1]
        assert some in [r.moment.text for r in store.recall(some, None, "text", 20, Filter())]
        return len(said["kept"]), len(gone)
    finally:
        store.close()


def lane(folder, kills, seed, report):
    chance = random.Random(seed)
    said = {"kept": set(), "going": set(), "gone": set()}
    try:
        for life in range(kills):
            one_life(folder, f"l{seed}x{life}", chance, said)
            if life % 5 == 4:
                check(folder, said)
        report.append(check(folder, said))
    except BaseException as error:
        report.append(error)


def crash(tmp_path, kills, lanes=LANES, seed=7):
    """(acknowledged, forgotten) over all lanes."""
    reports = [[] for _ in range(lanes)]
    threads = [
        threading.Thread(target=lane, args=(tmp_path / f"lane{n}", kills // lanes, seed + n, reports[n]))
        for n in range(lanes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for (report,) in reports:
        if isinstance(report, BaseException):
            raise report
    return tuple(sum(report[0][i] for report in reports) for i in range(2))


@pytest.mark.slow
def test_fifty_kills_lose_nothing(tmp_path):
    began = time.monotonic()
    acknowledged, forgotten = crash(tmp_path, KILLS)
    print(f"{KILLS} kills, {acknowledged} acknowledged, {forgotten} forgotten, {time.monotonic() - began:.0f} s")
    assert acknowledged > KILLS * 3
    assert forgotten > 0


def test_one_kill_loses_nothing(tmp_path):
    acknowledged, _ = crash(tmp_path, 1, lanes=1)
    assert acknowledged >= 3


@pytest.mark.parametrize("inner", ["", "data", "_versions", "_transactions"])
def test_a_table_that_was_being_made_when_the_process_was_killed_is_made_again(inner, tmp_path):
    (tmp_path / "moments.lance" / inner).mkdir(parents=True)
    tables = Tables(tmp_path, writable=True)
    assert tables.count() == 0
    tables.put([Moment("speech", "the key lies under the mat", 1.0, 2.0, id="m")])
    assert tables.count() == 1


def test_vectors_whose_table_was_being_made_are_no_space_yet(tmp_path):
    (tmp_path / "vectors_text.lance" / "data").mkdir(parents=True)
    tables = Tables(tmp_path, writable=True)
    assert tables.spaces() == []
    vector = np.ones(4, np.float32)
    tables.put([Moment("speech", "the key lies under the mat", 1.0, 2.0, id="m", vectors={"text": vector})])
    assert tables.spaces() == ["text"]
    assert tables.dimension("text") == 4
