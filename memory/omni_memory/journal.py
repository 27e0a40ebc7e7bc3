"""The journal: what is acknowledged is here first, checksummed and on the disk.

A segment is a file that begins with `MAGIC` and holds records: length (u32le), CRC-32 of the
payload (u32le), payload (MessagePack). A kill can only tear the last record of a segment, and what
was torn was never acknowledged. Segments are named so that their order is the order of writing.

The writing process appends to segments of its own. Any other process leaves a finished segment
(`drop`), which the writer takes in; a rename makes it appear whole or not at all.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from omni.errors import DiskFull, OmniError

MAGIC = b"OMNIWAL1"
SUFFIX = ".wal"
_HEAD = struct.Struct("<II")
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

Record = dict[str, Any]
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(dict[str, Any])


@dataclass(slots=True)
class Read:
    """What a segment held: its records, how far it was sound, and how many records were damaged inside it."""

    records: list[Record]
    end: int
    damaged: int = 0


def frame(record: Record) -> bytes:
    """A record as bytes on the disk."""
    payload = _encoder.encode(record)
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def read_segment(path: Path, offset: int = 0) -> Read:
    """The sound records of a segment from byte `offset` on (0, or the `end` of an earlier read).

    A record cut short ends the segment: it was never acknowledged. A record whose checksum is wrong
    but which has others behind it is skipped and counted: that is damage, not a kill.
    """
    data = path.read_bytes()
    place = offset or len(MAGIC)
    result = Read([], place)
    if data[: len(MAGIC)] != MAGIC:
        result.damaged = int(len(data) >= len(MAGIC))
        return result
    while place + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, place)
        payload = data[place + _HEAD.size : place + _HEAD.size + length]
        if len(payload) < length:
            break
        place += _HEAD.size + length
        if zlib.crc32(payload) == checksum:
            result.records.append(_decoder.decode(payload))
        elif place < len(data):
            result.damaged += 1
        else:
            break
        result.end = place
    return result


class Journal:
    """The segments of one memory folder. `append` may be called from any thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._file: int | None = None
        self._path: Path | None = None
        self._good = 0  #: bytes of the open segment that are known to be on the disk

    def append(self, records: Sequence[Record]) -> None:
        """Write the records and return when they survive a kill and a power cut. All or none.

        Raises `DiskFull` when there is no room; what was acknowledged before stays.
        """
        data = b"".join(map(frame, records))
        with self._lock:
            try:
                self._append(data)
            except OSError as error:
                self._undo()
                raise _refusal(error, self.folder) from error

    def _append(self, data: bytes) -> None:
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / _name()
            self._file, self._path = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), path
            self._good = 0
            data = MAGIC + data
        write_all(self._file, data)
        os.fsync(self._file)
        if not self._good:
            _sync_folder(self.folder)
        self._good += len(data)

    def _undo(self) -> None:
        """Cut off what a failed write left, or give up the segment where even that fails."""
        if self._file is None or self._path is None:
            return
        try:
            if self._good:
                os.ftruncate(self._file, self._good)
                os.lseek(self._file, self._good, os.SEEK_SET)
                return
            self._path.unlink(missing_ok=True)
        except OSError:
            pass  # reading stops at the torn record, and the next write opens a new segment
        os.close(self._file)
        self._file = self._path = None

    def seal(self) -> None:
        """End the open segment: the next write begins another, and this one may be taken in and removed."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
            self._file = self._path = None

    def sealed(self) -> list[Path]:
        """All finished segments, oldest first."""
        with self._lock:
            return [path for path in self.segments() if path != self._path]

    def segments(self) -> list[Path]:
        """All segments, oldest first, the open one too."""
        try:
            return sorted(path for path in self.folder.iterdir() if path.suffix == SUFFIX)
        except FileNotFoundError:
            return []

    def drop(self, records: Sequence[Record]) -> Path:
        """Leave a finished segment for the writing process. Returns when it survives a kill."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / _name()
        temporary = path.with_suffix(".tmp")
        try:
            file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                write_all(file, MAGIC + b"".join(map(frame, records)))
                os.fsync(file)
            finally:
                os.close(file)
            temporary.rename(path)
            _sync_folder(self.folder)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise _refusal(error, self.folder) from error
        return path

    def remove(self, paths: Sequence[Path]) -> None:
        """Delete segments whose records are in the tables."""
        for path in paths:
            path.unlink(missing_ok=True)
        if paths:
            _sync_folder(self.folder)


class Tail:
    """Follows a journal that another process writes: only what is new is read again."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._seen: dict[Path, tuple[int, list[Record]]] = {}

    def records(self) -> Iterator[Record]:
        """Every record that is in the journal now, in order."""
        seen: dict[Path, tuple[int, list[Record]]] = {}
        for path in self._journal.segments():
            end, records = self._seen.get(path, (0, []))
            try:
                if path.stat().st_size > end:
                    read = read_segment(path, end)
                    end, records = read.end, records + read.records
            except FileNotFoundError:
                continue  # taken in by the writer meanwhile: the tables have it
            seen[path] = (end, records)
            yield from records
        self._seen = seen


def write_all(file: int, data: bytes) -> None:
    """Write every byte, however many calls it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _name() -> str:
    return f"{time.time_ns():020d}-{secrets.token_hex(3)}{SUFFIX}"


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _refusal(error: OSError, folder: Path) -> OmniError:
    if error.errno in _NO_ROOM:
        return DiskFull(
            f"There is no room left to remember anything in {folder.parent}.",
            "Free some space, or lower `plugins.memory.retention_days`. Everything remembered so far is safe.",
        )
    return OmniError(f"The memory in {folder.parent} can't be written: {error.strerror or error}.", "Check its rights.")
