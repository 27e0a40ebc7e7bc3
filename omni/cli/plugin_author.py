"""`omni plugin new|update-template|dev|check|bench`: what a plugin's author does, day by day."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

Project = Annotated[Path, typer.Argument(metavar="PATH", help="The plugin's folder.")]
Only = Annotated[str, typer.Option(metavar="A,B", help="Load these plugins alone, and the one in PATH.")]


def new(
    name: Annotated[str, typer.Argument(help="Its name, e.g. 'Word counter'.")],
    kind: Annotated[
        str, typer.Option(help="transcriber, synthesizer, chat, vision, embedder, tool, stage or panel.")
    ] = "tool",
    into: Annotated[Path, typer.Option(metavar="DIR", help="The folder in which the project is made.")] = Path(),
) -> None:
    """Write a plugin that works, with its tests.

    Example:  omni plugin new "Word counter" --kind tool
    """
    from omni.host.scaffold import create

    project = create(name, kind, into)
    sys.stdout.write(
        f"{project} is written. Next:\n\n"
        f"  cd {project}\n"
        "  pytest                    # its tests, and the contract every plugin keeps\n"
        "  omni plugin dev .         # Omni with this plugin from source, loaded anew on save\n"
    )


def update_template(project: Project = Path()) -> None:
    """Bring a plugin that `omni plugin new` wrote up to the template of this Omni; your changes stay."""
    from omni.host.scaffold import update

    changes = update(project)
    for change in changes:
        sys.stdout.write(f"{change.what:<9} {change.path}\n")
    if not changes:
        sys.stdout.write("It is up to date.\n")
    if any(change.what == "conflict" for change in changes):
        sys.stderr.write("Look for <<<<<<< in the files with a conflict, and keep what is right.\n")
        raise typer.Exit(1)


def dev(
    project: Project = Path(),
    only: Only = "",
    port: Annotated[
        int,
        typer.Option(
            metavar="PORT", help="The port of the page; 0 takes a free one.", min=-1, max=65535,
            show_default="as configured",
        ),
    ] = -1,
) -> None:
    """Run Omni with the plugin in PATH from source, and load it anew whenever a file of it is saved.

    The conversation goes on meanwhile. What fails to load is said, and tried again at the next save.
    """
    import asyncio
    import contextlib

    from omni.cli.run import make_runtime, serve_page, settings
    from omni.host.devloop import follow, the_one_in

    found = the_one_in(project)
    sys.dont_write_bytecode = True  # two saves within a second would be one to Python's cache
    config = settings(flags={"server.port": port if port >= 0 else None})
    runtime = make_runtime(config, f"{only},{found.id}" if only else "", sources=[project])

    async def develop() -> None:
        watcher = asyncio.create_task(follow(runtime.host, found, typer.echo), name="watch the plugin")
        try:
            await serve_page(config, runtime)
        finally:
            watcher.cancel()
            await asyncio.gather(watcher, return_exceptions=True)

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(develop())


def check(
    project: Project = Path(),
    with_models: Annotated[bool, typer.Option("--with-models", help="Try the offers that need models too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what keeps a plugin from being published: manifest, package, permissions, licences, cost, contract."""
    import json
    from dataclasses import asdict

    from omni.host.checkup import checkup

    outcomes = []
    for outcome in checkup(project, with_models=with_models):
        outcomes.append(outcome)
        if not as_json:
            colour = {"broken": "red", "warning": "yellow"}.get(outcome.result)
            line = f"{outcome.result:<8} {outcome.rule.replace('_', ' '):<34} {outcome.detail}".rstrip()
            typer.secho(line, fg=colour)
    if as_json:
        sys.stdout.write(json.dumps([asdict(outcome) for outcome in outcomes], indent=1) + "\n")
    broken = sum(outcome.result == "broken" for outcome in outcomes)
    if broken:
        sys.stderr.write(f"{broken} of {len(outcomes)} are broken.\n")
        raise typer.Exit(1)
    if not as_json:
        sys.stdout.write("Nothing is broken.\n")


def bench(
    plugin: Annotated[str, typer.Argument(metavar="ID|PATH", help="An installed plugin's id, or a folder.")] = ".",
    calls: Annotated[int, typer.Option(help="Calls of each method, at most.", min=1)] = 200,
    seconds: Annotated[float, typer.Option(help="Seconds each method is called, at most.", min=0.1)] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure load time, memory and latency per call on this machine, beside the plugins it could replace."""
    import json

    from omni.cli.plugin import data_dir
    from omni.host.benching import compare

    rows = compare(plugin, data_dir(), calls=calls, seconds=seconds, say=_say)
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    columns = ("plugin", "offer", "method", "load_s", "open_s", "ram_mb", "p50_ms", "p95_ms", "calls", "note")
    table = [[column.upper() for column in columns], *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[number]) for line in table) for number in range(len(columns))]
    for line in table:
        sys.stdout.write("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() + "\n")


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else "-" if value is None else str(value)


def _say(text: str) -> None:
    sys.stderr.write(f"... {text}\n")
