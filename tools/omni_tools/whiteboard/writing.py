"""What is to be written on the board, read from the words of a request."""

from __future__ import annotations

import re
from typing import Any

_BOARD = r"(?:the |my |our )?(?:white ?|black)?board"
_ASKING = r"^\W*(?:(?:please|and|then|also|now|can you|could you|would you|i want you to|i'd like you to)\b[\s,]*)*"
_VERB = (
    r"(?:write|put|note|jot|scribble|add|pin|make (?:me )?a note|leave (?:me )?a note|put up a note)(?: (?:down|up))?"
)
_TRAILING = r"(?:,? (?:please|for me|now|in (?:big|large) letters))*[.!?]*$"
_PATTERNS = tuple(
    re.compile(_ASKING + pattern + _TRAILING, re.IGNORECASE | re.DOTALL)
    for pattern in (
        rf"{_VERB} (?:on|onto|to) {_BOARD}(?::| that| saying|,)? (?P<text>.+?)",
        rf"on {_BOARD},? (?:please )?{_VERB}:? (?P<text>.+?)",
        rf"{_VERB}:? (?P<text>.+?),? (?:up |down )?(?:on|onto|to) {_BOARD}",
        rf"(?:can you |could you )?put this (?:sentence|text|line) on {_BOARD}: (?P<text>.+?)",
    )
)
#: What the words are called before they are said.
_CALLED = re.compile(
    r"^(?:(?:the|this|a|an) )?(?:words?|title|heading|headline|sentence|formula|text|equation|phrase|name|number|line)"
    r"(?: (?:that says|saying|reads?|is))?:? (?=\S)",
    re.IGNORECASE,
)
#: Words that stand for what was found or said before: they are not what is to be written.
_POINTING = re.compile(
    r"^(?:it|this|that|them|these|those|(?:that|this|these|those|both|all)\b.*|"
    r"(?:the|its|my|your|both|our) (?:[\w-]+ ){0,2}(?:results?|totals?|answers?|sums?|amounts?|numbers?|name|list|"
    r"sentence|text|date|time|equation|formula|solution|steps?|figure|drawing|graph|value|title))$",
    re.IGNORECASE,
)
#: Figures are drawn by another tool.
_DRAWN = re.compile(
    r"^(?:a|an|two|three) (?:\w+ ){0,2}(?:triangle|circle|square|rectangle|arrow|line|hexagon)s?\b", re.IGNORECASE
)


def text_in(request: str) -> dict[str, Any] | None:
    """The words to write in "write hello on the board"; None where they stand for something else ("write it ...")."""
    words = request.strip()
    for pattern in _PATTERNS:
        if found := pattern.match(words):
            said = found["text"].strip().strip("\"'“”")
            if _POINTING.match(said) or _DRAWN.match(said):
                return None
            text = _CALLED.sub("", said, count=1)
            return {"text": text}
    return None
