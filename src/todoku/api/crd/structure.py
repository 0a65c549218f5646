"""Whether a schema is structural (KEP-1693): its skeleton says all types, junctors only restrict values.

Semantics: apiextensions-apiserver pkg/apiserver/schema validation.go and complete.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from todoku.api import goregexp
from todoku.api.crd.types import EMBEDDED, INT_OR_STRING, PRESERVE
from todoku.api.errors import FieldError, Path, forbidden, invalid, required
from todoku.api.schemas import Schema

_META = ("kind", "apiVersion")
_INT_OR_STRING = [{"type": "integer"}, {"type": "string"}]
_EMPTY_TYPE = {
    "root": "must not be empty at the root",
    "items": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def structural_problems(schema: Schema, path: Path) -> list[FieldError]:
    """All problems, sorted as upstream sorts them: by their text."""
    found = [*_node(schema, "root", path), *_incomplete(schema, path)]
    return sorted(found, key=str)


def _node(schema: Schema, level: str, path: Path) -> Iterator[FieldError]:
    items = schema.get("items")
    if schema.get("type") == "array" and items is None:
        yield required(path / "items", "must be specified")
    if isinstance(items, dict):
        yield from _node(items, "items", path / "items")
    for name, child in (schema.get("properties") or {}).items():
        yield from _node(child, "field", (path / "properties").key(name))
    values = schema.get("additionalProperties")
    if values is not None and level == "root":
        yield forbidden(path / "additionalProperties", "must not be used at the root")
    if isinstance(values, dict):
        yield from _node(values, "field", path / "additionalProperties")
    yield from _extensions(schema, path)
    yield from _values(schema, path, level, **_int_or_string_forms(schema))
    yield from _type(schema, path, level)
    yield from _metadata(schema, path, level)
    if schema.get(EMBEDDED) and not schema.get(PRESERVE) and not schema.get("properties"):
        text = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield required(path / "properties", text)


def _extensions(schema: Schema, path: Path) -> Iterator[FieldError]:
    if schema.get(INT_OR_STRING):
        for key in (PRESERVE, EMBEDDED):
            if schema.get(key):
                yield invalid(path / key, True, f"must be false if {INT_OR_STRING} is true")


def _type(schema: Schema, path: Path, level: str) -> Iterator[FieldError]:
    kind = schema.get("type") or ""
    if schema.get(EMBEDDED) and kind != "object":
        text = f"must be object if {EMBEDDED} is true"
        yield invalid(path / "type", kind, text) if kind else required(path / "type", text)
    elif not kind and not schema.get(INT_OR_STRING) and not schema.get(PRESERVE):
        yield required(path / "type", _EMPTY_TYPE[level])
    if schema.get(EMBEDDED) and schema.get("additionalProperties") is not None:
        text = f"must not be used if {EMBEDDED} is set"
        yield forbidden(path / "additionalProperties", text)
    if level == "root" and kind and kind != "object":
        yield invalid(path / "type", kind, "must be object at the root")


def _metadata(schema: Schema, path: Path, level: str) -> Iterator[FieldError]:
    properties = schema.get("properties") or {}
    checked = level == "root" or bool(schema.get(EMBEDDED))
    for name in _META:
        kind = (properties.get(name) or {}).get("type") or ""
        if checked and name in properties and kind != "string":
            yield invalid((path / "properties").key(name) / "type", kind, "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    at = (path / "properties").key("metadata")
    if checked and metadata.get("type") != "object":
        yield invalid(at / "type", metadata.get("type") or "", "must be object")
    if level == "root" and not _restricts_names_only(metadata):
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden(at, text)


def _restricts_names_only(metadata: Schema) -> bool:
    if any(
        value for key, value in metadata.items() if key not in ("type", "default", "properties")
    ):
        return False
    return set(metadata.get("properties") or {}) <= {"name", "generateName"}


def _int_or_string_forms(schema: Schema) -> dict[str, bool]:
    """The two ways in which junctors may name types: to say int-or-string."""
    listed = schema.get("allOf") or [{}]
    return {
        "skip_any": schema.get("anyOf") == _INT_OR_STRING,
        "skip_first": listed[0].get("anyOf") == _INT_OR_STRING,
    }


def _values(
    schema: Schema, path: Path, level: str, *, skip_any: bool = False, skip_first: bool = False
) -> Iterator[FieldError]:
    for key in ("anyOf", "allOf", "oneOf"):
        for index, child in enumerate(schema.get(key) or ()):
            if key == "anyOf" and skip_any:
                continue
            inner = key == "allOf" and skip_first and index == 0
            yield from _nested(child, path / key / index, level, skip_any=inner)
    if isinstance(schema.get("not"), dict):
        yield from _nested(schema["not"], path / "not", level)
    expression = schema.get("pattern")
    if isinstance(expression, str) and expression:
        try:
            goregexp.compiled(expression)
        except goregexp.BadExpression as error:
            text = f"must be a valid regular expression, but isn't: {error}"
            yield invalid(path / "pattern", expression, text)


_MUST_BE_EMPTY = (
    ("type", "empty"), ("additionalProperties", "undefined"), ("default", "undefined"), ("title", "empty"),
    ("description", "empty"), ("nullable", "false"), ("externalDocs", "undefined"), (PRESERVE, "false"),
    (EMBEDDED, "false"), (INT_OR_STRING, "false"), ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"), ("x-kubernetes-map-type", "undefined"),
    ("x-kubernetes-validations", "empty"),
)  # fmt: skip


def _nested(
    schema: Schema, path: Path, level: str, *, skip_any: bool = False
) -> Iterator[FieldError]:
    yield from _values(schema, path, level, skip_any=skip_any)
    items = schema.get("items")
    if isinstance(items, dict):
        yield from _nested(items, path / "items", level)
    properties = schema.get("properties") or {}
    for name, child in properties.items():
        yield from _nested(child, (path / "properties").key(name), "field")
    for key, word in _MUST_BE_EMPTY:
        value = schema.get(key)
        if value or (word == "undefined" and value is not None):
            yield forbidden(path / key, f"must be {word} to be structural")
    if "metadata" in properties:
        at = (path / "properties").key("metadata")
        yield forbidden(at, "must not be specified in a nested context")


# -- every field that junctors restrict is one of the skeleton's


def _incomplete(schema: Schema, path: Path) -> Iterator[FieldError]:
    yield from _junctors(schema, schema, path, path)
    for name, child in (schema.get("properties") or {}).items():
        yield from _incomplete(child, (path / "properties").key(name))
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from _incomplete(schema[key], path / key)


def _junctors(values: Schema, skeleton: Any, path: Path, bone: Path) -> Iterator[FieldError]:
    """`bone` is the skeleton's place of what `path` restricts."""
    for key in ("allOf", "anyOf", "oneOf"):
        for index, child in enumerate(values.get(key) or ()):
            yield from _restricted(child, skeleton, path / key / index, bone)
    if isinstance(values.get("not"), dict):
        yield from _restricted(values["not"], skeleton, path / "not", bone)


def _restricted(values: Schema, skeleton: Any, path: Path, bone: Path) -> Iterator[FieldError]:
    yield from _junctors(values, skeleton, path, bone)
    known = (skeleton or {}).get("properties") or {}
    for name, child in (values.get("properties") or {}).items():
        at, below = (path / "properties").key(name), (bone / "properties").key(name)
        if name not in known:
            yield required(below, f"because it is defined in {at}")
        yield from _restricted(child, known.get(name), at, below)
    items = values.get("items")
    if isinstance(items, dict):
        inner = (skeleton or {}).get("items")
        if inner is None:
            yield required(bone / "items", f"because it is defined in {path / 'items'}")
        yield from _restricted(items, inner, path / "items", bone / "items")
