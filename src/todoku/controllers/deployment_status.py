"""A Deployment's status and conditions.  Pure."""

from __future__ import annotations

from collections.abc import Sequence

from todoku.api import times
from todoku.api.meta import Object
from todoku.controllers import conditions
from todoku.controllers.rollout import limits, observed, replicas, wanted

NO_DEADLINE = 2**31 - 1

AVAILABLE = ("MinimumReplicasAvailable", "Deployment has minimum availability.")
UNAVAILABLE = ("MinimumReplicasUnavailable", "Deployment does not have minimum availability.")


def counts(deployment: Object, new: Object | None, sets: Sequence[Object]) -> Object:
    """The numbers of the status, as of the ReplicaSets."""
    available = sum(observed(rs, "availableReplicas") for rs in sets)
    total = sum(replicas(rs) for rs in sets)
    found: Object = {
        "observedGeneration": deployment["metadata"].get("generation", 0),
        "replicas": sum(observed(rs, "replicas") for rs in sets),
        "updatedReplicas": observed(new, "replicas") if new is not None else 0,
        "readyReplicas": sum(observed(rs, "readyReplicas") for rs in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(total - available, 0),
    }
    shown = {k: v for k, v in found.items() if v or k == "observedGeneration"}
    leaving = [(rs.get("status") or {}).get("terminatingReplicas") for rs in sets]
    if None not in leaving:  # one that has not told yet leaves the sum unknown
        shown["terminatingReplicas"] = sum(leaving)
    collisions = (deployment.get("status") or {}).get("collisionCount")
    return shown | ({"collisionCount": collisions} if collisions is not None else {})


def status(
    deployment: Object,
    new: Object | None,
    sets: Sequence[Object],
    now: float,
    *,
    progress: bool = True,
) -> Object:
    """The whole status; `progress` judges the rollout too (not while paused or scaling)."""
    old = deployment.get("status") or {}
    fresh = counts(deployment, new, sets)
    kept = availability(deployment, fresh, old.get("conditions"), now)
    if progress and has_deadline(deployment):
        kept = _progress(deployment, new, fresh, kept, now)
    if progress:
        kept = _failure(new, sets, kept, now)
    return fresh | {"conditions": kept}


def availability(
    deployment: Object, fresh: Object, kept: Sequence[Object] | None, now: float
) -> list[Object]:
    _, unavailable = limits(deployment)
    enough = fresh.get("availableReplicas", 0) >= wanted(deployment) - unavailable
    reason, message = AVAILABLE if enough else UNAVAILABLE
    return set_condition(kept, "Available", enough, reason, message, now)


def set_condition(
    kept: Sequence[Object] | None,
    type: str,
    holds: bool | None,
    reason: str,
    message: str,
    now: float,
    *,
    refresh: bool = False,
) -> list[Object]:
    """Set a condition with its lastUpdateTime; an equal one stays unless `refresh`."""
    text = "Unknown" if holds is None else "True" if holds else "False"
    old = conditions.find(kept, type)
    if old and old["status"] == text and old.get("reason") == reason and not refresh:
        return list(kept or ())
    stamp = times.text(now)
    new = {
        "type": type,
        "status": text,
        "reason": reason,
        "message": message,
        "lastUpdateTime": stamp,
    }
    same = old is not None and old["status"] == text
    new["lastTransitionTime"] = (
        old.get("lastTransitionTime", stamp) if old is not None and same else stamp
    )
    return [*conditions.without(kept, type), new]


def has_deadline(deployment: Object) -> bool:
    seconds = deployment["spec"].get("progressDeadlineSeconds")
    return seconds is not None and seconds != NO_DEADLINE


def is_complete(deployment: Object, fresh: Object) -> bool:
    """Every replica is of the new template and available."""
    total = wanted(deployment)
    numbers = ("updatedReplicas", "replicas", "availableReplicas")
    seen = fresh.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and all(fresh.get(name, 0) == total for name in numbers)


def seconds_left(deployment: Object, now: float) -> float | None:
    """Until the progress deadline; None when nothing is awaited."""
    found = conditions.find((deployment.get("status") or {}).get("conditions"), "Progressing")
    if not has_deadline(deployment) or found is None:
        return None
    if found.get("reason") in ("NewReplicaSetAvailable", "ProgressDeadlineExceeded"):
        return None
    since = times.parse(found.get("lastUpdateTime") or found["lastTransitionTime"])
    return since + float(deployment["spec"]["progressDeadlineSeconds"]) - now


def _progress(
    deployment: Object, new: Object | None, fresh: Object, kept: list[Object], now: float
) -> list[Object]:
    current = conditions.find(kept, "Progressing")
    done = current is not None and current.get("reason") == "NewReplicaSetAvailable"
    if done and fresh.get("replicas", 0) == fresh.get("updatedReplicas", 0):
        return kept
    meta = (new or deployment)["metadata"]
    subject = f'ReplicaSet "{meta["name"]}"' if new is not None else f'Deployment "{meta["name"]}"'
    if is_complete(deployment, fresh):
        text = f"{subject} has successfully progressed."
        return set_condition(kept, "Progressing", True, "NewReplicaSetAvailable", text, now)
    if _moved(deployment.get("status") or {}, fresh):
        text = f"{subject} is progressing."
        return set_condition(
            kept, "Progressing", True, "ReplicaSetUpdated", text, now, refresh=True
        )
    left = seconds_left(deployment, now)
    if left is not None and left <= 0:
        text = f"{subject} has timed out progressing."
        return set_condition(kept, "Progressing", False, "ProgressDeadlineExceeded", text, now)
    return kept


def _moved(old: Object, fresh: Object) -> bool:
    def outdated(status: Object) -> int:
        return int(status.get("replicas", 0)) - int(status.get("updatedReplicas", 0))

    grew = ("updatedReplicas", "readyReplicas", "availableReplicas")
    return outdated(fresh) < outdated(old) or any(
        fresh.get(name, 0) > old.get(name, 0) for name in grew
    )


def _failure(
    new: Object | None, sets: Sequence[Object], kept: list[Object], now: float
) -> list[Object]:
    for rs in ([new] if new is not None else []) + list(sets):
        found = conditions.find((rs.get("status") or {}).get("conditions"), "ReplicaFailure")
        if found is not None:
            return set_condition(
                kept, "ReplicaFailure", found["status"] == "True",
                found.get("reason", ""), found.get("message", ""), now,
            )  # fmt: skip
    return conditions.without(kept, "ReplicaFailure")
