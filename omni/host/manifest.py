"""The manifest: everything Omni wants to know about a plugin before it imports a line of it.

`plugin.toml` lies in the plugin's package. Reading it imports nothing of the plugin; an error in it
names the file, the line, the column and the nearest key that exists.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from omni import API_VERSION
from omni.errors import ManifestError
from omni.host.places import locate

FILE_NAME = "plugin.toml"

Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]
Target = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")]
Isolation = Literal["in-process", "process"]


class Table(BaseModel):
    """A table of the manifest: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _event_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if _COMMON_EVENTS.issuperset(names):
        return names
    from omni.events import ALL

    known = [kind.__name__ for kind in ALL]
    for name in names:
        if name not in known:
            raise ValueError(f"there is no event {name!r}{_nearest(name, known)}")
    return names


#: Events that most stages read or write. Known here too, for importing the vocabulary costs every list 15 ms.
_COMMON_EVENTS = frozenset((
    "AudioIn", "AudioGap", "MicMuted", "SpeechStarted", "SpeechPaused", "PartialTranscript", "TurnSpeculated",
    "TurnRevised", "TurnCommitted", "TurnDropped", "BargeIn", "Backchannel", "VideoFrame", "ToolCalled",
    "ToolReturned", "TextDelta", "ReplyFinished", "AudioOut", "AudioFlush", "AudioHold", "Played", "Spoken",
    "Drawing", "StageTiming", "Notice", "SessionClosed", "Custom",
))  # fmt: skip

#: The capabilities of Omni itself. Known here too, for importing them costs a tenth of a second (numpy).
_COMMON = frozenset(
    (
        "Transcriber",
        "VoiceActivity",
        "Synthesizer",
        "ChatModel",
        "Embedder",
        "Reranker",
        "VisionModel",
        "TextReader",
        "AudioTagger",
        "Memory",
    )
)


def _capability_names(names: tuple[str, ...]) -> tuple[str, ...]:
    if _COMMON.issuperset(names):
        return names
    from omni.capabilities import BY_NAME

    for name in names:
        if name not in BY_NAME:
            raise ValueError(f"there is no capability {name!r}{_nearest(name, list(BY_NAME))}")
    return names


def _nearest(name: str, known: list[str]) -> str:
    """ "; did you mean X?" or nothing."""
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


class CapabilityEntry(Table):
    """A capability it offers: a Protocol of `omni.capabilities`, and the features `host.get` matches."""

    protocol: str
    features: dict[str, Any] = {}
    inputs: tuple[str, ...] = ()  #: what it takes, in words, for the plugin's page
    outputs: tuple[str, ...] = ()

    @field_validator("protocol")
    @classmethod
    def _known(cls, name: str) -> str:
        return _capability_names((name,))[0]


class StageEntry(Table):
    """A stage every session runs: the events it reads and writes."""

    name: str
    role: str = ""
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()

    _events = field_validator("reads", "writes")(_event_names)


class ToolEntry(Table):
    """A tool for the planner: `examples` are requests it is right for."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")
    effect: Literal["pure", "idempotent", "mutating", "consequential"]
    summary: str = ""
    examples: tuple[str, ...] = ()


class CommandEntry(Table):
    """A command: mounted as `omni NAME`; `target` is a `typer.Typer`, imported only when it is run."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")
    help: str = ""
    target: Target


class PanelEntry(Table):
    """A panel on the page."""

    id: Id
    title: str = ""


