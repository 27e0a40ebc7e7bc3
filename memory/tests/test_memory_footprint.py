"""What a long life costs: LanceDB's caches stay within their bounds however many commits there were."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import sys
from pathlib import Path
import numpy as np, psutil
from omni.capabilities import Moment
from omni_memory.tables import Tables

tables, rng = Tables(Path(sys.argv[1]), writable=True), np.random.default_rng(0)
for number in range(450):
    vectors = {"text": rng.normal(size=384).astype(np.float32)}
    text = f"the key number {number} lies with person {number % 50}"
    tables.put([Moment("speech", text, float(number), number + 1.0, id=f"m{number}", vectors=vectors)], fresh=True)
    if number in (149, 449):
        print(psutil.Process().memory_info().rss // 1_000_000)
"""


@pytest.mark.slow
def test_hundreds_of_small_commits_cost_no_memory(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], capture_output=True, text=True, timeout=120, check=True
    )
    early, late = map(int, done.stdout.split())
    # With LanceDB's own bounds it is 70 MB, and the next three hundred cost twice that.
    assert late - early < 25, done.stdout
