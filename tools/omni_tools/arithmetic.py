"""Exact arithmetic on text, safely: a parser of our own, numbers from sympy, and a bound on everything.

    expression = term (("+" | "-") term)*            term    = factor (("*" | "/" | "mod") factor)*
    factor     = ("-" | "+") factor | power          power   = postfix ("^" factor)?
    postfix    = atom ("!" | "%")*                   atom    = number | constant | function atom | "(" expression ")"

Nothing is ever handed to `eval` or to sympy's own text parser, so the words of a request can't run code.
"""

from __future__ import annotations

import re
from typing import Any

from omni.errors import BadInput


class NoValue(BadInput):
    """A calculation that was understood and has no value, or none that can be said: 1/0, 9^9^9."""


#: Characters of an expression.
LONGEST = 400
#: Digits a result, or anything on the way to it, may have.
MOST_DIGITS = 1000
#: How deep brackets may nest.
DEEPEST = 40

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?|\.\d+)|([A-Za-z]+)|(\*\*|[-+*/^()!%=,]))")
_SYMBOLS = {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "²": "^2", "³": "^3", "√": "sqrt", "π": "pi", "^": "^"}
_FUNCTIONS = ("sqrt", "cbrt", "sin", "cos", "tan", "asin", "acos", "atan", "log", "ln", "exp", "abs", "floor", "ceil")


def tokens(text: str) -> list[str]:
    """The tokens of an expression. Raises `BadInput` on anything that is none."""
    for symbol, plain in _SYMBOLS.items():
        text = text.replace(symbol, plain)
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text).strip()
    if len(text) > LONGEST:
        raise BadInput(f"The expression has {len(text)} characters; {LONGEST} is the most I take.")
    found, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise BadInput(f"I can't read {text[position : position + 12]!r} in a calculation.")
        found.append(match.group().strip().lower())
        position = match.end()
    return found


def is_expression(text: str, names: tuple[str, ...] = ()) -> bool:
    """Whether a text has the form of an expression. Computes nothing and loads nothing: it runs on the event loop."""
    try:
        found = tokens(text)
    except BadInput:
        return False
    depth, wanted = 0, True  # `wanted`: an operand has to come next
    for token in found:
        if token[0].isdigit() or token[0] == "." or token in ("pi", "e", *names):
            if not wanted and token[0].isdigit():
                return False  # "3 4" is no product
            wanted = False
        elif token in _FUNCTIONS:
            wanted = True
        elif token == "(":
            depth, wanted = depth + 1, True
        elif token in ("+", "-") and wanted:
            continue
        elif wanted:
            return False
        elif token == ")":
            depth -= 1
        elif token in ("+", "-", "*", "/", "^", "**", "mod"):
            wanted = True
        elif token not in ("!", "%"):
            return False
        if depth < 0:
            return False
    return depth == 0 and not wanted


def evaluate(text: str, names: dict[str, Any] | None = None) -> Any:
    """The exact value of an expression as a sympy number, or a sympy expression in `names`.

    Raises `BadInput` for what is no expression, has no value (1/0), or is beyond the bounds.
    """
    parser = _Parser(tokens(text), names or {})
    value = parser.expression()
    if parser.position != len(parser.tokens):
        raise BadInput(f"I can't read the calculation from {parser.peek()!r} on.")
    return value


