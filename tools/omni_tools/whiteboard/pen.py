"""What a person drew, as a picture a reader can read."""

from __future__ import annotations

import io
from collections.abc import Sequence

from omni_tools.whiteboard import operations as ops

MARGIN = 40
LONGEST_SIDE = 1600


def strokes_png(items: Sequence[ops.AnyOperation]) -> bytes:
    """The strokes in black on white, cropped to what is drawn with a margin, as a PNG."""
    from PIL import Image, ImageDraw

    strokes = [item for item in items if isinstance(item, ops.Stroke)]
    points = [point for stroke in strokes for point in stroke.points] or [(0.0, 0.0)]
    left, top = min(x for x, _ in points) - MARGIN, min(y for _, y in points) - MARGIN
    right, bottom = max(x for x, _ in points) + MARGIN, max(y for _, y in points) + MARGIN
    scale = min(2.0, LONGEST_SIDE / max(right - left, bottom - top))
    image = Image.new("L", (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale))), 255)
    draw = ImageDraw.Draw(image)
    for stroke in strokes:
        line = [((x - left) * scale, (y - top) * scale) for x, y in stroke.points]
        width = max(3, round(stroke.width * scale))
        if len(line) > 1:
            draw.line(line, fill=0, width=width, joint="curve")
        for x, y in (line[0], line[-1]):
            draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
