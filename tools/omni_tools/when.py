"""When: durations, days and moments out of words. "An hour and a half", "the 3rd of March", "tomorrow at nine"."""

from __future__ import annotations

import calendar
import datetime as dt
import re

from omni_tools.spoken import digits

_UNIT_SECONDS = {
    "second": 1, "sec": 1, "s": 1, "minute": 60, "min": 60, "m": 60, "hour": 3600, "hr": 3600, "h": 3600,
    "day": 86400, "week": 604800, "fortnight": 1209600,
}  # fmt: skip
_UNIT = r"(seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|fortnights?)"
_SHORT = r"([hms])"
_AMOUNT = rf"(?:(\d+(?:\.\d+)?) ?(?:{_UNIT}|{_SHORT})\b)"
_DURATION = re.compile(rf"{_AMOUNT}(?:(?:,? and |, | )?{_AMOUNT})*", re.IGNORECASE)

_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_MONTHS |= {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name} | {"sept": 9}
_WEEKDAYS = {name.lower(): number for number, name in enumerate(calendar.day_name)}
_MONTH = "(" + "|".join(sorted(_MONTHS, key=len, reverse=True)) + ")"
_WEEKDAY = "(" + "|".join(_WEEKDAYS) + ")"
_FEASTS = {
    "new year's eve": (12, 31), "new years eve": (12, 31), "new year's day": (1, 1), "new years day": (1, 1),
    "new year's": (1, 1), "new year": (1, 1), "valentine's day": (2, 14), "valentines day": (2, 14),
    "christmas eve": (12, 24), "christmas day": (12, 25), "christmas": (12, 25), "xmas": (12, 25),
    "boxing day": (12, 26), "halloween": (10, 31), "saint patrick's day": (3, 17), "april fools": (4, 1),
    "saint nicholas day": (12, 6), "independence day": (7, 4),
}  # fmt: skip
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9,
    "tenth": 10, "eleventh": 11, "twelfth": 12, "thirteenth": 13, "fourteenth": 14, "fifteenth": 15, "sixteenth": 16,
    "seventeenth": 17, "eighteenth": 18, "nineteenth": 19, "twentieth": 20, "twenty-first": 21, "twenty first": 21,
    "twenty-second": 22, "twenty second": 22, "twenty-third": 23, "twenty third": 23, "twenty-fourth": 24,
    "twenty fourth": 24, "twenty-fifth": 25, "twenty fifth": 25, "thirtieth": 30, "thirty-first": 31,
    "thirty first": 31,
}  # fmt: skip
_ORDINAL = "(" + "|".join(sorted(_ORDINALS, key=len, reverse=True)) + ")"
_ORDINAL_DAY = re.compile(rf"\b{_ORDINAL} (?:of )?(?:{_MONTH[1:-1]})\b|\b(?:{_MONTH[1:-1]}) (?:the )?{_ORDINAL}\b")
_DAYTIMES = {"morning": 9, "noon": 12, "midday": 12, "lunchtime": 12, "afternoon": 15, "evening": 19, "tonight": 20,
             "night": 21, "midnight": 0}  # fmt: skip


def plain(text: str) -> str:
    """Lower case, numbers in digits, spoken fractions of hours and minutes written out."""
    text = text.lower().replace("’", "'")
    text = re.sub(r"\bhalf an? (hour|minute|day)\b", lambda m: f"0.5 {m.group(1)}s", text)
    text = re.sub(r"\b(?:a )?quarter of an hour\b", "15 minutes", text)
    text = re.sub(r"\bthree quarters of an hour\b", "45 minutes", text)
    text = re.sub(rf"\b(?:an?|one) {_UNIT} and a half\b", lambda m: f"1.5 {m.group(1)}s", text)
    text = re.sub(rf"\b(?:an?) (?:single )?{_UNIT}\b", lambda m: f"1 {m.group(1)}", text)
    text = re.sub(r"\ba couple of\b", "2", text)
    text = digits(text)
    text = re.sub(rf"(\d+) {_UNIT} and a half\b", lambda m: f"{m.group(1)}.5 {m.group(2)}", text)
    text = re.sub(r"(\d)-(?=(?:second|minute|hour|day|week)s?\b)", r"\1 ", text)
    return text


