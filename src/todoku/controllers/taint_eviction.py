"""Pods leave nodes with NoExecute taints that they do not tolerate, or not for longer."""

from __future__ import annotations

from typing import ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.api.placement import NO_EXECUTE, taints, tolerates
from todoku.client import WatchEvent
from todoku.controllers import pods
from todoku.controllers.controller import Controller, deleting

FOREVER = float("inf")


def evict_in(pod: Object, node: Object, now: float) -> float:
    """Seconds until the pod must leave: 0 now, infinity never.

    Each NoExecute taint must be tolerated; the shortest tolerationSeconds of all used tolerations counts, from
    when its taint was added.
    """
    tolerations = pod["spec"].get("tolerations") or ()
    wait = FOREVER
    for taint in taints(node):
        if taint.get("effect") != NO_EXECUTE:
            continue
        used = [one for one in tolerations if tolerates(one, taint)]
        if not used:
            return 0.0
        limits = [
            one["tolerationSeconds"] for one in used if one.get("tolerationSeconds") is not None
        ]
        if limits:
            since = times.parse(taint["timeAdded"]) if taint.get("timeAdded") else now
            wait = min(wait, max(since + max(min(limits), 0) - now, 0.0))
    return wait


class TaintEvictionController(Controller):
    name: ClassVar[str] = "taint-eviction"
    reconciles: ClassVar[str] = "pods"

    def setup(self) -> None:
        pods.index(self.cache)
        self.first_seen: dict[Key, float] = {}
        self.nodes = self.watch("nodes", self._node_changed)

    def enqueue(self, event: WatchEvent) -> None:
        pod, old = event.object, event.old
        node = pod["spec"].get("nodeName")
        if not node or event.type == "DELETED":
            return
        if old is not None and _bearing(old) == _bearing(pod):
            return
        super().enqueue(event)

    def _node_changed(self, event: WatchEvent) -> None:
        if event.old is not None and taints(event.old) == taints(event.object):
            return
        for pod in self.cache.by_index("node", event.object["metadata"]["name"]):
            self.queue.add(key_of(pod))

    async def reconcile(self, key: Key) -> None:
        pod = self.cache.get(key)
        node = self.nodes.get(Key("", pod["spec"].get("nodeName", ""))) if pod else None
        if pod is None or node is None or deleting(pod):
            return
        wait = evict_in(pod, node, self.clock.now())
        if wait == FOREVER:
            return
        if wait > 0:
            # Looked at again when it is due; a taint removed meanwhile is then seen as gone.
            self.queue.add_after(key, wait)
            return
        self.recorder.event(
            pod, "Normal", "TaintManagerEviction", f"Marking for deletion Pod {key}"
        )
        await evict(
            self, pod, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"
        )


def _bearing(pod: Object) -> tuple[object, object]:
    return pod["spec"].get("nodeName"), pod["spec"].get("tolerations")


async def evict(controller: Controller, pod: Object, reason: str, message: str) -> None:
    """Say in the pod's status why it is disrupted, then delete it."""
    meta = pod["metadata"]
    condition = {
        "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": times.text(controller.clock.now()),
        "observedGeneration": meta.get("generation", 0),
    }  # fmt: skip
    body = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [condition]}}
    try:
        await controller.client.patch(
            "pods", meta["name"], meta["namespace"], body, kind="strategic", subresource="status"
        )
        await controller.client.delete("pods", meta["name"], meta["namespace"], uid=meta["uid"])
    except (errors.NotFound, errors.Conflict):
        return
