"""Kubernetes protobuf bodies decoded into wire objects, driven by data.

A body is `k8s\\0` followed by a runtime.Unknown message that names apiVersion and kind and carries the object.
Go clients send such bodies; answers may always be JSON.  The result is what the same client would have sent as
JSON: fields that Go leaves out when empty are left out, pointers to a zero value keep it, inlined structs are
flattened.  Encoding: protobuf wire format, proto2.  Facts: `todoku.wire.messages`.
"""

from __future__ import annotations

import binascii
import json
import struct
from typing import Any, NoReturn

from todoku.api.errors import BadRequest
from todoku.api.meta import Object
from todoku.wire import messages
from todoku.wire.golang import rfc3339, rfc3339_micro
from todoku.wire.messages import Field

MAGIC = b"k8s\0"

# A JSONSchemaProps nests three messages per level of a CRD's schema; two Python frames go with each message.
_MAX_DEPTH = 150

# What a message stands for that Go would leave out or write as null: the zero time, no raw JSON.
_ABSENT = object()

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_UNKNOWN = "apimachinery.pkg.runtime.Unknown"


class MalformedBody(BadRequest):
    """The body is not the protobuf message it claims to be."""


def decode(body: bytes, default: tuple[str, str] | None = None) -> Object:
    """Return the wire object in an enveloped body, apiVersion and kind first.

    `default` is what a body is that does not say so (apiVersion, kind); with it, a body of an unknown kind
    is an object of nothing but that kind.  Raises MalformedBody for anything that is not a well-formed
    message of a known kind.
    """
    return _enveloped(body, depth=0, default=default)


def decode_message(name: str, raw: bytes) -> Any:
    """Return the JSON form of one bare message, e.g. `api.core.v1.Pod`; no envelope, no apiVersion."""
    return _message(name, memoryview(raw), depth=0)


def _enveloped(body: bytes, *, depth: int, default: tuple[str, str] | None = None) -> Object:
    if not body:
        raise MalformedBody("empty data")
    if not body.startswith(MAGIC):
        prefix = " ".join(map(str, MAGIC))
        raise MalformedBody(
            f"provided data does not appear to be a protobuf message, expected prefix [{prefix}]"
        )
    if len(body) == len(MAGIC):
        raise MalformedBody("empty body")
    unknown = _message(_UNKNOWN, memoryview(body)[len(MAGIC) :], depth=depth + 1)
    api_version, kind = unknown.get("apiVersion", ""), unknown.get("kind", "")
    if unknown.get("contentEncoding"):
        _fail("its content is encoded")
    if default is not None:
        api_version, kind = api_version or default[0], kind or default[1]
    name = messages.find(api_version, kind)
    if name is None and default is not None:
        return {"apiVersion": api_version, "kind": kind}
    if name is None:
        _fail(f'no protobuf message is known for kind "{kind}" in version "{api_version}"')
    decoded = _message(name, memoryview(unknown.get("raw", b"")), depth=depth + 1)
    return {"apiVersion": api_version, "kind": kind, **decoded}


