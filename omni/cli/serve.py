"""`omni serve-plugin`: lend a plugin of this machine to Omni on others."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from omni.config import Config


def serve_plugin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The plugin's id, as `omni plugin list` shows it.")],
    broker: Annotated[
        str, typer.Option(metavar="URL", help="mqtt://[user:password@]host:port, mqtts:// for TLS.")
    ] = "",
    ca: Annotated[str, typer.Option(metavar="FILE", help="The authority of the broker's certificate (PEM).")] = "",
    slots: Annotated[int, typer.Option(min=1, max=256, help="Requests worked on at once; others wait.")] = 4,
    plugin: Annotated[list[Path] | None, typer.Option("--plugin", help="A folder to run it from source.")] = None,
    profile: Annotated[str, typer.Option(metavar="NAME", help="A profile of settings: a name or a TOML file.")] = "",
) -> None:
    """Serve a plugin of this machine to Omni elsewhere, through an MQTT broker. Ctrl-C ends it in order.

    The user and password may also stand in the settings: remote.username and remote.password.
    """
    from omni.cli.run import settings

    config = settings(profile, flags={"remote.broker": ""})
    with contextlib.suppress(KeyboardInterrupt, asyncio.CancelledError):
        asyncio.run(_serve(config, name, broker or _configured(profile), ca, slots, plugin or []))


def _configured(profile: str) -> str:
    from omni.config import load_config
    from omni.errors import ConfigError

    url = load_config(profile=profile or None).get("remote.broker", "")
    if not url or url == "embedded":
        raise ConfigError("No broker is named.", "Add --broker mqtt://host:1883, or set remote.broker.")
    return str(url)


async def _serve(config: Config, name: str, url: str, ca: str, slots: int, sources: list[Path]) -> None:
    from omni.catalogue.store import ModelStore
    from omni.host.host import Host
    from omni.host.serving import Worker
    from omni.wire.mqtt import Address

    address = Address.parse(
        url, ca or config.get("remote.ca", ""), config.get("remote.username", ""), config.get("remote.password", "")
    )

    def said(sentence: str) -> None:
        sys.stdout.write(sentence + "\n")
        sys.stdout.flush()

    host = Host(config, ModelStore.from_config(config), config.data_dir, sources=sources, only=_needed(name, sources))
    await host.start()
    try:
        worker = Worker(host, name, address, slots=slots, said=said)
        running = asyncio.ensure_future(worker.run())
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C alone
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await running
    finally:
        await host.stop()


def _needed(name: str, sources: list[Path]) -> set[str]:
    """The plugin and those that offer what it needs or wants: nothing else is loaded."""
    from omni.host.discovery import discover

    manifests = {one.id: one.manifest for one in discover(sources) if one.manifest is not None}
    needed, waiting = set(), [name]
    while waiting:
        id = waiting.pop()
        if id in needed:
            continue
        needed.add(id)
        manifest = manifests.get(id)
        wanted = {*manifest.needs, *manifest.wants} if manifest else set()
        waiting += [other for other, one in manifests.items() if one.offered() & wanted]
    return needed
