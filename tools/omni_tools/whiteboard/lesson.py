"""A solution as a lesson: what is said, line by line, and what appears on the board while it is said."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from omni.planner.plan import Say
from omni_tools.whiteboard import operations as ops
from omni_tools.whiteboard.board import GAP, Board
from omni_tools.whiteboard.saying import spoken
from omni_tools.whiteboard.steps import Solution, Step

LEFT = 70
REMARK = 540
LINE = 76
SIZE = 40

#: What is written at the right of a line, by operation.
_REMARKS = {
    "subtract": "− {operand}",
    "add": "+ {operand}",
    "divide": "÷ {operand}",
    "multiply": "× {operand}",
    "expand": "multiply out",
    "factor": "factor",
    "zero": "a factor is zero",
    "formula": "quadratic formula",
    "isolate": "the square alone",
    "root": "square root",
    "standard": "one side zero",
    "swap": "swap sides",
    "check": "check ✓",
}
#: Words in a question that point at a kind of step.
_POINTERS = {
    "divide": ("divid", "division", "over"),
    "multiply": ("multipl", "times"),
    "subtract": ("subtract", "take away", "took away", "minus", "remove"),
    "add": ("add", "plus"),
    "expand": ("multiply out", "expand", "bracket", "collect"),
    "factor": ("factor",),
    "zero": ("zero",),
    "formula": ("formula", "discriminant"),
    "root": ("root",),
    "isolate": ("alone", "isolate"),
    "standard": ("one side",),
    "swap": ("swap",),
    "check": ("check", "proof", "prove", "sure", "verify"),
    "given": ("start", "begin", "first"),
    "result": ("answer", "result"),
}


def mathml(value: Any) -> str:
    """Presentation MathML of a sympy value (or of the inside of a formula in MathML), ready for a page."""
    import sympy
    from sympy.printing.mathml import mathml as printed

    if isinstance(value, str):
        body = value
    elif isinstance(value, sympy.Or):
        parts = "<mspace width='0.6em'/><mtext>or</mtext><mspace width='0.6em'/>".join(
            printed(part, printer="presentation") for part in value.args
        )
        body = f"<mrow>{parts}</mrow>"
    else:
        body = printed(value, printer="presentation")
    body = body.replace("<mo><</mo>", "<mo>&lt;</mo>")  # sympy does not escape it
    body = body.replace("<mo>-</mo>", "<mo>−</mo>")  # a minus, not a hyphen
    body = body.replace("&InvisibleTimes;", "\u2062").replace("&ApplyFunction;", "\u2061")  # XML knows no such names
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML">{body}</math>'


@dataclass(slots=True)
class Lesson:
    """A solution that was put on a board: which step stands where, so that a question can point back at it."""

    solution: Solution
    ids: list[str] = field(default_factory=list)
    lines: tuple[Say, ...] = ()

    def script(self, board: Board, name: str) -> tuple[Say, ...]:
        """The lines of the lesson, below what is on the board already. Ids begin with `name`."""
        y = board.bottom() + GAP + SIZE if board.items else 90.0
        lines = []
        last = len(self.solution.steps) - 1
        for number, step in enumerate(self.solution.steps):
            drawing = self._draw(step, f"{name}-{number}", y, final=number == last)
            self.ids.append(f"{name}-{number}")
            lines.append(Say(f"{step.say} ", tuple(ops.write(operation) for operation in drawing)))
            y += LINE
        if self.solution.unknown:
            lines.append(Say(f"So {self.solution.answer}."))
        self.lines = tuple(lines)
        return self.lines

    def rest(self, board: Board) -> tuple[Say, ...]:
        """The lines that have not appeared on the board: where to go on after an interruption."""
        drawn = sum(id in board.items for id in self.ids)
        return self.lines[drawn:] if drawn < len(self.ids) else ()

    def _draw(self, step: Step, id: str, y: float, *, final: bool) -> list[ops.AnyOperation]:
        checks = step.operation == "check"
        colour = "good" if checks else "ink"
        formula = ops.Math(
            id=id, x=LEFT, y=y, mathml=mathml(step.formula), text=_in_words(step), size=SIZE * (0.75 if checks else 1),
            colour=colour,
        )  # fmt: skip
        drawn: list[ops.AnyOperation] = [formula]
        if remark := _REMARKS.get(step.operation, "").format(operand=_short(step)):
            drawn.append(ops.Text(id=f"{id}-remark", x=REMARK, y=y, text=remark, size=28, colour="muted"))
        drawn.append(ops.Highlight(id="highlight", target=id))
        return drawn

    def explain(self, question: str) -> tuple[int, Step] | None:
        """The step a question points at ("why did you divide by two?"), and its number; None when none fits."""
        asked = _numbers_as_digits(question.lower())
        scored = []
        for number, step in enumerate(self.solution.steps):
            score = 2.0 * any(word in asked for word in _POINTERS.get(step.operation, ()))
            if step.operand and re.search(rf"(?<!\w){re.escape(step.operand.lower())}(?!\w)", asked):
                score += 1.0
            if match := re.search(r"\b(?:step|line)\s+(\d+)\b", asked):
                score += 4.0 * (int(match.group(1)) == number + 1)
            scored.append((score, -number, number, step))
        score, _, number, step = max(scored, default=(0.0, 0, 0, None), key=lambda s: s[:2])
        return (number, step) if step is not None and score >= 1.0 else None


def _in_words(step: Step) -> str:
    """A formula of more than one equation is said as the line that introduces it."""
    import sympy

    return spoken(step.formula) if isinstance(step.formula, sympy.core.relational.Relational) else step.say


def _short(step: Step) -> str:
    return re.sub(r"(?<=\d) (?=[a-z]\b)", "", step.operand.replace("minus ", "−"))


_NUMBER_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven")


def _numbers_as_digits(text: str) -> str:
    for value, word in enumerate(_NUMBER_WORDS):
        text = re.sub(rf"\b{word}\b", str(value), text)
    return text
