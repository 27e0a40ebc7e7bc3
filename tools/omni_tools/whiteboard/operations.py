"""What can be drawn: one small struct each, by the name in `op`.

Board units: the board is 1000 wide and as high as it needs to be; x goes right, y goes down. Colours
are the names of tokens ("ink", "accent", "muted", "good", "warn"), so that light and dark both work.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from omni.errors import BadInput

WIDTH = 1000

Coordinate = Annotated[float, Meta(ge=-2000, le=20_000)]
Length = Annotated[float, Meta(gt=0, le=20_000)]
Id = Annotated[str, Meta(min_length=1, max_length=64)]
Words = Annotated[str, Meta(max_length=2000)]
Colour = Annotated[str, Meta(pattern="^(ink|accent|muted|good|warn)$")]
Point = tuple[Coordinate, Coordinate]
Points = Annotated[list[Point], Meta(min_length=1, max_length=4000)]


class Operation(msgspec.Struct, kw_only=True, tag_field="op", tag=str.lower, forbid_unknown_fields=True):
    """Everything on the board has an id; drawing with an id that is there replaces it."""

    id: Id
    colour: Colour = "ink"


class Text(Operation):
    """Words, their baseline starting at (x, y)."""

    x: Coordinate
    y: Coordinate
    text: Words
    size: Length = 30


class Math(Operation):
    """A formula: presentation MathML, and the same in words for those who listen."""

    x: Coordinate
    y: Coordinate
    mathml: Annotated[str, Meta(max_length=20_000)]
    text: Words
    size: Length = 36


class Stroke(Operation):
    """A line drawn by hand."""

    points: Points
    width: Length = 3


class Line(Operation):
    """A straight line; with `arrow`, its head is at (x2, y2)."""

    x1: Coordinate
    y1: Coordinate
    x2: Coordinate
    y2: Coordinate
    width: Length = 3
    arrow: bool = False


class Circle(Operation):
    """A circle around (x, y)."""

    x: Coordinate
    y: Coordinate
    r: Length
    width: Length = 3
    filled: bool = False


class Polygon(Operation):
    """A closed figure; `labels` stand at its corners."""

    points: Points
    labels: Annotated[list[Words], Meta(max_length=50)] = []
    width: Length = 3


class Graph(Operation):
    """A coordinate system with curves. `curves` are in its own units; a None in them is a gap."""

    x: Coordinate
    y: Coordinate
    width: Length
    height: Length
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    curves: Annotated[list[Annotated[list[tuple[float, float | None]], Meta(max_length=2000)]], Meta(max_length=6)]
    labels: Annotated[list[Words], Meta(max_length=6)] = []
    points: Annotated[list[tuple[float, float, Words]], Meta(max_length=50)] = []


class Highlight(Operation):
    """Marks what is being talked about; a new highlight takes the place of the last."""

    target: Id


class Erase(Operation):
    """Takes things away; with no targets, everything."""

    targets: Annotated[list[Id], Meta(max_length=500)] = []


AnyOperation = Text | Math | Stroke | Line | Circle | Polygon | Graph | Highlight | Erase
Drawn = list[AnyOperation]
#: What a person can draw; formulas and graphs, which carry markup and curves, are Omni's.
BY_HAND = (Text, Stroke, Line, Circle, Polygon, Highlight, Erase)


def read(operation: Any) -> AnyOperation:
    """A drawing operation from JSON. Raises `BadInput` with what is wrong in it."""
    try:
        return msgspec.convert(operation, AnyOperation)
    except msgspec.ValidationError as error:
        raise BadInput(f"That can't be drawn: {error}.", "Use one of the operations of the whiteboard.") from None


def write(operation: AnyOperation) -> dict[str, Any]:
    """The same as JSON."""
    return msgspec.to_builtins(operation)
