"""DaemonSets: one pod on each fitting node (apps/v1 DaemonSet)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from todoku.api import placement
from todoku.api.meta import Key, Object, copy, key_of
from todoku.api.selectors import from_selector
from todoku.client import WatchEvent
from todoku.controllers import pods, revisions
from todoku.controllers.claims import plan_claims, settle_claims
from todoku.controllers.controller import deleting, owner_uid
from todoku.controllers.pod_owner import PodOwner
from todoku.controllers.rollout import scaled_value

BURST = 250
GENERATION = "pod-template-generation"
_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TOLERATED = ("node.kubernetes.io/network-unavailable", "NoSchedule")


@dataclass(slots=True)
class Plan:
    """Nodes that get a pod, and pods that go."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)


def daemon_pod(daemon_set: Object, node_name: str, digest: str) -> Object:
    """The pod for one node: bound to it by affinity, tolerating what befalls nodes."""
    pod = pods.from_template(
        daemon_set["spec"]["template"], daemon_set, prefix=daemon_set["metadata"]["name"]
    )
    pod["metadata"].setdefault("labels", {})[revisions.HASH] = digest
    generation = (daemon_set["metadata"].get("annotations") or {}).get(
        "deprecated.daemonset.template.generation", str(daemon_set["metadata"].get("generation", 1))
    )
    pod["metadata"]["labels"][GENERATION] = generation
    spec = pod["spec"]
    spec["tolerations"] = with_tolerations(spec)
    required = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node_name]}]}
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [required]}
    return pod


def with_tolerations(spec: Object) -> list[Object]:
    """The template's tolerations and those that every daemon pod has."""
    found: list[Object] = copy(spec.get("tolerations") or [])
    needed = list(_TOLERATED) + ([_HOST_NETWORK_TOLERATED] if spec.get("hostNetwork") else [])
    for key, effect in needed:
        one = {"key": key, "operator": "Exists", "effect": effect}
        if one not in found:
            found.append(one)
    return found


def fits(daemon_set: Object, node: Object) -> tuple[bool, bool]:
    """(should run there, may stay there)."""
    spec = daemon_set["spec"]["template"].get("spec") or {}
    wanted = spec.get("nodeName")
    if wanted and wanted != node["metadata"]["name"]:
        return False, False
    if not placement.node_matches({"spec": spec}, node):
        return False, False
    tolerations = with_tolerations(spec)
    taints = placement.taints(node)
    may_stay = placement.untolerated(taints, tolerations, ("NoExecute",)) is None
    return may_stay and placement.untolerated(
        taints, tolerations, ("NoSchedule",)
    ) is None, may_stay


def target_node(pod: Object) -> str:
    """The node a daemon pod is on, or is meant for."""
    if pod["spec"].get("nodeName"):
        return str(pod["spec"]["nodeName"])
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for one in term.get("matchFields") or ():
            if one.get("key") == "metadata.name" and len(one.get("values") or ()) == 1:
                return str(one["values"][0])
    return ""


def by_node(owned: Sequence[Object]) -> dict[str, list[Object]]:
    found: dict[str, list[Object]] = {}
    for pod in owned:
        found.setdefault(target_node(pod), []).append(pod)
    return found


def plan(daemon_set: Object, nodes: Sequence[Object], owned: Sequence[Object]) -> Plan:
    """One pod on every fitting node, none elsewhere; failed pods are replaced, surplus ones go youngest first."""
    decided = Plan()
    places = by_node(owned)
    for node in nodes:
        name = node["metadata"]["name"]
        here = places.pop(name, [])
        run, stay = fits(daemon_set, node)
        if not stay:
            decided.delete += [pod for pod in here if not deleting(pod)]
            continue
        failed = [pod for pod in here if pods.is_terminal(pod) and not deleting(pod)]
        decided.failed += failed
        alive = [pod for pod in here if pods.is_active(pod)]
        going = [pod for pod in here if deleting(pod)]
        if run and not alive and not failed and not going:
            decided.create.append(name)
        alive.sort(
            key=lambda pod: (not pod["spec"].get("nodeName"), pod["metadata"]["creationTimestamp"])
        )
        decided.delete += alive[1 + _surging(daemon_set) :]
    for (
        lost
    ) in places.values():  # on nodes that are gone: the pod garbage collector's, unless never bound
        decided.delete += [
            pod for pod in lost if not pod["spec"].get("nodeName") and not deleting(pod)
        ]
    return decided


