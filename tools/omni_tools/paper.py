"""Equations among words: said in a sentence, printed on a sheet, or read off handwriting.

They are told by their form alone: nothing is computed and no algebra is loaded, for this runs on the event loop.
"""

from __future__ import annotations

import re

from omni_tools.expressions import FUNCTIONS, LONGEST, unknowns

_PROSE = re.compile(rf"(?!(?:{'|'.join(FUNCTIONS)}|pi|[xyzabc]{{2}})\b)[A-Za-z]{{2,}}", re.IGNORECASE)


def find_equation(text: str) -> str | None:
    """The first stretch of `text` that reads as an equation with an unknown, or None: for text read off paper."""
    for line in re.split(r"[\n;]|[.?!,:](?:\s|$)", text):
        run: list[str] = []
        for word in [*line.split(), "prose"]:
            if not _PROSE.search(word):
                run.append(word)
                continue
            if found := _equation_in(run):
                return found
            run = []
    return None


#: What a reader of handwriting takes for something else, beside a digit or an operator.
_MISREAD = (
    (r"[×X✕хχ]", "x"),
    (r"[二＝]", "="),
    (r"十", "+"),
    (r"[一ー]", "-"),
    *(
        (rf"(?<=[\d+\-=])(\s?){taken}(?![A-Za-z])|(?<![A-Za-z]){taken}(?=[\dx])", rf"\g<1>{meant}")
        for taken, meant in (("[oOQD]", "0"), ("[lI|]", "1"), ("[sS]", "5"), ("[zZ]", "2"), ("B", "8"))
    ),
)


def read_equation_off(text: str) -> str | None:
    """`find_equation` in what a reader saw on paper or glass.

    What it takes for something else (l for 1, O for 0, × for x) is mended only where the words as they were
    read are no equation in one unknown.
    """
    found = find_equation(text)
    if found and len(unknowns(found) or ()) == 1:
        return found
    for pattern, meant in _MISREAD:
        text = re.sub(pattern, meant, text)
    mended = find_equation(text)
    return mended if mended and len(unknowns(mended) or ()) == 1 else found


#: What may stand before an equation on a sheet: "3)", "a.", a bullet.
_LABEL = re.compile(r"[(\[]?\w{1,2}[).\]:]*|[-•*·]")


def _equation_in(words: list[str]) -> str | None:
    """The equation in a run of words, without what stands before it ("3)", "a").

    One that is too long to be read is given back as it stands: never a part of it, whose answer would be wrong.
    """
    for start in range(len(words)):
        if start and not _LABEL.fullmatch(words[start - 1]):
            return None
        candidate = " ".join(words[start:]).strip(" .,?!")
        if not any(sign in candidate for sign in "=<>≤≥＝"):
            return None
        if len(candidate) > LONGEST:
            return candidate
        if candidate[0] in "+*/^=":
            continue
        if unknowns(candidate):
            return candidate
    return None
