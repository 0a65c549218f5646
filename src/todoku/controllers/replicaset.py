"""ReplicaSets: as many pods as asked for (apps/v1 ReplicaSet)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from todoku.api import times
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import LabelSelector, from_map, from_selector
from todoku.client import WatchEvent
from todoku.controllers import conditions, pods
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import deleting, owner_key, owner_uid
from todoku.controllers.pod_owner import PodOwner

BURST = 500


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pods to create, and which to delete."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def plan(replicas: int, owned: Sequence[Object], beside: Sequence[Object], now: float) -> Plan:
    """Decide for the active pods `owned`; `beside` are active pods of related sets, for ranking by node."""
    surplus = len(owned) - replicas
    if surplus < 0:
        return Plan(create=min(-surplus, BURST))
    if surplus == 0:
        return Plan()
    surplus = min(surplus, BURST)
    crowd = Counter(pod["spec"].get("nodeName", "") for pod in beside)
    ranked = sorted(
        owned,
        key=lambda pod: pods.deletion_rank(
            pod, beside=crowd[pod["spec"].get("nodeName", "")], now=now
        ),
    )
    return Plan(delete=tuple(ranked[:surplus]))


def status(
    rs: Object,
    owned: Sequence[Object],
    failure: Exception | None,
    plan: Plan,
    now: float,
    *,
    terminating: int | None = None,
) -> Object:
    """The status as of the active pods seen; `failure` is why a creation or deletion was refused.

    `terminating` is the count of those on their way out; None for kinds that do not tell it.
    """
    spec, old = rs["spec"], rs.get("status") or {}
    wanted = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = spec.get("minReadySeconds", 0)
    labelled = from_map(wanted) if wanted else LabelSelector()
    new: Object = {
        "replicas": len(owned),
        "fullyLabeledReplicas": sum(labelled.matches(p["metadata"].get("labels")) for p in owned),
        "readyReplicas": sum(pods.is_ready(p) for p in owned),
        "availableReplicas": sum(pods.is_available(p, min_ready, now) for p in owned),
        "observedGeneration": rs["metadata"].get("generation", 0),
    }
    for name in ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"):
        if not new[name]:
            del new[name]
    if terminating is not None:
        new["terminatingReplicas"] = terminating
    kept = old.get("conditions")
    if failure is not None:
        reason = "FailedCreate" if plan.create else "FailedDelete"
        condition = {
            "type": "ReplicaFailure", "status": "True", "reason": reason, "message": str(failure),
        }  # fmt: skip
        if conditions.find(kept, "ReplicaFailure") is None:
            # The first refusal stays: each names another pod, and a status that changes wakes this controller.
            kept = conditions.with_condition(kept, condition, times.text(now))
    else:
        kept = conditions.without(kept, "ReplicaFailure")
    if kept:
        new["conditions"] = kept
    return new


def terminating(rs: Object, selector: LabelSelector, here: Sequence[Object]) -> int:
    """How many of the set's pods among `here` are being deleted and have not ended."""
    uid = rs["metadata"]["uid"]
    return sum(
        owner_uid(pod) == uid and selector.matches(pod["metadata"].get("labels"))
        for pod in here
        if pods.is_terminating(pod)
    )


class ReplicaSetController(PodOwner):
    """Also serves ReplicationControllers, which differ in their kind and selector only."""

    name: ClassVar[str] = "replicaset"
    reconciles: ClassVar[str] = "replicasets.apps"
    kind: ClassVar[str] = "ReplicaSet"

    def _pod_changed(self, event: WatchEvent) -> None:
        pod = event.object
        for seen in (pod, event.old):
            owner = owner_key(seen, self.kind) if seen is not None else None
            if owner is not None:
                self.queue.add(owner)
        if not owner_uid(pod) and event.type != "DELETED":
            self._enqueue_adopters(pod)

    def _enqueue_adopters(self, pod: Object) -> None:
        for rs in self.cache.list(pod["metadata"]["namespace"]):
            if self.selector(rs).matches(pod["metadata"].get("labels")):
                self.queue.add(key_of(rs))

    def selector(self, rs: Object) -> LabelSelector:
        return from_selector(rs["spec"].get("selector"))

    def terminating(self, rs: Object, here: Sequence[Object]) -> int | None:
        """What terminatingReplicas says (on by default since v1.35), or None."""
        return terminating(rs, self.selector(rs), here)

    async def reconcile(self, key: Key) -> None:
        rs = self.cache.get(key)
        if rs is None:
            return  # the garbage collector takes its pods
        now = self.clock.now()
        here = self.pods.by_index("namespace", key.namespace)
        claims = plan_claims(rs, self.selector(rs), [p for p in here if pods.is_active(p)])
        owned = await settle_claims(self.client, "pods", self.reconciles, rs, claims)
        wanted = rs["spec"].get("replicas", 1)
        decided = Plan() if deleting(rs) else plan(wanted, owned, self._related(rs, owned), now)
        failure = await self._apply(rs, decided)
        leaving = self.terminating(rs, here)
        await self.settle_status(rs, status(rs, owned, failure, decided, now, terminating=leaving))
        self.look_again(key, rs, owned, now)
        if failure is not None:
            raise failure

    async def _apply(self, rs: Object, decided: Plan) -> Exception | None:
        prefix, template = rs["metadata"]["name"], rs["spec"]["template"]
        if decided.create:
            return await self.create_pods(
                rs, decided.create, lambda _: pods.from_template(template, rs, prefix=prefix)
            )
        if decided.delete:
            return await self._delete(rs, decided.delete)
        return None

    async def _delete(self, rs: Object, doomed: Sequence[Object]) -> Exception | None:
        results = await asyncio.gather(
            *(self.delete_pod(rs, pod) for pod in doomed), return_exceptions=True
        )
        failure = next((one for one in results if isinstance(one, Exception)), None)
        if failure is not None:
            self.recorder.event(rs, "Warning", "FailedDelete", f"Error deleting: {failure}")
            return failure
        await self.until_gone(doomed)
        return None

    def _related(self, rs: Object, owned: Sequence[Object]) -> Sequence[Object]:
        """Active pods of all sets with the same controller: of the same Deployment."""
        controller = owner_uid(rs)
        if not controller:
            return owned
        siblings = {
            one["metadata"]["uid"]
            for one in self.cache.list(rs["metadata"]["namespace"])
            if owner_uid(one) == controller
        }
        here = self.pods.by_index("namespace", rs["metadata"]["namespace"])
        return [pod for pod in here if owner_uid(pod) in siblings and pods.is_active(pod)]


class ReplicationControllerController(ReplicaSetController):
    name: ClassVar[str] = "replicationcontroller"
    component: ClassVar[str] = "replication-controller"
    reconciles: ClassVar[str] = "replicationcontrollers"
    kind: ClassVar[str] = "ReplicationController"

    def selector(self, rs: Object) -> LabelSelector:
        return from_map(rs["spec"].get("selector"))

    def terminating(self, rs: Object, here: Sequence[Object]) -> int | None:
        return None  # the kind has no such field
