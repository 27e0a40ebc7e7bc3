"""Cuts an answer that is still being written into clauses that can be spoken.

The first clause is kept short, so that sound starts early; later ones are longer, so that the
voice has a melody. Nothing is cut inside a number, an abbreviation or a pair of backquotes.
"""

from __future__ import annotations

import re

#: Characters a first clause needs before a comma may end it, and that any clause needs.
FIRST_MINIMUM = 12
COMMA_MINIMUM = 48
#: Words after which the first and the second clause may end before a connective, and after which they end in any case:
#: the first so that sound starts early, the second so that it is there when the first is over.
OPENINGS = ((3, 6), (6, 12))
#: Words that must be there to start in a hurry.
HURRIED_WORDS = 3
#: A clause never grows beyond this many characters.
MAXIMUM = 220

_SENTENCE_END = re.compile(r"[.!?…]+[\"')\]]*(?=\s)|\n+")
_PAUSE = re.compile(r"[,;:—–]+[\"')\]]*(?=\s)")
_ABBREVIATION = re.compile(r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|vs|etc|e\.g|i\.e|No|approx|[A-Z]|\d+)\.$")
_CONNECTIVE = re.compile(
    r"(?:and|but|or|so|because|which|who|that|when|while|where|if|as|since|although|than|then|to|of|by|with|from|for|in|"
    r"on|at|through|into|about|like|is|are|was|were|has|have|can|will|would)$",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"(\*\*|__|`+|^#{1,6}\s+|^\s*[-*•]\s+|^\s*>\s+)", re.M)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.S)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")


def speakable(text: str) -> str:
    """The text as it should be said: no Markdown, no code blocks, no bare markup."""
    text = _CODE.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _MARKUP.sub("", text)
    return re.sub(r"\s+", " ", text).strip()


class ClauseSplitter:
    """Feed it deltas; it hands back clauses as soon as they are sure to be complete."""

    def __init__(self) -> None:
        self._pending = ""
        self._count = 0

    def feed(self, delta: str) -> list[str]:
        """Take more text; returns the clauses (possibly none) that it completed."""
        self._pending += delta
        clauses: list[str] = []
        while (cut := self._boundary()) is not None:
            clause, self._pending = self._pending[:cut], self._pending[cut:].lstrip(" ")
            if clause.strip():
                clauses.append(clause)
                self._count += 1
        return clauses

    def hurry(self) -> list[str]:
        """The words so far as a first clause, if there are a few: for when writing is slow and somebody waits."""
        words = list(re.finditer(r"\S+(?=\s)", self._pending))
        if self._count or len(words) < HURRIED_WORDS or self._pending.count("`"):
            return []
        cut = words[-1].end()
        clause, self._pending = self._pending[:cut], self._pending[cut:].lstrip(" ")
        self._count += 1
        return [clause]

    def flush(self) -> list[str]:
        """The rest, when no more text comes."""
        rest, self._pending = self._pending, ""
        return [rest] if rest.strip() else []

    def _boundary(self) -> int | None:
        text = self._pending
        if text.count("```") % 2:
            return None  # inside a code block, which is shown and not spoken
        for match in _SENTENCE_END.finditer(text):
            head = text[: match.end()]
            if not _ABBREVIATION.search(head) or "\n" in match.group():
                return match.end()
        minimum = FIRST_MINIMUM if self._count == 0 else COMMA_MINIMUM
        for match in _PAUSE.finditer(text):
            if match.end() >= minimum:
                return match.end()
        if self._count < len(OPENINGS) and (cut := _opening(text, *OPENINGS[self._count])) is not None:
            return cut
        if len(text) > MAXIMUM and (space := text.rfind(" ", 0, MAXIMUM)) > 0:
            return space
        return None


def _opening(text: str, at_least: int, at_most: int) -> int | None:
    """Where a clause without any mark may end: before a connective, so that the voice can start early."""
    for number, word in enumerate(re.finditer(r"\S+(?=\s)", text)):
        if number >= at_most or (number >= at_least and _CONNECTIVE.match(word.group())):
            return word.start()
    return None
