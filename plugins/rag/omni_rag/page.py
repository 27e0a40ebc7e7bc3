"""What a parsed page is made of. Everything here goes through JSON, between processes and into the index."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from omni_rag.geometry import Box


@dataclass(slots=True)
class Line:
    """One line of text; `size` is that of its letters in points."""

    text: str
    box: Box
    size: float = 10.0
    bold: bool = False


@dataclass(slots=True)
class Block:
    """A paragraph, heading, list item, caption, table or figure.

    `rows` are a table's cells. A figure's `text` is its caption and what is written in it.
    """

    kind: str  #: "text", "heading", "item", "caption", "table", "figure"
    text: str
    box: Box
    lines: list[Line] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    row_boxes: list[Box] = field(default_factory=list)
    caption: str = ""
    near: str = ""  #: a figure: the paragraph that speaks of it, or the one beside it


@dataclass(slots=True)
class Page:
    """One page: its size in points as shown, and its blocks in reading order."""

    number: int  #: from 1
    width: float
    height: float
    blocks: list[Block] = field(default_factory=list)
    scanned: bool = False  #: read by text recognition
    trouble: str = ""  #: what of it could not be read, and why: the end of a sentence

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Page:
        """The inverse of `as_json`."""
        blocks = []
        for block in data["blocks"]:
            lines = [Line(**{**line, "box": tuple(line["box"])}) for line in block["lines"]]
            boxes = [tuple(box) for box in block["row_boxes"]]
            blocks.append(Block(**{**block, "box": tuple(block["box"]), "lines": lines, "row_boxes": boxes}))
        trouble = data.get("trouble", "")
        return Page(data["number"], data["width"], data["height"], blocks, data["scanned"], trouble)

    @property
    def text(self) -> str:
        """All of it in reading order."""
        return "\n".join(block.text for block in self.blocks if block.text)
