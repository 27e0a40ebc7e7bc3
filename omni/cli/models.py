"""`omni models`: what there is, what it costs, where it stands under which licence."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from omni.catalogue import ModelStore, Progress

app = typer.Typer(name="models", help="List, fetch, verify and remove models.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Ids = Annotated[list[str] | None, typer.Argument(metavar="ID...", help="Models, as `omni models list` shows them.")]


def _store() -> ModelStore:
    from omni.catalogue import ModelStore
    from omni.config import load_config

    return ModelStore.from_config(load_config())


@contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Progress of pulls on stderr, with rate and time left: a bar in a terminal, a line now and then elsewhere."""
    if sys.stderr.isatty():
        with _bars() as report:
            yield report
    else:
        yield _lines()


@contextmanager
def _bars() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    name = TextColumn("{task.description:<32}")
    columns = (name, BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    tasks: dict[str, Any] = {}
    with Bars(*columns, console=Console(stderr=True)) as bars:

        def report(update: Progress) -> None:
            if update.model not in tasks:
                tasks[update.model] = bars.add_task(update.model, total=update.total)
            text = f"{update.model} ({update.phase})"
            bars.update(tasks[update.model], description=text, total=update.total, completed=update.done)

        yield report


def _lines(every_s: float = 5.0) -> Callable[[Progress], None]:
    import time

    last: dict[tuple[str, str], float] = {}

    def report(update: Progress) -> None:
        key, now = (update.model, update.phase), time.monotonic()
        if now - last.setdefault(key, now) < every_s:
            return
        last[key] = now
        left = f", {update.eta_s:.0f} s left" if update.eta_s else ""
        done, total, rate = update.done / 1e6, update.total / 1e6, update.rate / 1e6
        typer.echo(f"{update.model}: {update.phase} {done:.0f} of {total:.0f} MB, {rate:.1f} MB/s{left}", err=True)

    return report


@app.command("list")
def list_models(as_json: AsJson = False) -> None:
    """All models: task, size, licence, state.

    Example:  omni models list --json
    """
    from omni.catalogue.transfer import megabytes

    store = _store()
    entries = list(store.catalogue)
    if as_json:
        rows = [
            {
                "id": entry.id, "name": entry.name, "task": entry.task, "bytes": entry.size, "licence": entry.licence,
                "licence_found": entry.licence_found, "default": entry.default, "state": store.state(entry.id),
                "folder": str(store.folder(entry.id)), "sources": [source.kind for source in entry.sources],
                "notes": entry.notes,
            }
            for entry in entries
        ]  # fmt: skip
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    rows = [("MODEL", "TASK", "SIZE", "LICENCE", "STATE", "FROM")]
    for entry in entries:
        state = store.state(entry.id) + (" *" if entry.default else "")
        sources = ", ".join(source.kind for source in entry.sources)
        rows.append((entry.id, entry.task, megabytes(entry.size), entry.licence, state, sources))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for number, row in enumerate(rows):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.secho(line.rstrip(), bold=number == 0)
    typer.echo(f"\n* fetched by default. They are kept in {store.models_dir}")


@app.command()
def pull(
    ids: Ids = None,
    default: Annotated[bool, typer.Option("--default", help="All models that are fetched by default.")] = False,
) -> None:
    """Fetch models, verify their hashes and install them. Goes on where an interrupted pull stopped.

    Examples:  omni models pull whisper-small   omni models pull --default
    """
    from omni.errors import BadInput

    store = _store()
    wanted = list(dict.fromkeys([*(ids or []), *([e.id for e in store.catalogue if e.default] if default else [])]))
    if not wanted:
        raise BadInput("No model was named.", "`omni models pull --default` fetches the defaults.")
    for model_id in wanted:
        store.catalogue.get(model_id)
    failed = asyncio.run(_pull(store, wanted))
    raise SystemExit(1 if failed else 0)


async def _pull(store: ModelStore, wanted: list[str]) -> int:
    from omni.errors import OmniError

    failed = 0
    with show_progress() as report:
        for model_id in wanted:
            try:
                had = store.state(model_id) == "installed"
                await store.pull(model_id, report)
            except OmniError as error:
                failed += 1
                typer.echo(f"{model_id}: {error}", err=True)
            else:
                licence = store.catalogue.get(model_id).licence
                typer.echo(f"{model_id}: {'is here' if had else 'installed'} ({licence}).")
    return failed


@app.command()
def verify(ids: Ids = None, as_json: AsJson = False) -> None:
    """Hash every file of installed models (all of them, or those named). Exit status 1 when one is not whole.

    Example:  omni models verify whisper-base
    """
    from omni.errors import OmniError

    store = _store()
    wanted = ids or [entry.id for entry in store.catalogue if store.folder(entry.id).is_dir()]
    results = {}

    async def check() -> None:
        with show_progress() as report:
            for model_id in wanted:
                try:
                    await store.verify(model_id, report)
                    results[model_id] = ""
                except OmniError as error:
                    results[model_id] = str(error)

    asyncio.run(check())
    if as_json:
        rows = [{"id": model_id, "ok": not problem, "problem": problem} for model_id, problem in results.items()]
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    else:
        for model_id, problem in results.items():
            typer.echo(f"{model_id}: {problem or 'whole'}")
        if not results:
            typer.echo("No models are installed. `omni models pull --default` fetches the defaults.")
    raise SystemExit(1 if any(results.values()) else 0)


@app.command()
def remove(ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Models to delete.")]) -> None:
    """Delete models from this machine; `pull` brings them back.

    Example:  omni models remove kokoro-82m
    """
    store = _store()
    for model_id in ids:
        freed = store.remove(model_id)
        typer.echo(f"{model_id}: {freed / 1e6:.0f} MB freed." if freed else f"{model_id}: was not here.")
