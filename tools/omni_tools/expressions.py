"""Reads arithmetic and algebra as people write it, into exact sympy expressions. Nothing is evaluated as code.

The calculator, the equations and the whiteboard all read with this. Grammar (whitespace is free, multiplication may
be left out, but two numbers side by side are no product):

    equation := sum ("=" | "<" | ">" | "<=" | ">=" ) sum
    sum      := product (("+" | "-") product)*
    product  := unary (("*" | "/" | "mod" | nothing) unary)*
    unary    := ("-" | "+") unary | power
    power    := postfix ("^" unary)?
    postfix  := atom ("!" | "%")*
    atom     := number | name | name "(" sum ")" | "(" sum ")" | "|" sum "|" | "√" unary
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from omni.errors import BadInput

if TYPE_CHECKING:
    from sympy import Expr, Symbol
    from sympy.core.relational import Relational


class NoValue(BadInput):
    """Mathematics that was understood and has no value, or none that can be said: 1/0, 9^9^9."""


#: Bounds that keep a line of text from costing minutes.
LONGEST = 300
LARGEST_FACTORIAL = 400
DEEPEST = 40
#: Digits a number on the way to the result may have.
MOST_DIGITS = 1000
#: Powers of an unknown, and of a sum with an unknown in it.
LARGEST_EXPONENT, LARGEST_EXPANSION = 1000, 50

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FRACTIONS = {"½": "(1/2)", "¼": "(1/4)", "¾": "(3/4)", "⅓": "(1/3)", "⅔": "(2/3)", "⅛": "(1/8)", "⅕": "(1/5)"}
_SAME = {"−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/", "∕": "/", "：": ":", "**": "^",
         "≤": "<=", "≥": ">=", "π": " pi ", "＝": "=", "∞": " oo "}  # fmt: skip
FUNCTIONS = ("sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "ln", "log", "exp", "abs", "cbrt", "floor", "ceil")
_WORDS = (*FUNCTIONS, "pi", "e", "oo", "mod")
_TOKEN = re.compile(r"\s*(?:(\d+(?:[.,]\d+)?(?:e[+-]?\d+)?|\.\d+)|([A-Za-z]+)|(<=|>=|[-+*/^()=<>!%|√]))")


def _normalise(text: str) -> str:
    for sign, plain in {**_FRACTIONS, **_SAME}.items():
        text = text.replace(sign, plain)
    text = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", text)  # 1,000 is a thousand
    return re.sub(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: f"^({m.group(1).translate(_SUPERSCRIPTS)})", text)


def tokens(text: str) -> list[str]:
    """Numbers, words and signs. Raises `BadInput` on anything else."""
    if len(text) > LONGEST:
        raise BadInput(f"That is {len(text)} characters of mathematics.", f"Keep it under {LONGEST}.")
    found: list[str] = []
    at, normal = 0, _normalise(text).rstrip()
    while at < len(normal):
        match = _TOKEN.match(normal, at)
        if not match:
            raise BadInput(f"I can't read {normal[at]!r} in {text!r} as mathematics.", "Write it as in 2x + 6 = 14.")
        number, word, sign = match.groups()
        found.append((number or word or sign).replace(",", "."))
        at = match.end()
    return found


class _Parser:
    """Recursive descent over the tokens of one line; values are checked as they grow."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[str] = []
        for token in tokens(text):
            # xy is x times y
            self.tokens.extend(token if token.isalpha() and token.lower() not in _WORDS else [token])
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self) -> str:
        token = self.token
        self.at += 1
        return token

    def expect(self, sign: str) -> None:
        if self.take() != sign:
            raise BadInput(f"A {sign!r} is missing in {self.text!r}.", "Check the brackets.")

    def sum(self) -> Expr:
        """sum := product (("+" | "-") product)*"""
        self.depth += 1
        if self.depth > DEEPEST:
            raise BadInput(f"{self.text[:40]!r}… has too many brackets within brackets.")
        value = self.product()
        while self.token in ("+", "-"):
            sign, start = self.take(), self.at
            right = self.product()
            if self.at - start == 2 and self.tokens[self.at - 1] == "%":
                right = value * right  # "300 - 15%" takes 15 % of the 300, as on every pocket calculator
            value = self.bounded(value + right if sign == "+" else value - right)
        self.depth -= 1
        return value

    def product(self) -> Expr:
        """product := power (("*" | "/" | nothing) power)*"""
        import sympy

        value = self.unary()
        while self.token and self.token not in ("+", "-", ")", "=", "<", ">", "<=", ">=", "|"):
            if self.token in ("/", "mod"):
                modulo = self.take() == "mod"
                divisor = self.unary()
                if divisor == 0:
                    raise NoValue("Nothing can be divided by zero.", "That has no answer.")
                value = sympy.Mod(value, divisor) if modulo else value / divisor
            else:
                if self.token == "*":
                    self.take()
                elif _is_number(self.token):
                    break  # "3 4" is no product: most likely something between was not heard or not seen
                factor = self.unary()
                # 3(x - 2) stays as it was written: multiplying it out is a step somebody may want to see
                value = sympy.Mul(value, factor, evaluate=not (value.is_number and factor.is_Add))
            value = self.bounded(value)
        return value

    def unary(self) -> Expr:
        self.depth += 1
        if self.depth > 4 * DEEPEST:
            raise BadInput(f"{self.text[:40]!r}… is nested too deeply.")
        if self.token in ("-", "+"):
            negative = self.take() == "-"
            value = self.unary()
            value = -value if negative else value
        else:
            value = self.power()
        self.depth -= 1
        return value

    def power(self) -> Expr:
        base = self.postfix()
        if self.token != "^":
            return base
        self.take()
        return self.raised(base, self.unary())

    def raised(self, base: Expr, exponent: Expr) -> Expr:
        """base ^ exponent, refused before it is computed where it would be huge."""
        import sympy

        if base.is_number and exponent.is_number:
            if base == 0 and exponent.is_negative:
                raise NoValue("Zero has no negative powers.")
            if not exponent.is_real or abs(exponent) > 10**6:
                raise NoValue("That power is too large to work out.")
            size = sympy.log(sympy.Max(abs(base.evalf(8)), 2), 10).evalf(8)
            below = len(str(base.q)) if base.is_Rational else 0
            if abs(exponent) * max(size, below) > MOST_DIGITS:
                raise NoValue("That power has more digits than I can say.", f"I stop at {MOST_DIGITS} digits.")
        elif exponent.is_number and abs(exponent) > (LARGEST_EXPANSION if base.is_Add else LARGEST_EXPONENT):
            raise BadInput(f"The power in {self.text!r} is too large to expand.", f"I go up to {LARGEST_EXPANSION}.")
        return self.bounded(base**exponent)

    def bounded(self, value: Expr) -> Expr:
        """The value, unless it has grown beyond what is sensible."""
        if value.is_Rational and max(value.p.bit_length(), value.q.bit_length()) > 4 * MOST_DIGITS:
            raise NoValue("That number has more digits than I can say.", f"I stop at {MOST_DIGITS} digits.")
        return value

    def postfix(self) -> Expr:
        import sympy

        value = self.atom()
        while self.token in ("!", "%"):
            if self.take() == "%":
                value = value / 100
                continue
            if not (value.is_Integer and 0 <= value <= LARGEST_FACTORIAL):
                raise NoValue(f"Factorials work for whole numbers from 0 to {LARGEST_FACTORIAL}.")
            value = sympy.factorial(value)
        return value

    def atom(self) -> Expr:
        """atom := number | name | name "(" sum ")" | "(" sum ")" | "|" sum "|" | "√" unary"""
        import sympy

        token = self.take()
        if not token:
            raise BadInput(f"{self.text!r} breaks off.", "Say or write the whole of it.")
        if token[0].isdigit() or token[0] == ".":
            return self.bounded(sympy.Rational(token))
        if token == "(":
            value = self.sum()
            self.expect(")")
            return value
        if token == "|":
            value = self.sum()
            self.expect("|")
            return sympy.Abs(value)
        if token == "√":
            return sympy.sqrt(self.unary())
        name = token.lower()
        if name in FUNCTIONS:
            return self._apply(name)
        if token.isalpha():
            constants = {"pi": sympy.pi, "e": sympy.E, "oo": sympy.oo}
            return constants[name] if name in constants else sympy.Symbol(token)
        raise BadInput(f"{token!r} stands where a number should be in {self.text!r}.", "Check it and try again.")

    def _apply(self, name: str) -> Expr:
        import sympy

        if self.token == "(":
            self.take()
            argument = self.sum()
            self.expect(")")
        else:
            argument = self.power()
        if name in ("log", "ln") and argument.is_number and not argument.is_positive:
            raise NoValue("Only numbers above zero have a logarithm.")
        if name == "exp" and argument.is_number and abs(argument.evalf(8)) > 2000:
            raise NoValue("That power is too large to work out.")
        if name == "log":
            return sympy.log(argument, 10)
        named = {"ln": sympy.log, "abs": sympy.Abs, "cbrt": sympy.cbrt, "ceil": sympy.ceiling}
        value = self.bounded(named.get(name, getattr(sympy, name, None))(argument))
        if value.is_number and value.has(sympy.zoo, sympy.nan):
            raise NoValue(f"{name} has no value there.")
        return value


