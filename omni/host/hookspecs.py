"""What a plugin registers. Hooks are sync and called once; what they return does the async work.

A plugin is a module-level object named in its manifest (`entry = "omni_x.plugin:plugin"`) with any of
these methods, marked `@hookimpl`. Nothing here may load a model or open a device: that is `open`'s.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from omni.tools import Tool

if TYPE_CHECKING:
    from omni.catalogue.store import ModelStore
    from omni.host.host import Host
    from omni.session import Session

hookspec = pluggy.HookspecMarker("omni")
hookimpl = pluggy.HookimplMarker("omni")


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What a plugin may use, made for it alone.

    `config` are its own settings, defaults filled in; `data` is a folder of its own (made on first
    use); `models` gives the folder of a catalogue model (`await models.path("whisper-base")`).
    """

    id: str
    config: dict[str, Any]
    data: Path
    models: ModelStore
    host: Host


@dataclass(frozen=True, slots=True)
class Offer:
    """One implementation of a capability.

    `factory` makes it, cheaply; the host opens it on first use. Of several that fit, the highest
    `priority` that is healthy is used, the next is its fallback. `features` are what `host.get`
    matches, e.g. `{"space": "text"}`.
    """

    capability: type
    id: str
    factory: Callable[[], Any]
    priority: int = 0
    features: dict[str, Any] = field(default_factory=dict)
    deadline_s: float = 30.0
    models: tuple[str, ...] = ()


class Stage(Protocol):
    """Reads events of a session and publishes others, until the session closes."""

    async def run(self, session: Session) -> None:
        """Subscribe first, then loop. Ends when its mailbox closes or it is cancelled."""


@dataclass(frozen=True, slots=True)
class StageOffer:
    """A stage, made anew for each session. `role` ("turns", "captions", ...) is unique in a session."""

    name: str
    factory: Callable[[], Stage]
    role: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Panel:
    """A page of the plugin's own in the rail.

    `module` is the JavaScript file (in the folder `static`) that defines the custom element `omni-ID`.
    `handlers` answer the panel's calls (`omni.call(method, params)`), JSON in, JSON out;
    `media(name)` gives the bytes, or the path of a file that is streamed, and the type of `/plugins/ID/media/NAME`.
    """

    id: str
    title: str
    static: Path
    module: str = "panel.js"
    icon: str = ""  #: inline SVG
    handlers: dict[str, Callable[[dict[str, Any]], Awaitable[Any]]] = field(default_factory=dict)
    media: Callable[[str], Awaitable[tuple[bytes | Path, str]]] | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What `omni doctor` found: `ok`, what it is, and how to mend it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


class Hooks:
    """The hook specifications."""

    @hookspec
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """The capabilities this plugin offers."""

    @hookspec
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """The tools this plugin gives the planner."""

    @hookspec
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """The stages every session runs."""

    @hookspec
    def omni_panels(self, context: PluginContext) -> list[Panel]:
        """The panels on the page."""

    @hookspec
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """What `omni doctor` should say about this plugin. May take up to two seconds."""
