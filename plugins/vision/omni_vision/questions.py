"""Questions that the findings answer by themselves: is there, how many, what colour, what does it say.

No language model is asked: a small one says yes to almost any "is there". What the detectors can't know is
said to be unknown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from omni.capabilities import Region, VisualAnswer
from omni_vision import objects
from omni_vision.colours import NAMES as COLOURS
from omni_vision.layout import rows
from omni_vision.perception import Percept
from omni_vision.scene import counted, listing, place
from omni_vision.words import classes, clean, head_noun, label_indices

#: A class whose highest score in the picture is at least YES is there; below NO it is not; between, nobody knows.
#: Chosen on everyday photos, where a single bound is best at 0.14 (`make bench-vision`).
#: A thing is counted, and told unasked, from SURE on.
YES, NO = 0.17, 0.12
UNKNOWN = (YES + NO) / 2  #: the score of every class where there is no detector
LABEL_YES, LABEL_NO = 0.25, 0.03

_WHERE = (
    r"(?:\s+(?:in|on|visible in|shown in|at|inside)\s+(?:the|this|that|my|your|it|here)\b.*"
    r"|\s+(?:here|there|visible|anywhere))?"
)
_PRESENCE = re.compile(
    r"^(?:so |and |ok(?:ay)? )?(?:is|are|was|were)\s+there\s+(?P<a>.+?)" + _WHERE + r"$"
    r"|^(?:do|can|could)\s+you\s+(?:see|spot|find)\s+(?P<b>.+?)" + _WHERE + r"$"
    r"|^(?:does|do)\s+(?:the|this|that|these)\s+\w+\s+(?:show|contain|have|include|depict)\s+(?P<c>.+?)"
    + _WHERE
    + r"$",
    re.IGNORECASE,
)
_COUNT = re.compile(
    r"^how many\s+(?P<a>.+?)(?:\s+(?:are|can|do|is|were)\b.*|\s+(?:in|on)\s+(?:the|this)\b.*)?$", re.IGNORECASE
)
_COLOUR = re.compile(
    r"^(?:what|which)\s+colou?r\s+(?:is|are|has|does|do)\s+(?:the\s+|this\s+|that\s+|my\s+)?(?P<a>.+?)(?:\s+have)?$",
    re.IGNORECASE,
)
_READ = re.compile(
    r"\b(?:read|transcribe)\b.*\b(?:text|it|this|that|screen|image|sign|page|aloud|says?|label|letter|note)\b"
    r"|\bwhat\b.*\b(?:does|do|is)\b.*\b(?:say|says|written|text)\b",
    re.IGNORECASE,
)
_DESCRIBE = re.compile(
    r"^(?:please )?(?:describe|what (?:is|are|do you see|can you see)(?:'s)?\s*"
    r"(?:in|on)?\s*(?:the|this|these|it|here)?\s*"
    r"(?:image|picture|photo|camera|screen)?s?)$"
    r"|^what do you see\b.*|^what(?:'s| is) (?:this|that|in (?:the|this) \w+)$|^describe\b.*",
    re.IGNORECASE,
)


def direct(percepts: Sequence[Percept], question: str) -> VisualAnswer | None:
    """The answer the findings give by themselves, or None when language is needed."""
    plain = " ".join(question.split()).rstrip("?!. ")
    if match := _PRESENCE.match(plain):
        return presence(percepts, next(group for group in match.groups() if group))
    if match := _COUNT.match(plain):
        return count(percepts, match["a"])
    if match := _COLOUR.match(plain):
        return colour(percepts, match["a"])
    if _READ.search(plain) and len(plain.split()) < 12:
        return transcribe(percepts)
    return None


def is_description(question: str) -> bool:
    """Whether a question asks for everything that is there."""
    return bool(_DESCRIBE.match(" ".join(question.split()).rstrip("?!. ")))


def presence(percepts: Sequence[Percept], phrase: str) -> VisualAnswer | None:
    """Yes, no, or can't tell, by the scores of detector and labeller and by the text."""
    word = clean(phrase)
    if word in ("text", "writing", "word", "letter"):
        return _text_presence(percepts)
    if word == "face":
        return _regions_presence(percepts, "face", word)
    noun, qualities = head_noun(phrase)
    if not noun:
        if any(region.kind == "text" for percept in percepts for region in percept.regions):
            return None  # it may be a word of the text
        return VisualAnswer(f"I can't tell: {word} is not among the things I know by sight.", (), False)
    states = [state(percept, noun) for percept in percepts]
    best = max(range(len(states)), key=lambda i: states[i])
    if states[best] > 0 and qualities:
        return _with_quality(percepts, noun, qualities)
    if states[best] > 0:
        found = _found(percepts, noun)
        where = (
            f", at the {place(found[0][1], percepts[found[0][0]].width, percepts[found[0][0]].height)}" if found else ""
        )
        image = f" in image {best + 1}" if len(percepts) > 1 else ""
        return VisualAnswer(f"Yes, I see {counted(noun, 1)}{image}{where}.", tuple(found), True)
    if states[best] < 0:
        return VisualAnswer(f"No, I see no {noun}.", (), True)
    return VisualAnswer(f"I can't tell whether there is {counted(noun, 1)}.", (), False)


