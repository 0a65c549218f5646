"""The CEL type that a structural schema declares, with the most elements that its values may have.

Where a schema sets no limit, that of a request's size counts.  Semantics: k8s.io/apiserver pkg/cel/common schemas.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from todoku.api.cel.values import escape
from todoku.api.schemas import Schema

MAX_REQUEST_BYTES = 3 * 1024 * 1024
_LONGEST = MAX_REQUEST_BYTES - 2  # a string with its quotes, a list with its brackets
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")

# format: (kind, shortest JSON in bytes, most characters)
_FORMATS = {
    "byte": ("bytes", 2, _LONGEST),
    "duration": ("duration", 3, 32),
    "date": ("timestamp", 12, 12),
    "date-time": ("timestamp", 21, 37),
}
_SCALARS = {"boolean": ("bool", 4), "integer": ("int", 1), "number": ("double", 1)}


@dataclass(frozen=True, slots=True)
class Declared:
    """`kind`: bool, int, double, string, bytes, timestamp, duration, dyn, list, map or object.

    `size_bytes` is the shortest JSON of a value.
    """

    kind: str
    max_elements: int = 0
    size_bytes: int = 1
    fields: Mapping[str, Declared] = field(default_factory=dict)
    element: Declared | None = None


STRING = Declared("string", size_bytes=2)
METADATA = Declared("object", size_bytes=2, fields={"name": STRING, "generateName": STRING})
_TYPE = {"apiVersion": STRING, "kind": STRING, "metadata": METADATA}
DYN = Declared("dyn", max_elements=_LONGEST)


def declared(schema: Schema, *, root: bool = False) -> Declared | None:
    """None for what CEL cannot see: fields without a type, objects that keep unknown fields alone."""
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    kind = schema.get("type", "")
    if root or schema.get("x-kubernetes-embedded-resource"):
        return _object(schema, _TYPE)
    if kind == "array":
        return _list(schema)
    if kind == "object":
        values = schema.get("additionalProperties")
        return _map(schema, values) if isinstance(values, dict) else _object(schema, {})
    if kind == "string":
        return _string(schema)
    if kind in _SCALARS:
        name, size = _SCALARS[kind]
        return Declared(name, size_bytes=size)
    return None


def _limit(schema: Schema, name: str, otherwise: int) -> int:
    wanted = schema.get(name)
    return max(0, int(wanted)) if wanted is not None else otherwise


def _list(schema: Schema) -> Declared | None:
    items = schema.get("items")
    element = declared(items) if isinstance(items, dict) else None
    if element is None:
        return None
    most = _limit(schema, "maxItems", _LONGEST // (element.size_bytes + 1))
    return Declared("list", max_elements=most, size_bytes=2, element=element)


def _map(schema: Schema, values: Schema) -> Declared | None:
    element = declared(values)
    if element is None:
        return None
    most = _limit(schema, "maxProperties", _LONGEST // (element.size_bytes + 6))
    return Declared("map", max_elements=most, size_bytes=2, element=element)


def _object(schema: Schema, more: Mapping[str, Declared]) -> Declared:
    required = schema.get("required") or ()
    fields: dict[str, Declared] = {}
    size = 2
    for name, child in (schema.get("properties") or {}).items():
        found = more.get(name) or declared(child)
        if found is None:
            continue
        escaped = escape(name)
        if _NAME.fullmatch(escaped):
            fields[escaped] = found
        if name in required and "default" not in child:
            size += len(name) + found.size_bytes + 4
    return Declared("object", size_bytes=size, fields={**more, **fields})


def _string(schema: Schema) -> Declared:
    if schema.get("format") in _FORMATS:
        kind, size, longest = _FORMATS[schema["format"]]
        if kind == "bytes":
            longest = _limit(schema, "maxLength", longest)
        return Declared(kind, max_elements=longest, size_bytes=size)
    if schema.get("maxLength") is not None:
        longest = 4 * _limit(schema, "maxLength", 0)  # characters of up to four bytes
    elif schema.get("enum"):
        longest = max(len(one.encode()) for one in schema["enum"] if isinstance(one, str))
    else:
        longest = _LONGEST
    return Declared("string", max_elements=longest, size_bytes=2)


def max_cardinality(one: Declared) -> int:
    """How many values of a type fit into a request."""
    return MAX_REQUEST_BYTES // (one.size_bytes + 1)
