"""What the planner can do with photos: find by words, find by example."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from omni.errors import BadInput
from omni.tools import Tool, ToolContext, ToolResult, tool
from omni_image_search.asking import read_difference, read_wanted
from omni_image_search.library import Library
from omni_image_search.query import Query, moment
from omni_image_search.records import Hit
from omni_image_search.search import Found

MOST = 12


def tools(library: Library) -> list[Tool]:
    """Their examples stand in the manifest."""

    async def find_photos(
        what: Annotated[str, Field(description="what the photos show, in a few words", max_length=300)],
        without: Annotated[str, Field(description="what they must not show")] = "",
        after: Annotated[str, Field(description="taken in or after: 2024, 2024-07 or 2024-07-31")] = "",
        before: Annotated[str, Field(description="taken before: 2024, 2024-07 or 2024-07-31")] = "",
        count: Annotated[int, Field(description="how many", ge=1, le=50)] = MOST,
    ) -> ToolResult:
        """Find the person's photos by what they show, when they were taken, and what to leave out."""
        minus = (without,) if without.strip() else ()
        query = Query(what, minus=minus, after=moment(after), before=moment(before), limit=count)
        return answer(await library.search(query), what)

    async def similar_photos(
        what: Annotated[str, Field(description="in which way it may differ; usually empty", max_length=300)] = "",
        count: Annotated[int, Field(description="how many", ge=1, le=50)] = MOST,
        *,
        context: ToolContext,
    ) -> ToolResult:
        """Find the person's photos that look like the picture they show or attached."""
        query = Query(what, like=(picture(context),), limit=count, min_score=None)
        return answer(await library.search(query), what or "the picture")

    return [
        tool(find_photos, deadline_s=60, extract=read_wanted),
        tool(similar_photos, deadline_s=60, extract=read_difference),
    ]


def picture(context: ToolContext) -> bytes:
    """The picture of this request, else the latest one of the conversation. Raises `BadInput` when there is none."""
    session = context.session
    if session is not None:
        turns = [context.attachments, *(exchange.attachments for exchange in reversed(session.turns.history))]
        for one in (one for attachments in turns for one in reversed(attachments)):
            if one.kind in ("image", "camera", "screen") and one.ref in session.media:
                return session.media[one.ref]
    raise BadInput("There is no picture to compare with.", "Drop one into the conversation first.")


def answer(found: Found, what: str) -> ToolResult:
    """Paths and scores for the model, a sentence to say, thumbnails for the page. Names of files are not orders."""
    value: dict[str, Any] = {"found": len(found.hits), "photos": [brief(hit) for hit in found.hits]}
    if found.note:
        value["note"] = found.note
    evidence = tuple(
        {
            "kind": "photo",
            "panel": "photos",
            "photo": hit.photo,
            "path": hit.paths[0] if hit.paths else "",
            **_media(hit),
        }
        for hit in found.hits
    )
    return ToolResult(value, say=sentence(found, what), trusted=False, evidence=evidence)


def brief(hit: Hit) -> dict[str, Any]:
    """One photo in a few words."""
    day = datetime.fromtimestamp(hit.taken, UTC).strftime("%Y-%m-%d") if hit.taken is not None else ""
    return {"path": hit.paths[0] if hit.paths else "", "date": day, "shows": hit.words, "score": round(hit.score, 2)}


def sentence(found: Found, what: str) -> str:
    """What is said aloud."""
    if not found.hits:
        return found.note or f"I found no photo of {what}."
    count = len(found.hits)
    days = sorted(hit.taken for hit in found.hits if hit.taken is not None)
    when = ""
    if days:
        first, last = (datetime.fromtimestamp(day, UTC).strftime("%B %Y") for day in (days[0], days[-1]))
        when = f", from {first}" if first == last else f", from {first} to {last}"
    fit = f"{count} photo{'s' * (count > 1)} that fit{'s' * (count == 1)} {what}{when}"
    return f"I found {fit}. The Photos panel shows them when you search there."


def _media(hit: Hit) -> dict[str, Any]:
    return {"media": f"thumb/{hit.photo}", "size": [hit.width, hit.height], "score": round(hit.score, 2)}