def duration(text: str) -> tuple[float, str] | None:
    """The first length of time in the text, in seconds, and the words (as `plain` writes them) that say it."""
    match = _DURATION.search(plain(text))
    if match is None:
        return None
    seconds = 0.0
    for amount, unit, short in re.findall(_AMOUNT, match.group(), re.IGNORECASE):
        name = (unit or short).lower()
        seconds += float(amount) * _UNIT_SECONDS.get(name, _UNIT_SECONDS.get(name.rstrip("s"), 0))
    return seconds, match.group()


def _after(today: dt.date, month: int, day: int) -> dt.date | None:
    """The next time that day of the year comes (today counts); None where there is no such day."""
    for year in range(today.year, today.year + 9):
        try:
            found = dt.date(year, month, day)
        except ValueError:
            continue
        if found >= today:
            return found
    return None


def day(text: str, today: dt.date) -> tuple[dt.date, str] | None:
    """The day a text names, seen from today, and the words that name it. A day without a year is the next one."""
    words = text.lower().replace("’", "'")
    words = _ORDINAL_DAY.sub(lambda m: m[0].replace(m[1] or m[2], str(_ORDINALS[m[1] or m[2]])), words)
    words = digits(words)
    if match := re.search(r"\b(\d{4})-(\d{1,2})-(\d{1,2})\b", words):
        return _made(match, int(match[1]), int(match[2]), int(match[3]))
    for feast, (month, number) in _FEASTS.items():
        if match := re.search(rf"\b{re.escape(feast)}\b(?: (\d{{4}}))?", words):
            found = dt.date(int(match[1]), month, number) if match[1] else _after(today, month, number)
            return (found, match.group()) if found else None
    patterns = (
        (rf"\b(?:the )?(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH}\b(?:,? (\d{{4}}))?", 1, 2),
        (rf"\b{_MONTH} (?:the )?(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,? (\d{{4}}))?", 2, 1),
    )
    for pattern, d, m in patterns:
        if match := re.search(pattern, words):
            month, number = _MONTHS[match[m]], int(match[d])
            if match[3]:
                return _made(match, int(match[3]), month, number)
            found = _after(today, month, number)
            return (found, match.group()) if found else None
    if match := re.search(r"\b(today|tonight|tomorrow|the day after tomorrow|yesterday)\b", words):
        if "the day after tomorrow" in words:
            return today + dt.timedelta(2), "the day after tomorrow"
        shift = {"today": 0, "tonight": 0, "tomorrow": 1, "yesterday": -1}[match[1]]
        return today + dt.timedelta(shift), match.group()
    if match := re.search(rf"\b(?:(?:next|this|on|the coming) )?{_WEEKDAY}\b", words):
        ahead = (_WEEKDAYS[match[1]] - today.weekday()) % 7 or 7
        return today + dt.timedelta(ahead), match.group()
    if match := re.search(r"\bthe (\d{1,2})(?:st|nd|rd|th)\b", words):
        month = today.month if int(match[1]) >= today.day else today.month % 12 + 1
        found = _after(today, month, int(match[1]))
        return (found, match.group()) if found else None
    if match := re.search(r"\bthe end of the (year|month)\b", words):
        month = 12 if match[1] == "year" else today.month
        return dt.date(today.year, month, calendar.monthrange(today.year, month)[1]), match.group()
    if re.search(r"\beaster\b", words):
        found = _easter(today.year)
        return (found if found >= today else _easter(today.year + 1)), "easter"
    return None


def _made(match: re.Match[str], year: int, month: int, number: int) -> tuple[dt.date, str] | None:
    try:
        return dt.date(year, month, number), match.group()
    except ValueError:
        return None


