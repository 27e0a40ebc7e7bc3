"""The timeline as JSON lines: what a person takes along."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from omni.capabilities import Moment
from omni.errors import OmniError


def as_line(moment: Moment) -> str:
    """One moment as a line of JSON, without vectors: they can be made again from its words."""
    values = {
        "id": moment.id, "source": moment.source, "text": moment.text, "start": moment.start, "end": moment.end,
        "session": moment.session, "turn": moment.turn, "data": moment.data, "media": list(moment.media),
    }  # fmt: skip
    return json.dumps(values, ensure_ascii=False) + "\n"


async def write_jsonl(memory: Any, path: Path | None, **filters: Any) -> int:
    """Write what fits the filters to `path` (or standard output), in order of time. Returns how many moments.

    A file appears only when it is complete.
    """
    temporary = None if path is None else path.with_name(path.name + ".part")
    count = 0
    try:
        file = sys.stdout if temporary is None else await asyncio.to_thread(temporary.open, "w", encoding="utf-8")
        try:
            async for moment in memory.export(**filters):
                file.write(as_line(moment))
                count += 1
        finally:
            if temporary is not None:
                file.close()
        if temporary is not None and path is not None:
            temporary.replace(path)
    except OSError as error:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        reason = error.strerror or error
        raise OmniError(f"The export can't be written to {path}: {reason}.", "Name another file.") from error
    return count
