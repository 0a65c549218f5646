"""A control plane in this process: API server, controllers, scheduler, and nodes whose kubelet is an actor.

async with running_cluster(nodes=("w1", "w2")) as cluster:
    await cluster.client.create("deployments.apps", …)
    await cluster.until(lambda: len(cluster.pods("ns")) == 3)
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.apiserver import RunningApi, running_api
from todoku import controllers, scheduler
from todoku.aio import WorkQueue
from todoku.api import errors, times
from todoku.api.meta import Key, Object, key_of
from todoku.client import Client, ClientConfig, Informer, InformerFactory, WatchEvent

NAMESPACE = "lab"


@dataclass
class Cluster:
    api: RunningApi
    client: Client
    informers: InformerFactory
    kubelets: Kubelets
    manager: Client  # what the controllers write as: the identity they have in a lab
    planner: Client  # the same for the scheduler
    tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    async def until(self, holds: Callable[[], Any], *, seconds: float = 10.0) -> None:
        """Wait until something is true of the caches."""
        try:
            async with asyncio.timeout(seconds):
                while not holds():
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError("it did not become true in time") from None

    async def eventually(
        self, holds: Callable[[], Awaitable[Any]], *, seconds: float = 10.0
    ) -> Any:
        """The first true answer of a question to the server."""
        async with asyncio.timeout(seconds):
            while not (answer := await holds()):
                await asyncio.sleep(0.01)
        return answer

    def pods(self, namespace: str = NAMESPACE) -> list[Object]:
        return self.informers.informer("pods").list(namespace)

    def cached(self, resource: str, namespace: str | None = None) -> list[Object]:
        return self.informers.informer(resource).list(namespace)

    def get(self, resource: str, name: str, namespace: str = NAMESPACE) -> Object | None:
        return self.informers.informer(resource).get(Key(namespace, name))

    async def events(self, namespace: str = NAMESPACE) -> list[str]:
        listed = (await self.client.list("events", namespace)).items
        return [f"{event['reason']}: {event['message']}" for event in listed]

    async def gone(self, resource: str, name: str, namespace: str = NAMESPACE) -> None:
        async def missing() -> bool:
            try:
                await self.client.get(resource, name, namespace)
            except errors.NotFound:
                return True
            return False

        await self.eventually(missing)

    async def restart_controllers(self, **settings: Any) -> None:
        await stop(self.tasks.pop("controllers"))
        self.start_controllers(**settings)

    def start_controllers(self, names: Sequence[str] = ("*",), **settings: Any) -> None:
        # A new node is tainted until the node lifecycle controller has seen it ready.
        chosen = tuple(names) if "*" in names else (*names, "node-lifecycle")
        config = controllers.Config(controllers=chosen, root_ca="CA", **settings)
        running = controllers.run(lambda name: self.manager, config, informers=self.informers)
        self.tasks["controllers"] = asyncio.create_task(running, name="controllers")

    def start_scheduler(self) -> None:
        running = scheduler.run(self.planner, scheduler.Config(), informers=self.informers)
        self.tasks["scheduler"] = asyncio.create_task(running, name="scheduler")


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        pass


class Kubelets:
    """Acts for every node: pods placed there run and become ready, deleted ones go at once.

    `paused` nodes do nothing.  `behave(pod)` may give another status instead (None: leave the pod alone).
    """

    def __init__(self, client: Client, informer: Informer) -> None:
        self.client = client
        self.pods = informer
        self.paused: set[str] = set()
        self.behave: Callable[[Object], Object | None] = lambda pod: running(pod)
        self.keep_terminating = False
        self._queue: WorkQueue[Key] = WorkQueue("kubelets")
        self._addresses = 266  # 10.244.1.10 and on
        informer.subscribe(self._changed)

    def _changed(self, event: WatchEvent) -> None:
        if event.type != "DELETED" and event.object["spec"].get("nodeName"):
            self._queue.add(key_of(event.object))

    async def run(self) -> None:
        await self._queue.run(self._act, workers=4)

    async def _act(self, key: Key) -> None:
        pod = self.pods.get(key)
        if pod is None or pod["spec"].get("nodeName", "") in self.paused:
            return
        try:
            if pod["metadata"].get("deletionTimestamp"):
                if not self.keep_terminating:
                    uid = pod["metadata"]["uid"]
                    await self.client.delete(
                        "pods", key.name, key.namespace, uid=uid, grace_period_seconds=0
                    )
                return
            status = self.behave(pod)
            if status is not None and not _contains(pod.get("status") or {}, status):
                self._addresses += 1
                ip = (pod.get("status") or {}).get(
                    "podIP"
                ) or f"10.244.{self._addresses >> 8}.{self._addresses & 255}"
                status = {"podIP": ip, "podIPs": [{"ip": ip}], "hostIP": "192.168.11.132"} | status
                await self.client.patch(
                    "pods",
                    key.name,
                    key.namespace,
                    {"status": status},
                    kind="strategic",
                    subresource="status",
                )
        except (errors.NotFound, errors.Conflict):
            return


def _contains(have: Object, wanted: Object) -> bool:
    """Whether a status says already what it should, times aside."""
    ready = {c["type"]: c["status"] for c in have.get("conditions") or ()}
    same = all(ready.get(c["type"]) == c["status"] for c in wanted.get("conditions") or ())
    return same and have.get("phase") == wanted.get("phase")


def running(pod: Object, *, ready: bool = True) -> Object:
    stamp = times.text(time.time())
    word = "True" if ready else "False"
    return {
        "phase": "Running",
        "startTime": stamp,
        "conditions": [{"type": "Ready", "status": word, "lastTransitionTime": stamp}],
    }


def ended(pod: Object, *, code: int = 0) -> Object:
    phase = "Succeeded" if code == 0 else "Failed"
    stamp = times.text(time.time())
    terminated = {"exitCode": code, "finishedAt": stamp, "startedAt": stamp, "reason": "x"}
    one = {
        "name": pod["spec"]["containers"][0]["name"], "state": {"terminated": terminated},
        "image": "i", "imageID": "", "ready": False, "restartCount": 0,
    }  # fmt: skip
    return {"phase": phase, "containerStatuses": [one]}


def node(
    name: str,
    *,
    taints: Sequence[Object] = (),
    labels: dict[str, str] | None = None,
    cpu: str = "4",
) -> Object:
    resources = {"cpu": cpu, "memory": "8Gi", "pods": "110"}
    stamp = times.text(time.time())
    ready = {
        "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
        "lastHeartbeatTime": stamp, "lastTransitionTime": stamp,
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name} | (labels or {})},
        "spec": {"taints": list(taints)} if taints else {},
        "status": {"capacity": resources, "allocatable": resources, "conditions": [ready]},
    }


async def add_node(client: Client, wanted: Object) -> Object:
    """Register a node, then its status, as a kubelet does."""
    made = await client.create("nodes", {k: v for k, v in wanted.items() if k != "status"})
    made["status"] = wanted["status"]
    return await client.update("nodes", made, subresource="status")


def template(labels: dict[str, str], **spec: Any) -> Object:
    plain = {"containers": [{"name": "web", "image": "httpd"}]}
    return {"metadata": {"labels": labels}, "spec": plain | spec}


def workload(name: str, *, replicas: int = 3, namespace: str = NAMESPACE, **spec: Any) -> Object:
    """A Deployment, ReplicaSet or StatefulSet, as far as they are alike."""
    labels = {"app": name}
    base: Object = {
        "replicas": replicas,
        "selector": {"matchLabels": labels},
        "template": template(labels),
    }
    return {"metadata": {"name": name, "namespace": namespace}, "spec": base | spec}


@asynccontextmanager
async def running_cluster(
    nodes: Sequence[str | Object] = (),
    *,
    names: Sequence[str] = ("*",),
    schedule: bool = True,
    timings: controllers.Timings | None = None,
    **settings: Any,
) -> AsyncIterator[Cluster]:
    """Start everything; the namespace `lab` is there, nodes are registered and ready."""
    async with (
        running_api(**settings) as api,
        Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
        _client_of(api, "system:kube-controller-manager") as manager,
        _client_of(api, "system:kube-scheduler") as planner,
    ):
        informers = InformerFactory(manager)
        kubelets = Kubelets(client, informers.informer("pods"))
        cluster = Cluster(api, client, informers, kubelets, manager, planner)
        cluster.tasks["informers"] = asyncio.create_task(informers.run())
        cluster.tasks["kubelets"] = asyncio.create_task(kubelets.run())
        chosen = timings or controllers.Timings(node_startup_grace=600, node_grace=600)
        cluster.start_controllers(names, timings=chosen)
        if schedule:
            cluster.start_scheduler()
        try:
            for one in nodes:
                await add_node(client, node(one) if isinstance(one, str) else one)
            await client.create("namespaces", {"metadata": {"name": NAMESPACE}})
            await _accounts_are_there(cluster)
            yield cluster
        finally:
            for task in reversed(list(cluster.tasks.values())):
                await stop(task)


def _client_of(api: RunningApi, user: str) -> Client:
    return Client(ClientConfig.from_kubeconfig(api.kubeconfig_for(user)))


async def _accounts_are_there(cluster: Cluster) -> None:
    """Pods can be created once their namespace has its default account."""
    account = {"metadata": {"name": "default", "namespace": NAMESPACE}}
    try:
        await cluster.client.create("serviceaccounts", account)
    except errors.AlreadyExists:
        return
