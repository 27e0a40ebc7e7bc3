"""Indexes a folder with eyes for colours, and dies of SIGKILL on the way: `photo_killed.py INDEX FOLDER WHERE AFTER`.

WHERE is "looking" (between two transactions), "writing" (in the middle of one) or "never"; AFTER counts photos.
"""

import asyncio
import itertools
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from omni_image_search.features import Eyes
from omni_image_search.scan import Indexer
from omni_image_search.store import Store
from photo_fakes import host


def dying(function, after):
    """`function`, whose call number `after` is the last thing this process does."""
    count = itertools.count(1)

    def call(*args, **options):
        if next(count) == after:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **options)

    return call


async def main(index: Path, folder: Path, where: str, after: int) -> None:
    store, eyes = Store(index), Eyes(host())
    if where == "looking":
        eyes.see = dying(eyes.see, after)
    elif where == "writing":
        store.add_photo = dying(store.add_photo, after)
    summary = await Indexer(store, eyes).run(folder)
    print(f"done {summary.added}", flush=True)
    store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
