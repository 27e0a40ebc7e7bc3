"""Indexes a folder with eyes for colours until it is done, or killed: `photo_killed.py INDEX FOLDER`."""

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from omni_image_search.features import Eyes
from omni_image_search.scan import Indexer
from omni_image_search.store import Store
from photo_fakes import host


async def main(index: Path, folder: Path) -> None:
    store = Store(index)
    print("begun", flush=True)
    summary = await Indexer(store, Eyes(host())).run(folder)
    print(f"done {summary.added}", flush=True)
    store.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2])))