def _surging(daemon_set: Object) -> int:
    return 1 if _limit(daemon_set, "maxSurge", "0", 1) else 0


def _limit(daemon_set: Object, name: str, default: str, desired: int) -> int:
    strategy = daemon_set["spec"].get("updateStrategy") or {}
    value = (strategy.get("rollingUpdate") or {}).get(name, default)
    return scaled_value(value, desired, round_up=True)


@dataclass(frozen=True, slots=True)
class Update:
    """A step of a rolling update: old pods to delete, nodes to get a new pod beside the old one (surge)."""

    delete: tuple[Object, ...] = ()
    create: tuple[str, ...] = ()


def plan_update(
    daemon_set: Object, nodes: Sequence[Object], owned: Sequence[Object], digest: str, now: float
) -> Update:
    """Replace outdated pods, no more unavailable than allowed; unavailable old ones go at once."""
    if (daemon_set["spec"].get("updateStrategy") or {}).get("type") == "OnDelete":
        return Update()
    fitting = {node["metadata"]["name"] for node in nodes if fits(daemon_set, node)[0]}
    surge = _limit(daemon_set, "maxSurge", "0", len(fitting))
    if surge:
        return _plan_surge(daemon_set, fitting, owned, digest, now, surge)
    allowed = _limit(daemon_set, "maxUnavailable", "1", len(fitting))
    min_ready = daemon_set["spec"].get("minReadySeconds", 0)
    unavailable, at_once, candidates = 0, [], []
    for name, here in by_node(owned).items():
        if name not in fitting:
            continue
        old, new = _by_revision(here, digest)
        if new is not None or (old is None and here):
            unavailable += not (new and pods.is_available(new, min_ready, now))
        elif old is not None and not pods.is_available(old, min_ready, now):
            at_once.append(old)
            unavailable += 1
        elif old is not None:
            candidates.append(old)
    unavailable += len(fitting - set(by_node(owned)))
    room = max(allowed - unavailable, 0)
    return Update(delete=(*at_once, *candidates[:room]))


def _plan_surge(
    daemon_set: Object,
    fitting: set[str],
    owned: Sequence[Object],
    digest: str,
    now: float,
    surge: int,
) -> Update:
    min_ready = daemon_set["spec"].get("minReadySeconds", 0)
    delete: list[Object] = []
    create: list[str] = []
    surging = 0
    for name, here in by_node(owned).items():
        if name not in fitting:
            continue
        old, new = _by_revision(here, digest)
        if old is not None and new is not None:
            surging += 1
            if pods.is_available(new, min_ready, now):
                delete.append(old)
        elif old is not None and not pods.is_available(old, min_ready, now):
            delete.append(old)
        elif old is not None:
            create.append(name)
    return Update(tuple(delete), tuple(create[: max(surge - surging, 0)]))


def _by_revision(here: Sequence[Object], digest: str) -> tuple[Object | None, Object | None]:
    alive = [pod for pod in here if pods.is_active(pod)]
    new = [
        pod for pod in alive if (pod["metadata"].get("labels") or {}).get(revisions.HASH) == digest
    ]
    old = [pod for pod in alive if pod not in new]
    return (old[0] if old else None), (new[0] if new else None)


def status(
    daemon_set: Object, nodes: Sequence[Object], owned: Sequence[Object], digest: str, now: float
) -> Object:
    """The status' numbers, counted by node."""
    places = by_node([pod for pod in owned if not deleting(pod)])
    min_ready = daemon_set["spec"].get("minReadySeconds", 0)
    numbers = dict.fromkeys(("current", "desired", "misplaced", "ready", "available", "updated"), 0)
    for node in nodes:
        here = places.get(node["metadata"]["name"], [])
        run, _ = fits(daemon_set, node)
        if not run:
            numbers["misplaced"] += bool(here)
            continue
        numbers["desired"] += 1
        if not here:
            continue
        numbers["current"] += 1
        oldest = min(
            here, key=lambda pod: (not pods.is_ready(pod), pod["metadata"]["creationTimestamp"])
        )
        numbers["ready"] += pods.is_ready(oldest)
        numbers["available"] += pods.is_available(oldest, min_ready, now)
        numbers["updated"] += (oldest["metadata"].get("labels") or {}).get(revisions.HASH) == digest
    found: Object = {
        "currentNumberScheduled": numbers["current"],
        "numberMisscheduled": numbers["misplaced"],
        "desiredNumberScheduled": numbers["desired"],
        "numberReady": numbers["ready"],
        "observedGeneration": daemon_set["metadata"].get("generation", 0),
    }
    optional = {
        "updatedNumberScheduled": numbers["updated"],
        "numberAvailable": numbers["available"],
        "numberUnavailable": numbers["desired"] - numbers["available"],
    }
    found |= {name: value for name, value in optional.items() if value}
    old = daemon_set.get("status") or {}
    return found | {k: old[k] for k in ("collisionCount", "conditions") if k in old}


