"""What a person drew, as a picture a reader can read."""

from __future__ import annotations

import io
from collections.abc import Sequence

from omni.capabilities import Region
from omni_tools.whiteboard import operations as ops

MARGIN = 60
LONGEST_SIDE = 1600
#: Height of a letter and width of the pen in the picture, in pixels: readers of text know print of this size best
#: (of nine written equations PP-OCR reads nine at 45 pixels, seven at 90, and two as large as they are drawn).
LETTER = 45
PEN = 5


def strokes_png(items: Sequence[ops.AnyOperation]) -> bytes:
    """The strokes in black on white, scaled to letters of `LETTER` pixels and cropped with a margin, as a PNG."""
    from PIL import Image, ImageDraw

    strokes = [item for item in items if isinstance(item, ops.Stroke)]
    points = [point for stroke in strokes for point in stroke.points] or [(0.0, 0.0)]
    left, top = min(x for x, _ in points), min(y for _, y in points)
    right, bottom = max(x for x, _ in points), max(y for _, y in points)
    heights = sorted(max(y for _, y in s.points) - min(y for _, y in s.points) for s in strokes) or [LETTER]
    letter = max(10.0, heights[len(heights) * 4 // 5])
    scale = min(2.0, LETTER / letter, LONGEST_SIDE / max(right - left, bottom - top, 1.0))
    size = (round((right - left) * scale) + 2 * MARGIN, round((bottom - top) * scale) + 2 * MARGIN)
    image = Image.new("L", size, 255)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        line = [((x - left) * scale + MARGIN, (y - top) * scale + MARGIN) for x, y in stroke.points]
        if len(line) > 1:
            draw.line(line, fill=0, width=PEN, joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse((x - PEN / 2, y - PEN / 2, x + PEN / 2, y + PEN / 2), fill=0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def rows(regions: Sequence[Region]) -> list[str]:
    """Pieces of text as the lines they were written in: a hand leaves gaps at which a reader cuts."""
    lines: list[list[Region]] = []
    for region in sorted(regions, key=lambda r: r.box[1] + r.box[3]):
        middle = (region.box[1] + region.box[3]) / 2
        if lines and any(other.box[1] < middle < other.box[3] for other in lines[-1]):
            lines[-1].append(region)
        else:
            lines.append([region])
    return [" ".join(r.text for r in sorted(line, key=lambda r: r.box[0])) for line in lines]
