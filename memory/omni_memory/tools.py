"""What the planner can do with the memory."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from omni.capabilities import Memory, Moment, Recalled
from omni.errors import BadInput, Refused
from omni.tools import Effect, Tool, ToolContext, ToolResult, tool
from omni_memory.recall import terms
from omni_memory.recorder import off_the_record
from omni_memory.schema import now

#: What people mean by "remember": not the planner's own corrections.
TOLD = ("speech", "note", "summary", "tool", "document", "drawing", "screen", "camera", "image", "video", "photo")
SHOWN = ("screen", "camera", "image", "document", "drawing")
#: Sources whose words are the person's own; all others may carry what a page or a document says.
OWN_WORDS = ("speech", "note", "summary")

#: "Remember when phones had buttons" muses, it orders nothing.
_REMEMBER = re.compile(
    r"^(?:ok(?:ay)?[, ]+|please[, ]+|(?:can|could) you (?:please )?|i want you to |(?:and|then|also),? )*"
    r"(?:remember|memori[sz]e|keep in mind|(?:make|take) a note|note down|note|don'?t forget|save this(?: for later)?|"
    r"keep this in (?:your )?(?:mind|memory))"
    r"(?:,|:)?\s+(?!when\b|how\b|why\b|to\b|the (?:good old|days)\b)(?:that\s+|this:?\s+)?(?P<text>.+)$",
    re.IGNORECASE | re.DOTALL,
)
#: "My locker is 118, please remember that": the order comes last.
_REMEMBER_LAST = re.compile(
    r"^(?:for later[:,]\s*)?(?P<text>.+?)[,.;]\s*(?:and |please |can you |could you )*"
    r"(?:(?:remember|memori[sz]e|note|keep|hold on to|hold|store|save) (?:that|it|this)|keep (?:that|it) in mind|"
    r"make a note of (?:that|it)|don'?t forget (?:that|it))"
    r"(?: down| in mind)?(?: for me| for later)?(?:,? please)?[.!]*$",
    re.IGNORECASE | re.DOTALL,
)
#: Where else a note goes: those tools write it.
_ELSEWHERE = re.compile(r"\bon the (?:white ?)?board\b", re.IGNORECASE)
_ABOUT = re.compile(
    r"\b(?:about|of|regarding)\s+(?P<about>[^?]+?)\s*(?:\?|\.|$)",
    re.IGNORECASE,
)
#: An order to forget, not a remark about forgetting.
_ORDER = re.compile(
    r"^\W*(?:(?:please|can you|could you|would you|will you|omni|now|and|then|also|just|never mind|i want you to|"
    r"i'?d like you to|you can|you should)\b[\s,]*)*(?:forget|delete|erase|wipe|remove|clear|drop|take out)\b"
    r"|\bforget (?:them|it|that)\W*$",
    re.IGNORECASE,
)
_FORGET = re.compile(
    r"\b(?:forget|(?:delete|erase|remove)(?= (?:that|what|my)\b.*\bmemory\b))\s+"
    r"(?:that |what )?(?:i (?:told you|said|mentioned) )?(?:that |about )?(?P<about>.+?)"
    r"(?: (?:from|out of) (?:your|the) memory)?(?:,? please)?[.!?]*$",
    re.IGNORECASE,
)
_ALL_OF_IT = re.compile(
    r"\b(?:(?:whole|entire) memory|all (?:of )?your memor(?:y|ies)|your memory (?:completely|entirely)|"
    r"every(?: single )?thing (?:there is|you(?:'ve| have)?(?: ever)? (?:saved|stored|remember|kept))\W*$)",
    re.IGNORECASE,
)
_SPAN = re.compile(r"\blast\s+(?:(?P<number>half an|[\w.-]+)\s+)?(?P<unit>minute|hour|day)s?\b")
_SMALL = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_NUMBERS = {word: float(number) for number, word in enumerate(_SMALL, 1)} | {
    **{"half": 0.5, "half an": 0.5, "fifteen": 15.0, "twenty": 20.0, "thirty": 30.0, "forty": 40.0},
    **{"forty-five": 45.0, "fifty": 50.0, "sixty": 60.0, "ninety": 90.0},
}
_MINUTES = {"minute": 1.0, "hour": 60.0, "day": 1440.0}
#: What was said at the time that is asked for: "... when I said that the price is too high".
_SAID_THEN = re.compile(
    r"\b(?:when|while|as|(?:at )?the time(?: when)?|during|the moment)\s+(?:i|we|you)(?:'d| had| was| were)?\s+"
    r"(?:sa(?:id|ying)|ask(?:ed|ing)|mention(?:ed|ing)|talk(?:ed|ing)|sp(?:oke|eaking)|discuss(?:ed|ing)|"
    r"complain(?:ed|ing)|told you|wonder(?:ed|ing))"
    r"(?:\s+(?:about|that|for|you|to you|if|whether)\b)*\s+(?P<said>.+?)[?.!]*$",
    re.IGNORECASE,
)
#: Words that name nothing by themselves: the model sees what they stand for.
_POINTING = frozenset({"me", "it", "this", "that", "us", "them", "him", "her", "everything", "all of it"})


def when(seconds: float, at: float | None = None) -> str:
    """A time as people say it, in the machine's own zone: "today 14:05", "yesterday 9:30", "3 March 2026 18:00"."""
    moment, present = datetime.fromtimestamp(seconds), datetime.fromtimestamp(now() if at is None else at)
    clock = f"{moment.hour}:{moment.minute:02d}"
    days = (present.date() - moment.date()).days
    if days in (0, 1):
        return f"{('today', 'yesterday')[days]} {clock}"
    return f"{moment.day} {moment:%B %Y} {clock}"


