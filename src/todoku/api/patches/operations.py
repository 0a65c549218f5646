"""The operations of a JSON patch (RFC 6902) on a document that is the caller's to change.

`run(document, operations)` applies them in order.  Source: evanphx/json-patch v4, as kube-apiserver uses it: its
words, negative indices, `test` of what is missing against null, and a limit of what copies may add up to.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from todoku.api.meta import Object, copy

MAX_COPIED_BYTES = 3 << 20
_INDEX = re.compile(r"[+-]?[0-9]{1,18}")
_MISSING = object()
_size = msgspec.json.Encoder().encode


class Failed(Exception):
    """An operation does not fit the document; `tested` says that it was a test that did not hold."""

    def __init__(self, why: str, *, tested: bool = False) -> None:
        super().__init__(why)
        self.tested = tested


class _Missing(Failed):
    """What a pointer names is not there."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}: missing value")


def run(document: Any, operations: list[Object]) -> Any:
    """The document after all operations; it is changed, also when one of them raises Failed."""
    work = _Work(document)
    for operation in operations:
        kind = operation.get("op")
        apply = _OPERATIONS.get(kind) if isinstance(kind, str) else None
        if apply is None:
            raise Failed(f"Unexpected kind: {kind if isinstance(kind, str) else 'unknown'}")
        apply(work, operation)
    return work.document


class _Work:
    """The document on its way, and how many bytes were copied so far."""

    def __init__(self, document: Any) -> None:
        self.document = document
        self.copied = 0

    def find(self, pointer: str) -> tuple[Any, str]:
        """The map or list that holds what the pointer names, and the name in it; None if there is none."""
        _, *parts = pointer.split("/")
        if not parts:
            return None, ""
        parts = [part.replace("~1", "/").replace("~0", "~") for part in parts]
        holder = self.document
        for part in parts[:-1]:
            holder = _held(holder, part)
            if not isinstance(holder, dict | list):
                return None, ""
        return holder, parts[-1]

    def add(self, operation: Object) -> None:
        path = _pointer(operation, "path", "add")
        holder, key = self.find(path)
        if holder is None:
            raise _Missing(f'add operation does not apply: doc is missing path: "{path}"')
        _add(holder, key, copy(operation.get("value")), f"error in add for path: '{path}'")

    def remove(self, operation: Object) -> None:
        path = _pointer(operation, "path", "remove")
        holder, key = self.find(path)
        if holder is None:
            raise _Missing(f'remove operation does not apply: doc is missing path: "{path}"')
        _remove(holder, key, f"error in remove for path: '{path}'")

    def replace(self, operation: Object) -> None:
        path, value = _pointer(operation, "path", "replace"), copy(operation.get("value"))
        if not path:
            if not isinstance(value, dict | list):
                raise Failed("replace operation value must be object or array")
            self.document = value
            return
        holder, key = self.find(path)
        if holder is None:
            raise _Missing(f"replace operation does not apply: doc is missing path: {path}")
        if _held(holder, key) is _MISSING:
            raise _Missing(f"replace operation does not apply: doc is missing key: {path}")
        holder[_index(key, len(holder)) if isinstance(holder, list) else key] = value

    def move(self, operation: Object) -> None:
        value, holder, key = self._source(operation, "move")
        _remove(holder, key, f"error in move for path: '{key}'")
        path, target, place = self._target(operation, "move")
        _add(target, place, value, f"error in move for path: '{path}'")

    def copy(self, operation: Object) -> None:
        value, _, _ = self._source(operation, "copy")
        _, target, place = self._target(operation, "copy")
        self.copied += len(_size(value))
        if self.copied > MAX_COPIED_BYTES:
            raise Failed(
                "unable to copy, the accumulated size increase of copy is"
                f" {self.copied}, exceeding the limit {MAX_COPIED_BYTES}"
            )
        _add(target, place, copy(value), "error while adding value during copy")

    def test(self, operation: Object) -> None:
        path, wanted = _pointer(operation, "path", "test"), operation.get("value")
        found = self.document
        if path:
            holder, key = self.find(path)
            if holder is None:
                raise _Missing(f"test operation does not apply: is missing path: {path}")
            found = _held(holder, key)
        if not _same(None if found is _MISSING else found, wanted):
            raise Failed(f"testing value {path} failed: test failed", tested=True)

    def _source(self, operation: Object, kind: str) -> tuple[Any, Any, str]:
        source = _pointer(operation, "from", kind)
        holder, key = self.find(source)
        if holder is None:
            raise _Missing(f"{kind} operation does not apply: doc is missing from path: {source}")
        value = _held(holder, key)
        if value is _MISSING:
            word = f"for from: '{source}'" if kind == "copy" else f"for path: '{key}'"
            raise _Missing(f"error in {kind} {word}: unable to get nonexistent key: {key}")
        return value, holder, key

    def _target(self, operation: Object, kind: str) -> tuple[str, Any, str]:
        path = _pointer(operation, "path", kind)
        holder, key = self.find(path)
        if holder is None:
            text = f"{kind} operation does not apply: doc is missing destination path: {path}"
            raise _Missing(text)
        return path, holder, key


_OPERATIONS = {
    "add": _Work.add,
    "remove": _Work.remove,
    "replace": _Work.replace,
    "move": _Work.move,
    "copy": _Work.copy,
    "test": _Work.test,
}


def _pointer(operation: Object, field: str, kind: str) -> str:
    value = operation.get(field)
    if not isinstance(value, str):
        raise _Missing(f"{kind} operation failed to decode {field}")
    return value


def _held(holder: Any, key: str) -> Any:
    """What a map or list holds under a key or index; _MISSING if nothing."""
    if isinstance(holder, dict):
        return holder.get(key, _MISSING)
    index = _index(key, len(holder))
    return _MISSING if index is None else holder[index]


def _index(key: str, size: int) -> int | None:
    """An index below `size`; one below zero counts from the end."""
    if not _INDEX.fullmatch(key):
        return None
    number = int(key)
    if not -size <= number < size:
        return None
    return number % size


def _add(holder: Any, key: str, value: Any, about: str) -> None:
    if isinstance(holder, dict):
        holder[key] = value
    elif key == "-":
        holder.append(value)
    else:
        holder.insert(_place(key, len(holder) + 1, about), value)


def _remove(holder: Any, key: str, about: str) -> None:
    if isinstance(holder, dict):
        if key not in holder:
            raise _Missing(f"{about}: Unable to remove nonexistent key: {key}")
        del holder[key]
    else:
        del holder[_place(key, len(holder), about)]


def _place(key: str, size: int, about: str) -> int:
    """The index that a list is changed at.  Raises Failed."""
    index = _index(key, size)
    if index is None:
        if _INDEX.fullmatch(key):
            raise Failed(f"{about}: Unable to access invalid index: {int(key)}: invalid index")
        raise Failed(f"{about}: value was not a proper array index: '{key}'")
    return index


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON is: true is not 1, nor 1 the same as 1.0; the order of fields does not matter."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
