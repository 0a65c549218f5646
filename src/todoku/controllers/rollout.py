"""The arithmetic of a Deployment's rollout: which ReplicaSet gets how many pods next.  Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api import times
from todoku.api.meta import Object, copy

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAXIMUM = "deployment.kubernetes.io/max-replicas"
HASH = "pod-template-hash"


@dataclass(frozen=True, slots=True)
class Scale:
    """One ReplicaSet gets this many replicas."""

    replica_set: Object
    replicas: int


def wanted(deployment: Object) -> int:
    return int(deployment["spec"].get("replicas", 1))


def replicas(rs: Object) -> int:
    return int(rs["spec"].get("replicas", 1))


def observed(rs: Object, field: str) -> int:
    return int((rs.get("status") or {}).get(field, 0))


def created(rs: Object) -> tuple[float, str]:
    """Sorts by age, then name."""
    meta = rs["metadata"]
    return times.parse(meta["creationTimestamp"]), meta["name"]


def is_rolling(deployment: Object) -> bool:
    return (deployment["spec"].get("strategy") or {}).get("type") != "Recreate"


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """An IntOrString: a number, or a share of `total`."""
    if value is None:
        return 0
    text = str(value)
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1]) * total
    return math.ceil(share / 100) if round_up else share // 100


def limits(deployment: Object) -> tuple[int, int]:
    """(maxSurge, maxUnavailable) in pods; never both zero (ResolveFenceposts)."""
    if not is_rolling(deployment):
        return 0, 0
    rolling = (deployment["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    total = wanted(deployment)
    surge = scaled_value(rolling.get("maxSurge", "25%"), total, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), total, round_up=False)
    if surge == 0 and unavailable == 0:
        unavailable = 1
    return surge, min(unavailable, total) if total else unavailable


def template_without_hash(template: Object) -> Object:
    plain: Object = copy(template)
    labels = (plain.get("metadata") or {}).get("labels")
    if labels:
        labels.pop(HASH, None)
        if not labels:
            del plain["metadata"]["labels"]
    if "metadata" in plain:
        plain["metadata"].pop("creationTimestamp", None)
        if not plain["metadata"]:
            del plain["metadata"]
    return plain


def find_new(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The oldest ReplicaSet with the Deployment's template."""
    template = template_without_hash(deployment["spec"]["template"])
    for rs in sorted(sets, key=created):
        if template_without_hash(rs["spec"]["template"]) == template:
            return rs
    return None


