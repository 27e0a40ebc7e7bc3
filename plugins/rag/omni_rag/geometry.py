"""Boxes: (left, top, right, bottom) in points of the page as it is shown, from its upper left corner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Box = tuple[float, float, float, float]


def union(boxes: Iterable[Sequence[float]]) -> Box:
    """The smallest box around all of them; there is at least one."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return (min(lefts), min(tops), max(rights), max(bottoms))


def area(box: Sequence[float]) -> float:
    """In square points."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """The area both share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union, 0..1."""
    shared = overlap(a, b)
    return shared / (area(a) + area(b) - shared) if shared else 0.0


def centre_in(box: Sequence[float], of: Sequence[float]) -> bool:
    """Whether the centre of `box` lies in `of`."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return of[0] <= x <= of[2] and of[1] <= y <= of[3]


def x_overlap(a: Sequence[float], b: Sequence[float]) -> float:
    """How much of the narrower one's width both share, 0..1."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    return max(0.0, width) / max(1e-6, min(a[2] - a[0], b[2] - b[0]))


def turned(box: Sequence[float], quarters: int, width: float, height: float) -> Box:
    """A box of a page `width` x `height` after the page was turned clockwise by quarters."""
    left, top, right, bottom = box
    match quarters % 4:
        case 1:
            return (height - bottom, left, height - top, right)
        case 2:
            return (width - right, height - bottom, width - left, height - top)
        case 3:
            return (top, width - right, bottom, width - left)
    return (left, top, right, bottom)


def grouped(boxes: Sequence[Box], gap: float) -> list[list[int]]:
    """Indices of boxes that touch, directly or through others, when each is widened by `gap` / 2."""
    order = sorted(range(len(boxes)), key=lambda i: boxes[i][0])
    parent = list(range(len(boxes)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    active: list[int] = []
    for i in order:
        left, top, _, bottom = boxes[i]
        active = [j for j in active if boxes[j][2] + gap >= left]
        for j in active:
            if boxes[j][1] - gap <= bottom and top - gap <= boxes[j][3]:
                parent[root(i)] = root(j)
        active.append(i)
    groups: dict[int, list[int]] = {}
    for i in range(len(boxes)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())
