"""`omni memory`: recall, timeline, export, forget, stats."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from omni.capabilities import Moment
from omni.errors import BadInput, OmniError

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Search, export, forget: what Omni remembers.")

Folder = Annotated[Path | None, typer.Option("--folder", help="Another memory folder than the configured one.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
After = Annotated[str, typer.Option("--after", help="From this time on: 2026-03-01 or 2026-03-01T14:00.")]
Before = Annotated[str, typer.Option("--before", help="Up to this time.")]
Sources = Annotated[list[str] | None, typer.Option("--source", help="Only from: speech, note, screen, tool, ...")]
Sessions = Annotated[list[str] | None, typer.Option("--session", help="Only from this conversation.")]


@app.command(epilog='Example: omni memory recall "when is the dentist" --source speech')
def recall(
    query: Annotated[str, typer.Argument(help="What to look for; empty shows the latest.")] = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 5,
    source: Sources = None,
    session: Sessions = None,
    after: After = "",
    before: Before = "",
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Find moments by meaning and by words."""
    span = {"after": _time(after), "before": _time(before)}
    found = _with(folder, lambda m: m.recall(query, limit=limit, sources=source or (), sessions=session or (), **span))
    if as_json:
        typer.echo(json.dumps([{**_plain(r.moment), "score": r.score, "ranks": r.ranks} for r in found], indent=2))
        return
    for recalled in found:
        _show(recalled.moment)
    if not found:
        typer.echo("Nothing remembered fits.")


@app.command(epilog="Example: omni memory timeline --after 2026-03-01 --before 2026-03-02")
def timeline(
    session: Annotated[str, typer.Argument(help="A conversation's id; empty shows all of them.")] = "",
    after: After = "",
    before: Before = "",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000)] = 100,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show what happened, in order of time."""
    span = {"after": _time(after), "before": _time(before)}
    found = _with(folder, lambda m: m.timeline(session, limit=limit, **span))
    if as_json:
        typer.echo(json.dumps([_plain(moment) for moment in found], indent=2))
        return
    for moment in found:
        _show(moment)


@app.command(epilog="Example: omni memory export memory.jsonl")
def export(
    path: Annotated[Path | None, typer.Argument(help="The file to write; without one, standard output.")] = None,
    source: Sources = None,
    session: Sessions = None,
    after: After = "",
    before: Before = "",
    folder: Folder = None,
) -> None:
    """Write everything as JSON lines, one moment each, with references to its media."""
    from omni_memory.export import write_jsonl

    filters = {"sources": source or (), "sessions": session or (), "after": _time(after), "before": _time(before)}

    async def run(memory: Any) -> int:
        return await write_jsonl(memory, path, **filters)

    count = _with(folder, run)
    if path is not None:
        typer.echo(f"{count} moments in {path}.")


@app.command(epilog='Example: omni memory forget --about "salary"   or: omni memory forget --before 2025-01-01')
def forget(
    ids: Annotated[list[str] | None, typer.Argument(help="Ids of moments (see recall --json).")] = None,
    about: Annotated[str, typer.Option("--about", help="Everything that holds all of these words.")] = "",
    source: Sources = None,
    session: Sessions = None,
    after: After = "",
    before: Before = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Delete moments for good: from the tables, their indices, old versions and the journal."""
    from omni_memory.tools import forget_about

    filters = {"sources": source or (), "sessions": session or (), "after": _time(after), "before": _time(before)}
    if about and (ids or any(filters.values())):
        _fail(BadInput("--about goes alone.", "Use it without ids and filters."))
    if not (ids or about or any(value not in (None, ()) for value in filters.values())):
        _fail(BadInput("Nothing was said about what to forget.", "Give ids, --about, --session or a time."))
    if not yes:
        if as_json or not sys.stdin.isatty():
            _fail(BadInput("Forgetting can't be undone and nobody can be asked here.", "Add --yes."))
        typer.confirm("This can't be undone. Forget?", abort=True)

    async def run(memory: Any) -> int:
        return await forget_about(memory, about) if about else await memory.forget(ids or (), **filters)

    count = _with(folder, run)
    typer.echo(json.dumps({"forgotten": count}) if as_json else f"{count} moments are gone for good.")


@app.command(epilog="Example: omni memory stats --json")
def stats(folder: Folder = None, as_json: Json = False) -> None:
    """Counts and sizes."""
    found = _with(folder, lambda m: m.stats())
    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(found), indent=2))
        return
    span = f", {_clock(found.oldest)} to {_clock(found.newest)}" if found.oldest and found.newest else ""
    typer.echo(f"{found.moments} moments{span}; {found.bytes / 1e6:.1f} MB; {found.waiting} in the journal.")
    for name, count in found.by_source.items():
        typer.echo(f"  {name:<12}{count:>9}")
    for name, count in found.spaces.items():
        typer.echo(f"  vectors of {name}: {count}")
    if found.trouble:
        typer.echo(found.trouble)


def _with(folder: Path | None, use: Callable[[Any], Awaitable[T]]) -> T:
    """Open the memory, use it, close it. A running Omni keeps writing; this process reads and hands over."""

    async def run() -> T:
        from omni_memory.memory import LanceMemory

        place = folder or default_folder()
        if not (place / "meta.json").exists():
            raise BadInput(f"There is no memory in {place} yet.", "Talk to Omni first (omni run), or name a --folder.")
        memory = LanceMemory(place)
        await memory.open()
        try:
            return await use(memory)
        finally:
            await memory.close()

    try:
        return asyncio.run(run())
    except OmniError as error:
        _fail(error)


def default_folder() -> Path:
    """Where the running Omni keeps its memory."""
    from omni.config import load_config

    config = load_config()
    chosen = config.get("plugins.memory.folder", "") or ""
    return Path(chosen).expanduser() if chosen else Path(config.data_dir) / "plugins" / "memory"


def _fail(error: OmniError) -> Any:
    typer.echo(str(error), err=True)
    raise typer.Exit(error.exit_code)


def _time(text: str) -> float | None:
    """Unix seconds of an ISO date or time in the machine's zone."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        _fail(BadInput(f"{text!r} is not a time.", "Write 2026-03-01 or 2026-03-01T14:00."))
        return None


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _plain(moment: Moment) -> dict[str, Any]:
    return {k: v for k, v in dataclasses.asdict(moment).items() if k != "vectors"}


def _show(moment: Moment) -> None:
    who = moment.data.get("role", "")
    text = " ".join(moment.text.split())
    width = max(20, (os.get_terminal_size().columns if sys.stdout.isatty() else 120) - 40)
    typer.echo(f"{_clock(moment.start)}  {moment.source + (f'/{who}' if who else ''):<18} {text[:width]}")
