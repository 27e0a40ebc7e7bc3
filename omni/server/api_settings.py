"""The settings page (made from the configuration's schema) and the plugins page."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute, Route

from omni.config import load_config, save_setting, user_file
from omni.errors import BadInput, ConfigError
from omni.server.answers import NotThere, answers, read_json, text_of
from omni.settings import describe

_HIDDEN = "••••••"
_SECRET = ("api_key", "password", "token", "secret")


def _is_secret(key: str, spec: dict[str, Any]) -> bool:
    return bool(spec.get("secret")) or key.rsplit(".", 1)[-1] in _SECRET


def _plugin_schemas(request: Request) -> dict[str, tuple[str, dict[str, dict[str, Any]]]]:
    """Per plugin with settings of its own: (its name, its schema)."""
    return {
        record.id: (record.name, record.manifest.config_schema())
        for record in request.app.state.hub.runtime.host.plugins()
        if record.manifest and record.manifest.config_schema()
    }


def _entry(key: str, spec: dict[str, Any], value: Any, origin: str) -> dict[str, Any]:
    shown = _HIDDEN if _is_secret(key, spec) and value else value
    return {
        "key": key,
        **{k: v for k, v in spec.items() if k != "default"},
        "value": shown,
        "origin": origin or "default",
    }


@answers
async def settings(request: Request) -> Any:
    """Every setting with its type, meaning, value and who set it, in sections."""
    config = load_config(profile=request.app.state.hub.runtime.config.profile or None)
    sections: dict[str, dict[str, Any]] = {}
    for key, spec in describe().items():
        section = key.split(".")[0]
        if section == "plugins":
            continue
        entry = sections.setdefault(section, {"id": section, "title": section.capitalize(), "settings": []})
        entry["settings"].append(_entry(key, spec, config.get(key), config.origin(key)))
    for plugin, (name, schema) in _plugin_schemas(request).items():
        section = f"plugins.{plugin}"
        try:
            values = config.plugin(plugin, schema)
        except ConfigError:
            values = {key: spec.get("default") for key, spec in schema.items()}
        rows = [
            _entry(f"{section}.{k}", spec, values.get(k), config.origin(f"{section}.{k}")) for k, spec in schema.items()
        ]
        sections[section] = {"id": section, "title": name, "plugin": plugin, "settings": rows}
    return {"sections": list(sections.values()), "file": str(user_file())}


@answers
async def change(request: Request) -> Any:
    """Write one setting into the user's file: `{"key", "value"}`; a value of null goes back to the default."""
    body = await read_json(request)
    key = text_of(body, "key", limit=200)
    if "value" not in body:
        raise BadInput("The request has no value.", "Reload the page.")
    value = body["value"]
    known = {**describe()}
    for plugin, (_, schema) in _plugin_schemas(request).items():
        known |= {f"plugins.{plugin}.{name}": spec for name, spec in schema.items()}
    if key not in known:
        raise ConfigError(f"There is no setting {key!r}.", "Reload the page: a plugin may have changed.")
    if value == _HIDDEN:
        raise BadInput("The hidden value was not changed.", "Type the new one.")
    _check(key, value, known[key])
    await asyncio.to_thread(save_setting, key, value)
    config = load_config(profile=request.app.state.hub.runtime.config.profile or None)
    origin = config.origin(key)
    overruled = value is not None and origin != str(user_file())
    return {
        "ok": True,
        "value": config.get(key),
        "origin": origin or "default",
        "overruled": overruled,
        "restart": True,
    }


def _check(key: str, value: Any, spec: dict[str, Any]) -> None:
    """Refuse what a plugin's manifest does not allow; the kernel's own settings are checked when they are written."""
    if value is None or not key.startswith("plugins.") or key.count(".") < 2:
        return
    from omni.config import Config

    _, plugin, name = key.split(".", 2)
    Config({"plugins": {plugin: {name: value}}}, {key: "this page"}).plugin(plugin, {name: spec})


@answers
async def plugins(request: Request) -> Any:
    """Every plugin there is, refused ones too, with state, cost and permissions."""
    host = request.app.state.hub.runtime.host
    return {"plugins": [record.as_dict() for record in host.plugins()]}


@answers
async def enable(request: Request) -> Any:
    """Switch a plugin on or off from the next start on: `{"plugin", "enabled", "grant"}`.

    Switching on grants the permissions its manifest asks for, so `grant` must repeat them: the person
    says yes to exactly what was shown.
    """
    body = await read_json(request)
    plugin, enabled = text_of(body, "plugin", limit=100), body.get("enabled")
    host = request.app.state.hub.runtime.host
    record = next((r for r in host.plugins() if r.id == plugin), None)
    if record is None:
        raise NotThere(f"There is no plugin {plugin!r}.", "Reload the page.")
    if not isinstance(enabled, bool):
        raise BadInput("The request does not say whether the plugin should be on.", "Reload the page.")
    remembered = host.registry.of(plugin)
    if enabled and record.manifest:
        asked = record.manifest.permissions.asked()
        if body.get("grant", asked) != asked:
            raise BadInput(f"{record.name} asks for something else now.", "Reload the page and look again.")
        remembered.granted = asked
    remembered.enabled = record.enabled = enabled
    await asyncio.to_thread(host.registry.save)
    return {"ok": True, "restart": True}


def routes() -> list[BaseRoute]:
    """The routes of this module."""
    return [
        Route("/api/config", settings),
        Route("/api/config", change, methods=["POST"]),
        Route("/api/plugins", plugins),
        Route("/api/plugins/enable", enable, methods=["POST"]),
    ]
