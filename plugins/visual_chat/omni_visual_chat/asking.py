"""What a request about a receipt or a form asks for, read from its words."""

from __future__ import annotations

import re
from typing import Any

_ONES = {word: number for number, word in enumerate(
    ("five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen",
     "seventeen", "eighteen", "nineteen", "twenty"), 5)}  # fmt: skip
_NUMBERS = _ONES | {"twenty-five": 25, "twenty five": 25, "thirty": 30}
_PERCENT = re.compile(
    rf"\b(?P<number>\d+(?:[.,]\d+)?|{'|'.join(sorted(_NUMBERS, key=len, reverse=True))})\s*(?:%|per ?cent\b)",
    re.IGNORECASE,
)
_FIELDS = re.compile(
    r"\b(?:get|extract|pull|read|take|fill in|find|give me|tell me|show me|which|what(?:'s| is| are)?)\s+"
    r"(?P<fields>(?:(?!\bfrom\b|\bout of\b|\boff\b)[\w' ,-])+?)\s+"
    r"(?:out\s+)?(?:from|out of|off(?: of)?|in|on|of|are on|is on)\s+(?:this|the|my|these)\b[\w' -]*"
    r"\b(?:picture|photo|image|scan|form|card|page|label|certificate|document|passport|licen[cs]e|id|paper)\b",
    re.IGNORECASE,
)
#: More words than a field's name has.
_LONGEST_NAME = 4
_MOST_FIELDS = 12
#: Words of a sentence, not of a field's name.
_NO_NAME = frozenset(
    {"", "is", "are", "was", "does", "do", "did", "you", "i", "it", "there", "see", "say", "says", "these"}
)


def read_tip(request: str) -> dict[str, Any] | None:
    """The percentage of a tip, nothing where no tip is asked for; None where it is asked for without a number."""
    if not re.search(r"\btip\b", request, re.IGNORECASE):
        return {}
    found = _PERCENT.search(request)
    if found is None:
        return None
    number = found["number"].lower().replace(",", ".")
    return {"tip_percent": float(_NUMBERS.get(number) or number)}


def read_field_names(request: str) -> dict[str, Any] | None:
    """The fields named in "get the name and the IBAN from this form", as a schema of strings; None where unsure."""
    found = _FIELDS.search(request)
    if found is None:
        return None
    names = [_name(part) for part in re.split(r"\s*,\s*(?:and\s+)?|\s+and\s+", found["fields"])]
    parts = [name.split("_") for name in names]
    if len(names) > _MOST_FIELDS or any(len(part) > _LONGEST_NAME or _NO_NAME & {*part} for part in parts):
        return None
    return {"fields": {"type": "object", "properties": {name: {"type": "string"} for name in names}}}


def _name(words: str) -> str:
    plain = re.sub(r"^(?:(?:the|a|an|my|his|her|me|fields?)\s+)+", "", words.strip().lower())
    return re.sub(r"\W+", "_", plain).strip("_")
