"""kill -9 in the middle of indexing: the next runs end where one that was never killed ends."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from rag_made import FakeHost, lines, pdf

HERE = Path(__file__).parent
INDEXER = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from omni_rag.library import Library
from rag_made import FakeHost
library = Library(Path(sys.argv[1]), FakeHost())
tell = lambda p: print(p.stage, flush=True)
asyncio.run(library.index([Path(sys.argv[2])], tell))
print("finished", flush=True)
"""


def documents(folder, count=6, pages=5):
    folder.mkdir()
    for d in range(count):
        contents = [
            lines(72, 700, [f"Document {d} page {p} line {i} says {d * p + i}." for i in range(30)])
            for p in range(pages)
        ]
        (folder / f"d{d}.pdf").write_bytes(pdf(contents))


def content(folder):
    from omni_rag.library import Library

    library = Library(folder, FakeHost())
    try:
        rows = library.store.rows(
            "SELECT digest, page, kind, context, text, places, key FROM chunks ORDER BY 1, 2, 3, 5, 6"
        )
        assert len({row[:6] for row in rows}) == len(rows)
        assert library.store.rows("SELECT COUNT(*) FROM pages") == [(0,)]
        words = library.store.rows("SELECT COUNT(*) FROM words WHERE words MATCH 'line'")
        return rows, library.store.rows("SELECT key, vector FROM vectors ORDER BY key"), words, library.store.problems()
    finally:
        library.close()


def killed(index, docs, chance):
    """Run until a random line of progress, then kill. True when it was killed before its end."""
    run = subprocess.Popen(
        [sys.executable, "-c", INDEXER, str(index), str(docs), str(HERE)], stdout=subprocess.PIPE, text=True
    )
    patience = threading.Timer(120, run.kill)
    patience.start()
    try:
        for seen, line in enumerate(run.stdout):
            if line.strip() == "finished":
                return False
            if seen >= chance.randint(1, 8):
                run.send_signal(signal.SIGKILL)
                return True
        return False
    finally:
        patience.cancel()
        run.kill()
        run.wait()
        run.stdout.close()


def crash(tmp_path, kills):
    """What an index holds after so many kills, and what one holds that was never interrupted."""
    documents(tmp_path / "docs")
    chance, count = random.Random(5), 0
    while count < kills:
        if not killed(tmp_path / "index", tmp_path / "docs", chance):
            # it came to its end: change a document, so that there is something to do again
            (tmp_path / "docs" / f"more{count}.pdf").write_bytes(
                pdf([lines(72, 700, [f"More {count} line {i}." for i in range(30)])] * 4)
            )
            continue
        count += 1
    for index in ("index", "whole"):
        arguments = [sys.executable, "-c", INDEXER, str(tmp_path / index), str(tmp_path / "docs"), str(HERE)]
        assert "finished" in subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True).stdout
    return content(tmp_path / "index"), content(tmp_path / "whole")


@pytest.mark.slow
def test_ten_kills_end_where_none_does(tmp_path):
    interrupted, whole = crash(tmp_path, 10)
    assert interrupted == whole


def test_one_kill_ends_where_none_does(tmp_path):
    interrupted, whole = crash(tmp_path, 1)
    assert interrupted == whole