def _easter(year: int) -> dt.date:
    """Easter Sunday in the Gregorian calendar (the anonymous algorithm, Nature 1876)."""
    a, b, c = year % 19, year // 100, year % 100
    h = (19 * a + b - b // 4 - (b - (b + 8) // 25 + 1) // 3 + 15) % 30
    k = (32 + 2 * (b % 4) + 2 * (c // 4) - h - c % 4) % 7
    m = (a + 11 * h + 22 * k) // 451
    month, number = divmod(h + k - 7 * m + 114, 31)
    return dt.date(year, month, number + 1)


_CLOCK = re.compile(
    r"\b(?:at |by |around )?(?:(half past|quarter past|quarter to) )?(\d{1,2})(?::(\d{2}))?(?: (\d{2})\b)?"
    r"(?:\s*(?:(o'clock)|(a\.?m\.?|p\.?m\.?)))?(?:\s+in the (morning|afternoon|evening)|\s+at (night))?",
)


def moment(text: str, now: dt.datetime) -> tuple[dt.datetime, tuple[str, ...]] | None:
    """The moment a text names, seen from now, and the phrases that name it (as `plain` writes them).

    "in ten minutes", "at 7 pm", "tomorrow at nine in the morning", "on friday evening", "at noon".
    A time of day that has passed today is meant for tomorrow.
    """
    words = plain(text)
    if match := re.search(rf"\b(?:in|after|within) (?:about )?({_DURATION.pattern})(?: from now)?", words):
        found = duration(match.group(1))
        return (now + dt.timedelta(seconds=found[0]), (match.group(),)) if found else None
    if match := re.search(rf"({_DURATION.pattern}) from now", words):
        found = duration(match.group(1))
        return (now + dt.timedelta(seconds=found[0]), (match.group(),)) if found else None
    named = day(words, now.date())
    rest = words.replace(named[1], " ") if named else words
    clock = _clock_time(rest)
    if clock is None and named is None:
        return None
    hour, minute, said, open_half = clock or (9, 0, "", False)
    if open_half and named and ("tonight" in named[1] or hour < 7):
        hour += 12  # "on friday at three" is the afternoon
    when = dt.datetime.combine(named[0] if named else now.date(), dt.time(hour, minute), now.tzinfo)
    if when <= now and named is None:
        when += dt.timedelta(hours=12 if open_half and when + dt.timedelta(hours=12) > now else 24)
    return when, tuple(part for part in (named[1] if named else "", said) if part)


def _clock_time(words: str) -> tuple[int, int, str, bool] | None:
    """The time of day in the words: hour, minute, how it was said, and whether it may be either half of the day."""
    for match in _CLOCK.finditer(words):
        before, hour, minute = match[1], int(match[2]), int(match[3] or match[4] or 0)
        marked = bool(match[3] or match[5] or match[6] or match[7] or match[8] or before)
        if not (marked or match.group().startswith(("at ", "by ", "around "))) or hour > 23 or minute > 59:
            continue
        part = (match[6] or "").replace(".", "") or {"morning": "am", "afternoon": "pm", "evening": "pm"}.get(
            match[7] or "", "pm" if match[8] and hour >= 5 else ""
        )
        if part == "pm" and hour < 12:
            hour += 12
        elif part == "am" and hour == 12:
            hour = 0
        if before == "half past":
            minute = 30
        elif before == "quarter past":
            minute = 15
        elif before == "quarter to":
            hour, minute = (hour - 1) % 24, 45
        return hour, minute, match.group().strip(), not part and 0 < hour < 12 and match[3] is None
    for name, hour in _DAYTIMES.items():
        if match := re.search(rf"\b(?:in the |at |this )?{name}\b", words):
            return hour, 0, match.group().strip(), False
    return None


def spoken_duration(seconds: float) -> str:
    """A length of time in words: "1 hour and 20 minutes"."""
    total = max(0, round(seconds))
    parts = []
    for name, size in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        count, total = divmod(total, size)
        if count:
            parts.append(f"{count} {name}{'' if count == 1 else 's'}")
    if not parts:
        return "no time"
    return parts[0] if len(parts) == 1 else f"{parts[0]} and {parts[1]}"


def spoken_moment(when: dt.datetime, now: dt.datetime) -> str:
    """A moment in words, as near as one would say it: "at 14:05", "tomorrow at 09:00", "on Friday at 19:00"."""
    ahead = (when.date() - now.date()).days
    at = f"at {when:%H:%M}"
    if ahead == 0:
        return at
    if ahead == 1:
        return f"tomorrow {at}"
    if 1 < ahead < 7:
        return f"on {when:%A} {at}"
    year = f" {when.year}" if when.year != now.year else ""
    return f"on {when.day} {when:%B}{year} {at}"
