"""Record a session and play it again through changed plugins; the diff is the regression test.

A recording is a folder: `header.json` (versions, settings) and `events.bin`, every event as MessagePack
behind its length (u32, little-endian). Raw media is left out unless `record.media` asks for it: the
audio of `AudioIn` and `AudioOut` and the pictures of `VideoFrame`.
"""

from __future__ import annotations

import json
import logging
import platform
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from omni.config import is_secret
from omni.errors import BadInput
from omni.events import (
    AudioIn,
    AudioOut,
    Event,
    Notice,
    ReplyFinished,
    Spoken,
    StageTiming,
    ToolCalled,
    ToolReturned,
    TurnCommitted,
    VideoFrame,
    decode,
    encode,
)
from omni.session import Session

logger = logging.getLogger(__name__)

FORMAT = 1
_LENGTH = struct.Struct("<I")
#: An event longer than this is not one of ours: the file is damaged.
LONGEST = 64 << 20


class Recorder:
    """Writes a session's events into `folder` until `close`. A full disk ends the recording, not the session."""

    def __init__(self, session: Session, folder: Path, config: Any = None) -> None:
        self.folder = Path(folder)
        self._session = session
        self._media = bool(config.get("record.media", False)) if config is not None else False
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "header.json").write_text(json.dumps(_header(session, config, self._media), indent=1))
        self._file = (self.folder / "events.bin").open("wb", buffering=1 << 16)
        self._untap = session.bus.tap(self._see)

    def _see(self, event: Event) -> None:
        slim = event if self._media else without_media(event)
        if slim is None:
            return
        data = encode(slim)
        try:
            self._file.write(_LENGTH.pack(len(data)) + data)
        except OSError as error:
            self.close()
            logger.warning("recording ended: %s", error)
            text = f"The recording of this conversation ended: {error.strerror}. Free some space to record the next."
            self._session.publish(Notice, topic="record", text=text, level="warning")

    def close(self) -> None:
        """End the recording. Idempotent."""
        self._untap()
        try:
            self._file.close()
        except OSError as error:
            logger.warning("the end of the recording was lost: %s", error)


def without_media(event: Event) -> Event | None:
    """The event without its raw media; None when nothing else is in it."""
    if isinstance(event, AudioIn):
        return None
    if isinstance(event, AudioOut):
        return msgspec.structs.replace(event, pcm=b"")
    if isinstance(event, VideoFrame):
        return msgspec.structs.replace(event, image=b"")
    return event


def _header(session: Session, config: Any, media: bool) -> dict[str, Any]:
    from omni import __version__

    known = session.host.plugins() if hasattr(session.host, "plugins") else []
    records = [record for record in known if record.state in ("loaded", "ready", "degraded")]
    settings = config.as_dict() if hasattr(config, "as_dict") else {}
    return {
        "format": FORMAT,
        "omni": __version__,
        "python": platform.python_version(),
        "began": time.time(),
        "session": session.id,
        "media": media,
        "plugins": {record.id: record.version for record in records},
        "settings": {k: v for k, v in session.settings.items() if isinstance(v, str | int | float | bool)},
        "config": _without_secrets(settings),
    }


