"""The plugin under test: found by its manifest, loaded alone, its offers made fresh for each rule."""

from __future__ import annotations

import asyncio
import importlib.util
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from omni.errors import ManifestError, ModelMissing
from omni.host.contract.samples import Sample
from omni.host.contract.verdicts import NotApplicable
from omni.host.discovery import Found, api_refusal, package_folder, plugin_folders, read_manifest
from omni.host.hookspecs import Offer, PluginContext
from omni.host.host import Host
from omni.host.loader import Loaded, load
from omni.host.manifest import Manifest
from omni.host.proxies import methods

LOAD_S = 20.0


class NoModels:
    """A store with nothing in it, for what has to work without models."""

    def __init__(self, folder: Path) -> None:
        self.models_dir = folder

    def state(self, model_id: str) -> str:
        """No model is here."""
        return "missing"

    async def path(self, model_id: str, progress: Any = None) -> Path:
        """Raises `ModelMissing`."""
        raise ModelMissing(f"The model {model_id!r} is not on this machine.", f"omni models pull {model_id}")


class Subject:
    """A plugin and what the kit needs to call it.

    `package` is an importable package or a folder; `provide` are offers that stand in for the plugins it
    needs; `store` gives models; `with_models` chooses between offers that need models and those that don't.
    A context manager: its folder goes with the block, not some time later, in the middle of another subject's watch.
    """

    def __init__(
        self,
        package: str | Path,
        *,
        provide: Iterable[Offer] = (),
        store: Any = None,
        with_models: bool = False,
        load_s: float = LOAD_S,
    ) -> None:
        self.folder = self._find(package)
        self.provide = tuple(provide)
        self.with_models = with_models
        self.load_s = load_s
        self._data = tempfile.TemporaryDirectory(prefix="omni-contract-", ignore_cleanup_errors=True)
        self.data = Path(self._data.name)
        self.store = store or NoModels(self.data / "models")

    def __enter__(self) -> Subject:
        return self

    def __exit__(self, *_: object) -> None:
        self._data.cleanup()

    @staticmethod
    def _find(package: str | Path) -> Path:
        if isinstance(package, str) and importlib.util.find_spec(package.split(".")[0]):
            folder = package_folder(package)
            if folder is not None:
                return folder
        folders = plugin_folders(Path(package))
        if len(folders) != 1:
            raise ManifestError(
                f"{package} holds {len(folders) or 'no'} plugins.", "Name a folder with one plugin.toml."
            )
        return folders[0]

    @property
    def manifest(self) -> Manifest:
        """Its manifest, read now."""
        return read_manifest(self.folder)

    @property
    def id(self) -> str:
        return self.manifest.id

    def found(self) -> Found:
        """As the host finds it in a source folder."""
        manifest = self.manifest
        return Found(manifest.id, "folder", self.folder, manifest, api_refusal(manifest))

    @asynccontextmanager
    async def loaded(self, settings: dict[str, Any] | None = None) -> AsyncIterator[Loaded]:
        """The plugin loaded in this process into a host of its own, with default settings or these."""
        manifest = self.manifest
        if manifest.environment is not None:
            raise NotApplicable(f"{manifest.id} runs in an environment of its own; its rules are kept by its process.")
        host = Host(None, self.store, self.data, found=[])
        if self.provide:
            host.admit_offers("contract", self.provide)
        data = self.data / manifest.id
        data.mkdir(exist_ok=True)
        defaults = {key: spec.get("default") for key, spec in manifest.config_schema().items()}
        context = PluginContext(manifest.id, defaults | (settings or {}), data, self.store, host)
        try:
            yield await load(self.found(), context, self.load_s)
        finally:
            await host.stop()

    @contextmanager
    def temporary_files(self) -> Iterator[None]:
        """Meanwhile `tempfile` makes its files in the plugin's own folder."""
        before, tempfile.tempdir = tempfile.tempdir, str(self.data)
        try:
            yield
        finally:
            tempfile.tempdir = before

    def outside(self, written: Iterable[str]) -> list[Path]:
        """Those of these paths that lie in none of the plugin's folders. Python's own caches don't count."""
        roots = [self.data, *(Path(root).expanduser() for root in self.manifest.permissions.files), Path("/dev")]
        roots.append(Path(self.store.models_dir))
        roots = [root.resolve() for root in roots]
        paths = [Path(path).resolve() for path in written if "__pycache__" not in path and not path.endswith(".pyc")]
        return [path for path in paths if not any(path.is_relative_to(root) for root in roots)]

    def offers(self, loaded: Loaded) -> list[Offer]:
        """The offers to try: those with models, or those without. Raises `NotApplicable` when there is none."""
        chosen = [offer for offer in loaded.offers if bool(offer.models) == self.with_models]
        if self.with_models:
            missing = sorted({m for offer in chosen for m in offer.models if not self._has(m)})
            chosen = [offer for offer in chosen if all(self._has(model) for model in offer.models)]
            if missing and not chosen:
                raise NotApplicable(f"the models {', '.join(missing)} are not on this machine")
        if not chosen:
            kind = "with" if self.with_models else "without"
            raise NotApplicable(f"{loaded.manifest.id} offers no capability {kind} models")
        return chosen

    def _has(self, model: str) -> bool:
        return self.store.state(model) == "installed"

    @asynccontextmanager
    async def opened(self, loaded: Loaded) -> AsyncIterator[list[tuple[Offer, Any]]]:
        """(offer, opened implementation) of each offer to try; closed afterwards."""
        pairs = [(offer, offer.factory()) for offer in self.offers(loaded)]
        try:
            for _, instance in pairs:
                await instance.open()
            yield pairs
        finally:
            for _, instance in pairs:
                await instance.close()


async def call(offer: Offer, instance: Any, sample: Sample, arguments: tuple[Any, ...] | None = None) -> Any:
    """One request: the answer, or the list of a stream's items."""
    kind = methods(offer.capability)[sample.method]
    made = getattr(instance, sample.method)(*(sample.args if arguments is None else arguments), **dict(sample.kwargs))
    if kind == "call":
        return await made
    if kind == "stream":
        return [item async for item in made]
    await asyncio.sleep(0)
    return made
