"""What a tool may do, and who has to say yes.

The effect a tool declares decides: `pure` runs freely, `idempotent` and `mutating` wait until the
turn is certain, `consequential` waits for a person's yes. Once text that nobody vouches for (a page,
a document, a file, a screen) has been read, anything that is not pure needs a yes as well: such text
may ask for anything, but it can't grant anything. The only thing that grants is an `ApprovalGiven`
event that carries the digest of exactly the call that was asked about.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Literal

from omni.bus import Mailbox
from omni.errors import Refused
from omni.events import ApprovalAsked, ApprovalGiven
from omni.planner.plan import Request, Step
from omni.tools import Effect, Tool

if TYPE_CHECKING:
    from omni.session import Session

Need = Literal["nothing", "commit", "yes"]


def digest(tool: Tool, arguments: dict[str, Any]) -> str:
    """Names exactly one call: this tool, of this plugin (its target), with these arguments."""
    canonical = json.dumps([tool.name, tool.plugin, arguments], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def needed(tool: Tool, *, tainted: bool) -> Need:
    """What has to happen before this tool may run."""
    if tool.effect is Effect.PURE:
        return "nothing"
    if tool.effect is Effect.CONSEQUENTIAL or tainted:
        return "yes"
    return "commit"


def sentence(tool: Tool, arguments: dict[str, Any], *, tainted: bool) -> str:
    """The question to the person: what would be done, with what."""
    what = tool.description.rstrip(".").split(". ")[0]
    details = ", ".join(f"{name} {value}" for name, value in arguments.items() if value not in ("", None))
    asked = f"{what}, with {details}" if details else what
    why = " The text I read just now may have suggested it, so I ask first." if tainted else ""
    return f"Shall I do this: {asked}?{why}"


async def wait_for_commit(session: Session, request: Request) -> None:
    """Return when the turn is certain. Raises `Refused` when it turned out otherwise."""
    await request.committed.wait()
    if request.source != "task" and not session.turns.is_current(request.turn, request.revision):
        raise Refused("The turn went on, so this was not done.")


class Approvals:
    """The questions that wait for a person's yes, in all sessions."""

    def __init__(self) -> None:
        self._open: dict[str, dict[str, ApprovalAsked]] = {}  # session -> call -> question

    async def ask(self, session: Session, step: Step, tool: Tool, *, tainted: bool, timeout_s: float) -> None:
        """Ask the person and wait for a yes to exactly this call. Raises `Refused` on a no, or on no answer.

        An answer whose call or digest differs is an answer to something else: it is not counted.
        """
        question = session.event(
            ApprovalAsked,
            call=step.id,
            tool=tool.name,
            arguments=step.arguments,
            sentence=sentence(tool, step.arguments, tainted=tainted),
            digest=digest(tool, step.arguments),
        )
        answers = session.bus.subscribe(ApprovalGiven, capacity=16, name=f"approval {step.id}")
        waiting = self._open.setdefault(session.id, {})
        waiting[step.id] = question
        try:
            await session.bus.send(question)
            async with asyncio.timeout(timeout_s):
                await _answered(answers, question)
        except TimeoutError:
            raise Refused("Nobody said yes, so I left it.", "Ask again when you want it done.") from None
        finally:
            session.bus.unsubscribe(answers)
            waiting.pop(step.id, None)
            if not waiting:
                self._open.pop(session.id, None)

    def hear(self, session: Session, text: str) -> bool:
        """Take a person's words as the answer to the one question that waits. False when they are none.

        With two questions open a bare "yes" says too little: it is not counted.
        """
        waiting = list(self._open.get(session.id, {}).values())
        approved = spoken_answer(text)
        if len(waiting) != 1 or approved is None:
            return False
        question = waiting[0]
        session.publish(ApprovalGiven, call=question.call, digest=question.digest, approved=approved)
        return True


async def _answered(answers: Mailbox, question: ApprovalAsked) -> None:
    """Return on the yes. Raises `Refused` on the no."""
    async for answer in answers:
        if isinstance(answer, ApprovalGiven) and (answer.call, answer.digest) == (question.call, question.digest):
            if answer.approved:
                return
            raise Refused("You said no, so I left it.")
    raise Refused("The session ended before anyone said yes.")


_YES = re.compile(
    r"^\W*(?:oh )?(yes|yeah|yep|yup|sure|okay|ok|do it|go ahead|please do|of course|confirm|allow it|approved?)\b", re.I
)
_NO = re.compile(r"^\W*(?:oh )?(no|nope|don't|do not|stop|cancel|never|wait|leave it|not now|deny|refuse)\b", re.I)
_BUT = re.compile(r"\b(but|wait|not|don't|except|instead|first|actually|change)\b", re.I)


def spoken_answer(text: str) -> bool | None:
    """A person's spoken yes (True) or no (False); None for anything that is not clearly either."""
    if _NO.match(text):
        return False
    if _YES.match(text) and not _BUT.search(text) and len(text.split()) <= 8:
        return True
    return None