class DaemonSetController(PodOwner):
    name: ClassVar[str] = "daemonset"
    reconciles: ClassVar[str] = "daemonsets.apps"

    def setup(self) -> None:
        super().setup()
        self.revisions = self.watch(revisions.RESOURCE, self.enqueue_owner("DaemonSet"))
        self.nodes = self.watch("nodes", self._node_changed)

    def _pod_changed(self, event: WatchEvent) -> None:
        self.enqueue_owner("DaemonSet")(event)
        pod = event.object
        if owner_uid(pod) or event.type == "DELETED":
            return
        for one in self.cache.list(pod["metadata"]["namespace"]):
            if from_selector(one["spec"]["selector"]).matches(pod["metadata"].get("labels")):
                self.queue.add(key_of(one))

    def _node_changed(self, event: WatchEvent) -> None:
        new, old = event.object, event.old
        same = old is not None and _matters(old) == _matters(new)
        if event.type == "MODIFIED" and same:
            return
        for one in self.cache.list():
            self.queue.add(key_of(one))

    async def reconcile(self, key: Key) -> None:
        one = self.cache.get(key)
        if one is None:
            return
        selector = from_selector(one["spec"]["selector"])
        if selector.empty:
            text = "This daemon set is selecting all pods. A non-empty selector is required."
            self.recorder.event(one, "Warning", "SelectingAll", text)
            return
        claims = plan_claims(one, selector, self.pods.by_index("namespace", key.namespace))
        owned = await settle_claims(self.client, "pods", self.reconciles, one, claims)
        if deleting(one):
            return
        history = await revisions.current(self.client, self.revisions, one)
        nodes = self.nodes.list()
        digest = history.hash
        now = self.clock.now()
        decided = plan(one, nodes, owned)
        quiet = not (decided.create or decided.delete or decided.failed)
        update = plan_update(one, nodes, owned, digest, now) if quiet else Update()
        failure = await self._apply(one, decided, update, digest)
        mine = self.mine(one)
        await self.settle_status(one, status(one, nodes, mine, digest, now))
        used = {(pod["metadata"].get("labels") or {}).get(revisions.HASH, "") for pod in mine}
        await revisions.trim(self.client, one, history.revisions, used | {digest})
        self.look_again(key, one, mine, now)
        if failure is not None:
            raise failure

    async def _apply(
        self, one: Object, decided: Plan, update: Update, digest: str
    ) -> Exception | None:
        for pod in decided.failed:
            where = f"{pod['metadata']['name']} on node {target_node(pod)}"
            text = f"Found failed daemon pod {where}, will try to kill it"
            self.recorder.event(one, "Warning", "FailedDaemonPod", text)
        doomed = [*decided.delete, *decided.failed, *update.delete]
        results = await asyncio.gather(
            *(self.delete_pod(one, pod) for pod in doomed), return_exceptions=True
        )
        failure = next((r for r in results if isinstance(r, Exception)), None)
        if failure is None:
            await self.until_gone(doomed)
        names = [*decided.create, *update.create][:BURST]
        created = await self.create_pods(
            one, len(names), lambda number: daemon_pod(one, names[number], digest)
        )
        return failure or created


def _matters(node: Object) -> tuple[object, ...]:
    labels: Mapping[str, str] | None = node["metadata"].get("labels")
    return (
        labels,
        (node.get("spec") or {}).get("taints"),
        (node.get("spec") or {}).get("unschedulable"),
    )
