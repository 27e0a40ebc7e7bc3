"""The vocabulary: every message on the bus, one small frozen struct each.

Every event belongs to a turn: `(session, turn, revision)` rides on all of them, and `at` is the
session time in seconds at which it was true. A turn is one exchange: what the person said and
what was answered. A revision counts attempts at the same turn: when speech resumes after a pause
that looked like the end, the revision goes up and work that carries the old one is dead.

Audio is mono signed 16-bit little-endian PCM everywhere on the bus.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True, omit_defaults=True):
    """What every message carries."""

    session: str = ""
    turn: int = 0
    revision: int = 0
    at: float = 0.0


# --- hearing ----------------------------------------------------------------------------------


class AudioIn(Event, frozen=True, kw_only=True):
    """20 ms of microphone: `pcm` at 16 kHz; `seq` counts frames since the microphone was opened."""

    pcm: bytes
    seq: int


class AudioGap(Event, frozen=True, kw_only=True):
    """`samples` of microphone are missing: dropped on overflow, lost on the way, or never sent."""

    samples: int
    reason: str


class MicMuted(Event, frozen=True, kw_only=True):
    """The person muted (or unmuted) the microphone."""

    muted: bool


class SpeechStarted(Event, frozen=True, kw_only=True):
    """The person began to speak at `at`."""


class SpeechPaused(Event, frozen=True, kw_only=True):
    """Speech fell silent at `at`; it may resume."""


class PartialTranscript(Event, frozen=True, kw_only=True):
    """What has been heard so far. `stable` is the prefix of `text` that will not change."""

    text: str
    stable: str = ""


class TurnSpeculated(Event, frozen=True, kw_only=True):
    """The turn looks finished. Work may start, nothing may be heard or changed yet."""

    text: str


class TurnRevised(Event, frozen=True, kw_only=True):
    """Speech resumed: every revision below this event's is dead."""


class Attachment(msgspec.Struct, frozen=True, kw_only=True):
    """Something shown with a turn: an image, a frame, a document. `ref` names the stored bytes."""

    kind: Literal["image", "camera", "screen", "document", "drawing"]
    ref: str
    name: str = ""
    mime: str = ""


class TurnCommitted(Event, frozen=True, kw_only=True):
    """The turn is certain. `source` says how it came; `speech_end` is when speech really ended."""

    text: str
    source: Literal["voice", "text", "task"] = "voice"
    speech_end: float = 0.0
    attachments: tuple[Attachment, ...] = ()


class TurnDropped(Event, frozen=True, kw_only=True):
    """What sounded like a turn was none: noise, a cough, Omni's own voice."""

    reason: str


class BargeIn(Event, frozen=True, kw_only=True):
    """The person talks over the answer of `turn` and means to: stop now."""

    reason: Literal["speech", "key", "text"] = "speech"


class Backchannel(Event, frozen=True, kw_only=True):
    """ "Mm-hm": the person listens. Nothing stops."""

    text: str


# --- seeing -----------------------------------------------------------------------------------


class VideoFrame(Event, frozen=True, kw_only=True):
    """One encoded frame (JPEG or PNG) of the camera or the screen."""

    source: Literal["camera", "screen"]
    image: bytes
    width: int
    height: int


# --- thinking ---------------------------------------------------------------------------------


class PlanUpdated(Event, frozen=True, kw_only=True):
    """The plan of this turn as it stands, ready for JSON (see `planner.plan`)."""

    plan: dict[str, Any]


class ToolCalled(Event, frozen=True, kw_only=True):
    """A tool is about to run."""

    call: str
    tool: str
    arguments: dict[str, Any]


class ToolReturned(Event, frozen=True, kw_only=True):
    """A tool answered, or failed with a sentence in `error`."""

    call: str
    tool: str
    result: Any = None
    error: str = ""
    seconds: float = 0.0


class ApprovalAsked(Event, frozen=True, kw_only=True):
    """A consequential call waits for a yes, bound to exactly this tool, target and arguments."""

    call: str
    tool: str
    arguments: dict[str, Any]
    sentence: str
    digest: str


