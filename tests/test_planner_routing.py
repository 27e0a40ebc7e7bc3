"""Choosing tools: by examples, by words, by the model; cutting requests; learning from corrections."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from omni.capabilities import ChatModel, Embedder, Memory, Moment, Recalled
from omni.errors import CapabilityUnavailable
from omni.planner.choosing import Before, Chooser, goes_on
from omni.planner.selection import NONE, Example, ExampleIndex, Route, embed_words
from omni.planner.split import candidate_cuts, refers_back, split, without_preamble
from omni.testing import FakeHost, ScriptedChat
from omni.tools import Effect, Tool, ToolResult


async def nothing(**_: Any) -> ToolResult:
    return ToolResult("done", say="Done.")


def named(name: str, *examples: str, extract: Any = None) -> Tool:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    return Tool(name, f"Does {name}.", schema, Effect.PURE, nothing, examples=examples, extract=extract)


TOOLS = [
    named("timer", "set a timer for ten minutes", "start a countdown of five minutes"),
    named("photos", "find photos of my cat", "show pictures of the mountains"),
    named("board", "draw a circle on the board", "sketch a house on the board"),
]
#: As near to the photos as to the board.
OPEN = "photos of a circle"

BY_NAME = {tool.name: tool for tool in TOOLS}


class WordEmbedder:
    """Word overlap in place of meaning; counts what it is asked."""

    space, dimension = "text", 1024

    def __init__(self) -> None:
        self.embedded: list[str] = []

    async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> Any:
        self.embedded += texts
        return await embed_words(texts)


def host(*capabilities: Any, tools: Sequence[Tool] = TOOLS) -> FakeHost:
    return FakeHost((Embedder, WordEmbedder()), *capabilities, tools=tools)


async def never(instruction: str, schema: dict[str, Any]) -> str:
    raise AssertionError(f"the model was asked: {instruction}")


async def index_of(tools: Sequence[Tool] = TOOLS, learned: Sequence[Example] = ()) -> ExampleIndex:
    index = ExampleIndex(embed_words)
    await index.prepare(tools, learned)
    return index


async def test_a_clear_lead_decides_without_the_model() -> None:
    parts, route = await Chooser(host()).parts("set a timer for twenty minutes", BY_NAME, never)
    assert [(p.tool, p.how) for p in parts] == [("timer", "example")]
    assert route.margin > 0.07


async def test_small_talk_is_a_class_of_its_own() -> None:
    parts, _ = await Chooser(host()).parts("tell me a story about a dragon", BY_NAME, never)
    assert [p.tool for p in parts] == [NONE]


async def test_what_is_near_to_nothing_needs_no_tool() -> None:
    index = await index_of()
    assert (await index.routes(["zyx wvu tsr"]))[0].decided == NONE


async def test_a_narrow_lead_asks_the_model_about_the_nearest_few() -> None:
    asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        asked.append((instruction, schema))
        return '{"tool": "board"}'

    tools = [*TOOLS, *(named(f"extra{n}", f"polish the {n} silver", f"wash the {n} car") for n in range(46))]
    by_name = {tool.name: tool for tool in tools}
    parts, _ = await Chooser(host(tools=tools)).parts(OPEN, by_name, ask)
    assert [(p.tool, p.how) for p in parts] == [("board", "model")]
    instruction, schema = asked[0]
    choices = schema["properties"]["tool"]["enum"]
    assert len(choices) <= 4 and choices[-1] == NONE and {"photos", "board"} <= set(choices)
    assert len(instruction) < 1200, "with fifty tools the prompt stays short"
    assert '"draw a circle on the board" -> {"tool": "board"}' in instruction


@pytest.mark.parametrize("written", ["", "no json", '{"tool": "rocket"}', '{"other": 1}', "[]"])
async def test_an_answer_that_names_no_tool_is_none(written: str) -> None:
    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        return written

    parts, _ = await Chooser(host()).parts(OPEN, BY_NAME, ask)
    assert parts[0].tool == NONE


async def test_without_a_model_the_nearest_tool_is_taken_only_when_it_is_near() -> None:
    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        raise CapabilityUnavailable("No model.")

    chooser = Chooser(host())
    twins = [named("spoon", "polish the silver spoon"), named("fork", "polish the silver fork")]
    near, _ = await chooser.parts("polish the silver", {tool.name: tool for tool in twins}, ask)
    far, _ = await chooser.parts("pictures, board, whatever and so on it goes", BY_NAME, ask)
    assert near[0].tool in ("spoon", "fork") and far[0].tool == NONE


async def test_a_tool_that_reads_its_words_is_evidence() -> None:
    def read(words: str) -> dict[str, Any] | None:
        return {} | {"n": "42"} if "42" in words else None

    tools = [*TOOLS[:2], named("board", *TOOLS[2].examples, extract=read)]
    by_name = {tool.name: tool for tool in tools}
    parts, _ = await Chooser(host(tools=tools)).parts(f"{OPEN} 42", by_name, never)
    assert [(p.tool, p.how) for p in parts] == [("board", "words")]


async def test_a_tool_that_reads_any_words_is_no_evidence() -> None:
    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        return '{"tool": "photos"}'

    tools = [*TOOLS[:2], named("board", *TOOLS[2].examples, extract=lambda words: {"all": words})]
    by_name = {tool.name: tool for tool in tools}
    parts, _ = await Chooser(host(tools=tools)).parts(OPEN, by_name, ask)
    assert parts[0].tool == "photos"


# --- several requests in one ----------------------------------------------------------------------


async def test_a_request_is_cut_where_both_sides_have_a_tool() -> None:
    parts, _ = await Chooser(host()).parts(
        "set a timer for ten minutes and then draw a circle on the board", BY_NAME, never
    )
    assert [p.tool for p in parts] == ["timer", "board"]
    assert [p.words for p in parts] == ["set a timer for ten minutes", "draw a circle on the board"]


@pytest.mark.parametrize(
    "text",
    ["find photos of my cat and dog", "draw a circle on the board and a house", "show pictures of fish and chips"],
)
async def test_fish_and_chips_stays_whole(text: str) -> None:
    index = await index_of()
    assert len(await split(text, index, lambda route: "")) == 1


async def test_three_parts_are_found() -> None:
    index = await index_of()
    text = "set a timer for ten minutes, then find photos of my cat and draw a circle on the board"
    assert [route.best for route in await split(text, index, lambda route: "")] == ["timer", "photos", "board"]


def test_cuts_need_words_on_both_sides() -> None:
    assert candidate_cuts("and") == [] and candidate_cuts("salt and pepper") == []
    assert candidate_cuts("the root of two thousand and twenty five") == []
    assert candidate_cuts("clear the board and then plot it") == [("clear the board", "plot it")]


def test_back_references_are_seen() -> None:
    assert refers_back("read it to me") and refers_back("what does that mean")
    assert not refers_back("set a timer for ten minutes")


async def test_a_part_that_refers_back_is_bound_to_what_came_before() -> None:
    tools = [*TOOLS, named("read", "read it to me", "read it aloud to me")]
    by_name = {tool.name: tool for tool in tools}
    parts, _ = await Chooser(host(tools=tools)).parts("find photos of my cat and read it to me", by_name, never)
    assert [(p.tool, p.bound) for p in parts] == [("photos", False), ("read", True)]


async def test_what_is_shown_with_a_request_says_what_it_is_about() -> None:
    tools = [
        *TOOLS,
        named("see", "what is in this picture", "who is in this picture"),
        named("read", "what is in this attached document", "summarise this attached document"),
    ]
    by_name = {tool.name: tool for tool in tools}
    chooser = Chooser(host(tools=tools))
    for shown, tool in (("image", "see"), ("document", "read")):
        parts, _ = await chooser.parts("what might that be?", by_name, never, None, shown)
        assert [(p.tool, p.words) for p in parts] == [(tool, "what might that be?")]
    plain, _ = await chooser.parts("set a timer for ten minutes", by_name, never, None, "image")
    assert plain[0].tool == "timer"


# --- learning ---------------------------------------------------------------------------------------


class ListMemory:
    """Moments in a list."""

    def __init__(self) -> None:
        self.moments: dict[str, Moment] = {}

    async def remember(self, moments: Sequence[Moment]) -> list[str]:
        ids = [str(len(self.moments) + n) for n in range(len(moments))]
        self.moments |= dict(zip(ids, moments, strict=True))
        return ids

    async def recall(self, query: str = "", *, sources: Sequence[str] = (), **_: Any) -> list[Recalled]:
        return [Recalled(moment, 1.0) for moment in self.moments.values() if moment.source in sources]

    async def forget(self, ids: Sequence[str] = (), **_: Any) -> int:
        return sum(self.moments.pop(one, None) is not None for one in ids)


async def test_a_correction_becomes_an_example_and_can_be_revoked() -> None:
    memory = ListMemory()
    words = "put a circle up there on the board"
    before, _ = await Chooser(host((Memory, memory))).parts(words, BY_NAME, never)
    assert before[0].tool == "board"
    chooser = Chooser(host((Memory, memory)))
    correction = await chooser.correct(words, "photos")
    for later in (chooser, Chooser(host((Memory, memory)))):  # in this run, and after a restart
        parts, _ = await later.parts(words, BY_NAME, never)
        assert parts[0].tool == "photos"
    await chooser.revoke(correction)
    parts, _ = await chooser.parts(words, BY_NAME, never)
    assert parts[0].tool == "board" and memory.moments == {}


async def test_a_spoken_correction_teaches_what_was_meant() -> None:
    chooser = Chooser(host())
    from omni.planner.choosing import Part

    last = Before("show me my cat", "board")
    meant = chooser.corrected("no, I meant the photos", last, [Part("no, I meant the photos", "photos", "model")])
    assert meant is not None and (meant.text, meant.tool) == ("show me my cat", "photos")
    assert chooser.corrected("show me my dog", last, [Part("show me my dog", "photos", "example")]) is None
    assert chooser.corrected("no thanks", last, [Part("no thanks", NONE, "example")]) is None


async def test_a_request_that_goes_on_is_asked_with_the_last_tool() -> None:
    asked: list[dict[str, Any]] = []

    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        asked.append(schema)
        return '{"tool": "timer"}'

    before = Before("set a timer for ten minutes", "timer")
    parts, _ = await Chooser(host()).parts("make it twenty", BY_NAME, ask, before)
    assert parts[0].tool == "timer" and parts[0].bound
    assert asked[0]["properties"]["tool"]["enum"][0] == "timer"


@pytest.mark.parametrize(
    ("before", "text", "whole"),
    [
        ("convert 10 km to miles", "and 20 km?", "convert 20 km to miles"),
        ("what is 20 percent of 42.50", "make it 30 percent", "what is 30 percent of 42.50"),
        ("how many days until 5 May", "what about 7 June", ""),
        ("what is 5 plus 6", "and 7", ""),
        ("set a timer for 10 minutes", "what about you", ""),
    ],
)
def test_what_plainly_goes_on_needs_no_model(before: str, text: str, whole: str) -> None:
    assert goes_on(before, text) == whole


# --- the vectors on disk --------------------------------------------------------------------------------


async def test_example_vectors_are_kept_on_disk(tmp_path: Any) -> None:
    first, second = WordEmbedder(), WordEmbedder()
    await ExampleIndex(first.embed_text, tmp_path).prepare(TOOLS)
    again = ExampleIndex(second.embed_text, tmp_path)
    await again.prepare(TOOLS)
    assert len(first.embedded) > 50 and len(second.embedded) == 1, "only the probe is embedded again"
    assert (await again.routes(["draw a circle on the board"]))[0].best == "board"


async def test_vectors_of_another_embedder_are_not_used(tmp_path: Any) -> None:
    class Other(WordEmbedder):
        async def embed_text(self, texts: Sequence[str], *, query: bool = False) -> Any:
            self.embedded += texts
            return np.roll(await embed_words(texts), 7, axis=1)

    await ExampleIndex(WordEmbedder().embed_text, tmp_path).prepare(TOOLS)
    other = Other()
    await ExampleIndex(other.embed_text, tmp_path).prepare(TOOLS)
    assert len(other.embedded) > 50


async def test_a_damaged_cache_is_made_anew(tmp_path: Any) -> None:
    await ExampleIndex(WordEmbedder().embed_text, tmp_path).prepare(TOOLS)
    next(tmp_path.glob("*.npz")).write_bytes(b"not a zip")
    index = ExampleIndex(WordEmbedder().embed_text, tmp_path)
    await index.prepare(TOOLS)
    assert (await index.routes(["find photos of my cat"]))[0].best == "photos"


async def test_where_no_embedder_is_installed_words_route() -> None:
    chooser = Chooser(FakeHost(tools=TOOLS))
    parts, _ = await chooser.parts("set a timer for ten minutes", BY_NAME, never)
    assert parts[0].tool == "timer"


async def test_native_models_are_left_their_own_calls() -> None:
    chat = ScriptedChat(native_tools=True)
    parts, _ = await Chooser(host((ChatModel, chat))).parts(OPEN, BY_NAME, never)
    assert parts[0].tool == NONE


def test_the_schema_of_a_choice_is_json() -> None:
    from omni.planner.choosing import which_tool
    from omni.planner.selection import Route

    text = which_tool(Route("draw it", (("board", 0.5),), (Example("draw a house", "board"),)), ["board"], BY_NAME)
    example = next(line for line in text.splitlines() if line.startswith('"draw a house"'))
    assert json.loads(example.split("-> ")[1]) == {"tool": "board"}


def test_what_is_to_come_first_comes_first() -> None:
    cuts = [("keep a copy of it", "wipe the board")]
    assert candidate_cuts("wipe the board but keep a copy of it first") == cuts
    assert candidate_cuts("wipe the board, but first keep a copy of it") == cuts


@pytest.mark.parametrize(
    "text",
    [
        "which shop sold me this, and on what date?",  # one more question about the same thing
        "find photos of my cat and show them to me",  # how to give the result
        "I drew a circle somewhere and can't find photos of it",  # a statement sets the scene
        "find photos of my cat and can't tell the board from a circle",
        "in the photos of my cat, which circle on the board is largest",
    ],
)
async def test_what_belongs_together_stays_whole(text: str) -> None:
    routes = await split(text, await index_of(), lambda _: "")
    assert [route.text for route in routes] == [text]


async def test_one_more_of_the_same_is_a_part_of_its_own() -> None:
    text = "set a timer for ten minutes and another one of five minutes"
    index = await index_of()
    assert len(await split(text, index, lambda route: "timer" if "minutes" in route.text else "")) == 2
    assert len(await split(text, index, lambda route: "")) == 1


@pytest.mark.parametrize("score", [0.02, 0.5])
async def test_a_wide_lead_is_believed_without_arguments(score: float) -> None:
    async def ask(instruction: str, schema: dict[str, Any]) -> str:
        return '{"tool": "none"}'

    tools = {"timer": named("timer", *TOOLS[0].examples, extract=lambda _: None), "photos": TOOLS[1]}
    route = Route("switch the thing off", (("timer", 0.3 + score), ("photos", 0.3)))
    chosen, _ = await Chooser(host()).choose(route, tools, ask)
    assert chosen == ("timer" if score > 0.1 else NONE)


def test_stop_is_a_courtesy_only_by_itself() -> None:
    assert without_preamble("stop, what time is it now") == "what time is it now"
    assert without_preamble("stop the timer for the pasta") == "stop the timer for the pasta"
