"""What travels on the WebSocket: text frames are JSON, binary frames begin with one byte that names them.

| first byte | direction | then |
|---|---|---|
| 1 microphone | page to server | u32 sequence number, 640 bytes: 20 ms of 16 kHz PCM |
| 2 voice | server to page | u32 turn, u32 rate, u64 offset in samples, u32 clause, PCM |
| 3 picture | page to server | u8 source (0 camera, 1 screen), a JPEG or PNG |

Numbers are little-endian and unsigned, PCM is mono signed 16-bit. Events travel as JSON with their
name in `type`; what the page may say is the union `FromPage`.
"""

from __future__ import annotations

import struct
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from omni.errors import BadInput, OmniError
from omni.events import AudioOut, Event

MICROPHONE, VOICE, PICTURE = 1, 2, 3
MIC_RATE = 16_000
#: Samples of one microphone frame (20 ms).
MIC_SAMPLES = 320
#: Bytes of the largest camera or screen frame.
PICTURE_LIMIT = 2_000_000
SOURCES = ("camera", "screen")

_mic = struct.Struct("<BI")
_voice = struct.Struct("<BIIQI")

Text = Annotated[str, Meta(max_length=20_000)]
Name = Annotated[str, Meta(max_length=200)]
Count = Annotated[int, Meta(ge=0, le=2**48)]


class _Message(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """What the page says. Unknown fields are ignored, so that an event's own fields may ride along."""


class Say(_Message, frozen=True):
    """A typed turn, with pictures or documents that were uploaded before."""

    text: Text
    attachments: Annotated[list[Name], Meta(max_length=8)] = []


class Attach(_Message, frozen=True):
    """All uploads that go with the next turn, spoken or typed; those named before and not now are taken back."""

    refs: Annotated[list[Name], Meta(max_length=8)]


class MicMuted(_Message, frozen=True):
    """The microphone was muted or unmuted."""

    muted: bool


class Played(_Message, frozen=True):
    """The loudspeaker has played `samples` of the turn's voice; `final` when it fell silent there."""

    turn: Count
    samples: Count
    final: bool = False


class BargeIn(_Message, frozen=True):
    """The person pressed stop."""


class ApprovalGiven(_Message, frozen=True):
    """Yes or no to a consequential call."""

    call: Name
    digest: Name
    approved: bool


class Drawing(_Message, frozen=True):
    """The person drew on the whiteboard."""

    operations: Annotated[list[dict[str, Any]], Meta(max_length=500)]


class Settings(_Message, frozen=True):
    """Settings of this session alone, e.g. `{"voice": false}`."""

    values: Annotated[dict[Name, bool | int | float | Name], Meta(max_length=32)]


class Call(_Message, frozen=True):
    """A plugin panel calls one of its handlers; the answer is a `Result` with the same `id`."""

    id: Count
    plugin: Name
    method: Name
    params: dict[str, Any] = {}


class Ack(_Message, frozen=True):
    """The page has received so many frames since the session began."""

    received: Count


FromPage = Say | Attach | MicMuted | Played | BargeIn | ApprovalGiven | Drawing | Settings | Call | Ack
_from_page = msgspec.json.Decoder(FromPage)
_to_page = msgspec.json.Encoder()


def decode_text(text: str | bytes) -> FromPage:
    """The message in a text frame. Raises `BadInput` with what is wrong in it."""
    try:
        return _from_page.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadInput(f"The page sent a message that can't be read: {error}.", "Reload the page.") from None


def decode_microphone(frame: bytes) -> tuple[int, bytes]:
    """(sequence number, PCM) of a microphone frame. Raises `BadInput` on any other length than 20 ms at 16 kHz."""
    pcm = frame[_mic.size :]
    if len(frame) < _mic.size or len(pcm) != 2 * MIC_SAMPLES:
        rate = f" They look like {len(pcm) * 25} Hz." if len(pcm) in (882, 960, 1764, 1920) else ""
        raise BadInput(
            f"A microphone frame holds {max(len(pcm), 0)} bytes of sound; 20 ms at 16000 Hz are 640.{rate}",
            "Reload the page; if it stays, choose another microphone.",
        )
    return _mic.unpack_from(frame)[1], pcm


def decode_picture(frame: bytes) -> tuple[str, bytes, int, int]:
    """(source, image, width, height) of a camera or screen frame. Raises `BadInput`."""
    if len(frame) < 2 or frame[1] >= len(SOURCES):
        raise BadInput("A picture came from neither the camera nor the screen.", "Reload the page.")
    image = bytes(frame[2:])
    if len(image) > PICTURE_LIMIT:
        raise BadInput(
            f"A {SOURCES[frame[1]]} picture has {len(image) / 1e6:.1f} MB; {PICTURE_LIMIT / 1e6:.0f} MB fit.",
            "Share a smaller window.",
        )
    width, height = picture_size(image)
    return SOURCES[frame[1]], image, width, height


def picture_size(image: bytes) -> tuple[int, int]:
    """(width, height) in pixels, read from the header of a JPEG or PNG alone. Raises `BadInput`."""
    if image.startswith(b"\x89PNG\r\n\x1a\n") and len(image) >= 24:
        return struct.unpack_from(">II", image, 16)
    if image.startswith(b"\xff\xd8\xff"):
        at = 2
        while at + 9 <= len(image) and image[at] == 0xFF:
            marker, length = image[at + 1], int.from_bytes(image[at + 2 : at + 4], "big")
            if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # a start of frame holds the size
                height, width = struct.unpack_from(">HH", image, at + 5)
                return width, height
            at += 2 + length
    raise BadInput("A picture is neither a JPEG nor a PNG, or its header is damaged.", "Send it again.")


def encode_event(event: Event) -> str:
    """An event as a text frame."""
    return _to_page.encode(event).decode()


def encode_voice(event: AudioOut) -> bytes:
    """A piece of the voice as a binary frame."""
    return _voice.pack(VOICE, event.turn, event.rate, event.offset, event.clause) + event.pcm


def encode_plain(**fields: Any) -> str:
    """A message that is not an event (`Welcome`, `Result`, `Error`, ...) as a text frame."""
    return _to_page.encode(fields).decode()


def encode_error(error: OmniError, *, code: str) -> str:
    """What went wrong with something the page sent: a sentence, and what to do."""
    return encode_plain(type="Error", code=code, message=error.message, remedy=error.remedy)
