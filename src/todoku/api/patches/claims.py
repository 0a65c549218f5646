"""FieldsV1 of everything that an object's creation sets, made in one walk over the object.

`apply.track_update` compares any two states through sets of paths.  A creation has nothing to compare with: what it
owns is the object itself in another form.  Where the walk meets what only the comparison can tell (list items without
their keys, equal ones), it answers None.  The walkers are made per type when first needed and kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from json.encoder import encode_basestring as quoted
from typing import Any, TypeAlias

from todoku.api.meta import Object
from todoku.api.patches.fieldsets import is_atomic
from todoku.api.schemas import ANY, Type

Walker: TypeAlias = Callable[[Any], Object]
_MEMBER = "."


class _Odd(Exception):
    """List items that have no element of their own."""


def created(obj: Object, type_: Type, *, blank: Object, ignored: frozenset[str]) -> Object | None:
    """FieldsV1 owned by who creates `obj`, `{}` for nothing; None where the comparison must tell.

    `blank`: the structs that even an empty object has and nobody adds.  `ignored`: fields of the object and, as
    `metadata.name`, of its metadata that have no owner.
    """
    try:
        return _beside(obj, type_, blank, ignored, "")
    except _Odd:
        return None


def _beside(
    value: Object, type_: Type, blank: Object, ignored: frozenset[str], prefix: str
) -> Object:
    """The fields below a struct that is there in any case."""
    out: Object = {}
    for key in sorted(value):
        if prefix + key in ignored:
            continue
        child, field = value[key], type_.fields.get(key, ANY)
        there = blank.get(key)
        if isinstance(there, dict) and isinstance(child, dict) and not is_atomic(child, field):
            owned = _beside(child, field, there, ignored if not prefix else _NONE, f"{key}.")
            if owned:
                out[f"f:{key}"] = owned
        elif key not in blank:
            out[f"f:{key}"] = _walker(field)(child)
        elif child is not None:
            owned = dict(_walker(field)(child))
            owned.pop(_MEMBER, None)
            out[f"f:{key}"] = owned
    return out


_NONE: frozenset[str] = frozenset()


def _walker(type_: Type) -> Walker:
    found: Walker | None = type_.derived.get(__name__)
    if found is None:
        found = type_.derived[__name__] = _made(type_)
    return found


def _made(type_: Type) -> Walker:
    if type_.kind in ("struct", "map", "any") and type_.map_type != "atomic":
        return _object(type_)
    if type_.kind == "list" and type_.list_type != "atomic":
        return _list(type_)
    return _whole


def _whole(value: Any) -> Object:
    return {}


class _Fields(dict[str, tuple[str, Walker]]):
    """Path element and walker by key, made when first met: types are recursive."""

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type = type_

    def __missing__(self, key: str) -> tuple[str, Walker]:
        struct = self.type.kind == "struct"
        child = self.type.fields.get(key, ANY) if struct else self.type.items or ANY
        found = (f"f:{key}", _walker(child))
        if struct:  # keys of maps are anybody's choice: not to be kept
            self[key] = found
        return found


def _object(type_: Type) -> Walker:
    fields = _Fields(type_)

    def walk(value: Any) -> Object:
        if value.__class__ is not dict or not value:
            return {}
        out: Object = {_MEMBER: {}}
        for key in sorted(value):
            element, walker = fields[key]
            out[element] = walker(value[key])
        return out

    return walk


def _list(type_: Type) -> Walker:
    items = type_.items or ANY
    element_of = _set_element if type_.list_type == "set" else _key_element(type_)

    def walk(value: Any) -> Object:
        if value.__class__ is not list or not value:
            return {}
        walker = _walker(items)
        found = {element_of(one): one for one in value}
        if len(found) != len(value):
            raise _Odd
        out: Object = {_MEMBER: {}}
        for element in sorted(found):
            one = found[element]
            out[element] = walker(one) if one.__class__ is dict else {}
        return out

    return walk


def _set_element(item: Any) -> str:
    return f"v:{_text(item)}"


def _key_element(type_: Type) -> Callable[[Any], str]:
    keys = [(key, f"{quoted(key)}:") for key in sorted(type_.list_keys)]
    defaults = type_.items.defaults if type_.items is not None else {}

    def element(item: Any) -> str:
        if item.__class__ is not dict:
            raise _Odd
        parts = []
        for key, name in keys:
            value = item.get(key)
            if value is None:
                value = defaults.get(key)
            if value is not None:
                parts.append(name + _text(value))
        if not parts:
            raise _Odd
        return f"k:{{{','.join(parts)}}}"

    return element


def _text(value: Any) -> str:
    if value.__class__ is str:
        return quoted(value)
    if value.__class__ is int:
        return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
