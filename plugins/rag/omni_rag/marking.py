"""Evidence drawn into a picture of a page: a frame around the passage, a tint over the words quoted."""

from __future__ import annotations

from typing import Any

FRAME = (14, 106, 91)
TINT = (255, 214, 64)


def marked(image: Any, marks: list[dict[str, Any]], origin: tuple[float, float], scale: float) -> Any:
    """`image` (a PIL image of the part of a page from `origin`, `scale` pixels a point) with `marks` in it.

    A mark is {"box", "strong"}: strong ones are words, tinted as with a marker; the others are framed.
    """
    from PIL import Image, ImageChops, ImageDraw

    picture = image.convert("RGB")
    tint = Image.new("RGB", picture.size, (255, 255, 255))
    pen = ImageDraw.Draw(tint)
    boxes = [
        ([(edge - origin[i % 2]) * scale for i, edge in enumerate(mark["box"])], mark.get("strong")) for mark in marks
    ]
    for box, strong in boxes:
        if strong:
            pen.rectangle((box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1), fill=TINT)
    picture = ImageChops.multiply(picture, tint)
    pen = ImageDraw.Draw(picture)
    for box, strong in boxes:
        if not strong:
            wide = max(2, round(1.5 * scale))
            pen.rounded_rectangle(
                (box[0] - 2 * wide, box[1] - 2 * wide, box[2] + 2 * wide, box[3] + 2 * wide),
                3 * wide,
                outline=FRAME,
                width=wide,
            )
    return picture
