"""What the documents plugin registers: two tools and a panel."""

from __future__ import annotations

from pathlib import Path

from omni.host.hookspecs import Check, Panel, PluginContext, hookimpl
from omni.tools import Tool
from omni_rag.library import Library


class DocumentsPlugin:
    """See `plugin.toml`."""

    def __init__(self) -> None:
        self._libraries: dict[Path, Library] = {}

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """ask_documents and find_in_documents."""
        from omni_rag.tools import tools

        return tools(self._library(context))

    @hookimpl
    def omni_panels(self, context: PluginContext) -> list[Panel]:
        """Questions at the left, the page with its evidence at the right."""
        from omni_rag.panel import panel

        return [panel(self._library(context))]

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """How many documents there are, and whether some could not be read."""
        from omni.errors import OmniError

        library = self._library(context)
        if not (library.store.folder / "documents.sqlite").exists():
            return [Check("Documents", True, "none indexed yet; `omni docs index FOLDER` reads some")]
        try:
            count, problems = len(library.store.documents()), len(library.store.problems())
        except OmniError as error:
            return [Check("Documents", False, error.message, error.remedy)]
        if problems:
            return [Check("Documents", True, f"{count} indexed, {problems} problems", "See `omni docs problems`.")]
        return [Check("Documents", True, f"{count} indexed")]

    def _library(self, context: PluginContext) -> Library:
        """One per folder, so that tools and panel share the vectors in memory."""
        chosen = context.config.get("folder") or ""
        folder = Path(chosen).expanduser() if chosen else context.data
        if folder not in self._libraries or self._libraries[folder].host is not context.host:
            self._libraries[folder] = Library(folder, context.host, context.config)
        return self._libraries[folder]


plugin = DocumentsPlugin()
