"""What video search registers: a tool, a panel, and sound tagging by rules."""

from __future__ import annotations

from pathlib import Path

from omni.capabilities import AudioTagger
from omni.host.hookspecs import Check, Offer, Panel, PluginContext, hookimpl
from omni.tools import Tool, tool

_ICON = '<svg viewBox="0 0 24 24"><path d="M4 5h16v14H4zM10 9v6l5-3z"/></svg>'


class VideoSearch:
    """Registration only: nothing is opened here."""

    def __init__(self) -> None:
        self._library = None

    def _of(self, context: PluginContext):
        from omni_video_search.library import Library

        if self._library is None or self._library.folder != context.data:
            self._library = Library(context.data, context.host)
        return self._library

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """Sound tagging without a model; one with a model goes before it."""
        from omni_video_search.sound import RuleTagger

        return [Offer(AudioTagger, "sound-rules", RuleTagger, priority=-10, features={"engine": "rules"})]

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """One tool; its examples stand in the manifest."""
        return [tool(self._of(context).find_moment, deadline_s=30)]

    @hookimpl
    def omni_panels(self, context: PluginContext) -> list[Panel]:
        """The player with its timeline."""
        library = self._of(context)
        return [
            Panel(
                "video-search",
                "Videos",
                Path(__file__).parent / "static",
                icon=_ICON,
                handlers={"list": library.list, "search": library.search, "timeline": library.timeline},
                media=library.media,
            )
        ]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """Whether videos can be decoded here."""
        import av

        missing = [name for name in ("h264", "vp9", "aac", "opus") if name not in av.codecs_available]
        detail = f"PyAV {av.__version__}" + (
            f" without {', '.join(missing)}" if missing else " decodes the usual formats"
        )
        return [Check("video decoding", not missing, detail, "Install it again: pip install --force-reinstall av")]


plugin = VideoSearch()
