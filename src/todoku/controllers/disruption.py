"""PodDisruptionBudgets: how many more pods may be evicted now (policy/v1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from todoku.api import times
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


def expected(budget: Object, scale: int | None, matching: int) -> Expected:
    """`scale` is what the pods' controllers ask for together; None if some pod has none."""
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
        matching = [
            pod
            for pod in here
            if chosen.matches(pod["metadata"].get("labels")) and not pods.is_terminal(pod)
        ]
        should = expected(budget, self._scale(matching), len(matching))
        new, again = status(budget, matching, should, self.clock.now())
        if new != (budget.get("status") or {}):
            written = await self.client.update(
                self.reconciles, budget | {"status": new}, subresource="status"
            )
            await self.cache.reached(written["metadata"]["resourceVersion"])
        if again is not None:
            self.queue.add_after(key, again)

    def _scale(self, matching: Sequence[Object]) -> int | None:
        found: dict[str, int] = {}
        for pod in matching:
            owner = self._top(pod)
            if owner is None:
                return None
            found[owner["metadata"]["uid"]] = int(owner["spec"].get("replicas", 1))
        return sum(found.values())

    def _top(self, obj: Object) -> Object | None:
        """The scalable controller at the top: a Deployment rather than its ReplicaSet."""
        for owner in obj["metadata"].get("ownerReferences") or ():
            informer = self._scales.get(owner.get("kind", "")) if owner.get("controller") else None
            found = (
                informer.get(Key(obj["metadata"]["namespace"], owner["name"])) if informer else None
            )
            if found is not None:
                return self._top(found) or found
        return None
