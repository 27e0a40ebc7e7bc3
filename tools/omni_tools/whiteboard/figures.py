"""Figures of plane geometry, to measure: "a right triangle with sides three, four and five"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Literal, get_args

from omni.errors import BadInput
from omni_tools.whiteboard import operations as ops

Shape = Literal["triangle", "right triangle", "square", "rectangle", "circle", "pentagon", "hexagon", "arrow", "line"]

#: The room one figure gets, in board units, and the space between two.
ROOM, BETWEEN = 260.0, 90.0
#: A figure inside another takes this share of it.
INNER = 0.5
MOST = 3
_CORNERS = "ABCDEFGHIJKLMNOPQR"
_NAMED = {name: name for name in get_args(Shape)} | {
    "right angled triangle": "right triangle", "right-angled triangle": "right triangle", "oval": "circle",
}  # fmt: skip
_SHAPE = re.compile(rf"\b({'|'.join(sorted(_NAMED, key=len, reverse=True))})s?\b")

_Points = list[tuple[float, float]]


def figures_in(words: str) -> list[str]:
    """The figures that words name, in order."""
    return [_NAMED[match.group(1)] for match in _SHAPE.finditer(words.lower())]


def draw(shapes: Sequence[str], sizes: Sequence[float], *, top: float, id: str, nested: bool = False) -> ops.Drawn:
    """Operations that draw up to three figures below `top`; `nested`: each inside the next one.

    `sizes` are lengths as they are said: the three sides of a triangle, width and height of a rectangle, one side of a
    square, the radius of a circle. They are written on the figure, which is drawn to scale. Raises `BadInput` for what
    can't exist.
    """
    if not 1 <= len(shapes) <= MOST:
        raise BadInput(f"I draw one to {MOST} figures at a time.", "Name fewer of them.")
    if any(not math.isfinite(size) or size <= 0 for size in sizes):
        raise BadInput("A length must be more than zero.", "Give me positive lengths.")
    drawn: ops.Drawn = []
    numbers = list(sizes)
    for index, shape in enumerate(shapes):
        taken, numbers = numbers[: _SIZES.get(shape, 0)], numbers[_SIZES.get(shape, 0) :]
        room = ROOM * INNER ** (len(shapes) - 1 - index) if nested else ROOM
        middle = 80 + ROOM / 2 + (0 if nested else index * (ROOM + BETWEEN)), top + 30 + ROOM / 2
        drawn += _figure(shape, taken, middle, room, f"{id}-{index}", labelled=not nested)
    return drawn


_SIZES = {"triangle": 3, "right triangle": 3, "square": 1, "rectangle": 2, "circle": 1, "arrow": 1, "line": 1}


def _figure(
    shape: str, sizes: list[float], middle: tuple[float, float], room: float, id: str, *, labelled: bool
) -> ops.Drawn:
    x, y = middle
    if shape == "circle":
        radius = ops.Line(id=f"{id}-radius", x1=x, y1=y, x2=x + room / 2, y2=y, colour="muted", width=2)
        circle = ops.Circle(id=id, x=x, y=y, r=room / 2)
        return [circle, radius, _length(f"{id}-r", (x + room / 4, y - 12), sizes[0])] if sizes else [circle]
    if shape in ("arrow", "line"):
        line = ops.Line(id=id, x1=x - room / 2, y1=y, x2=x + room / 2, y2=y, arrow=shape == "arrow")
        return [line, _length(f"{id}-l", (x, y - 16), sizes[0])] if sizes else [line]
    points = _scaled(_corners(shape, sizes), middle, room)
    polygon = ops.Polygon(id=id, points=points, labels=list(_CORNERS[: len(points)]) if labelled and sizes else [])
    return [polygon, *_side_lengths(id, points, sizes, middle)]


def _corners(shape: str, sizes: list[float]) -> _Points:
    """The corners in the figure's own units; y goes down."""
    if shape == "square":
        return [(0, 0), (1, 0), (1, 1), (0, 1)]
    if shape == "rectangle":
        width, height = sizes if len(sizes) == 2 else (3.0, 2.0)
        return [(0, height), (width, height), (width, 0), (0, 0)]
    if shape in ("pentagon", "hexagon"):
        count = 5 if shape == "pentagon" else 6
        turns = [2 * math.pi * n / count - math.pi / 2 for n in range(count)]
        return [(math.cos(turn), math.sin(turn)) for turn in turns]
    return _triangle(shape, sizes)


def _triangle(shape: str, sizes: list[float]) -> _Points:
    """From three sides by the law of cosines; a right one from its legs."""
    if shape == "right triangle":
        legs = sorted(sizes)
        if len(legs) == 3 and abs(legs[0] ** 2 + legs[1] ** 2 - legs[2] ** 2) > 0.01 * legs[2] ** 2:
            named = ", ".join(f"{size:g}" for size in legs)
            raise BadInput(f"A triangle with sides {named} has no right angle.", "Leave out the longest side.")
        short, long = legs[:2] if len(legs) >= 2 else (3.0, 4.0)
        return [(0, short), (long, short), (0, 0)]
    if len(sizes) < 3:
        sizes = [5.0, 4.0, 4.4]
    base, second, third = sizes
    if 2 * max(sizes) >= sum(sizes):
        named = ", ".join(f"{size:g}" for size in sizes)
        raise BadInput(f"No triangle has the sides {named}: the two short ones do not meet.", "Give me longer ones.")
    along = (base**2 + third**2 - second**2) / (2 * base)
    height = math.sqrt(max(0.0, third**2 - along**2))
    return [(0, height), (base, height), (along, 0)]


def _scaled(points: _Points, middle: tuple[float, float], room: float) -> _Points:
    """Fitted into a square of side `room` around `middle`."""
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    high, low = min(y for _, y in points), max(y for _, y in points)
    scale = room / max(right - left, low - high)
    shift = (middle[0] - scale * (left + right) / 2, middle[1] - scale * (high + low) / 2)
    return [(shift[0] + scale * x, shift[1] + scale * y) for x, y in points]


def _side_lengths(id: str, points: _Points, sizes: list[float], middle: tuple[float, float]) -> ops.Drawn:
    """The lengths beside their sides, outside the figure."""
    sides = list(zip(points, [*points[1:], points[0]], strict=True))
    if len(points) == 3 and len(sizes) >= 2:  # each side gets the length that fits it best
        by_length = sorted(range(3), key=lambda n: math.dist(*sides[n]))
        marked = dict(zip(by_length if len(sizes) == 3 else by_length[:2], sorted(sizes), strict=True))
    else:
        marked = dict(enumerate(sizes))
    drawn: ops.Drawn = []
    for number, size in marked.items():
        (x1, y1), (x2, y2) = sides[number]
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        away = math.dist((x, y), middle) or 1.0
        out = (x + 26 * (x - middle[0]) / away, y + 26 * (y - middle[1]) / away)
        drawn.append(_length(f"{id}-s{number}", (out[0] - 8, out[1] + 9), size))
    return drawn


def _length(id: str, place: tuple[float, float], size: float) -> ops.Text:
    return ops.Text(id=id, x=place[0], y=place[1], text=f"{size:g}", size=26, colour="accent")
