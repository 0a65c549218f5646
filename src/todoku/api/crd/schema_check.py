"""Whether a schema is structural (KEP-1693), with valid defaults, list types and CEL rules."""

from __future__ import annotations

import re
from typing import Any

from todoku.api.cel import CelError, compile_expression
from todoku.api.crd.rules import RULES, program_text
from todoku.api.crd.types import EMBEDDED, INT_OR_STRING, PRESERVE
from todoku.api.crd.values import pattern, schema_problems
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.schemas import Schema

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPES = ("atomic", "map", "set")
_FORBIDDEN = (
    "$ref",
    "definitions",
    "dependencies",
    "patternProperties",
    "additionalItems",
    "id",
    "$schema",
)
_COMBINERS = ("allOf", "anyOf", "oneOf", "not")
_STRUCTURAL = ("type", "additionalProperties", "default", "description", "nullable", "title")
_REASONS = ("FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired")


def schema_form_problems(schema: Schema, path: Path) -> list[FieldError]:
    """All problems of a version's `openAPIV3Schema`."""
    problems: list[FieldError] = []
    if schema.get("type") != "object":
        if not schema.get("type"):
            problems.append(required(path / "type", "must not be empty at the root"))
        else:
            problems.append(invalid(path / "type", schema["type"], "must be object at the root"))
    if schema.get("nullable"):
        problems.append(forbidden(path / "nullable", "nullable cannot be true at the root"))
    problems += _root_metadata(schema, path)
    return problems + _node(schema, path, root=True)


def _root_metadata(schema: Schema, path: Path) -> list[FieldError]:
    metadata = (schema.get("properties") or {}).get("metadata")
    if not metadata:
        return []
    at = (path / "properties").key("metadata")
    allowed = set(metadata.get("properties") or {}) <= {"name", "generateName"}
    if metadata.get("type") != "object":
        return [invalid(at / "type", metadata.get("type") or "", "must be object")]
    if not allowed:
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        return [forbidden(at, text)]
    return []


def _node(schema: Schema, path: Path, *, root: bool = False) -> list[FieldError]:
    problems = [
        forbidden(path / key, f"{key} is not supported") for key in _FORBIDDEN if key in schema
    ]
    if schema.get("uniqueItems"):
        problems.append(
            forbidden(
                path / "uniqueItems",
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            )
        )
    problems += _type(schema, path, root=root)
    problems += _list_type(schema, path)
    problems += _values(schema, path)
    problems += _default(schema, path)
    problems += _rules(schema, path)
    for key in _COMBINERS:
        listed = schema.get(key)
        if listed:
            children = listed if isinstance(listed, list) else [listed]
            for index, child in enumerate(children):
                at = path / key / index if isinstance(listed, list) else path / key
                problems += _value_only(child, at, schema)
    return problems + _children(schema, path)


