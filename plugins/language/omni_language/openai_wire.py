"""Messages, deltas and tool calls as the chat-completions protocol writes them."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

from omni.capabilities import Message
from omni.errors import BadInput, ModelError


def openai_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """Raises `BadInput` when there are none."""
    if not messages:
        raise BadInput("There is nothing to answer: no messages.")
    return [_message(message) for message in messages]


def _message(message: Message) -> dict[str, Any]:
    wire: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.images:
        wire["content"] = [{"type": "text", "text": message.content}, *map(_image, message.images)]
    if message.tool_calls:
        wire["tool_calls"] = [
            {
                "id": call.get("id") or f"call_{index}",
                "type": "function",
                "function": {"name": call.get("name", ""), "arguments": json.dumps(call.get("arguments", {}))},
            }
            for index, call in enumerate(message.tool_calls)
        ]
    if message.role == "tool":
        wire["tool_call_id"] = message.tool_call_id or "call_0"
    if message.name:
        wire["name"] = message.name
    return wire


def _image(data: bytes) -> dict[str, Any]:
    kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{base64.b64encode(data).decode()}"}}


def schema_in_words(messages: list[dict[str, Any]], schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The messages with the schema told, for an endpoint that can't enforce one."""
    told = f"Answer with one JSON object and nothing else. It must fit this JSON schema:\n{json.dumps(schema)}"
    if messages[0]["role"] == "system" and isinstance(messages[0]["content"], str):
        first = {**messages[0], "content": f"{messages[0]['content']}\n\n{told}"}
        return [first, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]


def delta_of(event: dict[str, Any]) -> tuple[str, list[dict[str, Any]], str]:
    """(text, pieces of tool calls, reason to finish) of one event; the last one may have no choices at all."""
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        return "", [], ""
    delta = choices[0].get("delta") or {}
    text = delta.get("content") or ""
    pieces = delta.get("tool_calls") or []
    if not isinstance(text, str) or not isinstance(pieces, list):
        raise ModelError("The chat endpoint sent a delta of another shape than the protocol's.", "Update it.")
    return text, [piece for piece in pieces if isinstance(piece, dict)], choices[0].get("finish_reason") or ""


class ToolCalls:
    """Tool calls that arrive in pieces: by index, the arguments a few characters at a time."""

    def __init__(self) -> None:
        self._calls: dict[int, dict[str, str]] = {}

    def add(self, pieces: Sequence[dict[str, Any]]) -> None:
        """Take what one delta holds. A piece without an index goes on with the last call, unless it has a new id."""
        for piece in pieces:
            index = piece.get("index")
            if not isinstance(index, int):
                last = max(self._calls, default=-1)
                fresh = last < 0 or (piece.get("id") and piece["id"] != self._calls[last]["id"])
                index = last + 1 if fresh else last
            call = self._calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
            function = piece.get("function") or {}
            call["id"] = piece.get("id") or call["id"]
            name = function.get("name") or ""
            # Some send the name once, some in pieces, some whole with every piece.
            call["name"] = name if name.startswith(call["name"]) else call["name"] + name
            arguments = function.get("arguments") or ""
            call["arguments"] += arguments if isinstance(arguments, str) else json.dumps(arguments)

    def whole(self) -> list[dict[str, Any]]:
        """The calls in order. Raises `ModelError` for arguments that are no JSON object."""
        result = []
        for index, call in sorted(self._calls.items()):
            try:
                arguments = json.loads(call["arguments"] or "{}")
            except json.JSONDecodeError:
                arguments = None
            if not isinstance(arguments, dict):
                raise ModelError(
                    f"The model called {call['name']} with arguments that are not JSON: {call['arguments'][:80]!r}.",
                    "Ask again, or use a model that is trained for tools.",
                )
            result.append({"id": call["id"] or f"call_{index}", "name": call["name"], "arguments": arguments})
        return result
