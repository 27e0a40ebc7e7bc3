"""Solves an equation the way it is taught: one operation on both sides at a time, each with its reason.

Linear equations and inequalities, quadratics (by factoring where the roots are rational, else by the
formula), and plain arithmetic. Every solution is checked by putting it back into what was given; a
solution that does not check is never shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omni.errors import BadInput
from omni_tools.expressions import read_equation, read_expression
from omni_tools.whiteboard.saying import spoken

if TYPE_CHECKING:
    from sympy import Expr, Symbol
    from sympy.core.relational import Relational


@dataclass(frozen=True, slots=True)
class Step:
    """One line on the board.

    `formula` is what stands there now (sympy, unevaluated where it must look as written; or MathML), `operation`
    is a stable word ("subtract", "divide", ...) with its `operand` as spoken, `say` what is said while
    it is written, `why` the reason, for the one who asks.
    """

    operation: str
    formula: Any
    say: str
    why: str
    operand: str = ""


@dataclass(frozen=True, slots=True)
class Solution:
    """The steps from what was given to the answer, and the answer in words."""

    given: str
    unknown: str
    steps: tuple[Step, ...]
    answer: str
    values: tuple[Any, ...]


def solve(text: str) -> Solution:
    """Solve an equation, or work out an expression. Raises `BadInput` where it is neither, or too hard."""
    if not any(sign in text for sign in "=<>≤≥＝"):
        return _work_out(text)
    given = read_equation(text)
    symbols = sorted(given.free_symbols, key=lambda s: (s.name != "x", s.name))
    if not symbols:
        return _check_claim(text, given)
    if len(symbols) > 1:
        names = ", ".join(s.name for s in symbols)
        raise BadInput(
            f"There is more than one unknown in {text!r}: {names}.", "Give me one more equation, or a value."
        )
    unknown = symbols[0]
    degree = _degree(given, unknown)
    if degree is None or degree > 2:
        return _by_sympy(text, given, unknown)
    if degree == 2:
        return _quadratic(text, given, unknown)
    return _linear(text, given, unknown)


# --- linear ----------------------------------------------------------------------------------------------


def _degree(given: Relational, unknown: Symbol) -> int | None:
    import sympy

    difference = sympy.expand(given.lhs - given.rhs)
    return sympy.degree(difference, unknown) if difference.is_polynomial(unknown) else None


def _relation(like: Relational, left: Any, right: Any, *, flip: bool = False) -> Relational:
    kind = type(like.reversed) if flip else type(like)
    return kind(left, right, evaluate=False)


def _opening(given: Relational, unknown: Symbol) -> Step:
    return Step(
        "given",
        given,
        f"We start with {spoken(given)}.",
        f"This is what you showed me; we want {unknown} alone on one side.",
    )


def _simplified(given: Relational, steps: list[Step]) -> Relational:
    """Multiply out and collect, as steps of their own where something changes."""
    import sympy

    left, right = (sympy.expand(sympy.Add(*sympy.Add.make_args(side))) for side in (given.lhs, given.rhs))
    simpler = _relation(given, left, right)
    if simpler != given:
        steps.append(
            Step(
                "expand",
                simpler,
                f"First we multiply out and collect: {spoken(simpler)}.",
                "With the brackets gone and like terms together we can see what belongs to the unknown.",
            )
        )
    return simpler


def _move(now: Relational, term: Expr, what: str, steps: list[Step]) -> Relational:
    """Take `term` away from both sides."""
    import sympy

    adding = term.could_extract_minus_sign()
    amount = -term if adding else term
    after = _relation(now, sympy.expand(now.lhs - term), sympy.expand(now.rhs - term))
    verb, opposite = ("add", "subtracted") if adding else ("subtract", "added")
    preposition = "to" if adding else "from"
    steps.append(
        Step(
            verb,
            after,
            f"We {verb} {spoken(amount)} {preposition} both sides, which leaves {spoken(after)}.",
            f"{spoken(amount).capitalize()} is {opposite} on one side; to {verb} it on both sides removes it there "
            f"and keeps the balance. {what}",
            spoken(amount),
        )
    )
    return after


def _scale(now: Relational, factor: Expr, unknown: Symbol, steps: list[Step]) -> Relational:
    """Divide both sides by `factor`."""
    by_reciprocal = factor.is_Rational and abs(factor.p) == 1 and factor.q != 1
    amount = 1 / factor if by_reciprocal else factor
    verb = "multiply" if by_reciprocal else "divide"
    flips = factor.is_negative and type(now).__name__ != "Equality"
    after = _relation(now, now.lhs / factor, now.rhs / factor, flip=flips)
    turned = " Because it is negative, the sign turns around." if flips else ""
    times = "divided by" if by_reciprocal else "multiplied by"
    steps.append(
        Step(
            verb,
            after,
            f"Then we {verb} both sides by {spoken(amount)}.{turned} So {spoken(after)}.",
            f"{unknown} is {times} {spoken(amount)}, so to {verb} both sides by {spoken(amount)} leaves {unknown} "
            f"alone.{turned}",
            spoken(amount),
        )
    )
    return after


def _linear(text: str, given: Relational, unknown: Symbol) -> Solution:
    import sympy

    steps = [_opening(given, unknown)]
    now = _simplified(given, steps)
    if sympy.expand(now.lhs - now.rhs).coeff(unknown) == 0:
        return _no_unknown_left(text, now, unknown, steps)
    if now.lhs.coeff(unknown) == 0:
        now = _relation(now.reversed, now.rhs, now.lhs)
        steps.append(
            Step(
                "swap", now, f"We swap the sides: {spoken(now)}.", "It reads more easily with the unknown at the left."
            )
        )
    right = now.rhs.coeff(unknown) * unknown
    if right != 0:
        now = _move(now, right, f"We want every {unknown} on the left.", steps)
    constant = now.lhs.subs(unknown, 0)
    if constant != 0:
        now = _move(now, constant, f"We want the term with {unknown} alone.", steps)
    factor = now.lhs.coeff(unknown)
    if factor != 1:
        now = _scale(now, factor, unknown, steps)
    value = now.rhs
    if type(given).__name__ == "Equality":
        steps.append(_check(given, unknown, value))
        return Solution(text, unknown.name, tuple(steps), f"{unknown} equals {spoken(value)}", (value,))
    return Solution(text, unknown.name, tuple(steps), spoken(now), (now,))


def _no_unknown_left(text: str, now: Relational, unknown: Symbol, steps: list[Step]) -> Solution:
    import sympy

    holds = bool(type(now)(sympy.expand(now.lhs - now.rhs), 0))
    answer = f"every {unknown} is a solution" if holds else "there is no solution"
    steps.append(
        Step("result", now, f"The {unknown} drops out, and so {answer}.", "Both sides have the same multiple of it.")
    )
    return Solution(text, unknown.name, tuple(steps), answer, ())


def _check(given: Relational, unknown: Symbol, value: Any) -> Step:
    """Put the value back. Raises `BadInput` when it does not hold, which would be a mistake of ours."""
    import sympy

    left, right = (sympy.simplify(side.subs(unknown, value)) for side in (given.lhs, given.rhs))
    if sympy.simplify(left - right) != 0:
        raise BadInput(f"My solution {unknown} = {value} does not check.", "Please work it out another way.")
    return Step(
        "check",
        sympy.Eq(left, right, evaluate=False),
        f"Let us check: with {unknown} equal to {spoken(value)}, both sides are {spoken(left)}.",
        "Putting the answer back into the equation shows that it is right.",
    )


# --- quadratic ---------------------------------------------------------------------------------------------


def _quadratic(text: str, given: Relational, unknown: Symbol) -> Solution:
    import sympy

    if type(given).__name__ != "Equality":
        return _by_sympy(text, given, unknown)
    steps = [_opening(given, unknown)]
    polynomial = sympy.expand(given.lhs - given.rhs)
    standard = sympy.Eq(polynomial, 0, evaluate=False)
    if standard != given:
        steps.append(
            Step(
                "standard",
                standard,
                f"We bring everything to one side: {spoken(standard)}.",
                "A quadratic is easiest when one side is zero.",
            )
        )
    a, b, c = (polynomial.coeff(unknown, n) for n in (2, 1, 0))
    discriminant = sympy.expand(b**2 - 4 * a * c)
    if discriminant < 0:
        steps.append(
            Step(
                "discriminant",
                sympy.Eq(sympy.Symbol("D"), discriminant, evaluate=False),
                f"The discriminant is {spoken(discriminant)}, which is negative, so no real number solves it.",
                "The square of a real number is never negative.",
            )
        )
        return Solution(text, unknown.name, tuple(steps), "there is no real solution", ())
    root = sympy.sqrt(discriminant)
    values = tuple(sorted({sympy.simplify((-b - root) / (2 * a)), sympy.simplify((-b + root) / (2 * a))}, key=sympy.N))
    if b == 0:
        _square_root(steps, (a, c), values, unknown)
    elif root.is_Rational:
        _factor(steps, polynomial, values, unknown)
    else:
        _formula(steps, (a, b, discriminant), values, unknown)
    for value in values:
        steps.append(_check(given, unknown, value))
    answer = f"{unknown} equals {_or(values)}"
    return Solution(text, unknown.name, tuple(steps), answer, values)


def _factor(steps: list[Step], polynomial: Expr, values: tuple[Any, ...], unknown: Symbol) -> None:
    import sympy

    factored = sympy.Eq(sympy.factor(polynomial), 0, evaluate=False)
    steps.append(
        Step(
            "factor",
            factored,
            f"It factors: {spoken(factored)}.",
            "Two numbers with the right sum and the right product give the two brackets.",
        )
    )
    steps.append(
        Step(
            "zero",
            _one_of(unknown, values),
            f"A product is zero when one of its factors is, so {unknown} is {_or(values)}.",
            "If neither bracket were zero, their product could not be.",
        )
    )


def _square_root(steps: list[Step], numbers: tuple[Any, Any], values: tuple[Any, ...], unknown: Symbol) -> None:
    import sympy

    a, c = numbers
    square = sympy.Eq(unknown**2, -c / a, evaluate=False)
    steps.append(
        Step(
            "isolate",
            square,
            f"Only the square has an {unknown} in it, so we get it alone: {spoken(square)}.",
            "There is no plain multiple of the unknown, so a square root will undo the square.",
        )
    )
    steps.append(
        Step(
            "root",
            _one_of(unknown, values),
            f"We take the square root of both sides, with both signs: {unknown} is {_or(values)}.",
            "A number and its opposite have the same square, so both signs count.",
        )
    )


def _formula(steps: list[Step], numbers: tuple[Any, Any, Any], values: tuple[Any, ...], unknown: Symbol) -> None:
    a, b, discriminant = numbers
    # sympy has no plus-or-minus, so this one line is written as MathML
    shape = (
        f"<mrow><mi>{unknown}</mi><mo>=</mo><mfrac><mrow><mn>{-b}</mn><mo>±</mo>"
        f"<msqrt><mn>{discriminant}</mn></msqrt></mrow><mn>{2 * a}</mn></mfrac></mrow>"
    )
    steps.append(
        Step(
            "formula",
            shape,
            f"It does not factor nicely, so we use the formula: {unknown} is {spoken(-b)}, plus or minus the square "
            f"root of {spoken(discriminant)}, over {spoken(2 * a)}.",
            "The quadratic formula comes from completing the square, and works for every quadratic.",
        )
    )
    near = " and ".join(f"{float(v):.3g}" for v in values)
    both = "These are the two values the plus and the minus give."
    steps.append(Step("result", _one_of(unknown, values), f"That is about {near}.", both))


def _one_of(unknown: Symbol, values: tuple[Any, ...]) -> Any:
    """The unknown is one of these, as a formula."""
    import sympy

    roots = [sympy.Eq(unknown, value, evaluate=False) for value in values]
    return sympy.Or(*roots, evaluate=False) if len(roots) > 1 else roots[0]


def _or(values: tuple[Any, ...]) -> str:
    return " or ".join(spoken(value) for value in values)


# --- everything else ------------------------------------------------------------------------------------------


def _by_sympy(text: str, given: Relational, unknown: Symbol) -> Solution:
    """No school method of ours: the exact answer and its check, without a pretence of steps."""
    import sympy

    values = sympy.solveset(given, unknown, domain=sympy.S.Reals)
    steps = [_opening(given, unknown)]
    if values is sympy.S.EmptySet:
        found, shape, answer = (), given, "there is no real solution"
    elif isinstance(values, sympy.FiniteSet):
        found = tuple(sorted(values, key=sympy.N))
        shape = sympy.Or(*(sympy.Eq(unknown, v, evaluate=False) for v in found), evaluate=False)
        answer = f"{unknown} equals {_or(found)}"
    elif isinstance(values, sympy.ConditionSet):
        raise BadInput(f"I can't solve {text!r} exactly.", "Ask me for a graph of both sides instead.")
    else:
        found, shape = (values,), values.as_relational(unknown)
        answer = str(shape)
    steps.append(
        Step("result", shape, f"Solved exactly: {answer}.", "I solved this with algebra software, not by hand.")
    )
    return Solution(text, unknown.name, tuple(steps), answer, found)


def _check_claim(text: str, given: Relational) -> Solution:
    import sympy

    left, right = sympy.simplify(given.lhs), sympy.simplify(given.rhs)
    holds = bool(type(given)(left, right))
    verdict = "true" if holds else "false"
    sentence = f"The left side is {spoken(left)} and the right side is {spoken(right)}, so this is {verdict}."
    steps = (
        Step("given", given, f"We look at {spoken(given)}.", "It has no unknown, so it is a claim."),
        Step("result", type(given)(left, right, evaluate=False), sentence, "Each side was worked out exactly."),
    )
    return Solution(text, "", steps, verdict, (holds,))


def _work_out(text: str) -> Solution:
    import sympy

    value = sympy.simplify(read_expression(text))
    about = "" if value.is_Rational and value.q < 100 else f", about {float(value):.4g}" if value.is_number else ""
    steps = (
        Step("given", sympy.Symbol(text.strip()), f"We work out {text.strip()}.", "This is what you asked for."),
        Step("result", value, f"It is {spoken(value)}{about}.", "Worked out exactly, not by the language model."),
    )
    return Solution(text, "", steps, spoken(value) + about, (value,))
