"""What is drawn on a PDF page: rules, pictures, and clusters of strokes that are figures."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from omni_rag.geometry import Box, area, centre_in, grouped, turned, union
from omni_rag.page import Line

OBJECTS = 20_000  #: strokes looked at; a map has more, and is one figure anyway
LETTERS = 700  #: a large cluster with more letters in it is a page with pictures, not a figure
THIN = 2.5  #: points: what is thinner is a rule


@dataclass(slots=True)
class Drawn:
    """Boxes of what is drawn, on the page as shown."""

    pictures: list[Box] = field(default_factory=list)
    strokes: list[Box] = field(default_factory=list)
    across: list[Box] = field(default_factory=list)  #: horizontal rules
    down: list[Box] = field(default_factory=list)  #: vertical rules
    count: int = 0


def drawn_on(page: Any) -> Drawn:
    """Look at the objects of a `pypdfium2.PdfPage`, those inside forms too."""
    import pypdfium2.raw as pdfium

    left0, bottom0, right0, top0 = page.get_bbox()
    quarters, (width, height) = page.get_rotation() // 90, (right0 - left0, top0 - bottom0)
    found = Drawn()
    for kind, (left, bottom, right, top) in _objects(page.raw, None, (1.0, 0.0, 0.0, 1.0, 0.0, 0.0), 0):
        found.count += 1
        if found.count > OBJECTS:
            break
        left, right = max(left, left0), min(right, right0)
        bottom, top = max(bottom, bottom0), min(top, top0)
        if right < left or top < bottom:
            continue
        box = turned((left - left0, top0 - top, right - left0, top0 - bottom), quarters, width, height)
        w, h = box[2] - box[0], box[3] - box[1]
        if kind == pdfium.FPDF_PAGEOBJ_IMAGE:
            if w > 6 and h > 6:
                found.pictures.append(box)
        elif h <= THIN and w >= 12:
            found.across.append(box)
        elif w <= THIN and h >= 6:
            found.down.append(box)
        elif w * h < 0.9 * width * height:
            found.strokes.append(box)
    return found


Matrix = tuple[float, float, float, float, float, float]


def _objects(
    parent: Any, form: Any, outer: Matrix, level: int
) -> Iterator[tuple[int, tuple[float, float, float, float]]]:
    """(kind, bounds in page space) of pictures, paths and shadings."""
    import pypdfium2.raw as pdfium

    count = pdfium.FPDFFormObj_CountObjects(form) if form else pdfium.FPDFPage_CountObjects(parent)
    for i in range(min(count, OBJECTS)):
        item = pdfium.FPDFFormObj_GetObject(form, i) if form else pdfium.FPDFPage_GetObject(parent, i)
        kind = pdfium.FPDFPageObj_GetType(item)
        if kind == pdfium.FPDF_PAGEOBJ_FORM:
            matrix = pdfium.FS_MATRIX()
            if level < 8 and pdfium.FPDFPageObj_GetMatrix(item, matrix):
                inner = (matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f)
                yield from _objects(parent, item, _times(inner, outer), level + 1)
        elif kind in (pdfium.FPDF_PAGEOBJ_IMAGE, pdfium.FPDF_PAGEOBJ_PATH, pdfium.FPDF_PAGEOBJ_SHADING):
            edges = [ctypes.c_float() for _ in range(4)]
            if pdfium.FPDFPageObj_GetBounds(item, *edges):
                left, bottom, right, top = (edge.value for edge in edges)
                corners = [_at(outer, x, y) for x in (left, right) for y in (bottom, top)]
                xs, ys = zip(*corners, strict=True)
                yield kind, (min(xs), min(ys), max(xs), max(ys))


def _times(m: Matrix, n: Matrix) -> Matrix:
    """First m, then n."""
    return (
        m[0] * n[0] + m[1] * n[2], m[0] * n[1] + m[1] * n[3], m[2] * n[0] + m[3] * n[2], m[2] * n[1] + m[3] * n[3],
        m[4] * n[0] + m[5] * n[2] + n[4], m[4] * n[1] + m[5] * n[3] + n[5],
    )  # fmt: skip


def _at(m: Matrix, x: float, y: float) -> tuple[float, float]:
    return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]


def figures(drawn: Drawn, lines: list[Line], tables: list[Box], width: float, height: float) -> list[Box]:
    """The boxes of figures: pictures, and clusters of strokes that are neither a table nor a frame around text."""
    page = width * height
    whole = [box for box in drawn.pictures if area(box) > 0.85 * page]
    pictures = [box for box in drawn.pictures if box not in whole and area(box) > 0.0004 * page]
    strokes = [box for box in drawn.strokes if area(box) < 0.8 * page]
    inked = (
        pictures
        + strokes
        + [box for box in drawn.across + drawn.down if max(box[2] - box[0], box[3] - box[1]) < 0.7 * width]
    )
    inked = [box for box in inked if not any(centre_in(box, table) for table in tables)]
    found: list[Box] = []
    for group in grouped(inked, 9.0):
        boxes = [inked[i] for i in group]
        box = union(boxes)
        holds_picture = any(one in pictures for one in boxes)
        if area(box) < (0.008 if holds_picture else 0.02) * page or min(box[2] - box[0], box[3] - box[1]) < 24:
            continue
        if not holds_picture and len(boxes) < 6:
            continue
        words = [line for line in lines if centre_in(line.box, box)]
        if (not holds_picture and sum(area(line.box) for line in words) > 0.45 * area(box)) or (
            words and box[3] - box[1] < 40
        ):
            continue  # a frame around text
        if sum(len(line.text) for line in words) > LETTERS and area(box) > 0.2 * page:
            found.extend(one for one in boxes if one in pictures and area(one) > 0.01 * page)  # a decorated page
            continue
        found.append(box)
    return [union(found[i] for i in group) for group in grouped(found, 2.0)]
