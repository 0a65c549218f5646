"""Wire values as CEL sees them by their structural schema: escaped names, doubles, times, bytes."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from todoku.api import times
from todoku.api.schemas import Schema

_RESERVED = frozenset(
    (
        "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
        "import", "let", "loop", "package", "namespace", "return",
    )
)  # fmt: skip
_ESCAPES = (("__", "__underscores__"), (".", "__dot__"), ("-", "__dash__"), ("/", "__slash__"))
_UNESCAPES = {escaped: plain for plain, escaped in _ESCAPES}
_ESCAPED = re.compile("|".join(_UNESCAPES))


def escape(name: str) -> str:
    """A property name as CEL spells it: `a-b` is `a__dash__b` (apiextensions CEL escaping)."""
    if name in _RESERVED:
        return f"__{name}__"
    if name.isidentifier() and "__" not in name:
        return name
    for plain, escaped in _ESCAPES:
        name = name.replace(plain, escaped)
    return name


def unescape(name: str) -> str:
    """The property that an escaped name stands for."""
    inner = name.removeprefix("__").removesuffix("__")
    if name == f"__{inner}__" and inner in _RESERVED:
        return inner
    return _ESCAPED.sub(lambda match: _UNESCAPES[match.group()], name)


def to_cel(value: Any, schema: Schema | None) -> Any:
    """Convert for evaluation; without a schema the value is taken as it is."""
    if isinstance(value, dict):
        return _object(value, schema or {})
    if isinstance(value, list):
        items = (schema or {}).get("items")
        return [to_cel(one, items if isinstance(items, dict) else None) for one in value]
    if schema is None or isinstance(value, bool) or value is None:
        return value
    if isinstance(value, str):
        return _string(value, schema)
    if schema.get("type") == "number" and isinstance(value, int):
        return float(value)
    if schema.get("type") == "integer" and isinstance(value, float):
        return int(value)
    return value


def _object(value: dict[str, Any], schema: Schema) -> dict[str, Any]:
    properties, values = schema.get("properties"), schema.get("additionalProperties")
    if properties is None and isinstance(values, dict):
        return {key: to_cel(child, values) for key, child in value.items()}
    known = properties or {}
    return {escape(key): to_cel(child, known.get(key)) for key, child in value.items()}


def _string(value: str, schema: Schema) -> Any:
    form = schema.get("format", "")
    try:
        if form in ("date", "date-time", "datetime"):
            from google.protobuf.timestamp_pb2 import Timestamp

            seconds = times.parse(f"{value}T00:00:00Z" if form == "date" else value)
            whole = int(seconds // 1)
            return Timestamp(seconds=whole, nanos=round((seconds - whole) * 1e9))
        if form == "duration":
            from google.protobuf.duration_pb2 import Duration

            nanos = round(times.parse_duration(value) * 1e9)
            sign = -1 if nanos < 0 else 1
            seconds_part, rest = divmod(abs(nanos), 10**9)
            return Duration(seconds=sign * seconds_part, nanos=sign * rest)
        if form == "byte":
            return base64.b64decode(value)
    except (ValueError, binascii.Error):
        return value
    return value
