"""Run by the kill test: index a file, and kill this process (-9) at the Nth write, inside or between transactions."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from omni_video_search.indexer import Indexer
from omni_video_search.timeline import Timelines
from video_kit import ScriptedHost


class Mortal(Timelines):
    """Dies at its Nth transaction: before it is committed when N is odd, after it when it is even."""

    left = 10**9

    @contextlib.contextmanager
    def writing(self):
        with super().writing() as db:
            yield db
            Mortal.left -= 1
            if Mortal.left == 0 and self.odd:
                os.kill(os.getpid(), signal.SIGKILL)
        if Mortal.left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    folder, video, die_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    store = Mortal(folder)
    Mortal.left, Mortal.odd = die_at or 10**9, bool(die_at % 2)
    asyncio.run(Indexer(store, ScriptedHost()).index([video]))
