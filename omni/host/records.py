"""What is known of each plugin while Omni runs: its state and why, what it cost, what it asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from omni.host.discovery import Found
from omni.host.manifest import Manifest

#: found: there, not yet loaded. refused: not allowed or not able to run. loaded: registered, nothing of it used yet.
#: ready: it works. degraded: part of it fails and is tried again. quarantined: given up for this run.
State = Literal["found", "refused", "loaded", "ready", "degraded", "quarantined"]

RUNNING: tuple[State, ...] = ("loaded", "ready", "degraded")


@dataclass(slots=True)
class PluginRecord:
    """One plugin as the list, the plugins page and `omni doctor` show it."""

    id: str
    name: str = ""
    version: str = ""
    state: State = "found"
    reason: str = ""
    load_s: float = 0.0
    ram_mb: float = 0.0
    manifest: Manifest | None = None
    source: str = "installed"
    isolation: str = "in-process"
    restarts: int = 0  #: stages and processes started again in this run
    enabled: bool = True
    confined_by: tuple[str, ...] = ()  #: what enforces its permissions (a process of its own)

    @classmethod
    def of(cls, found: Found) -> PluginRecord:
        """The record of a plugin that was just found (or refused at once)."""
        manifest = found.manifest
        return cls(
            id=found.id,
            name=manifest.title if manifest else found.id,
            version=manifest.version if manifest else "",
            state="refused" if found.refusal else "found",
            reason=found.refusal,
            manifest=manifest,
            source=found.source,
            isolation="process" if manifest and (manifest.isolation == "process" or found.python) else "in-process",
        )

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the page and `--json`."""
        manifest = self.manifest
        return {
            "id": self.id, "name": self.name, "version": self.version, "state": self.state, "reason": self.reason,
            "load_s": round(self.load_s, 3), "ram_mb": round(self.ram_mb, 1), "source": self.source,
            "isolation": self.isolation, "restarts": self.restarts, "enabled": self.enabled,
            "confined_by": list(self.confined_by),
            "summary": manifest.summary if manifest else "", "licence": manifest.licence if manifest else "",
            "permissions": manifest.permissions.asked() if manifest else {},
            "permissions_text": manifest.permissions.sentences() if manifest else [],
            "resources": manifest.resources.model_dump() if manifest else {},
            "models": manifest.models.model_dump() if manifest else {},
            "capabilities": sorted(manifest.offered()) if manifest else [],
            "tools": [tool.name for tool in manifest.tools] if manifest else [],
            "panels": [panel.id for panel in manifest.panels] if manifest else [],
            "config": manifest.config_schema() if manifest else {},
        }  # fmt: skip