def _is_number(token: str) -> bool:
    return token[0].isdigit() or token[0] == "."


def read_expression(text: str) -> Expr:
    """An exact expression: `read_expression("2x² - 1/2")`. Raises `BadInput` with what could not be read."""
    parser = _Parser(text)
    value = parser.sum()
    if parser.token:
        raise BadInput(f"I can't read {text!r} from {parser.token!r} on.", "Write it as in 2x + 6.")
    return value


def read_equation(text: str) -> Relational:
    """An equation or inequality: `read_equation("2x + 6 = 14")`. Never simplified to True or False."""
    import sympy

    parser = _Parser(text)
    left = parser.sum()
    sign = parser.take()
    kinds = {"=": sympy.Eq, "<": sympy.Lt, ">": sympy.Gt, "<=": sympy.Le, ">=": sympy.Ge}
    if sign not in kinds:
        raise BadInput(f"{text!r} is not an equation.", "An equation has an equals sign, as in 2x + 6 = 14.")
    right = parser.sum()
    if parser.token:
        raise BadInput(f"I can't read {text!r} from {parser.token!r} on.", "Write one equation at a time.")
    return kinds[sign](left, right, evaluate=False)


def evaluate(text: str, unknown: Symbol | None = None) -> Expr:
    """The exact value of an expression of numbers, or of numbers and one unknown.

    Raises `BadInput` for what is no expression, `NoValue` where it has no value (1/0) or one beyond the bounds.
    """
    import sympy

    value = read_expression(text)
    named = {symbol.name.lower(): symbol for symbol in value.free_symbols}
    if unknown is not None and (symbol := named.pop(unknown.name, None)):
        value = value.subs(symbol, unknown)
    if named:
        raise BadInput(f"I don't know what {', '.join(sorted(named))} means in a calculation.")
    if value.has(sympy.oo, -sympy.oo):
        raise NoValue("Infinity is no number to calculate with.")
    return value


