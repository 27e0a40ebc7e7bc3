"""The history page: search, read, resume, export and delete conversations."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from omni.errors import BadInput
from omni.server.answers import answers
from omni.server.archive import Archive, as_markdown
from omni.server.hub import Hub
from omni.turns import HISTORY_LIMIT, Exchange

#: Longest search.
QUERY = 500


def _archive(request: Request) -> Archive:
    return Archive(request.app.state.hub)


@answers
async def conversations(request: Request) -> Any:
    """The list, newest first, or what fits `?query=`."""
    query = request.query_params.get("query", "").strip()
    if len(query) > QUERY:
        raise BadInput(f"A search has at most {QUERY} characters.", "Search for fewer words.")
    return {"conversations": [past.brief() for past in await _archive(request).list(query)]}


@answers
async def read(request: Request) -> Any:
    """One conversation with its turns."""
    past = await _archive(request).read(request.path_params["id"])
    return {**past.brief(), "list": [asdict(turn) for turn in past.turns]}


@answers
async def export(request: Request) -> Any:
    """One conversation as a file: `?format=md` or `json`."""
    past = await _archive(request).read(request.path_params["id"])
    form = request.query_params.get("format", "md")
    if form == "md":
        data, mime = as_markdown(past).encode(), "text/markdown; charset=utf-8"
    elif form == "json":
        value = {**past.brief(), "turns": [asdict(turn) for turn in past.turns]}
        data, mime = msgspec.json.format(msgspec.json.encode(value)), "application/json"
    else:
        raise BadInput(f"There is no export as {form[:20]!r}.", "Choose md or json.")
    name = "".join(c for c in past.id if c.isalnum())[:40] or "conversation"
    disposition = f'attachment; filename="omni-{name}.{form}"'
    return Response(data, media_type=mime, headers={"content-disposition": disposition})


@answers
async def delete(request: Request) -> Any:
    """Forget one conversation for good."""
    return {"forgotten": await _archive(request).delete(request.path_params["id"])}


@answers
async def resume(request: Request) -> Any:
    """Go on with a past conversation: the id of a session that knows its turns."""
    hub: Hub = request.app.state.hub
    id = request.path_params["id"]
    if hub.get(id):
        return {"session": id}
    past = await _archive(request).read(id)
    link = await hub.open()
    turns, clock = link.session.turns, link.session.clock
    for number, turn in enumerate(past.turns[-HISTORY_LIMIT:], start=1):
        at = turn.at - clock.wall_start  # negative: before this session began
        turns.history.append(
            Exchange(number, turn.asked, answer=turn.answer or turn.heard, heard=turn.heard, cut=turn.cut, at=at)
        )
        turns.turn = number
    return {"session": link.id}


def routes() -> list[BaseRoute]:
    """The routes of this module."""
    return [
        Route("/api/conversations", conversations),
        Route("/api/conversations/{id}", read, methods=["GET"]),
        Route("/api/conversations/{id}", delete, methods=["DELETE"]),
        Route("/api/conversations/{id}/export", export),
        Route("/api/conversations/{id}/resume", resume, methods=["POST"]),
    ]
