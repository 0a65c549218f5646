"""Nodes that stop renewing their lease become Unknown, are tainted, and their pods stop being ready."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, ClassVar

from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.client import WatchEvent
from todoku.controllers import conditions, pods
from todoku.controllers.controller import Controller
from todoku.controllers.heartbeats import Heartbeats

log = logs.get(__name__)

LEASES = "kube-node-lease"
NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"
_PRESSURE = {
    "MemoryPressure": "node.kubernetes.io/memory-pressure",
    "DiskPressure": "node.kubernetes.io/disk-pressure",
    "PIDPressure": "node.kubernetes.io/pid-pressure",
    "NetworkUnavailable": "node.kubernetes.io/network-unavailable",
}
_MANAGED = {NOT_READY, UNREACHABLE, UNSCHEDULABLE, *_PRESSURE.values()}
_JUDGED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
PULSE_SECONDS = 0.2


def wanted_taints(node: Object, now: str) -> list[Object]:
    """The node's taints as its conditions demand; taints of others stay, in their order."""
    spec = node.get("spec") or {}
    current: list[Object] = list(spec.get("taints") or ())
    needed = _needed(node)
    kept = [
        taint
        for taint in current
        if taint["key"] not in _MANAGED or (taint["key"], taint["effect"]) in needed
    ]
    present = {(taint["key"], taint["effect"]) for taint in kept}
    for key, effect in needed:
        if (key, effect) not in present:
            stamp = {"timeAdded": now} if effect == "NoExecute" else {}
            kept.append({"key": key, "effect": effect} | stamp)
    return kept


def _needed(node: Object) -> list[tuple[str, str]]:
    listed = (node.get("status") or {}).get("conditions")
    found: list[tuple[str, str]] = []
    ready = conditions.find(listed, "Ready")
    if ready is not None and ready["status"] != "True":
        key = NOT_READY if ready["status"] == "False" else UNREACHABLE
        found += [(key, "NoSchedule"), (key, "NoExecute")]
    for type, key in _PRESSURE.items():
        if (conditions.find(listed, type) or {}).get("status") == "True":
            found.append((key, "NoSchedule"))
    if (node.get("spec") or {}).get("unschedulable"):
        found.append((UNSCHEDULABLE, "NoSchedule"))
    return found


def silent_conditions(node: Object, now: str) -> list[Object]:
    """The conditions of a node that is not heard of: what its kubelet reported is unknown now."""
    changed: list[Object] = []
    listed = (node.get("status") or {}).get("conditions")
    for type in _JUDGED:
        old = conditions.find(listed, type)
        if old is not None and old["status"] == "Unknown":
            continue
        reason, message = (
            ("NodeStatusUnknown", "Kubelet stopped posting node status.") if old
            else ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
        )  # fmt: skip
        beat = (
            (old or {}).get("lastHeartbeatTime") or node["metadata"].get("creationTimestamp") or now
        )
        changed.append({
            "type": type, "status": "Unknown", "reason": reason, "message": message,
            "lastHeartbeatTime": beat, "lastTransitionTime": now,
        })  # fmt: skip
    return changed


