"""JSON schemas as grammars: what is asked for is what comes.

xllamacpp compiles schemas with LLGuidance, which knows nearly all of JSON Schema; what it can't
enforce (`not`, `if`) it is told to leave to the caller's validation. What a schema leaves open is
bounded here, so that a small model that begins to repeat itself can't run on until the tokens end and
leave half an object; and spaces are fixed, which saves a third of the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omni.errors import BadInput

MAX_STRING = 400  #: characters of a string that says nothing of its length, at most
MIN_STRING = 24  #: and however few tokens there are
MAX_INTEGER = 10**12
MAX_ITEMS = 24  #: items of an array that says nothing of its length
MAX_DEPTH = 24
STYLE = {
    "whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True, "coerce_one_of": True,
}  # fmt: skip
#: Said for people, or not enforceable and refused even leniently.
IGNORED = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$id",
    "nullable", "discriminator", "contentEncoding", "contentMediaType",
}  # fmt: skip
LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")


def grammar_schema(schema: dict[str, Any], tokens: int = 512) -> dict[str, Any]:
    """`schema`, bounded for an answer of at most `tokens`.

    Raises `BadInput` for what is no schema, can't be fitted, or nests without end.
    """
    if not isinstance(schema, dict):
        raise BadInput(f"A JSON schema is an object, not {type(schema).__name__}.")
    longest = max(MIN_STRING, min(MAX_STRING, tokens // 3))
    return _Bounds(longest).of(schema) | {"x-guidance": STYLE}


@dataclass(frozen=True)
class _Bounds:
    longest: int  #: characters of a string

    def of(self, schema: Any, depth: int = 0, *, closed: bool = True) -> Any:
        """The schema as the grammar compiler takes it. Raises `BadInput` on what it can't."""
        if depth > MAX_DEPTH:
            raise BadInput(
                f"The JSON schema nests more than {MAX_DEPTH} deep.", "Give shared parts a name under `$defs`."
            )
        if schema is True or schema == {}:
            schema = {"type": ["string", "number", "boolean", "null"]}
        if schema is False or not isinstance(schema, dict):
            raise BadInput(f"The JSON schema holds {schema!r} where a schema that something fits belongs.")
        if not str(schema.get("$ref", "#")).startswith("#"):
            raise BadInput(f"The JSON schema refers to {schema['$ref']!r}, outside itself.", "Put it under `$defs`.")
        if schema.get("enum") == []:
            raise BadInput("The JSON schema has an empty `enum`: nothing fits it.")
        schema = _merged(schema)
        result = {key: value for key, value in schema.items() if key not in IGNORED}
        kinds = _kinds(schema)
        if kinds:
            result["type"] = kinds[0] if len(kinds) == 1 else kinds
        for key in LISTS:
            if key in result:
                # What several schemas describe together must not be closed by each of them: nothing would fit.
                result[key] = [self.of(member, depth + 1, closed=key != "allOf") for member in result[key]]
        for key in ("$defs", "definitions"):
            if isinstance(result.get(key), dict):
                result[key] = {name: self.of(member, depth + 1) for name, member in result[key].items()}
        if "const" not in result and "enum" not in result:
            if "integer" in kinds:
                self.integer(result)
            if "string" in kinds:
                self.string(result)
            if "array" in kinds:
                self.array(result, depth)
            if "object" in kinds:
                self.object(result, depth, closed)
        return result

    def string(self, schema: dict[str, Any]) -> None:
        shortest = schema.setdefault("minLength", 0)
        longest = schema.setdefault("maxLength", max(self.longest, shortest))
        if longest < shortest:
            raise BadInput(f"The JSON schema wants a string of at least {shortest} and at most {longest} characters.")

    def array(self, schema: dict[str, Any], depth: int) -> None:
        fixed = len(schema.get("prefixItems", ()))
        if "items" in schema or not fixed:
            schema["items"] = False if schema.get("items") is False else self.of(schema.get("items", True), depth + 1)
        else:
            schema["items"] = False  # a tuple: what comes after it nobody asked for
        fewest = schema.setdefault("minItems", fixed)
        most = schema.setdefault("maxItems", max(MAX_ITEMS, fewest) if schema["items"] is not False else fixed)
        if most < fewest:
            raise BadInput(f"The JSON schema wants a list of at least {fewest} and at most {most} items.")

    def object(self, schema: dict[str, Any], depth: int, closed: bool) -> None:
        """An object: its members in turn, and closed to others."""
        properties = schema.get("properties") or {}
        unsaid = {name: True for name in schema.get("required", []) if name not in properties and "allOf" not in schema}
        schema["properties"] = {name: self.of(member, depth + 1) for name, member in (properties | unsaid).items()}
        extra = schema.get("additionalProperties", False)
        if isinstance(extra, dict) and extra:
            schema["additionalProperties"] = self.of(extra, depth + 1)
            schema.setdefault("maxProperties", MAX_ITEMS)
        elif closed and "allOf" not in schema:
            # Names the model would make up are worth nothing to a caller; only a schema for them is a wish.
            schema["additionalProperties"] = False
        else:
            schema.pop("additionalProperties", None)

    def integer(self, schema: dict[str, Any]) -> None:
        if not {"minimum", "exclusiveMinimum"} & schema.keys():
            schema["minimum"] = -MAX_INTEGER
        if not {"maximum", "exclusiveMaximum"} & schema.keys():
            schema["maximum"] = MAX_INTEGER


def _kinds(schema: dict[str, Any]) -> list[str]:
    """The types it allows; told by its keywords where it does not say."""
    kinds = schema.get("type")
    kinds = list(kinds) if isinstance(kinds, list) else [kinds] if kinds else []
    if not kinds and ("properties" in schema or "additionalProperties" in schema):
        kinds = ["object"]
    if not kinds and ("items" in schema or "prefixItems" in schema):
        kinds = ["array"]
    return [*kinds, "null"] if kinds and schema.get("nullable") and "null" not in kinds else kinds


def _merged(schema: dict[str, Any]) -> dict[str, Any]:
    """`allOf` of plain objects as one object, which can then be closed."""
    members = schema.get("allOf")
    plain = {"type", "properties", "required"} | IGNORED
    if not members or not all(isinstance(m, dict) and "properties" in m and m.keys() <= plain for m in members):
        return schema
    result = {key: value for key, value in schema.items() if key != "allOf"} | {"type": "object"}
    result["properties"] = dict(result.get("properties") or {})
    result["required"] = list(result.get("required", []))
    for member in members:
        for name, value in member["properties"].items():
            both = result["properties"].get(name)
            result["properties"][name] = {"allOf": [both, value]} if both else value
        result["required"] += member.get("required", [])
    return result
