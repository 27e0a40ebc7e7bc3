"""The author's loop: a plugin that runs from source is loaded anew when a file of it is saved."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from omni.errors import BadInput, OmniError
from omni.host.discovery import Found, in_folder
from omni.host.host import Host

LOOK_S = 0.3  #: how often the files are looked at
LEFT_OUT = ("__pycache__", ".git", ".venv", "build", "dist")


def the_one_in(project: Path) -> Found:
    """The plugin in a folder. Raises `BadInput` when there is none, or more than one."""
    found = list(in_folder(Path(project)))
    if len(found) != 1 or found[0].folder is None or not found[0].folder.is_dir():
        held = "no plugin" if len(found) < 2 else ", ".join(one.id for one in found)
        raise BadInput(f"{project} holds {held}.", "Name a folder with one plugin.toml in it.")
    if found[0].manifest is None and not (found[0].folder / "plugin.toml").is_file():
        raise BadInput(found[0].refusal, "`omni plugin new NAME` makes one.")
    return found[0]


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """When each file of a plugin was last written, and its size."""
    seen = {}
    for path in folder.rglob("*"):
        if not any(part in LEFT_OUT or part.endswith(".egg-info") for part in path.relative_to(folder).parts):
            try:
                stat = path.stat()
            except OSError:  # it went between the listing and the look
                continue
            if path.is_file():
                seen[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return seen


async def follow(host: Host, found: Found, say: Callable[[str], None], look_s: float = LOOK_S) -> None:
    """Reload the plugin in `host` after each save, until cancelled. Errors are said; nothing ends the watching.

    Several files that are saved together are one save: it waits until a look finds nothing new.
    """
    assert found.folder is not None
    folder = found.folder
    before = loaded = snapshot(folder)  # before anything is awaited, so that no save is taken for what was loaded
    while True:
        await asyncio.sleep(look_s)
        now = await asyncio.to_thread(snapshot, folder)
        settled, before = now == before, now
        if not settled or now == loaded or not _started(host, found.id):
            continue
        changed = sorted(Path(path).name for path in now.keys() | loaded.keys() if now.get(path) != loaded.get(path))
        loaded = now
        say(f"{', '.join(changed)} changed: {await reload(host, found.id)}")


def _started(host: Host, plugin: str) -> bool:
    """Whether the host is through with it: while it still loads, it is let be."""
    record = host.supervisor.records.get(plugin)
    return record is not None and record.state != "found"


async def reload(host: Host, plugin: str) -> str:
    """Load it anew and say in a sentence what came of it."""
    began = time.perf_counter()
    try:
        record = await host.reload(plugin)
    except OmniError as error:
        return f"{plugin} could not be loaded. {error}"
    except Exception as error:  # the watching must outlive whatever a half-written file does
        return f"{plugin} could not be loaded. {type(error).__name__}: {error}"
    if record.state in ("loaded", "ready", "degraded"):
        return f"{plugin} is loaded anew ({time.perf_counter() - began:.2f} s)."
    return f"{plugin} is {record.state}. {record.reason}"
