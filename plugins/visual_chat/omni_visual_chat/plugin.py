"""What visual chat registers: tools for the planner and the stage that keeps the latest frames."""

from __future__ import annotations

from omni.host.hookspecs import PluginContext, StageOffer, hookimpl
from omni.tools import Tool, tool


class VisualChat:
    """The plugin."""

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """The tools; their examples stand in the manifest."""
        from omni_visual_chat.asking import read_field_names, read_tip
        from omni_visual_chat.seeing import Sight

        sight = Sight(context.host)
        return [
            tool(sight.look_at_camera, deadline_s=60),
            tool(sight.look_at_screen, deadline_s=60),
            tool(sight.look_at_image, deadline_s=60),
            tool(sight.transcribe_screen, deadline_s=60),
            tool(sight.read_receipt, deadline_s=60, extract=read_tip),
            tool(sight.read_document, deadline_s=120, extract=read_field_names),
        ]

    @hookimpl
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """One: the latest camera and screen frame, kept for the tools."""
        from omni_visual_chat.frames import LatestFrames

        return [StageOffer("latest_frames", LatestFrames, role="frames")]


plugin = VisualChat()
