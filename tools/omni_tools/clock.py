"""Time, date, days until; setting, listing and cancelling timers and reminders."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from omni.errors import BadInput
from omni.planner.arguments import nearest_span
from omni.tools import ToolContext, ToolResult
from omni_tools import when
from omni_tools.timers import Timer, Timers

#: A timer runs a second at least and a year at most.
LONGEST_S = 366 * 86400.0

Span = {"x-copy": "span"}


def _wall(context: ToolContext) -> float:
    return context.session.clock.wall() if context.session is not None else time.time()


def _now(context: ToolContext) -> dt.datetime:
    return dt.datetime.fromtimestamp(_wall(context)).astimezone()


class ClockTools:
    """The functions behind the clock's tools; they share the timers."""

    def __init__(self, timers: Timers) -> None:
        self.timers = timers

    async def tell_time(self, context: ToolContext) -> ToolResult:
        """Tell the present time, weekday and date."""
        now = _now(context)
        asked = context.request.lower()
        date = f"{now:%A}, {now.day} {now:%B %Y}"
        about_day = re.search(r"\b(day|date|month|year|week|today)\b", asked) and "time" not in asked
        say = f"It's {date}." if about_day else f"It's {now:%H:%M}."
        if "date" in asked and "time" in asked:
            say = f"It's {now:%H:%M} on {date}."
        return ToolResult({"time": f"{now:%H:%M}", "date": now.date().isoformat(), "weekday": f"{now:%A}"}, say=say)

    async def days_until(
        self,
        date: Annotated[str, Field(description="the day as it was said, e.g. Christmas", json_schema_extra=Span)],
        context: ToolContext,
    ) -> ToolResult:
        """Count the days from today until a date or a feast day."""
        today = _now(context).date()
        found = when.day(date, today)
        if found is None:
            raise BadInput(f"I don't know which day {date!r} is.", "Say a date like the 3rd of March.")
        days = (found[0] - today).days
        named = f"{found[0]:%A}, {found[0].day} {found[0]:%B %Y}"
        if days == 0:
            say = "That's today."
        else:
            count = f"{abs(days)} day{'' if abs(days) == 1 else 's'}"
            say = f"It's {count} until {named}." if days > 0 else f"That was {count} ago, on {named}."
        return ToolResult({"date": found[0].isoformat(), "days": days}, say=say)

    async def set_timer(
        self,
        duration: Annotated[str, Field(description="how long, e.g. ten minutes", json_schema_extra=Span)],
        context: ToolContext,
        label: Annotated[str, Field(description="what it is for, e.g. pasta", max_length=80)] = "",
    ) -> ToolResult:
        """Start a timer that rings after a length of time."""
        found = when.duration(duration)
        if found is None or not 1 <= found[0] <= LONGEST_S:
            raise BadInput(f"I can't set a timer for {duration!r}.", "Say how long, like ten minutes.")
        seconds = found[0]
        timer = self.timers.add(
            "timer", _wall(context) + seconds, label.strip(), seconds=seconds, session=_session(context)
        )
        what = f"{label.strip()} timer" if label.strip() else "Timer"
        say = f"{what[0].upper()}{what[1:]} set for {when.spoken_duration(seconds)}."
        return ToolResult({"timer": timer.id, "seconds": seconds, "label": label}, say=say)

    async def set_reminder(
        self,
        text: Annotated[str, Field(description="what to be reminded of", max_length=400, json_schema_extra=Span)],
        at: Annotated[str, Field(description="when, as it was said, e.g. tomorrow at nine", json_schema_extra=Span)],
        context: ToolContext,
    ) -> ToolResult:
        """Remind the person of something at a moment or after a while."""
        now = _now(context)
        found = when.moment(at, now) or when.moment(f"in {at}", now)
        if found is None:
            raise BadInput(f"I don't know when {at!r} is.", "Say a time, like in ten minutes or tomorrow at nine.")
        moment = found[0]
        if moment <= now:
            raise BadInput("That moment has passed already.", "Say a time to come.")
        if (moment - now).total_seconds() > LONGEST_S:
            raise BadInput("I keep reminders for up to a year.")
        timer = self.timers.add("reminder", moment.timestamp(), text.strip(), session=_session(context))
        soon = (moment - now).total_seconds() < 5400
        said = f"in {when.spoken_duration((moment - now).total_seconds())}" if soon else when.spoken_moment(moment, now)
        value = {"reminder": timer.id, "at": moment.isoformat(timespec="minutes"), "text": text}
        return ToolResult(value, say=f"I'll remind you {said}: {text.strip()}.")

    async def list_timers(self, context: ToolContext) -> ToolResult:
        """List the timers and reminders that are running and how long they have left."""
        asked = context.request.lower()
        timers = self.timers.waiting()
        for kind in ("timer", "reminder"):
            if kind in asked and not {"timer", "reminder"} - {kind} & set(re.findall(r"timer|reminder", asked)):
                timers = [timer for timer in timers if timer.kind == kind]
                break
        now = _now(context)
        shown = [self._described(timer, now) for timer in timers]
        if not shown:
            return ToolResult([], say="Nothing is running: no timers and no reminders.")
        return ToolResult(shown, say=" ".join(f"{line['spoken']}." for line in shown[:5]))

    def _described(self, timer: Timer, now: dt.datetime) -> dict[str, Any]:
        left = timer.due - now.timestamp()
        due = dt.datetime.fromtimestamp(timer.due).astimezone()
        if timer.kind == "timer":
            name = f"The {timer.text} timer" if timer.text else f"The {when.spoken_duration(timer.seconds)} timer"
            spoken = f"{name} has {when.spoken_duration(left)} left"
        else:
            spoken = f"{when.spoken_moment(due, now).capitalize()} I remind you: {timer.text}"
        return {"id": timer.id, "kind": timer.kind, "text": timer.text, "seconds_left": round(left), "spoken": spoken}

    async def cancel_timer(
        self,
        context: ToolContext,
        which: Annotated[str, Field(description="the timer or reminder that is meant", json_schema_extra=Span)] = "",
    ) -> ToolResult:
        """Cancel a timer or a reminder."""
        found = self.timers.find(which or context.request)
        if not found:
            return ToolResult({"cancelled": []}, say="There is no timer or reminder like that.")
        if len(found) > 1 and not re.search(r"\b(all|every|everything|timers|reminders)\b", context.request.lower()):
            names = " or ".join(timer.text or when.spoken_duration(timer.seconds) for timer in found[:4])
            return ToolResult({"cancelled": []}, say=f"Which one do you mean: {names}?")
        self.timers.cancel(found)
        names = ", ".join(timer.text or when.spoken_duration(timer.seconds) for timer in found)
        return ToolResult({"cancelled": [timer.id for timer in found]}, say=f"Cancelled: {names}.")


