"""Reads arithmetic and algebra as people write it, into exact sympy expressions. Nothing is evaluated as code.

Grammar (whitespace is free, multiplication may be left out):

    equation := sum ("=" | "<" | ">" | "<=" | ">=" ) sum
    sum      := product (("+" | "-") product)*
    product  := power (("*" | "/" | nothing) power)*
    power    := unary ("^" unary)?
    unary    := ("-" | "+") unary | postfix
    postfix  := atom ("!" | "%")*
    atom     := number | name | name "(" sum ")" | "(" sum ")" | "|" sum "|" | "√" unary
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from omni.errors import BadInput

if TYPE_CHECKING:
    from sympy import Expr
    from sympy.core.relational import Relational

#: Bounds that keep a line of text from costing minutes.
LONGEST = 300
LARGEST_EXPONENT = 1000
LARGEST_FACTORIAL = 1000
DEEPEST = 60

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_FRACTIONS = {"½": "(1/2)", "¼": "(1/4)", "¾": "(3/4)", "⅓": "(1/3)", "⅔": "(2/3)", "⅛": "(1/8)", "⅕": "(1/5)"}
_SAME = {"−": "-", "–": "-", "—": "-", "×": "*", "·": "*", "∙": "*", "⋅": "*", "÷": "/", "∕": "/", "：": ":", "**": "^",
         "≤": "<=", "≥": ">=", "π": " pi ", "＝": "=", "∞": " oo "}  # fmt: skip
_FUNCTIONS = ("sqrt", "sin", "cos", "tan", "asin", "acos", "atan", "ln", "log", "exp", "abs", "cbrt")
_TOKEN = re.compile(r"\s*(?:(\d+(?:[.,]\d+)?(?:e[+-]?\d+)?|\.\d+)|([A-Za-z]+)|(<=|>=|[-+*/^()=<>!%|√]))")


def _normalise(text: str) -> str:
    for sign, plain in {**_FRACTIONS, **_SAME}.items():
        text = text.replace(sign, plain)
    text = re.sub(r"(?<=\d),(?=\d{3}(?:\D|$))", "", text)  # 1,000 is a thousand
    return re.sub(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+)", lambda m: f"^({m.group(1).translate(_SUPERSCRIPTS)})", text)


class _Parser:
    """Recursive descent over the tokens of one line."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise BadInput(f"That is {len(text)} characters of mathematics.", f"Keep it under {LONGEST}.")
        self.text = text
        self.tokens: list[str] = []
        at, normal = 0, _normalise(text).rstrip()
        while at < len(normal):
            match = _TOKEN.match(normal, at)
            if not match:
                raise BadInput(
                    f"I can't read {normal[at]!r} in {text!r} as mathematics.", "Write it as in 2x + 6 = 14."
                )
            self._add(match)
            at = match.end()
        self.at = 0
        self.depth = 0

    def _add(self, match: re.Match[str]) -> None:
        number, word, sign = match.groups()
        if word and word.lower() not in (*_FUNCTIONS, "pi", "e", "oo"):
            self.tokens.extend(word)  # xy is x times y
        else:
            self.tokens.append((number or word or sign).replace(",", "."))

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
        self.depth += 1
        if self.depth > DEEPEST:
            raise BadInput(f"{self.text[:40]!r}… has too many brackets within brackets.")
        value = self.product()
        while self.token in ("+", "-"):
            value = value + self.product() if self.take() == "+" else value - self.product()
        self.depth -= 1
        return value

    def product(self) -> Expr:
        import sympy

        value = self.power()
        while self.token and self.token not in ("+", "-", ")", "=", "<", ">", "<=", ">=", "|"):
            if self.token == "/":
                self.take()
                divisor = self.power()
                if divisor == 0:
                    raise BadInput(f"{self.text!r} divides by zero.", "That has no answer.")
                value = value / divisor
            else:
                if self.token == "*":
                    self.take()
                factor = self.power()
                # 3(x - 2) stays as it was written: multiplying it out is a step somebody may want to see
                value = sympy.Mul(value, factor, evaluate=not (value.is_number and factor.is_Add))
        return value

    def power(self) -> Expr:
        base = self.unary()
        if self.token != "^":
            return base
        self.take()
        exponent = self.unary()
        if self.token == "^":
            self.take()
            exponent = exponent ** self.unary()
        if exponent.is_number and abs(exponent) > LARGEST_EXPONENT:
            raise BadInput(f"The power in {self.text!r} is too large to write out.", f"I go up to {LARGEST_EXPONENT}.")
        if base.is_Add and base.is_number is False and exponent.is_number and abs(exponent) > 50:
            raise BadInput(f"The power in {self.text!r} is too large to expand.", "I go up to 50.")
        if (
            base.is_number
            and base.is_Integer
            and exponent.is_Integer
            and base.p.bit_length() * abs(exponent.p) > 20_000
        ):
            raise BadInput(f"{self.text!r} has thousands of digits.", "Ask for something smaller.")
        return base**exponent

    def unary(self) -> Expr:
        if self.token in ("-", "+"):
            negative = self.take() == "-"
            value = self.power()
            return -value if negative else value
        return self.postfix()

    def postfix(self) -> Expr:
        import sympy

        value = self.atom()
        while self.token in ("!", "%"):
            if self.take() == "%":
                value = value / 100
                continue
            if not (value.is_Integer and 0 <= value <= LARGEST_FACTORIAL):
                raise BadInput(f"{value}! can't be worked out.", f"Factorials go from 0 to {LARGEST_FACTORIAL}.")
            value = sympy.factorial(value)
        return value

    def atom(self) -> Expr:
        import sympy

        token = self.take()
        if not token:
            raise BadInput(f"{self.text!r} breaks off.", "Say or write the whole of it.")
        if token[0].isdigit() or token[0] == ".":
            return sympy.Rational(token)
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
        if name in _FUNCTIONS:
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
            argument = self.unary()
        if name == "log":
            return sympy.log(argument, 10)
        named = {"ln": sympy.log, "abs": sympy.Abs, "cbrt": sympy.cbrt}
        return named.get(name, getattr(sympy, name, None))(argument)


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


_PROSE = re.compile(rf"(?!(?:{'|'.join(_FUNCTIONS)}|pi|[xyzabc]{{2}})\b)[A-Za-z]{{2,}}", re.IGNORECASE)


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
    if found and len(read_equation(found).free_symbols) == 1:
        return found
    for pattern, meant in _MISREAD:
        text = re.sub(pattern, meant, text)
    mended = find_equation(text)
    return mended if mended and len(read_equation(mended).free_symbols) == 1 else found


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
        if "=" not in candidate:
            return None
        if len(candidate) > LONGEST:
            return candidate
        if candidate[0] in "+*/^=":
            continue
        try:
            if read_equation(candidate).free_symbols:
                return candidate
        except BadInput:
            continue
    return None
