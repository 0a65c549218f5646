"""The loop: take a pod, choose its node, bind it; tell what happened."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from todoku.aio import Clock, SystemClock
from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.api.selectors import LabelSelector, Requirement, from_map, from_selector
from todoku.client import Client, Informer, InformerFactory, SeriesRecorder, Unreachable, WatchEvent
from todoku.scheduler import preemption
from todoku.scheduler.cache import Cache
from todoku.scheduler.cycle import Fit, Unfit, schedule
from todoku.scheduler.framework import Pod, World
from todoku.scheduler.plugins.volume_binding import claim_names, waits_for_consumer
from todoku.scheduler.queue import SchedulingQueue, Waiting

log = logs.get(__name__)

BINDINGS_AT_ONCE = 16
CLAIM_SECONDS = 60.0
# What preemption's part of the message begins with since claims of devices can be taken back, too (1.34).
_AFTER = "no new claims to deallocate, preemption: "
# What is said instead of it when no node was asked: upstream looks for the state of those claims, which is
# prepared after volumes are, and tells that it has none.
_UNASKED = "not found"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`name` is the schedulerName of the pods that are ours."""

    name: str = "default-scheduler"
    clock: Clock = field(default_factory=SystemClock)


class Scheduler:
    """Reads shared informers, writes bindings, conditions and Events."""

    def __init__(self, client: Client, informers: InformerFactory, config: Config) -> None:
        self.client = client
        self.config = config
        self.clock = config.clock
        self.recorder = SeriesRecorder(
            client,
            component=config.name,
            instance=f"{config.name}-{socket.gethostname()}",
            now=config.clock.now,
        )
        self.cache = Cache()
        self.queue = SchedulingQueue(config.clock)
        self._nominated: dict[str, tuple[str, Pod]] = {}  # uid -> node name and pod
        self._gate = asyncio.Semaphore(BINDINGS_AT_ONCE)
        self._pods = informers.informer("pods")
        self._nodes = informers.informer("nodes")
        self._namespaces = informers.informer("namespaces")
        self._budgets = informers.informer("poddisruptionbudgets.policy")
        self._claims = informers.informer("persistentvolumeclaims")
        self._volumes = informers.informer("persistentvolumes")
        self._classes = informers.informer("storageclasses.storage.k8s.io")
        self._services = informers.informer("services")
        self._sets = informers.informer("replicasets.apps")
        self._controllers = informers.informer("replicationcontrollers")
        self._stateful = informers.informer("statefulsets.apps")
        self._needed: list[Informer] = [
            self._nodes, self._pods, self._namespaces, self._budgets, self._claims, self._volumes,
            self._classes, self._services, self._sets, self._controllers, self._stateful,
        ]  # fmt: skip

    async def run(self) -> None:
        """Schedule until cancelled."""
        for informer in self._needed:
            await informer.synced()
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)
        self._namespaces.subscribe(lambda event: self.queue.moved("namespace"))
        for informer in (self._claims, self._volumes, self._classes):
            informer.subscribe(lambda event: self.queue.moved("volume"))
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.recorder.run(), name="scheduler-events")
                while True:
                    waiting = await self.queue.pop()
                    self._one(waiting, tasks)
                    await asyncio.sleep(0)  # let bindings go out between two pods
        finally:
            self.queue.close()

    def _node_changed(self, event: WatchEvent) -> None:
        node = event.object
        if event.type == "DELETED":
            self.cache.remove_node(node["metadata"]["name"])
            return
        if event.old is not None and _bearing(event.old) == _bearing(node):
            return
        self.cache.put_node(node)
        self.queue.moved("node")

    def _pod_changed(self, event: WatchEvent) -> None:
        pod = event.object
        uid, placed = pod["metadata"]["uid"], bool(pod["spec"].get("nodeName"))
        ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
        if event.type == "DELETED" or ended:
            self._nominated.pop(uid, None)
            self.queue.remove(key_of(pod))
            if placed or self.cache.is_assumed(uid):
                self.cache.remove_pod(uid)
                self.queue.moved("pod-gone")
        elif placed:
            self._nominated.pop(uid, None)
            self.queue.remove(key_of(pod))
            news = event.old is None or _occupies(event.old) != _occupies(pod)
            if news:
                self.cache.put_pod(pod)
                self.queue.moved("pod-placed")
        else:
            self._waiting_pod_changed(event)

    def _waiting_pod_changed(self, event: WatchEvent) -> None:
        pod, old = event.object, event.old
        ours = pod["spec"].get("schedulerName", "default-scheduler") == self.config.name
        if not ours or pod["metadata"].get("deletionTimestamp"):
            self.queue.remove(key_of(pod))
            return
        nominated = (pod.get("status") or {}).get("nominatedNodeName")
        if nominated:
            self._nominated[pod["metadata"]["uid"]] = (nominated, Pod.of(pod))
        if pod["spec"].get("schedulingGates") or self.cache.is_assumed(pod["metadata"]["uid"]):
            return
        if old is None or _wishes(old) != _wishes(pod):
            self.queue.add(pod)
        else:
            self.queue.refresh(pod)

    def _one(self, waiting: Waiting, tasks: asyncio.TaskGroup) -> None:
        """Decide for one pod; what must wait is done by a task of its own."""
        pod, key = Pod.of(waiting.pod), key_of(waiting.pod)
        found = schedule(pod, self.world(), self._promised())
        if isinstance(found, Fit):
            self.cache.assume(pod, found.node)
            tasks.create_task(self._bind(pod, key, found.node), name=f"bind-{key}")
            return
        took = preemption.plan(
            pod, self.world(), found, self._budgets.list(),
            (pod.object.get("status") or {}).get("nominatedNodeName", ""),
        )  # fmt: skip
        tasks.create_task(self._refuse(pod, key, found, took), name=f"refuse-{key}")

    def world(self) -> World:
        return World(
            nodes=self.cache.snapshot(),
            namespaces={
                one["metadata"]["name"]: one["metadata"].get("labels") or {}
                for one in self._namespaces.list()
            },
            claims={
                (one["metadata"]["namespace"], one["metadata"]["name"]): one
                for one in self._claims.list()
            },
            volumes={one["metadata"]["name"]: one for one in self._volumes.list()},
            storage_classes={one["metadata"]["name"]: one for one in self._classes.list()},
            selectors=self._selector_of,
        )

    def _promised(self) -> Mapping[str, Sequence[Pod]]:
        found: dict[str, list[Pod]] = {}
        for name, pod in self._nominated.values():
            found.setdefault(name, []).append(pod)
        return found

    def _selector_of(self, pod: Pod) -> LabelSelector | None:
        """What selects the pod's siblings: its Services' and its controller's selectors together."""
        found: list[Requirement] = []
        for service in self._services.list(pod.namespace):
            selector = from_map(service["spec"].get("selector"))
            if selector.matches(pod.labels):
                found += selector.requirements
        owner = self._controller_of(pod)
        if owner is not None:
            chosen = owner["spec"].get("selector")
            plain = owner.get("kind") == "ReplicationController"
            found += (from_map(chosen) if plain else from_selector(chosen)).requirements
        return LabelSelector(tuple(dict.fromkeys(found))) if found else None

    def _controller_of(self, pod: Pod) -> Object | None:
        for owner in pod.object["metadata"].get("ownerReferences") or ():
            if owner.get("controller"):
                caches = {
                    "ReplicaSet": self._sets,
                    "ReplicationController": self._controllers,
                    "StatefulSet": self._stateful,
                }
                informer = caches.get(owner.get("kind", ""))
                return informer.get(Key(pod.namespace, owner["name"])) if informer else None
        return None

    async def _bind(self, pod: Pod, key: Key, node: str) -> None:
        try:
            async with self._gate:
                await self._bind_volumes(pod, node)
                await self.client.create("pods", binding(pod, node), subresource="binding")
        except (errors.ApiError, Unreachable, TimeoutError) as error:
            self.cache.forget(pod.uid)
            self.queue.moved("pod-gone")
            if isinstance(error, errors.NotFound):
                self.queue.done(key)
                return
            log.warning("Binding failed", pod=key, node=node, error=error)
            self.queue.refused(key, frozenset())
            return
        self.queue.done(key)
        self._nominated.pop(pod.uid, None)
        text = f"Successfully assigned {key} to {node}"
        self.recorder.event(pod.object, "Normal", "Scheduled", text, action="Binding")

    async def _bind_volumes(self, pod: Pod, node: str) -> None:
        """Claims that wait for their first consumer learn the node; the binder then binds them."""
        world = self.world()
        for name in claim_names(pod):
            claim = world.claims.get((pod.namespace, name))
            if (
                claim is None
                or claim["spec"].get("volumeName")
                or not waits_for_consumer(claim, world)
            ):
                continue
            notes = {"volume.kubernetes.io/selected-node": node}
            await self.client.patch(
                "persistentvolumeclaims", name, pod.namespace, {"metadata": {"annotations": notes}}
            )
            bound = partial(self._bound, Key(pod.namespace, name))
            await self._claims.until(bound, seconds=CLAIM_SECONDS)

    def _bound(self, key: Key) -> bool:
        claim = self._claims.get(key)
        return claim is not None and (claim.get("status") or {}).get("phase") == "Bound"

    async def _refuse(
        self, pod: Pod, key: Key, unfit: Unfit, took: preemption.Preemption | str
    ) -> None:
        """Say why in the pod's condition and an Event, and make room if that was decided."""
        total = len(self.cache.nodes)
        after = ""
        if unfit.message:
            after = _UNASKED
        elif isinstance(took, str):
            after = f"{_AFTER}{took}"
        text = unfit.text(total, after)
        nominated = took.node if isinstance(took, preemption.Preemption) else None
        self.recorder.event(pod.object, "Warning", "FailedScheduling", text, action="Scheduling")
        try:
            if isinstance(took, preemption.Preemption):
                self._nominated[pod.uid] = (took.node, pod)
                await self._evict(pod, took)
            await self._write_condition(pod, text, nominated)
        except (errors.ApiError, Unreachable, TimeoutError) as error:
            log.debug("Cannot tell why a pod waits", pod=key, error=error)
        finally:
            self.queue.refused(key, unfit.plugins or frozenset({"NodeResourcesFit"}))

    async def _write_condition(self, pod: Pod, text: str, nominated: str | None) -> None:
        old = next(
            (
                c
                for c in (pod.object.get("status") or {}).get("conditions") or ()
                if c["type"] == "PodScheduled"
            ),
            None,
        )
        condition = {
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": text,
            "observedGeneration": pod.object["metadata"].get("generation"),
        }  # fmt: skip
        same = old is not None and all(
            old.get(f) == condition[f] for f in ("status", "reason", "message")
        )
        if same and nominated is None:
            return
        if old is None or old["status"] != "False":
            condition["lastTransitionTime"] = times.text(self.clock.now())
        status: Object = {"conditions": [condition]}
        if nominated is not None:
            status["nominatedNodeName"] = nominated
        body = {"metadata": {"uid": pod.uid}, "status": status}
        await self.client.patch(
            "pods", pod.name, pod.namespace, body, kind="strategic", subresource="status"
        )

    async def _evict(self, pod: Pod, took: preemption.Preemption) -> None:
        async with asyncio.TaskGroup() as tasks:
            for victim in took.victims:
                if not victim.terminating:
                    tasks.create_task(
                        self._evict_one(pod, victim, took.node), name=f"evict-{victim.name}"
                    )

    async def _evict_one(self, pod: Pod, victim: Pod, node: str) -> None:
        condition = {
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": f"{self.config.name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": times.text(self.clock.now()),
            "observedGeneration": victim.object["metadata"].get("generation", 0),
        }  # fmt: skip
        body = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
        try:
            await self.client.patch(
                "pods", victim.name, victim.namespace, body, kind="strategic", subresource="status"
            )
            await self.client.delete("pods", victim.name, victim.namespace, uid=victim.uid)
        except (errors.NotFound, errors.Conflict):
            return
        text = f"Preempted by pod {pod.uid} on node {node}"
        self.recorder.event(
            victim.object, "Normal", "Preempted", text, action="Preempting", related=pod.object
        )


def binding(pod: Pod, node: str) -> Object:
    """The Binding that gives a pod its node."""
    return {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node},
    }


def _bearing(node: Object) -> tuple[object, ...]:
    """All of a node that scheduling depends on."""
    spec, status = node.get("spec") or {}, node.get("status") or {}
    return (
        node["metadata"].get("labels"), spec.get("taints"), spec.get("unschedulable"),
        status.get("allocatable"), status.get("images"),
    )  # fmt: skip


def _occupies(pod: Object) -> tuple[object, ...]:
    """All of a placed pod that matters to others."""
    meta = pod["metadata"]
    return pod["spec"], meta.get("labels"), meta.get("deletionTimestamp")


def _wishes(pod: Object) -> tuple[object, ...]:
    """All of a waiting pod that its placement depends on."""
    return pod["spec"], pod["metadata"].get("labels")


async def run(client: Client, config: Config, *, informers: InformerFactory | None = None) -> None:
    """Run a scheduler until cancelled.  With `informers` the caller shares, and runs, the caches."""
    factory = informers or InformerFactory(client)
    scheduler = Scheduler(client, factory, config)
    async with asyncio.TaskGroup() as tasks:
        if informers is None:
            tasks.create_task(factory.run(), name="scheduler-informers")
        tasks.create_task(scheduler.run(), name="scheduler")
