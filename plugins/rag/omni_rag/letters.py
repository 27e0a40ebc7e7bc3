"""From the letters of a PDF page to lines of text, upright.

PDFium gives letters in the order they were drawn, which keeps the columns of most pages apart; a line
ends where the next letter leaves its base line or is far off. Pages that are turned, and pages whose text
runs sideways, are turned until the text is upright; boxes are those of the page as it is shown.
"""

from __future__ import annotations

import ctypes
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

from omni_rag.geometry import Box, turned, union
from omni_rag.page import Line

LETTERS = 60_000  #: a page with more letters than this is no page; the rest is left out


@dataclass(slots=True)
class _Letter:
    text: str
    box: Box  #: of the page as shown
    size: float
    bold: bool
    angle: int  #: quarters by which it is turned counter-clockwise on the page as shown


def lines_of(page: Any) -> tuple[list[Line], list[Line], int]:
    """(lines, pieces, quarters) of a `pypdfium2.PdfPage`: its lines in the order they were drawn, the upright ones cut
    where a gap is wide, as between the cells of a table, and by how many quarters most of the letters are turned.

    A line's box is that on the page as it is shown.
    """
    letters = _letters(page)
    if not letters:
        return [], [], 0
    width, height = page.get_size()
    lines: list[Line] = []
    cut: list[Line] = []
    for angle in sorted({letter.angle for letter in letters}):
        group = [letter for letter in letters if letter.angle == angle]
        if angle:
            for letter in group:
                letter.box = turned(letter.box, angle, width, height)
        pieces = _pieces(group)
        if not angle:
            cut = [line for line in map(_line, pieces) if line.text]
        found = _joined_pieces(pieces)
        if angle:
            upright = (height, width) if angle % 2 else (width, height)
            for line in found:
                line.box = turned(line.box, 4 - angle, *upright)
        lines.extend(found)
    return lines, cut, Counter(letter.angle for letter in letters).most_common(1)[0][0]


def _letters(page: Any) -> list[_Letter]:
    import pypdfium2.raw as pdfium

    textpage = page.get_textpage()
    left0, bottom0, right0, top0 = page.get_bbox()
    quarters = page.get_rotation() // 90
    raw_width, raw_height = right0 - left0, top0 - bottom0
    edges = [ctypes.c_double() for _ in range(4)]
    handle = textpage.raw
    found: list[_Letter] = []
    font, flags = ctypes.create_string_buffer(96), ctypes.c_int()
    for i in range(min(LETTERS, textpage.count_chars())):
        code = pdfium.FPDFText_GetUnicode(handle, i)
        text = chr(code) if 31 < code < 0x110000 and not 0xD800 <= code < 0xE000 else "-" if code == 2 else " "
        if pdfium.FPDFText_IsGenerated(handle, i) == 1 and not text.isspace():
            continue
        if text.isspace() or not pdfium.FPDFText_GetLooseCharBox(handle, i, rect := pdfium.FS_RECTF()):
            if found and found[-1].text[-1:] != " ":
                found[-1].text += " "
            continue
        box = (rect.left - left0, top0 - rect.top, rect.right - left0, top0 - rect.bottom)
        turn = -round(math.degrees(pdfium.FPDFText_GetCharAngle(handle, i)) / 90) % 4
        if box[2] - box[0] < 0.01:  # the tight box, where the font does not say how wide its letters are
            pdfium.FPDFText_GetCharBox(handle, i, edges[0], edges[1], edges[2], edges[3])
            box = (edges[0].value - left0, top0 - edges[3].value, edges[1].value - left0, top0 - edges[2].value)
        pdfium.FPDFText_GetFontInfo(handle, i, font, 96, flags)
        name = font.value.lower()
        bold = b"bold" in name or b"black" in name or b"medi" in name or pdfium.FPDFText_GetFontWeight(handle, i) >= 600
        box = turned(box, quarters, raw_width, raw_height)
        size = (box[3] - box[1]) if (turn - quarters) % 2 == 0 else (box[2] - box[0])
        found.append(_Letter(text, box, max(1.0, size), bold, (turn - quarters) % 4))
    return found


def _pieces(letters: list[_Letter]) -> list[list[_Letter]]:
    """Runs of letters on one base line without a wide gap."""
    pieces: list[list[_Letter]] = []
    for letter in letters:
        last = pieces[-1][-1] if pieces else None
        if last is not None and _goes_on(last, letter):
            gap = letter.box[0] - last.box[2]
            if gap > 0.22 * letter.size and not last.text.endswith(" "):
                last.text += " "
            pieces[-1].append(letter)
        else:
            pieces.append([letter])
    return pieces


def _goes_on(last: _Letter, letter: _Letter) -> bool:
    if last.box == letter.box:
        return True  # two letters of a ligature
    size = max(last.size, letter.size)
    middle = abs((last.box[1] + last.box[3]) - (letter.box[1] + letter.box[3])) / 2
    gap = letter.box[0] - last.box[2]
    return middle < 0.5 * size and -0.6 * size < gap < 0.95 * size


def _joined_pieces(pieces: list[list[_Letter]]) -> list[Line]:
    """Lines from runs; runs that were drawn apart but stand side by side are put together."""
    lines = [_line(piece) for piece in pieces]
    lines = [line for line in lines if line.text]
    lines.sort(key=lambda line: (line.box[1] + line.box[3], line.box[0]))
    joined: list[Line] = []
    for line in lines:
        home = None
        for other in reversed(joined[-30:]):
            height = min(line.size, other.size)
            middle = abs((line.box[1] + line.box[3]) - (other.box[1] + other.box[3])) / 2
            if middle > 2 * height:
                break
            gap = max(line.box[0] - other.box[2], other.box[0] - line.box[2])
            small = len(line.text) <= 12 and line.size < 0.8 * other.size  # an index or exponent
            level = middle < (0.7 * other.size if small else 0.35 * height)
            far = (
                3.5 * height
                if _is_mark(line) or _is_mark(other)
                else 1.35 * height
                if middle < 0.12 * height and abs(line.size - other.size) < 0.5
                else 0.7 * height
            )
            if level and (gap < 0.4 * height if small else -0.5 * height < gap < far):
                home = other
                break
        if home is None:
            joined.append(line)
            continue
        first, second = (home, line) if home.box[0] <= line.box[0] else (line, home)
        space = " " if second.box[0] - first.box[2] > 0.15 * home.size else ""
        longer = home if len(home.text) >= len(line.text) else line
        home.text, home.size, home.bold = first.text + space + second.text, longer.size, longer.bold
        home.box = union([home.box, line.box])
    return joined


def _is_mark(line: Line) -> bool:
    """Whether it is the bullet of a list item, drawn apart from its text."""
    return line.text in {
        "\u2022",
        "\u2023",
        "\u25aa",
        "\u25cf",
        "\u25cb",
        "\u25e6",
        "\u00b7",
        "\u2013",
        "-",
        "*",
        "\uf0b7",
        "\x84",
    }


def _line(letters: list[_Letter]) -> Line:
    text = " ".join("".join(letter.text for letter in letters).split())
    sizes = sorted(letter.size for letter in letters)
    bold = sum(letter.bold for letter in letters) > 0.7 * len(letters)
    return Line(text, union(letter.box for letter in letters), sizes[len(sizes) // 2], bold)
