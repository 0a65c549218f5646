"""Decoding request bodies as Go's strict decoder sees them: duplicate and unknown fields, wrong types.

`duplicate_fields(raw)` reads JSON bytes; `check(obj, type)` walks a decoded object and gives unknown fields in
upstream's wording and raises BadRequest for a value of the wrong type; `normalize` drops what Go would not keep.
`in_order` brings the problems into the order in which they appear in the body, as upstream answers them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import jiter

from todoku.api import goformat, gojson, quantities, times
from todoku.api.errors import BadRequest
from todoku.api.meta import Object
from todoku.api.schemas import ANY, Type

INT_LIMITS = {"int32": 2**31, "int64": 2**63}


def parse_json(raw: bytes) -> tuple[Any, list[str]]:
    """The JSON value and its duplicate fields; of two equal keys the last one counts, as in Go.

    Raises ValueError in Go's words for what is no JSON (nesting beyond the parser's depth included).
    """
    try:
        return jiter.from_json(raw, catch_duplicate_keys=True), []
    except ValueError as error:
        if "duplicate key" not in str(error):
            raise ValueError(gojson.syntax_error(raw) or str(error)) from None
    try:
        return jiter.from_json(raw), duplicate_fields(raw)
    except RecursionError as error:
        raise ValueError("exceeded max depth") from error


def duplicate_fields(raw: bytes | str) -> list[str]:
    """`duplicate field "spec.ports[0].port"` for each key that appears twice in a JSON object.

    Raises ValueError for what is no JSON.
    """
    found: list[str] = []
    _walk_pairs(json.loads(raw, object_pairs_hook=_Pairs), "", found)
    return list(dict.fromkeys(found))


class _Pairs(list[tuple[str, Any]]):
    """An object as its pairs, so that nothing gets lost."""


def _walk_pairs(value: Any, path: str, found: list[str]) -> None:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for key, child in value:
            below = f"{path}.{key}" if path else key
            if key in seen:
                found.append(f'duplicate field "{below}"')
            seen.add(key)
            _walk_pairs(child, below, found)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _walk_pairs(child, f"{path}[{index}]", found)


def in_order(raw: bytes, problems: Sequence[str]) -> list[str]:
    """The strict problems of a JSON body as Go's decoder meets them: a duplicate where the key comes again."""
    found: dict[str, int] = {}
    _note_fields(json.loads(raw, object_pairs_hook=_Pairs), "", found)
    return sorted(problems, key=lambda one: found.get(one, len(found)))


def _note_fields(value: Any, path: str, found: dict[str, int]) -> None:
    if isinstance(value, _Pairs):
        for key, child in value:
            below = f"{path}.{key}" if path else key
            for text in (f'unknown field "{below}"', f'duplicate field "{below}"'):
                if text not in found:
                    found[text] = len(found)
                    break
            _note_fields(child, below, found)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            _note_fields(child, f"{path}[{index}]", found)


def strict_problems(obj: Object, type_: Type) -> list[str]:
    """`unknown field "spec.x"` for every field that the type does not know, in order of appearance."""
    found: list[str] = []
    _unknown(obj, type_, "", found)
    return found


def _unknown(value: Any, type_: Type, path: str, found: list[str]) -> None:
    if isinstance(value, dict):
        if type_.kind == "struct":
            for key, child in value.items():
                below = f"{path}.{key}" if path else key
                if key in type_.fields:
                    _unknown(child, type_.fields[key], below, found)
                elif not type_.open:
                    found.append(f'unknown field "{below}"')
        elif type_.kind == "map":
            for key, child in value.items():
                _unknown(child, type_.items or ANY, f"{path}.{key}", found)
    elif isinstance(value, list) and type_.kind == "list":
        for index, child in enumerate(value):
            _unknown(child, type_.items or ANY, f"{path}[{index}]", found)


