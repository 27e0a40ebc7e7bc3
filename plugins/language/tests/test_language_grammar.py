"""JSON schemas for llama.cpp's grammar builder."""

from __future__ import annotations

import jsonschema
import pytest
from language_schemas import FITTING, NASTY
from omni_language.grammar import MAX_ITEMS, MAX_STRING, grammar_schema

from omni.errors import BadInput


@pytest.mark.parametrize("name", NASTY)
def test_what_comes_out_is_a_schema_still_and_what_fitted_fits(name):
    bounded = grammar_schema(NASTY[name])
    jsonschema.Draft202012Validator.check_schema(bounded)
    if name in FITTING:
        jsonschema.validate(FITTING[name], NASTY[name])
        jsonschema.validate(FITTING[name], bounded)


def test_what_has_no_bound_gets_one():
    bounded = grammar_schema({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "array"}}})
    assert bounded["properties"]["a"]["maxLength"] == 512 // 3 < MAX_STRING
    assert bounded["properties"]["b"]["maxItems"] == MAX_ITEMS
    assert bounded["additionalProperties"] is False


def test_bounds_that_are_there_stay():
    bounded = grammar_schema({"type": "string", "minLength": 3, "maxLength": 5})
    assert (bounded["minLength"], bounded["maxLength"]) == (3, 5)


def test_a_property_may_be_called_like_a_keyword():
    bounded = grammar_schema({"type": "object", "properties": {"title": {"type": "string"}, "not": {"type": "null"}}})
    assert set(bounded["properties"]) == {"title", "not"}


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ([], "is an object"),
        ({"enum": []}, "empty `enum`"),
        ({"type": "object", "properties": {"a": 3}}, "where a schema that something fits"),
        ({"$ref": "http://example.org/x.json"}, "outside itself"),
        ({"type": "string", "minLength": 9, "maxLength": 3}, "at least 9 and at most 3"),
        ({"type": "array", "minItems": 2, "maxItems": 1}, "at least 2 and at most 1"),
    ],
)
def test_what_nothing_can_fit_is_refused(schema, says):
    with pytest.raises(BadInput, match=says):
        grammar_schema(schema)


def test_all_of_is_merged_so_that_it_can_be_closed():
    bounded = grammar_schema(NASTY["all of"])
    assert set(bounded["properties"]) == {"a", "b"} and bounded["additionalProperties"] is False
    assert bounded["required"] == ["a", "b"]


def test_a_schema_without_end_is_refused():
    schema: dict = {"type": "string"}
    for _ in range(40):
        schema = {"type": "array", "items": schema}
    with pytest.raises(BadInput, match="deep"):
        grammar_schema(schema)
