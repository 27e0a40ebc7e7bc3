"""Processes that open files, with a time limit: a file that never ends costs its process, not the run."""

from __future__ import annotations

import asyncio
import struct
import sys
from typing import Literal

import msgspec

from omni.processes import end
from omni_image_search.decoder import Answer
from omni_image_search.records import Problem

MEMORY_MB = 2048  #: of address space, per process


class Decoders:
    """`count` worker processes, started when needed. Use as `async with Decoders() as decoders`."""

    def __init__(self, count: int = 2, limit_s: float = 30.0) -> None:
        self._count = count
        self._limit_s = limit_s
        self._idle: asyncio.Queue[_Worker] = asyncio.Queue()
        self._workers: list[_Worker] = []

    async def __aenter__(self) -> Decoders:
        self._workers = [_Worker() for _ in range(self._count)]
        for worker in self._workers:
            self._idle.put_nowait(worker)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self._workers:
            await worker.stop()

    async def ask(self, operation: Literal["hash", "decode"], path: str) -> Answer:
        """What a worker says about a file; a `problem` when it takes longer than the limit or kills the worker."""
        worker = await self._idle.get()
        try:
            return await asyncio.wait_for(worker.ask(operation, path), self._limit_s)
        except TimeoutError:
            await worker.stop()
            return Answer(
                problem=Problem(path, f"Reading it took longer than {self._limit_s:.0f} s.", "Convert it.", True)
            )
        except (EOFError, ConnectionError):
            await worker.stop()
            return Answer(problem=Problem(path, "It brought its decoder down.", "Convert it to JPEG.", True))
        except BaseException:
            await worker.stop()  # cancelled in the middle: the next answer would be the wrong one
            raise
        finally:
            self._idle.put_nowait(worker)


class _Worker:
    def __init__(self) -> None:
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, operation: str, path: str) -> Answer:
        """What the worker makes of `path`; it is started when it is not there."""
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "omni_image_search.decoder", str(MEMORY_MB),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            )  # fmt: skip
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        request = msgspec.msgpack.encode((operation, path))
        process.stdin.write(struct.pack("<I", len(request)) + request)
        await process.stdin.drain()
        size = struct.unpack("<I", await process.stdout.readexactly(4))[0]
        return msgspec.msgpack.decode(await process.stdout.readexactly(size), type=Answer)

    async def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            await end(process)
