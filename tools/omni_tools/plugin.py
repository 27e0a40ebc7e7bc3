"""What this plugin registers: the calculator, the clock, files, the web, attachments."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import Field

from omni.host.hookspecs import Check, PluginContext, StageOffer, hookimpl
from omni.tools import Effect, Tool, ToolResult, tool


async def calculate(
    expression: Annotated[
        str, Field(description="the calculation, e.g. 20% of 42.50 or 10 km in miles", max_length=400)
    ],
) -> ToolResult:
    """Calculate exactly: arithmetic, percentages, tips, unit conversions, equations."""
    from omni_tools.calculator import answer

    found = await asyncio.to_thread(answer, expression)
    return ToolResult(found.as_json(), say=found.say)


class Tools:
    """The plugin."""

    def __init__(self) -> None:
        self._timers = None

    def _shared_timers(self, context: PluginContext):  # type: ignore[no-untyped-def]
        from omni_tools.timers import Timers

        if self._timers is None:
            self._timers = Timers(context.data / "timers.json")
        return self._timers

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """The tools; their examples stand in the manifest."""
        from omni_tools import calculator, clock, web
        from omni_tools.attachments import read_attachment
        from omni_tools.files import FileTools, Roots

        time = clock.ClockTools(self._shared_timers(context))
        files = FileTools(Roots(list(context.config.get("roots", []))))
        pages = web.Web(list(context.config.get("web_hosts", ["*"])))
        return [
            tool(calculate, extract=calculator.read),
            tool(time.tell_time),
            tool(time.days_until, extract=clock.read_day),
            tool(time.set_timer, effect=Effect.MUTATING, extract=clock.read_timer),
            tool(time.set_reminder, effect=Effect.MUTATING, extract=clock.read_reminder),
            tool(time.list_timers),
            tool(time.cancel_timer, effect=Effect.MUTATING, extract=clock.read_which),
            tool(files.list_files),
            tool(files.read_file),
            tool(files.find_files),
            tool(files.explain_code),
            tool(pages.fetch_page, effect=Effect.IDEMPOTENT, extract=web.read_url),
            tool(read_attachment),
        ]

    @hookimpl
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """The bell that announces what is due."""
        from omni_tools.bell import Bell

        timers = self._shared_timers(context)
        return [StageOffer("bell", lambda: Bell(timers), role="bell")]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """Whether there is a folder to look into."""
        from omni_tools.files import Roots

        found = [path for path in Roots(list(context.config.get("roots", []))).paths if path.is_dir()]
        detail = ", ".join(map(str, found)) or "no folder is granted, so files and code can't be read"
        return [Check("granted folders", bool(found), detail, 'Set roots = ["~/Documents"] under [plugins.tools].')]


plugin = Tools()