def _message(name: str, data: memoryview, *, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        _fail(f"it nests deeper than {_MAX_DEPTH} messages")
    special = _SPECIAL.get(name)
    fields = messages.fields(name)
    values: Object = {}
    position, end = 0, len(data)
    while position < end:
        tag, position = _varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        field = fields.get(number)
        if field is None:
            if number == 0:
                _fail("field number 0")
            position = _skip(data, position, wire_type)
            continue
        if wire_type == _BYTES:
            chunk, position = _chunk(data, position)
            _store_chunk(values, field, chunk, depth, special is not None)
        else:
            value, position = _scalar(data, position, field, wire_type)
            _store(values, field, value, special is not None)
    return special(values, depth) if special else values


def _store_chunk(
    values: Object, field: Field, chunk: memoryview, depth: int, verbatim: bool
) -> None:
    """Store a length-delimited field: a string, bytes, a message, a map entry or packed scalars."""
    if field.is_map:
        key, value = _map_entry(field, chunk, depth)
        values.setdefault(field.json, {})[key] = value
        return
    if field.type in _PACKABLE:
        if not field.repeated:
            _fail(f"field {field.json} has the wrong wire type")
        values.setdefault(field.json, []).extend(_packed(field, chunk))
        return
    if verbatim and field.type == "bytes":
        values[field.json] = bytes(chunk)
        return
    value = _value(field.type, chunk, depth)
    if field.inline:
        values.update(value)
    elif value is _ABSENT:
        values.pop(field.json, None)
    else:
        _store(values, field, value, verbatim)


def _store(values: Object, field: Field, value: Any, verbatim: bool) -> None:
    if field.repeated:
        values.setdefault(field.json, []).append(value)
    elif value or field.keeps_zero or verbatim or field.type not in _SCALARS:
        values[field.json] = value
    else:
        values.pop(field.json, None)


def _value(kind: str, chunk: memoryview, depth: int) -> Any:
    if kind == "string":
        try:
            return str(chunk, "utf-8")
        except UnicodeDecodeError as error:
            raise MalformedBody(_text("a string is not UTF-8")) from error
    if kind == "bytes":
        return binascii.b2a_base64(chunk, newline=False).decode()
    return _message(kind, chunk, depth=depth + 1)


def _map_entry(field: Field, chunk: memoryview, depth: int) -> tuple[str, Any]:
    key, value, position = "", None, 0
    while position < len(chunk):
        tag, position = _varint(chunk, position)
        if tag >> 3 in (1, 2) and tag & 7 != _BYTES:
            _fail(f"a map entry of {field.json} has the wrong wire type")
        if tag >> 3 == 1:
            part, position = _chunk(chunk, position)
            key = _value("string", part, depth)
        elif tag >> 3 == 2:
            part, position = _chunk(chunk, position)
            value = _value(field.type, part, depth)
        else:
            position = _skip(chunk, position, tag & 7)
    if value is None:
        value = _value(field.type, memoryview(b""), depth)
    return key, None if value is _ABSENT else value


# -- scalars


_PACKABLE = frozenset(("int32", "int64", "bool", "double"))
_SCALARS = _PACKABLE | {"string"}
_WIRE_TYPE = {"int32": _VARINT, "int64": _VARINT, "bool": _VARINT, "double": _FIXED64}


def _scalar(data: memoryview, position: int, field: Field, wire_type: int) -> tuple[Any, int]:
    if _WIRE_TYPE.get(field.type) != wire_type or field.is_map:
        _fail(f"field {field.json} has the wrong wire type")
    if wire_type == _FIXED64:
        return _double(data, position)
    number, position = _varint(data, position)
    return _integer(field.type, number), position


def _packed(field: Field, chunk: memoryview) -> list[Any]:
    values, position = [], 0
    while position < len(chunk):
        value, position = _scalar(chunk, position, field, _WIRE_TYPE[field.type])
        values.append(value)
    return values


def _integer(kind: str, number: int) -> int | bool:
    if kind == "bool":
        return number != 0
    bits = 32 if kind == "int32" else 64
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> (bits - 1) else number


def _double(data: memoryview, position: int) -> tuple[int | float, int]:
    if position + 8 > len(data):
        _fail("it ends in the middle of a field")
    (value,) = struct.unpack_from("<d", data, position)
    if value != value or value in (float("inf"), float("-inf")):
        _fail("a number is not finite")
    # Go writes the float64 1 as the JSON number 1
    whole = value.is_integer() and abs(value) < 1e21
    return (int(value) if whole else value), position + 8


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    try:
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > 63:
                _fail("a varint is longer than ten bytes")
    except IndexError as error:
        raise MalformedBody(_text("it ends in the middle of a field")) from error


def _chunk(data: memoryview, position: int) -> tuple[memoryview, int]:
    size, position = _varint(data, position)
    if position + size > len(data):
        _fail("a field is longer than the message it is in")
    return data[position : position + size], position + size


def _skip(data: memoryview, position: int, wire_type: int) -> int:
    """Step over an unknown field; old servers ignore what newer clients add."""
    if wire_type == _VARINT:
        return _varint(data, position)[1]
    if wire_type == _BYTES:
        return _chunk(data, position)[1]
    if wire_type not in (_FIXED64, _FIXED32):
        _fail(f"wire type {wire_type} is not in use")
    position += 8 if wire_type == _FIXED64 else 4
    if position > len(data):
        _fail("it ends in the middle of a field")
    return position


# -- messages whose JSON form is not an object of their fields


def _time(values: Object, depth: int) -> Any:
    if not values:
        return _ABSENT  # Go's zero time
    return _checked_time(rfc3339(values.get("seconds", 0)))


def _micro_time(values: Object, depth: int) -> Any:
    if not values:
        return _ABSENT
    return _checked_time(rfc3339_micro(values.get("seconds", 0), values.get("nanos", 0)))


def _checked_time(text: str | None) -> str:
    if text is None:
        _fail("a time lies outside the years 0 to 9999")
    return text


def _quantity(values: Object, depth: int) -> str:
    return str(values.get("string", "")) or "0"


def _int_or_string(values: Object, depth: int) -> int | str:
    if values.get("type", 0) == 0:
        return int(values.get("intVal", 0))
    return str(values.get("strVal", ""))


def _json_bytes(values: Object, depth: int) -> Any:
    return _parse_json(values.get("Raw", b"") or values.get("raw", b""))


def _raw_extension(values: Object, depth: int) -> Any:
    raw = values.get("raw", b"")
    if raw.startswith(MAGIC):
        return _enveloped(raw, depth=depth)
    return _parse_json(raw)


def _parse_json(raw: bytes) -> Any:
    if not raw:
        return _ABSENT
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise MalformedBody(_text("embedded JSON does not parse")) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _items(values: Object, depth: int) -> list[str]:
    return list(values.get("items", []))


def _schema_or_bool(values: Object, depth: int) -> Any:
    return values["schema"] if "schema" in values else values.get("allows", False)


def _schema_or_array(values: Object, depth: int) -> Any:
    return values.get("jSONSchemas") or values.get("schema")


def _schema_or_strings(values: Object, depth: int) -> Any:
    return values.get("property") or values.get("schema")


def _verbatim(values: Object, depth: int) -> Object:
    return values


_META = "apimachinery.pkg.apis.meta.v1."
_SPECIAL = {
    _META + "Time": _time,
    _META + "MicroTime": _micro_time,
    _META + "FieldsV1": _json_bytes,
    _META + "Verbs": _items,
    "apimachinery.pkg.api.resource.Quantity": _quantity,
    "apimachinery.pkg.util.intstr.IntOrString": _int_or_string,
    "apimachinery.pkg.runtime.RawExtension": _raw_extension,
    _UNKNOWN: _verbatim,
    **{
        f"api.{group}.{version}.ExtraValue": _items
        for group in ("authentication", "authorization", "certificates")
        for version in ("v1", "v1beta1")
    },
    **{
        f"apiextensions_apiserver.pkg.apis.apiextensions.{version}.{name}": convert
        for version in ("v1", "v1beta1")
        for name, convert in (
            ("JSON", _json_bytes),
            ("JSONSchemaPropsOrBool", _schema_or_bool),
            ("JSONSchemaPropsOrArray", _schema_or_array),
            ("JSONSchemaPropsOrStringArray", _schema_or_strings),
        )
    },
}


def _text(problem: str) -> str:
    return f"the protobuf body is malformed: {problem}"


def _fail(problem: str) -> NoReturn:
    raise MalformedBody(_text(problem))
