"""What every controller is: informers, a queue of keys, and `reconcile`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from todoku.aio import Backoff, Clock, SystemClock, WorkQueue
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.client import Client, EventRecorder, Informer, InformerFactory, WatchEvent

log = logs.get(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timings:
    """All in seconds.  The defaults are the lab's; `KUBERNETES` has upstream's."""

    node_grace: float = 2.5  # without a lease renewal for so long a node is NotReady
    node_startup_grace: float = 20.0  # the same, before the first renewal
    pod_gc_every: float = 20.0
    terminated_pods_kept: int = 12500
    autoscale_every: float = 15.0


KUBERNETES = Timings(node_grace=40.0, node_startup_grace=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """`controllers` lists names: `*` means all, `-name` leaves one out (as kube-controller-manager's flag)."""

    controllers: tuple[str, ...] = ("*",)
    cluster_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    node_mask_sizes: tuple[int, ...] = (24, 64)
    root_ca: str = ""  # PEM, published into every namespace
    signing_ca_cert: bytes = b""  # PEM, signs kubelet certificates
    signing_ca_key: bytes = b""
    timings: Timings = field(default_factory=Timings)
    clock: Clock = field(default_factory=SystemClock)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a controller is made from.  `client` writes as this controller; reading is shared."""

    client: Client
    informers: InformerFactory
    recorder: EventRecorder
    config: Config

    @property
    def clock(self) -> Clock:
        return self.config.clock


class Controller:
    """Watches, queues keys and reconciles each until the world is as its object says.

    A subclass names what it `reconciles` and sets up further informers in `setup`; `reconcile` asks what is, never
    which event came.  One key is reconciled by one worker at a time.
    """

    name: ClassVar[str]
    component: ClassVar[str] = ""  # as which its Events are signed; `NAME-controller` unless set
    reconciles: ClassVar[str] = ""
    workers: ClassVar[int] = 5
    backoff: ClassVar[Backoff] = Backoff(initial=0.005, maximum=30.0)

    def __init__(self, context: Context) -> None:
        self.context = context
        self.config = context.config
        self.client = context.client
        self.clock = context.clock
        self.recorder = context.recorder
        self.queue: WorkQueue[Key] = WorkQueue(self.name, backoff=self.backoff, clock=self.clock)
        self._watches: list[tuple[Informer, Callable[[WatchEvent], None] | None]] = []
        if self.reconciles:
            self.cache = self.watch(self.reconciles, self.enqueue)
        self.setup()

    def setup(self) -> None:
        """Declare further informers with `watch`."""

    def watch(
        self,
        resource: str,
        handler: Callable[[WatchEvent], None] | None = None,
        *,
        namespace: str | None = None,
    ) -> Informer:
        """The shared informer of a resource; `handler` hears of each change once the controller runs."""
        informer = self.context.informers.informer(resource, namespace=namespace)
        self._watches.append((informer, handler))
        return informer

    def enqueue(self, event: WatchEvent) -> None:
        self.queue.add(key_of(event.object))

    def enqueue_owner(self, kind: str) -> Callable[[WatchEvent], None]:
        """A handler that queues the controlling owner of a changed object, the former one too."""

        def handler(event: WatchEvent) -> None:
            for obj in (event.object, event.old):
                owner = owner_key(obj, kind) if obj is not None else None
                if owner is not None:
                    self.queue.add(owner)

        return handler

    async def run(self) -> None:
        """Reconcile until cancelled, once every cache has been filled."""
        for informer, _ in self._watches:
            await informer.synced()
        unsubscribe = [one.subscribe(handler) for one, handler in self._watches if handler]
        try:
            async with asyncio.TaskGroup() as tasks:
                work = self.queue.run(self._work, workers=self.workers)
                tasks.create_task(work, name=f"{self.name}-queue")
                for number, extra in enumerate(self.tasks()):
                    tasks.create_task(extra, name=f"{self.name}-task-{number}")
        finally:
            for stop in unsubscribe:
                stop()

    def tasks(self) -> Sequence[asyncio._CoroutineLike[None]]:
        """Further coroutines that run beside the queue."""
        return ()

    async def reconcile(self, key: Key) -> None:
        raise NotImplementedError

    async def _work(self, key: Key) -> None:
        try:
            await self.reconcile(key)
        except (errors.Conflict, TimeoutError) as error:
            # The cache was behind; the newer state is on its way and the key is tried again.
            delay = self.queue.retry(key)
            log.debug("Stale, again", controller=self.name, key=key, error=error, seconds=delay)
        except ExceptionGroup as group:
            raise group.exceptions[0] from group

    async def write_status(self, resource: str, obj: Object, status: Object) -> Object:
        """Write the status if it differs; returns the object as stored."""
        if obj.get("status") == status:
            return obj
        return await self.client.update(resource, obj | {"status": status}, subresource="status")


def owner_key(obj: Object, kind: str) -> Key | None:
    """The key of the controlling owner, if it is of this kind."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == kind:
            return Key(obj["metadata"].get("namespace", ""), owner["name"])
    return None


def owner_uid(obj: Object) -> str:
    """The uid of the controlling owner, or ""."""
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner.get("uid", ""))
    return ""


def owner_reference(owner: Object) -> Object:
    """The reference that a controlled object bears."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def deleting(obj: Object) -> bool:
    return bool(obj["metadata"].get("deletionTimestamp"))
