"""Reads one document into the store: parsing in another process, text recognition where there is no text."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from omni.capabilities import TextReader
from omni.errors import BadInput, CapabilityUnavailable, OmniError
from omni_rag.assemble import assemble
from omni_rag.chunks import chunks_of
from omni_rag.geometry import Box, centre_in
from omni_rag.page import Block, Line, Page
from omni_rag.sandbox import Limits, parse
from omni_rag.store import Store

log = logging.getLogger("omni.rag")

PAGES = 20_000  #: a file that says it has more is not believed
NO_READER = "its pictures could not be read: no text recognition is available"


class Unreadable(BadInput):
    """A file that can't be read at all. The message is the end of a sentence."""


async def read_document(
    store: Store,
    host: Any,
    path: Path,
    digest: str,
    limits: Limits,
    on_page: Callable[[int, int], None] = lambda n, of: None,
) -> list[tuple[int, str]]:
    """Read `path` into the store; what an earlier, interrupted reading has done is not done again.

    Returns problems as (page, sentence's end). Raises `Unreadable` when nothing of it can be read.
    """
    done = await asyncio.to_thread(store.pages, digest) if store.state(digest) == "reading" else []
    first = done[-1].number + 1 if done else 1
    title, pages, problems = "", 0, []
    async with contextlib.aclosing(parse(path, limits, first)) as messages:
        async for message in messages:
            if message["type"] == "open":
                title, pages = " ".join(message["title"].split())[:200], message["pages"]
                if pages > PAGES:
                    raise Unreadable(f"it says it has {pages} pages")
                if not done:
                    await asyncio.to_thread(store.begin, digest, title, pages)
            elif message["type"] == "problem":
                if not pages:
                    raise Unreadable(message["message"])
                if number := message.get("page", 0):  # kept with the pages: a later run is to know of it too
                    await asyncio.to_thread(store.keep_page, digest, Page(number, 0, 0, trouble=message["message"]))
                else:
                    problems.append((0, message["message"]))
            else:
                page = await _page(host, message)
                await asyncio.to_thread(store.keep_page, digest, page)
                on_page(page.number, pages)
    if not pages:
        raise Unreadable("it holds no page")
    read = await asyncio.to_thread(store.pages, digest)
    problems += [(page.number, page.trouble) for page in read if page.trouble]
    if problems and not any(page.text.strip() for page in read):
        await asyncio.to_thread(store.unread, digest)
        raise Unreadable(problems[0][1])
    title = title if _telling(title) else _title(read)
    await asyncio.to_thread(lambda: store.finish(digest, title, _named(read, title, path)))
    return problems


def _named(pages: list[Page], title: str, path: Path) -> Any:
    """The chunks; those of whole pages also answer to the document's name."""
    for chunk in chunks_of(pages):
        if chunk.kind == "page":
            chunk.context = f"{title} ({path.stem.replace('_', ' ')})"
        yield chunk


def _telling(title: str) -> bool:
    return (
        len(title) > 3
        and "untitled" not in title.lower()
        and not title.lower().endswith((".doc", ".docx", ".png", ".indd", ".tex"))
    )


def _title(pages: list[Page]) -> str:
    """The largest heading of the first page."""
    headings = [block for page in pages[:1] for block in page.blocks if block.kind == "heading" and block.lines]
    upright = [block for block in headings if block.box[2] - block.box[0] > block.box[3] - block.box[1]]
    best = max(upright, key=lambda block: max(line.size for line in block.lines), default=None)
    return best.text[:200] if best else ""


async def _page(host: Any, message: dict[str, Any]) -> Page:
    """The page with what text recognition adds."""
    if "page" in message:
        return Page.from_json(message["page"])
    parts, trouble = message["parts"], ""
    lines = [Line(**{**line, "box": tuple(line["box"])}) for line in parts["lines"]]
    seen: list[Line] = []
    for crop in message["crops"]:
        try:
            seen.extend(await _read(host, crop, tuple(crop["box"])))
        except CapabilityUnavailable:
            trouble = NO_READER
        except OmniError as error:
            trouble = f"a picture on it could not be read: {error.message}"
    lines += [  # the letters the file itself names are the better ones
        line
        for line in seen
        if not any(centre_in(line.box, other.box) or centre_in(other.box, line.box) for other in lines)
    ]
    tables = [_block(table) for table in parts["tables"]]
    figures = [tuple(box) for box in parts["figures"]]
    page = await asyncio.to_thread(assemble, parts["number"], parts["width"], parts["height"], lines, tables, figures)
    page.scanned = bool(parts["scanned"])
    if page.scanned and not page.blocks:  # a picture without a letter
        page.blocks = [Block("figure", "", (0.0, 0.0, page.width, page.height))]
    page.trouble = trouble
    return page


def _block(data: dict[str, Any]) -> Block:
    lines = [Line(**{**line, "box": tuple(line["box"])}) for line in data["lines"]]
    return Block(
        **{**data, "box": tuple(data["box"]), "lines": lines, "row_boxes": [tuple(box) for box in data["row_boxes"]]}
    )


async def _read(host: Any, crop: dict[str, Any], box: Box) -> list[Line]:
    """The lines of text in a picture of a part of the page, at their places on the page."""
    if host is None:
        raise CapabilityUnavailable("No text recognition.")
    regions = await host.get(TextReader).read(base64.b64decode(crop["image"]))
    scale, found = crop["scale"], []
    for region in regions:
        left, top, right, bottom = (edge / scale for edge in region.box)
        place = (box[0] + left, box[1] + top, box[0] + right, box[1] + bottom)
        size = min(place[3] - place[1], place[2] - place[0])
        found.append(Line(region.text, place, max(4.0, size)))
    return found
