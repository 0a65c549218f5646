"""PodDisruptionBudgets: how many more pods may be evicted now (policy/v1)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import from_selector
from todoku.client import Informer, WatchEvent
from todoku.controllers import conditions, pods
from todoku.controllers.controller import Controller, deleting
from todoku.controllers.rollout import scaled_value

# An eviction whose deletion was not seen within this did not happen.
FORGET_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Expected:
    """How many pods there should be, and how many of them must stay healthy."""

    total: int
    healthy: int


class Unscalable(Exception):
    """Why nobody knows how many of a budget's pods there should be."""


def counts_owners(budget: Object) -> bool:
    """Whether the budget speaks of a part of what the controllers of its pods ask for."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or str(spec.get("minAvailable", "")).endswith("%")


def failed_status(budget: Object, why: str, now: float) -> Object:
    """Nothing may be evicted while the budget cannot be worked out."""
    old = budget.get("status") or {}
    condition = {
        "type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": why,
        "observedGeneration": old.get("observedGeneration", 0),
    }  # fmt: skip
    kept = conditions.with_condition(old.get("conditions"), condition, times.text(now))
    zeros = {"currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}
    return zeros | old | {"disruptionsAllowed": 0, "conditions": kept}


def expected(budget: Object, scale: int | None, matching: int) -> Expected:
    """`scale` is what the pods' controllers ask for together; None if it is not known."""
    spec = budget["spec"]
    maximum, minimum = spec.get("maxUnavailable"), spec.get("minAvailable")
    if maximum is not None:
        total = scale or 0
        return Expected(total, max(total - scaled_value(maximum, total, round_up=True), 0))
    if minimum is not None and str(minimum).endswith("%"):
        total = scale or 0
        return Expected(total, scaled_value(minimum, total, round_up=True))
    return Expected(matching, int(minimum or 0))


def status(
    budget: Object, matching: Sequence[Object], should: Expected, now: float
) -> tuple[Object, float | None]:
    """The status, and in how many seconds a recorded eviction is to be forgotten."""
    old = budget.get("status") or {}
    pending, again = _pending(old.get("disruptedPods") or {}, matching, now)
    healthy = sum(
        pods.is_ready(pod) and not deleting(pod) and pod["metadata"]["name"] not in pending
        for pod in matching
    )
    allowed = max(healthy - should.healthy, 0) if should.total > 0 else 0
    word = ("True", "SufficientPods") if allowed else ("False", "InsufficientPods")
    condition = {
        "type": "DisruptionAllowed", "status": word[0], "reason": word[1], "message": "",
        "observedGeneration": budget["metadata"].get("generation", 0),
    }  # fmt: skip
    new: Object = {
        "currentHealthy": healthy,
        "desiredHealthy": should.healthy,
        "disruptionsAllowed": allowed,
        "expectedPods": should.total,
        "observedGeneration": budget["metadata"].get("generation", 0),
        "conditions": conditions.with_condition(old.get("conditions"), condition, times.text(now)),
    }
    if pending:
        new["disruptedPods"] = pending
    return new, again


def _pending(
    recorded: dict[str, str], matching: Sequence[Object], now: float
) -> tuple[dict[str, str], float | None]:
    there = {pod["metadata"]["name"] for pod in matching if not deleting(pod)}
    kept: dict[str, str] = {}
    again: float | None = None
    for name, stamp in recorded.items():
        left = times.parse(stamp) + FORGET_SECONDS - now
        if name in there and left > 0:
            kept[name] = stamp
            again = left if again is None else min(again, left)
    return kept, again