def is_expression(text: str, names: tuple[str, ...] = ()) -> bool:
    """Whether a text has the form of an expression. Computes nothing and loads nothing: it runs on the event loop."""
    try:
        found = [token.lower() for token in tokens(text)]
    except BadInput:
        return False
    depth, bars, wanted = 0, 0, True  # `wanted`: an operand has to come next
    for token in found:
        if _is_number(token) or token in ("pi", "e", *names):
            if not wanted and _is_number(token):
                return False  # "3 4" is no product
            wanted = False
        elif token in (*FUNCTIONS, "√"):
            wanted = True
        elif token == "(":
            depth, wanted = depth + 1, True
        elif token == "|":
            bars += 1 if wanted else -1
        elif token in ("+", "-") and wanted:
            continue
        elif wanted:
            return False
        elif token == ")":
            depth -= 1
        elif token in ("+", "-", "*", "/", "^", "mod"):
            wanted = True
        elif token not in ("!", "%"):
            return False
        if depth < 0 or bars < 0:
            return False
    return depth == bars == 0 and not wanted


def unknowns(text: str) -> set[str] | None:
    """The letters of an equation or inequality, by its form alone; None where it has not the form of one."""
    try:
        letters = {token for token in tokens(text) if len(token) == 1 and token.isalpha() and token not in "eE"}
    except BadInput:
        return None
    sides = re.split(r"<=|>=|[=<>]", _normalise(text))
    names = tuple(letter.lower() for letter in letters)
    return letters if len(sides) == 2 and all(is_expression(side, names) for side in sides) else None
