"""The words of a question that matter, and how many of them a passage holds."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
_COMMON = """
a about all also am an and any are as at be been being but by can could did do does doing done document
find for from get give given got had has have he her here him his how i if in into is it its itself just let like
made make many manual may me mean mention mentioned might more most much must my need no not of on one only or other
our out over page paper please report reported said same say says see shall she should show shown shows so some state
stated such tell than that the their them then there these they this those through to told too under up us use used
uses using very was way we were what when where which while who whom whose why will with would you your according
called name named figure table
der die das ein eine einer und oder ist sind wie was wo wann welche welcher welches fur mit von im den dem des auf zu
le la les un une et ou est sont comment quel quelle quels pour avec dans du de qui que combien
"""
STOP = frozenset(_COMMON.split())


def words(text: str) -> list[str]:
    """Lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return [re.sub(r"['’]s?$", "", word.replace("’s", "").replace("'s", "")) for word in _WORD.findall(plain)]


def terms(question: str) -> list[str]:
    """The words that matter, in order, each once; all words if none does."""
    every = words(question)
    kept = [word for word in every if word not in STOP and (len(word) > 1 or word.isdigit())]
    return list(dict.fromkeys(kept or every))


def fts(question: str) -> str:
    """As an FTS5 query: any of the words. Empty for a question without words."""
    return " OR ".join(f'"{term}"' for term in terms(question))


def stem(word: str) -> str:
    """Roughly what word endings hide; for comparing, not for showing."""
    if len(word) <= 3 or any(c.isdigit() for c in word):
        return word
    for ending in (
        "ations",
        "ation",
        "ingly",
        "ities",
        "ments",
        "ness",
        "ings",
        "ment",
        "ing",
        "ied",
        "ies",
        "ity",
        "ers",
        "est",
        "ed",
        "es",
        "er",
        "ly",
        "al",
        "s",
        "e",
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def coverage(question: Sequence[str], passage: str, weights: Sequence[float]) -> float:
    """The share, by weight, of the question's words that the passage holds (0..1)."""
    present = {stem(word) for word in words(passage)}
    total = sum(weights)
    return sum(w for term, w in zip(question, weights, strict=True) if stem(term) in present) / total if total else 0.0


def rarity(total: int, counts: Sequence[int]) -> list[float]:
    """Inverse document frequency of words that stand on so many of all pages; one that stands nowhere counts most."""
    return [math.log(1 + (total - n + 0.5) / (n + 0.5)) for n in counts]