class Permissions(Table):
    """What it may do. Enforced for a plugin in a process of its own, advisory for one in the host's process."""

    network: tuple[str, ...] = ()  #: host names, or "*"
    files: tuple[str, ...] = ()  #: folders beyond the plugin's own data folder
    camera: bool = False
    microphone: bool = False
    screen: bool = False
    input: bool = False  #: mouse and keyboard
    subprocess: bool = False  #: start other programs

    def asked(self) -> dict[str, Any]:
        """Only what is asked for, JSON-ready: what a grant records and a later version is compared with."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in self.model_dump().items() if v}

    def sentences(self) -> list[str]:
        """What is asked for, as a person reads it before saying yes."""
        said = []
        if self.network:
            said.append(
                "talk to any host on the network" if "*" in self.network else f"talk to {', '.join(self.network)}"
            )
        if self.files:
            said.append(f"read and write in {', '.join(self.files)}")
        names = {"camera": "see the camera", "microphone": "hear the microphone", "screen": "see the screen"}
        names |= {"input": "move the mouse and press keys", "subprocess": "start other programs"}
        return said + [sentence for key, sentence in names.items() if getattr(self, key)]


class Resources(Table):
    """What it needs when it works: for the list, and the limit of a plugin in a process of its own."""

    ram_mb: int = Field(default=0, ge=0)
    threads: int = Field(default=1, ge=0)
    disk_mb: int = Field(default=0, ge=0)


class Models(Table):
    """Models of the catalogue, by id."""

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()


class Environment(Table):
    """A virtual environment of its own (only with `isolation = "process"`): what pip installs into it."""

    requirements: tuple[str, ...] = ()


class Setting(Table):
    """One setting of the plugin, at `[plugins.ID]` in the configuration."""

    type: Literal["string", "integer", "number", "boolean", "array", "object"] = "string"
    default: Any = None
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    help: str = ""
    secret: bool = False

    def as_schema(self) -> dict[str, Any]:
        """As `Config.plugin` wants it: only what was said."""
        return {"type": self.type, "default": self.default} | self.model_dump(exclude_unset=True)


class Manifest(Table):
    """One plugin's `plugin.toml`."""

    id: Id
    name: str = ""
    version: str
    omni_api: str
    summary: str = ""
    licence: str = ""
    entry: Target
    isolation: Isolation = "in-process"
    capabilities: tuple[CapabilityEntry, ...] = ()
    needs: tuple[str, ...] = ()  #: capabilities it can't work without; they are loaded first
    wants: tuple[str, ...] = ()  #: capabilities it uses when they are there
    dynamic_tools: bool = False  #: it finds tools while it runs (`host.offer_tools`)
    stages: tuple[StageEntry, ...] = ()
    tools: tuple[ToolEntry, ...] = ()
    commands: tuple[CommandEntry, ...] = ()
    panels: tuple[PanelEntry, ...] = ()
    permissions: Permissions = Permissions()
    resources: Resources = Resources()
    models: Models = Models()
    environment: Environment | None = None
    config: dict[str, Setting] = {}

    @field_validator("version")
    @classmethod
    def _is_version(cls, text: str) -> str:
        if not re.match(r"^\d+(\.\d+)*([a-z0-9.+-]*)$", text):
            raise ValueError(f"{text!r} is not a version such as 0.1.0")
        return text

    @field_validator("omni_api")
    @classmethod
    def _is_range(cls, text: str) -> str:
        if _PLAIN_RANGE.fullmatch(text):
            return text
        from packaging.specifiers import InvalidSpecifier, SpecifierSet

        try:
            SpecifierSet(text)
        except InvalidSpecifier:
            raise ValueError(f'{text!r} is not a range such as ">=1.0,<2"') from None
        return text

    _capabilities = field_validator("needs", "wants")(_capability_names)

    @model_validator(mode="after")
    def _together(self) -> Manifest:
        if self.environment is not None and self.isolation != "process":
            raise ValueError('[environment] needs isolation = "process": two environments can\'t share a process')
        for table in ("tools", "stages", "panels", "commands"):
            names = [getattr(entry, "name", "") or getattr(entry, "id", "") for entry in getattr(self, table)]
            if twice := next((name for name in names if names.count(name) > 1), None):
                raise ValueError(f"{twice!r} stands twice in [[{table}]]")
        return self

    @property
    def title(self) -> str:
        """Its name for people."""
        return self.name or self.id.replace("_", " ").capitalize()

    def config_schema(self) -> dict[str, dict[str, Any]]:
        """The `[config.*]` tables, as `Config.plugin` and the settings page take them."""
        return {key: setting.as_schema() for key, setting in self.config.items()}

    def offered(self) -> set[str]:
        """The names of the capabilities it offers."""
        return {entry.protocol for entry in self.capabilities}


