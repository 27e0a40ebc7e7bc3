"""Money and dates in printed text, as they stand and as values."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

_CURRENCY = r"(?:RM|MYR|USD|EUR|GBP|SGD|US\$|S\$|[$€£¥₹])"
#: Digits, thousands apart or not, two decimals; recognisers put a blank beside or instead of the point.
_MONEY = re.compile(
    rf"(?<![\w/.,:-])(?P<currency>{_CURRENCY})?(?P<gap>\s?)(?P<sign>-)?"
    r"(?P<whole>\d{1,3}(?:[.,' ]\d{3})+|\d{1,6})(?:\s?[.,]\s?|\s)(?P<cents>\d{2})(?![\d%/]|[.,:-]\d)",
    re.IGNORECASE,
)
_CURRENCIES = {"RM": "MYR", "$": "USD", "US$": "USD", "S$": "SGD", "€": "EUR", "£": "GBP", "¥": "JPY", "₹": "INR"}

_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january januari janvier januar enero", "feb february februari fevrier februar febrero",
            "mar march maart mars marz marzo mac", "apr april avril abril", "may mei mai mayo",
            "jun june juni juin junio",
            "jul july juli juillet julio julai", "aug august augustus aout agosto ogos",
            "sep sept september septembre septiembre",
            "oct october oktober octobre octubre okt", "nov november novembre noviembre",
            "dec december decembre diciembre dez dezember dis",
        ),
        1,
    )
    for name in names.split()
}  # fmt: skip
_DATES = (
    re.compile(r"(?<!\d)(?P<y>(?:19|20)\d{2})\s?(?P<s>[-/.])\s?(?P<m>\d{1,2})\s?(?P=s)\s?(?P<d>\d{1,2})(?!\d)"),
    re.compile(r"(?<![\d.,/-])(?P<d>\d{1,2})\s?(?P<s>[-/.])\s?(?P<m>\d{1,2})\s?(?P=s)\s?(?P<y>(?:19|20)\d{2}|\d{2})(?![\d]|[.,/-]\d)"),
    re.compile(r"(?<!\d)(?P<d>\d{1,2})(?:st|nd|rd|th)?[\s./-]{0,2}(?P<n>[A-Za-z]{3,10})[\s.,/'-]{0,3}(?P<y>(?:19|20)\d{2}|\d{2})(?!\d)"),
    re.compile(r"(?P<n>[A-Za-z]{3,10})\.?\s(?P<d>\d{1,2})(?:st|nd|rd|th)?,?\s(?P<y>(?:19|20)\d{2})(?!\d)"),
    re.compile(r"(?<![\w/.-])(?P<d>[0-3]\d)(?P<m>[01]\d)(?P<y>20[0-4]\d)(?![\w/.-])"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Amount:
    """Money: `text` as printed (a currency sign that touches the digits belongs to it)."""

    text: str
    value: Decimal
    currency: str
    start: int


@dataclass(frozen=True, slots=True)
class Day:
    """A date: `text` as printed. `clear` is False where day and month could be the other way round."""

    text: str
    value: datetime.date
    start: int
    end: int


def amounts(text: str) -> list[Amount]:
    """All amounts with two decimals, from left to right."""
    found = []
    for match in _MONEY.finditer(text):
        whole = re.sub(r"[.,' ]", "", match["whole"])
        try:
            value = Decimal(f"{match['sign'] or ''}{whole}.{match['cents']}")
        except InvalidOperation:
            continue
        currency = (match["currency"] or "").upper()
        prefix = match["currency"] or "" if not match["gap"] else ""
        digits = text[match.start("whole") : match.end()]
        printed = f"{prefix}{match['sign'] or ''}{_without_blanks(digits)}"
        found.append(Amount(printed, value, _CURRENCIES.get(currency, currency), match.start("whole")))
    return found


def _without_blanks(digits: str) -> str:
    """ "170. 00" -> "170.00", "31 00" -> "31.00": the blanks are the recogniser's."""
    digits = re.sub(r"\s?([.,])\s?", r"\1", digits)
    return re.sub(r"\s(\d{2})$", r".\1", digits)


def dates(text: str, today: datetime.date | None = None) -> list[Day]:
    """All dates between 1990 and a year from now. Day before month unless that is impossible."""
    latest = (today or datetime.date.today()).year + 1
    found: list[Day] = []
    for pattern in _DATES:
        for match in pattern.finditer(text):
            if any(match.start() < one.end and one.start < match.end() for one in found):
                continue
            value = _date(match.groupdict())
            if value and 1990 <= value.year <= latest:
                printed = match[0].strip()
                if pattern is _DATES[-1]:  # the separators were too faint to be read
                    printed = f"{match['d']}/{match['m']}/{match['y']}"
                found.append(Day(printed, value, match.start(), match.end()))
    return sorted(found, key=lambda one: one.start)


def _date(parts: dict[str, str | None]) -> datetime.date | None:
    month = _MONTHS.get((parts.get("n") or "").lower()) if parts.get("n") else int(parts.get("m") or 0)
    day, year = int(parts["d"] or 0), int(parts["y"] or 0)
    if not month:
        return None
    year += 2000 if year < 100 else 0
    if month > 12 >= day:
        day, month = month, day
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
