"""The plugin as the host sees it, and the honesty of its examples."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import omni_tools
import pytest
from omni_tools.plugin import plugin

from omni.tools import Effect, ToolContext, validate_arguments

PACKAGE = Path(omni_tools.__file__).parent
MANIFEST = tomllib.loads((PACKAGE / "plugin.toml").read_text("utf-8"))
BENCHMARKS = PACKAGE.parents[1] / "benchmarks"


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, Any]:
    context = SimpleNamespace(id="tools", config={}, data=tmp_path, models=None, host=None)
    return {tool.name: tool for tool in plugin.omni_tools(context)}  # type: ignore[arg-type]


def test_the_manifest_announces_exactly_what_is_registered(tools: dict[str, Any]) -> None:
    announced = {entry["name"]: entry["effect"] for entry in MANIFEST["tools"]}
    assert announced == {name: tool.effect.value for name, tool in tools.items()}


@pytest.mark.parametrize("entry", MANIFEST["tools"], ids=lambda entry: entry["name"])
def test_every_tool_has_enough_varied_examples(entry: dict[str, Any]) -> None:
    examples = entry["examples"]
    assert len(examples) >= 8 and len({plain(e) for e in examples}) == len(examples)
    assert len({example.split()[0].lower() for example in examples}) >= 4, "they should not all begin alike"


def test_no_example_serves_two_tools() -> None:
    seen: dict[str, str] = {}
    for entry in MANIFEST["tools"]:
        for example in entry["examples"]:
            assert seen.setdefault(plain(example), entry["name"]) == entry["name"], example


def test_no_example_is_a_benchmark_request() -> None:
    from omni.planner.smalltalk import NO_TOOL_EXAMPLES

    path = BENCHMARKS / "planner_requests.toml"
    if not path.exists():
        pytest.skip("the benchmarks are not part of this installation")
    requests = {plain(request["text"]) for request in tomllib.loads(path.read_text("utf-8"))["request"]}
    declared = [example for entry in MANIFEST["tools"] for example in entry["examples"]]
    for spec in tomllib.loads((BENCHMARKS / "planner_specs.toml").read_text("utf-8"))["tool"]:
        declared += spec["examples"]
    assert not requests & {plain(example) for example in (*declared, *NO_TOOL_EXAMPLES)}


def test_what_changes_something_says_so(tools: dict[str, Any]) -> None:
    for name in ("set_timer", "set_reminder", "cancel_timer"):
        assert tools[name].effect is Effect.MUTATING
    assert tools["fetch_page"].effect is Effect.IDEMPOTENT
    for name in ("calculate", "tell_time", "read_file", "find_files", "list_files"):
        assert tools[name].effect is Effect.PURE


def test_what_is_read_from_the_words_fits_the_schema(tools: dict[str, Any]) -> None:
    said = {
        "calculate": "what is 20 percent of 42.50",
        "set_timer": "set a timer for ten minutes",
        "set_reminder": "remind me in ten minutes to check the oven",
        "cancel_timer": "cancel the tea timer",
        "days_until": "how many days until Easter",
        "fetch_page": "open the website wikipedia.org",
    }
    for name, words in said.items():
        read = tools[name].extract(words)
        assert read is not None, name
        validate_arguments(tools[name], read)
        assert tools[name].extract("tell me a story about a dragon") is None


async def test_the_calculator_answers_by_itself(tools: dict[str, Any]) -> None:
    result = await tools["calculate"]({"expression": "20 % of 42.50"}, ToolContext())
    assert result.say == "That's 8.50." and result.value["exact"] == "17/2" and result.trusted


def plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))
