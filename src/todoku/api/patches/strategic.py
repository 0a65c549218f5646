"""Strategic merge patch: lists merge by key, with directives (k8s.io/apimachinery util/strategicpatch).

Directives: `$patch: delete|replace` in maps and list items, `$retainKeys`, `$setElementOrder/FIELD`,
`$deleteFromPrimitiveList/FIELD`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from todoku.api import goformat
from todoku.api.errors import BadRequest, Unclassified
from todoku.api.meta import Object, copy
from todoku.api.patches.fieldsets import child_type
from todoku.api.schemas import ANY, Type

_PATCH = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


def strategic_merge_patch(obj: Object, patch: Any, type_: Type) -> Object:
    """`obj` with `patch` merged into it by the merge keys of its type.

    Raises BadRequest for malformed directives, Unclassified for items without their merge key or out of order.
    """
    if not isinstance(patch, dict):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        )
    return _merge_map(copy(obj), copy(patch), type_)


def _merge_map(original: Object, patch: Object, type_: Type) -> Object:
    if _PATCH in patch:
        return _map_directive(patch)
    _retain_keys(original, patch)
    _merge_ordered(original, patch, type_)
    for key, change in patch.items():
        if key.startswith(_DELETE):
            _delete_primitives(original, key.removeprefix(_DELETE), change)
        elif change is None:
            original.pop(key, None)
        elif key not in original:
            original[key] = _clean(change)
        else:
            original[key] = _merge_value(original[key], change, child_type(type_, key))
    return original


def _map_directive(patch: Object) -> Object:
    directive = patch[_PATCH]
    if directive == "replace":
        del patch[_PATCH]
        return _clean(patch)  # type: ignore[no-any-return]
    if directive == "delete":
        return {}
    raise _unknown_directive(patch)


def _unknown_directive(patch: Object) -> Unclassified:
    shown = goformat.plain(patch[_PATCH])
    return Unclassified(f"unknown patch type: {shown} in map: {goformat.plain(patch)}")


def _merge_value(original: Any, change: Any, type_: Type) -> Any:
    if isinstance(original, dict) and isinstance(change, dict):
        if "replace" in type_.strategies:
            return _clean(change)
        return _merge_map(original, change, type_)
    if isinstance(original, list) and isinstance(change, list):
        if "merge" in type_.strategies:
            return _merge_list(original, change, type_)
        return _clean(change)
    return _clean(change)


def _retain_keys(original: Object, patch: Object) -> None:
    if _RETAIN not in patch:
        return
    keys = patch.pop(_RETAIN)
    if not isinstance(keys, list):
        raise BadRequest("invalid patch format of retainKeys")
    plain = [key for key in patch if not key.startswith("$")]
    if any(key not in keys for key in plain if patch[key] is not None):
        raise BadRequest("invalid patch format of retainKeys")
    for key in [key for key in original if key not in keys]:
        del original[key]


def _merge_ordered(original: Object, patch: Object, type_: Type) -> None:
    """Fields with `$setElementOrder`: merge the list, then bring its items into that order."""
    for directive in [key for key in patch if key.startswith(_ORDER)]:
        order = patch.pop(directive)
        key = directive.removeprefix(_ORDER)
        if not isinstance(order, list):
            raise BadRequest("invalid patch format of setElementOrder list")
        type_of_list = child_type(type_, key)
        before, change = original.get(key), patch.get(key)
        if key in patch and not isinstance(change, list):
            continue  # null removes the list, which leaves nothing to order
        _check_order(change or [], order, type_of_list)
        patch.pop(key, None)
        deletion = patch.pop(_DELETE + key, None)
        if not isinstance(before, list):
            if change is not None:
                original[key] = _in_order(_clean(change), [], order, [], type_of_list)
            continue
        merged = before if change is None else _merge_list(list(before), change, type_of_list)
        if deletion is not None:
            merged = [item for item in merged if item not in deletion]
        _require_keys(merged, type_of_list)
        listed = [item for item in merged if _index(order, item, type_of_list) >= 0]
        others = [item for item in merged if _index(order, item, type_of_list) < 0]
        original[key] = _in_order(listed, others, order, before, type_of_list)


def _require_keys(items: Sequence[Any], type_: Type) -> None:
    for item in items:
        if isinstance(item, dict):
            _key_of(item, type_)


def _check_order(change: Sequence[Any], order: Sequence[Any], type_: Type) -> None:
    """Every item of the patch must be in the order list, in the same sequence."""
    last = -1
    for item in change:
        if isinstance(item, dict) and _PATCH in item:
            continue
        index = _index(order, item, type_)
        if index < 0 or index < last:
            raise Unclassified(
                f"the order in patch list:\n{goformat.plain(list(change))}\n doesn't match $setElementOrder list:"
                f"\n{goformat.plain(list(order))}"
            )
        last = index


def _in_order(
    listed: Sequence[Any],
    others: Sequence[Any],
    order: Sequence[Any],
    server: Sequence[Any],
    type_: Type,
) -> list[Any]:
    """Items of the patch in its order, interleaved with the server's own in theirs (normalizeElementOrder)."""
    right = sorted(listed, key=lambda item: _index(order, item, type_))
    left = sorted(others, key=lambda item: _index(server, item, type_))
    out: list[Any] = []
    while left and right:
        a, b = _index(server, left[0], type_), _index(server, right[0], type_)
        out.append(left.pop(0) if 0 <= a < b else right.pop(0))
    return [*out, *left, *right]


