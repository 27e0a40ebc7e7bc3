"""What this plugin registers: the calculator, the clock, files, the web, attachments, the whiteboard."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

from pydantic import Field

from omni.host.hookspecs import Check, Panel, PluginContext, StageOffer, hookimpl
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
        self._boards = None

    def _shared_boards(self):  # type: ignore[no-untyped-def]
        from omni_tools.whiteboard.boards import Boards

        self._boards = self._boards or Boards()
        return self._boards

    def _shared_timers(self, context: PluginContext):  # type: ignore[no-untyped-def]
        from omni_tools.timers import Timers

        if self._timers is None:
            self._timers = Timers(context.data / "timers.json")
        return self._timers

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """The tools; their examples stand in the manifest."""
        from omni_tools import calculator, clock, naming, web
        from omni_tools.attachments import read_attachment
        from omni_tools.files import FileTools, Roots
        from omni_tools.whiteboard.drawing import WhiteboardTools

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
            tool(files.list_files, extract=naming.read_folder),
            tool(files.read_file, extract=naming.read_path),
            tool(files.find_files, extract=naming.read_name),
            tool(files.explain_code),
            tool(pages.fetch_page, effect=Effect.IDEMPOTENT, extract=web.read_url),
            tool(read_attachment),
            *WhiteboardTools(context, self._shared_boards()).tools(),
        ]

    @hookimpl
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """The bell that announces what is due, and the board that keeps what is drawn."""
        from omni_tools.bell import Bell
        from omni_tools.whiteboard.boards import WhiteboardStage

        timers, boards = self._shared_timers(context), self._shared_boards()
        return [
            StageOffer("bell", lambda: Bell(timers), role="bell"),
            StageOffer("whiteboard", lambda: WhiteboardStage(boards), role="whiteboard"),
        ]

    @hookimpl
    def omni_panels(self, context: PluginContext) -> list[Panel]:
        """The whiteboard."""
        static = Path(__file__).parent / "whiteboard" / "static"
        icon = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M4 4h16v12H4zM8 20l4-4 4 4M8 12l3-4 2 2 3-3"/></svg>'
        handlers = {"snapshot": self._shared_boards().snapshot}
        return [Panel("whiteboard", "Board", static, "panel.js", icon, handlers)]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """Whether there is a folder to look into."""
        from omni_tools.files import Roots

        found = [path for path in Roots(list(context.config.get("roots", []))).paths if path.is_dir()]
        detail = ", ".join(map(str, found)) or "no folder is granted, so files and code can't be read"
        return [Check("granted folders", bool(found), detail, 'Set roots = ["~/Documents"] under [plugins.tools].')]


plugin = Tools()
