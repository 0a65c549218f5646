"""All that must hold for a version's schema: structural, valid defaults, list types, CEL rules within their budget.

Semantics: validateCustomResourceDefinitionValidation of apiextensions-apiserver.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from todoku.api.crd.defaults import default_problems
from todoku.api.crd.remembered import remembered
from todoku.api.crd.rule_check import Scope, TotalCost, expression_problems, form_problems
from todoku.api.crd.structure import structural_problems
from todoku.api.crd.types import EMBEDDED, PRESERVE
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.schemas import Schema

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_LIST_TYPE, _MAP_TYPE = "x-kubernetes-list-type", "x-kubernetes-map-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_META = ("metadata", "kind", "apiVersion")
_AT_ROOT = (
    "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum",
    "maxLength", "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "items",
    "properties", "externalDocs", "example", PRESERVE, "x-kubernetes-validations",
)  # fmt: skip
_GO_NAMES = {PRESERVE: "XPreserveUnknownFields", "x-kubernetes-validations": "XValidations"}


def schema_form_problems(
    schema: Schema, path: Path, *, status: bool = False, unchanged: bool = False
) -> list[FieldError]:
    """All problems of a version's `openAPIV3Schema`.

    `status`: the kind has a status subresource.  `unchanged`: the schema was accepted before, so its rules may cost
    what they did.
    """
    text, place = json.dumps(schema), str(path)
    found = _problems(text, place, status, False)  # remembered since the schema was accepted
    return list(_problems(text, place, status, True) if found and unchanged else found)


@remembered(128)
def _problems(text: str, place: str, status: bool, unchanged: bool) -> tuple[FieldError, ...]:
    schema: Schema = json.loads(text)
    path = Path(place)
    found = list(_root(schema, path, status))
    structural = structural_problems(schema, path) or default_problems(schema, path)
    found += structural
    total = TotalCost()
    scope = None if structural else Scope(1, total, limited=not unchanged)
    walk = _Walk([], [])
    walk.node(schema, _Place(path, root=True), scope)
    return (*found, *walk.schema, *walk.cel, *total.problems(path))


def _root(schema: Schema, path: Path, status: bool) -> Iterator[FieldError]:
    if status:
        kind = schema.get("type")
        if kind and kind != "object":
            text = 'only "object" is allowed as the type at the root of the schema if the status subresource is enabled'
            yield invalid(path / "type", kind, text)
        if any(value and key not in _AT_ROOT for key, value in schema.items()):
            names = " ".join(_GO_NAMES.get(one, one[:1].upper() + one[1:]) for one in _AT_ROOT)
            text = f"only [{names}] fields are allowed at the root of the schema if the status subresource is enabled"
            yield invalid(path, schema, text)
    if schema.get("nullable"):
        yield forbidden(path / "nullable", "nullable cannot be true at the root")


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a node stands: inside metadata, where no defaults are allowed (`no_default` says why), and below what
    cannot be correlated between two revisions of an object."""

    path: Path
    root: bool = False
    inside_meta: bool = False
    no_default: str = ""
    uncorrelatable: Path | None = None

    def at(self, path: Path) -> _Place:
        return replace(self, path=path, root=False)

    def broken(self, path: Path) -> _Place:
        return self if self.uncorrelatable is not None else replace(self, uncorrelatable=path)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Problems of the schema and of its rules apart: rules are looked into where all below is in order."""

    schema: list[FieldError]
    cel: list[FieldError]

    def node(self, schema: Schema, place: _Place, scope: Scope | None) -> None:
        path, before = place.path, len(self.schema)
        self.schema.extend(_plain(schema, place))
        self._children(schema, place, scope)
        if schema.get(PRESERVE) is False:
            self.schema.append(invalid(path / PRESERVE, False, "must be true or undefined"))
        self.schema.extend(_kinds(schema, path))
        self.schema.extend(_keys(schema, path))
        self.schema.extend(_no_nulls(schema, path))
        self.schema.extend(form_problems(schema, path))
        if scope is not None and len(self.schema) == before:
            root = place.root or bool(schema.get(EMBEDDED))
            self.cel.extend(
                expression_problems(
                    schema, path, scope, root=root, uncorrelatable=place.uncorrelatable
                )
            )

    def _children(self, schema: Schema, place: _Place, scope: Scope | None) -> None:
        path = place.path
        below = scope.below(schema) if scope is not None else None
        values, properties = schema.get("additionalProperties"), schema.get("properties") or {}
        if values is not None and properties and values is not True:
            text = "additionalProperties and properties are mutual exclusive"
            self.schema.append(forbidden(path / "additionalProperties", text))
        if isinstance(values, dict):
            inner = place.at(path / "additionalProperties")
            if place.inside_meta:
                why = "inside additionalProperties applying to object metadata"
                inner = replace(inner, no_default=why)
            self.node(values, inner, below)
        for name, child in properties.items():
            self.node(child, _property(schema, place, name), below)
        if isinstance(schema.get("not"), dict):
            self.node(schema["not"], place.at(path / "not"), None)
        for key in ("allOf", "oneOf", "anyOf"):
            for index, child in enumerate(schema.get(key) or ()):
                self.node(child, place.at(path / key / index), None)
        items = schema.get("items")
        if isinstance(items, dict):
            inner = place.at(path / "items")
            if schema.get(_LIST_TYPE) != "map":
                inner = inner.broken(path)
            self.node(items, inner, below)


def _property(schema: Schema, place: _Place, name: str) -> _Place:
    inner = place.at((place.path / "properties").key(name))
    if schema.get(_MAP_TYPE) == "atomic":
        inner = inner.broken(place.path)
    if name in _META and (place.root or schema.get(EMBEDDED)):
        inner = replace(inner, inside_meta=True)
        if place.root:
            inner = replace(inner, no_default=f"in top-level {name}")
    return inner


def _plain(schema: Schema, place: _Place) -> Iterator[FieldError]:
    path, kind = place.path, schema.get("type") or ""
    if kind and kind not in _TYPES:
        yield not_supported(path / "type", kind, _TYPES)
    if place.no_default and schema.get("default") is not None:
        yield forbidden(path / "default", f"must not be set {place.no_default}")
    for key in _UNSUPPORTED:
        if schema.get(key):
            yield forbidden(path / key, f"{key} is not supported")
    if kind == "null":
        text = "type cannot be set to null, use nullable as an alternative"
        yield forbidden(path / "type", text)
    if isinstance(schema.get("items"), list):
        yield forbidden(path / "items", "items must be a schema object and not an array")
    if place.inside_meta and schema.get(EMBEDDED):
        yield forbidden(path / EMBEDDED, "must not be used inside of resource meta")
    if schema.get("uniqueItems"):
        text = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden(path / "uniqueItems", text)


def _kinds(schema: Schema, path: Path) -> Iterator[FieldError]:
    """Of list and map types."""
    map_type, list_type = schema.get(_MAP_TYPE), schema.get(_LIST_TYPE)
    if map_type is not None:
        yield from _must_be(schema, "object", _MAP_TYPE, path)
        if map_type not in ("atomic", "granular"):
            yield not_supported(path / _MAP_TYPE, map_type, ("atomic", "granular"))
    if list_type is None:
        return
    if schema.get("type") != "array":
        yield from _must_be(schema, "array", _LIST_TYPE, path)
    elif list_type == "set":
        yield from _atomic_items(schema.get("items"), path / "items")
    if list_type not in ("atomic", "set", "map"):
        yield not_supported(path / _LIST_TYPE, list_type, ("atomic", "set", "map"))


def _must_be(schema: Schema, wanted: str, key: str, path: Path) -> Iterator[FieldError]:
    kind, text = schema.get("type") or "", f"must be {wanted} if {key} is specified"
    if not kind:
        yield required(path / "type", text)
    elif kind != wanted:
        yield invalid(path / "type", kind, text)


def _atomic_items(items: Any, path: Path) -> Iterator[FieldError]:
    if not isinstance(items, dict):
        return
    text = f"must be atomic as item of a list with {_LIST_TYPE}=set"
    list_type = items.get(_LIST_TYPE)
    if items.get("type") == "array" and list_type not in (None, "atomic"):
        yield invalid(path / _LIST_TYPE, list_type, text)
    if items.get("type") == "object" and items.get(_MAP_TYPE) != "atomic":
        yield invalid(path / _MAP_TYPE, list_type, text)


def _keys(schema: Schema, path: Path) -> Iterator[FieldError]:
    """Of keyed lists."""
    list_type, keys = schema.get(_LIST_TYPE), schema.get(_LIST_KEYS) or []
    if keys and list_type != "map":
        text = f"must be map if {_LIST_KEYS} is non-empty"
        at = path / _LIST_TYPE
        yield required(at, text) if list_type is None else invalid(at, list_type, text)
    if list_type != "map":
        return
    if not keys:
        yield required(path / _LIST_KEYS, f"must not be empty if {_LIST_TYPE} is map")
    items = schema.get("items")
    if items is None:
        yield required(path / "items", f"must have a schema if {_LIST_TYPE} is map")
    if not isinstance(items, dict):
        return
    if items.get("type") != "object":
        text = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid(path / "items" / "type", items.get("type") or "", text)
        return
    yield from _key_fields(keys, items, path)


def _key_fields(keys: list[str], items: Schema, path: Path) -> Iterator[FieldError]:
    properties = items.get("properties") or {}
    for index, key in enumerate(keys):
        if key not in properties:
            text = "entries must all be names of item properties"
            yield invalid(path / _LIST_KEYS, keys, text)
        elif properties[key].get("type") in ("array", "object"):
            at = (path / "items" / "properties").key(key) / "type"
            text = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield invalid(at, items["type"], text)
        if key in keys[:index]:
            yield invalid(path / _LIST_KEYS, keys, "must not contain duplicate entries")


def _no_nulls(schema: Schema, path: Path) -> Iterator[FieldError]:
    """Items of sets and keyed lists cannot be null; keys are there."""
    items, list_type = schema.get("items"), schema.get(_LIST_TYPE)
    if not isinstance(items, dict) or list_type not in ("set", "map"):
        return
    if items.get("nullable"):
        text = f"cannot be nullable when {_LIST_TYPE} is {list_type}"
        yield forbidden(path / "items" / "nullable", text)
    if list_type != "map":
        return
    for key in schema.get(_LIST_KEYS) or ():
        child = (items.get("properties") or {}).get(key)
        if child is None:
            continue
        at = (path / "items" / "properties").key(key)
        word = f"this property is in {_LIST_KEYS}, so it"
        if key not in (items.get("required") or ()) and child.get("default") is None:
            yield required(at / "default", f"{word} must have a default or be a required property")
        if child.get("nullable"):
            yield forbidden(at / "nullable", f"{word} cannot be nullable")
