"""Values as Go's fmt prints them: refusals quote what was sent, and clients compare the text."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any


def plain(value: Any) -> str:
    """`%v`: `map[spec:map[replicas:2]]`, keys in order, strings without quotes."""
    if value is None:
        return "<nil>"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{plain(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(plain(one) for one in value)}]"
    return value if isinstance(value, str) else json.dumps(value)


def source(value: Any) -> str:
    """`%#v`: as it would be written in a program."""
    if value is None:
        return "interface {}(nil)"
    if isinstance(value, dict):
        pairs = (f"{json.dumps(key)}:{source(value[key])}" for key in sorted(value))
        return f"map[string]interface {{}}{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[]interface {{}}{{{', '.join(source(one) for one in value)}}}"
    return json.dumps(value, ensure_ascii=False)


def kind(value: Any) -> str:
    """The reflect.Kind of a decoded JSON value."""
    if isinstance(value, bool):
        return "bool"
    return {dict: "map", list: "slice", str: "string", int: "int64"}.get(type(value), "float64")


def type_name(value: Any) -> str:
    """`%T` of a decoded JSON value."""
    name = kind(value)
    return {"map": "map[string]interface {}", "slice": "[]interface {}"}.get(name, name)


def number(value: float) -> str:
    """A float64 as `%v` prints it: the shortest digits that tell it, with an exponent from a million on."""
    if value == 0:
        return "0"
    sign, digits, exponent = Decimal(repr(float(value))).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    power = len(text) + exponent - 1
    minus = "-" if sign else ""
    if -4 <= power < 6:
        return minus + format(Decimal(text).scaleb(exponent), "f")
    mantissa = text[0] + (f".{text[1:]}" if len(text) > 1 else "")
    return f"{minus}{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
