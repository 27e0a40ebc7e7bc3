"""What the command prints: progress with rate and time left, summaries, answers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from omni_rag.answer import Answer
from omni_rag.indexing import Progress, Summary


class Meter:
    """A progress line on standard error, redrawn at most ten times a second; none when not on a terminal's behalf."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._status: Any = None
        self._last = 0.0
        self._plain = False

    def __enter__(self) -> Meter:
        if not self._quiet:
            from rich.console import Console

            console = Console(stderr=True)
            self._plain = not console.is_terminal
            if not self._plain:
                self._status = console.status("Looking for documents")
                self._status.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._status is not None:
            self._status.stop()

    def tell(self, progress: Progress) -> None:
        """Show how far it is."""
        now = time.monotonic()
        pause = 5.0 if self._plain else 0.1
        if self._quiet or now - self._last < pause:
            return
        self._last = now
        if self._status is not None:
            self._status.update(line(progress))
        elif self._plain:
            import typer

            typer.echo(line(progress), err=True)


def line(progress: Progress) -> str:
    """ "Reading 12 of 40: manual.pdf, page 3 of 80, 4.1 pages/s, about 2 min left"."""
    if progress.stage == "embedding":
        parts = [f"Understanding: {progress.waiting} passages left"]
    else:
        parts = [f"Reading {progress.done + 1} of {progress.files}: {Path(progress.now).name}"]
        if progress.of:
            parts.append(f"page {progress.page} of {progress.of}")
        if progress.pages:
            parts.append(f"{progress.rate():.1f} pages/s")
    left = progress.eta()
    if left is not None:
        parts.append(f"about {span(left)} left")
    return ", ".join(parts)


def span(seconds: float) -> str:
    """ "40 s", "3 min", "2 h"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def summed(summary: Summary) -> str:
    """What an indexing run did, and what it could not."""
    pages = "1 page" if summary.pages == 1 else f"{summary.pages} pages"
    said = (
        f"{summary.read} read ({pages}), {summary.unchanged} unchanged, {summary.moved} moved or copied, "
        f"{summary.gone} gone, in {span(summary.seconds)}."
    )
    lines = [sentence(*problem) for problem in summary.problems[:20]]
    if len(summary.problems) > 20:
        lines.append(f"and {len(summary.problems) - 20} more: omni docs problems")
    return "\n".join([said, *(["Not everything could be read:"] if lines else []), *lines])


def sentence(path: str, page: int, message: str) -> str:
    """A problem as a sentence."""
    where = f", page {page}" if page else ""
    return f"{path}{where}: {message}."


def shown(answer: Answer, crop: Path | None = None) -> str:
    """An answer for a terminal."""
    lines = [answer.text]
    for citation in answer.citations:
        box = ", ".join(f"{edge:.0f}" for edge in citation.box)
        lines.append(f"\n{citation.document}, page {citation.page}, box [{box}]\n  \u201c{citation.quote}\u201d")
    if crop and answer.citations:
        lines.append(f"\nThe passage, marked: {crop}")
    if not answer.supported and answer.pages:
        near = ", ".join(f"{page['document']} p. {page['page']}" for page in answer.pages[:3])
        lines.append(f"Nearest: {near}")
    return "\n".join(lines)