def _session(context: ToolContext) -> str:
    return context.session.id if context.session is not None else ""


_LABEL = (
    re.compile(r"\b(?:for|named|called|labelled) (?:the |my |a |an |some )?(?P<label>[a-z][a-z' -]{1,40}?)[.!?]*$"),
    re.compile(r"\b(?:a|the|my|an) (?P<label>[a-z]+) timer\b"),
)
_NO_LABEL = frozenset("me you it that this new another quick short long minute second hour egg-timer".split())  # noqa: SIM905
#: "rem[ind]{2,4}" also takes the common slips of the fingers.
_REMIND = re.compile(
    r"\b(?:rem[ind]{2,4} me|tell me|(?:give me|set) a reminder|don't let me forget|do not let me forget|"
    r"make sure (?:that )?i(?: do not| don't) forget|make sure (?:that )?i(?:'m| am| get) reminded|"
    r"ping me|nudge me|give me a nudge|alert me|reminder)\b",
)
#: "I have to call Ann in ten minutes, remind me": the deed is said before the order.
_DEED_FIRST = re.compile(
    r"^(?P<before>.*?)\bi(?:'ve got to| have got to| have to| need to| must| should) (?P<deed>[^,.;]+)"
    r"[,.;] *(?P<order>.+)$"
)


def read_timer(words: str) -> dict[str, Any] | None:
    """Duration and label out of "give me a twelve minute timer for the pasta"; None where no duration is said."""
    found = when.duration(words)
    if found is None or _REMIND.search(words.lower()):
        return None
    rest = re.sub(r"\s+", " ", when.plain(words).replace(found[1], " ")).strip()
    rest = re.sub(r"\s*\bfor$", "", rest.strip(" .!?,"))
    label = ""
    for pattern in _LABEL:
        if (match := pattern.search(rest)) and match["label"].split()[0] not in _NO_LABEL:
            label = match["label"].strip()
            break
    return {"duration": found[1], "label": label} if label else {"duration": found[1]}


