"""`omni photos`: index, search, like, duplicates, problems, tune, albums, forget."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from omni_image_search.library import Library
    from omni_image_search.search import Found

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="Find your photos by what they show.", add_completion=False)

Folder = Annotated[Path | None, typer.Option("--index", metavar="DIR", help="Another index than the configured one.")]
Json = Annotated[bool, typer.Option("--json", help="As one JSON object.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, max=5000, help="At most so many.")]
Sheet = Annotated[Path | None, typer.Option("--open", metavar="FILE.html", help="Write a contact sheet to look at.")]
Score = Annotated[str, typer.Option("--min-score", help="auto (the measured cut-off), none, or a number.")]
#: What a run of indexing needs of the other plugins.
_SEEING = ("vision", "language", "memory", "image_search")
#: What a question needs.
_ASKING = ("vision", "language", "image_search")


@app.command(epilog="Example: omni photos index ~/Pictures")
def index(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders with photos.")],
    read: Annotated[
        bool, typer.Option("--read", help="Also read the text in the photos (about a second each).")
    ] = False,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what could not be read before.")] = False,
    place: Folder = None,
    as_json: Json = False,
) -> None:
    """Take folders in: what is new or changed is looked at, what is gone is dropped. Can be stopped and run again."""

    async def run(library: Library) -> list[Any]:
        from omni_image_search.showing import Bar

        summaries = []
        for folder in folders:
            with Bar(quiet=as_json) as bar:
                summaries.append(await library.index(folder, read=read or None, retry=retry, progress=bar.update))
        return summaries

    summaries, library = _with(place, run, _SEEING)
    if as_json:
        import msgspec

        typer.echo(json.dumps([msgspec.to_builtins(one) for one in summaries], ensure_ascii=False))
    else:
        from omni_image_search.showing import show_summary

        for summary in summaries:
            show_summary(summary, library.missing)
    if any(one.problems or not one.complete for one in summaries):
        raise typer.Exit(4)


@app.command(epilog='Example: omni photos search "a cat in a hat" --minus dog --after 2024 --open found.html')
def search(
    text: Annotated[str, typer.Argument(help="What the photos show.")] = "",
    like: Annotated[
        list[Path] | None, typer.Option("--like", metavar="IMG", help="And look like this picture.")
    ] = None,
    minus: Annotated[list[str] | None, typer.Option("--minus", metavar="WORDS", help="And do not show this.")] = None,
    after: Annotated[str, typer.Option("--after", help="Taken in or after 2024, 2024-07 or 2024-07-31.")] = "",
    before: Annotated[str, typer.Option("--before", help="Taken before.")] = "",
    limit: Limit = 20,
    min_score: Score = "auto",
    sheet: Sheet = None,
    place: Folder = None,
    as_json: Json = False,
) -> None:
    """Find photos by words, by example, or both. Ends with 1 when nothing fits."""
    from omni_image_search.query import Query, moment

    def query() -> Query:
        return Query(
            text=text,
            like=tuple(_bytes(one) for one in like or ()),
            minus=tuple(minus or ()),
            after=moment(after),
            before=moment(before),
            limit=limit,
            min_score=_score(min_score),
        )

    found, library = _with(place, lambda library: library.search(query()), _ASKING)
    _answer(found, library, text, sheet, as_json)


@app.command(epilog="Example: omni photos like holiday.jpg")
def like(
    picture: Annotated[Path, typer.Argument(metavar="IMG")],
    limit: Limit = 20,
    min_score: Score = "none",
    sheet: Sheet = None,
    place: Folder = None,
    as_json: Json = False,
) -> None:
    """Find photos that look like a picture."""
    from omni_image_search.query import Query

    def query() -> Query:
        return Query(like=(_bytes(picture),), limit=limit, min_score=_score(min_score))

    found, library = _with(place, lambda library: library.search(query()), _ASKING)
    _answer(found, library, picture.name, sheet, as_json)


@app.command(epilog="Example: omni photos duplicates --json")
def duplicates(place: Folder = None, as_json: Json = False) -> None:
    """Show files with the same content and pictures that are the same to the eye."""
    from dataclasses import asdict

    from omni_image_search.duplicates import groups

    found, _ = _with(place, lambda library: asyncio.to_thread(groups, library.store))
    if as_json:
        typer.echo(json.dumps([asdict(group) for group in found], ensure_ascii=False))
        return
    for group in found:
        typer.echo("the same file" if group.exact else "the same picture")
        for path in group.paths:
            typer.echo(f"  {path}")
    typer.echo(f"{len(found)} groups." if found else "No photo is there twice.")


@app.command(epilog="Example: omni photos problems")
def problems(place: Folder = None, as_json: Json = False) -> None:
    """Show the files that could not be indexed, and what to do about each. Ends with 4 when there are any."""
    import msgspec

    found, _ = _with(place, lambda library: asyncio.to_thread(library.store.problems))
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found), ensure_ascii=False))
    else:
        alike: dict[str, list[str]] = {}
        for problem in found:
            alike.setdefault(f"{problem.what} {problem.remedy}", []).append(problem.path)
        for what, paths in alike.items():
            typer.echo(what)
            for path in paths:
                typer.echo(f"  {path}")
        many = "1 file" if len(found) == 1 else f"{len(found)} files"
        typer.echo(f"{many} could not be indexed." if found else "Everything could be indexed.")
    if found:
        raise typer.Exit(4)


@app.command(epilog="Example: omni photos tune   and back: omni photos tune --revert")
def tune(
    revert: Annotated[bool, typer.Option("--revert", help="Search as before.")] = False,
    place: Folder = None,
    as_json: Json = False,
) -> None:
    """Fit search to your own captions, titles and file names; kept only if it helps on photos held out."""
    from omni_image_search import tune as fitting

    if revert:
        known, _ = _with(place, lambda library: asyncio.to_thread(fitting.revert, library.store))
        typer.echo("Search is as before." if known else "Nothing had been fitted.")
        return
    report, _ = _with(place, lambda library: fitting.tune(library.store, library.host), _ASKING)
    if as_json:
        typer.echo(json.dumps(report))
        return
    plain, tuned = report["plain"], report["tuned"]
    typer.echo(f"Fitted to {report['captioned']} captioned photos in {report['seconds']} s.")
    typer.echo(f"Of {report['held_out']} photos held out, found by their caption:")
    for key, name in (("recall@1", "first"), ("recall@5", "among the first 5"), ("recall@10", "among the first 10")):
        typer.echo(f"  {name:<20} {plain[key]:6.1%}  ->  {tuned[key]:6.1%}")
    typer.echo("Back to before: omni photos tune --revert")


@app.command(epilog="Example: omni photos albums")
def albums(place: Folder = None, as_json: Json = False) -> None:
    """Show the indexed folders."""
    import msgspec

    found, _ = _with(place, lambda library: asyncio.to_thread(library.store.albums))
    if as_json:
        typer.echo(json.dumps(msgspec.to_builtins(found), ensure_ascii=False))
        return
    for album in found:
        state = "" if album.finished else ", not finished yet"
        typer.echo(f"{album.root}: {album.files} files, {album.photos} photos, {album.problems} problems{state}")
    if not found:
        typer.echo("No folder is indexed yet: omni photos index DIR")


@app.command(epilog="Example: omni photos forget ~/Pictures/private")
def forget(
    folder: Annotated[Path, typer.Argument(metavar="DIR_OR_FILE")],
    place: Folder = None,
) -> None:
    """Drop what the index knows of a folder or a file. The photos themselves are not touched."""
    count, _ = _with(place, lambda library: asyncio.to_thread(library.forget, folder))
    typer.echo("1 file is forgotten." if count == 1 else f"{count} files are forgotten.")


def _with(place: Path | None, use: Callable[[Library], Awaitable[T]], only: tuple[str, ...] = ()) -> tuple[T, Library]:
    """Open the index, with the plugins that are needed; errors become sentences and exit codes."""
    from omni.errors import OmniError

    try:
        return asyncio.run(_run(place, use, only))
    except OmniError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("Stopped. What was done is kept; run it again to go on.", err=True)
        raise typer.Exit(130) from None


async def _run(place: Path | None, use: Callable[[Library], Awaitable[T]], only: tuple[str, ...]) -> tuple[T, Library]:
    from omni.catalogue.store import ModelStore
    from omni.cli.run import settings
    from omni.host.host import Host
    from omni_image_search.library import Library

    config = settings(quiet=True)
    folder = place or _configured(config)
    host = Host(config, ModelStore.from_config(config), config.data_dir, only=set(only))
    await host.start()
    library = Library(folder, host, config.get("plugins.image_search") or {})
    try:
        return await use(library), library
    finally:
        library.close()
        await host.stop()


def _configured(config: Any) -> Path:
    chosen = config.get("plugins.image_search.folder") or ""
    return Path(chosen).expanduser() if chosen else config.data_dir / "plugins" / "image_search"


def _answer(found: Found, library: Library, title: str, sheet: Path | None, as_json: bool) -> None:
    from omni_image_search.showing import show_hits
    from omni_image_search.store import Store

    if sheet is not None:
        from omni_image_search.sheet import write

        store = Store(library.folder)
        try:
            write(sheet, title, found.hits, store.thumb)
        finally:
            store.close()
    if as_json:
        fields = {"note": found.note, "searched": found.searched, "of": found.of, "best": round(found.best, 3)}
        typer.echo(json.dumps({"hits": [hit.plain() for hit in found.hits], **fields}, ensure_ascii=False))
    else:
        show_hits(found)
        if sheet is not None:
            typer.echo(f"Contact sheet: {sheet.absolute().as_uri()}")
    if not found.hits:
        raise typer.Exit(1)


def _bytes(path: Path) -> bytes:
    """A picture as an upright JPEG, whatever format it has. Raises `BadInput`."""
    from omni.errors import BadInput
    from omni_image_search.decoding import decode
    from omni_image_search.records import Problem

    found = decode(str(path.expanduser()))
    if isinstance(found, Problem):
        raise BadInput(f"{path}: {found.what}", found.remedy)
    return found.preview


def _score(said: str) -> float | str | None:
    from omni.errors import BadInput

    if said in ("auto", "none", ""):
        return "auto" if said == "auto" else None
    try:
        return float(said)
    except ValueError as error:
        raise BadInput(f"{said!r} is no score.", "Give a number, auto or none.") from error
