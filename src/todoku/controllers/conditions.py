"""Status conditions: find one, set one and keep its transition time."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api.meta import Object


def find(conditions: Sequence[Object] | None, type: str) -> Object | None:
    return next((one for one in conditions or () if one.get("type") == type), None)


def is_true(obj: Object, type: str) -> bool:
    """Whether the object's status has this condition with status True."""
    found = find((obj.get("status") or {}).get("conditions"), type)
    return found is not None and found.get("status") == "True"


def with_condition(conditions: Sequence[Object] | None, new: Object, now: str) -> list[Object]:
    """The conditions with `new` in it; its lastTransitionTime changes only with its status.

    An unchanged condition (same status, reason and message) is kept as it is.
    """
    old = find(conditions, new["type"])
    if old is not None and all(old.get(f) == new.get(f) for f in ("status", "reason", "message")):
        return list(conditions or ())
    same = old is not None and old.get("status") == new.get("status")
    stamp = old.get("lastTransitionTime", now) if old is not None and same else now
    made = new | {"lastTransitionTime": stamp}
    if old is None:
        return [*(conditions or ()), made]
    return [made if one.get("type") == new["type"] else one for one in conditions or ()]


def without(conditions: Sequence[Object] | None, type: str) -> list[Object]:
    return [one for one in conditions or () if one.get("type") != type]
