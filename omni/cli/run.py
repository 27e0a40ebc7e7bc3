"""`omni run` and `omni demo`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from omni.config import Config
    from omni.runtime import Runtime

Airgap = Annotated[bool, typer.Option("--airgap", help="Refuse every connection beyond this machine.")]
Only = Annotated[str, typer.Option(metavar="A,B", help="Load these plugins alone.")]
NoPlugins = Annotated[bool, typer.Option("--no-plugins", help="Load no plugin at all.")]
Profile = Annotated[str, typer.Option(metavar="NAME", help="A profile of settings: a name or a TOML file.")]
Source = Annotated[list[Path] | None, typer.Option("--plugin", help="A folder with a plugin to run from source.")]


def run(
    host: Annotated[str, typer.Option(help="The address to listen on; others get in with 0.0.0.0.")] = "",
    port: Annotated[int, typer.Option(help="The port of the page; 0 takes a free one.", min=-1, max=65535)] = -1,
    airgap: Airgap = False,
    record: Annotated[Path | None, typer.Option(metavar="DIR", help="Record every session into this folder.")] = None,
    record_media: Annotated[bool, typer.Option("--record-media", help="Record raw audio and pictures too.")] = False,
    only: Only = "",
    no_plugins: NoPlugins = False,
    plugin: Source = None,
    profile: Profile = "",
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Start Omni and print the address of its page. Ctrl-C stops it.

    Examples:  omni run   omni run --airgap --only speech,language   omni run --port 9000 --record sessions
    """
    config = settings(
        profile,
        airgap,
        {
            "server.host": host or None,
            "server.port": port if port >= 0 else None,
            "server.open_browser": True if open_browser else None,
            "record.dir": str(record) if record else None,
            "record.media": True if record_media else None,
        },
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve_page(config, make_runtime(config, only, no_plugins, plugin)))


class _Brief(logging.Formatter):
    """One line a message; tracebacks are for `--debug`."""

    def formatException(self, exc_info: Any) -> str:
        """Nothing: the message says what happened."""
        return ""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without the empty one that a hidden traceback would leave."""
        record.exc_text = None
        return super().format(record).rstrip()


def log_to_stderr(quiet: bool = False) -> None:
    """Warnings and worse (errors alone when `quiet`), one line each; everything, with tracebacks, under `--debug`."""
    layout = "%(levelname)s %(name)s: %(message)s"
    debug = bool(os.environ.get("OMNI_DEBUG"))
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(layout) if debug else _Brief(layout))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.ERROR if quiet else logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def settings(
    profile: str = "", airgap: bool = False, flags: dict[str, Any] | None = None, quiet: bool = False
) -> Config:
    """The settings in force, logging set up, and the airgap closed when it is asked for."""
    from omni import airgap as gap
    from omni.config import load_config

    log_to_stderr(quiet)
    config = load_config({**(flags or {}), "network.airgap": True if airgap else None}, profile or None)
    if config.get("network.airgap"):
        gap.install()
    return config


def make_runtime(
    config: Config,
    only: str = "",
    no_plugins: bool = False,
    sources: list[Path] | None = None,
    deny: tuple[str, ...] = (),
) -> Runtime:
    """A runtime with the plugins the settings and the flags allow."""
    from omni.host.host import Host
    from omni.runtime import Runtime

    allowed = [name.strip() for name in only.split(",") if name.strip()] or config.get("plugins.allow")
    chosen = set() if no_plugins else set(allowed) or None
    denied = (*config.get("plugins.deny"), *deny)
    folder = config.get("record.dir")
    runtime = Runtime(config, only=chosen, deny=denied, record=Path(folder) if folder else None)
    if sources:
        runtime.host = Host(config, runtime.store, config.data_dir, only=chosen, deny=denied, sources=sources)
        runtime.planner.host = runtime.host
    return runtime


async def serve_page(config: Config, runtime: Runtime) -> None:
    """Start the runtime and serve its page until Ctrl-C; then stop it."""
    from omni.server.serve import serve

    began = time.perf_counter()
    await runtime.start()
    warm: asyncio.Task[None] | None = None

    def ready(url: str) -> None:
        nonlocal warm
        typer.echo(f"Omni is at {url}")
        typer.echo("Press Ctrl-C to stop it.")
        if config.get("server.open_browser"):
            import webbrowser

            webbrowser.open(url)
        warm = asyncio.create_task(_warm(runtime, began), name="warm up")

    try:
        await serve(runtime, config.get("server.host"), config.get("server.port"), ready=ready)
    finally:
        await to_the_end(_close(runtime, warm))
        typer.echo("Stopped.")


async def _close(runtime: Runtime, warm: asyncio.Task[None] | None) -> None:
    if warm:
        warm.cancel()
        await asyncio.gather(warm, return_exceptions=True)
    await runtime.stop()


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Finish `work` although this task is being cancelled: the server hands Ctrl-C on when it has stopped.

    A second Ctrl-C while it closes gives up.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.shield(task)


async def _warm(runtime: Runtime, began: float) -> None:
    """Fetch what is missing, open the models, and say when Omni is ready and what it can't do."""
    await fetch_missing(runtime)
    missing = await runtime.warm_up(lambda part: logging.getLogger("omni").debug("opening: %s", part))
    for sentence in missing:
        typer.echo(f"Without {sentence}", err=True)
    typer.echo(f"Ready after {time.perf_counter() - began:.1f} s.")


async def fetch_missing(runtime: Runtime) -> None:
    """Fetch the models the loaded plugins require, with progress. A failure is said and stops nothing."""
    from omni.cli.models import show_progress
    from omni.errors import OmniError

    wanted: list[str] = []
    for record in runtime.host.plugins():
        if record.manifest and record.state in ("loaded", "ready", "degraded"):
            wanted += [model for model in record.manifest.models.required if model not in wanted]
    store = runtime.store
    missing = [model for model in wanted if model in store.catalogue and store.state(model) != "installed"]
    if not missing or not store.fetch:
        return
    with show_progress() as report:
        for model in missing:
            try:
                await store.path(model, report)
            except OmniError as error:
                typer.echo(str(error), err=True)


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the reply is saved.")] = Path("omni-demo"),
    airgap: Airgap = False,
    only: Only = "",
    profile: Profile = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Show the main job on a machine with neither microphone nor browser.

    Omni's own voice asks a question in real time, interrupts the answer once, and asks another; the reply
    is saved as WAV with its transcript, and the stage times are printed.

    Example:  omni demo --out demo
    """
    from omni.cli.demo import print_demo, run_demo

    config = settings(profile, airgap)
    runtime = make_runtime(config, only)

    async def play() -> Any:
        await runtime.start()
        try:
            await fetch_missing(runtime)
            for sentence in await runtime.warm_up():
                typer.echo(f"Without {sentence}", err=True)
            return await run_demo(runtime, out)
        finally:
            await runtime.stop()

    result = asyncio.run(play())
    if as_json:
        import json

        sys.stdout.write(json.dumps(result.as_json(), ensure_ascii=False) + "\n")
    else:
        print_demo(result)
