"""Validation of values by a structural schema, worded as kube-openapi words it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from todoku.api import goformat, goregexp, validation
from todoku.api.crd.formats import format_problem
from todoku.api.crd.types import EMBEDDED, INT_OR_STRING
from todoku.api.errors import (
    FieldError,
    Path,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
    type_invalid,
)
from todoku.api.schemas import Schema

ABSENT: Any = object()
_META = ("apiVersion", "kind", "metadata")


def schema_problems(new: Any, old: Any, schema: Schema) -> list[FieldError]:
    """All problems of a whole object; its own apiVersion, kind and metadata are checked elsewhere."""
    return list(_value(new, ABSENT if old is None else old, schema, Path(), root=True))


def _value(
    value: Any, old: Any, schema: Schema, path: Path, *, root: bool = False
) -> Iterator[FieldError]:
    if old is not ABSENT and old == value and not root:
        return  # unchanged: ratcheted
    if value is None and schema.get("nullable"):
        return
    problem = _type_problem(value, schema, path)
    if problem is not None:
        yield problem
        return
    yield from _combinations(value, schema, path)
    if isinstance(value, str):
        yield from _string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number(value, schema, path)
    if "enum" in schema and not any(_same(value, one) for one in schema["enum"]):
        yield not_supported(path, value, [_listed(one) for one in schema["enum"]])
    if isinstance(value, list):
        yield from _list(value, old, schema, path)
    elif isinstance(value, dict):
        yield from _object(value, old, schema, path, root=root)


def _listed(one: Any) -> str:
    return one if isinstance(one, str) else json.dumps(one, separators=(",", ":"))


def _same(one: Any, other: Any) -> bool:
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def type_name(value: Any) -> str:
    """JSON schema's word for a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer()):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _type_problem(value: Any, schema: Schema, path: Path) -> FieldError | None:
    actual = type_name(value)
    if schema.get(INT_OR_STRING):
        wanted = "integer,string"
        fits = actual in ("integer", "string")
    else:
        wanted = schema.get("type", "")
        fits = not wanted or actual == wanted or (wanted == "number" and actual == "integer")
    if fits:
        return None
    text = f'{_in_body(path)} must be of type {wanted}: "{actual}"'
    return type_invalid(path, actual, text)


def _in_body(path: Path) -> str:
    shown = str(path)
    return f"{shown} in body" if shown != "<nil>" else "in body"


def _fits(value: Any, schema: Schema, path: Path) -> bool:
    return next(_value(value, ABSENT, schema, path, root=False), None) is None


def _shown(path: Path) -> str:
    return f'"{path}"' if str(path) != "<nil>" else '""'


def _combinations(value: Any, schema: Schema, path: Path) -> Iterator[FieldError]:
    if "anyOf" in schema and not any(_fits(value, one, path) for one in schema["anyOf"]):
        yield invalid(path, "", f"{_shown(path)} must validate at least one schema (anyOf)")
    if "oneOf" in schema:
        count = sum(_fits(value, one, path) for one in schema["oneOf"])
        if count != 1:
            found = "none valid" if not count else f"{count} valid alternatives"
            text = f"{_shown(path)} must validate one and only one schema (oneOf). Found {found}"
            yield invalid(path, "", text)
    if "allOf" in schema:
        found_problems = [list(_value(value, ABSENT, one, path)) for one in schema["allOf"]]
        for listed in found_problems:
            yield from listed
        if any(found_problems):
            yield invalid(path, "", f"{_shown(path)} must validate all the schemas (allOf)")
    if "not" in schema and _fits(value, schema["not"], path):
        yield invalid(path, "", f"{_shown(path)} must not validate the schema (not)")


def _string(value: str, schema: Schema, path: Path) -> Iterator[FieldError]:
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        yield too_long(path, schema["maxLength"])
    if "minLength" in schema and len(value) < schema["minLength"]:
        text = f"{_in_body(path)} should be at least {schema['minLength']} chars long"
        yield invalid(path, value, text)
    if "pattern" in schema:
        expression = schema["pattern"]
        if not _searches(expression, value):
            yield invalid(path, value, f"{_in_body(path)} should match '{expression}'")
    form = schema.get("format")
    if form and format_problem(form, value):
        yield type_invalid(path, value, f'{_in_body(path)} must be of type {form}: "{value}"')