def _children(schema: Schema, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    properties, values = schema.get("properties"), schema.get("additionalProperties")
    if properties and values is not None and values is not False:
        text = "additionalProperties and properties are mutual exclusive"
        problems.append(forbidden(path / "additionalProperties", text))
    if values is False:
        text = "additionalProperties cannot be set to false"
        problems.append(forbidden(path / "additionalProperties", text))
    for name, child in (properties or {}).items():
        problems += _node(child, (path / "properties").key(name))
    if isinstance(values, dict):
        problems += _node(values, path / "additionalProperties")
    items = schema.get("items")
    if isinstance(items, dict):
        problems += _node(items, path / "items")
    elif isinstance(items, list):
        problems.append(forbidden(path / "items", "items must be a schema object and not an array"))
    elif schema.get("type") == "array":
        problems.append(required(path / "items", "must be specified"))
    return problems


def _type(schema: Schema, path: Path, *, root: bool) -> list[FieldError]:
    kind = schema.get("type") or ""
    free = schema.get(INT_OR_STRING) or schema.get(PRESERVE)
    if not kind:
        if root or free:
            return []
        last = "items" if str(path).endswith(".items") else "object fields"
        text = (
            "must not be empty for specified array items"
            if last == "items"
            else "must not be empty for specified object fields"
        )
        return [required(path / "type", text)]
    if kind not in _TYPES:
        return [not_supported(path / "type", kind, _TYPES)]
    problems: list[FieldError] = []
    if schema.get(INT_OR_STRING):
        text = "must be empty if x-kubernetes-int-or-string is true"
        problems.append(invalid(path / "type", kind, text))
    if schema.get(EMBEDDED) and kind != "object":
        problems.append(
            invalid(path / "type", kind, "must be object if x-kubernetes-embedded-resource is true")
        )
    if schema.get(PRESERVE) and kind != "object":
        problems.append(
            invalid(
                path / "type",
                kind,
                "must be object if x-kubernetes-preserve-unknown-fields is true",
            )
        )
    return problems


def _list_type(schema: Schema, path: Path) -> list[FieldError]:
    kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
    at = path / "x-kubernetes-list-map-keys"
    if kind is None:
        return (
            [forbidden(at, "must not be set if x-kubernetes-list-type is not map")] if keys else []
        )
    problems: list[FieldError] = []
    if schema.get("type") != "array":
        text = "must be array if x-kubernetes-list-type is specified"
        problems.append(invalid(path / "type", schema.get("type") or "", text))
    if kind not in _LIST_TYPES:
        problems.append(not_supported(path / "x-kubernetes-list-type", kind, _LIST_TYPES))
    elif kind != "map" and keys:
        problems.append(forbidden(at, "must not be set if x-kubernetes-list-type is not map"))
    elif kind == "map" and not keys:
        problems.append(required(at, "must not be empty if x-kubernetes-list-type is map"))
    elif kind == "map":
        problems += _keys(schema, path)
    return problems


def _keys(schema: Schema, path: Path) -> list[FieldError]:
    items = schema.get("items") if isinstance(schema.get("items"), dict) else {}
    assert items is not None
    problems: list[FieldError] = []
    if items.get("type") != "object":
        text = "must be object if parent array's x-kubernetes-list-type is map"
        return [invalid(path / "items" / "type", items.get("type") or "", text)]
    properties = items.get("properties") or {}
    for index, key in enumerate(schema["x-kubernetes-list-map-keys"]):
        at = path / "x-kubernetes-list-map-keys" / index
        child = properties.get(key)
        if child is None:
            problems.append(invalid(at, key, "entries must all be names of item properties"))
        elif child.get("type") in ("array", "object"):
            where = (path / "items" / "properties").key(key) / "type"
            text = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            problems.append(invalid(where, child["type"], text))
        elif key not in (items.get("required") or ()) and "default" not in child:
            where = (path / "items" / "properties").key(key) / "default"
            text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            problems.append(required(where, text))
    return problems


def _values(schema: Schema, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    expression = schema.get("pattern")
    if isinstance(expression, str):
        try:
            pattern(expression)
        except re.error as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            problems.append(invalid(path / "pattern", expression, text))
    map_type = schema.get("x-kubernetes-map-type")
    if map_type is not None and map_type not in ("atomic", "granular"):
        problems.append(
            not_supported(path / "x-kubernetes-map-type", map_type, ("atomic", "granular"))
        )
    return problems


def _default(schema: Schema, path: Path) -> list[FieldError]:
    """Defaults must be valid themselves."""
    if "default" not in schema:
        return []
    plain = {key: value for key, value in schema.items() if key != "default"}
    found = schema_problems(
        {"default": schema["default"]}, None, {"properties": {"default": plain}}
    )
    return [
        FieldError(Path(f"{path}.{problem.path}"), problem.reason, problem.message)
        for problem in found
    ]


def _rules(schema: Schema, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, rule in enumerate(schema.get(RULES) or ()):
        at = path / RULES / index
        text = (rule.get("rule") or "").strip()
        if not text:
            problems.append(required(at / "rule", "rule is not specified"))
            continue
        problems += _expression(rule, "rule", at)
        if rule.get("messageExpression"):
            problems += _expression(rule, "messageExpression", at)
        message = rule.get("message")
        if message is not None and not message.strip():
            problems.append(
                invalid(at / "message", message, "message must be non-empty if specified")
            )
        elif message and "\n" in message.strip():
            problems.append(
                invalid(at / "message", message, "message must not contain line breaks")
            )
        if "\n" in text and not message:
            problems.append(
                required(at / "message", "message must be specified if rule contains line breaks")
            )
        if rule.get("reason") is not None and rule["reason"] not in _REASONS:
            problems.append(not_supported(at / "reason", rule["reason"], _REASONS))
    return problems


_RESULTS = {"rule": ("BOOL", "DYN"), "messageExpression": ("STRING", "DYN")}
_WORDS = {
    "rule": "cel expression must evaluate to a bool",
    "messageExpression": "messageExpression must evaluate to a string",
}


def _expression(rule: Any, field: str, at: Path) -> list[FieldError]:
    text = rule[field].strip()
    names = ("self", "__old") if rule.get("optionalOldSelf") else ("self", "oldSelf")
    try:
        program = compile_expression(program_text(rule, text), names)
    except CelError as error:
        return [invalid(at / field, rule[field], str(error))]
    if program.result_type not in _RESULTS[field]:
        return [invalid(at / field, rule[field], _WORDS[field])]
    return []


def _value_only(schema: Schema, path: Path, parent: Schema) -> list[FieldError]:
    """Inside allOf, anyOf, oneOf and not there are only value validations."""
    int_or_string = bool(parent.get(INT_OR_STRING))
    problems = [
        forbidden(path / key, "must be empty to be structural")
        for key in _STRUCTURAL
        if schema.get(key) and not (key == "type" and int_or_string)
    ]
    for key in (PRESERVE, EMBEDDED, INT_OR_STRING):
        if schema.get(key):
            problems.append(forbidden(path / key, "must be false to be structural"))
    known = parent.get("properties") or {}
    for name, child in (schema.get("properties") or {}).items():
        at = (path / "properties").key(name)
        if name not in known and not isinstance(parent.get("additionalProperties"), dict):
            where = str(at).replace(f".{_combiner(path)}", "", 1)
            problems.append(required(Path(where), f"because it is defined in {at}"))
        problems += _value_only(child, at, known.get(name, {}))
    items = schema.get("items")
    if isinstance(items, dict):
        inner = parent.get("items")
        problems += _value_only(items, path / "items", inner if isinstance(inner, dict) else {})
    for key in _COMBINERS:
        listed = schema.get(key)
        children = listed if isinstance(listed, list) else [listed] if listed else []
        for index, child in enumerate(children):
            at = path / key / index if isinstance(listed, list) else path / key
            problems += _value_only(child, at, parent)
    return problems


def _combiner(path: Path) -> str:
    match = re.search(r"(allOf\[\d+\]|anyOf\[\d+\]|oneOf\[\d+\]|not)", str(path))
    return match.group() if match else ""
