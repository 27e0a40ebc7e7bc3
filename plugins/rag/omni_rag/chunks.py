"""From pages to what is searched: passages, tables, rows, figures and pages, each with its places.

Several vectors stand for one page: a long vector mixes what one question asks with what it does not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from omni_rag.geometry import Box
from omni_rag.page import Block, Page
from omni_rag.tables import describe, join_across_pages

SMALL = 40  #: words: shorter neighbours under one heading are put together up to so many
LARGE = 140  #: words: longer paragraphs are split at sentences
PAGE_LETTERS = 8000
MARGIN = 0.08  #: of a page's height, above and below, where running heads and feet stand
ROWS = 400  #: rows of one table that are passages of their own
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=[\"'(\[A-Z0-9À-Þ•])")


@dataclass(slots=True)
class Chunk:
    """Something that can be found and cited.

    `blocks` and `lines` are (start, end, page, box): which characters of `text` stand where; `blocks` are the
    paragraphs, tables and figures that are cited, `lines` what is marked in them.
    """

    kind: str  #: "text", "table", "row", "figure", "page"
    page: int
    context: str  #: the headings above it
    text: str
    blocks: list[tuple[int, int, int, Box]] = field(default_factory=list)
    lines: list[tuple[int, int, int, Box]] = field(default_factory=list)

    @property
    def full(self) -> str:
        """What is embedded and shown to a model."""
        return f"{self.context}: {self.text}" if self.context else self.text

    @property
    def key(self) -> str:
        """Of its vector: the same text has the same."""
        return hashlib.sha256(self.full.encode()).hexdigest()[:32]

    def places(self) -> dict[str, Any]:
        """JSON-ready."""
        return {"blocks": self.blocks, "lines": self.lines}


def chunks_of(pages: Sequence[Page]) -> Iterator[Chunk]:
    """All chunks of a document, in its order. `pages` are those that could be read."""
    headers = {id(table): header for _, table, header in join_across_pages(pages)}
    heading = ""
    for page in pages:
        waiting: list[Block] = []
        lonely: Block | None = None
        for block in page.blocks:
            if block.kind == "heading":
                yield from _passages(waiting, page, heading)
                if lonely is not None and lonely.text != block.text:
                    yield _simple(lonely, page, "")
                waiting, heading, lonely = [], block.text, block
            elif block.kind == "text" and _running(block, page):
                yield _simple(block, page, "")
            elif block.kind in ("text", "item", "caption"):
                if block.kind != "caption" or not _is_of(block, page.blocks):
                    waiting.append(block)
                    lonely = None
                if sum(len(one.text.split()) for one in waiting) >= SMALL:
                    yield from _passages(waiting, page, heading)
                    waiting = []
            elif block.kind == "table":
                describe(block)
                yield from _table(block, page, heading, headers.get(id(block), []))
                lonely = None
            elif block.kind == "figure":
                yield _figure(block, page, heading)
                lonely = None
        yield from _passages(waiting, page, heading)
        if lonely is not None:
            yield _simple(lonely, page, "")
        if page.blocks:
            box = (0.0, 0.0, page.width, page.height)
            text = page.text[:PAGE_LETTERS] if page.text.strip() else "A picture without words."
            yield Chunk("page", page.number, "", text, [(0, len(text), page.number, box)])


def _running(block: Block, page: Page) -> bool:
    """Whether it is a running head or foot: it stands under no heading."""
    margin = block.box[3] < MARGIN * page.height or block.box[1] > (1 - MARGIN) * page.height
    return margin and len(block.lines) <= 2 and len(block.text.split()) <= 15


def _is_of(caption: Block, blocks: Sequence[Block]) -> bool:
    return any(block.caption == caption.text for block in blocks if block.kind in ("figure", "table"))


def _simple(block: Block, page: Page, context: str) -> Chunk:
    return Chunk(
        "text", page.number, context, block.text, [(0, len(block.text), page.number, block.box)], _lines(block, 0, page)
    )


def _lines(block: Block, start: int, page: Page) -> list[tuple[int, int, int, Box]]:
    """Where each line of a block's text stands; words are put together across lines, so ends are looked for."""
    found, at = [], 0
    for line in block.lines:
        text = line.text.rstrip("-\u2010\u00ad") or line.text
        begin = block.text.find(text, at)
        if begin < 0:
            continue
        at = begin + len(text)
        found.append((start + begin, start + at, page.number, line.box))
    return found


