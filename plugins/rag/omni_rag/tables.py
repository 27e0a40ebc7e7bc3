"""Tables: those with ruled cells by pdfplumber, those with horizontal rules alone by the gaps between words."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from omni_rag.drawings import Drawn
from omni_rag.geometry import Box, area, centre_in, overlap, union, x_overlap
from omni_rag.layout import is_caption, reading_order
from omni_rag.page import Block, Line, Page

RULES = 3000  #: a page with more strokes is a drawing; cells are not looked for


def tables_on(plumbed: Any, drawn: Drawn, lines: list[Line], pieces: list[Line]) -> list[Block]:
    """The tables of a page: `pieces` are its lines cut at wide gaps.

    `plumbed()` gives its `pdfplumber.Page`, or None where that cannot be.
    """
    ruled: list[Block] = []
    if (
        (len(drawn.down) >= 2 or len(drawn.strokes) >= 4)
        and drawn.count <= RULES
        and len(drawn.across) + len(drawn.strokes) >= 3
    ):
        page = plumbed()
        if page is not None:
            ruled = _ruled(page, lines)
    for block in _between_rules(drawn, lines, pieces):
        if not any(overlap(block.box, other.box) > 0.3 * min(area(block.box), area(other.box)) for other in ruled):
            ruled.append(block)
    return ruled


def _ruled(page: Any, lines: list[Line]) -> list[Block]:
    found = []
    for table in page.find_tables():
        rows, boxes = [], []
        for row, cells in zip(table.rows, table.extract(), strict=True):
            rows.append([" ".join((cell or "").split()) for cell in cells])
            boxes.append(tuple(float(edge) for edge in row.bbox))
        rows, boxes = _without_empty(rows, boxes)
        filled = sum(bool(cell) for row in rows for cell in row)
        columns = max((sum(bool(cell) for cell in row) for row in rows), default=0)
        inside = [line for line in lines if centre_in(line.box, table.bbox)]
        if len(rows) < 2 or columns < 2 or filled < 4 or not inside or _is_drawing(inside):
            continue
        if filled < 0.25 * sum(len(row) for row in rows):
            continue
        found.append(Block("table", "", tuple(float(e) for e in table.bbox), lines=inside, rows=rows, row_boxes=boxes))
    return [
        block for block in found
        if not any(other is not block and overlap(block.box, other.box) > 0.9 * area(block.box) for other in found)
    ]  # fmt: skip


def _is_drawing(lines: list[Line]) -> bool:
    """Whether what stands between some rules is a drawing: it holds a caption, or its words stand upright."""
    upright = sum(len(line.text) for line in lines if line.box[3] - line.box[1] > 1.5 * (line.box[2] - line.box[0]) > 0)
    letters = sum(len(line.text) for line in lines)
    return any(is_caption(line.text) for line in lines) or upright > 0.4 * letters


def _without_empty(rows: list[list[str]], boxes: list[Box]) -> tuple[list[list[str]], list[Box]]:
    kept = [i for i, row in enumerate(rows) if any(row)]
    columns = [c for c in range(max(map(len, rows), default=0)) if any(c < len(rows[i]) and rows[i][c] for i in kept)]
    return [[rows[i][c] if c < len(rows[i]) else "" for c in columns] for i in kept], [boxes[i] for i in kept]


def _between_rules(drawn: Drawn, lines: list[Line], pieces: list[Line]) -> list[Block]:
    """Tables as papers set them: three or more rules of one width, and columns between them."""
    rules = [box for box in drawn.across if box[2] - box[0] > 60]
    groups: list[list[Box]] = []
    for rule in sorted(rules, key=lambda box: box[1]):
        for group in groups:
            if abs(group[0][0] - rule[0]) < 5 and abs(group[0][2] - rule[2]) < 5:
                group.append(rule)
                break
        else:
            groups.append([rule])
    found = []
    for group in groups:
        tops = sorted({round(rule[1]) for rule in group})
        if len(tops) < 3:
            continue
        box = (group[0][0] - 2, float(tops[0]) - 2, group[0][2] + 2, float(tops[-1]) + 3)
        inside = [line for line in lines if centre_in(line.box, box) and x_overlap(line.box, box) > 0.9]
        if not 4 <= len(inside) <= 600 or any(is_caption(line.text) for line in inside):
            continue
        rows = _rows([piece for piece in pieces if centre_in(piece.box, box)] or inside)
        if len(rows) >= 2 and sum(len(row) >= 2 for row in rows) >= 0.5 * len(rows):
            cells, boxes = _aligned(rows), [_across(row, box) for row in rows]
            head = sum(row_box[3] <= tops[1] + 2 for row_box in boxes)
            if 1 < head <= 4 and len(rows) > head:  # a heading of several lines
                cells = [[" ".join(filter(None, column)) for column in zip(*cells[:head], strict=True)], *cells[head:]]
                boxes = [union(boxes[:head]), *boxes[head:]]
            found.append(Block("table", "", box, lines=inside, rows=cells, row_boxes=boxes))
    return found


def _across(row: Sequence[Line], box: Box) -> Box:
    """As wide as the table, as high as the row."""
    _, top, _, bottom = union(line.box for line in row)
    return (box[0], top, box[2], bottom)


def _rows(lines: Sequence[Line]) -> list[list[Line]]:
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: one.box[1] + one.box[3]):
        middle = (line.box[1] + line.box[3]) / 2
        if rows and rows[-1][0].box[1] <= middle <= rows[-1][0].box[3]:
            rows[-1].append(line)
        else:
            rows.append([line])
    return [sorted(row, key=lambda one: one.box[0]) for row in rows]


def _aligned(rows: list[list[Line]]) -> list[list[str]]:
    """Cells under the columns of the fullest row."""
    fullest = max(rows, key=len)
    columns = [line.box for line in fullest]
    table = []
    for row in rows:
        cells = [""] * len(columns)
        for line in row:
            middle = (line.box[0] + line.box[2]) / 2
            at = min(range(len(columns)), key=lambda c: abs((columns[c][0] + columns[c][2]) / 2 - middle))
            cells[at] = f"{cells[at]} {line.text}".strip()
        table.append(cells)
    return table


def describe(block: Block) -> None:
    """Set a table's text: the caption, then its rows, cells apart."""
    rows = [" | ".join(cell for cell in row if cell) for row in block.rows]
    block.text = "\n".join([block.caption, *rows] if block.caption else rows)


