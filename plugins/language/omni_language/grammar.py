"""JSON schemas as llama.cpp's grammar builder can take them.

The builder refuses or misreads some of what JSON Schema allows. What it can't express is widened to
what it can (the caller validates anyway), what it would refuse is a `BadInput`; and what has no
bound gets one, so that a small model that begins to repeat itself can't run on until the tokens end
and leave half an object.
"""

from __future__ import annotations

import copy
from typing import Any

from omni.errors import BadInput

MAX_STRING = 400  #: characters of a string that says nothing of its length
MAX_ITEMS = 24  #: items of an array that says nothing of its length
MAX_DEPTH = 24
FORMATS = {"date", "time", "date-time", "uuid"}
ANNOTATIONS = {
    "title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment", "$schema", "$id",
}  # fmt: skip
UNSUPPORTED = {
    "not", "if", "then", "else", "dependentRequired", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems",
    "uniqueItems", "contains", "minContains", "maxContains", "multipleOf", "propertyNames", "patternProperties",
    "minProperties", "maxProperties", "contentEncoding", "contentMediaType", "discriminator", "nullable",
}  # fmt: skip


def grammar_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` for llama.cpp. Raises `BadInput` for what is no schema, or nests without end."""
    if not isinstance(schema, dict):
        raise BadInput(f"A JSON schema is an object, not {type(schema).__name__}.")
    root = copy.deepcopy(schema)
    definitions = {key: root.get(key) for key in ("$defs", "definitions") if isinstance(root.get(key), dict)}
    bounded = _bound({k: v for k, v in root.items() if k not in definitions}, 0)
    for key, members in definitions.items():
        bounded[key] = {name: _bound(member, 1) for name, member in members.items()}
    return bounded


def _bound(schema: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise BadInput(f"The JSON schema nests more than {MAX_DEPTH} deep.", "Give shared parts a name under `$defs`.")
    if schema is True or schema == {}:
        return {"type": ["string", "number", "boolean", "null"], "maxLength": MAX_STRING}
    if not isinstance(schema, dict):
        raise BadInput(f"The JSON schema holds {schema!r} where a schema belongs.")
    if "$ref" in schema:
        if not str(schema["$ref"]).startswith("#"):
            raise BadInput(f"The JSON schema refers to {schema['$ref']!r}, outside itself.", "Put it under `$defs`.")
        return {"$ref": schema["$ref"]}
    result = {k: v for k, v in schema.items() if k not in ANNOTATIONS | UNSUPPORTED}
    if "const" in result or "enum" in result:
        if "enum" in result and not result["enum"]:
            raise BadInput("The JSON schema has an empty `enum`: nothing fits it.")
        return {"const": result["const"]} if "const" in result else {"enum": result["enum"]}
    for key in ("anyOf", "oneOf", "allOf"):
        if key in result:
            result[key] = [_bound(member, depth + 1) for member in result[key]]
    kinds = result.get("type")
    if isinstance(kinds, list):
        return _any_of([{**result, "type": kind} for kind in kinds], depth)
    if schema.get("nullable") and kinds:
        return _any_of([result, {"type": "null"}], depth)
    if kinds == "string":
        return _string(result)
    if kinds == "array" or "items" in result or "prefixItems" in result:
        return _array(result, depth)
    if kinds == "object" or "properties" in result:
        return _object(result, depth)
    return result


def _any_of(choices: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    return {"anyOf": [_bound(choice, depth + 1) for choice in choices]}


def _string(schema: dict[str, Any]) -> dict[str, Any]:
    pattern = schema.get("pattern")
    if isinstance(pattern, str) and pattern.startswith("^") and pattern.endswith("$"):
        return {"type": "string", "pattern": pattern}
    if schema.get("format") in FORMATS:
        return {"type": "string", "format": schema["format"]}
    shortest = int(schema.get("minLength", 0))
    longest = int(schema.get("maxLength", max(MAX_STRING, shortest)))
    if longest < shortest:
        raise BadInput(f"The JSON schema wants a string of at least {shortest} and at most {longest} characters.")
    return {"type": "string", "minLength": shortest, "maxLength": min(longest, max(MAX_STRING, shortest))}


def _array(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    result: dict[str, Any] = {"type": "array"}
    if "prefixItems" in schema:
        return {**result, "prefixItems": [_bound(item, depth + 1) for item in schema["prefixItems"]]}
    fewest = int(schema.get("minItems", 0))
    most = int(schema.get("maxItems", max(MAX_ITEMS, fewest)))
    if most < fewest:
        raise BadInput(f"The JSON schema wants a list of at least {fewest} and at most {most} items.")
    return result | {"items": _bound(schema.get("items", True), depth + 1), "minItems": fewest, "maxItems": most}


def _object(schema: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = {name: _bound(member, depth + 1) for name, member in (schema.get("properties") or {}).items()}
    result = {k: v for k, v in schema.items() if k in ("anyOf", "oneOf", "allOf")}
    required = [name for name in schema.get("required", []) if name in properties]
    extra = schema.get("additionalProperties", False)
    result |= {"type": "object", "properties": properties, "required": required}
    # Names the model would make up are worth nothing to a caller; only a schema for them is a wish.
    result["additionalProperties"] = _bound(extra, depth + 1) if isinstance(extra, dict) and extra else False
    return result