class ApprovalGiven(Event, frozen=True, kw_only=True):
    """A person's answer to `ApprovalAsked`; `digest` must be the one that was asked about."""

    call: str
    digest: str
    approved: bool


class TextDelta(Event, frozen=True, kw_only=True):
    """More of the answer's text."""

    text: str


class ReplyFinished(Event, frozen=True, kw_only=True):
    """The answer's text is complete: `text` is all of it."""

    text: str
    reason: Literal["done", "cut", "failed"] = "done"


# --- speaking ---------------------------------------------------------------------------------


class WordSpan(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One spoken word, with its place in seconds from the start of its clause's audio."""

    word: str
    start: float
    end: float


class AudioOut(Event, frozen=True, kw_only=True):
    """A piece of the answer's voice.

    `offset` is its first sample's position in the turn's audio; `text` and `words` belong to the
    clause and ride on its first piece only.
    """

    pcm: bytes
    rate: int
    offset: int
    clause: int
    text: str = ""
    words: tuple[WordSpan, ...] = ()


class AudioFlush(Event, frozen=True, kw_only=True):
    """Stop the loudspeaker now and throw away what waits."""


class AudioHold(Event, frozen=True, kw_only=True):
    """Someone may be about to interrupt: the loudspeaker waits where it is (`held`), or goes on from there.

    An `AudioFlush` ends it too, and a loudspeaker goes on by itself after two seconds.
    """

    held: bool


class Played(Event, frozen=True, kw_only=True):
    """The loudspeaker has played `samples` of the turn's audio; `final` when it fell silent."""

    samples: int
    final: bool = False


class Spoken(Event, frozen=True, kw_only=True):
    """Exactly the words that were played so far. `cut` when the answer ended there."""

    text: str
    final: bool = False
    cut: bool = False


# --- drawing ----------------------------------------------------------------------------------


class Drawing(Event, frozen=True, kw_only=True):
    """Whiteboard operations, ready for JSON. With `words` set, they appear when that phrase is heard."""

    operations: tuple[dict[str, Any], ...]
    author: Literal["omni", "person"] = "omni"
    words: str = ""


# --- the house itself -------------------------------------------------------------------------


class StageTiming(Event, frozen=True, kw_only=True):
    """How long one stage of a turn took, for the latency strip."""

    stage: str
    seconds: float


class Notice(Event, frozen=True, kw_only=True):
    """A sentence for the person: what can't be done at present and what to do. Empty text clears `topic`."""

    topic: str
    text: str
    level: Literal["info", "warning", "error"] = "info"


class PluginChanged(Event, frozen=True, kw_only=True):
    """A plugin entered a new state."""

    plugin: str
    state: str
    reason: str = ""


class SessionClosed(Event, frozen=True, kw_only=True):
    """The session is over; nothing follows."""


class Custom(Event, frozen=True, kw_only=True):
    """What a plugin says to its own panel. `topic` begins with the plugin's id and a dot."""

    topic: str
    payload: dict[str, Any]


#: Control events go first in every mailbox and are never dropped.
CONTROL: tuple[type[Event], ...] = (BargeIn, AudioFlush, AudioHold, MicMuted, TurnRevised, ApprovalGiven, SessionClosed)

ALL: tuple[type[Event], ...] = tuple(Event.__subclasses__())

AnyEvent = (
    AudioIn | AudioGap | MicMuted | SpeechStarted | SpeechPaused | PartialTranscript | TurnSpeculated | TurnRevised
    | TurnCommitted | TurnDropped | BargeIn | Backchannel | VideoFrame | PlanUpdated | ToolCalled | ToolReturned
    | ApprovalAsked | ApprovalGiven | TextDelta | ReplyFinished | AudioOut | AudioFlush | AudioHold | Played | Spoken
    | Drawing | StageTiming | Notice | PluginChanged | SessionClosed | Custom
)  # fmt: skip

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AnyEvent)


def encode(event: Event) -> bytes:
    """The event as MessagePack, its type in the `type` field."""
    return _encoder.encode(event)


def decode(data: bytes) -> Event:
    """The event in `data`. Raises `msgspec.ValidationError` or `msgspec.DecodeError` on anything else."""
    return _decoder.decode(data)
