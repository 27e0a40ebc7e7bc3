"""`omni plugin`: what is installed, what it may do, what it costs, and why something does not run.

Only manifests are read here; no plugin is imported.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from omni.cli import plugin_author

if TYPE_CHECKING:
    from omni.host.records import PluginRecord

app = typer.Typer(name="plugin", help="List, install and govern plugins.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Sources = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="PATH", help="A folder with a plugin to include from source.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Grant what it asks for without asking.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="The plugin's id, as `omni plugin list` shows it.")]


def data_dir() -> Path:
    """The folder with what is remembered about plugins."""
    from omni.config import default_data_dir

    return default_data_dir()


@app.command("list")
def list_plugins(as_json: AsJson = False, plugin: Sources = None) -> None:
    """State, version and cost of every plugin, and why one is refused. Loads none of them."""
    from omni.host.overview import overview

    records = overview(data_dir(), plugin or ())
    if as_json:
        sys.stdout.write(json.dumps([record.as_dict() for record in records], indent=1) + "\n")
        return
    if not records:
        sys.stdout.write("No plugins are installed. `omni plugin install NAME` adds one.\n")
        return
    _print_table(records)


def _print_table(records: list[PluginRecord]) -> None:
    """A plain table: the wide column is last, so that nothing needs to be cut."""
    rows = [("PLUGIN", "VERSION", "STATE", "TIER", "LOAD", "RAM", "")]
    for record in records:
        load = f"{record.load_s:.2f} s" if record.load_s else "-"
        ram = f"{record.ram_mb:.0f} MB" if record.ram_mb else "-"
        summary = record.manifest.summary if record.manifest else ""
        why = record.reason or summary
        rows.append((record.id, record.version or "-", record.state, record.isolation, load, ram, why))
    widths = [max(len(row[column]) for row in rows) for column in range(6)]
    for number, row in enumerate(rows):
        cells = [cell.rjust(width) if column in (4, 5) else cell.ljust(width) for column, (cell, width) in
                 enumerate(zip(row[:6], widths, strict=True))]  # fmt: skip
        line = "  ".join([*cells, row[6]]).rstrip()
        colour = {"refused": "yellow", "degraded": "yellow", "quarantined": "red"}.get(row[2])
        typer.secho(line, bold=number == 0, fg=colour if number else None)


@app.command()
def info(plugin_id: Id, as_json: AsJson = False, plugin: Sources = None) -> None:
    """Everything a plugin's manifest says, and how its last run went."""
    from omni.host.discovery import find_one
    from omni.host.overview import overview

    record = find_one(plugin_id, overview(data_dir(), plugin or ()))
    if as_json:
        sys.stdout.write(json.dumps(record.as_dict(), indent=1) + "\n")
        return
    for line in describe(record):
        sys.stdout.write(line + "\n")


def describe(record: PluginRecord, *, state: bool = True) -> list[str]:
    """A plugin in lines a person reads before letting it run; without its `state` where that is about to change."""
    lines = [f"{record.name} ({record.id}) {record.version}"]
    if state:
        lines.append(f"  state        {record.state}")
    if state and record.reason:
        lines.append(f"  why          {record.reason}")
    manifest = record.manifest
    if manifest is None:
        return lines
    enforced = "enforced" if record.isolation == "process" else "advisory: it runs in Omni's own process"
    isolation = "a process of its own" if record.isolation == "process" else "Omni's process"
    memory = f"{manifest.resources.ram_mb} MB of memory" if manifest.resources.ram_mb else "memory: not said"
    threads = manifest.resources.threads
    needs = f"{memory}, {threads} thread{'' if threads == 1 else 's'}"
    models = [*manifest.models.required, *(f"{model} (optional)" for model in manifest.models.optional)]
    facts = [
        ("what", manifest.summary),
        ("licence", manifest.licence),
        ("runs in", isolation),
        ("may", f"{', '.join(manifest.permissions.sentences()) or 'nothing beyond computing'} ({enforced})"),
        ("needs", needs),
        ("models", ", ".join(models)),
        ("offers", ", ".join(sorted(manifest.offered()))),
        ("tools", ", ".join(tool.name for tool in manifest.tools)),
        ("panels", ", ".join(panel.id for panel in manifest.panels)),
        ("commands", ", ".join(f"omni {command.name}" for command in manifest.commands)),
        ("settings", ", ".join(f"plugins.{record.id}.{key}" for key in manifest.config)),
        ("held by", ", ".join(record.confined_by)),
        ("last load", f"{record.load_s:.2f} s, {record.ram_mb:.0f} MB" if record.load_s else ""),
    ]
    return lines + [f"  {name:<12} {value}" for name, value in facts if value]


