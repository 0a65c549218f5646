"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer

from todoku.api.errors import BadRequest, Invalid, TooLarge
from todoku.api.meta import Object, copy

MAX_OPERATIONS = 10_000
_FAILURES = (
    jsonpatch.JsonPatchException,
    jsonpointer.JsonPointerException,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
)
_REJECTED = "the server rejected our request due to an error in our request"


def merge_patch(value: Any, patch: Any) -> Any:
    """`value` with `patch` laid over it; null removes.  Arguments stay as they are."""
    if not isinstance(patch, dict):
        return copy(patch)
    out = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            out.pop(key, None)
        else:
            out[key] = merge_patch(out.get(key), change)
    return out


def json_patch(obj: Object, operations: Any) -> Any:
    """`obj` after the operations, in order, all or none.

    Raises BadRequest for what is no JSON patch, TooLarge beyond 10,000 operations, Invalid when one does not fit
    the object (a missing path, a failed test).
    """
    if not isinstance(operations, list) or not all(isinstance(one, dict) for one in operations):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    if len(operations) > MAX_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise TooLarge(f"Request entity too large: {text}")
    try:
        return jsonpatch.JsonPatch(operations).apply(obj, in_place=False)
    except _FAILURES as error:
        why, tested = _failed_operation(obj, operations)
        raise DoesNotApply(why, tested=tested) from error


class DoesNotApply(Invalid):
    """An operation does not fit the object.  `why` is what Go's json-patch says, `tested` whether it was a test."""

    def __init__(self, why: str, *, tested: bool) -> None:
        super().__init__(_REJECTED)
        self.why = why
        self.tested = tested


def _failed_operation(obj: Object, operations: list[Object]) -> tuple[str, bool]:
    """The first operation that fails, in words, and whether it is a test."""
    for one in operations:
        try:
            obj = jsonpatch.JsonPatch([one]).apply(obj, in_place=False)
        except _FAILURES:
            return _worded(obj, one), one.get("op") == "test"
    return "invalid operation", False


def _worded(obj: Object, operation: Object) -> str:
    kind, path = operation.get("op"), str(operation.get("path", ""))
    parent, _, key = path.rpartition("/")
    missing = jsonpointer.resolve_pointer(obj, parent, None) is None
    if kind == "test":
        return f"testing value {path} failed: test failed"
    if kind == "remove" and not missing:
        return f"error in remove for path: '{path}': Unable to remove nonexistent key: {key}: missing value"
    if kind in ("add", "remove"):
        return f'{kind} operation does not apply: doc is missing path: "{path}": missing value'
    if kind == "replace":
        what = "path" if missing else "key"
        return f"replace operation does not apply: doc is missing {what}: {path}: missing value"
    if kind in ("copy", "move"):
        source = operation.get("from", "")
        return f"{kind} operation does not apply: doc is missing from path: {source}: missing value"
    return f"Unexpected kind: {kind}"