def join_across_pages(pages: Sequence[Page]) -> list[tuple[Page, Block, list[list[str]]]]:
    """(page, table, header) where a table goes on from the page before: as many columns, first and last on their pages.

    The header is the first row of the table it belongs to; it is empty where the next page repeats it.
    """
    found: list[tuple[Page, Block, list[list[str]]]] = []
    carried: dict[int, list[list[str]]] = {}
    for before, after in itertools.pairwise(pages):
        upper, lower = _edge_table(before, last=True), _edge_table(after, last=False)
        if upper is None or lower is None or after.number != before.number + 1:
            continue
        if len(upper.rows[0]) != len(lower.rows[0]) or x_overlap(upper.box, lower.box) < 0.8:
            continue
        if lower.caption and lower.caption[:12] != upper.caption[:12]:
            continue
        header = carried.get(id(upper), upper.rows[:1])
        carried[id(lower)] = header
        found.append((after, lower, [] if lower.rows[0] == header[0] else header))
        lower.caption = lower.caption or upper.caption
    return found


def _edge_table(page: Page, *, last: bool) -> Block | None:
    """The table that stands last (or first) on the page, but for a running head or foot."""
    order = [page.blocks[i] for i in reading_order([block.box for block in page.blocks])]
    for block in reversed(order) if last else order:
        if block.kind == "table":
            return block
        foot = block.box[1] > 0.9 * page.height if last else block.box[3] < 0.1 * page.height
        if not foot:
            return None
    return None
