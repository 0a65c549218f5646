"""Sets of fields and their wire form FieldsV1 (sigs.k8s.io/structured-merge-diff fieldpath).

A path is a tuple of elements as the wire spells them: `f:name` (field or map key), `k:{"name":"web"}` (item of a
keyed list), `v:"x"` (item of a set), `i:0` (position).  A field set is a frozenset of paths.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

from todoku.api.meta import Object
from todoku.api.schemas import ANY, Type

FieldPath: TypeAlias = tuple[str, ...]
FieldSet: TypeAlias = frozenset[FieldPath]

EMPTY: FieldSet = frozenset()


class FieldError(ValueError):
    """The value does not fit its type: `.spec.ports: duplicate entries for key [port=80]`."""


def encode(fields: FieldSet) -> Object:
    """FieldsV1: a trie; `.` marks a member that has members below."""
    root: Object = {}
    for path in sorted(fields):
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    _drop_dots(root)
    return root


def _drop_dots(node: Object) -> None:
    for child in node.values():
        if len(child) == 1 and "." in child:
            del child["."]
        else:
            _drop_dots(child)


def decode(trie: Object) -> FieldSet:
    """The field set of FieldsV1.  Raises FieldError for what is none."""
    return frozenset(_decode(trie, ()))


def _decode(node: Any, path: FieldPath) -> Iterator[FieldPath]:
    if not isinstance(node, dict):
        raise FieldError("FieldsV1 must be an object")
    if path and not node:
        yield path
    for element, child in node.items():
        if element == ".":
            yield path
        elif element[:2] not in ("f:", "k:", "v:", "i:"):
            raise FieldError(f"missing or unknown type of path element: {element}")
        else:
            yield from _decode(child, (*path, element))


def show(path: FieldPath) -> str:
    """`.spec.template.spec.containers[name="web"].image`."""
    out = []
    for element in path:
        kind, text = element[:2], element[2:]
        if kind == "f:":
            out.append(f".{text}")
        elif kind == "k:":
            keys = json.loads(text)
            shown = ",".join(f"{key}={json.dumps(keys[key])}" for key in sorted(keys))
            out.append(f"[{shown}]")
        elif kind == "v:":
            out.append(f"[={text}]")
        else:
            out.append(f"[{text}]")
    return "".join(out)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def item_element(item: Any, type_: Type, path: FieldPath) -> str:
    """The path element of a list item, by the list's type.  Raises FieldError when it has no key."""
    if type_.list_type == "set":
        return f"v:{compact(item)}"
    defaults = type_.items.defaults if type_.items is not None else {}
    keys: Object = {}
    for key in sorted(type_.list_keys):
        if not isinstance(item, dict):
            raise FieldError(
                f"{show(path)}: element: associative list with keys may not have non-map elements"
            )
        if item.get(key) is not None:
            keys[key] = item[key]
        elif key in defaults:
            keys[key] = defaults[key]
    if not keys:
        text = f'associative list with keys has an element that omits key field "{type_.list_keys[0]}" (and doesn\'t have default value)'
        raise FieldError(f"{show(path)}: element 0: {text}")
    return f"k:{compact(keys)}"


def is_atomic(value: Any, type_: Type) -> bool:
    """Whether the value is owned as a whole."""
    if isinstance(value, dict):
        if type_.kind in ("struct", "map", "any"):
            return type_.map_type == "atomic"
        return True
    if isinstance(value, list):
        return type_.kind != "list" or type_.list_type == "atomic"
    return True


def child_type(type_: Type, key: str) -> Type:
    if type_.kind == "struct":
        return type_.fields.get(key, ANY)
    return type_.items or ANY


def items_of(value: list[Any], type_: Type, path: FieldPath) -> dict[str, Any]:
    """The items of a keyed list or set by path element, in order.  Raises FieldError for duplicates."""
    found: dict[str, Any] = {}
    for item in value:
        element = item_element(item, type_, path)
        if element in found:
            what = show((element,))
            text = f"duplicate entries for key {what}"
            raise FieldError(f"{show(path)}: {text}")
        found[element] = item
    return found


def of_value(value: Any, type_: Type) -> FieldSet:
    """The fields that an applied configuration claims (ToFieldSet).

    Raises FieldError for fields that the type does not know and for duplicate list items.
    """
    return frozenset(_claims(value, type_, ()))


def _claims(value: Any, type_: Type, path: FieldPath) -> Iterator[FieldPath]:
    if is_atomic(value, type_):
        yield path
    elif isinstance(value, dict):
        for key, child in value.items():
            below = (*path, f"f:{key}")
            named = type_.kind == "struct"
            if named and key not in type_.fields:
                if not type_.open:
                    raise FieldError(f"{show(below)}: field not declared in schema")
                named = False
            if child is None or child == {} or not named:
                yield below
            if child is not None:
                yield from _claims(child, child_type(type_, key), below)
    else:
        for element, item in items_of(value, type_, path).items():
            yield (*path, element)
            if isinstance(item, dict):
                yield from _claims(item, type_.items or ANY, (*path, element))


def with_named_parents(fields: FieldSet, type_: Type) -> FieldSet:
    """Also the struct fields on the way to each member (EnsureNamedFieldsAreMembers)."""
    found: set[FieldPath] = set(fields)
    for path in fields:
        found.update(_named_parents(path, type_))
    return frozenset(found)


def _named_parents(path: FieldPath, type_: Type) -> Iterator[FieldPath]:
    here = type_
    for depth, element in enumerate(path[:-1]):
        if element[:2] == "f:":
            key = element[2:]
            if here.kind == "struct" and key in here.fields:
                yield path[: depth + 1]
            here = child_type(here, key)
        else:
            here = here.items or ANY
