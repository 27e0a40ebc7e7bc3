"""A process of this machine as the other end: a socket pair for messages, inherited shared memory for data."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import struct
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omni.errors import PluginError
from omni.wire.arena import SIZE, Arena, make_block
from omni.wire.codec import MESSAGE_LIMIT

_LENGTH = struct.Struct("<I")

#: What of the host's environment a plugin's process is given: no tokens, no proxies, no home.
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "PYTHONPATH", "LD_LIBRARY_PATH", "OMNI_TEST_DATA", "SYSTEMROOT")


class SocketLink:
    """Whole messages over a stream socket, each with its length before it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, sock: socket.socket) -> SocketLink:
        """The link over a connected socket."""
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
        writer.transport.set_write_buffer_limits(high=4 << 20)
        return cls(reader, writer)

    def send(self, message: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.writelines((_LENGTH.pack(len(message)), message))

    async def drain(self) -> None:
        try:
            await self._writer.drain()
        except (ConnectionError, RuntimeError):
            return  # reading notices the end and says so

    async def receive(self) -> bytes:
        try:
            (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
            if length > MESSAGE_LIMIT:
                raise PluginError(f"A message of {length} bytes was announced.", "The other end is stopped.")
            return await self._reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, OSError) as error:
            raise EOFError from error

    def close(self) -> None:
        self._writer.close()


@dataclass(slots=True)
class Child:
    """A plugin's process and the link to it."""

    process: subprocess.Popen[bytes]
    link: SocketLink
    arena: Arena

    def end(self, seconds: float = 2.0) -> None:
        """Make sure that the process is gone, and all that it started. Waits at most `seconds`. Idempotent."""
        if self.process.poll() is None:
            _signal_group(self.process, 9)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return  # it hangs in the kernel; it dies when that lets it go

    def fate(self) -> str:
        """How it ended, in words."""
        code = self.process.poll()
        if code is None:
            return "it still runs"
        if code >= 0:
            return f"it ended with exit status {code}"
        import signal

        return f"it was killed by {signal.Signals(-code).name}"


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.kill()
    except ProcessLookupError:
        return


async def start_child(
    python: Path, module: str, order: Mapping[str, Any], *, cwd: Path, threads: int = 1, log: Path | None = None,
    arena_size: int = SIZE,
    own_environment: bool = False,
) -> Child:  # fmt: skip
    """Start `python -m module`, hand it `order` (JSON) and the descriptors, and return the link to it.

    The child leads a process group of its own, has a small environment, and writes what it prints to `log`. With
    `own_environment` the packages of that interpreter are all it sees.
    """
    ours, theirs = socket.socketpair()
    to_child, from_child = make_block(arena_size), make_block(arena_size)
    fds = (theirs.fileno(), to_child, from_child)
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    if own_environment:
        environment.pop("PYTHONPATH", None)
    environment |= {"HOME": str(cwd), "TMPDIR": str(cwd), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
    environment |= {
        name: str(max(1, threads)) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    output = await asyncio.to_thread(open, log, "wb") if log is not None else subprocess.DEVNULL
    try:
        process = await asyncio.to_thread(
            subprocess.Popen,
            [str(python), "-m", module, *map(str, fds)],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=fds,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        ours.close()
        raise PluginError(f"{python} can't be started: {error}.", "Install the plugin again.") from None
    finally:
        theirs.close()
        if log is not None:
            output.close()
    try:
        arena = Arena(to_child, from_child)
    finally:
        os.close(to_child)
        os.close(from_child)
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(order).encode())
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died at once: reading the link notices
    return Child(process, await SocketLink.on(ours), arena)
