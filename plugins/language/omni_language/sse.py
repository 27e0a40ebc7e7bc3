"""Server-sent events, as chat servers really send them."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

from omni.errors import ModelError

MAX_EVENT = 4 * 1024 * 1024  #: characters; no honest delta is longer


async def events(chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The JSON objects in a stream of bytes cut anywhere, until `[DONE]` or the end.

    Takes `data:` with and without a space, CR, LF or CRLF line ends, comments (keep-alives), data in
    several lines, and an object that is split in the middle of a character. Raises `ModelError` for
    what is not JSON and for an event without end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    pending = ""
    data: list[str] = []
    async for chunk in chunks:
        pending += decoder.decode(chunk)
        if len(pending) > MAX_EVENT or sum(map(len, data)) > MAX_EVENT:
            raise ModelError("The chat server sent an event without end.", "Check that the address is a chat endpoint.")
        # A trailing CR may be half of a CRLF: it waits for the next chunk.
        held = "\r" if pending.endswith("\r") else ""
        lines = pending[: len(pending) - len(held)].replace("\r\n", "\n").replace("\r", "\n").split("\n")
        pending = lines.pop() + held
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                text, data = "\n".join(data), []
                if text.strip() == "[DONE]":
                    return
                yield parse(text)
    rest = pending.strip()
    if rest.startswith("data:"):
        data.append(rest[5:].strip())
    if data and (text := "\n".join(data).strip()) != "[DONE]":
        yield parse(text)


def parse(text: str) -> dict[str, Any]:
    """One event's object. Raises `ModelError` when it is none."""
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise ModelError(
            f"The chat server sent something that is not JSON: {text[:80]!r}.",
            "Check that the address is an OpenAI-compatible endpoint (it usually ends in /v1).",
        ) from error
    if not isinstance(value, dict):
        raise ModelError(f"The chat server sent {type(value).__name__} where an object belongs: {text[:80]!r}.")
    return value
