"""A page's blocks from its lines, tables and figures: each line belongs to one of them."""

from __future__ import annotations

from collections.abc import Sequence

from omni_rag.geometry import Box, area, centre_in, overlap, turned, x_overlap
from omni_rag.layout import joined, paragraphs, reading_order
from omni_rag.page import Block, Line, Page
from omni_rag.tables import describe

NEAR = 45.0  #: points between a figure and its caption


def assemble(
    number: int, width: float, height: float, lines: Sequence[Line], tables: list[Block], figures: Sequence[Box]
) -> Page:
    """The page with its blocks in reading order, captions beside what they are of."""
    figures = [box for box in figures if not any(overlap(box, table.box) > 0.5 * area(box) for table in tables)]
    inside: list[list[Line]] = [[] for _ in figures]
    free: list[Line] = []
    for line in lines:
        if any(centre_in(line.box, table.box) for table in tables):
            continue
        home = next((i for i, box in enumerate(figures) if centre_in(line.box, box)), None)
        (free if home is None else inside[home]).append(line)
    blocks = paragraphs(free)
    for box, words in zip(figures, inside, strict=True):
        blocks.append(Block("figure", joined([line.text for line in words]), box, lines=words))
    blocks.extend(tables)
    _give_captions(blocks)
    _give_neighbours(blocks)
    for block in blocks:
        if block.kind == "table":
            describe(block)
    return Page(number, width, height, [blocks[i] for i in reading_order([block.box for block in blocks])])


def assemble_turned(
    number: int,
    width: float,
    height: float,
    lines: Sequence[Line],
    tables: list[Block],
    figures: Sequence[Box],
    quarters: int,
) -> Page:
    """The same for a page whose text is turned counter-clockwise by quarters: read upright, boxes as it is shown."""
    if not quarters:
        return assemble(number, width, height, lines, tables, figures)
    upright = (height, width) if quarters % 2 else (width, height)
    for line in {id(line): line for line in [*lines, *(line for table in tables for line in table.lines)]}.values():
        line.box = turned(line.box, quarters, width, height)
    for table in tables:
        table.box = turned(table.box, quarters, width, height)
        table.row_boxes = [turned(box, quarters, width, height) for box in table.row_boxes]
    page = assemble(number, *upright, lines, tables, [turned(box, quarters, width, height) for box in figures])
    for block in page.blocks:
        block.box = turned(block.box, 4 - quarters, *upright)
        block.row_boxes = [turned(box, 4 - quarters, *upright) for box in block.row_boxes]
    for line in {id(line): line for block in page.blocks for line in block.lines}.values():
        line.box = turned(line.box, 4 - quarters, *upright)
    return Page(number, width, height, page.blocks)


def _give_captions(blocks: list[Block]) -> None:
    """Each caption to the nearest figure or table above or below it."""
    for caption in [block for block in blocks if block.kind == "caption"]:
        tabular = caption.text.lower().startswith(("tab", "table"))
        best, nearest = None, NEAR
        for block in blocks:
            if block.kind not in ("figure", "table") or block.caption or x_overlap(block.box, caption.box) < 0.3:
                continue
            gap = max(block.box[1] - caption.box[3], caption.box[1] - block.box[3], 0.0)
            if (block.kind == "table") != tabular:
                gap += 25
            if gap < nearest:
                best, nearest = block, gap
        if best is not None:
            best.caption = caption.text
            if not tabular and best.kind == "table":  # a drawing made of boxes
                best.kind, best.rows, best.row_boxes = "figure", [], []
                best.text = joined([line.text for line in best.lines])


def _give_neighbours(blocks: list[Block]) -> None:
    """To each figure the heading over it, or the paragraph nearest to it."""
    texts = [block for block in blocks if block.kind in ("text", "heading", "item")]
    for figure in (block for block in blocks if block.kind == "figure"):
        above = [b for b in texts if b.box[3] <= figure.box[1] + 4 and x_overlap(b.box, figure.box) > 0.2]
        heading = max((b for b in above if b.kind == "heading"), key=lambda b: b.box[3], default=None)
        if heading is not None:
            figure.near = heading.text
        closest = min(texts, key=lambda b: _distance(b.box, figure.box), default=None)
        if closest is not None and closest is not heading and _distance(closest.box, figure.box) < 60:
            figure.near = f"{figure.near} {closest.text[:400]}".strip()


def _distance(a: Box, b: Box) -> float:
    across = max(a[0] - b[2], b[0] - a[2], 0.0)
    return float(max(a[1] - b[3], b[1] - a[3], 0.0) + across)
