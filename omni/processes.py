"""Child processes with pipes: ending one for certain."""

from __future__ import annotations

import asyncio
import contextlib


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill `process` if it still runs, and return when it is gone. What it had still written is thrown away.

    `process.wait()` alone may never return: it waits for the pipes' end too, which is not seen while a full buffer has
    paused the reading.
    """
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    try:
        await process.communicate()
    except RuntimeError:  # somebody reads it still, so nothing is paused
        await process.wait()