def normalize(value: Any, type_: Type) -> Any:
    """Drop unknown fields, nulls, and empty optional maps and lists: what a typed object writes back as JSON.

    Times are brought into the form that Go writes.  Returns a new value; list items that are null become what Go's zero
    value is for structs ({}).
    """
    if isinstance(value, dict):
        if type_.kind == "struct":
            return _normalized_struct(value, type_)
        if type_.kind == "map":
            items = type_.items or ANY
            return {key: _normalized_item(child, items) for key, child in value.items()}
    elif isinstance(value, list) and type_.kind == "list":
        items = type_.items or ANY
        return [_normalized_item(child, items) for child in value]
    elif isinstance(value, str) and type_.kind in ("time", "microtime"):
        return times.canonical(value, micro=type_.kind == "microtime")
    return value


def _normalized_item(value: Any, items: Type) -> Any:
    return zero_item(items) if value is None else normalize(value, items)


def zero_item(items: Type) -> Any:
    """What a null in a list or map is read as: Go's zero value, None where that is written as null."""
    return {"struct": {}, "string": "", "integer": 0, "boolean": False, "map": {}}.get(items.kind)


def _normalized_struct(value: Object, type_: Type) -> Object:
    out: Object = {}
    for key, child in value.items():
        field = type_.fields.get(key)
        if field is None:
            if type_.open:
                out[key] = child
            continue
        if child is None:
            continue
        kept = normalize(child, field)
        if kept in ({}, []) and field.kind in ("map", "list") and key not in type_.required:
            continue
        out[key] = kept
    return out


def check_types(obj: Object, type_: Type, *, kind: str, version: str) -> None:
    """Raise BadRequest for the first value that Go's decoder would refuse.

    The message is the one of kube-apiserver: `Service in version "v1" cannot be handled as a Service: json: cannot
    unmarshal string into Go struct field ServicePort.spec.ports.port of type int32`.
    """
    problem = _type_problem(obj, type_, struct=kind, fields=())
    if problem:
        raise BadRequest(f'{kind} in version "{version}" cannot be handled as a {kind}: {problem}')


def type_problem(obj: Any, type_: Type, *, kind: str) -> str | None:
    """The decoder's message for the first wrong value, or None."""
    return _type_problem(obj, type_, struct=kind, fields=())


def conversion_problem(value: Any, type_: Type) -> str | None:
    """The first wrong value in the words of apimachinery's converter, through which strategic patches go."""
    if value is None or type_.kind == "any":
        return None
    if type_.kind in ("struct", "map"):
        return _map_conversion_problem(value, type_)
    if type_.kind == "list":
        if not isinstance(value, list):
            return f"cannot restore slice from {goformat.kind(value)}"
        found = (conversion_problem(one, type_.items or ANY) for one in value)
        return next((one for one in found if one), None)
    problem = _CHECKS[type_.kind](value, type_)
    if problem is None or problem:
        return problem
    source, wanted = goformat.kind(value), _converted(type_)
    numbers = source in ("int64", "float64")
    if (source == "int64" and wanted == "string") or (numbers and wanted.startswith("int")):
        return f"cannot convert {source} to {wanted}"
    return f"unrecognized type: {wanted}"


def _map_conversion_problem(value: Any, type_: Type) -> str | None:
    if not isinstance(value, dict):
        if type_.kind == "struct":
            return f"cannot restore struct from: {goformat.kind(value)}"
        return f"cannot restore map from {goformat.kind(value)}"
    struct, items = type_.kind == "struct", type_.items or ANY
    for key, child in value.items():
        below = type_.fields.get(key, ANY) if struct else items
        if problem := conversion_problem(child, below):
            return problem
    return None


def _converted(type_: Type) -> str:
    if type_.kind == "integer":
        return type_.format or "int64"
    return {"boolean": "bool", "number": "float64"}.get(type_.kind, "string")


def _type_problem(value: Any, type_: Type, *, struct: str, fields: Sequence[str]) -> str | None:
    if value is None:
        return None
    checker = _CHECKS.get(type_.kind)
    if checker is None:
        return _nested_problem(value, type_, struct=struct, fields=fields)
    problem = checker(value, type_)
    if problem is None:
        return None
    return problem or _mismatch(value, type_, struct, fields)