def described(moment: Moment) -> dict[str, Any]:
    """A moment as the model and the page read it."""
    who = {"user": "you", "assistant": "Omni"}.get(str(moment.data.get("role", "")), moment.source)
    return {"id": moment.id, "when": when(moment.start), "from": who, "text": moment.text[:600]}


def _result(found: Sequence[Moment], nothing: str) -> ToolResult:
    if not found:
        return ToolResult([], say=nothing)
    trusted = all(m.source in OWN_WORDS and m.data.get("role") != "assistant" for m in found)
    items = [described(m) for m in found]
    return ToolResult(items, trusted=trusted, evidence=tuple({"kind": "moment", **item} for item in items))


def tools(host: Any, settings: dict[str, Any]) -> list[Tool]:
    """The four tools, bound to the host's memory."""

    async def recall_memory(
        query: Annotated[str, Field(description="what to look for, in a few words", min_length=1)],
        context: ToolContext,
    ) -> ToolResult:
        """Find what was said, seen or done in earlier conversations."""
        found = await host.get(Memory).recall(query, limit=8, sources=TOLD)
        return _result([r.moment for r in _not_now(found, context)][:5], "I don't remember anything about that.")

    async def what_was_shown(
        said: Annotated[str, Field(description="what was said at that time, in a few words", min_length=1)],
        context: ToolContext,
    ) -> ToolResult:
        """Find what was on the screen, in front of the camera or open as a document when something was said."""
        memory = host.get(Memory)
        spoken = _not_now(await memory.recall(said, limit=5, sources=("speech",)), context)
        for recalled in spoken:
            if shown := await memory.around(recalled.moment.id, seconds=60.0, sources=SHOWN):
                return _result(shown[:5], "")
        return ToolResult([], say="I kept nothing of what was shown then.")

    async def remember_this(
        text: Annotated[str, Field(description="what to remember, word for word", min_length=1, max_length=4000)],
        context: ToolContext,
    ) -> ToolResult:
        """Keep a note for later conversations."""
        if not text.strip():
            raise BadInput("There is nothing in that to remember.", "Say what it is.")
        session = context.session
        if session is not None and off_the_record(session, settings):
            raise Refused("This conversation is off the record, so nothing of it is kept.", "Turn that off first.")
        at, name = now(), session.id if session else ""
        note = Moment("note", text.strip(), at, at, session=name, turn=context.turn, data={"role": "user"})
        ids = await host.get(Memory).remember([note])
        return ToolResult({"id": ids[0], "text": note.text}, say="I'll remember that.")

    async def forget_memory(
        context: ToolContext,
        about: Annotated[str, Field(description="forget what holds all of these words; empty for none")] = "",
        minutes: Annotated[float, Field(description="forget the last so many minutes; 0 for none", ge=0)] = 0,
        conversation: Annotated[bool, Field(description="forget this whole conversation")] = False,
        everything: Annotated[bool, Field(description="forget everything there is")] = False,
    ) -> ToolResult:
        """Delete something from the memory for good."""
        memory = host.get(Memory)
        if everything:
            count = await memory.forget(before=now() + 1.0)
        elif conversation and context.session is not None:
            count = await memory.forget(sessions=[context.session.id])
        elif minutes > 0:
            count = await memory.forget(after=now() - minutes * 60.0)
        else:
            count = await forget_about(memory, about)
        said = "There was nothing of that kind to forget." if not count else f"Done. {_moments(count)} gone for good."
        return ToolResult({"forgotten": count}, say=said)

    return [
        tool(recall_memory, extract=_query),
        tool(what_was_shown, extract=_said_then),
        tool(remember_this, effect=Effect.MUTATING, extract=_note),
        tool(forget_memory, effect=Effect.CONSEQUENTIAL, deadline_s=90.0, extract=_what_to_forget),
    ]


