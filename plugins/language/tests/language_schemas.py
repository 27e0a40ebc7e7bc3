"""Schemas that trip grammar builders, each with at least one value that fits."""

from __future__ import annotations

from typing import Any


def _object(required: list[str] | None = None, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required or list(properties)}


NASTY: dict[str, dict[str, Any]] = {
    "empty": {"type": "object", "properties": {}},
    "anything": _object(value={}),
    "true": _object(value=True),
    "all optional": {"type": "object", "properties": {c: {"type": "integer"} for c in "abcdef"}},
    "quotes": _object(**{'a"b\\c\n': {"const": 'say "hi"\\\n\t/'}}),
    "unicode": _object(größe={"enum": ["groß", "κλειν", "小", "🙂", '"', "\\", ""]}),
    "keywords": _object(type={"type": "string"}, properties={"type": "null"}, enum={"enum": [1, None, True, 2.5]}),
    "types": _object(x={"type": ["string", "integer", "null"], "minimum": 3}),
    "nullable": _object(x={"type": "integer", "nullable": True}),
    "range": _object(x={"type": "integer", "minimum": -3, "maximum": 117}),
    "exclusive": _object(x={"type": "integer", "exclusiveMinimum": 0, "exclusiveMaximum": 10}),
    "number": _object(x={"type": "number", "minimum": 0, "maximum": 1, "multipleOf": 0.01}),
    "any of": _object(x={"anyOf": [{"type": "boolean"}, _object(y={"type": "string"})]}),
    "one of": _object(x={"oneOf": [{"const": 1}, {"const": "one"}]}),
    "all of": {"allOf": [_object(a={"type": "integer"}), _object(b={"type": "boolean"})]},
    "refs": {
        "$defs": {"point": _object(x={"type": "integer"}, y={"type": "integer"})},
        **_object(start={"$ref": "#/$defs/point"}, end={"$ref": "#/$defs/point", "description": "where it ends"}),
    },
    "recursive": {
        "$defs": {"tree": _object(["name"], name={"type": "string", "maxLength": 5}, child={"$ref": "#/$defs/tree"})},
        "$ref": "#/$defs/tree",
    },
    "tuple": _object(x={"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}),
    "unbounded": _object(x={"type": "array", "items": {"type": "string"}}),
    "unique": _object(x={"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "maxItems": 2}),
    "map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "open": {**_object(a={"type": "integer"}), "additionalProperties": True},
    "pattern": _object(x={"type": "string", "pattern": "^[a-z]{2,4}-[0-9]+$"}),
    "loose pattern": _object(x={"type": "string", "pattern": "[0-9]+"}),
    "date": _object(x={"type": "string", "format": "date"}),
    "email": _object(x={"type": "string", "format": "email"}),
    "if": {**_object(a={"type": "integer"}), "if": {"required": ["a"]}, "then": {"required": ["a"]}},
    "not": _object(a={"type": "integer", "not": {"const": 3}}),
    "described": {
        "title": "T",
        "description": "d",
        "$schema": "x",
        **_object(a={"type": "integer", "title": "A", "default": 3}),
    },
    "required unknown": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "ghost"]},
    "deep": _object(a=_object(b=_object(c=_object(d={"type": "array", "items": _object(e={"type": "boolean"})})))),
    "tool choice": _object(
        tool={"enum": ["calculate", "recall", "none"]},
        arguments={"anyOf": [_object(expression={"type": "string"}), _object(query={"type": "string"}), _object()]},
    ),
}

#: A value that fits the schema and that the bounded schema must still allow.
FITTING: dict[str, Any] = {
    "all of": {"a": 1, "b": True},
    "any of": {"x": {"y": "z"}},
    "refs": {"start": {"x": 1, "y": 2}, "end": {"x": -3, "y": 4}},
    "recursive": {"name": "a", "child": {"name": "b"}},
    "tuple": {"x": ["a", 1]},
    "map": {"k": 3},
    "nullable": {"x": 4},
    "types": {"x": "free"},
    "required unknown": {"a": 1, "ghost": "boo"},
    "pattern": {"x": "ab-1"},
    "tool choice": {"tool": "calculate", "arguments": {"expression": "1+1"}},
}
