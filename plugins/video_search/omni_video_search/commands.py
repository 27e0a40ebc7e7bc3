"""`omni video index | search | show | problems`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import typer

app = typer.Typer(help="Find moments in videos by what is said, shown, written and heard.", add_completion=False)
ID = "video_search"


@app.command()
def index(
    paths: list[Path] = typer.Argument(..., help="videos, or folders with videos"),
    speech: bool = typer.Option(True, help="recognise what is said"),
    text: bool = typer.Option(True, help="read the writing in the picture"),
    as_json: bool = typer.Option(False, "--json", help="the summary as one JSON object"),
) -> None:
    """Put videos on timelines. What was done before is kept; stopped at any point, it goes on there."""
    _run(_index(paths, speech, text, as_json))


@app.command()
def search(
    question: str = typer.Argument(..., help='such as "the part where she talks about X while a map is shown"'),
    limit: int = typer.Option(5, "--limit", "-n", min=1, max=100),
    as_json: bool = typer.Option(False, "--json", help="everything as one JSON object"),
) -> None:
    """Find the moments that fit. Ends with 1 when nothing fits."""
    _run(_search(question, limit, as_json))


@app.command()
def show(
    file: Path = typer.Argument(..., help="an indexed video"),
    as_json: bool = typer.Option(False, "--json", help="the timeline as one JSON object"),
) -> None:
    """Show the timeline of a video."""
    _run(_show(file, as_json))


@app.command()
def problems(as_json: bool = typer.Option(False, "--json")) -> None:
    """What could not be indexed, and why. Ends with 1 when there is something."""
    _run(_problems(as_json))


def _run(work: Coroutine[Any, Any, int]) -> None:
    from omni.errors import OmniError

    try:
        code = asyncio.run(work)
    except OmniError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. What was done is kept; the same command goes on there.", err=True)
        raise typer.Exit(130) from None
    if code:
        raise typer.Exit(code)


@contextlib.asynccontextmanager
async def _host(*only: str) -> AsyncIterator[tuple[Any, Any]]:
    """(host, config), started with the plugins that are needed."""
    from omni.catalogue.store import ModelStore
    from omni.cli.run import settings
    from omni.host.host import Host

    config = settings(quiet=True)
    host = Host(config, ModelStore.from_config(config), config.data_dir, only=set(only))
    await host.start()
    try:
        yield host, config
    finally:
        await host.stop()


def _store(config: Any) -> Any:
    from omni_video_search.timeline import Timelines

    return Timelines(Path(config.data_dir) / "plugins" / ID)


async def _index(paths: list[Path], speech: bool, text: bool, as_json: bool) -> int:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from omni_video_search.indexer import Indexer, Step
    from omni_video_search.remembering import remember

    console = Console(stderr=True)
    async with _host("speech", "language", "vision", "memory", ID) as (host, config):
        wanted = config.get(f"plugins.{ID}") or {}
        store, began = _store(config), time.perf_counter()
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=console, transient=True) as bar:
            task, current = bar.add_task("", total=None, rate=""), [Path(), 0.0]

            def step(step: Step) -> None:
                """Draw how far a video is."""
                if current[0] != step.path:
                    current[:] = [step.path, time.perf_counter()]
                    bar.reset(task)
                spent = time.perf_counter() - current[1]
                rate = (
                    f"{step.done / (step.total or 1) * step.total / 3 / spent:.1f} s of video a second"
                    if spent > 1
                    else ""
                )
                bar.update(
                    task, description=f"{step.path.name}: {step.what}", completed=step.done, total=step.total, rate=rate
                )

            indexer = Indexer(
                store, host, language=wanted.get("language") or None, speech=speech and wanted.get("speech", True),
                writing=text and wanted.get("screen_text", True), on_step=step,
            )  # fmt: skip
            summary = await indexer.index(paths)
        remembered = await remember(store, host, int(wanted.get("remember", 40)))
        store.close()
    if as_json:
        typer.echo(json.dumps({
            "indexed": summary.indexed, "unchanged": summary.unchanged, "gone": summary.gone,
            "video_s": round(summary.video_s, 2), "seconds": round(time.perf_counter() - began, 2),
            "seconds_per_hour": summary.cost and round(summary.cost, 1), "remembered": remembered,
            "problems": [{"path": p, "message": m} for p, m in summary.problems], "missing": summary.missing,
        }))  # fmt: skip
    else:
        _tell(summary, remembered)
    return 1 if summary.problems else 0


def _tell(summary: Any, remembered: int) -> None:
    from omni_video_search.remembering import clock

    typer.echo(
        f"{summary.indexed} indexed, {summary.unchanged} unchanged, {summary.gone} gone, "
        f"{len(summary.problems)} with problems; {remembered} moments remembered."
    )
    if summary.cost:
        typer.echo(
            f"{clock(summary.video_s)} of video in {summary.seconds:.0f} s: an hour of video costs "
            f"{summary.cost / 60:.1f} minutes ({summary.video_s / max(summary.seconds, 1e-6):.1f} times real time)."
        )
    for what, why in summary.missing.items():
        typer.echo(f"without {what}: {why}")
    for path, message in summary.problems[:10]:
        typer.echo(f"! {message}" if path in message else f"! {path}: {message}")
    if len(summary.problems) > 10:
        typer.echo(f"and {len(summary.problems) - 10} more: omni video problems")


async def _search(question: str, limit: int, as_json: bool) -> int:
    from omni_video_search.query import parse
    from omni_video_search.remembering import clock
    from omni_video_search.search import Finder

    async with _host("language", "vision", ID) as (host, config):
        store = _store(config)
        began = time.perf_counter()
        found = await Finder(store, host).find(question, limit=limit)
        empty = not store.videos()
        store.close()
    if as_json:
        parts = [{"text": p.text, "weights": p.weights, "sounds": p.sounds} for p in parse(question)]
        seconds = round(time.perf_counter() - began, 3)
        typer.echo(
            json.dumps({"moments": [f.plain() for f in found], "parts": parts, "seconds": seconds}, ensure_ascii=False)
        )
    elif not found:
        typer.echo("No videos are indexed yet: omni video index DIR" if empty else "Nothing in the videos fits that.")
    for rank, f in enumerate(found if not as_json else (), 1):
        typer.echo(f"{rank}. {f.video.name}  {clock(f.start)}-{clock(f.end)}  ({f.confidence:.2f})  {f.video.path}")
        for e in f.evidence[:4]:
            typer.echo(f"     {e.stream:<8} {clock(e.at):>7}  {e.score:.2f}  {e.text[:100]}")
    return 0 if found else 1


async def _show(file: Path, as_json: bool) -> int:
    from omni.cli.run import settings
    from omni.errors import BadInput
    from omni_video_search import media
    from omni_video_search.library import describe
    from omni_video_search.remembering import clock

    store = _store(settings(quiet=True))
    wanted = str(media.absolute(file))
    videos = [v for v in store.videos() if wanted in v.paths or v.name == file.name]
    if not videos:
        raise BadInput(f"{file} is not indexed.", f"Run: omni video index {file}")
    video, entries = videos[0], store.entries(videos[0].digest)
    if as_json:
        rows = [{"stream": e.stream, "start": e.start, "end": e.end, "label": e.label, "text": e.text} for e in entries]
        typer.echo(json.dumps({**describe(video), "state": video.state, "entries": rows}, ensure_ascii=False))
        return 0
    sound = "sound" if video.has_audio else "no sound"
    typer.echo(f"{video.path}  {clock(video.duration)}  {video.width}x{video.height}  {sound}  {video.state}")
    for line in _strips(entries, video.duration):
        typer.echo(line)
    for e in entries:
        if e.stream not in ("shot",):
            typer.echo(f"{clock(e.start):>8} {clock(e.end):>8}  {e.stream:<8} {(e.text or e.label)[:110]}")
    return 0


def _strips(entries: list[Any], duration: float, width: int = 72) -> list[str]:
    """One line a stream: where something is."""
    lines = []
    for stream, mark in (("cut", "|"), ("fade", ":"), ("speech", "="), ("screen", "T"), ("sound", "~")):
        row = [" "] * width
        for e in entries:
            if e.stream == stream and e.label not in ("silence", "speech"):
                first = min(int(e.start / max(duration, 0.1) * width), width - 1)
                last = max(first + 1, min(int(e.end / max(duration, 0.1) * width), width))
                row[first:last] = mark * (last - first)
        lines.append(f"{stream:>8} [{''.join(row)}]")
    return lines


async def _problems(as_json: bool) -> int:
    from omni.cli.run import settings

    found = _store(settings(quiet=True)).problems()
    if as_json:
        typer.echo(json.dumps([{"path": p, "message": m} for p, m in found], ensure_ascii=False))
    else:
        for path, message in found:
            typer.echo(message if path in message else f"{path}: {message}")
        if not found:
            typer.echo("No problems.")
    return 1 if found else 0