def revision(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def annotated(rs: Object, name: str) -> int | None:
    text = (rs["metadata"].get("annotations") or {}).get(name, "")
    return int(text) if text.isdigit() else None


def active(sets: Sequence[Object]) -> list[Object]:
    return [rs for rs in sets if replicas(rs) > 0]


def is_scaling(deployment: Object, sets: Sequence[Object]) -> bool:
    """Whether `spec.replicas` changed since the sets were last sized."""
    marks = [annotated(rs, DESIRED) for rs in active(sets)]
    return any(mark is not None and mark != wanted(deployment) for mark in marks)


def new_size(deployment: Object, new: Object | None, sets: Sequence[Object]) -> int:
    """How many replicas the new ReplicaSet gets in this step (NewRSNewReplicas)."""
    target = wanted(deployment)
    if not is_rolling(deployment):
        return target
    surge, _ = limits(deployment)
    current = replicas(new) if new is not None else 0
    room = target + surge - sum(replicas(rs) for rs in sets)
    if room <= 0:
        return current
    return current + min(room, target - current)


def plan_rolling(deployment: Object, new: Object, old: Sequence[Object]) -> list[Scale]:
    """One step of a rolling update: first grow the new set, else shrink old ones."""
    sets = [*old, new]
    target = wanted(deployment)
    size = target if replicas(new) > target else new_size(deployment, new, sets)
    if size != replicas(new):
        return [Scale(new, size)]
    return _shrink_old(deployment, new, old)


def _shrink_old(deployment: Object, new: Object, old: Sequence[Object]) -> list[Scale]:
    if not active(old):
        return []
    _, unavailable = limits(deployment)
    minimum = wanted(deployment) - unavailable
    everything = sum(replicas(rs) for rs in (*old, new))
    new_missing = replicas(new) - observed(new, "availableReplicas")
    room = everything - minimum - new_missing
    if room <= 0:
        return []
    sizes = {rs["metadata"]["uid"]: replicas(rs) for rs in old}
    oldest_first = sorted(old, key=created)
    for rs in oldest_first:  # pods that do not serve anyway
        unhealthy = replicas(rs) - observed(rs, "availableReplicas")
        cut = max(min(unhealthy, room), 0)
        sizes[rs["metadata"]["uid"]] -= cut
        room -= cut
    spare = sum(observed(rs, "availableReplicas") for rs in (*old, new)) - minimum
    for rs in oldest_first:
        cut = max(min(sizes[rs["metadata"]["uid"]], spare), 0)
        sizes[rs["metadata"]["uid"]] -= cut
        spare -= cut
    return [
        Scale(rs, sizes[rs["metadata"]["uid"]])
        for rs in oldest_first
        if sizes[rs["metadata"]["uid"]] != replicas(rs)
    ]


def plan_recreate(
    deployment: Object, new: Object | None, old: Sequence[Object], *, old_pods: bool
) -> list[Scale] | None:
    """Old sets go to zero; None while their pods still run; then the new set gets its full size."""
    shrink = [Scale(rs, 0) for rs in active(old)]
    if shrink:
        return shrink
    if old_pods:
        return None
    if new is None or replicas(new) == wanted(deployment):
        return []
    return [Scale(new, wanted(deployment))]


def plan_scale(deployment: Object, new: Object | None, old: Sequence[Object]) -> list[Scale]:
    """Spread a change of `spec.replicas` over the sets, in proportion while a rollout is under way."""
    target = wanted(deployment)
    sets = [*old, *([new] if new is not None else [])]
    running = active(sets)
    if len(running) <= 1:
        only = running[0] if running else new or max(old, key=created, default=None)
        if only is None or replicas(only) == target:
            return []
        return [Scale(only, target)]
    if new is not None and _saturated(deployment, new):
        return [Scale(rs, 0) for rs in active(old)]
    if not is_rolling(deployment):
        return []
    return _proportional(deployment, running)


def _saturated(deployment: Object, rs: Object) -> bool:
    target = wanted(deployment)
    desired = annotated(rs, DESIRED)
    return desired == replicas(rs) == observed(rs, "availableReplicas") == target


def _proportional(deployment: Object, running: Sequence[Object]) -> list[Scale]:
    surge, _ = limits(deployment)
    allowed = wanted(deployment) + surge if wanted(deployment) > 0 else 0
    change = allowed - sum(replicas(rs) for rs in running)
    newest_first = -1 if change > 0 else 1
    ordered = sorted(
        running,
        key=lambda rs: (-replicas(rs), newest_first * created(rs)[0], rs["metadata"]["name"]),
    )
    sizes: dict[str, int] = {}
    given = 0
    for rs in ordered:
        share = _share(deployment, rs, allowed, change - given) if change else 0
        sizes[rs["metadata"]["uid"]] = replicas(rs) + share
        given += share
    first = ordered[0]["metadata"]["uid"]
    sizes[first] = max(sizes[first] + change - given, 0)
    return [Scale(rs, sizes[rs["metadata"]["uid"]]) for rs in ordered]


def _share(deployment: Object, rs: Object, allowed: int, left: int) -> int:
    """This set's part of the change: its share of the size it was planned for (getReplicaSetFraction)."""
    if replicas(rs) == 0 or left == 0:
        return 0
    if wanted(deployment) == 0:
        part = -replicas(rs)
    else:
        before = annotated(rs, MAXIMUM) or observed(deployment, "replicas") or 1
        part = math.floor(replicas(rs) * allowed / before + 0.5) - replicas(rs)
    return min(part, left) if left > 0 else max(part, left)


def surplus_history(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """The oldest revisions beyond `revisionHistoryLimit` that hold no pods."""
    limit = deployment["spec"].get("revisionHistoryLimit", 10)
    kept = [rs for rs in old if not rs["metadata"].get("deletionTimestamp")]
    excess = len(kept) - limit
    if excess <= 0:
        return []
    oldest = sorted(kept, key=lambda rs: (revision(rs), created(rs)))[:excess]
    return [rs for rs in oldest if _empty(rs)]


def _empty(rs: Object) -> bool:
    seen = observed(rs, "observedGeneration") >= rs["metadata"].get("generation", 0)
    return observed(rs, "replicas") == 0 and replicas(rs) == 0 and seen
