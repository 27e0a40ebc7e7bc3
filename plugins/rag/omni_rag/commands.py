"""`omni docs`: index, ask, find, list, problems, forget."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from omni_rag.library import Library

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True, help="Ask your documents; answers come with page and place.", add_completion=False
)

Folder = Annotated[Path | None, typer.Option("--folder", help="Another folder for the index than the configured one.")]
Json = Annotated[bool, typer.Option("--json", help="As JSON.")]
In = Annotated[
    list[str] | None, typer.Option("--in", metavar="NAME", help="Only in documents of this name; may be repeated.")
]


@app.command(epilog="Example: omni docs index ~/Documents/manuals")
def index(
    targets: Annotated[
        list[Path], typer.Argument(metavar="FILE|DIR...", help="PDF, text, Markdown and HTML files, and folders.")
    ],
    memory: Annotated[
        bool, typer.Option("--memory/--no-memory", help="Tell the shared memory of what is read.")
    ] = True,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Read what is new or changed. Exit status 0, or 4 when something could not be read."""
    from dataclasses import asdict

    from omni_rag.showing import Meter, summed

    with Meter(quiet=as_json) as meter:
        summary = _with(
            folder, lambda library: library.index(targets, meter.tell), memory=memory, models=("vision", "language")
        )
    typer.echo(json.dumps(asdict(summary), ensure_ascii=False) if as_json else summed(summary))
    if summary.problems:
        raise typer.Exit(4)


@app.command(epilog='Example: omni docs ask "how do I fit the legs?" --crop legs.png')
def ask(
    question: Annotated[str, typer.Argument(help="What you want to know.")],
    within: In = None,
    crop: Annotated[
        Path | None, typer.Option("--crop", metavar="OUT.png", help="Write the cited part of the page, marked.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The document's own words; no chat model is loaded.")] = False,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Answer from the documents, with document, page and box. Exit status 5 when they do not say."""
    from omni.errors import BadInput
    from omni_rag.showing import shown

    async def run(library: Library) -> Any:
        answer = await library.ask(question, within or (), word=not quick and library.word)
        if crop and answer.citations:
            data = await library.crop(answer.citations[0])
            try:
                crop.write_bytes(data)
            except OSError as error:
                raise BadInput(f"{crop} can't be written: {error.strerror}.", "Name another file.") from error
        return answer

    answer = _with(folder, run, models=("language",))
    typer.echo(json.dumps(answer.plain(), ensure_ascii=False) if as_json else shown(answer, crop))
    if not answer.supported:
        raise typer.Exit(5)


@app.command(epilog='Example: omni docs find "warranty period" --in invoice')
def find(
    query: Annotated[str, typer.Argument(help="Words, or what it is about.")],
    within: In = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=20)] = 8,
    folder: Folder = None,
    as_json: Json = False,
) -> None:
    """Show the passages that fit best."""
    found = _with(folder, lambda library: library.find(query, within or (), limit), models=("language",))
    if as_json:
        typer.echo(json.dumps([one.plain() for one in found], ensure_ascii=False))
        return
    for one in found:
        typer.echo(f"{one.document}, page {one.page} ({one.kind})\n    {one.quote}")
    if not found:
        typer.echo("Nothing fits.")


@app.command("list")
def list_(folder: Folder = None, as_json: Json = False) -> None:
    """Show which documents can be asked."""

    async def run(library: Library) -> Any:
        return await asyncio.to_thread(library.store.documents)

    found = _with(folder, run)
    if as_json:
        typer.echo(
            json.dumps(
                [{"name": d.name, "title": d.title, "pages": d.pages, "paths": d.paths} for d in found],
                ensure_ascii=False,
            )
        )
        return
    for document in found:
        pages = "1 page" if document.pages == 1 else f"{document.pages} pages"
        typer.echo(f"{document.name}  {pages}  {document.title}".rstrip())
    typer.echo(
        ("1 document." if len(found) == 1 else f"{len(found)} documents.")
        if found
        else "No document has been indexed yet: omni docs index FOLDER"
    )


@app.command()
def problems(folder: Folder = None, as_json: Json = False) -> None:
    """Show what could not be read, and why. Exit status 4 when there is something."""

    async def run(library: Library) -> Any:
        return await asyncio.to_thread(library.store.problems)

    from omni_rag.showing import sentence

    found = _with(folder, run)
    if as_json:
        typer.echo(
            json.dumps(
                [{"path": path, "page": page, "message": message} for path, page, message in found], ensure_ascii=False
            )
        )
    else:
        for problem in found:
            typer.echo(sentence(*problem))
        if not found:
            typer.echo("Everything could be read.")
    if found:
        raise typer.Exit(4)


@app.command(epilog="Example: omni docs forget tax-2023.pdf --yes")
def forget(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of documents, or parts of them.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    folder: Folder = None,
) -> None:
    """Drop documents from the index and the memory. The files stay where they are."""
    if not yes:
        if not sys.stdin.isatty():
            typer.echo("Nobody can be asked here. Add --yes.", err=True)
            raise typer.Exit(2)
        typer.confirm(f"Drop what was read of {', '.join(names)}?", abort=True)
    gone = _with(folder, lambda library: library.forget(names), memory=True)
    typer.echo(f"Forgotten: {', '.join(gone)}.")


def _with(
    folder: Path | None, run: Callable[[Library], Awaitable[T]], *, models: tuple[str, ...] = (), memory: bool = False
) -> T:
    """Run something on the library, with the plugins it needs; a trouble is a sentence and an exit status."""
    from omni.errors import OmniError

    try:
        return asyncio.run(_run(folder, run, models, memory))
    except OmniError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. What was read is kept; the next run goes on from there.", err=True)
        raise typer.Exit(130) from None


def _configured(own: dict[str, Any], data: Path) -> Path:
    """The folder of the index that the settings name."""
    return Path(own["folder"]).expanduser() if own.get("folder") else data / "plugins" / "rag"


async def _run(folder: Path | None, run: Callable[[Library], Awaitable[T]], models: tuple[str, ...], memory: bool) -> T:
    from omni.catalogue.store import ModelStore
    from omni.cli.run import settings
    from omni.host.host import Host
    from omni_rag.library import Library

    config = settings(quiet=True)
    own = dict(config.get("plugins.rag") or {})
    place = folder or _configured(own, config.data_dir)
    wanted = {*models, *({"memory"} if memory and folder is None else ())}
    if not wanted:
        library = Library(place, None, own)
        try:
            return await run(library)
        finally:
            library.close()
    host = Host(config, ModelStore.from_config(config), config.data_dir, only=wanted)
    await host.start()
    library = Library(place, host, own)
    try:
        return await run(library)
    finally:
        library.close()
        await host.stop()
