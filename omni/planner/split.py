"""One request or several: "set a timer for eight minutes and remember that I like my eggs soft".

A request is cut at a conjunction only where both sides, taken alone, are near to a tool's examples:
"fish and chips" stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from omni.planner.selection import NONE, ExampleIndex, Route

_JOINTS = re.compile(
    r"\s*(?:;|[,.]?\s+(?:and then|and also|and after that|after that|and|then|also|plus)\s+"
    r"|,\s+(?=(?:what|how|when|where|which|please)\b)|[.?!]\s+(?=\S))\s*",
    re.IGNORECASE,
)
#: "x plus six": a sum, not two orders.
_SUM = re.compile(
    r"\W*plus\s+(?:[-\d]|[a-z]\b|(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half)\b|\w+teen\b|\w+ty\b)",
    re.IGNORECASE,
)
#: Each side of a cut must be at least this near to one of its tool's examples.
SIDE = 0.36
#: A request with more joints than this is prose, not a list of orders.
MOST_JOINTS = 6

#: The tool that reads arguments of its own out of a part's words, or nothing.
Speaks = Callable[[Route], str]

_BACK_REFERENCE = re.compile(
    r"\b(it|its|that|this|them|they|those|these|there|the (?:result|total|answer|error|text|file|sum|amount|number))\b",
    re.IGNORECASE,
)


def candidate_cuts(text: str) -> list[tuple[str, str]]:
    """Every way to cut the text in two at a joint."""
    cuts = []
    for match in list(_JOINTS.finditer(text))[:MOST_JOINTS]:
        if _SUM.match(text, match.start()):
            continue
        left, right = text[: match.start()].strip(" ,;."), text[match.end() :].strip(" ,;")
        if len(left.split()) >= 2 and len(right.split()) >= 2:
            cuts.append((left, right))
    return cuts


_PREAMBLE = re.compile(
    r"^(?:(?:stop|wait|okay|ok|alright|great|thank you|thanks|hey|hi|hello|omni|please|well|um+|uh+|so|oh|right|sorry|"
    r"excuse me|listen)\b[\s,.!?…-]*)+",
    re.IGNORECASE,
)


def without_preamble(text: str) -> str:
    """The request without the courtesies and hesitations it begins with; all of it where little else is there."""
    rest = text[match.end() :] if (match := _PREAMBLE.match(text)) else text
    return rest if len(rest.split()) >= 3 else text


def refers_back(text: str) -> bool:
    """Whether a part can't be understood without what came before it."""
    return bool(_BACK_REFERENCE.search(text))


async def split(text: str, index: ExampleIndex, speaks: Speaks) -> list[Route]:
    """The parts of a request with where each points; one part where no cut is convincing."""
    cuts = candidate_cuts(text)
    texts = [text, *(side for cut in cuts for side in cut)]
    routes = await index.routes(texts)
    whole, sides = routes[0], routes[1:]
    pairs = [(sides[i], sides[i + 1]) for i in range(0, len(sides), 2)]
    best = max((p for p in pairs if _convincing(p, whole, speaks)), key=_strength, default=None)
    if best is None:
        return [whole]
    left, right = best
    return [*await _again(left, index, speaks), *await _again(right, index, speaks)]


async def _again(route: Route, index: ExampleIndex, speaks: Speaks) -> list[Route]:
    return await split(route.text, index, speaks) if candidate_cuts(route.text) else [route]


def _strength(pair: Sequence[Route]) -> float:
    return sum(route.score for route in pair)


def _convincing(pair: Sequence[Route], whole: Route, speaks: Speaks) -> bool:
    """Each side has a tool of its own, by its words or by examples, and the cut loses nothing the whole was near to."""
    tools = [speaks(route) or (route.best if route.score >= SIDE else NONE) for route in pair]
    if NONE in tools or tools[0] == tools[1]:
        return False
    return max(route.score for route in pair) > whole.score - 0.05 or all(speaks(route) for route in pair)