def _without_secrets(table: dict[str, Any]) -> dict[str, Any]:
    """Settings whose name says that they are secret stay out of a file that is passed around."""
    kept: dict[str, Any] = {}
    for key, value in table.items():
        if is_secret(key):
            continue
        kept[key] = _without_secrets(value) if isinstance(value, dict) else value
    return kept


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded session, read back."""

    folder: Path
    header: dict[str, Any]
    events: list[Event]
    truncated: bool = False  #: the file ends within an event: the recorder was killed

    @property
    def media(self) -> bool:
        """Whether raw audio and pictures are in it."""
        return bool(self.header.get("media"))


def read_recording(folder: Path) -> Recording:
    """Read a recording. Raises `BadInput` when `folder` holds none, or one that is damaged."""
    folder = Path(folder)
    if not (folder / "header.json").is_file():
        inside = sorted(path.parent for path in folder.glob("*/header.json"))
        if len(inside) != 1:
            hint = "`omni run --record DIR` makes one."
            if inside:
                hint = f"It holds {len(inside)} of them: name one ({', '.join(path.name for path in inside[:5])})."
            raise BadInput(f"{folder} is not a recorded session.", hint)
        folder = inside[0]
    try:
        header = json.loads((folder / "header.json").read_text())
        data = (folder / "events.bin").read_bytes()
    except (OSError, ValueError) as error:
        raise BadInput(f"The recording {folder} can't be read: {error}.", "Record the session again.") from error
    if header.get("format") != FORMAT:
        remedy = "Use the version of Omni that made it."
        raise BadInput(f"The recording {folder} has the format {header.get('format')!r}, not {FORMAT}.", remedy)
    events, whole = _events(data, folder)
    return Recording(folder, header, events, not whole)


def _events(data: bytes, folder: Path) -> tuple[list[Event], bool]:
    """The events of a file, and whether it ends where an event does."""
    events: list[Event] = []
    at = 0
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        if length > LONGEST:
            raise BadInput(f"The recording {folder} is damaged at byte {at:,}.", "Record the session again.")
        chunk = data[at + _LENGTH.size : at + _LENGTH.size + length]
        if len(chunk) < length:
            return events, False
        try:
            events.append(decode(chunk))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise BadInput(f"The recording {folder} is damaged at byte {at:,}: {error}.", "Record it again.") from error
        at += _LENGTH.size + length
    return events, at == len(data)


# --- what a session came to -------------------------------------------------------------------


@dataclass(slots=True)
class TurnSummary:
    """One turn as the diff sees it."""

    turn: int
    asked: str = ""
    answer: str = ""
    heard: str = ""
    cut: bool = False
    tools: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    first_sound_s: float | None = None


def summarise(events: Iterable[Event]) -> list[TurnSummary]:
    """The committed turns in order: what was asked, answered, heard, called, and how long it took."""
    turns: dict[int, TurnSummary] = {}
    committed_at: dict[int, float] = {}
    for event in events:
        if isinstance(event, TurnCommitted):
            turns.setdefault(event.turn, TurnSummary(event.turn)).asked = event.text
            committed_at[event.turn] = event.speech_end or event.at
        elif event.turn in turns:
            _add(turns[event.turn], event, committed_at[event.turn])
        elif isinstance(event, ToolCalled | StageTiming | ToolReturned):  # work on a guess, before the commit
            _add(turns.setdefault(event.turn, TurnSummary(event.turn)), event, event.at)
    return [summary for turn, summary in sorted(turns.items()) if turn in committed_at]


def _add(summary: TurnSummary, event: Event, since: float) -> None:
    if isinstance(event, ReplyFinished):
        summary.answer = event.text
    elif isinstance(event, Spoken):
        summary.heard, summary.cut = event.text, event.cut
    elif isinstance(event, ToolCalled):
        summary.tools.append(f"{event.tool}({json.dumps(event.arguments, sort_keys=True, ensure_ascii=False)})")
    elif isinstance(event, ToolReturned) and event.error:
        summary.tools.append(f"{event.tool} failed: {event.error}")
    elif isinstance(event, StageTiming):
        summary.timings[event.stage] = event.seconds
    elif isinstance(event, AudioOut) and summary.first_sound_s is None:
        summary.first_sound_s = max(0.0, event.at - since)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that changed. `kind` is "transcript", "answer", "tools" or "latency"."""

    turn: int
    kind: str
    before: str
    after: str


def diff(before: list[TurnSummary], after: list[TurnSummary], *, slower: float = 0.25) -> list[Difference]:
    """What changed between two runs of a session.

    Latency is a difference when a turn's first sound, or a stage, got slower by the share `slower` and by
    more than 50 ms; getting faster is none.
    """
    return list(_differences(before, after, slower))


def _differences(before: list[TurnSummary], after: list[TurnSummary], slower: float) -> Iterator[Difference]:
    for index in range(max(len(before), len(after))):
        old = before[index] if index < len(before) else None
        new = after[index] if index < len(after) else None
        turn = (old or new).turn  # type: ignore[union-attr]
        if old is None or new is None:
            yield Difference(turn, "transcript", old.asked if old else "(no turn)", new.asked if new else "(no turn)")
            continue
        if old.asked != new.asked:
            yield Difference(turn, "transcript", old.asked, new.asked)
        if old.answer != new.answer:
            yield Difference(turn, "answer", old.answer, new.answer)
        if old.tools != new.tools:
            yield Difference(turn, "tools", "; ".join(old.tools) or "none", "; ".join(new.tools) or "none")
        times = {"first sound": (old.first_sound_s, new.first_sound_s)}
        times |= {stage: (old.timings.get(stage), new.timings.get(stage)) for stage in {*old.timings, *new.timings}}
        for stage, (was, now) in sorted(times.items()):
            if was is not None and now is not None and now > was * (1 + slower) and now - was > 0.05:
                yield Difference(turn, "latency", f"{stage} {was:.3f} s", f"{stage} {now:.3f} s")
