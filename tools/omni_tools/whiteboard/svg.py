"""The board as an SVG file that stands alone: what the page shows, with light colours."""

from __future__ import annotations

from html import escape

from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.board import Board

COLOURS = {"ink": "#1c2024", "accent": "#2563eb", "muted": "#667085", "good": "#18794e", "warn": "#b54708"}
FONT = "system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif"
MARGIN = 60
#: The middle of a line of text above its baseline, as a share of its size.
MIDDLE = 0.35


def board_svg(board: Board) -> str:
    """The whole board. Formulas are MathML in a `foreignObject`: every browser draws them."""
    height = max(600.0, board.bottom() + MARGIN)
    body = "\n".join(_element(item) for item in board.items.values())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {ops.WIDTH} {height:.0f}" '
        f'width="{ops.WIDTH}" height="{height:.0f}" font-family="{FONT}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{_highlight(board)}{body}\n</svg>\n'
    )


def _highlight(board: Board) -> str:
    item = board.items.get(board.highlighted)
    if not isinstance(item, ops.Text | ops.Math):
        return ""
    middle, height = item.y - MIDDLE * item.size, item.size * 1.8
    box = f'x="20" y="{middle - height / 2:.1f}" width="{ops.WIDTH - 40}" height="{height:.1f}"'
    return f'<rect {box} rx="10" fill="#dbe7ff"/>\n'


def _element(item: ops.AnyOperation) -> str:
    colour = COLOURS[item.colour]
    line = f'fill="none" stroke="{colour}" stroke-linecap="round" stroke-linejoin="round"'
    match item:
        case ops.Text():
            return f'<text x="{item.x}" y="{item.y}" font-size="{item.size}" fill="{colour}">{escape(item.text)}</text>'
        case ops.Math():
            top = item.y - item.size * (MIDDLE + 1.2)
            box = f'x="{item.x}" y="{top:.1f}" width="{ops.WIDTH}" height="{item.size * 2.4:.1f}"'
            style = f"font-size:{item.size}px;color:{colour};height:100%;display:flex;align-items:center"
            return (
                f'<foreignObject {box}><div xmlns="http://www.w3.org/1999/xhtml" style="{style}" '
                f'aria-label="{escape(item.text)}">{item.mathml}</div></foreignObject>'
            )
        case ops.Stroke():
            return f'<polyline points="{_points(item.points)}" {line} stroke-width="{item.width}"/>'
        case ops.Polygon():
            corners = f'<polygon points="{_points(item.points)}" {line} stroke-width="{item.width}"/>'
            return corners + "".join(
                f'<text x="{x + 8}" y="{y - 8}" font-size="26" fill="{colour}">{escape(label)}</text>'
                for (x, y), label in zip(item.points, item.labels, strict=False)
            )
        case ops.Line():
            ends = f'x1="{item.x1}" y1="{item.y1}" x2="{item.x2}" y2="{item.y2}"'
            straight = f'<line {ends} {line} stroke-width="{item.width}"/>'
            return straight + (_head(item, colour) if item.arrow else "")
        case ops.Circle():
            fill = f'fill="{colour}"' if item.filled else line
            return f'<circle cx="{item.x}" cy="{item.y}" r="{item.r}" {fill} stroke-width="{item.width}"/>'
        case ops.Graph():
            return _graph(item, colour)
    return ""


def _points(points: list[ops.Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _head(item: ops.Line, colour: str) -> str:
    """An arrow's head: a triangle six line widths long."""
    dx, dy = item.x2 - item.x1, item.y2 - item.y1
    length = (dx * dx + dy * dy) ** 0.5 or 1.0
    ux, uy, size = dx / length, dy / length, 6 * item.width
    left = (item.x2 - size * ux + size / 2 * uy, item.y2 - size * uy - size / 2 * ux)
    right = (item.x2 - size * ux - size / 2 * uy, item.y2 - size * uy + size / 2 * ux)
    return f'<polygon points="{_points([(item.x2, item.y2), left, right])}" fill="{colour}"/>'


def _graph(item: ops.Graph, colour: str) -> str:
    (x0, x1), (y0, y1) = item.x_range, item.y_range

    def place(x: float, y: float) -> tuple[float, float]:
        return (item.x + (x - x0) / (x1 - x0) * item.width, item.y + (y1 - y) / (y1 - y0) * item.height)

    axis_y, axis_x = place(x0, min(max(0.0, y0), y1))[1], place(min(max(0.0, x0), x1), y0)[0]
    grey = f'stroke="{COLOURS["muted"]}" stroke-width="1.5"'
    parts = [
        f'<line x1="{item.x}" y1="{axis_y:.1f}" x2="{item.x + item.width}" y2="{axis_y:.1f}" {grey}/>',
        f'<line x1="{axis_x:.1f}" y1="{item.y}" x2="{axis_x:.1f}" y2="{item.y + item.height}" {grey}/>',
    ]
    palette = [COLOURS["accent"], COLOURS["warn"], COLOURS["good"], colour]
    for number, curve in enumerate(item.curves):
        stroke = palette[number % len(palette)]
        for piece in _pieces(curve, y0, y1):
            points = _points([place(x, y) for x, y in piece])
            parts.append(f'<polyline points="{points}" fill="none" stroke="{stroke}" stroke-width="3"/>')
        if number < len(item.labels):
            y = item.y + 24 + 30 * number
            label = escape(item.labels[number])
            parts.append(f'<text x="{item.x + item.width + 12}" y="{y}" font-size="24" fill="{stroke}">{label}</text>')
    for x, y, label in item.points:
        px, py = place(x, y)
        parts.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="6" fill="{colour}"/>')
        parts.append(f'<text x="{px + 10:.1f}" y="{py - 10:.1f}" font-size="22" fill="{colour}">{escape(label)}</text>')
    return f"<g>{''.join(parts)}</g>"


def _pieces(curve: list[tuple[float, float | None]], low: float, high: float) -> list[list[tuple[float, float]]]:
    """The stretches of a curve inside the window: it breaks at gaps and where it leaves."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in curve:
        if y is None or not low <= y <= high:
            if pieces[-1]:
                pieces.append([])
        else:
            pieces[-1].append((x, y))
    return [piece for piece in pieces if len(piece) > 1]