def _nested_problem(value: Any, type_: Type, *, struct: str, fields: Sequence[str]) -> str | None:
    if type_.kind == "any":
        return None
    wanted = list if type_.kind == "list" else dict
    if not isinstance(value, wanted):
        return _mismatch(value, type_, struct, fields)
    if isinstance(value, list):
        items = type_.items or ANY
        for child in value:
            problem = _type_problem(child, items, struct=struct, fields=fields)
            if problem:
                return problem
        return None
    inner = type_.name.rpartition(".")[2] or struct
    for key, child in value.items():
        if type_.kind == "map":
            problem = _type_problem(child, type_.items or ANY, struct=struct, fields=fields)
        else:
            field = type_.fields.get(key)
            if field is None:
                continue
            problem = _type_problem(child, field, struct=inner, fields=(*fields, key))
        if problem:
            return problem
    return None


def _mismatch(value: Any, type_: Type, struct: str, fields: Sequence[str]) -> str:
    where = f"Go struct field {struct}.{'.'.join(fields)}" if fields else "Go value"
    word = _word(value)
    if word == "number" and type_.kind == "integer":
        word = f"number {value}"  # Go tells the number that is too large, or has a fraction
    return f"json: cannot unmarshal {word} into {where} of type {type_.go_name}"


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list) else "object"


def _integer(value: Any, type_: Type) -> str | None:
    """ "" stands for the usual mismatch."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if isinstance(value, float):
        if not value.is_integer():
            return ""
        value = int(value)
    limit = INT_LIMITS.get(type_.format, 2**63)
    return None if -limit <= value < limit else ""


def _number(value: Any, type_: Type) -> str | None:
    return None if isinstance(value, int | float) and not isinstance(value, bool) else ""


def _string(value: Any, type_: Type) -> str | None:
    return None if isinstance(value, str) else ""


def _boolean(value: Any, type_: Type) -> str | None:
    return None if isinstance(value, bool) else ""


def _quantity(value: Any, type_: Type) -> str | None:
    if isinstance(value, dict | list | bool):
        return quantities.FORM_ERROR
    try:
        quantities.parse(value)
    except quantities.QuantityError as error:
        return str(error)
    return None


def _int_or_string(value: Any, type_: Type) -> str | None:
    if isinstance(value, str):
        return None
    if isinstance(value, int) and not isinstance(value, bool) and -(2**31) <= value < 2**31:
        return None
    if isinstance(value, dict | list | bool):
        return f"json: cannot unmarshal {_word(value)} into Go value of type int32"
    return f"json: cannot unmarshal number {value} into Go value of type int32"


def _time(value: Any, type_: Type) -> str | None:
    if not isinstance(value, str):
        return f"json: cannot unmarshal {_word(value)} into Go value of type string"
    if times.is_time(value):
        return _micro_problem(value) if type_.kind == "microtime" else None
    shown = json.dumps(value)
    return f'parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006"'


_MICRO_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"


def _micro_problem(value: str) -> str | None:
    """A MicroTime has six digits after the point, no fewer and no more."""
    rest, wanted = value[19:], ".000000"
    if re.match(r"\.\d{6}", rest):
        rest, wanted = rest[7:], "Z07:00"
        if not rest[:1].isdigit():
            return None
    return f'parsing time "{value}" as "{_MICRO_LAYOUT}": cannot parse "{rest}" as "{wanted}"'


def _bytes(value: Any, type_: Type) -> str | None:
    if not isinstance(value, str):
        return ""
    position = _bad_base64(value)
    return None if position < 0 else f"illegal base64 data at input byte {position}"


_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


def _bad_base64(text: str) -> int:
    """The position that Go's decoder complains about, -1 if none."""
    stripped = text.replace("\n", "").replace("\r", "")
    body = stripped.rstrip("=")
    for index, one in enumerate(body):
        if one not in _BASE64:
            return index
    if len(stripped) % 4 or len(stripped) - len(body) > 2:
        return len(stripped) - len(stripped) % 4 if len(stripped) % 4 else len(body)
    return -1


_CHECKS = {
    "integer": _integer,
    "number": _number,
    "string": _string,
    "boolean": _boolean,
    "quantity": _quantity,
    "int-or-string": _int_or_string,
    "time": _time,
    "microtime": _time,
    "bytes": _bytes,
}
