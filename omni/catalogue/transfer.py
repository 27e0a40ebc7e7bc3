"""What a transfer shares: progress with rate and ETA, cancellation, disk space, hashing."""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from omni.errors import DiskFull, ModelCorrupt, ModelError

CHUNK = 1 << 20
#: Kept free beside the model itself, so that the machine stays usable.
HEADROOM = 64 << 20


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a pull is: `done` of `total` bytes, `rate` in bytes a second, `eta_s` seconds left (None: unknown)."""

    model: str
    phase: str  #: "downloading", "unpacking" or "verifying"
    done: int
    total: int
    rate: float
    eta_s: float | None
    source: str


class SourceFailed(ModelError):
    """This source can't give the model; the next may."""


class Cancelled(ModelError):
    """The transfer was interrupted; what came is kept for the next time."""


class Transfer:
    """One pull under way. Used from a worker thread; `report` is called at most ten times a second."""

    def __init__(self, model: str, report: Callable[[Progress], None] | None = None) -> None:
        self.model = model
        self.source = ""
        self.cancelled = threading.Event()
        self._report = report
        self._phase = ""
        self._total = 0
        self._done = 0
        self._reported = 0.0
        self._marks: deque[tuple[float, int]] = deque(maxlen=50)

    def begin(self, phase: str, total: int, done: int = 0) -> None:
        """A new phase of `total` bytes, `done` of them already there."""
        self._phase, self._total, self._done = phase, total, done
        self._marks.clear()
        self._marks.append((time.monotonic(), done))
        self._tell(force=True)

    def advance(self, count: int) -> None:
        """`count` bytes more. Raises `Cancelled` when the pull was interrupted."""
        self.check()
        self._done += count
        self._tell()

    def set(self, done: int) -> None:
        """`done` bytes so far in this phase."""
        self.advance(done - self._done)

    def check(self) -> None:
        """Raise `Cancelled` when the pull was interrupted."""
        if self.cancelled.is_set():
            remedy = f"`omni models pull {self.model}` goes on from there."
            raise Cancelled(f"Fetching {self.model} was interrupted.", remedy)

    def _tell(self, force: bool = False) -> None:
        now = time.monotonic()
        if self._report is None or (not force and self._done < self._total and now - self._reported < 0.1):
            return
        self._reported = now
        self._marks.append((now, self._done))
        began, from_bytes = self._marks[0]
        rate = (self._done - from_bytes) / (now - began) if now > began else 0.0
        eta = (self._total - self._done) / rate if rate > 0 else None
        done, total = min(self._done, self._total), self._total
        self._report(Progress(self.model, self._phase, done, total, rate, eta, self.source))


def need_room(folder: Path, size: int, model: str) -> None:
    """Raise `DiskFull` unless `size` bytes and some headroom fit where `folder` is."""
    free = shutil.disk_usage(folder).free
    if free < size + HEADROOM:
        raise DiskFull(
            f"{model} needs {megabytes(size)} in {folder}, and only {megabytes(free)} are free.",
            "Free some space, or keep models elsewhere: `omni config set models.dir FOLDER`.",
        )


@contextmanager
def full_disk_is_said(folder: Path, model: str) -> Iterator[None]:
    """Turn the operating system's "no space left" into `DiskFull`."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DiskFull(
            f"The disk became full while {model} was written to {folder}.",
            "Free some space, or keep models elsewhere: `omni config set models.dir FOLDER`.",
        ) from error


def check_file(path: Path, size: int, sha256: str, transfer: Transfer | None = None) -> None:
    """Raise `ModelCorrupt` unless the file is exactly what is pinned."""
    actual = path.stat().st_size if path.is_file() else -1
    if actual < 0:
        raise ModelCorrupt(f"{path} is missing.")
    if actual != size:
        what = "truncated" if actual < size else "too long"
        raise ModelCorrupt(f"{path} is {what}: {actual:,} bytes, {size:,} expected.")
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
            if transfer:
                transfer.advance(len(chunk))
    actual_hash = digest.hexdigest()
    if actual_hash != sha256:
        raise ModelCorrupt(f"{path} has the sha256 {actual_hash[:12]}..., and {sha256[:12]}... is expected.")


def megabytes(size: int) -> str:
    """A size for people: `145 MB`, `1.1 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"
