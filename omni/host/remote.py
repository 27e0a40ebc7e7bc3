"""Plugins elsewhere, seen from here: capabilities, tools, panels and stages whose work is done at the other end.

`describe` and `serve_offer` are what that other end does; nothing here knows how it is reached.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from omni.capabilities import BY_NAME
from omni.errors import CapabilityUnavailable, PluginError
from omni.host.hookspecs import Check, Offer, Panel, StageOffer
from omni.host.loader import Loaded
from omni.host.manifest import Manifest
from omni.host.proxies import methods
from omni.tools import Effect, Tool, ToolContext
from omni.wire.peer import Peer


class Reach(Protocol):
    """How the other end is reached. `generation` counts its lives: what was open in one is closed in the next."""

    generation: int

    async def peer(self) -> Peer:
        """The live connection; waits while the other end starts. Raises `PluginError` when it is given up."""


def attribute_names(capability: type) -> list[str]:
    """The values (not methods) an implementation of a Protocol carries, e.g. `rate`."""
    return sorted(
        {name for cls in capability.__mro__ for name in getattr(cls, "__annotations__", {}) if name[0] != "_"}
    )


class RemoteCapability:
    """The base of all remote implementations: opens at the other end, and again after that was restarted."""

    _capability: type

    def __init__(self, reach: Reach, target: str, attributes: Mapping[str, Any]) -> None:
        self._reach = reach
        self._target = target
        self._generation = -1
        self._set(attributes)

    def _set(self, attributes: Mapping[str, Any] | None) -> None:
        for name, value in (attributes or {}).items():
            if name in attribute_names(self._capability):
                setattr(self, name, value)

    async def open(self) -> None:
        """Open it at the other end."""
        peer = await self._reach.peer()
        generation = self._reach.generation
        self._set(await peer.call(self._target, "open"))
        self._generation = generation

    async def close(self) -> None:
        """Close it at the other end, if that is still there. Idempotent."""
        if self._generation == self._reach.generation:
            self._generation = -1
            peer = await self._reach.peer()
            if not peer.closed:
                await peer.call(self._target, "close")

    async def _ready(self) -> Peer:
        peer = await self._reach.peer()
        if self._generation != self._reach.generation:
            await self.open()
        return peer


def _remote_method(name: str, kind: str) -> Callable[..., Any]:
    if kind == "call":

        async def method(self: RemoteCapability, *args: Any, **kwargs: Any) -> Any:
            peer = await self._ready()
            return await peer.call(self._target, name, args, kwargs)
    elif kind == "stream":

        async def method(self: RemoteCapability, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            peer = await self._ready()
            stream = peer.stream(self._target, name, args, kwargs)
            try:
                async for item in stream:
                    yield item
            finally:
                await stream.aclose()
    else:

        def method(self: RemoteCapability, *args: Any, **kwargs: Any) -> Any:
            raise CapabilityUnavailable(f"{name} answers at once, which can't be done from another process.")

    method.__name__ = name
    return method


@functools.cache
def remote_class(capability: type) -> type[RemoteCapability]:
    """The remote implementation of a Protocol."""
    body: dict[str, Any] = {name: _remote_method(name, kind) for name, kind in methods(capability).items()}
    return type(f"Remote{capability.__name__}", (RemoteCapability,), body | {"_capability": capability})


# --- at the other end -----------------------------------------------------------------------------


def describe(loaded: Loaded, instances: Mapping[str, Any]) -> dict[str, Any]:
    """What a plugin registered, ready for the wire. `instances` are its offers' implementations by offer id."""
    return {
        "offers": [
            {
                "capability": offer.capability.__name__, "id": offer.id, "priority": offer.priority,
                "features": offer.features, "deadline_s": offer.deadline_s, "models": list(offer.models),
                "attributes": attributes(offer.capability, instances[offer.id]),
            }
            for offer in loaded.offers
        ],
        "tools": [
            {
                "name": tool.name, "description": tool.description, "parameters": tool.parameters,
                "effect": tool.effect.value, "examples": list(tool.examples), "deadline_s": tool.deadline_s,
            }
            for tool in loaded.tools
        ],
        "stages": [{"name": stage.name, "role": stage.role, "priority": stage.priority} for stage in loaded.stages],
        "panels": [
            {
                "id": panel.id, "title": panel.title, "static": str(panel.static), "module": panel.module,
                "icon": panel.icon, "handlers": sorted(panel.handlers), "media": panel.media is not None,
            }
            for panel in loaded.panels
        ],
    }  # fmt: skip


