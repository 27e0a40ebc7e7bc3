"""Messages as a model's chat template wants them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from omni.capabilities import Message
from omni.errors import BadInput

#: Marks where an unfinished message ends, so that the text a template puts behind it can be cut off.
#: Two private-use characters: they occur in no text, and no template escapes them.
END = "\ue0f1\ue0f2"

#: What chat templates use to end a turn and begin another. In a document or a transcript such a string would let
#: its writer speak as someone else, so it is taken apart before it reaches the tokenizer.
CONTROL = re.compile(r"<\|([^|<>\s]{1,40})\|>|<(/?s|/?bos|/?eos|start_of_turn|end_of_turn)>|\[(/?INST)\]")


def defuse(text: str) -> str:
    """`text` without strings the tokenizer takes for control tokens; readable all the same."""
    return CONTROL.sub(lambda match: f"‹{match[1] or match[2] or match[3]}›", text.replace(END, ""))


def wire_messages(messages: Sequence[Message]) -> list[dict[str, str]]:
    """As role and content alone, which every template knows.

    A tool's result becomes a user turn and a call becomes the assistant's text, in the tags that the
    models trained with tools use. Raises `BadInput` for no messages and for images.
    """
    if not messages:
        raise BadInput("There is nothing to answer: no messages.")
    wire = []
    for message in messages:
        if message.images:
            raise BadInput("This chat model can't see images.", "Ask a vision model.")
        role, content = message.role, defuse(message.content)
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        for call in message.tool_calls:
            arguments = {"name": call.get("name", ""), "arguments": call.get("arguments", {})}
            content += f"\n<tool_call>\n{defuse(json.dumps(arguments, ensure_ascii=False))}\n</tool_call>"
        wire.append({"role": role, "content": content.strip() if role != "user" else content})
    return wire


def unfinished(messages: Sequence[Message]) -> list[dict[str, str]]:
    """Like `wire_messages`, with `END` where the last message is expected to go on.

    A last message of the user goes on; after any other the user is the next to speak.
    """
    wire = wire_messages(messages)
    if wire[-1]["role"] != "user":
        wire.append({"role": "user", "content": ""})
    wire[-1]["content"] = wire[-1]["content"].rstrip() + END
    return wire


def cut(rendered: str) -> str:
    """The part of a rendered prompt before `END`."""
    head, found, _ = rendered.rpartition(END)
    return head if found else ""


def shared_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two sequences begin with in common."""
    length = min(len(left), len(right))
    if left[:length] == right[:length]:
        return length
    return next(i for i in range(length) if left[i] != right[i])
