"""What is remembered about plugins between runs: enabled or not, what was granted, what the last load cost.

One JSON file in the data folder, read whole and replaced atomically.
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Remembered:
    """One plugin's entry. `granted` is None until a person was asked, then what they said yes to."""

    enabled: bool = True
    isolated: bool = False
    environment: str = ""  #: the folder of its own virtual environment
    granted: dict[str, Any] | None = None
    state: str = ""  #: at the end of the last run
    reason: str = ""
    version: str = ""
    load_s: float = 0.0
    ram_mb: float = 0.0
    confined_by: list[str] = field(default_factory=list)  #: what enforced its permissions, in a process of its own
    tier: str = ""  #: "mqtt" or "mcp": it was not installed here in the last run, but reached
    name: str = ""  #: its name for people, for those


@dataclass(slots=True)
class Registry:
    """`Registry.read(data_dir)`, change entries, `save()`."""

    path: Path
    plugins: dict[str, Remembered] = field(default_factory=dict)

    @classmethod
    def read(cls, data_dir: Path) -> Registry:
        """The registry of a data folder. A damaged file counts as empty: it only costs a question asked twice."""
        path = Path(data_dir) / "plugins.json"
        registry = cls(path)
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            known = {entry.name for entry in fields(Remembered)}
            for plugin, entry in stored["plugins"].items():
                registry.plugins[plugin] = Remembered(**{key: value for key, value in entry.items() if key in known})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            registry.plugins.clear()
        return registry

    def of(self, plugin: str) -> Remembered:
        """A plugin's entry, made when it has none."""
        return self.plugins.setdefault(plugin, Remembered())

    def environments(self) -> dict[str, Path]:
        """The plugins with an environment of their own."""
        return {plugin: Path(entry.environment) for plugin, entry in self.plugins.items() if entry.environment}

    def forget(self, plugin: str) -> None:
        """Drop a plugin's entry. Idempotent."""
        self.plugins.pop(plugin, None)

    def save(self) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(
            {"plugins": {plugin: asdict(entry) for plugin, entry in sorted(self.plugins.items())}}, indent=1
        )
        handle, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".plugins-")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(temporary, self.path)


def exceeds(asked: dict[str, Any], granted: dict[str, Any]) -> list[str]:
    """The permissions that are asked for and were not granted, e.g. ["camera", "network: example.org"]."""
    more = []
    for key, value in asked.items():
        have = granted.get(key)
        if isinstance(value, list):
            allowed = set(have or ())
            more += [f"{key}: {item}" for item in value if item not in allowed and "*" not in allowed]
        elif value and not have:
            more.append(key)
    return more
