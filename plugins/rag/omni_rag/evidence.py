"""From a passage to what is cited of it: the sentence, the box it stands in, the lines to mark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any

from omni_rag.geometry import Box
from omni_rag.store import Document, Stored

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[\"'(\[A-Z0-9À-Þ•])|\n+")
LONGEST = 420  #: letters of a quote


@dataclass(frozen=True, slots=True)
class Citation:
    """Where something stands: document, page, the box of the paragraph, table or figure, and the words."""

    document: str
    path: str
    page: int
    box: Box
    kind: str
    quote: str
    marks: list[Box] = field(default_factory=list)  #: the lines of the quote

    def plain(self) -> dict[str, Any]:
        """JSON-ready, edges to a tenth of a point."""
        data = asdict(self)
        data["box"] = [round(edge, 1) for edge in self.box]
        data["marks"] = [[round(edge, 1) for edge in box] for box in self.marks]
        return data


def sentences(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence or line of a passage."""
    found, start = [], 0
    for match in _SENTENCE.finditer(text):
        if text[start : match.start()].strip():
            found.append((start, match.start()))
        start = match.end()
    if text[start:].strip():
        found.append((start, len(text)))
    return found


def cite(chunk: Stored, document: Document, start: int, end: int) -> Citation:
    """The citation of these characters of a chunk."""
    inside = [block for block in chunk.blocks if block[0] < end and block[1] > start] or chunk.blocks[:1]
    block = max(inside, key=lambda one: min(one[1], end) - max(one[0], start))
    marks = [tuple(box) for a, b, page, box in chunk.lines if a < end and b > start and page == block[2]]
    quote = " ".join(chunk.text[start:end].split())
    if len(quote) > LONGEST:
        quote = quote[:LONGEST].rsplit(" ", 1)[0] + " ..."
    path = document.paths[0] if document.paths else ""
    return Citation(document.name, path, block[2], tuple(block[3]), chunk.kind, quote, marks)


def locate(quote: str, text: str) -> tuple[int, int] | None:
    """Where a quote stands in a text, letter for letter but for case, spaces and dashes; None where it does not."""
    wanted = _plain(quote.strip(" .\u2026\"'“”"))[0]
    if sum(c.isalnum() for c in wanted) < 2:
        return None
    plain, where = _plain(text)
    at = plain.find(wanted)
    if at >= 0:
        return where[at], where[at + len(wanted) - 1] + 1
    if len(wanted) < 24:
        return None
    match = SequenceMatcher(None, plain, wanted, autojunk=False).find_longest_match()
    if match.size < 0.75 * len(wanted):
        return None  # a quote with a word or two changed is still found by what was not
    return where[match.a], where[match.a + match.size - 1] + 1


def _plain(text: str) -> tuple[str, list[int]]:
    """(letters alone, lower case, and for each its place)."""
    letters, where = [], []
    for i, c in enumerate(text):
        if c.isalnum() or c in "%$€£.,":
            folded = c.casefold()
            letters.append(folded if len(folded) == 1 else c)
            where.append(i)
    return "".join(letters), where


def numbers(text: str) -> set[str]:
    """The numbers in a text, thousands' marks left out."""
    return {re.sub(r"(?<=\d),(?=\d{3})", "", n).rstrip(".,") for n in re.findall(r"\d[\d.,]*", text)}


def invented(answer: str, sources: Sequence[str]) -> bool:
    """Whether an answer holds a number that stands in none of its sources."""
    known = set().union(*map(numbers, sources)) if sources else set()
    return bool(numbers(answer) - known)