class _Parser:
    """Recursive descent over tokens; values are sympy expressions, checked as they grow."""

    def __init__(self, found: list[str], names: dict[str, Any]) -> None:
        import sympy

        self.sympy = sympy
        self.tokens = found
        self.names = names
        self.position = 0
        self.depth = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token if it is one of these, else empty."""
        if self.peek() in wanted and self.peek():
            self.position += 1
            return self.tokens[self.position - 1]
        return ""

    def expression(self) -> Any:
        value = self.term()
        while sign := self.take("+", "-"):
            right, percent = self._percent_term()
            if percent:  # "300 - 15%" takes 15 % of the 300, as on every pocket calculator
                right = value * right
            value = self.bounded(value + right if sign == "+" else value - right)
        return value

    def _percent_term(self) -> tuple[Any, bool]:
        start = self.position
        value = self.term()
        bare = self.position - start == 2 and self.tokens[self.position - 1] == "%"
        return value, bare

    def term(self) -> Any:
        value = self.factor()
        while True:
            if self.take("*"):
                value = self.bounded(value * self.factor())
            elif self.take("/"):
                divisor = self.factor()
                if divisor == 0:
                    raise NoValue("Nothing can be divided by zero.")
                value = self.bounded(value / divisor)
            elif self.take("mod"):
                divisor = self.factor()
                if divisor == 0:
                    raise NoValue("Nothing can be divided by zero.")
                value = self.bounded(self.sympy.Mod(value, divisor))
            elif self.peek() == "(" or self.peek() in self.names or self.peek() in ("pi", *_FUNCTIONS):
                value = self.bounded(value * self.power())  # 2x, 3(4 + 1), 2 pi
            else:
                return value

    def factor(self) -> Any:
        self.depth += 1
        if self.depth > 4 * DEEPEST:
            raise BadInput("That calculation is nested too deeply.")
        try:
            if self.take("-"):
                return -self.factor()
            if self.take("+"):
                return self.factor()
            return self.power()
        finally:
            self.depth -= 1

    def power(self) -> Any:
        base = self.postfix()
        if not self.take("^", "**"):
            return base
        exponent = self.factor()
        return self.raised(base, exponent)

    def raised(self, base: Any, exponent: Any) -> Any:
        """base ^ exponent, refused before it is computed where it would be huge."""
        if base.is_number and exponent.is_number:
            if base == 0 and exponent.is_negative:
                raise NoValue("Zero has no negative powers.")
            if not exponent.is_real or abs(exponent) > 10**6:
                raise NoValue("That power is too large to work out.")
            size = self.sympy.log(self.sympy.Max(abs(base.evalf(8)), 2), 10).evalf(8)
            parts = max(size, self._denominator_digits(base))
            if abs(exponent) * parts > MOST_DIGITS:
                raise NoValue("That power has more digits than I can say.", f"I stop at {MOST_DIGITS} digits.")
        elif not (exponent.is_Integer and 0 <= exponent <= 12):
            raise BadInput("An unknown can be raised to whole powers up to 12 only.")
        return self.bounded(base**exponent)

    def _denominator_digits(self, base: Any) -> int:
        return len(str(base.q)) if base.is_Rational else 0

    def postfix(self) -> Any:
        value = self.atom()
        while mark := self.take("!", "%"):
            if mark == "%":
                value = value / 100
            elif value.is_Integer and 0 <= value <= 400:
                value = self.sympy.factorial(value)
            else:
                raise NoValue("Factorials work for whole numbers from 0 to 400.")
        return value

    def atom(self) -> Any:
        sympy, token = self.sympy, self.peek()
        if not token:
            raise BadInput("The calculation stops in the middle.")
        self.position += 1
        if token[0].isdigit() or token[0] == ".":
            return self.bounded(sympy.Rational(token))
        if token == "(":
            value = self.expression()
            if not self.take(")"):
                raise BadInput("A bracket is not closed.")
            return value
        if token in self.names:
            return self.names[token]
        if token == "pi":
            return sympy.pi
        if token == "e":
            return sympy.E
        if token in _FUNCTIONS:
            return self.function(token)
        raise BadInput(f"I don't know what {token!r} means in a calculation.")

    def function(self, name: str) -> Any:
        sympy = self.sympy
        if self.take("("):
            argument = self.expression()
            if not self.take(")"):
                raise BadInput("A bracket is not closed.")
        else:
            argument = self.postfix()  # "sqrt 2"
        if name in ("log", "ln") and argument.is_number and not argument.is_positive:
            raise NoValue("Only numbers above zero have a logarithm.")
        made = {
            "sqrt": sympy.sqrt, "cbrt": sympy.cbrt, "ln": sympy.log, "exp": sympy.exp, "abs": sympy.Abs,
            "log": lambda x: sympy.log(x, 10), "floor": sympy.floor, "ceil": sympy.ceiling, "sin": sympy.sin,
            "cos": sympy.cos, "tan": sympy.tan, "asin": sympy.asin, "acos": sympy.acos, "atan": sympy.atan,
        }  # fmt: skip
        if name == "exp" and argument.is_number and abs(argument.evalf(8)) > 2000:
            raise NoValue("That power is too large to work out.")
        value = self.bounded(made[name](argument))
        if value.is_number and (value.has(sympy.zoo) or value.has(sympy.nan)):
            raise NoValue(f"{name} has no value there.")
        return value

    def bounded(self, value: Any) -> Any:
        """The value, unless it has grown beyond what is sensible."""
        if value.is_Rational and max(value.p.bit_length(), value.q.bit_length()) > MOST_DIGITS * 4:
            raise NoValue("That number has more digits than I can say.", f"I stop at {MOST_DIGITS} digits.")
        return value
