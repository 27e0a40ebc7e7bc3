"""The process of an isolated plugin: gives up what was not granted, loads the plugin, serves it until the host is gone.

Started by `omni.host.isolated` as `python -m omni.host.child SOCKET READ WRITE` with its order on stdin.
The imports at the top are light on purpose: nothing may start a thread before `confine`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import socket
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Confine, then serve."""
    sock, read_fd, write_fd = (int(argument) for argument in sys.argv[1:4])
    order = json.load(sys.stdin)
    _die_with_the_host()
    for folder in order["path"]:
        sys.path.insert(0, folder)
    from omni.wire.confine import confine

    layers = confine(
        order["id"],
        network=order["permissions"].get("network", ()),
        readable=[*order["readable"], *order["path"]],
        writable=[order["data"], *order["permissions"].get("files", ())],
        programs=order["permissions"].get("subprocess", False),
    )
    asyncio.run(_serve(socket.socket(fileno=sock), read_fd, write_fd, order, layers))


def _die_with_the_host() -> None:
    """On Linux the kernel kills this process when the host dies, even while it hangs."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL


async def _serve(sock: socket.socket, read_fd: int, write_fd: int, order: dict[str, Any], layers: list[str]) -> None:
    from omni.wire.arena import Arena
    from omni.wire.peer import Peer
    from omni.wire.process import SocketLink

    plugin = Served(order, layers)
    plugin.peer = Peer(
        await SocketLink.on(sock), plugin.handle, arena=Arena(write_fd, read_fd), note=plugin.note, name="Omni"
    )
    await plugin.peer.run()
    await plugin.close()


class Served:
    """The plugin in this process: what the host asks is looked up here."""

    def __init__(self, order: dict[str, Any], layers: list[str]) -> None:
        self.peer: Any = None
        self._order = order
        self._layers = layers
        self._loaded: Any = None
        self._instances: dict[str, Any] = {}
        self._stages: dict[str, Any] = {}

    def handle(self, target: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """What the host asks: an awaitable or an async iterator."""
        kind, _, name = target.partition(":")
        if kind == "plugin":
            return self._describe() if method == "describe" else self._doctor()
        if kind == "offer":
            return self._offer(name, method, args, kwargs)
        if kind == "tool":
            return self._tool(name, *args)
        if kind == "panel":
            panel = next(panel for panel in self._loaded.panels if panel.id == name)
            return panel.handlers[method](*args) if method else panel.media(*args)
        return self._run_stage(name, *args)

    def note(self, target: str, value: Any) -> None:
        """An event for a stage that runs here."""
        if (inbox := self._stages.get(target)) is not None:
            inbox.put(value)

    async def _describe(self) -> dict[str, Any]:
        from omni.errors import OmniError
        from omni.host.hookspecs import PluginContext
        from omni.host.loader import _entry, register
        from omni.host.manifest import read_manifest
        from omni.host.remote import describe

        manifest = read_manifest(Path(self._order["manifest"]))
        context = PluginContext(
            manifest.id, self._order["config"], Path(self._order["data"]), ChildStore(self.peer), ChildHost(self.peer)
        )
        # In a thread, so that the host's pings are answered while a large library is imported.
        self._loaded = await asyncio.to_thread(lambda: register(manifest, _entry(manifest), context))
        try:
            self._instances = {offer.id: offer.factory() for offer in self._loaded.offers}
        except OmniError:
            raise
        return describe(self._loaded, self._instances) | {"layers": self._layers}

    async def _doctor(self) -> list[dict[str, Any]]:
        import dataclasses

        return [dataclasses.asdict(check) for check in await asyncio.to_thread(self._loaded.doctor)]

    def _offer(self, name: str, method: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
        offer = next(offer for offer in self._loaded.offers if offer.id == name)
        if method == "open":
            return self._open(offer)
        return getattr(self._instances[name], method)(*args, **kwargs)

    async def _open(self, offer: Any) -> dict[str, Any]:
        from omni.host.remote import attributes

        await self._instances[offer.id].open()
        return attributes(offer.capability, self._instances[offer.id])

    async def _tool(self, name: str, arguments: dict[str, Any], context: dict[str, Any]) -> Any:
        from omni.host.remote import unpack_context

        tool = next(tool for tool in self._loaded.tools if tool.name == name)
        return await tool(arguments, unpack_context(context))

    async def _run_stage(self, name: str, run: str, session_id: str, settings: dict[str, Any]) -> None:
        """Run a stage on a session of its own, whose bus is fed by the host and whose events go to the host."""
        from omni.host.far_stages import serve_stage
        from omni.session import Session

        offer = next(stage for stage in self._loaded.stages if stage.name == name)
        session = Session(ChildHost(self.peer), id=session_id, settings=settings)
        await serve_stage(offer, session, self.peer, run, self._stages)

    async def close(self) -> None:
        """The host is gone: close what is open, within a second."""
        for instance in self._instances.values():
            try:
                async with asyncio.timeout(1.0):
                    await instance.close()
            except Exception:  # nobody is left to hear of it
                continue


class ChildHost:
    """The host as a plugin in a process of its own sees it: other plugins' capabilities, by way of the host."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer
        self.generation = 0

    async def peer(self) -> Any:
        """The connection to the host (this is a `Reach`)."""
        return self._peer

    def get(self, capability: type, **features: Any) -> Any:
        """As `Host.get`; that nobody offers it is said by the first call."""
        from omni.host.remote import remote_class

        return remote_class(capability)(self, f"host:{capability.__name__}:{json.dumps(features)}", {})


class ChildStore:
    """The model store as such a plugin sees it: the host fetches and verifies, the plugin reads."""

    def __init__(self, peer: Any) -> None:
        self._peer = peer

    async def path(self, model_id: str, progress: Any = None) -> Path:
        """The folder of a model that the manifest names."""
        return Path(await self._peer.call("models", "path", (model_id,)))


if __name__ == "__main__":
    main()
