"""What plugins give to be called directly, with its deadline kept and its stray exceptions caught."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from omni.errors import OmniError
from omni.host.deadlines import bounded
from omni.host.hookspecs import Panel
from omni.host.providers import stray
from omni.tools import Tool

log = logging.getLogger("omni.host")


def contained_tool(tool: Tool) -> Tool:
    """The tool with its deadline kept and its stray exceptions turned into `PluginError`s."""
    function, extract = tool.function, tool.extract

    async def run(**arguments: Any) -> Any:
        try:
            return await bounded(function(**arguments), tool.deadline_s, f"The tool {tool.name}")
        except OmniError:
            raise
        except Exception as error:
            raise stray(tool.plugin, f"the tool {tool.name}", error) from error

    def read(text: str) -> dict[str, Any] | None:
        try:
            return extract(text)
        except Exception as error:
            log.warning("the tool %s could not read arguments from the words: %s", tool.name, error)
            return None

    return replace(tool, function=run, extract=None if extract is None else read)


def contained_panel(plugin: str, panel: Panel, deadline_s: float) -> Panel:
    """The panel with each handler's deadline kept and stray exceptions turned into `PluginError`s."""
    def guard(name: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        async def run(argument: Any) -> Any:
            try:
                return await bounded(handler(argument), deadline_s, f"{plugin} ({name})")
            except OmniError:
                raise
            except Exception as error:
                raise stray(plugin, f"the panel's {name}", error) from error

        return run

    handlers = {name: guard(name, handler) for name, handler in panel.handlers.items()}
    return replace(panel, handlers=handlers, media=guard("media", panel.media) if panel.media else None)
