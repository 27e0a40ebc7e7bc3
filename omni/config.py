"""Layered settings: defaults < profile < the user's file < environment < flags, each key with its origin.

Plugin settings live under `[plugins.ID]` and are checked against the `[config.*]` tables of the
plugin's manifest (`Config.plugin`).
"""

from __future__ import annotations

import copy
import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omni.errors import ConfigError

#: The environment's keys: OMNI__SERVER__PORT=9000 sets server.port.
ENV_PREFIX = "OMNI__"

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "table": (dict,),
}


def config_root() -> Path:
    """The folder with `default.toml`, `models.toml` and `profiles/`: in the wheel, or of the checkout."""
    packaged = Path(__file__).parent / "defaults"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "config"


def _home() -> Path | None:
    home = os.environ.get("OMNI_HOME")
    return Path(home).expanduser() if home else None


def user_file() -> Path:
    """The user's own settings: `$OMNI_HOME/config.toml`, or the platform's place for settings."""
    if home := _home():
        return home / "config.toml"
    import platformdirs

    return platformdirs.user_config_path("omni", appauthor=False) / "config.toml"


def default_data_dir() -> Path:
    """Where sessions, memory and the plugins' own data are kept."""
    if home := _home():
        return home / "data"
    import platformdirs

    return platformdirs.user_data_path("omni", appauthor=False)


def default_models_dir() -> Path:
    """Where models are kept unless `models.dir` says otherwise."""
    return _home() / "models" if _home() else default_data_dir() / "models"


class Config:
    """The settings in force. `get("server.port")` reads one; `origin("server.port")` says who set it."""

    def __init__(self, values: dict[str, Any], origins: dict[str, str], profile: str = "") -> None:
        self._values = values
        self._origins = origins
        self.profile = profile

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a dotted key (or the table of a prefix), `default` where there is none."""
        node: Any = self._values
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                return default
            node = node[part]
        return copy.deepcopy(node)

    def __getitem__(self, key: str) -> Any:
        missing = object()
        value = self.get(key, missing)
        if value is missing:
            raise _unknown(key, "the configuration", list(self.keys()))
        return value

    def keys(self) -> Iterator[str]:
        """Every dotted key that has a value."""
        return (key for key, _ in _flatten(self._values))

    def items(self) -> Iterator[tuple[str, Any, str]]:
        """(dotted key, value, origin) of everything set."""
        return ((key, value, self.origin(key)) for key, value in _flatten(self._values))

    def origin(self, key: str) -> str:
        """Which layer gave a key its value."""
        return self._origins.get(key, "")

    def as_dict(self) -> dict[str, Any]:
        """All settings, nested."""
        return copy.deepcopy(self._values)

    @property
    def data_dir(self) -> Path:
        """Where sessions, memory and the plugins' own data are kept."""
        return default_data_dir()

    @property
    def models_dir(self) -> Path:
        """Where models are kept."""
        chosen = self.get("models.dir")
        return Path(chosen).expanduser() if chosen else default_models_dir()

    def plugin(self, plugin_id: str, schema: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
        """The settings of one plugin; with its manifest's `[config.*]` as `schema`, checked and with defaults.

        Raises `ConfigError` on a key the manifest does not know or a value it does not allow.
        """
        given = self.get(f"plugins.{plugin_id}") or {}
        if schema is None:
            return given
        for key, value in given.items():
            full = f"plugins.{plugin_id}.{key}"
            if key not in schema:
                known = [f"plugins.{plugin_id}.{name}" for name in schema]
                raise _unknown(full, self.origin(full), known)
            given[key] = _check_value(full, value, schema[key], self.origin(full))
        return {key: given.get(key, copy.deepcopy(spec.get("default"))) for key, spec in schema.items()}


def load_config(
    flags: Mapping[str, Any] | None = None,
    profile: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    user: Path | None = None,
) -> Config:
    """Read all layers, check them and say where each value came from.

    `flags` maps dotted keys to values (None means: not given); `profile` is a name in `config/profiles`
    or beside the user's file, or the path of a TOML file (default: `$OMNI_PROFILE`). Raises
    `ConfigError` with the file, the key and the nearest valid key.
    """
    environ = os.environ if environ is None else environ
    user = user_file() if user is None else user
    profile = profile or environ.get("OMNI_PROFILE", "")
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    defaults = config_root() / "default.toml"
    _merge(merged, _read(defaults), "default", origins)
    if profile:
        path = find_profile(profile, user)
        _merge(merged, _read(path), f"profile {path.stem}", origins)
    if user.is_file():
        _merge(merged, _read(user), str(user), origins)
    for name, key, value in _from_environment(environ):
        _merge(merged, _nest(key, value), f"environment {name}", origins)
    for key, value in (flags or {}).items():
        if value is not None:
            _merge(merged, _nest(key, value), "flag", origins)
    return Config(_validate(merged, origins), origins, profile)


def find_profile(name: str, user: Path | None = None) -> Path:
    """The file of a profile. Raises `ConfigError` naming those there are."""
    if name.endswith(".toml") and Path(name).is_file():
        return Path(name)
    folders = [(user or user_file()).parent / "profiles", config_root() / "profiles"]
    for folder in folders:
        if (folder / f"{name}.toml").is_file():
            return folder / f"{name}.toml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.toml")})
    raise ConfigError(f"There is no profile {name!r}.", f"Choose one of: {', '.join(known)}.")


