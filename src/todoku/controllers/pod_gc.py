"""Pods that nobody else will remove: on nodes that are gone, never placed, too many finished ones."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, ClassVar

from todoku.api import errors, times
from todoku.api.meta import Key, Object
from todoku.api.placement import taints
from todoku.client import WatchEvent
from todoku.controllers import pods
from todoku.controllers.controller import Controller, deleting

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
QUARANTINE_SECONDS = 40.0


def plan(
    all_pods: Sequence[Object], nodes: Mapping[str, Object], *, kept: int, long_gone: set[str]
) -> list[tuple[Object, str]]:
    """The pods to remove by force, with the reason; `long_gone` are names of nodes missing for a while."""
    doomed: list[tuple[Object, str]] = []
    finished = sorted(
        (pod for pod in all_pods if pods.is_terminal(pod) and not deleting(pod)),
        key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]),
    )
    doomed += [(pod, "terminated") for pod in finished[: max(len(finished) - kept, 0)]]
    for pod in all_pods:
        name = pod["spec"].get("nodeName") or ""
        node = nodes.get(name)
        if name and node is None and name in long_gone:
            doomed.append((pod, "orphaned"))
        elif not name and deleting(pod):
            doomed.append((pod, "unscheduled"))
        elif node is not None and deleting(pod) and _out_of_service(node):
            doomed.append((pod, "out-of-service"))
    return doomed


def _out_of_service(node: Object) -> bool:
    return any(taint["key"] == OUT_OF_SERVICE for taint in taints(node))


class PodGcController(Controller):
    name: ClassVar[str] = "pod-garbage-collector"
    workers: ClassVar[int] = 1

    def setup(self) -> None:
        self.pods = self.watch("pods")
        self.nodes = self.watch("nodes", self._node_changed)
        self._missing: dict[str, float] = {}

    def _node_changed(self, event: WatchEvent) -> None:
        if event.type == "DELETED" or _out_of_service(event.object):
            self.queue.add(Key("", "all"))

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self._tick(),)

    async def _tick(self) -> None:
        while True:
            self.queue.add(Key("", "all"))
            await self.clock.sleep(self.config.timings.pod_gc_every)

    async def reconcile(self, key: Key) -> None:
        nodes = {node["metadata"]["name"]: node for node in self.nodes.list()}
        there = self.pods.list()
        long_gone = await self._long_gone(
            {p["spec"].get("nodeName") or "" for p in there} - set(nodes) - {""}
        )
        kept = self.config.timings.terminated_pods_kept
        for pod, reason in plan(there, nodes, kept=kept, long_gone=long_gone):
            await self._remove(pod, reason)

    async def _long_gone(self, missing: set[str]) -> set[str]:
        """Nodes missing for the quarantine, of which the server knows nothing either."""
        now = self.clock.monotonic()
        self._missing = {name: self._missing.get(name, now) for name in missing}
        found: set[str] = set()
        for name, since in self._missing.items():
            if now - since < QUARANTINE_SECONDS:
                self.queue.add_after(Key("", "all"), since + QUARANTINE_SECONDS - now)
                continue
            try:
                await self.client.get("nodes", name)
            except errors.NotFound:
                found.add(name)
        return found

    async def _remove(self, pod: Object, reason: str) -> None:
        meta = pod["metadata"]
        status: Object = {}
        if not pods.is_terminal(pod):
            status["phase"] = "Failed"
            if reason == "orphaned":
                status["conditions"] = [{
                    "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
                    "message": "PodGC: node no longer exists",
                    "lastTransitionTime": times.text(self.clock.now()),
                    "observedGeneration": meta.get("generation", 0),
                }]  # fmt: skip
        try:
            if status:
                await self.client.patch(
                    "pods", meta["name"], meta["namespace"], {"metadata": {"uid": meta["uid"]}, "status": status},
                    kind="strategic", subresource="status",
                )  # fmt: skip
            await self.client.delete(
                "pods", meta["name"], meta["namespace"], uid=meta["uid"], grace_period_seconds=0
            )
        except (errors.NotFound, errors.Conflict):
            return