def _searches(expression: str, value: str) -> bool:
    try:
        return goregexp.holds(expression, value)
    except goregexp.BadExpression:
        return True


_INT_BOUNDS = {"int32": 2**31, "int64": 2**63}


def _number(value: float, schema: Schema, path: Path) -> Iterator[FieldError]:
    where = _in_body(path)
    multiple = schema.get("multipleOf")
    if multiple and abs(value / multiple - round(value / multiple)) > 1e-9:
        yield invalid(path, value, f"{where} should be a multiple of {_plain(multiple)}")
    maximum, minimum = schema.get("maximum"), schema.get("minimum")
    if maximum is not None:
        exclusive = schema.get("exclusiveMaximum")
        if value > maximum or (exclusive and value == maximum):
            word = "less than" if exclusive else "less than or equal to"
            yield invalid(path, value, f"{where} should be {word} {_plain(maximum)}")
    if minimum is not None:
        exclusive = schema.get("exclusiveMinimum")
        if value < minimum or (exclusive and value == minimum):
            word = "greater than" if exclusive else "greater than or equal to"
            yield invalid(path, value, f"{where} should be {word} {_plain(minimum)}")
    bound = _INT_BOUNDS.get(schema.get("format", ""))
    if bound is not None and schema.get("type") == "integer" and not -bound <= value < bound:
        text = f"Checked value must be of type integer with format {schema['format']} in {path}"
        yield invalid(path, value, text)


def _plain(value: float) -> str:
    return goformat.number(value)


def _list(value: list[Any], old: Any, schema: Schema, path: Path) -> Iterator[FieldError]:
    if "maxItems" in schema and len(value) > schema["maxItems"]:
        yield too_many(path, len(value), schema["maxItems"])
    if "minItems" in schema and len(value) < schema["minItems"]:
        text = f"{_in_body(path)} should have at least {schema['minItems']} items"
        yield invalid(path, len(value), text)
    items = schema.get("items")
    if isinstance(items, dict):
        matched = correlate(value, old, schema)
        for index, one in enumerate(value):
            yield from _value(one, matched[index], items, path / index)


def correlate(value: list[Any], old: Any, schema: Schema) -> list[Any]:
    """The old item of each new one: items of keyed lists only can be told apart."""
    if not isinstance(old, list):
        return [ABSENT] * len(value)
    keys = schema.get("x-kubernetes-list-map-keys")
    if schema.get("x-kubernetes-list-type") == "map" and keys:
        known = {_key(one, keys): one for one in old}
        return [known.get(_key(one, keys), ABSENT) for one in value]
    return [ABSENT] * len(value)


def fields_before(old: Any, schema: Schema) -> dict[str, Any]:
    """The old fields of an object; those of an atomic one are compared as a whole only."""
    atomic = schema.get("x-kubernetes-map-type") == "atomic"
    return old if isinstance(old, dict) and not atomic else {}


def _key(item: Any, keys: list[str]) -> tuple[Any, ...]:
    return tuple(repr(item.get(key)) for key in keys) if isinstance(item, dict) else (repr(item),)


def _object(
    value: dict[str, Any], old: Any, schema: Schema, path: Path, *, root: bool
) -> Iterator[FieldError]:
    properties = schema.get("properties") or {}
    before = fields_before(old, schema)
    if "maxProperties" in schema and len(value) > schema["maxProperties"]:
        yield too_many(path, len(value), schema["maxProperties"])
    if "minProperties" in schema and len(value) < schema["minProperties"]:
        text = f"{_in_body(path)} should have at least {schema['minProperties']} properties"
        yield invalid(path, len(value), text)
    for name in schema.get("required") or ():
        if name not in value:
            yield required(path / name)
    if schema.get(EMBEDDED) and not root:
        yield from _embedded(value, path)
    values = schema.get("additionalProperties")
    for name, child in value.items():
        if root and name in _META:
            continue
        rule = properties.get(name, values)
        if isinstance(rule, dict):
            yield from _value(child, before.get(name, ABSENT), rule, path / name)


def _embedded(value: dict[str, Any], path: Path) -> Iterator[FieldError]:
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            yield required(path / name, "must not be empty" if name in value else "")
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        at = path / "metadata"
        yield from validation.label_problems(metadata.get("labels"), at / "labels")
        yield from validation.annotation_problems(metadata.get("annotations"), at / "annotations")