class DisruptionController(Controller):
    name: ClassVar[str] = "disruption"
    component: ClassVar[str] = "controllermanager"
    reconciles: ClassVar[str] = "poddisruptionbudgets.policy"

    def setup(self) -> None:
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)
        self._scales: dict[str, Informer] = {
            kind: self.watch(resource, self._scale_changed)
            for kind, resource in (
                ("ReplicaSet", "replicasets.apps"), ("Deployment", "deployments.apps"),
                ("StatefulSet", "statefulsets.apps"), ("ReplicationController", "replicationcontrollers"),
            )
        }  # fmt: skip

    def _pod_changed(self, event: WatchEvent) -> None:
        pod = event.object
        for budget in self.cache.list(pod["metadata"]["namespace"]):
            chosen = from_selector(budget["spec"].get("selector"))
            labels = [one["metadata"].get("labels") for one in (pod, event.old) if one is not None]
            if any(chosen.matches(one) for one in labels):
                self.queue.add(key_of(budget))

    def _scale_changed(self, event: WatchEvent) -> None:
        old = event.old
        if old is not None and old["spec"].get("replicas") == event.object["spec"].get("replicas"):
            return
        for budget in self.cache.list(event.object["metadata"]["namespace"]):
            self.queue.add(key_of(budget))

    async def reconcile(self, key: Key) -> None:
        budget = self.cache.get(key)
        if budget is None or deleting(budget):
            return
        chosen = from_selector(budget["spec"].get("selector"))
        here = self.pods.by_index("namespace", key.namespace)
        matching = [pod for pod in here if chosen.matches(pod["metadata"].get("labels"))]
        if not matching:
            self.recorder.event(budget, "Normal", "NoPods", "No matching pods found")
        again: float | None = None
        try:
            scale = await self._scale(budget, matching) if counts_owners(budget) else None
        except Unscalable as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, "Warning", "CalculateExpectedPodCountFailed", text)
            new = failed_status(budget, str(error), self.clock.now())
        else:
            should = expected(budget, scale, len(matching))
            new, again = status(budget, matching, should, self.clock.now())
        if new != (budget.get("status") or {}):
            written = await self.client.update(
                self.reconciles, budget | {"status": new}, subresource="status"
            )
            await self.cache.reached(written["metadata"]["resourceVersion"])
        if again is not None:
            self.queue.add_after(key, again)

    async def _scale(self, budget: Object, matching: Sequence[Object]) -> int:
        """What the controllers of these pods ask for together.  Raises Unscalable."""
        found: dict[str, int] = {}
        for pod in matching:
            owner = _controller(pod)
            if owner is None:
                self.recorder.event(budget, "Warning", "UnmanagedPods", _unmanaged(budget))
            elif owner["uid"] not in found:
                top = self._top(pod)
                uid, replicas = (
                    (top["metadata"]["uid"], int(top["spec"].get("replicas", 1)))
                    if top is not None
                    else (owner["uid"], await self._asked(pod, owner))
                )
                found[uid] = replicas
        return sum(found.values())

    async def _asked(self, pod: Object, owner: Object) -> int:
        """The replicas of a controller of another kind, by its scale subresource."""
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        served = (one for one in await self.client.discover())
        named = next((n for n in served if (n.group, n.kind) == (group, owner["kind"])), None)
        if named is None:
            raise Unscalable(f"found no controllers for pod {json.dumps(pod['metadata']['name'])}")
        namespace = pod["metadata"]["namespace"]
        try:
            scale = await self.client.get(named.name, owner["name"], namespace, subresource="scale")
        except errors.NotFound as error:
            text = f"{named.name} does not implement the scale subresource"
            raise Unscalable(text) from error
        return int((scale.get("spec") or {}).get("replicas", 0))

    def _top(self, obj: Object) -> Object | None:
        """The scalable controller at the top: a Deployment rather than its ReplicaSet."""
        owner = _controller(obj)
        informer = self._scales.get(owner["kind"]) if owner is not None else None
        if owner is None or informer is None:
            return None
        found = informer.get(Key(obj["metadata"]["namespace"], owner["name"]))
        return (self._top(found) or found) if found is not None else None


def _controller(obj: Object) -> Object | None:
    owners: Sequence[Object] = obj["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)


def _unmanaged(budget: Object) -> str:
    return (
        f"Pods selected by this PodDisruptionBudget (selector: {go_text(budget['spec'].get('selector'))}) "
        "were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may "
        'result in undefined behavior. To account for these pods please set ".spec.minAvailable" field of the PDB '
        "to an integer value."
    )


def go_text(selector: Object | None) -> str:
    """A label selector as Go prints one."""
    plain = selector or {}
    labels = "".join(f"{k}: {v}," for k, v in sorted((plain.get("matchLabels") or {}).items()))
    rules = "".join(
        f"LabelSelectorRequirement{{Key:{one['key']},Operator:{one['operator']},"
        f"Values:[{' '.join(one.get('values') or ())}],}},"
        for one in plain.get("matchExpressions") or ()
    )
    requirements = f"[]LabelSelectorRequirement{{{rules}}}"
    return f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:{requirements},}}"
