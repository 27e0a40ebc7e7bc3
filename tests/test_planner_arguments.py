"""Arguments: from the words where that is certain, else from the model under the tool's schema."""

from __future__ import annotations

import json
from typing import Any

import pytest

from omni.errors import BadInput
from omni.planner.arguments import arguments_for, grammar, nearest_span
from omni.planner.permissions import spoken_answer
from omni.planner.prompt import render_result, time_note, user_content
from omni.tools import Effect, Tool, ToolResult


async def nothing(**_: Any) -> ToolResult:
    return ToolResult("done")


def tool_with(properties: dict[str, Any], required: list[str] | None = None, extract: Any = None) -> Tool:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties) if required is None else required,
        "additionalProperties": False,
    }
    return Tool("thing", "Does a thing.", schema, Effect.PURE, nothing, extract=extract)


class Model:
    """Answers with the given texts, one after the other."""

    def __init__(self, *texts: Any) -> None:
        self.texts = [text if isinstance(text, str) else json.dumps(text) for text in texts]
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def __call__(self, instruction: str, schema: dict[str, Any]) -> str:
        self.asked.append((instruction, schema))
        return self.texts.pop(0)


STRING = {"type": "string"}
SPAN = {"type": "string", "x-copy": "span"}


async def test_what_the_tool_reads_from_the_words_needs_no_model() -> None:
    tool = tool_with({"n": {"type": "integer"}}, extract=lambda words: {"n": 7})
    assert await arguments_for(tool, "seven please", Model()) == ({"n": 7}, "words")


async def test_what_the_tool_reads_is_validated() -> None:
    tool = tool_with({"n": {"type": "integer"}}, extract=lambda words: {"n": "seven"})
    assert await arguments_for(tool, "seven please", Model({"n": 7})) == ({"n": 7}, "model")


async def test_a_tool_without_parameters_needs_none() -> None:
    assert await arguments_for(tool_with({}), "anything", Model()) == ({}, "words")


@pytest.mark.parametrize("name", ["question", "request", "problem"])
async def test_a_question_is_the_words_themselves(name: str) -> None:
    found, how = await arguments_for(tool_with({name: STRING}), "what is on my desk?", Model())
    assert (found, how) == ({name: "what is on my desk?"}, "words")


async def test_a_search_is_the_words_without_the_asking() -> None:
    found, _ = await arguments_for(tool_with({"query": STRING}), "please find photos of my cat", Model())
    assert found == {"query": "photos of my cat"}


async def test_a_quotation_is_copied_from_the_request() -> None:
    tool = tool_with({"path": SPAN, "n": {"type": "integer"}})
    found, _ = await arguments_for(tool, "read Notes-2025.txt twice", Model({"path": "notes 2025.txt", "n": 2}))
    assert found == {"path": "Notes-2025.txt", "n": 2}


async def test_an_invented_quotation_becomes_the_request() -> None:
    tool = tool_with({"path": SPAN, "n": {"type": "integer"}})
    found, _ = await arguments_for(tool, "read my diary", Model({"path": "/etc/passwd", "n": 1}))
    assert found["path"] == "read my diary"


async def test_a_quotation_may_come_from_an_earlier_result() -> None:
    tool = tool_with({"path": SPAN, "n": {"type": "integer"}})
    model = Model({"path": "/kitchen/recipe.txt", "n": 1})
    found, _ = await arguments_for(tool, "read it", model, context='[find_files: ["/kitchen/recipe.txt"]]')
    assert found["path"] == "/kitchen/recipe.txt"


async def test_what_does_not_fit_is_asked_once_more_then_told() -> None:
    tool = tool_with({"n": {"type": "integer", "minimum": 1}})
    model = Model({"n": 0}, {"n": 3})
    assert await arguments_for(tool, "three", model) == ({"n": 3}, "model")
    assert "minimum" in model.asked[1][0]
    with pytest.raises(BadInput, match="not the details"):
        await arguments_for(tool, "three", Model("{", "[]"))


async def test_the_grammar_is_the_schema_without_our_own_marks() -> None:
    tool = tool_with({"path": SPAN, "items": {"type": "array", "items": SPAN}})
    assert "x-copy" not in json.dumps(grammar(tool))
    assert grammar(tool)["required"] == ["path", "items"]


@pytest.mark.parametrize(
    ("value", "source", "span"),
    [
        ("pasta", "a timer for the Pasta, please", "Pasta"),
        ("call anna tomorow", "remind me to call Anna tomorrow", "call Anna tomorrow"),
        ("something else", "remind me to call Anna", ""),
        ("", "words", ""),
        ("words", "", ""),
        ("python.org/downloads", "open python.org/downloads now", "python.org/downloads"),
    ],
)
def test_nearest_span(value: str, source: str, span: str) -> None:
    assert nearest_span(value, source) == span


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", True), ("Yes, please.", True), ("okay do it", True), ("go ahead", True), ("no", False),
        ("No, don't", False), ("stop", False), ("wait", False), ("yes but make it two", None), ("", None),
        ("what would that cost", None), ("yesterday was fine", None), ("sure, the other one instead", None),
        ("I said no such thing", None),
    ],
)  # fmt: skip
def test_a_spoken_answer_is_clear_or_none(text: str, answer: bool | None) -> None:
    assert spoken_answer(text) is answer


def test_the_time_is_told_only_where_it_matters() -> None:
    assert time_note("why is the sky blue", 1_800_000_000.0) == ""
    assert "2027" in time_note("what day is tomorrow", 1_800_000_000.0)
    told = user_content("what day is tomorrow", ["[a: b]"], ["(now)"])
    assert told == "what day is tomorrow\n[a: b]\n(now)", "the words come first: they are what was prefilled"


def test_a_long_result_is_cut() -> None:
    assert len(render_result("page", "x" * 100_000, trusted=False)) < 3000
    assert render_result("page", None, trusted=True, error="It is gone.") == "[page failed: It is gone.]"
