"""Which plugins may be loaded: decided on the manifest alone, before anything of a plugin is imported."""

from __future__ import annotations

from collections.abc import Set

from omni.host.discovery import Found
from omni.host.registry import Remembered, exceeds


def left_out(found: Found, remembered: Remembered | None, only: Set[str] | None, deny: Set[str]) -> str:
    """Why somebody wants it left out, though it could run; "" when nobody does. `only` None: all may run."""
    if only is not None and found.id not in only:
        return "It is not among those named with --only."
    if found.id in deny:
        return "It was denied for this run."
    if remembered and not remembered.enabled:
        return f"It is disabled. `omni plugin enable {found.id}` turns it on."
    return ""


def not_ready(found: Found, remembered: Remembered | None) -> str:
    """What is missing before it may run, an environment of its own or a yes to what it asks for; "" when nothing is."""
    if found.manifest is None:
        return ""
    if found.manifest.environment is not None and found.python is None:
        return f"It needs an environment of its own. `omni plugin install {found.folder}` makes it."
    granted = remembered.granted if remembered else None
    if granted is not None and (more := exceeds(found.manifest.permissions.asked(), granted)):
        return f"It asks for more than was granted: {', '.join(more)}. `omni plugin enable {found.id}` asks again."
    return ""


def beyond_budget(found: Found, budget_mb: float, taken_mb: float) -> str:
    """Why its memory does not fit beside that of the loaded ones; "" when it does. A budget of 0 has no end."""
    asked = found.manifest.resources.ram_mb if found.manifest else 0
    if not budget_mb or taken_mb + asked <= budget_mb:
        return ""
    return (
        f"It asks for {asked} MB of memory and {budget_mb - taken_mb} of {budget_mb} are left. "
        "Raise `budgets.ram_mb`, or disable a plugin that you don't use."
    )
