"""The HTTP side of the page: the way in, uploads, status, claim cards, what plugins serve."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from omni import __version__
from omni.errors import BadInput, Refused
from omni.server.answers import NotThere, answers, json_response, read_body, read_json, text_of
from omni.server.hub import Hub
from omni.server.media import UPLOAD_LIMIT, sniff
from omni.server.security import Gate

#: Claim cards: beside the checkout's benchmarks, unless the application says otherwise.
CARDS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


def hub_of(request: Request) -> Hub:
    """The sessions of this server."""
    return request.app.state.hub


@answers
async def hello(request: Request) -> Any:
    """Who listens here: a second instance asks this before it gives up the port."""
    return {"omni": __version__, "pid": os.getpid()}


@answers
async def enter(request: Request) -> Any:
    """Trade the token of the link for the cookie."""
    gate: Gate = request.app.state.gate
    if not gate.may_guess():
        raise Refused("Too many attempts with a wrong key.", "Wait a minute, then open the address that Omni printed.")
    if not gate.is_token(text_of(await read_json(request), "token")):
        raise Refused("This link is of an earlier run.", "Open the address that Omni printed this time.")
    response = json_response({"ok": True})
    name = gate.cookie_name(request.headers["host"])
    response.set_cookie(
        name, gate.cookie_value, httponly=True, samesite="strict", secure=request.url.scheme == "https", path="/"
    )
    return response


@answers
async def status(request: Request) -> Any:
    """Sessions, plugins, tools and what the loop does, for the page and for scripts."""
    hub = hub_of(request)
    host = hub.runtime.host
    return {
        "version": __version__,
        "sessions": [
            {"id": link.id, "connected": link.connected, "turns": len(link.session.turns.history)}
            for link in hub.links.values()
        ],
        "plugins": {record.id: record.state for record in host.plugins()},
        "tools": [{"name": t.name, "effect": t.effect.value, "examples": list(t.examples[:3])} for t in host.tools()],
        "panels": [
            {"plugin": plugin, "id": panel.id, "title": panel.title, "module": panel.module, "icon": panel.icon}
            for plugin, panel in host.panels()
        ],
    }


@answers
async def upload(request: Request) -> Any:
    """A dropped picture or PDF: POST /api/media?session=ID&name=NAME with its bytes as the body."""
    link = hub_of(request).get(request.query_params.get("session", ""))
    if link is None:
        raise NotThere("This conversation is over.", "Reload the page, then drop it again.")
    data = await read_body(request, UPLOAD_LIMIT)
    attachment = link.uploads.add(data, request.query_params.get("name", ""))
    return {"ref": attachment.ref, "kind": attachment.kind, "name": attachment.name, "mime": attachment.mime}


@answers
async def media(request: Request) -> Any:
    """What an attachment refers to: GET /api/media/SESSION/REF."""
    link = hub_of(request).get(request.path_params["session"])
    data = link and link.session.media.get(request.path_params["ref"])
    if not data:
        raise NotThere("That picture is not kept any more.", "Show it again.")
    mime, _ = sniff(data)
    return Response(data, media_type=mime, headers={"content-security-policy": "sandbox"})


@answers
async def cards(request: Request) -> Any:
    """The claim cards there are, by bench."""
    folder: Path = request.app.state.cards

    def read() -> list[Any]:
        found = []
        for path in sorted(folder.glob("*.json"))[:200]:
            try:
                card = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                continue
            if isinstance(card, dict) and "bench" in card:
                found.append({**card, "measured": path.stat().st_mtime})
        return found

    return {"cards": await asyncio.to_thread(read)}


def _panels_of(request: Request) -> list[Any]:
    plugin = request.path_params["plugin"]
    panels = [panel for owner, panel in hub_of(request).runtime.host.panels() if owner == plugin]
    if not panels:
        raise NotThere(f"The plugin {plugin} shows no panel at present.", "Look at the plugins page.")
    return panels


@answers
async def plugin_static(request: Request) -> Any:
    """A file of a plugin's `static` folder."""
    for panel in _panels_of(request):
        if path := _below(Path(panel.static), request.path_params["path"]):
            return FileResponse(path)
    raise NotThere("The plugin has no such file.", "Reload the page.")


def _below(root: Path, name: str) -> Path | None:
    """The file `name` inside `root`, or None: what links or dots lead out of it is not there."""
    try:
        root = root.resolve()
        path = (root / name).resolve()
        return path if path.is_relative_to(root) and path.is_file() else None
    except (OSError, ValueError):
        return None


@answers
async def plugin_media(request: Request) -> Any:
    """What the panel's `media` gives for a name; ranges are served, so that video can be sought."""
    for panel in _panels_of(request):
        if panel.media is not None:
            data, mime = await panel.media(request.path_params["name"])
            if isinstance(data, Path):  # streamed from disk, ranges too: a film does not fit in memory
                if not data.is_file():
                    raise NotThere(f"{data.name} is not there any more.", "Plug its drive in.")
                return FileResponse(data, media_type=mime, headers={"content-security-policy": "sandbox"})
            return _ranged(request, data, mime)
    raise NotThere("The plugin shows no media.", "Reload the page.")


def _ranged(request: Request, data: bytes, mime: str) -> Response:
    """The whole, or the one range asked for (RFC 9110, section 14)."""
    headers = {"accept-ranges": "bytes", "content-security-policy": "sandbox"}
    wanted = request.headers.get("range", "")
    if not wanted.startswith("bytes=") or "," in wanted:
        return Response(data, media_type=mime, headers=headers)
    first, _, last = wanted[6:].partition("-")
    try:
        start = int(first) if first else max(0, len(data) - int(last))
        end = min(int(last), len(data) - 1) if first and last else len(data) - 1
    except ValueError:
        raise BadInput(f"The range {wanted[:40]!r} can't be read.") from None
    if start > end or start >= len(data):
        return Response(status_code=416, headers={"content-range": f"bytes */{len(data)}"})
    headers["content-range"] = f"bytes {start}-{end}/{len(data)}"
    return Response(data[start : end + 1], 206, media_type=mime, headers=headers)


def routes() -> list[BaseRoute]:
    """The routes of this module."""
    return [
        Route("/api/hello", hello),
        Route("/api/enter", enter, methods=["POST"]),
        Route("/api/status", status),
        Route("/api/cards", cards),
        Route("/api/media", upload, methods=["POST"]),
        Route("/api/media/{session}/{ref:path}", media),
        Route("/plugins/{plugin}/static/{path:path}", plugin_static),
        Route("/plugins/{plugin}/media/{name:path}", plugin_media),
    ]
