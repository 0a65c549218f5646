"""A small protobuf encoder for tests: the reverse of `todoku.wire.protobuf` for plain messages."""

import base64
import json
import struct
from typing import Any

from todoku.wire import messages


def envelope(api_version: str, kind: str, raw: bytes) -> bytes:
    type_meta = chunk(1, api_version.encode()) + chunk(2, kind.encode())
    return b"k8s\0" + chunk(1, type_meta) + chunk(2, raw) + chunk(3, b"") + chunk(4, b"")


def encode(obj: dict[str, Any]) -> bytes:
    """Encode a wire object with its envelope."""
    name = messages.find(obj["apiVersion"], obj["kind"])
    assert name is not None
    body = {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}
    return envelope(obj["apiVersion"], obj["kind"], message(name, body))


def message(name: str, value: Any) -> bytes:
    special = _SPECIAL.get(name.rpartition(".")[2])
    if special:
        return special(name, value)
    out = b""
    for number, field in messages.fields(name).items():
        if field.inline:
            inner = message(field.type, _part(field.type, value))
            out += chunk(number, inner) if inner else b""
        elif field.json in value:
            out += _field(number, field, value[field.json])
    return out


def _part(name: str, value: dict[str, Any]) -> dict[str, Any]:
    return value


def _field(number: int, field: messages.Field, value: Any) -> bytes:
    if field.is_map:
        return b"".join(
            chunk(number, chunk(1, key.encode()) + chunk(2, _payload(field.type, one)))
            for key, one in value.items()
        )
    many = value if field.repeated else [value]
    return b"".join(_one(number, field.type, one) for one in many)


def _one(number: int, kind: str, value: Any) -> bytes:
    if kind in ("int32", "int64", "bool"):
        return varint(number << 3) + varint(int(value) & (1 << 64) - 1)
    if kind == "double":
        return varint(number << 3 | 1) + struct.pack("<d", value)
    return chunk(number, _payload(kind, value))


def _payload(kind: str, value: Any) -> bytes:
    if kind == "string":
        return str(value).encode()
    if kind == "bytes":
        return base64.b64decode(value)
    return message(kind, value)


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def chunk(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def _time(name: str, value: str) -> bytes:
    from datetime import datetime

    moment = datetime.fromisoformat(value)
    out = varint(1 << 3) + varint(int(moment.timestamp()) & (1 << 64) - 1)
    return out + varint(2 << 3) + varint(moment.microsecond * 1000)


def _int_or_string(name: str, value: int | str) -> bytes:
    if isinstance(value, int):
        return varint(1 << 3) + varint(0) + varint(2 << 3) + varint(value & (1 << 64) - 1)
    return varint(1 << 3) + varint(1) + chunk(3, value.encode())


def _schema_or_bool(name: str, value: Any) -> bytes:
    if isinstance(value, bool):
        return varint(1 << 3) + varint(int(value))
    return varint(1 << 3) + varint(1) + chunk(2, message(_schema(name), value))


def _schema_or_array(name: str, value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(chunk(2, message(_schema(name), one)) for one in value)
    return chunk(1, message(_schema(name), value))


def _schema_or_strings(name: str, value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(chunk(2, one.encode()) for one in value)
    return chunk(1, message(_schema(name), value))


def _schema(name: str) -> str:
    return name.rpartition(".")[0] + ".JSONSchemaProps"


def _raw_json(name: str, value: Any) -> bytes:
    return chunk(1, json.dumps(value).encode())


_SPECIAL = {
    "Time": _time,
    "MicroTime": _time,
    "Quantity": lambda name, value: chunk(1, value.encode()),
    "IntOrString": _int_or_string,
    "FieldsV1": _raw_json,
    "RawExtension": _raw_json,
    "JSON": _raw_json,
    "ExtraValue": lambda name, value: b"".join(chunk(1, one.encode()) for one in value),
    "JSONSchemaPropsOrBool": _schema_or_bool,
    "JSONSchemaPropsOrArray": _schema_or_array,
    "JSONSchemaPropsOrStringArray": _schema_or_strings,
}
