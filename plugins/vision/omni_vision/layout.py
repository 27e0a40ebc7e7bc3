"""Where text stands: rows, columns, paragraphs and tables, by the geometry of the lines alone.

Boxes are (left, top, right, bottom) in pixels of the upright image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import median

from omni.capabilities import Region

Box = tuple[float, float, float, float]


def union(boxes: Sequence[Box]) -> Box:
    """The smallest box around all of them."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def rows(lines: Sequence[Region]) -> list[list[Region]]:
    """Lines that stand side by side, rows from top to bottom, each from left to right.

    Two lines share a row when they overlap vertically by more than half of the lower one's height.
    """
    found: list[list[Region]] = []
    for line in sorted(lines, key=lambda one: (one.box[1] + one.box[3]) / 2):
        for row in reversed(found[-3:]):
            if _same_row(row, line):
                row.append(line)
                break
        else:
            found.append([line])
    return [sorted(row, key=lambda one: one.box[0]) for row in found]


def _same_row(row: list[Region], line: Region) -> bool:
    nearest = min(row, key=lambda one: abs((one.box[0] + one.box[2]) - (line.box[0] + line.box[2])))
    top, bottom = max(nearest.box[1], line.box[1]), min(nearest.box[3], line.box[3])
    lower = min(nearest.box[3] - nearest.box[1], line.box[3] - line.box[1])
    if bottom - top <= 0.5 * max(lower, 1):
        return False
    shared = min(nearest.box[2], line.box[2]) - max(nearest.box[0], line.box[0])
    return shared <= 0.5 * min(nearest.box[2] - nearest.box[0], line.box[2] - line.box[0])


def reading_order(lines: Sequence[Region]) -> list[Region]:
    """Columns of prose one after the other; otherwise row by row (a receipt's amounts stay with their names)."""
    if len(lines) < 2:
        return list(lines)
    gutter = _gutter(lines)
    if gutter is None:
        return [line for row in rows(lines) for line in row]
    above, left, right, below = gutter
    return [one for part in (above, left, right, below) for one in reading_order(part)]


def _gutter(lines: Sequence[Region]) -> tuple[list[Region], list[Region], list[Region], list[Region]] | None:
    """The lines above, left, right and below a white strip between two columns of prose, if there is one.

    Prose means: on both sides at least four lines one below the other, each taking half of its column's width.
    """
    left, _, right, _ = union([line.box for line in lines])
    width = right - left
    edges = sorted({line.box[2] for line in lines if left + 0.25 * width < line.box[2] < left + 0.75 * width})
    best = None
    for edge in edges:
        x = edge + 1
        crossing = [line for line in lines if line.box[0] < x < line.box[2]]
        sides = [[one for one in lines if one.box[2] <= x], [one for one in lines if one.box[0] >= x]]
        if len(crossing) > 0.3 * len(lines) or any(len(side) < 4 for side in sides):
            continue
        top = max(min(one.box[1] for one in side) for side in sides)
        bottom = min(max(one.box[3] for one in side) for side in sides)
        inside = [[one for one in side if one.box[3] > top and one.box[1] < bottom] for side in sides]
        if any(top < (one.box[1] + one.box[3]) / 2 < bottom for one in crossing) or not all(map(_prose, inside)):
            continue
        if best is None or len(crossing) < best[0]:
            best = (len(crossing), inside, top, bottom)
    if best is None:
        return None
    _, inside, top, bottom = best
    taken = {id(one) for side in inside for one in side}
    rest = [one for one in lines if id(one) not in taken]
    above = [one for one in rest if (one.box[1] + one.box[3]) / 2 <= top]
    below = [one for one in rest if (one.box[1] + one.box[3]) / 2 > top]
    return above, inside[0], inside[1], below


def _prose(side: Sequence[Region]) -> bool:
    if len(side) < 4:
        return False
    left, _, right, _ = union([one.box for one in side])
    wide = median(one.box[2] - one.box[0] for one in side) >= 0.5 * (right - left)
    wordy = median(len(one.text.split()) for one in side) >= 3
    return wide and wordy and sum(len(row) for row in rows(side)) <= 1.3 * len(rows(side))


def paragraphs(lines: Sequence[Region]) -> list[Region]:
    """Neighbouring lines of like height as one region each, `kind` "layout", their text joined by newlines."""
    blocks: list[list[Region]] = []
    for line in lines:
        if blocks and _continues(blocks[-1][-1], line):
            blocks[-1].append(line)
        else:
            blocks.append([line])
    return [
        Region("layout", "\n".join(one.text for one in block), union([one.box for one in block]), _mean(block))
        for block in blocks
    ]


def _continues(last: Region, line: Region) -> bool:
    height = last.box[3] - last.box[1]
    gap = line.box[1] - last.box[3]
    overlap = min(last.box[2], line.box[2]) - max(last.box[0], line.box[0])
    alike = 0.6 < (line.box[3] - line.box[1]) / max(height, 1) < 1.6
    return alike and -height < gap < 0.9 * height and overlap > 0


def tables(lines: Sequence[Region]) -> list[Region]:
    """Runs of at least three rows with the same aligned columns, `kind` "layout", cells parted by " | "."""
    found, run = [], []
    for row in [*rows(lines), []]:
        if len(row) >= 2 and (not run or _aligned(run[-1], row)):
            run.append(row)
            continue
        if len(run) >= 3:
            cells = [one for one_row in run for one in one_row]
            text = "\n".join(" | ".join(one.text for one in one_row) for one_row in run)
            found.append(Region("layout", f"table\n{text}", union([one.box for one in cells]), _mean(cells)))
        run = [row] if len(row) >= 2 else []
    return found


def _aligned(above: list[Region], row: list[Region]) -> bool:
    """Whether all cells of the shorter row share a left edge, a right edge or the middle with one of the other."""
    short, long = sorted((above, row), key=len)
    height = max(one.box[3] - one.box[1] for one in row)

    def fits(a: Region, b: Region) -> bool:
        middle = abs((a.box[0] + a.box[2]) - (b.box[0] + b.box[2])) / 2
        return min(abs(a.box[0] - b.box[0]), abs(a.box[2] - b.box[2]), middle) < height

    return all(any(fits(a, b) for b in long) for a in short)


def join_rows(lines: Sequence[Region]) -> list[Region]:
    """Each row as one line of text, two spaces between its pieces."""
    return [
        replace(
            row[0], text="  ".join(one.text for one in row), box=union([one.box for one in row]), confidence=_mean(row)
        )
        for row in rows(lines)
    ]


def _mean(regions: Sequence[Region]) -> float:
    return sum(one.confidence for one in regions) / len(regions)
