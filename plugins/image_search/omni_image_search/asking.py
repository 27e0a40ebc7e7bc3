"""What a request for photos asks for, read from its words: what they show, what they must not, and when."""

from __future__ import annotations

import re
from calendar import month_name
from typing import Any

_PHOTO = r"(?:photo(?:graph)?s?|picture?s?|pics?|images?|snapshots?|shots?)"
_SPLIT = re.compile(rf"\b{_PHOTO}\b(?: (?:albums?|collection|library|folder))?", re.IGNORECASE)
#: What stands between "photos" and what they show.
_SHOWING = re.compile(
    r"^(?:,|\s|(?:which|that|who|where|of mine|i (?:have|took|made)|we (?:have|took)|once|please|again"
    r"|for (?:the one|those|ones)?(?: with| of| that)?|of|from|with|show(?:s|ing)?|in which|there (?:is|are))\b)+",
    re.IGNORECASE,
)
_ASKING = re.compile(
    r"^\W*(?:(?:please|can you|could you|would you|omni|hey|and|then|also|do i have|do we have|have i got|are there|"
    r"is there|i(?:'d| would) like(?: to see)?|i want(?: to see)?|i need|i think i|i know i|i (?:once )?took|took|i|"
    r"find|search|look|show|get|give|fetch|see|which|where(?:'s| is| are)?|through|for|up|out|me|us|all|any|some|"
    r"my|our|the|a|an|of|in|one|more)\b\W*)*",
    re.IGNORECASE,
)
#: Without one of these, or photos as its first word, a sentence with photos in it is a remark about them.
_WANTED = re.compile(
    r"\b(?:find|s[earc]{4}h|show|look(?:ing)? (?:for|through)|see|give|get|fetch|dig|need|want|(?:i'd|would|you) like|"
    r"where|which|any|"
    r"(?:do|have) (?:i|we)|(?:is|are) there)\b"
    rf"|^\W*(?:all |more |some |the |my |our )*{_PHOTO}\b",
    re.IGNORECASE,
)
#: What a request says around what it wants.
_AFTERWARDS = re.compile(
    r"(?:[,\s]+(?:please|for me|thanks|i (?:took|made|shot)|(?:that|which) (?:i|we) (?:took|made|shot)|taken|once|"
    r"(?:and |please )?(?:can|could|would) you (?:please )?(?:dig|find|look|show|get)\b.*|"
    r"in my (?:album|collection|library)s?))+[\s.?!]*$",
    re.IGNORECASE,
)
_WITHOUT = re.compile(
    r"[,\s]+(?:but|and|though)?\s*(?:without|none (?:with|of)|no(?: pictures of)?|not|nobody|except(?: for)?)\s+"
    r"(?:any |the |with )?(?P<without>[\w' -]+?)(?: (?:in|on) (?:it|them|the (?:picture|photo)s?))?(?=[.,?!]*$)",
    re.IGNORECASE,
)
_MONTHS = {name.lower(): number for number, name in enumerate(month_name) if name}
_WHEN = re.compile(
    r"[,\s]*(?:\b(?:(?:that|which) (?:i|we) (?:took|made|shot)|taken|i took|from)\s+)?"
    r"\b(?P<side>before|until|after|since|in|from|during)\s+(?:the year\s+)?"
    rf"(?:(?P<month>{'|'.join(_MONTHS)})\s+)?(?P<year>(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
#: Times that only a calendar tells: the model reads those.
_VAGUE = re.compile(
    r"\b(?:yesterday|ago|(?:last|this|past) (?:year|month|week|weekend|summer|winter|spring|autumn|fall|"
    rf"{'|'.join(_MONTHS)})|"
    r"between (?:19|20)\d\d)\b",
    re.IGNORECASE,
)


def read_wanted(request: str) -> dict[str, Any] | None:
    """What the photos show, without what, and from when to when; None where that is not plain."""
    words = request.strip()
    if not _SPLIT.search(words) or not _WANTED.search(words) or _VAGUE.search(words):
        return None
    read: dict[str, Any] = {}
    if found := _WHEN.search(words):
        read |= _between(found)
        words = words[: found.start()] + words[found.end() :]
    words = _AFTERWARDS.sub("", words)
    if found := _WITHOUT.search(words):
        read["without"] = found["without"].strip()
        words = words[: found.start()]
    before, after = re.split(_SPLIT, words, maxsplit=1) if _SPLIT.search(words) else (words, "")
    what = _SHOWING.sub("", after).strip(" .,?!") or _ASKING.sub("", before).strip(" .,?!")
    what = re.sub(r"^(?:the|a|an|our|my)\s+(?=\w)", "", _SPLIT.sub("", what).strip())
    if not what or re.fullmatch(r"(?:it|this|that|them|these|those|one|mine|there)", what, re.IGNORECASE):
        return None
    return {"what": what, **read}


def _between(found: re.Match[str]) -> dict[str, str]:
    year, month = int(found["year"]), _MONTHS.get((found["month"] or "").lower(), 0)
    said = f"{year}-{month:02d}" if month else str(year)
    following = (f"{year + month // 12}-{month % 12 + 1:02d}") if month else str(year + 1)
    side = found["side"].lower()
    if side in ("before", "until"):
        return {"before": said}
    if side == "after":
        return {"after": following}
    return {"after": said} if side == "since" else {"after": said, "before": following}


def read_difference(request: str) -> dict[str, Any] | None:
    """In which way photos may differ from the one that is shown: nothing, unless the request says "but ..."."""
    found = re.search(r"\b(?:but|only)\s+(?:this time )?(?P<how>[\w' -]+?)[.?!]*$", request, re.IGNORECASE)
    like = re.search(r"\b(?:like|similar|resembl\w+|same)\b", request, re.IGNORECASE)
    return {"what": found["how"].strip()} if found and like else {}
