"""ServiceL2Status: who announces which Service, as an object that `kubectl get` shows.

Announcing never waits for it: it has its own queue, and an API server that is away only delays it.
Source: ServiceL2Status v1beta1.
"""

import asyncio
from collections.abc import Callable, Sequence

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.client import Client, InformerFactory
from todoku.loadbalancer.fields import labels_of

log = logs.get(__name__)

_LOOK_AGAIN_SECONDS = 2.0
RESOURCE = "servicel2statuses.metallb.io"
_NODE, _NAME, _NAMESPACE = (
    f"metallb.io/{part}" for part in ("node", "service-name", "service-namespace")
)


class L2Statuses:
    """Keeps this node's status objects equal to what it announces.

    `announced(key)` gives the interface names (empty for all) or None; `alive()` the living nodes: of those
    that are dead, whoever announces now removes the leftovers.
    """

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        *,
        namespace: str,
        node: str,
        pod: Object,
        announced: Callable[[Key], Sequence[str] | None],
        alive: Callable[[], frozenset[str]],
    ) -> None:
        self._client, self._namespace, self._node, self._pod = client, namespace, node, pod
        self._announced, self._alive = announced, alive
        self._queue: WorkQueue[Key] = WorkQueue("l2status")
        self._known: set[Key] = set()  # what this node announces, as far as it was told
        self._informer = informers.informer(
            RESOURCE, namespace=namespace, indexers={"service": lambda obj: [str(_service_of(obj))]}
        )

    def refresh(self, service: Key) -> None:
        """The announcement of a Service began, changed or ended."""
        self._known.add(service)
        self._queue.add(service)

    async def run(self) -> None:
        """Work until cancelled; leftovers of an earlier life of this speaker go first."""
        await self._informer.synced()
        for obj in self._informer.list():
            if labels_of(obj).get(_NODE) == self._node:
                self._queue.add(_service_of(obj))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._queue.run(self.reconcile), name="l2status-queue")
            tasks.create_task(self._look_again(), name="l2status-look-again")

    async def _look_again(self) -> None:
        """A peer that took this node for dead removed its object, or one that died left its own.

        Looking into the cache costs nothing; reacting at once would have two nodes that do not hear each other
        write against each other.
        """
        while True:
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            for service in self._known:
                self._queue.add(service)

    async def reconcile(self, service: Key) -> None:
        """Bring one Service's status objects up to date."""
        present = self._informer.by_index("service", str(service))
        mine = [one for one in present if labels_of(one).get(_NODE) == self._node]
        interfaces = self._announced(service)
        if interfaces is None:
            self._known.discard(service)
            surplus = mine
        else:
            dead = [one for one in present if labels_of(one).get(_NODE) not in self._alive()]
            surplus = [*mine[1:], *(one for one in dead if one not in mine)]
        for obj in surplus:
            await self._delete(obj)
        if interfaces is not None:
            await self._write(service, mine[0] if mine else None, interfaces)

    async def _write(self, service: Key, present: Object | None, interfaces: Sequence[str]) -> None:
        wanted = status(self._node, service, interfaces)
        if present is None:
            body = self._new(service)
            present = await self._client.create(RESOURCE, body)
        if present.get("status") == wanted:
            return
        written = await self._client.update(
            RESOURCE, present | {"status": wanted}, subresource="status"
        )
        await self._informer.reached(written["metadata"]["resourceVersion"])

    async def _delete(self, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            await self._client.delete(RESOURCE, metadata["name"], metadata["namespace"])
        except errors.NotFound:
            return

    def _new(self, service: Key) -> Object:
        owner = self._pod["metadata"]
        return {
            "metadata": {
                "generateName": "l2-",
                "namespace": self._namespace,
                "labels": {
                    _NODE: self._node,
                    _NAME: service.name,
                    _NAMESPACE: service.namespace,
                },
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Pod", "name": owner["name"], "uid": owner["uid"]}
                ],
            },
            "spec": {},
        }


def status(node: str, service: Key, interfaces: Sequence[str]) -> Object:
    """The wire status."""
    shown: Object = {
        "node": node,
        "serviceName": service.name,
        "serviceNamespace": service.namespace,
    }
    if interfaces:
        shown["interfaces"] = [{"name": name} for name in sorted(interfaces)]
    return shown


def _service_of(obj: Object) -> Key:
    labels = labels_of(obj)
    return Key(labels.get(_NAMESPACE, ""), labels.get(_NAME, ""))
