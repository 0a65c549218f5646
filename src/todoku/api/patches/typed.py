"""Merging, comparing and pruning values by their types (sigs.k8s.io/structured-merge-diff typed)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from todoku.api.meta import copy
from todoku.api.patches.fieldsets import (
    FieldError,
    FieldPath,
    FieldSet,
    child_type,
    is_atomic,
    item_element,
    items_of,
)
from todoku.api.schemas import ANY, Type


def merge(live: Any, applied: Any, type_: Type, path: FieldPath = ()) -> Any:
    """`live` with the applied configuration laid over it; lists merge by their type.

    Raises FieldError for duplicate list items.
    """
    if isinstance(live, dict) and isinstance(applied, dict) and not is_atomic(applied, type_):
        out = dict(live)
        for key, value in applied.items():
            if key in live and live[key] is not None and value is not None:
                out[key] = merge(live[key], value, child_type(type_, key), (*path, f"f:{key}"))
            else:
                out[key] = copy(value)
        return out
    if isinstance(live, list) and isinstance(applied, list) and not is_atomic(applied, type_):
        return _merge_lists(live, applied, type_, path)
    return copy(applied)


def _merge_lists(live: list[Any], applied: list[Any], type_: Type, path: FieldPath) -> list[Any]:
    """Applied items keep their order; live ones stay where they lie between them."""
    ours, theirs = _loose_items(live, type_, path), items_of(applied, type_, path)
    first = dict(reversed(ours))  # of items that are there twice
    order = list(theirs)
    places = {element: place for place, element in enumerate(order)}
    out: list[Any] = []
    done = 0
    for element, item in ours:
        if element not in theirs:
            out.append(copy(item))
            continue
        after = max(done, places[element] + 1)
        out += [_merged_item(one, first, theirs, type_, path) for one in order[done:after]]
        done = after
    out += [_merged_item(one, first, theirs, type_, path) for one in order[done:]]
    return out


def _loose_items(live: list[Any], type_: Type, path: FieldPath) -> list[tuple[str, Any]]:
    """Live lists may hold duplicates and items without their key: such an item is known by its position."""
    out: list[tuple[str, Any]] = []
    for index, item in enumerate(live):
        try:
            out.append((item_element(item, type_, path), item))
        except FieldError:
            out.append((f"i:{index}", item))
    return out


def _merged_item(
    element: str, ours: dict[str, Any], theirs: dict[str, Any], type_: Type, path: FieldPath
) -> Any:
    if element in ours:
        return merge(ours[element], theirs[element], type_.items or ANY, (*path, element))
    return copy(theirs[element])


@dataclass(frozen=True, slots=True)
class Difference:
    added: FieldSet
    modified: FieldSet
    removed: FieldSet

    @property
    def changed(self) -> FieldSet:
        return self.added | self.modified

    def without(self, ignored: tuple[FieldPath, ...]) -> Difference:
        """Leaves out everything at or below the ignored paths."""
        return Difference(
            *(drop(one, ignored) for one in (self.added, self.modified, self.removed))
        )


def drop(fields: FieldSet, ignored: tuple[FieldPath, ...]) -> FieldSet:
    banned = frozenset(ignored)
    lengths = sorted({len(one) for one in ignored})
    if lengths == [1, 2]:  # every write comes this way
        return frozenset(
            path for path in fields if path[:1] not in banned and path[:2] not in banned
        )
    return frozenset(
        path for path in fields if not any(path[:length] in banned for length in lengths)
    )


def compare(old: Any, new: Any, type_: Type) -> Difference:
    """Which fields were added, modified and removed between two values of one type."""
    found: dict[str, set[FieldPath]] = {"added": set(), "modified": set(), "removed": set()}
    for kind, path in _compare(old, new, type_, ()):
        found[kind].add(path)
    return Difference(*(frozenset(found[kind]) for kind in ("added", "modified", "removed")))


def _compare(old: Any, new: Any, type_: Type, path: FieldPath) -> Iterator[tuple[str, FieldPath]]:
    if old is new or (old == new and type(old) is type(new)):
        return
    if isinstance(old, dict) and isinstance(new, dict) and not is_atomic(new, type_):
        for key in {**old, **new}:
            below = (*path, f"f:{key}")
            yield from _compare_child(old, new, key, child_type(type_, key), below)
    elif isinstance(old, list) and isinstance(new, list) and not is_atomic(new, type_):
        before, after = dict(_loose_items(old, type_, path)), dict(_loose_items(new, type_, path))
        for element in {**before, **after}:
            below = (*path, element)
            yield from _compare_child(before, after, element, type_.items or ANY, below)
    else:
        yield "modified", path


def _compare_child(
    old: Any, new: Any, key: str, type_: Type, path: FieldPath
) -> Iterator[tuple[str, FieldPath]]:
    if key not in old:
        yield from (("added", one) for one in all_paths(new[key], type_, path))
    elif key not in new:
        yield from (("removed", one) for one in all_paths(old[key], type_, path))
    elif old[key] is None and new[key] is not None:
        below = (one for one in all_paths(new[key], type_, path) if one != path)
        listed = list(below)
        yield from (("added", one) for one in listed)
        if not listed:
            yield "modified", path
    else:
        yield from _compare(old[key], new[key], type_, path)


def all_paths(value: Any, type_: Type, path: FieldPath) -> list[FieldPath]:
    """The path and every path below it."""
    found: list[FieldPath] = []
    _collect(value, type_, path, found)
    return found


def _collect(value: Any, type_: Type, path: FieldPath, found: list[FieldPath]) -> None:
    found.append(path)
    if value is None or is_atomic(value, type_):
        return
    if isinstance(value, dict):
        for key, child in value.items():
            _collect(child, child_type(type_, key), (*path, f"f:{key}"), found)
        return
    for element, item in _loose_items(value, type_, path):
        if isinstance(item, dict):
            _collect(item, type_.items or ANY, (*path, element), found)
        else:
            found.append((*path, element))


def remove(value: Any, fields: FieldSet, type_: Type, path: FieldPath = ()) -> Any:
    """The value without the given fields and everything below them."""
    if is_atomic(value, type_) or value is None:
        return value
    if isinstance(value, dict):
        return {
            key: remove(child, fields, child_type(type_, key), (*path, f"f:{key}"))
            for key, child in value.items()
            if (*path, f"f:{key}") not in fields
        }
    return [
        remove(item, fields, type_.items or ANY, (*path, element))
        if isinstance(item, dict)
        else item
        for element, item in _loose_items(value, type_, path)
        if (*path, element) not in fields
    ]
