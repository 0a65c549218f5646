"""pods/eviction: whether a PodDisruptionBudget lets a pod go (policy/v1 Eviction).  Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from todoku.api import errors, selectors, times
from todoku.api.meta import Object, copy

_MAX_DISRUPTED_PODS = 2000


@dataclass(frozen=True, slots=True)
class Verdict:
    """`charge` is the budget with this eviction charged to it, to be stored before the pod is deleted."""

    charge: Object | None = None


def disrupted(pod: Object, now: float) -> Object:
    """The pod with the condition that says why it goes, which failure policies of Jobs look at."""
    meta, status = pod["metadata"], pod.get("status") or {}
    condition = {
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting", "lastTransitionTime": times.text(now),
        "observedGeneration": meta.get("generation", 0),
    }  # fmt: skip
    others = [one for one in status.get("conditions") or () if one["type"] != "DisruptionTarget"]
    return pod | {"status": status | {"conditions": [*others, condition]}}


def needs_budget(pod: Object) -> bool:
    """Pods that are over, or never started, go without asking."""
    phase = pod.get("status", {}).get("phase")
    deleting = bool(pod["metadata"].get("deletionTimestamp"))
    return not (deleting or phase in ("Succeeded", "Failed", "Pending"))


def decide(pod: Object, budgets: Sequence[Object], now: float) -> Verdict:
    """Raises TooManyRequests while a budget forbids it, InternalError if several budgets cover the pod."""
    if not needs_budget(pod):
        return Verdict()
    covering = [one for one in budgets if _covers(one, pod)]
    if len(covering) > 1:
        several = errors.InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does"
            " not support."
        )
        several.reason = ""  # as upstream, which answers with a Status of its own
        raise several
    if not covering:
        return Verdict()
    budget = covering[0]
    if _ignores_unready(budget, pod):
        return Verdict()
    return Verdict(_charged(budget, pod, now))


def _covers(budget: Object, pod: Object) -> bool:
    selector = selectors.from_selector(budget.get("spec", {}).get("selector"))
    return selector.matches(pod["metadata"].get("labels"))


def _ready(pod: Object) -> bool:
    return any(
        one.get("type") == "Ready" and one.get("status") == "True"
        for one in pod.get("status", {}).get("conditions", ())
    )


def _ignores_unready(budget: Object, pod: Object) -> bool:
    """An unready pod of a healthy application protects nothing (unhealthyPodEvictionPolicy)."""
    if _ready(pod):
        return False
    policy = budget.get("spec", {}).get("unhealthyPodEvictionPolicy") or "IfHealthyBudget"
    status = budget.get("status", {})
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    return policy == "AlwaysAllow" or (healthy >= desired and desired > 0)


def _charged(budget: Object, pod: Object, now: float) -> Object:
    meta, status = budget["metadata"], budget.get("status", {})
    name = meta["name"]
    if status.get("observedGeneration", 0) < meta.get("generation", 0):
        cause = f"The disruption budget {name} is still being processed by the server."
        raise _blocked(cause, retry_after_seconds=10)
    if status.get("disruptionsAllowed", 0) <= 0:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _blocked(
            f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    if len(status.get("disruptedPods") or {}) > _MAX_DISRUPTED_PODS:
        raise errors.Forbidden.of(
            "poddisruptionbudgets.policy",
            name,
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        )
    new: Object = copy(budget)
    new["status"]["disruptionsAllowed"] -= 1
    disrupted = new["status"].setdefault("disruptedPods", {})
    disrupted[pod["metadata"]["name"]] = times.text(now)
    return new


def _blocked(cause: str, *, retry_after_seconds: int = 0) -> errors.ApiError:
    error = errors.TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        retry_after_seconds=retry_after_seconds,
        details={"causes": [{"reason": "DisruptionBudget", "message": cause}]},
    )
    if not retry_after_seconds:
        del error.details["retryAfterSeconds"]
    return error
