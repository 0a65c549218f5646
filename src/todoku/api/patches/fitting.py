"""Whether an applied configuration fits its schema, in the words of sigs.k8s.io/structured-merge-diff typed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from todoku.api import goformat
from todoku.api.patches.fieldsets import FieldError, FieldPath, child_type, item_element, show
from todoku.api.schemas import ANY, Type


def problems(value: Any, type_: Type) -> list[str]:
    """`.spec.replica: field not declared in schema`, one for each field that is unknown or of another type."""
    return [f"{show(path)}: {text}" for path, text in _problems(value, type_, ())]


def listed(found: list[str]) -> str:
    """As one text."""
    return found[0] if len(found) == 1 else "\n".join(["errors:", *(f"  {one}" for one in found)])


def _problems(value: Any, type_: Type, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    if value is None:
        return
    if type_.kind in ("struct", "map"):
        if not isinstance(value, dict):
            yield path, f"expected map, got &{{{goformat.plain(value)}}}"
            return
        yield from _of_map(value, type_, path)
    elif type_.kind == "list":
        if not isinstance(value, list):
            yield path, f"expected list, got &{{{goformat.plain(value)}}}"
            return
        for index, item in enumerate(value):
            below = (*path, _element(item, index, type_, path))
            yield from _problems(item, type_.items or ANY, below)
    elif (text := _of_scalar(value, type_.kind)) is not None:
        yield path, text


def _of_map(value: dict[str, Any], type_: Type, path: FieldPath) -> Iterator[tuple[FieldPath, str]]:
    for key, child in value.items():
        below = (*path, f"f:{key}")
        if type_.kind == "struct" and key not in type_.fields:
            if not type_.open:
                yield below, "field not declared in schema"
            continue
        yield from _problems(child, child_type(type_, key), below)


def _element(item: Any, index: int, type_: Type, path: FieldPath) -> str:
    if type_.list_type not in ("map", "set"):
        return f"i:{index}"
    try:
        return item_element(item, type_, path)
    except FieldError:  # named when its fields are claimed
        return f"i:{index}"


def _of_scalar(value: Any, kind: str) -> str | None:
    if kind in ("string", "bytes") and not isinstance(value, str):
        return f"expected string, got &value.valueUnstructured{{Value:{goformat.source(value)}}}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("integer", "number") and not number:
        return f"expected numeric (int or float), got {goformat.type_name(value)}"
    if kind == "boolean" and not isinstance(value, bool):
        return f"expected boolean, got &{{{goformat.plain(value)}}}"
    return None
