"""The `Type` of a structural schema, for patches, managed fields and strict decoding."""

from __future__ import annotations

import functools

from todoku.api import schemas
from todoku.api.schemas import ANY, STRING, Schema, Type

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
INT_OR_STRING = "x-kubernetes-int-or-string"


def type_of_schema(schema: Schema | None, *, root: bool = True) -> Type:
    """None (no schema) and objects that preserve unknown fields give open types."""
    if schema is None:
        return Type("struct", fields=_meta_fields(), open=True)
    if root:
        return _object({**schema, EMBEDDED: True})
    return _node(schema)


def _meta_fields() -> dict[str, Type]:
    return {"apiVersion": STRING, "kind": STRING, "metadata": schemas.type_of(schemas.OBJECT_META)}


def _node(schema: Schema) -> Type:
    if schema.get(INT_OR_STRING):
        return Type("int-or-string", nullable=bool(schema.get("nullable")))
    kind = schema.get("type", "")
    if kind == "object":
        return _object(schema)
    if kind == "array":
        items = schema.get("items")
        return Type(
            "list",
            items=_node(items) if isinstance(items, dict) else ANY,
            list_type=schema.get("x-kubernetes-list-type", "atomic"),
            list_keys=tuple(schema.get("x-kubernetes-list-map-keys", ())),
            nullable=bool(schema.get("nullable")),
        )
    if kind in ("string", "integer", "number", "boolean"):
        form = schema.get("format", "") if kind == "integer" else ""
        return _scalar(kind, form, bool(schema.get("nullable")))
    return ANY


@functools.cache
def _scalar(kind: str, form: str, nullable: bool) -> Type:
    """One for all fields alike: a large schema has thousands."""
    return Type(kind, format=form, nullable=nullable)


def _object(schema: Schema) -> Type:
    properties = schema.get("properties") or {}
    values = schema.get("additionalProperties")
    map_type = schema.get("x-kubernetes-map-type", "granular")
    nullable = bool(schema.get("nullable"))
    embedded = bool(schema.get(EMBEDDED))
    if values and not properties and not embedded:
        items = _node(values) if isinstance(values, dict) else ANY
        return Type("map", items=items, map_type=map_type, nullable=nullable)
    preserved = bool(schema.get(PRESERVE)) or values is True
    fields = {name: _node(child) for name, child in properties.items()}
    if embedded:
        fields = {**fields, **_meta_fields()}
    if preserved and not fields:
        return Type("any", open=True, map_type=map_type, nullable=nullable)
    return Type(
        "struct",
        fields=fields,
        required=tuple(schema.get("required") or ()),
        map_type=map_type,
        defaults={
            name: child["default"] for name, child in properties.items() if "default" in child
        },
        open=preserved,
        nullable=nullable,
    )
