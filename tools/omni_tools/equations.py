"""Equations in one unknown, solved exactly up to degree four, and in decimals above."""

from __future__ import annotations

import re
from typing import Any

from omni.errors import BadInput
from omni_tools.expressions import evaluate, is_expression

#: The highest degree that is solved.
HIGHEST_DEGREE = 12

_LEAD = re.compile(
    r"^(?:solve|find|get|work out|determine)?\s*(?:the )?(?:equation )?"
    r"(?:(?P<for>[a-z])(?: is)? (?:if|when|in|from|for|so that|such that)\s+)?"
    r"(?:for (?P<for2>[a-z])[:,]? )?",
    re.IGNORECASE,
)
_OPERATORS = (
    (r"\bequals?(?: to)?\b|\bis equal to\b|\bis\b", "="), (r"\bsquared\b", "^2"), (r"\bcubed\b", "^3"),
    (r"\bplus\b", "+"), (r"\bminus\b", "-"), (r"\btimes\b|\bmultiplied by\b", "*"), (r"\bdivided by\b|\bover\b", "/"),
    (r"\bto the power of\b", "^"), (r"\b(?:the )?square root of\b", " sqrt "),
)  # fmt: skip


def _plain(text: str) -> tuple[str, str]:
    """The bare equation and the unknown that was asked for (or empty)."""
    text = text.lower().strip(" ?.!")
    match = _LEAD.match(text)
    wanted = (match["for"] or match["for2"] or "") if match else ""
    rest = text[match.end() :] if match else text
    tail = re.search(r"\s+for ([a-z])$", rest)
    if tail:
        wanted, rest = tail.group(1), rest[: tail.start()]
    rest = re.sub(r",?\s*(?:what is|what's|find|solve for) ([a-z])$", lambda m: "", rest)
    for pattern, symbol in _OPERATORS:
        rest = re.sub(pattern, symbol, rest)
    return rest.strip(" ,"), wanted


def is_equation(text: str) -> bool:
    """Whether the text is an equation with an unknown in it."""
    equation, _ = _plain(text)
    if equation.count("=") != 1:
        return False
    letters = {t for t in re.findall(r"[a-z]+", equation) if t not in ("sqrt", "pi")}
    if len(letters) != 1 or len(next(iter(letters))) != 1:
        return False
    return all(is_expression(side, tuple(letters)) for side in equation.split("="))


def sides(text: str) -> tuple[Any, Any, Any]:
    """Left side, right side and the unknown, as sympy expressions. Raises `BadInput` where there is none."""
    import sympy

    equation, _ = _plain(text)
    left, _, right = equation.partition("=")
    letters = {t for t in re.findall(r"[a-z]+", equation) if t not in ("sqrt", "pi")}
    if len(letters) != 1:
        raise BadInput("I solve equations with exactly one unknown.")
    name = letters.pop()
    unknown = sympy.Symbol(name, real=True)
    return evaluate(left, unknown), evaluate(right, unknown), unknown


def roots(text: str) -> tuple[list[Any], Any]:
    """The real solutions, in order, and the unknown. Raises `BadInput` for what is no polynomial equation."""
    import sympy

    left, right, unknown = sides(text)
    numerator, denominator = sympy.fraction(sympy.together(left - right))
    try:
        polynomial = sympy.Poly(sympy.expand(numerator), unknown)
    except sympy.PolynomialError:
        raise BadInput("I can solve equations made of powers of one unknown, and this is none.") from None
    degree = polynomial.degree()
    if polynomial.is_zero:
        raise BadInput("Both sides are the same, so every number solves it.")
    if degree < 1:
        return [], unknown
    if degree > HIGHEST_DEGREE:
        raise BadInput(f"That equation has degree {degree}; I solve up to {HIGHEST_DEGREE}.")
    if degree <= 2:
        found = [root for root in sympy.roots(polynomial) if root.is_real]
    else:
        rational = sympy.roots(polynomial, filter="Q") if all(c.is_Rational for c in polynomial.all_coeffs()) else {}
        found = list(rational) if sum(rational.values()) == degree else _numeric(polynomial, list(rational))
    found = [root for root in found if denominator.subs(unknown, root) != 0]
    return sorted(set(found), key=lambda root: float(root)), unknown


def _numeric(polynomial: Any, exact: list[Any]) -> list[Any]:
    """All real roots, those that are known exactly in their exact form."""
    import sympy

    numeric = [root for root in polynomial.nroots(n=15, maxsteps=200) if abs(sympy.im(root)) < 1e-10]
    real = [sympy.re(root) for root in numeric]
    return exact + [root for root in real if all(abs(float(root) - float(e)) > 1e-8 for e in exact)]


def solve(text: str) -> Any:
    """The solutions as an `Answer`."""
    import sympy

    from omni_tools.calculator import Answer, decimals, is_exact

    found, unknown = roots(text)
    equation, _ = _plain(text)
    if not found:
        return Answer(equation, sympy.FiniteSet(), "no real solution", "", f"No real number {unknown} solves that.")
    shown = [decimals(root) for root in found]
    spoken = [f"{'' if is_exact(root, text) else 'about '}{text}" for root, text in zip(found, shown, strict=True)]
    exact = found[0] if len(found) == 1 else sympy.FiniteSet(*found)
    listed = spoken[0] if len(spoken) == 1 else ", ".join(spoken[:-1]) + " or " + spoken[-1]
    return Answer(equation, exact, " or ".join(shown), "", f"{unknown} is {listed}.".replace("  ", " "))
