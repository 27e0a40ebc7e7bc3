"""Numbers as they are spoken in English: cardinals, ordinals, decimals, years."""

from __future__ import annotations

from omni_speech.words import word_list

_ONES = word_list(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = word_list(
    "_ _ twenty thirty forty fifty sixty seventy eighty ninety"
)
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip


def cardinal(number: int) -> str:
    """142 -> "one hundred forty two". Beyond 999 trillion the digits are read one by one."""
    if number < 0:
        return "minus " + cardinal(-number)
    if number >= 10**15:
        return digits(str(number))
    if number < 20:
        return _ONES[number]
    if number < 100:
        return _TENS[number // 10] + (" " + _ONES[number % 10] if number % 10 else "")
    size, name = next(scale for scale in _SCALES if number >= scale[0])
    rest = " " + cardinal(number % size) if number % size else ""
    return f"{cardinal(number // size)} {name}{rest}"


def ordinal(number: int) -> str:
    """21 -> "twenty first"."""
    head, _, last = cardinal(number).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return f"{head} {last}".strip()


def digits(text: str) -> str:
    """ "047" -> "zero four seven"; what is no digit is left out."""
    return " ".join(_ONES[int(c)] for c in text if c in "0123456789")


def decimal(text: str) -> str:
    """ "3.14" -> "three point one four"; "1,200" -> "one thousand two hundred"; "007" digit by digit."""
    text = text.replace(",", "").replace("−", "-")
    sign, text = ("minus ", text[1:]) if text.startswith("-") else ("", text)
    whole, _, fraction = text.partition(".")
    if len(whole) > 1 and whole.startswith("0"):
        spoken = digits(whole)
    else:
        spoken = cardinal(int(whole or "0"))
    return sign + spoken + (f" point {digits(fraction)}" if fraction else "")


def year(number: int) -> str:
    """1984 -> "nineteen eighty four", 2005 -> "two thousand five", 1900 -> "nineteen hundred"."""
    if 2000 <= number < 2010 or number % 1000 == 0:
        return cardinal(number)
    high, low = divmod(number, 100)
    if low == 0:
        return cardinal(high) + " hundred"
    return f"{cardinal(high)} {'oh ' if low < 10 else ''}{cardinal(low)}"