def _index(items: Sequence[Any], wanted: Any, type_: Type) -> int:
    for index, item in enumerate(items):
        if _same_item(item, wanted, type_):
            return index
    return -1


def _same_item(one: Any, other: Any, type_: Type) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        key = type_.merge_key
        return key in one and key in other and bool(one[key] == other[key])
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _delete_primitives(original: Object, key: str, deletion: Any) -> None:
    if not isinstance(deletion, list):
        raise BadRequest("invalid patch format of primitive list")
    if isinstance(original.get(key), list):
        original[key] = [item for item in original[key] if item not in deletion]


def _merge_list(original: list[Any], change: list[Any], type_: Type) -> list[Any]:
    if not original and not change:
        return change
    sample = (original or change)[0]
    if not isinstance(sample, dict):
        merged = [*original, *(item for item in _unique(change) if item not in original)]
        listed = [item for item in merged if item in change]
        others = [item for item in merged if item not in change]
        return _in_order(listed, others, change, original, type_)
    replaced, plain = _item_directives(original, change, type_)
    if replaced:
        return [_clean(item) for item in plain]
    merged = _merge_items(list(original), plain, type_)
    listed = [item for item in merged if _index(plain, item, type_) >= 0]
    others = [item for item in merged if _index(plain, item, type_) < 0]
    return _in_order(listed, others, plain, original, type_)


def _unique(items: Sequence[Any]) -> list[Any]:
    out: list[Any] = []
    for item in items:
        if item not in out:
            out.append(item)
    return out


def _key_of(item: Any, type_: Type) -> Any:
    key = type_.merge_key
    if not key:
        raise Unclassified("cannot merge lists without merge key")
    if not isinstance(item, dict):
        raise Unclassified("lists with items of several types are not supported")
    if key not in item:
        raise Unclassified(
            f"map: {goformat.plain(item)} does not contain declared merge key: {key}"
        )
    return item[key]


def _item_directives(original: list[Any], change: list[Any], type_: Type) -> tuple[bool, list[Any]]:
    """Obey `$patch` items: deletions happen in place; True means that the patch replaces the list."""
    replaced, plain = False, []
    for item in change:
        directive = item.get(_PATCH) if isinstance(item, dict) else None
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            key = _key_of(item, type_)
            original[:] = [one for one in original if _key_of(one, type_) != key]
        elif directive == "replace":
            replaced = True
            rest = {name: value for name, value in item.items() if name != _PATCH}
            if rest:
                plain.append(rest)
        elif directive == "merge":
            raise Unclassified("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(item)
    return replaced, plain


def _merge_items(original: list[Any], change: list[Any], type_: Type) -> list[Any]:
    items = type_.items or ANY
    for item in change:
        key = _key_of(item, type_)
        for index, one in enumerate(original):
            if _key_of(one, type_) == key:
                original[index] = _merge_map(one, item, items)
                break
        else:
            original.append(_clean(item))
    return original


def _clean(value: Any) -> Any:
    """A patch value taken as it is: without nulls in maps and without directives."""
    if isinstance(value, dict):
        if value.get(_PATCH) == "delete":
            return {}
        return {
            key: _clean(child)
            for key, child in value.items()
            if child is not None and not _is_directive(key)
        }
    if isinstance(value, list):
        return [
            _clean(item)
            for item in value
            if not (isinstance(item, dict) and _PATCH in item and item[_PATCH] != "merge")
        ]
    return value


def _is_directive(key: str) -> bool:
    return key in (_PATCH, _RETAIN) or key.startswith((_ORDER, _DELETE))
