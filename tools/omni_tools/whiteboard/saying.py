"""Mathematics in words, for the voice and for those who listen instead of look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sympy import Expr


def spoken(value: Any) -> str:
    """A value or a formula in words: `3/2` is "three halves" to a voice as "3 over 2"."""
    import sympy

    if isinstance(value, sympy.core.relational.Relational):
        words = {
            "Equality": "equals",
            "StrictLessThan": "is less than",
            "StrictGreaterThan": "is greater than",
            "LessThan": "is at most",
            "GreaterThan": "is at least",
        }
        return f"{spoken(value.lhs)} {words[type(value).__name__]} {spoken(value.rhs)}"
    value = sympy.sympify(value)
    if value.is_Integer:
        return f"minus {-value}" if value < 0 else str(value)
    if value.is_Rational:
        return f"{'minus ' if value < 0 else ''}{abs(value.p)} over {value.q}"
    if value.is_Add:
        text = ""
        for index, term in enumerate(_ordered(value)):
            negative = term.could_extract_minus_sign()
            text += (" minus " if negative else " plus ") if index else ("minus " if negative else "")
            text += spoken(-term if negative else term)
        return text
    if value.is_Pow:
        if value.exp == sympy.Rational(1, 2):
            return f"the square root of {spoken(value.base)}"
        if value.exp == -1:
            return f"1 over {spoken(value.base)}"
        return f"{_grouped(value.base)} {'squared' if value.exp == 2 else f'to the power of {spoken(value.exp)}'}"
    if value.is_Mul:
        return _spoken_product(value)
    return str(value)


def _spoken_product(value: Expr) -> str:
    import sympy

    top, bottom = sympy.fraction(value)
    if bottom != 1:
        return f"{spoken(top)} over {_grouped(bottom)}"
    if value.could_extract_minus_sign():
        return f"minus {spoken(-value)}"
    number, rest = value.as_coeff_Mul()
    parts = [] if number == 1 else [spoken(number)]
    parts += [_grouped(factor) for factor in sympy.Mul.make_args(rest) if factor != 1]
    return (" " if rest.is_Symbol or rest.is_Pow else " times ").join(parts)


def _grouped(value: Expr) -> str:
    return f"the quantity {spoken(value)}" if value.is_Add else spoken(value)


def _ordered(value: Expr) -> list[Expr]:
    """The terms of a sum as they are written: highest power first."""
    import sympy

    return list(value.as_ordered_terms()) if value.free_symbols else list(sympy.Add.make_args(value))
