"""One walk over a body that nothing is wrong with: its types hold, no field is unknown, and it is normalized.

`decoding` says the same in three walks that also name what is wrong, where and in which order.  Nearly every body is
right, so that `kept` is asked first; for the others it answers None and says nothing.  The walkers are made per type
when first needed and kept, since types are few and shared.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from todoku.api import decoding, times
from todoku.api.meta import Object
from todoku.api.schemas import ANY, Type

Walker: TypeAlias = Callable[[Any], Any]


class _Odd(Exception):
    """A value of another type, or a field that the type does not know."""


def kept(obj: Object, type_: Type) -> Object | None:
    """`decoding.normalize(obj, type_)`, or None where `check_types` or `strict_problems` would find something.

    May also be None for values that those accept in the end, such as 1.0 for an integer.
    """
    try:
        result: Object = _walker(type_)(obj)
    except _Odd:
        return None
    return result


def _walker(type_: Type) -> Walker:
    found: Walker | None = type_.derived.get(__name__)
    if found is None:
        found = type_.derived[__name__] = _made(type_)
    return found


def _made(type_: Type) -> Walker:
    if type_.kind == "struct":
        return _struct(type_)
    if type_.kind == "any":
        return _as_it_is
    if type_.kind in ("list", "map"):
        return _list(type_) if type_.kind == "list" else _map(type_)
    return _leaf(type_)


def _as_it_is(value: Any) -> Any:
    return value


class _Fields(dict[str, Walker]):
    """The walkers of a struct's fields, made when first met: types are recursive."""

    def __init__(self, type_: Type) -> None:
        super().__init__()
        self.type = type_
        self.exact: dict[str, type] = {}  # fields whose values need no more than this class
        self.droppable: set[str] = set()  # an empty optional list or map is no value

    def __missing__(self, key: str) -> Walker:
        field = self.type.fields.get(key)
        if field is None:
            if not self.type.open:
                raise _Odd
            return _as_it_is
        if field.kind in ("map", "list") and key not in self.type.required:
            self.droppable.add(key)
        if field.kind in _EXACT:
            self.exact[key] = _EXACT[field.kind]
        walker = self[key] = _walker(field)
        return walker


_EXACT = {"string": str, "boolean": bool}


def _struct(type_: Type) -> Walker:
    fields = _Fields(type_)
    exact, droppable = fields.exact, fields.droppable

    def walk(value: Any) -> Object:
        if value.__class__ is not dict:
            raise _Odd
        out: Object = {}
        for key, child in value.items():
            if child.__class__ is exact.get(key):
                out[key] = child
                continue
            walker = fields[key]
            if child is None:
                if (
                    key not in fields
                ):  # an open struct keeps even the nulls of what it does not know
                    out[key] = child
                continue
            result = walker(child)
            if result or key not in droppable:
                out[key] = result
        return out

    return walk


def _list(type_: Type) -> Walker:
    walker, zero = _item(type_)

    def walk(value: Any) -> list[Any]:
        if value.__class__ is not list:
            raise _Odd
        return [zero() if one is None else walker(one) for one in value]

    return walk


def _map(type_: Type) -> Walker:
    walker, zero = _item(type_)

    def walk(value: Any) -> Object:
        if value.__class__ is not dict:
            raise _Odd
        return {key: zero() if one is None else walker(one) for key, one in value.items()}

    return walk


def _item(type_: Type) -> tuple[Walker, Callable[[], Any]]:
    """How items are walked, and what a null item becomes."""
    items = type_.items or ANY
    walker: Walker | None = None

    def walk(value: Any) -> Any:
        nonlocal walker
        if walker is None:
            walker = _walker(items)
        return walker(value)

    leaf = items.kind not in ("struct", "list", "map")
    return _walker(items) if leaf else walk, lambda: decoding.zero_item(items)


def _leaf(type_: Type) -> Walker:
    wanted = _EXACT.get(type_.kind)

    def exactly(value: Any) -> Any:
        if value.__class__ is not wanted:
            raise _Odd
        return value

    def checked(value: Any) -> Any:
        if decoding.type_problem(value, type_, kind="") is not None:
            raise _Odd
        return value

    if type_.kind == "integer":
        return _integer(type_)
    if type_.kind in ("time", "microtime"):
        return lambda value: times.canonical(checked(value), micro=type_.kind == "microtime")
    return exactly if wanted else checked


def _integer(type_: Type) -> Walker:
    limit = decoding.INT_LIMITS.get(type_.format, 2**63)

    def walk(value: Any) -> int:
        if value.__class__ is not int or not -limit <= value < limit:
            raise _Odd
        number: int = value
        return number

    return walk
