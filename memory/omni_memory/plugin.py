"""Registers the memory: the capability, the recorder, the tools."""

from __future__ import annotations

from pathlib import Path

from omni.capabilities import Memory
from omni.host.hookspecs import Check, Offer, PluginContext, StageOffer, hookimpl
from omni.tools import Tool


def folder_of(context: PluginContext) -> Path:
    """Where the memory lies."""
    chosen = context.config.get("folder") or ""
    return Path(chosen).expanduser() if chosen else context.data


class MemoryPlugin:
    """See `plugin.toml`."""

    @hookimpl
    def omni_capabilities(self, context: PluginContext) -> list[Offer]:
        """One memory on LanceDB."""
        from omni_memory.memory import LanceMemory

        def make() -> LanceMemory:
            return LanceMemory(folder_of(context), host=context.host, settings=context.config)

        return [Offer(Memory, "lancedb", make, deadline_s=90.0)]

    @hookimpl
    def omni_stages(self, context: PluginContext) -> list[StageOffer]:
        """The recorder, which writes each session to the memory."""
        from omni_memory.recorder import Recorder

        return [StageOffer("recorder", lambda: Recorder(context.host, context.config), role="recorder")]

    @hookimpl
    def omni_tools(self, context: PluginContext) -> list[Tool]:
        """Recall, what was shown, remember, forget."""
        from omni_memory.tools import tools

        return tools(context.host, context.config)

    @hookimpl
    def omni_doctor(self, context: PluginContext) -> list[Check]:
        """Whether the folder can be used, and what waits in its journal."""
        from omni.errors import OmniError
        from omni_memory.journal import Journal
        from omni_memory.schema import read_version

        folder = folder_of(context)
        try:
            version = read_version(folder)
        except OmniError as error:
            return [Check("Memory", False, error.message, error.remedy)]
        if not version:
            return [Check("Memory", True, f"nothing remembered yet in {folder}")]
        waiting = len(Journal(folder / "journal").segments())
        return [Check("Memory", True, f"schema {version} in {folder}, {waiting} journal segments to take in")]


plugin = MemoryPlugin()
