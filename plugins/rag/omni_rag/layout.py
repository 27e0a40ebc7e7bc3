"""From lines of text to paragraphs in reading order.

Paragraphs are grown downwards from lines of the same column and size; their order is Breuel's ("High
performance document layout analysis", 2003): above goes before below where two share a column, and left
before right where nothing that spans both stands between them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from omni_rag.geometry import union, x_overlap
from omni_rag.page import Block, Line

BLOCKS = 400  #: a page with more is no text with columns; it is read line by line
_BULLET = re.compile(r"^\s*(?:[•‣▪●○◦∙·–—*\uf0b7\u25a0-]\s+\S|\(?\d{1,2}[.)]\s+\S|\(?[a-z]\)\s+\S)")
_CAPTION = re.compile(
    r"^\s*(?i:fig(?:ure|\.)?|table|tab\.|chart|exhibit|abb(?:ildung|\.)|tabelle)\s*"
    r"[A-Z]?\d+(?:[.-]\d+)*(?![.-]?\d)[a-z]?\s*(?:[.:|\u2013\u2014-]|\(|$|\s(?=[A-Z]))"
)
_NUMBERED = re.compile(r"^(?:\d+(?:\.\d+){0,4}\.?|[A-Z]\.|[IVX]+\.)\s+\S")
_ENDS = re.compile(r"[.!?:]['\")\]]*$")
_HYPHEN = re.compile(r"(?<=[a-zà-ÿ])[-\u2010\u00ad]$")


def is_caption(text: str) -> bool:
    """Whether a paragraph begins as a caption does: "Figure 3"."""
    return bool(_CAPTION.match(text))


def joined(lines: Sequence[str]) -> str:
    """Lines as one paragraph; a word split at a line's end is put together again."""
    text = ""
    for line in lines:
        if text and _HYPHEN.search(text) and line[:1].islower():
            text = text[:-1] + line
        else:
            text = f"{text} {line}".strip()
    return text


def paragraphs(lines: Sequence[Line]) -> list[Block]:
    """Blocks of the kinds text, heading, item and caption, in reading order."""
    if not lines:
        return []
    body = body_size(lines)
    grown: list[list[Line]] = []
    for line in sorted(lines, key=lambda one: (one.box[1], one.box[0])):
        home = _home(line, grown)
        if home is None:
            grown.append([line])
        else:
            home.append(line)
    blocks = [_block(group, body) for group in grown]
    return [blocks[i] for i in reading_order([block.box for block in blocks])]


def body_size(lines: Sequence[Line]) -> float:
    """The size most letters have."""
    sizes: Counter[float] = Counter()
    for line in lines:
        sizes[round(line.size * 2) / 2] += len(line.text)
    return sizes.most_common(1)[0][0] if sizes else 10.0


def _home(line: Line, grown: list[list[Line]]) -> list[Line] | None:
    """The paragraph this line goes on with."""
    best, nearest = None, 1e9
    for group in grown[-40:]:
        last = group[-1]
        height = max(4.0, min(last.box[3] - last.box[1], line.box[3] - line.box[1]))
        gap = line.box[1] - last.box[3]
        if not -0.6 * height <= gap <= 0.75 * height or gap >= nearest:
            continue
        if x_overlap(last.box, line.box) < 0.3 or not _alike(last, line):
            continue
        if _starts_anew(line, group):
            continue
        best, nearest = group, gap
    return best


def _alike(a: Line, b: Line) -> bool:
    """Of the same size, and not one bold and the other not."""
    return abs(a.size - b.size) <= 0.16 * max(a.size, b.size) and (
        a.bold == b.bold or len(a.text) > 60 or len(b.text) > 60
    )


def _starts_anew(line: Line, group: list[Line]) -> bool:
    if _BULLET.match(line.text) or _CAPTION.match(line.text):
        return True
    box = union(one.box for one in group)
    last, em = group[-1], line.size
    if len(group) >= 2 and line.box[0] > group[-1].box[0] + 0.9 * em and line.box[0] < box[0] + 4 * em:
        hanging = group[-1].box[0] > group[0].box[0] + 0.9 * em
        if not hanging and _ENDS.search(last.text) and not _BULLET.match(group[0].text):
            return True
    short = last.box[2] < box[2] - 0.12 * (box[2] - box[0])
    return len(group) >= 2 and short and bool(_ENDS.search(last.text)) and line.text[:1].isupper()


def _block(group: list[Line], body: float) -> Block:
    text = joined([line.text for line in group])
    size = median(line.size for line in group)
    words = len(text.split())
    kind = "text"
    if is_caption(text):
        kind = "caption"
    elif _heading(text, size, all(line.bold for line in group), len(group), words, body):
        kind = "heading"
    elif _BULLET.match(text):
        kind = "item"
    return Block(kind, text, union(line.box for line in group), lines=list(group))


def _heading(text: str, size: float, bold: bool, lines: int, words: int, body: float) -> bool:
    if words > 16 or lines > 3 or len(text) < 3 or not any(c.isalpha() for c in text) or text.endswith((",", ";")):
        return False
    if size >= 1.15 * body:
        return True
    if lines > 2 or (_ENDS.search(text) and not text.endswith(":") and words > 6):
        return False
    return (bold and size >= 0.95 * body) or (bool(_NUMBERED.match(text)) and bold)


def reading_order(boxes: Sequence[Sequence[float]]) -> list[int]:
    """Indices in the order in which a person reads them: down each column, columns from left to right."""
    count = len(boxes)
    if count > BLOCKS:
        return sorted(range(count), key=lambda i: (round(boxes[i][1] / 12), boxes[i][0]))
    spans = [{c for c in range(count) if x_overlap(boxes[c], boxes[a]) > 0.05} for a in range(count)]
    after = [{b for b in range(count) if a != b and _precedes(boxes, spans, a, b)} for a in range(count)]
    before = [0] * count
    for targets in after:
        for b in targets:
            before[b] += 1
    order: list[int] = []
    left = set(range(count))
    while left:
        free = [i for i in left if before[i] <= 0] or list(left)  # a circle is cut at its topmost box
        nxt = min(free, key=lambda i: (boxes[i][1], boxes[i][0])) if not order else _nearest(free, boxes, order[-1])
        order.append(nxt)
        left.discard(nxt)
        for b in after[nxt]:
            before[b] -= 1
    return order


def _nearest(free: list[int], boxes: Sequence[Sequence[float]], last: int) -> int:
    """Of those whose turn it may be, one in the same column if there is one."""
    same = [i for i in free if x_overlap(boxes[i], boxes[last]) > 0.3 and boxes[i][1] >= boxes[last][1] - 2]
    return min(same or free, key=lambda i: (boxes[i][1], boxes[i][0]))


def _precedes(boxes: Sequence[Sequence[float]], spans: Sequence[set[int]], a: int, b: int) -> bool:
    """Whether a is read before b. `spans[a]` are the boxes that share some of a's width."""
    one, other = boxes[a], boxes[b]
    if b in spans[a]:
        return one[1] + one[3] < other[1] + other[3]
    if one[2] > other[0] + 2:
        return False
    for c in sorted(spans[a] & spans[b]):  # left of it: first, unless something across both columns stands between
        between = boxes[c]
        middle = (between[1] + between[3]) / 2
        if min(one[3], other[3]) <= middle + 2 and max(one[1], other[1]) >= middle - 2:
            return other[1] > one[1] if one[3] <= middle + 2 and other[1] >= middle - 2 else False
    return True
