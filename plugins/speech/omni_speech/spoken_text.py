"""From written text to words that can be said, keeping which written word each of them came from.

"It costs $42.50 at 5:30 pm." becomes, word by written word, "it", "costs", "forty two dollars and fifty
cents", "at", "five thirty", "p m".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from omni_speech.number_words import cardinal, decimal, digits, ordinal, year
from omni_speech.words import word_list, word_set


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """One written word, the words said for it (possibly none), and the punctuation that follows."""

    written: str
    said: tuple[str, ...]
    pause: str = ""  #: one of , . ! ? : ; or nothing


_ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "st": "saint", "vs": "versus",
    "etc": "et cetera", "e.g": "for example", "i.e": "that is", "approx": "approximately", "no": "no", "jr": "junior",
    "sr": "senior", "fig": "figure", "dept": "department", "est": "estimated", "min": "minutes", "max": "maximum",
    "a.m": "a m", "p.m": "p m", "am": "a m", "pm": "p m", "jan": "january", "feb": "february", "aug": "august",
    "sept": "september", "oct": "october", "nov": "november", "dec": "december",
}  # fmt: skip
#: Said in full only where the full stop shows that it is short for something, or after a number.
_NEEDS_DOT = {"no", "st", "fig", "est", "min", "max", "am", "pm", "jan", "dec", "oct", "nov", "feb", "aug", "sept"}
_UNITS = {
    "km": "kilometer", "m": "meter", "cm": "centimeter", "mm": "millimeter", "kg": "kilogram", "g": "gram",
    "mg": "milligram", "l": "liter", "ml": "milliliter", "h": "hour", "hr": "hour", "hrs": "hour", "s": "second",
    "sec": "second", "ms": "millisecond", "min": "minute", "mins": "minute", "ft": "foot", "in": "inch", "lb": "pound",
    "lbs": "pound", "oz": "ounce", "mph": "mile per hour", "km/h": "kilometer per hour", "gb": "gigabyte",
    "mb": "megabyte", "kb": "kilobyte", "tb": "terabyte", "ghz": "gigahertz", "mhz": "megahertz", "hz": "hertz",
    "khz": "kilohertz", "w": "watt", "kw": "kilowatt", "v": "volt", "°c": "degree celsius",
    "°f": "degree fahrenheit", "°": "degree", "px": "pixel",
}  # fmt: skip
_MONEY = {"$": ("dollar", "cent"), "€": ("euro", "cent"), "£": ("pound", "penny"), "¥": ("yen", "")}
_PLURALS = {"foot": "feet", "inch": "inches", "penny": "pence", "hertz": "hertz", "yen": "yen"}
_FRACTIONS = {
    "½": "one half", "¼": "one quarter", "¾": "three quarters", "⅓": "one third", "⅔": "two thirds",
    "⅛": "one eighth", "⅜": "three eighths", "⅝": "five eighths", "⅞": "seven eighths", "⅕": "one fifth",
}  # fmt: skip
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻ⁿ", "0123456789-n")
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SYMBOLS = {
    "+": "plus", "-": "minus", "−": "minus", "×": "times", "*": "times", "÷": "divided by", "/": "over", "=": "equals",
    "<": "is less than", ">": "is greater than", "≤": "is at most", "≥": "is at least", "≠": "is not equal to",
    "≈": "is about", "±": "plus or minus", "√": "the square root of", "∞": "infinity", "π": "pi", "θ": "theta",
    "α": "alpha", "β": "beta", "λ": "lambda", "Δ": "delta", "Σ": "the sum of", "∑": "the sum of",
    "∫": "the integral of", "→": "to", "&": "and", "%": "percent", "@": "at", "#": "number", "^": "to the power of",
    "°": "degrees", "~": "about", "|": "", "_": " ", "•": "", "–": " ", "—": " ", "\\": "", "⇒": "implies",
    "∈": "in", "·": "times",
}  # fmt: skip
_MONTHS = word_list(
    "january february march april may june july august september october november december"
)
_BIG = frozenset(("thousand", "million", "billion", "trillion"))
_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_YEAR_BEFORE = word_set(
    "in since year from until by of around circa during after before and to"
) | frozenset(_MONTHS)


def spoken_words(text: str) -> list[SpokenWord]:
    """Every whitespace-separated word of `text`, exactly as `text.split()` has them, with what is said for it."""
    written = text.split()
    words: list[SpokenWord] = []
    skip = False
    for index, word in enumerate(written):
        before = written[index - 1] if index else ""
        after = written[index + 1] if index + 1 < len(written) else ""
        core, pause = _strip(word, last=not after)
        if core and not core.strip("-–—") and not (before[-1:].isalnum() and after[:1].isdigit()):
            words.append(SpokenWord(word, (), "," if index else ""))
            continue
        if skip:
            words.append(SpokenWord(word, (), pause))
            skip = False
            continue
        said, skip = _say(core, before, after, dotted=word.rstrip(",;:!?").endswith("."))
        if skip:
            pause = ""
        words.append(SpokenWord(word, tuple(said.split()), pause))
    return words


def spoken_text(text: str) -> str:
    """The words that are said, with their pauses, as one line."""
    return " ".join(" ".join(w.said) + w.pause for w in spoken_words(text) if w.said or w.pause)


def _strip(word: str, *, last: bool) -> tuple[str, str]:
    """The word without quotes, brackets and the punctuation that ends it; and that punctuation as a pause."""
    core = word.strip("\"“”‘()[]{}«»*_`").lstrip("'’¿¡#")
    end = re.search(r"[.,!?:;…]+$", core)
    pause = ""
    if end:
        core = core[: end.start()]
        mark = end.group()
        pause = next((m for m in "?!" if m in mark), mark[-1]).replace("…", ",")
        if pause == "." and not last and (core.lower() in _ABBREVIATIONS or re.fullmatch(r"(\w\.)*\w", core)):
            pause = "" if not core.isdigit() else pause
    core = core.rstrip("\"”'’)]}*_`")
    return core, pause or ("," if word.endswith(")") else "")


def _say(core: str, before: str, after: str, *, dotted: bool) -> tuple[str, bool]:
    """What is said for one written word, and whether the next one has been said with it."""
    if not core:
        return "", False
    low = core.lower()
    following = re.sub(r"[^\w/°]", "", after).lower()
    if low in _ABBREVIATIONS and (low not in _NEEDS_DOT or dotted or re.fullmatch(r"[\d:.]+", before)):
        return _ABBREVIATIONS[low], False
    if money := re.fullmatch(rf"([$€£¥])({_NUMBER})([kKmMbB]|bn)?", core):
        return _money(money[1], money[2], money[3] or "", following)
    if percent := re.fullmatch(rf"([-+−]?)({_NUMBER})%", core):
        return _sign(percent[1]) + decimal(percent[2]) + " percent", False
    if clock := re.fullmatch(r"(\d{1,2}):(\d{2})(?::(\d{2}))?([ap]\.?m)?", low):
        return _clock(clock), False
    if decade := re.fullmatch(r"(1[1-9]\d0|20\d0)s", low):
        return re.sub("ys$", "ies", year(int(decade[1])) + "s"), False
    if unit := re.fullmatch(rf"([-+−]?)({_NUMBER})[-]?([a-z°/]+)", low):
        if unit[3] in _UNITS:
            return _sign(unit[1]) + decimal(unit[2]) + " " + _plural(_UNITS[unit[3]], unit[2]), False
        if unit[3] in ("st", "nd", "rd", "th") and unit[2].isdigit():
            return ordinal(int(unit[2])), False
    if re.fullmatch(rf"[-+−]?(?:{_NUMBER})", core):
        return _number(core, before, following)
    return _compound(core), False


def _compound(core: str) -> str:
    """Dates, spans, fractions, addresses; anything else sign by sign."""
    if date := re.fullmatch(r"(\d{4})-(\d{2})-(\d{2})", core):
        month = _MONTHS[min(max(int(date[2]), 1), 12) - 1]
        return f"{month} {ordinal(int(date[3]))} {year(int(date[1]))}"
    if span := re.fullmatch(rf"({_NUMBER})[-–]({_NUMBER})", core):
        return f"{decimal(span[1])} to {decimal(span[2])}"
    if fraction := re.fullmatch(r"(\d+)/(\d+)", core):
        return f"{decimal(fraction[1])} over {decimal(fraction[2])}"
    if re.match(r"(https?://|www\.)", core.lower()):
        return re.sub(r"[^\w.]+", " ", re.sub(r"^https?://(www\.)?", "", core.lower())).replace(".", " dot ")
    return _symbols(core)


def _sign(sign: str) -> str:
    return {"-": "minus ", "−": "minus ", "+": "plus "}.get(sign, "")


def _plural(unit: str, number: str) -> str:
    if number == "1":
        return unit
    head, *rest = unit.split(" ")
    return " ".join([_PLURALS.get(head, head if head.endswith("s") else head + "s"), *rest])


def _money(symbol: str, number: str, scale: str, following: str) -> tuple[str, bool]:
    unit, cent = _MONEY[symbol]
    names = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion"}
    if scale or following in _BIG:
        return f"{decimal(number)} {names.get(scale.lower()) or following} {_plural(unit, '2')}", not scale
    whole, _, fraction = number.replace(",", "").partition(".")
    spoken = f"{cardinal(int(whole or '0'))} {_plural(unit, whole)}"
    if len(fraction) == 2 and cent and int(fraction):
        cents = f"{cardinal(int(fraction))} {_plural(cent, str(int(fraction)))}"
        return (cents if whole in ("", "0") else f"{spoken} and {cents}"), False
    return (f"{decimal(number)} {_plural(unit, number)}" if fraction.strip("0") else spoken), False


def _clock(match: re.Match[str]) -> str:
    hour, minute = int(match[1]), int(match[2])
    half = " " + " ".join(match[4].replace(".", "")) if match[4] else ""
    if match[3]:
        return f"{cardinal(hour)} {cardinal(minute)} and {cardinal(int(match[3]))} seconds{half}"
    if minute == 0:
        return cardinal(hour) + (half or (" o'clock" if 0 < hour <= 12 else " hundred"))
    return f"{cardinal(hour)} {'oh ' if minute < 10 else ''}{cardinal(minute)}{half}"


def _number(core: str, before: str, following: str) -> tuple[str, bool]:
    plain = re.sub(r"[^\w]", "", before).lower()
    after_day = re.fullmatch(r"\d{1,2}(st|nd|rd|th)?", plain)
    if re.fullmatch(r"1[1-9]\d\d|20\d\d", core) and (plain in _YEAR_BEFORE or after_day):
        return year(int(core)), False
    if plain in _MONTHS and core.isdigit() and 1 <= int(core) <= 31:
        return ordinal(int(core)), False
    if core.isdigit() and len(core) > 6 and "," not in core and following not in _UNITS:
        return digits(core), False
    spoken = decimal(core.lstrip("+"))
    if following in _UNITS and following not in ("in", "s", "m", "am", "h", "w", "v", "l", "g"):
        return f"{spoken} {_plural(_UNITS[following], core)}", True
    return spoken, False


def _symbols(core: str) -> str:
    """Whatever mixes letters, digits and signs: "x²" -> "x squared", "C++" -> "C plus plus", "well-known"."""
    core = re.sub(r"(?<=[A-Za-z])[-/‐‑](?=[A-Za-z])", " ", core)
    core = core.replace("²", " squared ").replace("³", " cubed ")
    core = re.sub(r"[⁰¹⁴-⁹⁻ⁿ]+", lambda m: f" to the power of {m.group().translate(_SUPERSCRIPTS)} ", core)
    core = re.sub(r"\^2(?!\d)", " squared ", core)
    core = re.sub(r"\^3(?!\d)", " cubed ", core)
    core = core.translate(_SUBSCRIPTS)
    core = re.sub(r"(\d)([½¼¾⅓⅔⅛⅜⅝⅞⅕])", r"\1 and \2", core)
    for sign, said in _FRACTIONS.items():
        core = core.replace(sign, f" {said} ")
    core = re.sub(r"\s+", " ", core).replace(" and one half", " and a half").replace("and one quarter", "and a quarter")
    core = re.sub(rf"(?<![A-Za-z\d.])({_NUMBER})|(?<=[A-Za-z])(\d+)", lambda m: f" {decimal(m.group())} ", core)
    core = re.sub(r"(?<=[A-Za-z])\.(?=[A-Za-z]{2,})", " dot ", core)
    parts = [f" {_SYMBOLS[c]} " if c in _SYMBOLS else c for c in core]
    return re.sub(r"[^\w' ]", " ", "".join(parts).replace("’", "'"))
