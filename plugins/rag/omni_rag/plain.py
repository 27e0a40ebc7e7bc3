"""Text, Markdown and HTML files as pages: wrapped lines at places, so that they are cited and shown like the rest."""

from __future__ import annotations

import re
import textwrap
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from omni_rag.geometry import union
from omni_rag.layout import joined
from omni_rag.page import Block, Line, Page

WIDTH, HEIGHT, MARGIN, PITCH, SIZE = 595.0, 842.0, 48.0, 14.0, 10.0
COLUMNS = 88
LINES = int((HEIGHT - 2 * MARGIN) // PITCH)
LETTER = (WIDTH - 2 * MARGIN) / COLUMNS
LARGEST = 20_000_000  #: bytes of a text file


class _Text(HTMLParser):
    """The text of a page, block elements apart, headings marked as in Markdown."""

    BLOCKS = frozenset(
        [
            "p",
            "div",
            "section",
            "article",
            "li",
            "tr",
            "br",
            "ul",
            "ol",
            "table",
            "h1",
            "h2",
            "h3",
            "h4",
            "h5",
            "h6",
            "pre",
            "blockquote",
            "figcaption",
            "dt",
            "dd",
        ]
    )
    HIDDEN = frozenset(["script", "style", "noscript", "template", "svg"])

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self.title = ""
        self._hidden = 0
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self._hidden += tag in self.HIDDEN
        self._in_title = tag == "title" or self._in_title
        if tag in self.BLOCKS:
            self.parts.append(
                "\n\n" + ("#" * int(tag[1]) + " " if re.fullmatch(r"h[1-6]", tag) else "- " if tag == "li" else "")
            )
        elif tag in ("td", "th"):
            self.parts.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in self.HIDDEN))
        if tag == "title":
            self._in_title = False
        if tag in self.BLOCKS:
            self.parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title:
            self.title += data
        elif not self._hidden:
            self.parts.append(re.sub(r"\s+", " ", data))


def plain_pages(path: Path) -> tuple[str, list[Page]]:
    """(title, pages) of a text, Markdown or HTML file. Raises `ValueError` for one that is no text, or too large."""
    if path.stat().st_size > LARGEST:
        raise ValueError(f"no text file of more than {LARGEST // 1_000_000} MB is read")
    data = path.read_bytes()
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ValueError("no text: data format error")
    text = data.decode("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", errors="replace")
    title = ""
    if path.suffix.lower() in (".html", ".htm", ".xhtml"):
        reader = _Text()
        reader.feed(text)
        text, title = "".join(reader.parts), reader.title.strip()
    pages: list[Page] = []
    row = LINES
    for paragraph in re.split(r"\n\s*\n", text.replace("\r\n", "\n").expandtabs(4)):
        for kind, words in _split(paragraph):
            title = title or (words if kind == "heading" else "")
            lines = textwrap.wrap(words, COLUMNS - 2) or []
            while lines:
                if row + min(len(lines), 3) > LINES:
                    pages.append(Page(len(pages) + 1, WIDTH, HEIGHT))
                    row = 0
                part, lines = lines[: LINES - row], lines[LINES - row :]
                pages[-1].blocks.append(_block(kind, part, row))
                row += len(part) + 1
    return title, pages


def _split(paragraph: str) -> list[tuple[str, str]]:
    """(kind, text) of a paragraph: a heading above its text, list items apart."""
    found: list[tuple[str, list[str]]] = []
    for line in paragraph.splitlines():
        stripped = line.strip()
        if not stripped or re.fullmatch(r"[-=*_|:\s]{3,}", stripped):
            continue
        if heading := re.match(r"#{1,6}\s+(.*)", stripped):
            found.append(("heading", [heading[1].strip("# ")]))
        elif re.match(r"(?:[-*+•]|\d{1,3}[.)])\s+", stripped):
            found.append(("item", [stripped]))
        elif found and found[-1][0] != "heading":
            found[-1][1].append(stripped)
        else:
            found.append(("text", [stripped]))
    return [(kind, joined(lines)) for kind, lines in found]


def _block(kind: str, lines: list[str], row: int) -> Block:
    placed = []
    for i, text in enumerate(lines):
        top = MARGIN + (row + i) * PITCH
        placed.append(Line(text, (MARGIN, top, MARGIN + len(text) * LETTER, top + PITCH - 2), SIZE, kind == "heading"))
    return Block(kind, joined(lines), union(line.box for line in placed), lines=placed)


def drawn_page(path: Path, number: int, scale: float) -> tuple[Any, tuple[float, float]]:
    """(a PIL image of page `number`, its size in points)."""
    from PIL import Image, ImageDraw, ImageFont

    _, pages = plain_pages(path)
    if not 1 <= number <= len(pages):
        raise ValueError(f"it has no page {number} any more")
    image = Image.new("RGB", (round(WIDTH * scale), round(HEIGHT * scale)), "white")
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default(SIZE * scale)
    for block in pages[number - 1].blocks:
        for line in block.lines:
            wanted = (line.box[2] - line.box[0]) * scale
            fitted = (
                font
                if font.getlength(line.text) <= wanted + 1
                else ImageFont.load_default(SIZE * scale * wanted / font.getlength(line.text))
            )
            pen.text((line.box[0] * scale, line.box[1] * scale), line.text, fill=(20, 20, 20), font=fitted)
    return image, (WIDTH, HEIGHT)
