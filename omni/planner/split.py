"""One request or several: "set a timer for eight minutes and remember that I like my eggs soft".

A request is cut at a conjunction only where both sides, taken alone, are near to a tool's examples:
"fish and chips" stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from omni.planner.selection import NONE, ExampleIndex, Route

_JOINTS = re.compile(
    r"\s*(?:;|[,.]?\s+(?:(?:and )?(?:then|also|after that|afterwards|after which|next|finally)|and|plus),?\s+"
    r"|,\s+(?=(?:what|how|when|where|which|please)\b)|[.?!]\s+(?=\S))\s*",
    re.IGNORECASE,
)
#: "x plus six": a sum, not two orders.
_SUM = re.compile(
    r"\W*plus\s+(?:[-\d]|[a-z]\b|(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|half)\b|\w+teen\b|\w+ty\b)",
    re.IGNORECASE,
)
#: "Two thousand and five": a number, not two parts.
_NUMBER = re.compile(
    r"(?:\W*\b(?:\d+|a|half|quarter|zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|"
    r"\w+teen|(?:twen|thir|for|fif|six|seven|eigh|nine)ty|point)\b)+\W*$",
    re.IGNORECASE,
)
#: "Clear it but save it first": what comes last is to be done first.
_FIRST = re.compile(
    r",?\s+but (?:(?:first|before(?: that)?),? (?P<early>\S+ .+?)|(?P<late>\S+ .+?) (?:first|before(?: that)?))[.!]*$",
    re.IGNORECASE,
)
#: A part that only says how the first one's result is to be given: "and read it to me".
_GIVING = re.compile(
    r"(?:please )?(?:read|show|tell|say|explain|summari[sz]e|describe|translate|give|send)"
    r"(?: (?:it|them|that|this|me|us|to|for|out|aloud|loud|please|the|result|answer|what|it says|in it|about|in short"
    r"|briefly)\b)*[.!?]*$",
    re.IGNORECASE,
)
#: A statement sets the scene for what comes after it: "I saved a file somewhere and can't think where".
_STATEMENT = re.compile(
    r"(?:there (?:is|are|was|were)|(?:i|we)(?:'m|'ve|'d| am| are| have| had)?"
    r" (?!(?:want|need|like|would|wish|wonder|must|have to|love)\b)|this is|that's|here(?:'s| is))\b",
    re.IGNORECASE,
)
#: So does a phrase before a question: "in the picture I sent, which ...".
_PLACE = re.compile(r"(?:in|on|at|from|for|with|about|according to)\b", re.IGNORECASE)
#: And what is to be asked: never a request of its own.
_SOURCE = re.compile(r"according to\b", re.IGNORECASE)
#: A question cut short: it asks for one more thing about what was named before.
_FRAGMENT = re.compile(
    r"(?:(?:on|at|in|from|by|for|of|to|with) )?(?:which|what|when|where|who|whom|how (?:much|many|long))"
    r"(?: (?:date|day|time|place|price|shop|street|year|month|amount|total|currency|number))?\W*$",
    re.IGNORECASE,
)
#: What a person can't do or did is no order: "... and can't think in which folder".
_TROUBLE = re.compile(
    r"(?:can't|cannot|can not|couldn't|could not|don't(?! (?:forget|let))|didn't|won't|am|was|forgot)\b", re.IGNORECASE
)
#: "... and another one for the eggs": once more what the first part asked.
_ANOTHER = re.compile(
    r"(?:please )?(?:(?:set|start) )?(?:another|one more|a second|a third|a further|one)\b", re.IGNORECASE
)
#: Each side of a cut must be at least this near to one of its tool's examples.
SIDE = 0.32
#: What says how to give a result is an order of its own only where it is this near to an example.
GIVEN = 0.7
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
    if (match := _FIRST.search(text)) and len(text[: match.start()].split()) >= 2:
        return [(match["early"] or match["late"], text[: match.start()].strip(" ,;."))]
    cuts = []
    for match in list(_JOINTS.finditer(text))[:MOST_JOINTS]:
        if _SUM.match(text, match.start()):
            continue
        left, right = text[: match.start()].strip(" ,;."), text[match.end() :].strip(" ,;")
        if (
            len(left.split()) >= 2
            and len(right.split()) >= 2
            and not any(part.match(right) for part in (_FRAGMENT, _NUMBER, _TROUBLE))
        ):
            cuts.append((left, right))
    return cuts


_PREAMBLE = re.compile(
    r"^(?:(?:stop(?! (?:the|my|that|this|all|it|both)\b)|wait|okay|ok|alright|great|thank you|thanks|hey|hi|hello|omni|"
    r"please|well|um+|uh+|so|oh|right|sorry|excuse me|listen)\b[\s,.!?…-]*)+",
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
    left, right = pair
    spoken = [speaks(route) for route in pair]
    tools = [said or (route.best if route.score >= SIDE else NONE) for said, route in zip(spoken, pair, strict=True)]
    if NONE in tools or (_GIVING.match(right.text) and right.score < GIVEN) or _sets(left, whole, spoken[0]):
        return False
    if tools[0] == tools[1]:
        return bool(spoken[0]) and bool(_ANOTHER.match(right.text))
    return max(route.score for route in pair) > whole.score - 0.05 or all(spoken)


def _sets(left: Route, whole: Route, spoken: str) -> bool:
    """Whether the left side only sets the scene: a statement, or a phrase with a mere comma after it."""
    if spoken:
        return bool(_SOURCE.match(left.text))
    joined = whole.text[len(left.text) :].lstrip()
    return bool(_STATEMENT.match(left.text) or (joined.startswith(",") and _PLACE.match(left.text)))
