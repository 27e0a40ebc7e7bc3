"""The calculator: what a spoken calculation means, its exact result, and how to say it.

What a phrase means is `phrases`'s business, its value `expressions`'s, units and equations have modules of
their own; here they are put together and the result is put into words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from omni.errors import BadInput
from omni_tools import units
from omni_tools.expressions import NoValue, evaluate, is_expression, tokens
from omni_tools.phrases import CONVERSIONS, MONEY, NUMBER, ROUNDING, clean, to_expression


@dataclass(frozen=True, slots=True)
class Answer:
    """A result: exact (a sympy number), in decimals, with its unit, and as a sentence."""

    expression: str
    exact: Any
    decimal: str
    unit: str
    say: str

    def as_json(self) -> dict[str, Any]:
        """For the model and the page."""
        exact = str(self.exact)
        value = {"expression": self.expression, "result": f"{self.decimal} {self.unit}".strip()}
        return value | ({"exact": exact} if exact != self.decimal and len(exact) <= 80 else {})


def answer(text: str) -> Answer:
    """What a calculation, a conversion or an equation comes to. Raises `BadInput` where it is none."""
    from omni_tools import equations

    cleaned = clean(text)
    if (converted := _conversion(cleaned)) is not None:
        return converted
    if equations.is_equation(cleaned):
        return equations.solve(cleaned)
    rounding = ROUNDING.search(cleaned)
    wanted = int(float(rounding.group(1))) if rounding else None
    significant = bool(rounding and "place" not in rounding.group(2) and "decimal" not in rounding.group(2))
    phrase = cleaned[: rounding.start()] if rounding else cleaned
    expression = to_expression(phrase)
    value = evaluate(expression)
    if value.is_real is False:
        raise NoValue("That has no real value.")
    shown = decimals(value, wanted, significant=significant, money=_is_money(text, value))
    unit = "percent" if re.match(r"100\*\d", expression) and "%" not in shown else ""
    about = "about " if not is_exact(value, shown) else ""
    return Answer(expression, value, shown, unit, f"That's {about}{shown} {unit}".rstrip() + ".")


def read(words: str) -> dict[str, Any] | None:
    """The calculator's argument straight from a request; None unless all of it has the form of a calculation."""
    from omni_tools import equations

    cleaned = clean(words)
    if _units_of(cleaned) is None and not equations.is_equation(cleaned):
        rounding = ROUNDING.search(cleaned)
        try:
            expression = to_expression(cleaned[: rounding.start()] if rounding else cleaned)
            if len(tokens(expression)) < 2 or not is_expression(expression):
                return None
        except BadInput:
            return None
    return {"expression": words.strip()}


def _is_money(text: str, value: Any) -> bool:
    """Whether two places suit the result: money was named, or an amount with two places was given and they suffice."""
    return bool(MONEY.search(text)) or (bool(re.search(r"\d\.\d\d\b", text)) and is_exact(value, _fixed(value, 2)))


def is_exact(value: Any, shown: str) -> bool:
    """Whether the decimals that are shown are the whole truth."""
    import sympy

    return bool(value.is_Rational) and sympy.Rational(shown.replace(",", "")) == value


def decimals(value: Any, wanted: int | None = None, *, significant: bool = False, money: bool = False) -> str:
    """A number in digits: whole where it is whole, two places for money, else as many as it needs up to six."""
    import sympy

    if wanted is not None:
        wanted = max(0, min(wanted, 50))
        if significant and wanted:
            return _trim(str(sympy.N(value, wanted)), keep=True)
        return _fixed(value, wanted)
    if value.is_Integer:
        return str(value)
    if money:
        return _fixed(value, 2)
    if value.is_Rational and _terminates(value.q) and len(_fixed(value, 12)) < 24:
        exact = _trim(_fixed(value, 12))
        if sympy.Rational(exact) == value and len(exact.split(".")[-1]) <= 6:
            return exact
    size = abs(float(sympy.N(value, 12)))
    if size and (size < 1e-4 or size >= 1e15):
        return str(sympy.N(value, 6))
    return _trim(_fixed(value, 6 if size < 100 else 4))


def _terminates(denominator: int) -> bool:
    for prime in (2, 5):
        while denominator % prime == 0:
            denominator //= prime
    return denominator == 1


def _fixed(value: Any, places: int) -> str:
    """Rounded half up to so many places, as money is."""
    import sympy

    scaled = sympy.floor(abs(value) * 10**places + sympy.Rational(1, 2))
    number = str(int(scaled)).rjust(places + 1, "0")
    sign = "-" if value < 0 and int(scaled) else ""
    return sign + (f"{number[:-places]}.{number[-places:]}" if places else number)


def _trim(text: str, *, keep: bool = False) -> str:
    return text if keep or "." not in text or "e" in text else text.rstrip("0").rstrip(".")


def _units_of(cleaned: str) -> tuple[Fraction, units.Unit, units.Unit, str] | None:
    """Amount, source, target and the phrase of a conversion; None where the phrase is none."""
    plain = re.sub(r"\b(?:a|an) (?=[a-z])", "1 ", cleaned.lower()).rstrip("?. ")
    for pattern in CONVERSIONS:
        match = re.fullmatch(pattern, plain)
        if match is None:
            continue
        source, target = units.find(match["from"]), units.find(match["to"])
        if source is not None and target is not None:
            amount = next(group for group in match.groups() if group and re.fullmatch(NUMBER, group))
            return Fraction(amount), source, target, match.group(0)
    return None


def _conversion(cleaned: str) -> Answer | None:
    """A conversion of units, or None where the phrase is none."""
    found = _units_of(cleaned)
    if found is None:
        return None
    import sympy

    value, source, target, phrase = found
    result = units.convert(value, source, target)
    exact = sympy.Rational(result.numerator, result.denominator)
    shown = decimals(exact)
    unit = target.name if exact == 1 else target.plural
    spoken = _trim(_fixed(exact, 2)) if abs(exact) >= 1 else shown
    about = "" if is_exact(exact, spoken) else "about "
    return Answer(phrase, exact, shown, unit, f"That's {about}{spoken} {unit}.")
