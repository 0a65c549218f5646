"""The v2 document in gnostic's protobuf form, the only one that kubectl reads from /openapi/v2.

Message and field numbers: openapi.v2 of google/gnostic (OpenAPIv2.proto).  Unknown JSON (defaults, enums, vendor
extensions) travels as YAML text, of which JSON is a part.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterable
from typing import Any

from todoku.api.meta import Object


def v2_protobuf(document: Object) -> bytes:
    """Encode a document made by `v2_document`."""
    return b"".join(
        (
            _text(1, document["swagger"]),
            _message(
                2, _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
            ),
            _message(8, _paths(document["paths"])),
            _message(9, _named_all(document["definitions"], _schema)),
            b"".join(_message(12, _requirement(one)) for one in document.get("security", ())),
            _message(13, _security(document.get("securityDefinitions", {}))),
        )
    )


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _message(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, value: Any) -> bytes:
    return _message(number, str(value).encode()) if value else b""


def _texts(number: int, values: Iterable[str]) -> bytes:
    return b"".join(_message(number, value.encode()) for value in values)


def _flag(number: int, value: Any) -> bytes:
    return _varint(number << 3) + b"\1" if value else b""


def _integer(number: int, value: Any) -> bytes:
    return _varint(number << 3) + _varint(int(value)) if value else b""


def _double(number: int, value: Any) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", float(value)) if value else b""


def _any(value: Any) -> bytes:
    return _message(2, json.dumps(value).encode() + b"\n")


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _message(2, value)


def _named_all(values: Object, encode: Callable[[Any], bytes]) -> bytes:
    """A message whose field 1 repeats (name, value)."""
    return b"".join(_message(1, _named(name, encode(value))) for name, value in values.items())


def _extensions(number: int, values: Object) -> bytes:
    return b"".join(
        _message(number, _named(name, _any(value)))
        for name, value in values.items()
        if name.startswith("x-")
    )


def _paths(paths: Object) -> bytes:
    return b"".join(_message(2, _named(path, _path_item(item))) for path, item in paths.items())


_METHODS = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}


def _path_item(item: Object) -> bytes:
    methods = b"".join(
        _message(number, _operation(item[name]))
        for name, number in _METHODS.items()
        if name in item
    )
    return methods + b"".join(_message(9, _parameter(one)) for one in item.get("parameters", ()))


def _operation(one: Object) -> bytes:
    responses = b"".join(
        _message(1, _named(code, _message(1, _response(response))))
        for code, response in one["responses"].items()
    )
    return b"".join(
        (
            _texts(1, one["tags"]),
            _text(3, one["description"]),
            _text(5, one["operationId"]),
            _texts(6, one["produces"]),
            _texts(7, one["consumes"]),
            b"".join(_message(8, _parameter(each)) for each in one["parameters"]),
            _message(9, responses),
            _texts(10, one["schemes"]),
            _extensions(13, one),
        )
    )


def _response(response: Object) -> bytes:
    schema = response.get("schema")
    described = _text(1, response["description"])
    return described + (_message(2, _message(1, _schema(schema))) if schema else b"")


def _parameter(one: Object) -> bytes:
    """ParametersItem{Parameter{BodyParameter | NonBodyParameter{…}}}"""
    if one["in"] == "body":
        body = _text(2, one["name"]) + _text(3, "body") + _flag(4, one.get("required"))
        return _message(1, _message(1, body + _message(5, _schema(one["schema"]))))
    head = _flag(1, one.get("required")) + _text(2, one["in"])
    head += _text(3, one.get("description")) + _text(4, one["name"])
    if one["in"] == "query":
        inner = _message(3, head + _text(6, one["type"]) + _flag(20, one.get("uniqueItems")))
    else:
        inner = _message(4, head + _text(5, one["type"]) + _flag(19, one.get("uniqueItems")))
    return _message(1, _message(2, inner))


def _schema(schema: Object) -> bytes:
    types = schema.get("type", ())
    parts = [
        _text(1, schema.get("$ref")),
        _text(2, schema.get("format")),
        _text(3, schema.get("title")),
        _text(4, schema.get("description")),
    ]
    if "default" in schema:
        parts.append(_message(5, _any(schema["default"])))
    parts += [
        _double(6, schema.get("multipleOf")),
        _double(7, schema.get("maximum")),
        _flag(8, schema.get("exclusiveMaximum")),
        _double(9, schema.get("minimum")),
        _flag(10, schema.get("exclusiveMinimum")),
        _integer(11, schema.get("maxLength")),
        _integer(12, schema.get("minLength")),
        _text(13, schema.get("pattern")),
        _integer(14, schema.get("maxItems")),
        _integer(15, schema.get("minItems")),
        _flag(16, schema.get("uniqueItems")),
        _integer(17, schema.get("maxProperties")),
        _integer(18, schema.get("minProperties")),
        _texts(19, schema.get("required", ())),
        b"".join(_message(20, _any(value)) for value in schema.get("enum", ())),
    ]
    additional = schema.get("additionalProperties")
    if isinstance(additional, bool):
        parts.append(_message(21, _flag(2, additional)))
    elif additional is not None:
        parts.append(_message(21, _message(1, _schema(additional))))
    if types:
        parts.append(_message(22, _texts(1, [types] if isinstance(types, str) else types)))
    if "items" in schema:
        parts.append(_message(23, _message(1, _schema(schema["items"]))))
    parts += [_message(24, _schema(one)) for one in schema.get("allOf", ())]
    if "properties" in schema:
        parts.append(_message(25, _named_all(schema["properties"], _schema)))
    if "example" in schema:
        parts.append(_message(30, _any(schema["example"])))
    parts.append(_extensions(31, schema))
    return b"".join(parts)


def _requirement(one: Object) -> bytes:
    return _named_all(one, lambda scopes: _texts(1, scopes))


def _security(definitions: Object) -> bytes:
    def api_key(one: Object) -> bytes:
        key = _text(1, one["type"]) + _text(2, one["name"]) + _text(3, one["in"])
        return _message(2, key + _text(4, one.get("description")))

    return _named_all(definitions, api_key)