def _passages(blocks: Sequence[Block], page: Page, context: str) -> Iterator[Chunk]:
    """Neighbouring blocks as one chunk, or a long one as several."""
    blocks = [block for block in blocks if sum(c.isalnum() for c in block.text) >= 2]
    if not blocks:
        return
    if len(blocks) == 1 and len(blocks[0].text.split()) > LARGE:
        yield from _split(blocks[0], page, context)
        return
    text, places, lines = "", [], []
    for block in blocks:
        start = len(text) + (1 if text else 0)
        text = f"{text}\n{block.text}" if text else block.text
        places.append((start, len(text), page.number, block.box))
        lines.extend(_lines(block, start, page))
    yield Chunk("text", page.number, context, text, places, lines)


def _split(block: Block, page: Page, context: str) -> Iterator[Chunk]:
    lines = _lines(block, 0, page)
    start = 0
    while start < len(block.text):
        end = _end(block.text, start)
        inside = [(max(0, a - start), min(end, b) - start, p, box) for a, b, p, box in lines if a < end and b > start]
        text = block.text[start:end]
        yield Chunk("text", page.number, context, text, [(0, len(text), page.number, block.box)], inside)
        if end >= len(block.text):
            return
        start = end


def _end(text: str, start: int) -> int:
    """Where a piece of about 100 words that begins at `start` ends: after a sentence, if there is one."""
    words = list(re.finditer(r"\S+\s*", text[start:]))
    if len(words) <= LARGE:
        return len(text)
    limit = start + words[110].end()
    stops = [
        start + m.end() for m in _SENTENCE.finditer(text[start:]) if start + words[50].end() <= start + m.end() <= limit
    ]
    return stops[-1] if stops else limit


def _table(block: Block, page: Page, context: str, header: list[list[str]]) -> Iterator[Chunk]:
    rows = header + block.rows
    text = (
        block.text
        if not header
        else "\n".join([block.text.split("\n")[0], " | ".join(c for c in header[0] if c), *block.text.split("\n")[1:]])
    )
    lines, at = [], 0
    for row, box in zip(block.rows, block.row_boxes, strict=False):
        line = " | ".join(cell for cell in row if cell)
        begin = text.find(line, at)
        if begin >= 0:
            lines.append((begin, begin + len(line), page.number, box))
            at = begin + len(line)
    yield Chunk("table", page.number, context, text, [(0, len(text), page.number, block.box)], lines)
    names = rows[0] if rows else []
    first = 0 if header else 1
    for row, box in list(zip(block.rows, block.row_boxes, strict=False))[first:ROWS]:
        cells = [
            f"{name}: {cell}" if name and name != cell else cell for name, cell in zip(names, row, strict=False) if cell
        ]
        if len(cells) < 2:
            continue
        said = f"{block.caption[:160]}\n" if block.caption else ""
        line = "; ".join(cells)
        place = (len(said), len(said) + len(line), page.number)
        yield Chunk(
            "row",
            page.number,
            context,
            said + line,
            [(0, len(said) + len(line), page.number, block.box)],
            [(*place, box)],
        )


def _figure(block: Block, page: Page, context: str) -> Chunk:
    said = [
        part for part in (block.caption, "" if context and context in block.near else block.near, block.text) if part
    ]
    text = "\n".join(said) or f"A figure on page {page.number}."
    lines = []
    if block.text:
        lines = _lines(block, text.rfind(block.text), page)
    return Chunk("figure", page.number, context, text, [(0, len(text), page.number, block.box)], lines)
