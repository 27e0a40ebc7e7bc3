"""The worker process: reads requests on its standard input, answers on its standard output.

A request is a length (u32, little endian) and a MessagePack array `[operation, path]`; an answer likewise. The
process lives until its input ends, so it never outlives the one that started it.
"""

from __future__ import annotations

import contextlib
import struct
import sys
from typing import BinaryIO

import msgspec

from omni_image_search import decoding
from omni_image_search.records import Decoded, Problem


class Answer(msgspec.Struct):
    """One of these."""

    sha: str = ""
    size: int = 0
    decoded: Decoded | None = None
    problem: Problem | None = None


def answer(operation: str, path: str) -> Answer:
    """`hash` or `decode` one file. Never raises for the file's sake."""
    if operation == "decode":
        found = decoding.decode(path)
        return Answer(decoded=found) if isinstance(found, Decoded) else Answer(problem=found)
    try:
        sha, size = decoding.digest(path)
    except PermissionError:
        return Answer(problem=Problem(path, "It may not be read.", "Change its permissions."))
    except FileNotFoundError:
        return Answer(problem=Problem(path, "It was there and is gone.", "Index the folder again when it is back."))
    except OSError as error:
        why = error.strerror or str(error)
        return Answer(problem=Problem(path, f"It can't be read ({why}).", "Check the disk it lies on."))
    return Answer(sha, size)


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer until the input ends."""
    while len(head := source.read(4)) == 4:
        operation, path = msgspec.msgpack.decode(source.read(struct.unpack("<I", head)[0]), type=tuple[str, str])
        data = msgspec.msgpack.encode(answer(operation, path))
        sink.write(struct.pack("<I", len(data)) + data)
        sink.flush()


def limit_memory(megabytes: int) -> None:
    """A file that unpacks to more ends in a `MemoryError`, not in a machine that swaps."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


if __name__ == "__main__":
    limit_memory(int(sys.argv[1]) if len(sys.argv) > 1 else 2048)
    out, sys.stdout = sys.stdout.buffer, sys.stderr  # what a library prints must not get into the answers
    serve(sys.stdin.buffer, out)