class NodeLifecycleController(Controller):
    name: ClassVar[str] = "node-lifecycle"
    component: ClassVar[str] = "node-controller"
    reconciles: ClassVar[str] = "nodes"

    def setup(self) -> None:
        timings = self.config.timings
        self.heartbeats = Heartbeats(timings.node_grace, timings.node_startup_grace)
        self._fell: set[str] = set()  # nodes whose kubelet said that it is not ready any more
        self.leases = self.watch(
            "leases.coordination.k8s.io", self._lease_changed, namespace=LEASES
        )
        self.pods = self.watch("pods", self._pod_changed)
        pods.index(self.pods)

    def enqueue(self, event: WatchEvent) -> None:
        node = event.object
        if event.type == "DELETED":
            self.heartbeats.forget(node["metadata"]["name"])
            return
        ready = conditions.find((node.get("status") or {}).get("conditions"), "Ready") or {}
        if not ready or ready.get("reason") not in ("NodeStatusUnknown", "NodeStatusNeverUpdated"):
            mark = ready.get("lastHeartbeatTime") or ""
            name, now = node["metadata"]["name"], self.clock.monotonic()
            self.heartbeats.seen(name, mark, now, lease=False)
        if event.type == "ADDED":
            name = node["metadata"]["name"]
            text = f"Node {name} event: Registered Node {name} in Controller"
            self.recorder.event(_node_reference(node), "Normal", "RegisteredNode", text)
        if event.old is not None and _ready(event.old) == "True" and _ready(node) == "False":
            self._fell.add(node["metadata"]["name"])
        super().enqueue(event)

    def _lease_changed(self, event: WatchEvent) -> None:
        lease = event.object
        if event.type == "DELETED":
            return
        name, mark = lease["metadata"]["name"], (lease.get("spec") or {}).get("renewTime") or ""
        if self.heartbeats.seen(name, mark, self.clock.monotonic()):
            self.queue.add_after(Key("", name), self.config.timings.node_grace)

    def _pod_changed(self, event: WatchEvent) -> None:
        """A pod that became ready on a silent node must hear of it (its status came late)."""
        name = event.object["spec"].get("nodeName")
        node = self.cache.get(Key("", name)) if name else None
        if node is not None and _is_unknown(node) and pods.is_ready(event.object):
            self.queue.add(Key("", str(name)))

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self._feel_own_pulse(),)

    async def _feel_own_pulse(self) -> None:
        """A detector that did not run heard nobody; it must not take its own absence for theirs."""
        before = self.clock.monotonic()
        while True:
            await self.clock.sleep(PULSE_SECONDS)
            now = self.clock.monotonic()
            late = now - before - PULSE_SECONDS
            if late > PULSE_SECONDS:
                log.warning("The detector itself ran late", seconds=round(late, 3))
                self.heartbeats.stalled(late)
            before = now

    async def reconcile(self, key: Key) -> None:
        node = self.cache.get(key)
        if node is None:
            return
        now = self.clock.monotonic()
        left = self.heartbeats.left(key.name, now, listening_since=self._listening_since())
        if left <= 0:
            node = await self._mark_silent(node)
        else:
            self.queue.add_after(key, left + 0.001)
            await self._mark_pods_of_fallen(node)
        await self._taint(node)

    def _listening_since(self) -> float | None:
        return self.leases.following_since

    async def _mark_silent(self, node: Object) -> Object:
        name = node["metadata"]["name"]
        changed = silent_conditions(node, times.text(self.clock.now()))
        acts = [
            self._mark_pod(pod) for pod in self.pods.by_index("node", name) if pods.is_ready(pod)
        ]
        if changed:
            log.info("Node is silent", node=name, pods=len(acts))
            self.recorder.event(
                _node_reference(node),
                "Normal",
                "NodeNotReady",
                f"Node {name} status is now: NodeNotReady",
            )
            body = {"status": {"conditions": changed}}
            results = await asyncio.gather(
                self.client.patch("nodes", name, "", body, kind="strategic", subresource="status"),
                pods.all_of(acts),
            )
            return results[0]
        await pods.all_of(acts)
        return node

    async def _mark_pods_of_fallen(self, node: Object) -> None:
        """Once, when a kubelet reports itself not ready; from then on its word about its pods counts again."""
        name = node["metadata"]["name"]
        if name in self._fell and _ready(node) == "False":
            here = self.pods.by_index("node", name)
            await pods.all_of([self._mark_pod(pod) for pod in here if pods.is_ready(pod)])
        self._fell.discard(name)

    async def _mark_pod(self, pod: Object) -> None:
        meta = pod["metadata"]
        condition = {
            "type": "Ready", "status": "False",
            "reason": "NodeNotReady", "lastTransitionTime": times.text(self.clock.now()),
        }  # fmt: skip
        body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [condition]}}
        self.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")
        try:
            await self.client.patch(
                "pods",
                meta["name"],
                meta["namespace"],
                body,
                kind="strategic",
                subresource="status",
            )
        except (errors.NotFound, errors.Conflict):
            return

    async def _taint(self, node: Object) -> None:
        current = (node.get("spec") or {}).get("taints") or []
        wanted = wanted_taints(node, times.text(self.clock.now()))
        if wanted == current:
            return
        meta = node["metadata"]
        body = {
            "metadata": {"resourceVersion": meta["resourceVersion"]},
            "spec": {"taints": wanted or None},
        }
        written = await self.client.patch("nodes", meta["name"], "", body)
        await self.cache.reached(written["metadata"]["resourceVersion"])


def _is_unknown(node: Object) -> bool:
    return _ready(node) == "Unknown"


def _ready(node: Object) -> str:
    """The status of the Ready condition; "" before there is one."""
    found = conditions.find((node.get("status") or {}).get("conditions"), "Ready")
    return str((found or {}).get("status", ""))


def _node_reference(node: Object) -> Object:
    """Events about nodes bear the node's name as its uid, as kubelets write them."""
    name = node["metadata"]["name"]
    return {"apiVersion": "v1", "kind": "Node", "name": name, "uid": name}
