"""Unknown fields of custom resources are dropped, and nulls where there may be none.

Semantics: apiextensions-apiserver pkg/apiserver/schema pruning and defaulting/prunenulls.go.
"""

from __future__ import annotations

from typing import Any

from todoku.api import decoding, schemas
from todoku.api.crd.types import EMBEDDED, PRESERVE
from todoku.api.meta import Object, copy
from todoku.api.schemas import Schema

_META = ("apiVersion", "kind", "metadata")


def prune(value: Any, schema: Schema, *, root: bool = False) -> Any:
    """A copy without the fields that the schema does not know; metadata of embedded objects becomes ObjectMeta."""
    if isinstance(value, dict):
        return _prune_object(value, schema, embedded=root or bool(schema.get(EMBEDDED)))
    if isinstance(value, list):
        items = schema.get("items")
        return [prune(one, items) for one in value] if isinstance(items, dict) else value
    return value


def _prune_object(value: Object, schema: Schema, *, embedded: bool) -> Object:
    properties = schema.get("properties") or {}
    values = schema.get("additionalProperties")
    out: Object = {}
    for key, child in value.items():
        if embedded and key in _META:
            out[key] = copy(child)
        elif isinstance(rule := properties.get(key, values), dict):
            if child is not None or _may_be_null(rule):
                out[key] = prune(child, rule)
        elif values or schema.get(PRESERVE):
            out[key] = copy(child)
    if embedded and isinstance(out.get("metadata"), dict) and out is not value:
        out["metadata"] = decoding.normalize(out["metadata"], schemas.type_of(schemas.OBJECT_META))
    return out


def _may_be_null(rule: Schema) -> bool:
    """A null that is not allowed is dropped like an unknown field; one that has a default gives way to that."""
    return bool(rule.get("nullable")) or rule.get("default") is not None
