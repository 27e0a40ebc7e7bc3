"""A message's body in the embedded broker: read at once, passed on as it is, never written out.

amqtt 0.12 formats every message it passes on for a log line, also when nobody reads the log: for a frame of
2.8 MB that is 11 MB of text, and two thirds of the broker's time. It also copies a body twice while it reads it.
"""

from __future__ import annotations

from typing import Any

from amqtt.codecs_amqtt import read_or_raise
from amqtt.mqtt.publish import PublishPacket, PublishPayload


class Body(bytes):
    """Bytes whose description is their length."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"

    def __bytes__(self) -> bytes:
        return self  # no copy for amqtt's bytes(body)


class OnePiece(PublishPayload):
    """amqtt's payload of a PUBLISH, read in one piece."""

    @classmethod
    async def from_stream(cls, reader: Any, fixed_header: Any, variable_header: Any) -> OnePiece:
        """The body, whose length the two headers tell."""
        size = fixed_header.remaining_length - variable_header.bytes_length
        return cls(Body(await read_or_raise(reader, size)) if size > 0 else Body())


def use() -> None:
    """Let amqtt, in this process, read bodies this way."""
    PublishPacket.PAYLOAD = OnePiece
