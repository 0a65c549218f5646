"""Strategic merge patch: lists merge by key, with directives (k8s.io/apimachinery util/strategicpatch).

Directives: `$patch: delete|replace` in maps and list items, `$retainKeys`, `$setElementOrder/FIELD`,
`$deleteFromPrimitiveList/FIELD`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

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
                original[key] = _sorted(_clean(change), order, [], type_of_list)
            continue
        merged = before if change is None else _merge_list(list(before), change, type_of_list)
        if deletion is not None:
            _check_deletion(deletion)
            merged = _without(merged, deletion)
        _require_keys(merged, type_of_list)
        original[key] = _sorted(merged, order, before, type_of_list)


def _require_keys(items: Sequence[Any], type_: Type) -> None:
    for item in items:
        if isinstance(item, dict):
            _key_of(item, type_)


def _check_order(change: Sequence[Any], order: Sequence[Any], type_: Type) -> None:
    """Every item of the patch must be in the order list, in the same sequence."""
    last, places = -1, _places(order, type_)
    for item in change:
        if isinstance(item, dict) and _PATCH in item:
            continue
        index = places.get(_token(item, type_), -1)
        if index < 0 or index < last:
            raise Unclassified(
                f"the order in patch list:\n{goformat.plain(list(change))}\n doesn't match $setElementOrder list:"
                f"\n{goformat.plain(list(order))}"
            )
        last = index


def _sorted(
    merged: Sequence[Any], order: Sequence[Any], server: Sequence[Any], type_: Type
) -> list[Any]:
    """Items of the order in its sequence, interleaved with the server's own in theirs (normalizeElementOrder)."""
    wanted, stored = _places(order, type_), _places(server, type_)
    right: list[tuple[int, int, Any]] = []  # by the order; and where the server has it
    left: list[tuple[int, Any]] = []
    for item in merged:
        token = _token(item, type_)
        place = stored.get(token, -1)
        if token in wanted:
            right.append((wanted[token], place, item))
        else:
            left.append((place, item))
    right.sort(key=lambda one: one[0])
    left.sort(key=lambda one: one[0])
    out: list[Any] = []
    own = 0
    for _, place, item in right:
        while own < len(left) and 0 <= left[own][0] < place:
            out.append(left[own][1])
            own += 1
        out.append(item)
    return [*out, *(item for _, item in left[own:])]


_Token = tuple[str, Any] | None


def _token(item: Any, type_: Type) -> _Token:
    """What makes two items of a list the same one; None is like no other."""
    if not isinstance(item, dict):
        return ("", _frozen(item))
    return ("map", _frozen(item[type_.merge_key])) if type_.merge_key in item else None


def _frozen(value: Any) -> Any:
    """The value as a key of a dictionary, which tells true from 1."""
    if isinstance(value, bool | dict | list):
        return msgspec.json.encode(value, order="sorted")
    return value


def _places(items: Sequence[Any], type_: Type) -> dict[_Token, int]:
    """Where each item comes first."""
    places: dict[_Token, int] = {}
    for index, item in enumerate(items):
        token = _token(item, type_)
        if token is not None:
            places.setdefault(token, index)
    return places


def _check_deletion(deletion: Any) -> None:
    if not isinstance(deletion, list):
        raise BadRequest("invalid patch format of primitive list")


def _without(items: Sequence[Any], unwanted: Sequence[Any]) -> list[Any]:
    gone = {_frozen(item) for item in unwanted}
    return [item for item in items if _frozen(item) not in gone]


def _delete_primitives(original: Object, key: str, deletion: Any) -> None:
    _check_deletion(deletion)
    if isinstance(original.get(key), list):
        original[key] = _without(original[key], deletion)


def _merge_list(original: list[Any], change: list[Any], type_: Type) -> list[Any]:
    if not original and not change:
        return change
    sample = (original or change)[0]
    if not isinstance(sample, dict):
        merged = [*original, *_without(_unique(change), original)]
        return _sorted(merged, change, original, type_)
    replaced, plain = _item_directives(original, change, type_)
    if replaced:
        return [_clean(item) for item in plain]
    merged = _merge_items(list(original), plain, type_)
    return _sorted(merged, plain, original, type_)


def _unique(items: Sequence[Any]) -> list[Any]:
    found: dict[Any, Any] = {}
    for item in items:
        found.setdefault(_frozen(item), item)
    return list(found.values())


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
    replaced, plain, deleted = False, [], set()
    for item in change:
        directive = item.get(_PATCH) if isinstance(item, dict) else None
        if directive is None:
            plain.append(item)
        elif directive == "delete":
            deleted.add(_frozen(_key_of(item, type_)))
        elif directive == "replace":
            replaced = True
            rest = {name: value for name, value in item.items() if name != _PATCH}
            if rest:
                plain.append(rest)
        elif directive == "merge":
            raise Unclassified("merging lists cannot yet be specified in the patch")
        else:
            raise _unknown_directive(item)
    if deleted:
        original[:] = [one for one in original if _frozen(_key_of(one, type_)) not in deleted]
    return replaced, plain


def _merge_items(original: list[Any], change: list[Any], type_: Type) -> list[Any]:
    items = type_.items or ANY
    places = _places(original, type_)
    keyless = next((n for n, one in enumerate(original) if _token(one, type_) is None), None)
    for item in change:
        _key_of(item, type_)
        key = _token(item, type_)
        index = places.get(key, len(original))
        if keyless is not None and keyless < index:  # met on the way to the item
            _key_of(original[keyless], type_)
        if key in places:
            original[index] = _merge_map(original[index], item, items)
        else:
            places[key] = len(original)
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
