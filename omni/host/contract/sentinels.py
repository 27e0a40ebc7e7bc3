"""What the contract kit watches while a plugin works: what it leaves behind, what it touches, whether it blocks."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from omni.host.loopguard import LoopGuard, Stall


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a process holds: names of threads, child processes, open files and pending tasks."""

    threads: frozenset[str]
    processes: frozenset[str]
    files: frozenset[str]
    tasks: frozenset[str]

    @classmethod
    def now(cls) -> Holdings:
        """A snapshot of this process, and of this loop's tasks."""
        me = psutil.Process()
        return cls(
            frozenset(f"thread {t.name} ({t.ident})" for t in threading.enumerate() if not _is_pool(t)),
            frozenset(f"process {child.pid} ({_name(child)})" for child in me.children(recursive=True)),
            frozenset(f"file {file.path}" for file in me.open_files()),
            frozenset(f"task {task.get_name()} {task.get_coro()}" for task in asyncio.all_tasks()),
        )

    def beyond(self, before: Holdings) -> list[str]:
        """What is held now and was not before."""
        return sorted(
            thing
            for name in ("threads", "processes", "files", "tasks")
            for thing in getattr(self, name) - getattr(before, name)
        )


def _is_pool(thread: threading.Thread) -> bool:
    """The loop's own executor (`asyncio.to_thread`) keeps its threads for the next call: those are no leak."""
    return thread.name.startswith("asyncio_")


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.Error:
        return "gone"


async def left_behind(before: Holdings, seconds: float = 1.0) -> list[str]:
    """What is still held after at most `seconds` of grace."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        gc.collect()
        rest = Holdings.now().beyond(before)
        if not rest or asyncio.get_running_loop().time() > deadline:
            return rest
        await asyncio.sleep(0.02)


@dataclass(slots=True)
class Touched:
    """What code did to the world beyond its process, as Python's audit events tell it (PEP 578)."""

    network: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    programs: list[str] = field(default_factory=list)


_watching: Touched | None = None
_installed = False

#: Where in an event's arguments a changed path is, and the open folder (`dir_fd`) that it is relative to.
_CHANGES = {
    "os.remove": ((0, 1),), "os.rmdir": ((0, 1),), "os.mkdir": ((0, 2),), "os.chmod": ((0, 2),),
    "os.rename": ((0, 2), (1, 3)), "os.link": ((0, 2), (1, 3)), "os.symlink": ((1, 2),), "os.truncate": ((0, None),),
}  # fmt: skip
_PROGRAMS = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


def _audit(event: str, args: tuple[Any, ...]) -> None:
    touched = _watching
    if touched is None:
        return
    if event == "open" and isinstance(args[0], str | bytes | os.PathLike):
        mode, flags = args[1] or "", args[2] if isinstance(args[2], int) else 0
        if any(letter in mode for letter in "wax+") or (not mode and flags & _WRITING):
            touched.written.append(os.path.abspath(os.fsdecode(args[0])))
    elif event == "os.mkdir" and os.path.isdir(_absolute(args[0], args[2])):
        return  # `makedirs(exist_ok=True)` of a folder that is there changes nothing
    elif event in _CHANGES:
        for path, folder in _CHANGES[event]:
            if isinstance(args[path], str | bytes | os.PathLike):
                touched.written.append(_absolute(args[path], -1 if folder is None else args[folder]))
    elif event in ("socket.connect", "socket.sendto", "socket.bind") and isinstance(args[1], tuple):
        touched.network.append(f"{event.removeprefix('socket.')} {args[1][0]}:{args[1][1]}")
    elif event == "socket.getaddrinfo":
        touched.network.append(f"look up {args[0]}")
    elif event in _PROGRAMS:
        touched.programs.append(f"{event} {args[0] if args else ''}")


def _absolute(path: str | bytes | os.PathLike[str], folder: int) -> str:
    """The whole path; `folder` is the open one it is relative to, or -1 for the current one."""
    base = ""
    if folder >= 0:
        with suppress(OSError):  # only Linux tells
            base = os.readlink(f"/proc/self/fd/{folder}")
    return os.path.abspath(os.path.join(base, os.fsdecode(path)))


@contextmanager
def watch_touch() -> Iterator[Touched]:
    """Everything this process opens for writing, connects to or starts meanwhile. One watch at a time.

    An audit hook can't be taken back, so one is installed for good and only listens inside this block.
    """
    global _watching, _installed
    if not _installed:
        sys.addaudithook(_audit)
        _installed = True
    _watching = Touched()
    try:
        yield _watching
    finally:
        _watching = None


class BlockedSockets:
    """Makes every connection beyond this process fail, as on a machine without a network."""

    def __enter__(self) -> BlockedSockets:
        import socket

        self._kept = {name: getattr(socket.socket, name) for name in ("connect", "connect_ex", "sendto", "bind")}
        self._lookup = socket.getaddrinfo
        for name, real in self._kept.items():
            setattr(socket.socket, name, self._refusing(real))

        def refuse_lookup(*args: Any, **kwargs: Any) -> Any:
            raise OSError("the contract kit blocks the network")

        socket.getaddrinfo = refuse_lookup
        return self

    @staticmethod
    def _refusing(real: Any) -> Any:
        import socket

        def method(self: socket.socket, *args: Any, **kwargs: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6):
                raise OSError("the contract kit blocks the network")
            return real(self, *args, **kwargs)

        return method

    def __exit__(self, *_: object) -> None:
        import socket

        for name, real in self._kept.items():
            setattr(socket.socket, name, real)
        socket.getaddrinfo = self._lookup


@contextmanager
def watch_stalls(longest_s: float, folders: dict[str, Path]) -> Iterator[list[Stall]]:
    """The stalls of the running loop longer than `longest_s` that happen in the code of these plugins."""
    stalls: list[Stall] = []
    guard = LoopGuard(lambda stall: stalls.append(stall) if stall.plugin else None, folders, stall_s=longest_s)
    guard.start()
    try:
        yield stalls
    finally:
        guard.stop()