def attributes(capability: type, instance: Any) -> dict[str, Any]:
    """The values of an implementation that are there now."""
    found = {name: getattr(instance, name, None) for name in attribute_names(capability)}
    return {name: value for name, value in found.items() if value is not None}


def pack_context(context: ToolContext) -> dict[str, Any]:
    """What of a tool's context travels: everything but the session."""
    return {
        "turn": context.turn,
        "revision": context.revision,
        "request": context.request,
        "attachments": list(context.attachments),
    }


def unpack_context(packed: Mapping[str, Any]) -> ToolContext:
    """The context at the other end; `session` is None there."""
    return ToolContext(None, packed["turn"], packed["revision"], packed["request"], tuple(packed["attachments"]))


# --- at this end ----------------------------------------------------------------------------------


def as_loaded(
    manifest: Manifest, said: Mapping[str, Any], reach: Reach, stage: Callable[[str], Callable[[], Any]]
) -> Loaded:
    """What the other end described, as if it had been registered here. `stage(name)` makes a stage's factory."""
    offers = []
    for one in said["offers"]:
        capability = BY_NAME[one["capability"]]
        if "sync" in methods(capability).values():
            raise PluginError(
                f"{manifest.id!r} offers {capability.__name__}, which answers at once: that can't be done from afar.",
                'Set isolation = "in-process" for it, or leave that capability out.',
            )
        make = functools.partial(remote_class(capability), reach, f"offer:{one['id']}", one["attributes"])
        offers.append(
            Offer(
                capability, one["id"], make, one["priority"], one["features"], one["deadline_s"], tuple(one["models"])
            )
        )
    stages = [StageOffer(one["name"], stage(one["name"]), one["role"], one["priority"]) for one in said["stages"]]
    if any(one.role == "turns" for one in stages):
        raise PluginError(f"{manifest.id!r} numbers the turns, which can't be done from another process.")
    tools = [_tool(manifest, one, reach) for one in said["tools"]]
    panels = [_panel(one, reach) for one in said["panels"]]
    return Loaded(manifest, offers, tools, stages, panels)


def _tool(manifest: Manifest, said: Mapping[str, Any], reach: Reach) -> Tool:
    async def run(*, context: ToolContext, **arguments: Any) -> Any:
        peer = await reach.peer()
        return await peer.call(f"tool:{said['name']}", "run", (arguments, pack_context(context)))

    return Tool(
        said["name"], said["description"], said["parameters"], Effect(said["effect"]), run, tuple(said["examples"]),
        said["deadline_s"], manifest.id, takes_context=True,
    )  # fmt: skip


def _panel(said: Mapping[str, Any], reach: Reach) -> Panel:
    def handler(name: str) -> Callable[[dict[str, Any]], Awaitable[Any]]:
        async def run(argument: dict[str, Any]) -> Any:
            return await (await reach.peer()).call(f"panel:{said['id']}", name, (argument,))

        return run

    async def media(name: str) -> tuple[bytes, str]:
        data, mime = await (await reach.peer()).call(f"panel:{said['id']}", "", (name,))
        return data, mime

    handlers = {name: handler(name) for name in said["handlers"]}
    static = Path(said["static"])
    return Panel(
        said["id"], said["title"], static, said["module"], said["icon"], handlers, media if said["media"] else None
    )


def checks(said: list[dict[str, Any]]) -> list[Check]:
    """What the other end's doctor said."""
    return [Check(one["name"], bool(one["ok"]), one["detail"], one.get("remedy", "")) for one in said]
