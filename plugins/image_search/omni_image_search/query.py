"""What was asked: checked, and as a full-text query."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from omni.errors import BadInput

LONGEST = 500
#: Words that say nothing about what a photo shows.
_EMPTY = frozenset(
    """a an the of in on at with and or to is are was were be it its this that these those there some any my our your
    i me we you he she they him her them his photo photos picture pictures image images pic pics photograph photographs
    shot find show search where which who what when looking look for from by as near next while has have having
    wearing two three one""".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True)
class Query:
    """A search. `like` are encoded images or ids of photos; `min_score` None takes all, "auto" the measured cut-off."""

    text: str = ""
    like: tuple[bytes | int, ...] = ()
    minus: tuple[str, ...] = ()
    after: float | None = None
    before: float | None = None
    album: str = ""
    limit: int = 40
    min_score: float | str | None = "auto"

    def checked(self) -> Query:
        """Itself. Raises `BadInput` when nothing was asked for, or too much."""
        if not self.text.strip() and not self.like:
            if self.minus:
                raise BadInput("Only what to leave out was said.", "Say what the photos should show, too.")
            raise BadInput("Nothing was asked for.", 'Say what the photos show: omni photos search "a red bicycle".')
        if len(self.text) > LONGEST:
            raise BadInput(f"The question has {len(self.text)} characters.", f"Say it in at most {LONGEST}.")
        if self.min_score not in (None, "auto") and not isinstance(self.min_score, int | float):
            raise BadInput(f"{self.min_score!r} is no score.", "Give a number, auto or none.")
        if self.after is not None and self.before is not None and self.after >= self.before:
            raise BadInput("The time after is not before the time before.", "Swap them.")
        return self


def words(text: str) -> list[str]:
    """The words that say what a photo shows, in lower case, without repetition."""
    found = re.findall(r"[^\W_]+", text.lower())
    return list(dict.fromkeys(word for word in found if word not in _EMPTY and (len(word) > 1 or not word.isascii())))


def full_text(text: str) -> str:
    """As FTS5 wants it: any of the words."""
    return " OR ".join(f'"{word}"' for word in words(text))


def moment(said: str, end: bool = False) -> float | None:
    """Unix seconds of "2024", "2024-07", "2024-07-31"; its end with `end`. Raises `BadInput`."""
    if not said.strip():
        return None
    found = re.fullmatch(r"\s*(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?\s*", said)
    if not found:
        raise BadInput(f"{said!r} is no date.", "Write 2024, 2024-07 or 2024-07-31.")
    year, month, day = (int(part) if part else 0 for part in found.groups())
    try:
        if not end:
            return datetime(year, month or 1, day or 1, tzinfo=UTC).timestamp()
        if day:
            return datetime(year, month, day, tzinfo=UTC).timestamp() + 86400
        if month:
            return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp()
        return datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()
    except ValueError as error:
        raise BadInput(f"{said!r} is no date ({error}).", "Write 2024, 2024-07 or 2024-07-31.") from error
