"""The words of a question that matter, and how many of them a passage holds."""

from __future__ import annotations

import functools
import itertools
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)?", re.UNICODE)
_COMMON = """
a about all also am an and any are as at be been begin beginning begins being but by can come comes could did do does
doing done document find for from get give given got had happen happens has have he her here him his how i if in into
is it its itself just let like made make many manual may me mean mention mentioned might more most much must my need
neither no nor not of on one only or other our out over page paper please put puts report reported said same say says
see shall she should show shown shows so some start started state stated such take taken tell than that the their them
then there these they this those through to told too took under up us use used uses using very was way we were what when
where which while who whom whose why will with would you your according called name named
chart diagram drawing figure illustration image look looks photo picture table
der die das ein eine einer und oder ist sind wie was wo wann welche welcher welches fur mit von im den dem des auf zu
le la les un une et ou est sont comment quel quelle quels pour avec dans du de qui que combien
"""
STOP = frozenset(_COMMON.split())
_PICTURE = re.compile(
    r"\b(?:figures?|diagrams?|charts?|pictures?|images?|maps?|drawings?|graphs?|plots?|photos?|illustrations?|cover"
    r"|looks?(?: like)?|abbildung|bild|schaubild)\b",
    re.I,
)
_COVER = re.compile(r"\b(?:cover|front page|title page|looks?|finished|assembled)\b", re.I)
_TABLE = re.compile(r"\b(?:tables?|tabelle)\b", re.I)
_SHORT = {
    "january": "jan", "february": "feb", "march": "mar", "april": "apr", "june": "jun", "july": "jul", "august": "aug",
    "september": "sep", "sept": "sep", "october": "oct", "november": "nov", "december": "dec",
}  # fmt: skip
NEAR = 3  #: words between two words of a question that stand beside each other in a passage, at most


@dataclass(frozen=True, slots=True)
class Asked:
    """A question: its words that matter, how rare each is, and what it asks to see."""

    text: str
    terms: tuple[str, ...]
    weights: tuple[float, ...]  #: of the terms, see `rarity`

    @property
    def picture(self) -> bool:
        """Whether a figure is asked for."""
        return bool(_PICTURE.search(self.text))

    @property
    def cover(self) -> bool:
        """Whether what is asked for is mostly on a cover: it, or what the thing the document is about looks like."""
        return bool(_COVER.search(self.text))

    @property
    def table(self) -> bool:
        """Whether a table is asked for."""
        return bool(_TABLE.search(self.text))

    def held(self, passage: str) -> float:
        """The share of the words, by rarity, that a passage holds."""
        return coverage(self.terms, passage, self.weights)

    def together(self, passage: str) -> float:
        """The share of neighbouring words of the question that also stand near each other in a passage (0..1)."""
        pairs = [(stem(a), stem(b)) for a, b in itertools.pairwise(self.terms)]
        if not pairs:
            return self.held(passage)
        places: dict[str, list[int]] = {}
        for at, word in enumerate(words(passage)):
            places.setdefault(stem(word), []).append(at)
        near = [any(abs(x - y) <= NEAR + 1 for x in places.get(a, ()) for y in places.get(b, ())) for a, b in pairs]
        return sum(near) / len(near)


def words(text: str) -> list[str]:
    """Lower case, without accents."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))
    return [re.sub(r"['’]s?$", "", word.replace("’s", "").replace("'s", "")) for word in _WORD.findall(plain)]


def terms(question: str) -> list[str]:
    """The words that matter, in order, each once; all words if none does.

    A lone capital is a name ("Product F"), "May" within a sentence is a month, and what follows "how" only asks.
    """
    kept: list[str] = []
    before = ""
    for match in _WORD.finditer(question):
        word = match[0]
        how, before = before == "how", word.lower()
        if how:
            continue
        named = match.start() > 0 and (word == "May" or (len(word) == 1 and word.isupper() and word != "I"))
        kept += [one for one in words(word) if named or (one not in STOP and (len(one) > 1 or one.isdigit()))]
    return list(dict.fromkeys(kept or words(question)))


def forms(term: str) -> str:
    """A term as an FTS5 query: itself, a month's short name too, a Korean word without its particle too."""
    found = [f'"{term}"']
    if term in _SHORT:
        found.append(f'"{_SHORT[term]}"')
    if _hangul(term) and len(term) > 2:
        found.append(f'"{term[:-1]}"*')
    return " OR ".join(found)


def fts(question: str) -> str:
    """As an FTS5 query: any of the words. Empty for a question without words."""
    return " OR ".join(forms(term) for term in terms(question))


def _hangul(word: str) -> bool:
    return "\uac00" <= word[:1] <= "\ud7a3"


@functools.lru_cache(maxsize=50_000)
def stem(word: str) -> str:
    """Roughly what word endings hide; for comparing, not for showing."""
    if word in _SHORT:
        return _SHORT[word]
    if _hangul(word):
        return word[:2]
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
