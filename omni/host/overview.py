"""All plugins as they were left by the last run, without loading any: what `omni plugin list` shows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from omni.host.admission import not_ready
from omni.host.discovery import discover
from omni.host.records import PluginRecord
from omni.host.registry import Registry


def overview(data_dir: Path, sources: Iterable[Path] = ()) -> list[PluginRecord]:
    """A record for each plugin there is, by id: what is so now (refused, disabled), else the last run's state."""
    registry = Registry.read(data_dir)
    records = []
    for found in discover(sources, registry.environments()):
        record = PluginRecord.of(found)
        remembered = registry.plugins.get(found.id)
        if remembered is not None:
            record.load_s, record.ram_mb = remembered.load_s, remembered.ram_mb
            record.enabled, record.confined_by = remembered.enabled, tuple(remembered.confined_by)
            if remembered.isolated:
                record.isolation = "process"
            if found.refusal:
                pass
            elif not remembered.enabled:
                record.state, record.reason = "refused", "It is disabled."
            elif remembered.state and remembered.version == record.version:
                record.state, record.reason = remembered.state, remembered.reason
                if record.state == "refused":  # what refused it then does not hold now
                    record.state, record.reason = "found", ""
        if record.enabled and not found.refusal and (why := not_ready(found, remembered)):
            record.state, record.reason = "refused", why
        records.append(record)
    for plugin, entry in registry.plugins.items():
        if entry.tier:  # reached in the last run, not installed here
            record = PluginRecord(plugin, entry.name or plugin, entry.version, isolation=entry.tier, source=entry.tier)
            record.state, record.reason = entry.state, entry.reason or f"{entry.name}, as of the last run"
            record.load_s, record.ram_mb = entry.load_s, entry.ram_mb
            records.append(record)
    return sorted(records, key=lambda record: record.id)
