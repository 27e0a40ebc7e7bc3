"""What the commands print: a bar with rate and time left, hits, a summary."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omni_image_search.records import Summary
from omni_image_search.search import Found

MOST_PROBLEMS = 8


class Bar:
    """Progress of indexing, on standard error. `update` is an `Indexer`'s `progress`."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._progress: Any = None
        self._task: Any = None
        self._began = time.perf_counter()

    def __enter__(self) -> Bar:
        if not self._quiet:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
                TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), TextColumn("{task.fields[now]}"),
                console=Console(stderr=True), transient=True,
            )  # fmt: skip
            self._progress.start()
            self._task = self._progress.add_task("Looking at photos", total=1, rate="", now="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def update(self, summary: Summary, total: int | None, path: str) -> None:
        """A little further."""
        if self._progress is None:
            return
        done = summary.unchanged + summary.added + summary.moved + len(summary.problems)
        rate = summary.added / max(time.perf_counter() - self._began, 1e-3)
        total = max(total or 0, summary.seen, 1)
        self._progress.update(
            self._task, completed=min(done, total), total=total, rate=f"{rate:.1f} photos/s", now=Path(path).name[-28:]
        )


def show_summary(summary: Summary, missing: dict[str, str]) -> None:
    """One run, its problems, and what the index lacks."""
    import typer

    typer.echo(f"{summary.root}: {summary.sentence()}")
    if not summary.complete:
        typer.echo("The run is not complete; run it again.")
    for problem in summary.problems[:MOST_PROBLEMS]:
        typer.echo(f"  {problem.path}: {problem.what} {problem.remedy}")
    if len(summary.problems) > MOST_PROBLEMS:
        typer.echo(f"  and {len(summary.problems) - MOST_PROBLEMS} more: omni photos problems")
    if "image-text" in missing and "text" in missing:
        typer.echo(f"Photos can be found by name and caption only: {missing['text']}")


def show_hits(found: Found) -> None:
    """A line a photo: score, date, size, path, what is seen."""
    import typer

    for hit in found.hits:
        day = datetime.fromtimestamp(hit.taken, UTC).strftime("%Y-%m-%d") if hit.taken is not None else "-" * 10
        copies = f"  (+{len(hit.paths) - 1} copies)" if len(hit.paths) > 1 else ""
        typer.echo(f"{hit.score:5.2f}  {day}  {hit.paths[0] if hit.paths else '?'}{copies}")
        if hit.words:
            typer.echo(f"{'':19}{hit.words[:100]}")
    if found.note:
        typer.echo(found.note)
    if found.of and not found.hits:
        typer.echo("The nearest all the same: --min-score none")