def state(percept: Percept, noun: str) -> int:
    """1 there, -1 not there, 0 can't tell."""
    kinds = classes(noun)
    votes = []
    if kinds:
        score = max(float(percept.presence[objects.names().index(kind)]) for kind in kinds)
        votes.append(1 if score >= YES else -1 if score < NO else 0)
    indices = label_indices(noun)
    if indices:
        share = float(percept.labels[np.array(indices)].sum())
        if share >= LABEL_YES:
            votes.append(1)
        elif not kinds:  # a label is of the whole picture: its absence says little of small things
            votes.append(-1 if share < LABEL_NO else 0)
    return max(votes, default=0)


def count(percepts: Sequence[Percept], phrase: str) -> VisualAnswer | None:
    """How many of a thing the detector or the face finder boxed."""
    noun = head_noun(phrase)[0] or clean(phrase)
    if noun == "face":
        found = [(i, r) for i, p in enumerate(percepts) for r in p.regions if r.kind == "face"]
    elif classes(noun):
        found = [(image, one) for image, one in _found(percepts, noun) if one.confidence >= objects.SURE]
    else:
        return None
    if not found and noun != "face" and any(state(percept, noun) >= 0 for percept in percepts):
        return VisualAnswer(
            f"There may be {counted(noun, 2)[2:]}, but I can't count them with any certainty.", (), False
        )
    amount = f"I count {counted(noun, len(found))}" if found else f"I see no {noun}"
    crowd = ", perhaps more: they stand close together" if len(found) >= 8 else ""
    return VisualAnswer(f"{amount}{crowd}.", tuple(found), True)


def colour(percepts: Sequence[Percept], phrase: str) -> VisualAnswer | None:
    """The colour of a thing that was found, or of the whole picture."""
    noun, _ = head_noun(phrase)
    if clean(phrase) in ("image", "picture", "photo", "background"):
        names = [name for name, _ in percepts[0].colours[:2]]
        return VisualAnswer(f"Mostly {listing(names)}." if names else "It has no main colour.", (), bool(names))
    if not noun:
        return None
    for image, percept in enumerate(percepts):
        for index, region in enumerate(percept.regions):
            if region.kind == "object" and region.text in classes(noun) and percept.box_colours.get(index):
                names = [name for name, _ in percept.box_colours[index][:2]]
                return VisualAnswer(f"The {noun} is mostly {listing(names)}.", ((image, region),), True)
    if max(state(percept, noun) for percept in percepts) < 0:
        return VisualAnswer(f"I see no {noun}.", (), True)
    return VisualAnswer(f"I can't make out the {noun} well enough to tell its colour.", (), False)


def transcribe(percepts: Sequence[Percept]) -> VisualAnswer:
    """All text, row by row."""
    cited = tuple((i, r) for i, p in enumerate(percepts) for r in p.regions if r.kind == "text")
    if not cited:
        return VisualAnswer("I see no text that can be read.", (), False)
    pages = []
    for percept in percepts:
        text = [region for region in percept.regions if region.kind == "text"]
        pages.append("\n".join("  ".join(one.text for one in row) for row in rows(text)))
    return VisualAnswer("\n\n".join(page for page in pages if page), cited, True)


def _found(percepts: Sequence[Percept], noun: str) -> list[tuple[int, Region]]:
    kinds = classes(noun)
    return [(i, one) for i, p in enumerate(percepts) for one in p.regions if one.kind == "object" and one.text in kinds]


def _text_presence(percepts: Sequence[Percept]) -> VisualAnswer:
    text = tuple((i, r) for i, p in enumerate(percepts) for r in p.regions if r.kind == "text")
    if not text:
        return VisualAnswer("No, I see no text that can be read.", (), True)
    return VisualAnswer(f'Yes: {counted("line", len(text))} of it, beginning "{text[0][1].text}".', text, True)


def _regions_presence(percepts: Sequence[Percept], kind: str, noun: str) -> VisualAnswer:
    found = tuple((i, r) for i, p in enumerate(percepts) for r in p.regions if r.kind == kind)
    return VisualAnswer(f"Yes, {counted(noun, len(found))}." if found else f"No, I see no {noun}.", found, True)


def _with_quality(percepts: Sequence[Percept], noun: str, qualities: str) -> VisualAnswer:
    """A thing that is there and of which more is asked: a colour can be checked, other things can't."""
    asked = [name for name in COLOURS if re.search(rf"\b{name}\b", qualities.replace("gray", "grey"))]
    found = _found(percepts, noun)
    if asked and found:
        for image, region in found:
            percept = percepts[image]
            names = [name for name, _ in percept.box_colours.get(percept.regions.index(region), ())]
            if asked[0] in names[:2]:
                return VisualAnswer(f"Yes, I see a {asked[0]} {noun}.", ((image, region),), True)
        return VisualAnswer(f"I see {counted(noun, len(found))}, but not a {asked[0]} one.", tuple(found), True)
    return VisualAnswer(
        f"I see {counted(noun, max(1, len(found)))}, but I can't tell: {qualities}.", tuple(found), False
    )