def api_versions(current: str = API_VERSION) -> tuple[str, ...]:
    """The plugin API versions this Omni serves: its own, and the minor one before it."""
    major, minor = (int(part) for part in current.split(".")[:2])
    return (current,) if minor == 0 else (current, f"{major}.{minor - 1}")


#: The range nearly every manifest has. It is compared here, for importing `packaging` costs every list 13 ms.
_PLAIN_RANGE = re.compile(r">=(\d+)\.(\d+),\s*<(\d+)(?:\.(\d+))?")


def _serves(wanted: str, version: str) -> bool:
    """Whether a version of the plugin interface is in the range."""
    if plain := _PLAIN_RANGE.fullmatch(wanted):
        low, high = (int(plain[1]), int(plain[2])), (int(plain[3]), int(plain[4] or 0))
        return low <= tuple(int(part) for part in version.split(".")[:2]) < high
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(wanted).contains(version, prereleases=True)


def api_refusal(manifest: Manifest, current: str = API_VERSION) -> str:
    """Why this Omni can't run a plugin of that `omni_api` range, as a sentence; empty when it can."""
    if any(_serves(manifest.omni_api, version) for version in api_versions(current)):
        return ""
    return (
        f"It is written for the plugin interface {manifest.omni_api}, and this Omni has {current}. "
        f"Install a version of {manifest.id} for {current}, or another Omni."
    )


def parse_manifest(text: str, where: str = FILE_NAME) -> Manifest:
    """The manifest in `text`. Raises `ManifestError` with line, column and nearest key."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ManifestError(f"{where} is not valid TOML: {error}.", "Mend that line.") from None
    try:
        return Manifest.model_validate(data)
    except ValidationError as error:
        raise _explain(error, text, where) from None


def read_manifest(path: Path) -> Manifest:
    """The manifest in a file or in a plugin's package folder. Imports nothing of the plugin."""
    path = path / FILE_NAME if path.is_dir() else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ManifestError(f"There is no manifest {path}.", "Every plugin package has a plugin.toml.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(
            f"{path} can't be read: {error}.", "Check that it is a UTF-8 text file you may read."
        ) from None
    return parse_manifest(text, str(path))


def _explain(error: ValidationError, text: str, where: str) -> ManifestError:
    """The first thing that is wrong, as a sentence with its place."""
    first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")  # a typo before what it makes missing
    path = tuple(first["loc"])
    line, column = locate(text, path)
    place = f"{where}, line {line}, column {column}"
    key = str(path[-1]) if path else ""
    table = ".".join(str(part) for part in path[:-1] if isinstance(part, str))
    inside = f" in [{table}]" if table else ""
    if first["type"] == "extra_forbidden":
        known = _keys_at(path[:-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        remedy = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(known)}."
        return ManifestError(f"{place}: unknown key {key!r}{inside}.", remedy)
    if first["type"] == "missing":
        return ManifestError(f"{place}: the key {key!r} is missing{inside}.", f"Add {key} = ...")
    said = first["msg"].removeprefix("Value error, ").rstrip(".")
    subject = f"{key!r}{inside}: " if key else ""
    return ManifestError(
        f"{place}: {subject}{said[:1].lower()}{said[1:]}{'' if said[-1] == '?' else '.'}", "Mend it in the manifest."
    )


_TABLES: dict[str, type[Table]] = {
    "capabilities": CapabilityEntry,
    "stages": StageEntry,
    "tools": ToolEntry,
    "commands": CommandEntry,
    "panels": PanelEntry,
    "permissions": Permissions,
    "resources": Resources,
    "models": Models,
    "environment": Environment,
    "config": Setting,
}


def _keys_at(path: tuple[str | int, ...]) -> list[str]:
    """The keys a table of the manifest knows."""
    return sorted(_TABLES[str(path[0])].model_fields if path else Manifest.model_fields)
