"""Numbers as people say them: "two hundred and fifty" is 250, "three point five" is 3.5, "half a dozen" is 6."""

from __future__ import annotations

import re
from fractions import Fraction

_UNITS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17, "eighteen": 18, "nineteen": 19,
}  # fmt: skip
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_FRACTIONS = {"half": Fraction(1, 2), "third": Fraction(1, 3), "quarter": Fraction(1, 4), "quarters": Fraction(1, 4),
              "thirds": Fraction(1, 3), "halves": Fraction(1, 2), "fifths": Fraction(1, 5)}  # fmt: skip
_NUMBER_WORDS = {*_UNITS, *_TENS, *_SCALES, "hundred", "dozen"}

_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|[A-Za-z]+|[^\sA-Za-z\d]|\s+")


def plain_number(value: Fraction) -> str:
    """A number in digits, exact where its decimals end, else a fraction in brackets."""
    if value.denominator == 1:
        return str(value.numerator)
    reduced = value.denominator
    for prime in (2, 5):
        while reduced % prime == 0:
            reduced //= prime
    if reduced != 1:
        return f"({value.numerator}/{value.denominator})"
    digits = 0
    scaled = value
    while scaled.denominator != 1:
        scaled *= 10
        digits += 1
    sign = "-" if scaled < 0 else ""
    whole = str(abs(scaled.numerator)).rjust(digits + 1, "0")
    return f"{sign}{whole[:-digits]}.{whole[-digits:]}"


def digits(text: str) -> str:
    """The text with every spoken number in digits and thousands separators gone. Other words stay."""
    text = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    text = re.sub(
        r"\b(twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)-(one|two|three|four|five|six|seven|eight|nine)\b",
        r"\1 \2", text, flags=re.IGNORECASE,
    )  # fmt: skip
    words = text.split(" ")
    out: list[str] = []
    position = 0
    while position < len(words):
        value, taken, tail = _number_at(words, position)
        if taken:
            out.append(plain_number(value) + tail)
            position += taken
        else:
            out.append(words[position])
            position += 1
    return " ".join(out)


def _word(words: list[str], position: int) -> tuple[str, str]:
    """The bare word at a position and the punctuation behind it."""
    if position >= len(words):
        return "", ""
    bare = words[position].rstrip(",.?!;:")
    return bare.lower(), words[position][len(bare) :]


def _number_at(words: list[str], position: int) -> tuple[Fraction, int, str]:
    """The number that begins at a word: its value, how many words it takes, and what punctuation follows it."""
    start = position
    total, group, seen, tail = Fraction(0), Fraction(0), False, ""
    last = ""
    while not tail:
        word, after = _word(words, position)
        following, _ = _word(words, position + 1)
        if word in _UNITS and last not in ("unit", "digit"):
            group, last = group + _UNITS[word], "unit"
        elif word in _TENS and last not in ("unit", "tens", "digit"):
            group, last = group + _TENS[word], "tens"
        elif not seen and re.fullmatch(r"\d+(\.\d+)?", word) and following in ("hundred", "dozen", *_SCALES):
            group, last = Fraction(word), "digit"
        elif word == "hundred" and last != "hundred":
            group, last = (group or 1) * 100, "hundred"
        elif word in _SCALES:
            total, group, last = total + (group or 1) * _SCALES[word], Fraction(0), "scale"
        elif word == "dozen":
            group, last = (group or 1) * 12, "dozen"
        elif _joins(word, following, last):
            position += 1
            continue
        elif word == "half" and not seen and following == "a" and _word(words, position + 2)[0] == "dozen":
            return Fraction(6), position + 3 - start, _word(words, position + 2)[1]
        else:
            break
        seen, tail = True, after
        position += 1
    if not seen:
        return Fraction(0), 0, ""
    value = total + group
    if not tail:
        value, position, tail = _decimals(words, position, value)
        value, position, tail = _and_a_half(words, position, value, tail)
    return value, position - start, tail


def _joins(word: str, following: str, last: str) -> bool:
    """Whether a word only joins a number's words: "a hundred", "hundred and five"."""
    if not last:
        return word in ("a", "an") and following in ("hundred", "dozen", *_SCALES)
    return word == "and" and last in ("hundred", "scale") and (following in _UNITS or following in _TENS)


def _decimals(words: list[str], position: int, value: Fraction) -> tuple[Fraction, int, str]:
    """ "... point one four"."""
    if _word(words, position)[0] != "point":
        return value, position, ""
    scale, at, tail = Fraction(1, 10), position + 1, ""
    while _UNITS.get(_word(words, at)[0], 10) < 10:
        word, tail = _word(words, at)
        value += _UNITS[word] * scale
        scale /= 10
        at += 1
        if tail:
            break
    return (value, at, tail) if at > position + 1 else (value, position, "")


def _and_a_half(words: list[str], position: int, value: Fraction, tail: str) -> tuple[Fraction, int, str]:
    """ "two and a half", "three quarters"."""
    first, after = _word(words, position)
    if not tail and first in _FRACTIONS and first.endswith("s"):
        return value * _FRACTIONS[first], position + 1, after
    if not tail and first == "and" and _word(words, position + 1)[0] == "a":
        part, after = _word(words, position + 2)
        if part in ("half", "third", "quarter"):
            return value + _FRACTIONS[part], position + 3, after
    return value, position, tail