def read_reminder(words: str) -> dict[str, Any] | None:
    """Moment and text out of "remind me in ten minutes to call Anna"; None unless both are said."""
    lowered = words.lower().replace("’", "'")
    if not _REMIND.search(lowered):
        return None
    if (first := _DEED_FIRST.match(lowered)) and not _REMIND.search(first["before"] + first["deed"]):
        return _read_deed(first["before"] + first["deed"], first["deed"], first["order"])
    found = when.moment(words, dt.datetime.now().astimezone())
    if found is None:
        return None
    rest = when.plain(words).rstrip(" .!?")
    for phrase in found[1]:
        rest = re.sub(rf"(?:\b(?:on|for|by)\s+)?(?<!\S){re.escape(phrase)}(?!\S)", " ", rest, count=1)
    rest = _REMIND.sub(" ", re.sub(r"\s+", " ", rest), count=1)
    rest = re.sub(r"^\W*(?:(?:please|hey|omni|can you|could you|and|then|also)\b\W*)*", "", rest.strip())
    rest = re.sub(r"^(?:to|that|about|of|the fact that|it's time to)\b\s*", "", rest.strip()).strip(" ,.")
    rest = re.sub(r"\s+", " ", rest)
    if len(rest) < 2:
        return None
    return {"text": nearest_span(rest, words) or rest, "at": _as_said(found[1], words)}


def _as_said(phrases: Sequence[str], words: str) -> str:
    """The phrases of a moment in the words they were said in: "at six" where `when` reads "at 6"."""
    spoken = words.replace("’", "'").split()
    said = []
    for phrase in phrases:
        spans = (
            " ".join(spoken[at : at + width]).strip(" ,.!?")
            for width in range(1, 8)
            for at in range(len(spoken) + 1 - width)
        )
        said.append(next((span for span in spans if when.plain(span) == phrase), phrase))
    return " ".join(said)


def _read_deed(said: str, deed: str, order: str) -> dict[str, Any] | None:
    """Moment and text where the deed comes before the order: the order's own time counts, on the deed's day."""
    now = dt.datetime.now().astimezone()
    before, after = when.moment(said, now), when.moment(order, now)
    if before is None and after is None:
        return None
    day = when.day(said, now.date()) if after else None
    phrases = (after or before or (now, ()))[1]
    if day and when.day(order, now.date()) is None and not re.match(r"in\b", phrases[0]):
        phrases = (day[1], *phrases)
    text = when.plain(deed)
    for phrase in () if after else phrases:
        text = text.replace(phrase, " ")
    text = " ".join(text.split()).strip(" ,.")
    return (
        {"text": nearest_span(text, deed) or text, "at": _as_said(phrases, f"{said} {order}")}
        if len(text) > 1
        else None
    )


def read_day(words: str) -> dict[str, Any] | None:
    """The day out of "how many days until Christmas"; None where no day is named."""
    found = when.day(words, dt.date.today())
    return {"date": found[1]} if found and found[1] not in ("today", "tonight") else None


_CANCEL = re.compile(
    r"\b(?:cancel|stop|kill|delete|remove|turn off|switch off|shut off|clear|end|drop|forget|get rid of|dismiss|"
    r"scrap)\b\s*(.+)"
    r"|\b(?:turn|switch|shut) ((?:the|that|this|my|all|both)\b.+?) off\b"
    r"|\b(?:don't|do not|won't|will not|no longer) need ((?:the|that|this|my|those|these)\b.+)"
)


def read_which(words: str) -> dict[str, Any] | None:
    """What a cancellation names, without the verb; None unless a timer or a reminder is named ("the tea one" is)."""
    match = _CANCEL.search(words.lower().replace("’", "'"))
    named = next((group for group in match.groups() if group), "") if match else ""
    if not re.search(r"\b(timers?|reminders?|alarms?|countdowns?)\b|^(?:the|that|this) [\w' -]+ one\W*$", named):
        return None
    named = re.sub(r",.*$| (?:any ?more|any longer|now|please)\b.*$", "", named)
    return {"which": named.strip(" .!?")}