def is_secret(key: str) -> bool:
    """Whether a setting's name says that its value is not for others' eyes."""
    return key.lower().rsplit(".", 1)[-1].endswith(("api_key", "token", "password", "secret"))


def parse_value(text: str) -> Any:
    """A value as typed in a shell: TOML where it is TOML (`9000`, `true`, `["a"]`), else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def save_setting(key: str, value: Any, path: Path | None = None) -> Path:
    """Write one setting into the user's file, keeping its comments; None removes it. Returns the file.

    The whole is checked first: a setting that would not load is not written.
    """
    import tomlkit

    path = path or user_file()
    document = tomlkit.parse(path.read_text(encoding="utf-8")) if path.is_file() else tomlkit.document()
    *tables, leaf = key.split(".")
    node: Any = document
    for part in tables:
        node = node.setdefault(part, tomlkit.table())
    if value is None:
        node.pop(leaf, None)
    else:
        node[leaf] = value
    text = tomlkit.dumps(document)
    merged: dict[str, Any] = {}
    origins: dict[str, str] = {}
    _merge(merged, _read(config_root() / "default.toml"), "default", origins)
    _merge(merged, tomllib.loads(text), str(path), origins)
    _validate(merged, origins)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".toml.new")
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o600)
    temporary.replace(path)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}.", "Mend that line, or move the file away.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} can't be read: {error}.", "Check that it is a text file you may read.") from error


def _from_environment(environ: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """(variable, dotted key, value) of each OMNI__... variable, in a fixed order."""
    for name in sorted(environ):
        if name.startswith(ENV_PREFIX):
            key = name[len(ENV_PREFIX) :].lower().replace("__", ".")
            yield name, key, parse_value(environ[name])


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _merge(into: dict[str, Any], layer: Mapping[str, Any], origin: str, origins: dict[str, str]) -> None:
    """Lay one layer over another; lists replace, tables merge."""

    def lay(under: dict[str, Any], over: Mapping[str, Any]) -> None:
        for key, value in over.items():
            if isinstance(value, Mapping) and isinstance(under.get(key), dict):
                lay(under[key], value)
            else:
                under[key] = copy.deepcopy(value)

    lay(into, layer)
    origins.update({key: origin for key, _ in _flatten(layer)})


def _validate(merged: dict[str, Any], origins: Mapping[str, str]) -> dict[str, Any]:
    from pydantic import ValidationError

    from omni.settings import Settings, describe

    try:
        return Settings.model_validate(merged).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if isinstance(part, str))
        where = origins.get(key) or next(
            (o for k, o in origins.items() if k.startswith(f"{key}.")), "the configuration"
        )
        if first["type"] == "extra_forbidden":
            raise _unknown(key, where, list(describe())) from None
        reason = first["msg"].removeprefix("Value error, ")
        meaning = describe().get(key, {}).get("help", "it is a table of settings.")
        raise ConfigError(
            f"{key} = {first['input']!r} (set by {where}) is not possible: {reason[:1].lower()}{reason[1:]}.",
            f"What it means: {meaning}",
        ) from None


def _unknown(key: str, where: str, known: list[str]) -> ConfigError:
    """The error for a key nobody knows, with the nearest one that exists."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.0) if known else []
    leaf = difflib.get_close_matches(key.rsplit(".", 1)[-1], [k.rsplit(".", 1)[-1] for k in known], n=1, cutoff=0.75)
    if leaf and not difflib.get_close_matches(key, known, n=1, cutoff=0.75):
        near = [k for k in known if k.rsplit(".", 1)[-1] == leaf[0]][:1]
    remedy = f"The nearest setting is {near[0]!r}." if near else "It has no settings at all."
    return ConfigError(f"There is no setting {key!r} (set by {where or 'the configuration'}).", remedy)


def _check_value(key: str, value: Any, spec: Mapping[str, Any], where: str) -> Any:
    """One plugin setting against its manifest's table: type, choices, minimum, maximum."""
    kind = str(spec.get("type", "string"))
    allowed = _TYPES.get(kind, (object,))
    wrong = not isinstance(value, allowed) or (
        isinstance(value, bool) and bool not in allowed and object not in allowed
    )
    reason = ""
    if wrong:
        reason = f"it must be {'an' if kind[0] in 'aeio' else 'a'} {kind}"
    elif spec.get("choices") and value not in spec["choices"]:
        reason = f"it must be one of {', '.join(map(str, spec['choices']))}"
    elif "minimum" in spec and value < spec["minimum"]:
        reason = f"it must be at least {spec['minimum']}"
    elif "maximum" in spec and value > spec["maximum"]:
        reason = f"it must be at most {spec['maximum']}"
    if reason:
        raise ConfigError(f"{key} = {value!r} (set by {where}) is not possible: {reason}.", str(spec.get("help", "")))
    return value