async def forget_about(memory: Any, about: str) -> int:
    """Delete every moment that holds all the words of `about`. Returns how many went."""
    wanted = set(terms(about))
    if not wanted:
        raise BadInput("It is not clear what should be forgotten.", "Name it, or say how many minutes.")
    gone = 0
    while True:
        found = await memory.recall(about, limit=50)
        ids = [r.moment.id for r in found if wanted <= set(terms(r.moment.text))]
        if not ids:
            return gone
        gone += await memory.forget(ids)


def _not_now(found: Sequence[Recalled], context: ToolContext) -> list[Recalled]:
    """Without what belongs to the very turn that asks, and without earlier askings of the same thing."""
    here = context.session.id if context.session else None
    asked = " ".join(context.request.lower().split())
    return [
        r
        for r in found
        if not (r.moment.session == here and here and r.moment.turn == context.turn)
        and " ".join(r.moment.text.lower().split()) != (asked or None)
    ]


def _moments(count: int) -> str:
    return "One moment is" if count == 1 else f"{count} moments are"


def _query(request: str) -> dict[str, Any] | None:
    """The request itself is the best query: its words and its meaning. Not where it orders to keep something."""
    return {"query": request.strip()} if request.strip() and _note(request) is None else None


def _said_then(request: str) -> dict[str, Any] | None:
    """What was said at the time that is asked about."""
    found = _SAID_THEN.search(request.strip())
    return {"said": found["said"].strip()} if found else None


def _note(request: str) -> dict[str, Any] | None:
    """What to keep, out of "remember that ..." and "..., please remember that"; None where nothing is ordered."""
    words = request.strip()
    found = _REMEMBER.match(words) or _REMEMBER_LAST.match(words)
    return {"text": found["text"].strip()} if found and not _ELSEWHERE.search(words) else None


def _what_to_forget(request: str) -> dict[str, Any] | None:
    """The span of time, the subject, or all there is; None where it is not plain."""
    words = request.lower()
    if not _ORDER.search(request):
        return None
    if re.search(r"\b(this|the) (whole )?conversation\b", words):
        return {"conversation": True}
    if (found := _SPAN.search(words)) and not _ABOUT.search(request):
        number = found["number"] or "one"
        count = _NUMBERS.get(number) or (float(number) if re.fullmatch(r"\d+(?:\.\d+)?", number) else 0.0)
        return {"minutes": count * _MINUTES[found["unit"]]} if count else None
    about = _ABOUT.search(request)
    if about is None and _ALL_OF_IT.search(words):
        return {"everything": True}
    if found := about or _FORGET.search(request):
        subject = found["about"].strip()
        first = subject.lower().split(",")[0]
        return None if first in _POINTING or first.startswith(("everything", "all ")) else {"about": subject}
    return None
