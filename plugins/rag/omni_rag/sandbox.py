"""Runs `omni_rag.parser` in a process that can be ended, and restarts it after a page that broke it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import struct
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omni.errors import BadInput, DeadlineExceeded, PluginError
from omni.processes import end

LARGEST = 256 * 2**20  #: bytes of one answer


@dataclass(frozen=True, slots=True)
class Limits:
    """What the process may use."""

    memory_mb: int = 1536
    open_s: float = 60.0
    page_s: float = 60.0
    cpu_s: int = 7200
    restarts: int = 5  #: pages that may end it before the rest of the document is given up


class Ended(PluginError):
    """The process ended or was ended before it had answered."""


async def parse(path: Path, limits: Limits, first: int = 1) -> AsyncGenerator[dict[str, Any], None]:
    """The parser's answers for a document from page `first` on, with a "problem" for each page that ended it."""
    pages, restarts, told = 0, 0, False
    while True:
        job = {"mode": "parse", "path": str(path), "first": first}
        try:
            async with contextlib.aclosing(_answers(job, limits)) as answers:  # whoever stops listening ends it
                async for message in answers:
                    if message["type"] == "open":
                        pages = message["pages"]
                        if told:
                            continue
                        told = True
                    elif message["type"] == "page":
                        first = (message.get("page") or message["parts"])["number"] + 1
                    yield message
            return
        except (Ended, DeadlineExceeded) as error:
            restarts += 1
            if not told:
                yield {"type": "problem", "message": f"opening it failed: {error.message}"}
                return
            yield {"type": "problem", "page": first, "message": error.message}
            first += 1
            if first > pages:
                return
            if restarts > limits.restarts:
                yield {
                    "type": "problem",
                    "message": f"pages {first} to {pages} were given up after {restarts} that could not be read",
                }
                return


async def render(
    path: Path, page: int, *, box: Any = None, marks: Any = (), width: int = 900, limits: Limits | None = None
) -> tuple[bytes, tuple[float, float]]:
    """(PNG, the page's size in points). Raises `BadInput` when it can't be had."""
    job = {"mode": "render", "path": str(path), "page": page, "box": box, "marks": list(marks), "width": width}
    try:
        async with contextlib.aclosing(_answers(job, limits or Limits())) as answers:
            async for message in answers:
                if message["type"] == "image":
                    return base64.b64decode(message["image"]), tuple(message["size"])
                if message["type"] == "problem":
                    raise BadInput(f"{path.name} can't be shown: {message['message']}.", "Index its folder anew.")
    except (Ended, DeadlineExceeded) as error:
        raise BadInput(f"{path.name} can't be shown: {error.message}.") from error
    raise BadInput(f"{path.name} can't be shown.")


async def _answers(job: dict[str, Any], limits: Limits) -> AsyncGenerator[dict[str, Any], None]:
    """The answers of one process. Raises `Ended` or `DeadlineExceeded`; the process is gone in any case."""
    job |= {"memory_mb": limits.memory_mb, "cpu_s": limits.cpu_s}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "omni_rag.parser",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    try:
        with contextlib.suppress(ConnectionError):
            process.stdin.write(json.dumps(job).encode() + b"\n")
            await process.stdin.drain()
            process.stdin.close()
        patience = limits.open_s
        while True:
            try:
                message = await asyncio.wait_for(_frame(process.stdout), patience)
            except TimeoutError:
                raise DeadlineExceeded(f"it took more than {patience:g} s") from None
            except asyncio.IncompleteReadError:
                raise Ended(await _how(process)) from None
            if message["type"] == "end":
                return
            yield message
            patience = limits.page_s
    finally:
        with contextlib.suppress(Exception):
            await end(process)


async def _frame(stream: asyncio.StreamReader) -> dict[str, Any]:
    (length,) = struct.unpack("<I", await stream.readexactly(4))
    if length > LARGEST:
        raise Ended("it gave more than can be kept")
    return json.loads(await stream.readexactly(length))


async def _how(process: asyncio.subprocess.Process) -> str:
    """How the process ended, as the end of a sentence."""
    code = await process.wait()
    if code in (-6, -11, -5, -4, -7):
        return "the reader crashed on it, or ran out of the memory it may use"
    return "the reader was ended by the system" if code < 0 else f"the reader ended with {code}"
