"""A tool's arguments, from the words.

Certain ways first: what the tool itself reads out of the words (`Tool.extract`), then fields that
are the request itself. Only the rest is written by the model, under the tool's schema as a grammar,
so that it always fits; and where a field is a quotation (`"x-copy": "span"` in the schema) the words
are taken from the request, not from the model's memory of it.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from omni.errors import BadInput
from omni.tools import Tool, validate_arguments

#: How a field says that it quotes: "request" is all of the words, "span" a part of them.
COPY = "x-copy"
#: Field names that mean "what was asked", when they are all that a tool requires.
_ASKED = frozenset({"question", "request", "problem"})
#: Field names of a search: the words, without the asking.
_SEARCHED = frozenset({"query"})
_SEARCH_VERBS = re.compile(
    r"^\W*(?:(?:please|hey|ok|okay|omni|can you|could you|would you|and|then|also)\b\W*)*"
    r"(?:(?:find|search|look|show|get|give|fetch|locate|bring|jump|go|recall)\b(?: up| for| me| through| to)*"
    r"|do (?:i|we|you) (?:still )?(?:have|know|remember)|is there|are there|where (?:is|are|was|did))?\s*",
    re.IGNORECASE,
)

#: Asks the model for JSON that fits a schema: (instruction, schema) -> text.
AskJson = Callable[[str, dict[str, Any]], Awaitable[str]]


async def arguments_for(tool: Tool, words: str, ask: AskJson, *, context: str = "") -> tuple[dict[str, Any], str]:
    """The arguments for this tool and how they were found: "words" or "model".

    `words` is the part of the request the tool serves, `context` what came before (results of earlier
    steps). Raises `BadInput` when the model can't be brought to arguments that fit.
    """
    found = certain(tool, words)
    if found is not None:
        return found, "words"
    failed = ""
    for _ in range(2):
        written = await ask(instruction(tool, failed), grammar(tool))
        try:
            arguments = quote(tool, json.loads(written), words, context)
            return validate_arguments(tool, arguments), "model"
        except (json.JSONDecodeError, BadInput) as error:
            failed = str(error)
    wanted = tool.name.replace("_", " ")
    raise BadInput(f"I understood that you want {wanted}, but not the details: {failed}", "Say it differently.")


def certain(tool: Tool, words: str) -> dict[str, Any] | None:
    """Arguments that need no model: read by the tool from the words, none at all, or the words themselves."""
    if tool.extract is not None and (read := tool.extract(words)) is not None:
        try:
            return validate_arguments(tool, read)
        except BadInput:
            return None
    properties: dict[str, Any] = tool.parameters.get("properties", {})
    if not properties:
        return {}
    required = tool.parameters.get("required", [])
    copies = {name for name, schema in properties.items() if schema.get(COPY) == "request"}
    if len(required) == 1 and required[0] in _ASKED and properties[required[0]].get("type") == "string":
        copies.add(required[0])
    if len(required) == 1 and required[0] in _SEARCHED and properties[required[0]].get("type") == "string":
        return {required[0]: _SEARCH_VERBS.sub("", words, count=1).strip(" ?!.") or words.strip()}
    if copies and set(required) <= copies:
        return {name: words.strip() for name in copies}
    return None


def grammar(tool: Tool) -> dict[str, Any]:
    """The schema the model writes under: the tool's own, without what only Omni reads."""
    return _strip(tool.parameters)


def _strip(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {key: _strip(value) for key, value in schema.items() if not str(key).startswith("x-")}
    return [_strip(item) for item in schema] if isinstance(schema, list) else schema


def instruction(tool: Tool, failed: str = "") -> str:
    """What the model is asked: to fill in the fields from the words."""
    lines = [f"Fill in the arguments of {tool.name} ({tool.description.rstrip('.')}) for this request, as JSON."]
    required = tool.parameters.get("required", [])
    for name, schema in tool.parameters.get("properties", {}).items():
        kind = schema.get("type", "value") if "enum" not in schema else "one of " + ", ".join(map(str, schema["enum"]))
        optional = "" if name in required else ", leave out unless it was said"
        lines.append(f"- {name} ({kind}{optional}): {schema.get('description', name)}")
    lines.append("Use only words and numbers from the request.")
    if failed:
        lines.append(f"The last attempt did not fit: {failed}")
    return "\n".join(lines)


def quote(tool: Tool, arguments: Any, words: str, context: str) -> Any:
    """Replace each quotation field by the very words it quotes."""
    if not isinstance(arguments, dict):
        return arguments
    for name, schema in tool.parameters.get("properties", {}).items():
        value = arguments.get(name)
        if schema.get(COPY) == "request":
            arguments[name] = words.strip()
        elif schema.get(COPY) == "span" and isinstance(value, str):
            arguments[name] = nearest_span(value, words) or nearest_span(value, context) or words.strip()
    return arguments


def nearest_span(value: str, source: str) -> str:
    """The words of `source` that `value` is a copy of; empty when it is none.

    A small model drops or bends a word when it copies; the span it meant is still found.
    """
    wanted = _words(value)
    if not wanted or not source:
        return ""
    spoken = list(re.finditer(r"[\w'./:@\\-]*\w", source))
    plain = [_plain(match.group()) for match in spoken]
    best, span = 0.0, (0, 0)
    for width in range(max(1, len(wanted) - 2), len(wanted) + 3):
        for start in range(0, len(plain) - width + 1):
            window = plain[start : start + width]
            ratio = difflib.SequenceMatcher(None, wanted, window, autojunk=False).ratio()
            # "notes 2025.txt" for "Notes-2025.txt": other words, the same letters
            letters = difflib.SequenceMatcher(None, " ".join(wanted), " ".join(window), autojunk=False).ratio()
            ratio = max(ratio, letters * 0.95 if letters > 0.8 else 0.0)
            if ratio > best:
                best, span = ratio, (start, start + width)
    if best < 0.6:
        return ""
    return source[spoken[span[0]].start() : spoken[span[1] - 1].end()]


def _words(text: str) -> list[str]:
    return [_plain(match) for match in re.findall(r"[\w'./:@\\-]*\w", text)]


def _plain(word: str) -> str:
    return word.lower().strip("'.:-")
