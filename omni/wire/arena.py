"""Shared memory between two processes: one copy in, and a view at the other end.

Each direction has a block of its own, made by the host and inherited by the child as a file descriptor, so
that no name is left behind when either dies. (`multiprocessing.shared_memory` names its blocks and, up to
Python 3.12, a child's tracker removes them under the host's feet.) The writer keeps the list of free regions;
the reader tells it when a region is done with. When there is no room, the message carries the data itself.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable

from omni.errors import PluginError

SIZE = 64 * 1024 * 1024
_ALIGN = 64


def make_block(size: int = SIZE) -> int:
    """A file descriptor of `size` bytes of shared memory; pages that are never touched cost nothing."""
    if hasattr(os, "memfd_create"):
        fd = os.memfd_create("omni-arena", os.MFD_CLOEXEC)
    else:
        fd, path = tempfile.mkstemp(prefix="omni-arena-")
        os.unlink(path)
    os.ftruncate(fd, size)
    return fd


class Arena:
    """One end's two blocks: it writes into one and reads from the other. Not thread-safe: it lives on a loop.

    `on_done` is called with the offset of a region of the reading block that is free again; it has to tell
    the other end, which calls `release`.
    """

    def __init__(self, write_fd: int, read_fd: int, on_done: Callable[[int], None] = lambda offset: None) -> None:
        self._size = os.fstat(write_fd).st_size
        self._write = mmap.mmap(write_fd, self._size)
        self._read = mmap.mmap(read_fd, os.fstat(read_fd).st_size)
        self._free: list[tuple[int, int]] = [(0, self._size)]
        self._used: dict[int, int] = {}
        self.on_done = on_done
        self.closed = False

    def put(self, data: memoryview) -> tuple[int, int] | None:
        """Copy `data` (bytes) in. (offset, size), or None when no region is large enough."""
        size = len(data)
        room = -(-size // _ALIGN) * _ALIGN
        for index, (offset, free) in enumerate(self._free):
            if free >= room:
                if free == room:
                    del self._free[index]
                else:
                    self._free[index] = (offset + room, free - room)
                self._used[offset] = room
                self._write[offset : offset + size] = data
                return offset, size
        return None

    def release(self, offset: int) -> None:
        """The other end is done with what was put at `offset`. Unknown offsets are ignored."""
        room = self._used.pop(offset, 0)
        if not room:
            return
        self._free.append((offset, room))
        self._free.sort()
        merged: list[tuple[int, int]] = []
        for start, size in self._free:
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + size)
            else:
                merged.append((start, size))
        self._free = merged

    def take(self, offset: int, size: int) -> memoryview:
        """A view of what the other end put there. Raises `PluginError` for a place beyond the block."""
        if offset < 0 or size < 0 or offset + size > len(self._read):
            raise PluginError("A message refers to a place outside the shared memory.", "It was refused.")
        return memoryview(self._read)[offset : offset + size]

    def done(self, offset: int) -> None:
        """This end is done with a region it read."""
        if not self.closed:
            self.on_done(offset)

    def in_use(self) -> int:
        """Bytes put and not yet released."""
        return sum(self._used.values())

    def close(self) -> None:
        """Give the memory back as soon as the last view is gone. Idempotent."""
        self.closed = True
        for block in (self._write, self._read):
            try:
                block.close()
            except BufferError:
                continue  # an array still looks at it: the memory goes with the array
