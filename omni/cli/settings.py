"""`omni config`: settings, each with its origin."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

app = typer.Typer(name="config", help="Show and change settings, and say where each comes from.", no_args_is_help=True)


@app.command()
def show(
    prefix: Annotated[str, typer.Argument(metavar="[KEY]", help="A key, or the beginning of keys.")] = "",
    origin: Annotated[bool, typer.Option("--origin", help="Say which layer set each value.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """All settings in force, those of plugins with their defaults too.

    Example:  omni config show server --origin
    """
    from omni.errors import ConfigError

    rows = [row for row in _rows() if row[0] == prefix or row[0].startswith(f"{prefix}.") or not prefix]
    if not rows:
        raise ConfigError(f"There is no setting {prefix!r}.", "`omni config show` lists all.")
    if as_json:
        found = [{"key": key, "value": value, "origin": where} for key, value, where in rows]
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, where in rows:
        line = f"{key:<{width}}  {json.dumps(value, ensure_ascii=False)}"
        typer.echo(f"{line:<{width + 34}}  {where}" if origin else line)


def _rows() -> list[tuple[str, Any, str]]:
    """(key, value, origin) of the kernel's settings and the plugins'; secrets are not shown."""
    from omni.config import is_secret, load_config
    from omni.host.discovery import discover
    from omni.host.registry import Registry

    config = load_config()
    rows = {key: (value, where) for key, value, where in config.items()}
    for found in discover((), Registry.read(config.data_dir).environments()):
        if found.manifest:
            for key, value in config.plugin(found.id, found.manifest.config_schema()).items():
                full = f"plugins.{found.id}.{key}"
                rows[full] = (value, config.origin(full) or f"manifest of {found.id}")
    hidden = [
        (key, "(set)" if value and is_secret(key) else value, where)
        for key, (value, where) in rows.items()
    ]
    return sorted(hidden, key=lambda row: (row[0].startswith("plugins."), row[0]))


@app.command("set")
def set_value(
    key: Annotated[str, typer.Argument(help="The setting, e.g. server.port or plugins.speech.voice.")],
    value: Annotated[str, typer.Argument(help='The value, as TOML: 9000, true, "text", ["a", "b"].')],
) -> None:
    """Write a setting into your own file; it is checked first.

    Example:  omni config set chat.endpoint http://127.0.0.1:11434/v1
    """
    from omni.config import Config, is_secret, parse_value, save_setting
    from omni.errors import ConfigError

    parsed = parse_value(value)
    parts = key.split(".")
    if parts[0] == "plugins" and len(parts) > 2:
        from omni.host.discovery import discover

        manifests = {found.id: found.manifest for found in discover() if found.manifest}
        if parts[1] not in manifests:
            known = ", ".join(sorted(manifests)) or "none is installed"
            raise ConfigError(f"There is no plugin {parts[1]!r}.", f"There are: {known}.")
        name = ".".join(parts[2:])
        trial = Config({"plugins": {parts[1]: {name: parsed}}}, {key: "the command line"})
        trial.plugin(parts[1], manifests[parts[1]].config_schema())
    path = save_setting(key, parsed)
    shown = "(set)" if parsed and is_secret(key) else json.dumps(parsed, ensure_ascii=False)
    typer.echo(f"{key} = {shown} in {path}")


@app.command()
def unset(key: Annotated[str, typer.Argument(help="The setting to forget.")]) -> None:
    """Take a setting out of your own file, so that its default holds again.

    Example:  omni config unset server.port
    """
    from omni.config import save_setting

    typer.echo(f"{key} is unset in {save_setting(key, None)}")


@app.command()
def path() -> None:
    """Where your own settings, the data and the models are.

    Example:  omni config path
    """
    from omni.config import config_root, load_config, user_file

    config = load_config()
    for name, place in [
        ("settings", user_file()), ("defaults", config_root() / "default.toml"),
        ("data", config.data_dir), ("models", config.models_dir),
    ]:  # fmt: skip
        typer.echo(f"{name:<9} {place}{'' if place.exists() else '  (not there yet)'}")
