"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902)."""

from __future__ import annotations

from typing import Any

from todoku.api.errors import BadRequest, Invalid, TooLarge
from todoku.api.meta import Object, copy
from todoku.api.patches import operations

MAX_OPERATIONS = 10_000
MAX_DEPTH = 200  # as of bodies
_TOO_DEEP = "exceeded max depth"
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


def json_patch(obj: Object, patch: Any) -> Any:
    """`obj` after the operations of the patch, in order, all or none.

    Raises BadRequest for what is no JSON patch, TooLarge beyond 10,000 operations, Invalid when one does not fit
    the object (a missing path, a failed test).
    """
    if not isinstance(patch, list) or not all(isinstance(one, dict) for one in patch):
        raise BadRequest(
            "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"
        )
    if len(patch) > MAX_OPERATIONS:
        text = (
            f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(patch)}"
        )
        raise TooLarge(f"Request entity too large: {text}")
    try:
        result = operations.run(copy(obj), patch)
    except operations.Failed as error:
        raise DoesNotApply(str(error), tested=error.tested) from error
    except RecursionError as error:
        raise DoesNotApply(_TOO_DEEP, tested=False) from error
    if _depth(result) > MAX_DEPTH:
        raise DoesNotApply(_TOO_DEEP, tested=False)
    return result


def _depth(value: Any) -> int:
    """How many maps and lists are inside each other.  Moves can make more of them than any body may have."""
    depth, level = 0, [value]
    while level:
        level = [one for one in level if isinstance(one, dict | list)]
        depth += bool(level)
        level = [
            child for one in level for child in (one.values() if isinstance(one, dict) else one)
        ]
    return depth


class DoesNotApply(Invalid):
    """An operation does not fit the object.  `why` is what Go's json-patch says, `tested` whether it was a test."""

    def __init__(self, why: str, *, tested: bool) -> None:
        super().__init__(_REJECTED, details={})
        self.why = why
        self.tested = tested
