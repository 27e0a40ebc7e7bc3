"""What photo search registers: tools for the planner and the panel."""

from __future__ import annotations

from pathlib import Path

from omni.host.hookspecs import Check, Panel, PluginContext, hookimpl
from omni.tools import Tool

ICON = '<svg viewBox="0 0 24 24"><path d="M3 5h13v11H3zM7 19h14V8M3 13l4-4 3 3 2-2 4 4M12 8h.01"/></svg>'


def folder_of(context: PluginContext) -> Path:
    """Where the index lies."""
    chosen = context.config.get("folder") or ""
    return Path(chosen).expanduser() if chosen else context.data


class ImageSearch:
    """See `plugin.toml`."""

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """Find by words, find by example."""
        from omni_image_search.tools import tools

        return tools(self._library(context))

    @hookimpl
    def omni_panels(self, context: PluginContext) -> list[Panel]:
        """The wall of photos."""
        from omni_image_search.panel import PhotoWall

        wall = PhotoWall(self._library(context))
        static = Path(__file__).parent / "static"
        return [Panel("photos", "Photos", static, icon=ICON, handlers=wall.handlers(), media=wall.media)]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """What is indexed, and which formats can't be read."""
        from omni_image_search.library import checks

        return checks(folder_of(context))

    def _library(self, context: PluginContext) -> object:
        """One index, opened by whoever asks first."""
        from omni_image_search.library import Library

        known = getattr(self, "_shared", None)
        if known is None or known[0] is not context:
            known = self._shared = (context, Library(folder_of(context), context.host, context.config))
        return known[1]


plugin = ImageSearch()