@app.command()
def enable(plugin_id: Id, yes: Yes = False) -> None:
    """Let a plugin run, after showing what it asks for."""
    from omni.host.discovery import find_one
    from omni.host.overview import overview

    record = find_one(plugin_id, overview(data_dir()))
    ask(record, yes=yes)
    remember_grant(record)
    sys.stdout.write(f"{plugin_id} is enabled; it runs from the next start.\n")


@app.command()
def disable(plugin_id: Id) -> None:
    """Keep a plugin from running; it stays installed."""
    from omni.host.discovery import find_one
    from omni.host.overview import overview
    from omni.host.registry import Registry

    find_one(plugin_id, overview(data_dir()))
    registry = Registry.read(data_dir())
    registry.of(plugin_id).enabled = False
    registry.save()
    sys.stdout.write(f"{plugin_id} is disabled from the next start. `omni plugin enable {plugin_id}` undoes this.\n")


@app.command()
def install(
    target: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH|URL", help="A name on the package index, a folder, a wheel, a wheel's URL."),
    ],
    isolated: Annotated[bool, typer.Option("--isolated", help="A process and an environment of its own.")] = False,
    yes: Yes = False,
) -> None:
    """Install a plugin: shows what it may do and what it costs, asks once, then installs."""
    import tempfile

    from omni.host.discovery import discover
    from omni.host.install import check_candidate, install_apart, install_here, look_at
    from omni.host.records import PluginRecord

    home = data_dir()
    with tempfile.TemporaryDirectory(prefix="omni-plugin-") as scratch:
        candidate = look_at(target, Path(scratch))
        manifest = candidate.manifest
        check_candidate(candidate, discover())
        apart = isolated or manifest.environment is not None
        process = apart or manifest.isolation == "process"
        record = PluginRecord(manifest.id, manifest.title, manifest.version, manifest=manifest)
        record.isolation = "process" if process else "in-process"
        ask(record, yes=yes)
        environment = ""
        if apart:
            environment = str(install_apart(candidate, home, _say))
        else:
            install_here(candidate, _say)
    remember_grant(record, isolated=process, environment=environment)
    sys.stdout.write(f"{manifest.id} {manifest.version} is installed; it runs from the next start.\n")


@app.command()
def remove(plugin_id: Id, yes: Yes = False) -> None:
    """Take a plugin off this machine; its data stays."""
    from omni.errors import Refused
    from omni.host.discovery import discover, find_one
    from omni.host.install import remove as take_away
    from omni.host.registry import Registry

    registry = Registry.read(data_dir())
    found = find_one(plugin_id, discover((), registry.environments()))
    if not yes and not agreed(f"Remove {plugin_id}?"):
        raise Refused(f"{plugin_id} stays.", "Answer y, or add --yes.")
    take_away(found, data_dir(), _say)
    registry.forget(plugin_id)
    registry.save()
    sys.stdout.write(f"{plugin_id} is removed.\n")


def _say(text: str) -> None:
    sys.stderr.write(f"... {text}\n")


def ask(record: PluginRecord, *, yes: bool) -> None:
    """Show what a plugin asks for and costs, and ask. Raises `Refused` at a no."""
    from omni.errors import Refused

    for line in describe(record, state=False):
        sys.stdout.write(line + "\n")
    if not yes and not agreed("Let it?"):
        raise Refused(f"{record.id} was not allowed to run.", "Nothing was changed. Answer y, or add --yes.")


def agreed(question: str) -> bool:
    """Ask a person; nobody there is a no."""
    try:
        return typer.confirm(question, default=False)
    except typer.Abort:
        sys.stdout.write("\n")
        return False


def remember_grant(record: PluginRecord, *, isolated: bool | None = None, environment: str = "") -> None:
    """Record the yes, so that it is asked once; a version that asks for more is asked about again."""
    from omni.host.registry import Registry

    registry = Registry.read(data_dir())
    entry = registry.of(record.id)
    entry.enabled, entry.state = True, ""
    entry.granted = record.manifest.permissions.asked() if record.manifest else {}
    if isolated is not None:
        entry.isolated, entry.environment = isolated, environment
    registry.save()


for _command in (plugin_author.new, plugin_author.dev, plugin_author.check, plugin_author.bench):
    app.command()(_command)
app.command("update-template")(plugin_author.update_template)
