"""A command group that knows its commands by name and imports one only when it is run."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


@dataclass(frozen=True, slots=True)
class Lazy:
    """Where a command is (`module:attribute`, a `typer.Typer` or a function) and its line in the help."""

    target: str
    help: str
    plugin: str = ""


#: Omni's own commands, in the order of the help.
OWN: dict[str, Lazy] = {
    "run": Lazy("omni.cli.run:run", "Start Omni and print the address of its page."),
    "chat": Lazy("omni.cli.chat:chat", "Talk by keyboard, in this terminal."),
    "demo": Lazy("omni.cli.run:demo", "Show the main job without microphone or browser."),
    "models": Lazy("omni.cli.models:app", "List, fetch, verify and remove models."),
    "plugin": Lazy("omni.cli.plugin:app", "List, install and govern plugins."),
    "mcp": Lazy("omni.cli.mcp:mcp", "Serve Omni's tools to other assistants (Model Context Protocol)."),
    "serve-plugin": Lazy("omni.cli.serve:serve_plugin", "Lend a plugin of this machine to Omni on others."),
    "config": Lazy("omni.cli.settings:app", "Show and change settings, and say where each comes from."),
    "doctor": Lazy("omni.cli.doctor:doctor", "Check devices, models, ports and plugins; say how to mend each."),
    "replay": Lazy("omni.cli.replay:replay", "Play a recorded session again and show what changed."),
}


def plugin_commands() -> dict[str, Lazy]:
    """The commands of installed plugins, from their manifests; no plugin code is imported."""
    found: dict[str, Lazy] = {}
    for entry in importlib.metadata.entry_points(group="omni.plugins"):
        for command in _manifest_commands(entry.value.split(":")[0]):
            name, target = str(command.get("name", "")), str(command.get("target", ""))
            if name and ":" in target and name not in OWN and name not in found:
                found[name] = Lazy(target, str(command.get("help", "")), entry.name)
    return found


def _manifest_commands(package: str) -> list[dict[str, Any]]:
    try:
        spec = importlib.util.find_spec(package.split(".")[0])
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder, *package.split(".")[1:], "plugin.toml")
            if path.is_file():
                commands = tomllib.loads(path.read_text(encoding="utf-8")).get("commands", [])
                return [command for command in commands if isinstance(command, dict)]
    except (ImportError, ValueError, OSError, AttributeError):
        pass  # a plugin that can't be read has no commands; `omni plugin list` says why
    return []


class LazyGroup(TyperGroup):
    """Omni's commands and those of plugins. Listing them imports none."""

    _plugins: dict[str, Lazy] | None = None

    def _known(self, name: str) -> Lazy | None:
        if name in OWN:
            return OWN[name]
        return self._of_plugins().get(name)

    def _of_plugins(self) -> dict[str, Lazy]:
        if self._plugins is None:
            self._plugins = plugin_commands()
        return self._plugins

    def list_commands(self, ctx: Any) -> list[str]:
        """All names: Omni's own first, then the plugins'."""
        return [*OWN, *sorted(self._of_plugins())]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in with the help line; the real command is made when it is run."""
        lazy = self._known(cmd_name)
        if lazy is None:
            return None
        panel = "Commands of plugins" if lazy.plugin else "Commands"
        return TyperCommand(cmd_name, help=lazy.help, short_help=lazy.help, rich_help_panel=panel)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Import the command that is about to run. A plugin's that can't be imported says so and nothing more."""
        name, command, rest = super().resolve_command(ctx, args)
        lazy = self._known(name) if name else None
        return name, load(name, lazy) if name and lazy else command, rest


def load(name: str, lazy: Lazy) -> Any:
    """The command itself. Raises `PluginError` when a plugin's command can't be imported."""
    module_name, attribute = lazy.target.split(":")
    try:
        target = getattr(importlib.import_module(module_name), attribute)
        return as_command(name, target, lazy.help)
    except Exception as error:
        if not lazy.plugin:
            raise
        from omni.errors import PluginError

        reason = f"{type(error).__name__}: {error}"
        remedy = f"`omni plugin info {lazy.plugin}` says more about it."
        raise PluginError(f"`omni {name}` of the plugin {lazy.plugin} can't be loaded ({reason}).", remedy) from error


def as_command(name: str, target: Any, help_text: str = "") -> Any:
    """A `typer.Typer`, or a function, as a command of that name."""
    if not isinstance(target, typer.Typer):
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(name)(target)
        command = typer.main.get_command(app)
    else:
        target.info.help = target.info.help or help_text
        command = typer.main.get_command(target) if _is_single(target) else typer.main.get_group(target)
    command.name = name
    return command


def _is_single(app: typer.Typer) -> bool:
    groups: Sequence[Any] = app.registered_groups
    return not groups and app.registered_callback is None and len(app.registered_commands) == 1
