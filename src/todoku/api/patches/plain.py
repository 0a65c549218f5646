"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from __future__ import annotations

from typing import Any

import jsonpatch
import jsonpointer

from todoku.api.errors import BadRequest, Invalid, TooLarge
from todoku.api.meta import Object, copy

MAX_OPERATIONS = 10_000
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
    except (
        jsonpatch.JsonPatchException,
        jsonpointer.JsonPointerException,
        KeyError,
        IndexError,
        TypeError,
        ValueError,
        AttributeError,
    ) as error:
        raise Invalid(_REJECTED) from error
