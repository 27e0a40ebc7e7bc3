"""One session's board: what is on it now, who drew it, and where there is room."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from omni.errors import BadInput
from omni_tools.whiteboard import operations as ops

#: Things on one board. A person fills a wall before they fill this.
LIMIT = 1500
#: Space left between two blocks, in board units.
GAP = 40


@dataclass(slots=True)
class Board:
    """Not thread-safe: it lives on the loop."""

    items: dict[str, ops.AnyOperation] = field(default_factory=dict)
    authors: dict[str, str] = field(default_factory=dict)
    highlighted: str = ""
    revision: int = 0
    _past: list[dict[str, ops.AnyOperation]] = field(default_factory=list)

    def apply(self, operations: Iterable[dict[str, Any]], author: str = "omni") -> None:
        """Draw. Raises `BadInput` before anything is changed when one operation can't be read."""
        read = [ops.read(operation) for operation in operations]
        if author == "person" and not all(isinstance(operation, ops.BY_HAND) for operation in read):
            raise BadInput("Only strokes, lines, figures and words can be drawn by hand.", "Use the pen.")
        self._past = [*self._past[-19:], dict(self.items)]
        for operation in read:
            if isinstance(operation, ops.Highlight):
                self.highlighted = operation.target if operation.target in self.items else ""
            elif isinstance(operation, ops.Erase):
                for target in operation.targets or list(self.items):
                    self.items.pop(target, None)
                    self.authors.pop(target, None)
            else:
                self.items.pop(operation.id, None)
                self.items[operation.id] = operation
                self.authors[operation.id] = author
        self.revision += 1
        if len(self.items) > LIMIT:
            self.items = self._past.pop()
            raise BadInput("The whiteboard is full.", "Erase it, or say: clear the board.")

    def undo(self) -> bool:
        """Take the last change back. False when there is none."""
        if not self._past:
            return False
        self.items = self._past.pop()
        self.revision += 1
        return True

    def by(self, author: str) -> list[ops.AnyOperation]:
        """What one of them drew."""
        return [item for id, item in self.items.items() if self.authors.get(id) == author]

    def bottom(self) -> float:
        """The lowest point that is drawn on, in board units; 0 on an empty board."""
        return max((_bottom(item) for item in self.items.values()), default=0.0)

    def snapshot(self) -> list[dict[str, Any]]:
        """Everything, as operations that draw it again."""
        drawn = [ops.write(item) for item in self.items.values()]
        if self.highlighted in self.items:
            drawn.append(ops.write(ops.Highlight(id="highlight", target=self.highlighted)))
        return drawn


def _bottom(item: ops.AnyOperation) -> float:
    match item:
        case ops.Text() | ops.Math():
            return item.y + item.size / 2
        case ops.Stroke() | ops.Polygon():
            return max(y for _, y in item.points)
        case ops.Line():
            return max(item.y1, item.y2)
        case ops.Circle():
            return item.y + item.r
        case ops.Graph():
            return item.y + item.height
    return 0.0
