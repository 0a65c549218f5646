"""The garbage collector: objects whose owners are gone go too, of every kind that is served."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, ClassVar

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.client import Informer, Unreachable, WatchEvent
from todoku.client.names import Named
from todoku.controllers.controller import Controller, deleting
from todoku.controllers.ownership import (
    FOREGROUND,
    ORPHAN,
    Graph,
    Node,
    OwnerState,
    Reference,
    coordinates,
    judge,
    reaches,
)

log = logs.get(__name__)

# Without owners, and many.
IGNORED = {"events", "events.events.k8s.io"}
DISCOVER_EVERY_SECONDS = 30.0
ABSENT_KEPT = 500


class GarbageCollector(Controller):
    """Its queue holds (namespace, uid) keys of objects to judge.

    The graph follows metadata of everything; deleting is decided only after asking the server for the owners that
    the graph does not know.
    """

    name: ClassVar[str] = "garbage-collector"
    workers: ClassVar[int] = 10

    def setup(self) -> None:
        self.graph = Graph()
        self._followed: dict[str, tuple[Informer, bool]] = {}
        self._unsubscribe: dict[str, Callable[[], None]] = {}
        self._kinds: dict[tuple[str, str], Named] = {}
        self._absent: dict[
            tuple[str, str], None
        ] = {}  # (uid, namespace) of owners known to be gone
        self._rediscover = asyncio.Event()
        self.orphans: WorkQueue[str] = WorkQueue("orphan", backoff=self.backoff, clock=self.clock)
        for resource in ("customresourcedefinitions.apiextensions.k8s.io",
                         "apiservices.apiregistration.k8s.io"):  # fmt: skip
            self.watch(resource, lambda event: self._rediscover.set())

    def tasks(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self._discover(), self.orphans.run(self._orphan, workers=3))

    async def _discover(self) -> None:
        try:
            await self._discover_again_and_again()
        finally:
            for stop in self._unsubscribe.values():
                stop()

    async def _discover_again_and_again(self) -> None:
        while True:
            try:
                self._follow(await self.client.discover())
            except (errors.ApiError, Unreachable, TimeoutError) as error:
                log.debug("Cannot discover", error=error)
                await asyncio.sleep(1.0)
                continue
            self._rediscover.clear()
            try:
                async with asyncio.timeout(DISCOVER_EVERY_SECONDS):
                    await self._rediscover.wait()
                # A CRD is served a moment after it is written.
                await asyncio.sleep(0.2)
            except TimeoutError:
                continue

    def _follow(self, served: Sequence[Named]) -> None:
        """Follow what is served now, and nothing that is not any more."""
        usable = {
            one.name: one
            for one in served
            if {"list", "watch", "delete"} <= set(one.verbs) and one.name not in IGNORED
        }
        for name in set(self._followed) - set(usable):
            self._unfollow(name)
        self._kinds = {(one.group, one.kind): one for one in usable.values()}
        for name in usable.keys() - self._followed.keys():
            informers = self.context.informers
            shared = informers.existing(name)
            informer = shared or informers.informer(name, metadata_only=True)
            self._followed[name] = (informer, shared is None)
            self._unsubscribe[name] = informer.subscribe(partial(self._changed, name))

    def _unfollow(self, name: str) -> None:
        informer, own = self._followed.pop(name)
        self._unsubscribe.pop(name)()
        for obj in informer.list():
            self._changed(name, WatchEvent("DELETED", obj, obj))
        if own:
            self.context.informers.discard(informer)

    def _changed(self, resource: str, event: WatchEvent) -> None:
        meta = event.object["metadata"]
        at = Reference(resource, meta.get("namespace", ""), meta["name"], meta["uid"])
        if event.type == "DELETED":
            owners = meta.get("ownerReferences") or ()
            for uid in self.graph.remove(at.uid):
                self._judge(uid)
            for owner in owners:  # which may wait for its last blocking dependent
                if owner["uid"] in self.graph.nodes and self.graph.nodes[owner["uid"]].foreground:
                    self._judge(owner["uid"])
            return
        before = self.graph.nodes.get(at.uid)
        old_owners = before.owners if before else ()
        was = (before.foreground, before.orphaning) if before else (False, False)
        node = self.graph.put(at, event.object)
        self._report_strangers(node, event.object, new=before is None)
        if node.owners and (before is None or node.owners != old_owners):
            self._judge(at.uid)
        for owner in old_owners:  # an owner in the foreground may wait for us no longer
            above = self.graph.nodes.get(owner["uid"])
            if above is not None and above.foreground:
                self._judge(owner["uid"])
        if node.orphaning and not was[1]:
            self.orphans.add(at.uid)
        if node.foreground and not was[0]:
            for dependent in self.graph.dependents(at.uid):
                self._judge(dependent.at.uid)
            self._judge(at.uid)

    def _report_strangers(self, node: Node, obj: Object, *, new: bool) -> None:
        """Tell of owner references that lead to an object of another namespace."""
        for owner in node.owners if new else ():
            above = self.graph.nodes.get(owner["uid"])
            if above is not None and not reaches(above.at, node.at):
                self._report(obj, owner)
        if new and node.at.namespace and node.dependents:  # seen only after what it seems to own
            for below in self.graph.dependents(node.at.uid):
                if not reaches(node.at, below.at):
                    self._report_seen(below, node.at.uid)

    def _report_seen(self, below: Node, uid: str) -> None:
        informer, _ = self._followed[below.at.resource]
        obj = informer.get(Key(below.at.namespace, below.at.name))
        for owner in below.owners if obj is not None else ():
            if owner["uid"] == uid:
                self._report(obj, owner)

    def _report(self, obj: Object | None, owner: Object) -> None:
        if obj is None:
            return
        namespace = obj["metadata"].get("namespace", "")
        message = f"ownerRef {coordinates(owner, namespace)} does not exist in namespace {json.dumps(namespace)}"
        self.recorder.event(obj, "Warning", "OwnerRefInvalidNamespace", message)

    def _judge(self, uid: str) -> None:
        self.queue.add(Key("", uid))

    async def reconcile(self, key: Key) -> None:
        node = self.graph.nodes.get(key.name)
        if node is None:
            return None
        if node.foreground:
            return await self._release(node)
        if node.deleting or not node.owners:
            return None
        fresh = await self._fetch(node.at)
        if fresh is None or deleting(fresh):
            return None
        owners = fresh["metadata"].get("ownerReferences") or []
        states = {owner["uid"]: await self._state(node.at, owner) for owner in owners}
        verdict = judge(
            owners,
            lambda owner: states[owner["uid"]],
            fresh["metadata"].get("finalizers") or (),
            self.graph.dependents(key.name),
        )
        if verdict.unblock:
            await self._unblock(node.at, fresh, owners)
        if verdict.drop_owners:
            await self._keep_owners(
                node.at, fresh, [o for o in owners if o["uid"] not in verdict.drop_owners]
            )
        if verdict.delete:
            await self._delete(node.at, fresh, verdict.delete)
        return None

    async def _state(self, at: Reference, owner: Object) -> OwnerState:
        """What the owner is now: from the graph if it is there, else from the server."""
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        resource = self._kinds.get((group, str(owner.get("kind", ""))))
        known = self.graph.nodes.get(owner["uid"])
        if (
            known is not None
            and resource is not None
            and known.is_at(resource.name, owner["name"], at)
        ):
            return OwnerState.WAITING if known.foreground else OwnerState.SOLID
        if resource is None:
            self._rediscover.set()
            raise errors.NotFound(
                f"owner {owner.get('kind')} {owner.get('name')}: its kind is not served"
            )
        namespace = at.namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            return OwnerState.UNREACHABLE
        if (owner["uid"], namespace) in self._absent:
            return OwnerState.ABSENT
        fresh = await self._fetch(Reference(resource.name, namespace, owner["name"], owner["uid"]))
        if fresh is None:
            self._remember_absent(owner["uid"], namespace)
            return OwnerState.ABSENT
        waits = deleting(fresh) and FOREGROUND in (fresh["metadata"].get("finalizers") or ())
        return OwnerState.WAITING if waits else OwnerState.SOLID

    def _remember_absent(self, uid: str, namespace: str) -> None:
        """A uid never comes back; thousands of dependents of one owner ask for it once."""
        self._absent[uid, namespace] = None
        if len(self._absent) > ABSENT_KEPT:
            del self._absent[next(iter(self._absent))]

    async def _fetch(self, at: Reference) -> Object | None:
        """The object as the server has it; None if it is gone or another one bears its name."""
        try:
            fresh = await self.client.get(at.resource, at.name, at.namespace)
        except errors.NotFound:
            return None
        return fresh if fresh["metadata"]["uid"] == at.uid else None

    async def _release(self, node: Node) -> None:
        """A foreground deletion ends when nothing blocks it."""
        if not node.blockers:  # each was judged when the wait began, or when it was seen
            await self._remove_finalizer(node.at, FOREGROUND)

    async def _orphan(self, uid: str) -> None:
        node = self.graph.nodes.get(uid)
        if node is None or not node.orphaning:
            return
        gate = asyncio.Semaphore(self.workers)
        try:
            async with asyncio.TaskGroup() as tasks:
                for dependent in self.graph.dependents(uid):
                    tasks.create_task(self._cut_loose(dependent.at, uid, gate))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        await self._remove_finalizer(node.at, ORPHAN)

    async def _cut_loose(self, at: Reference, owner: str, gate: asyncio.Semaphore) -> None:
        async with gate:
            fresh = await self._fetch(at)
            if fresh is None:
                return
            owners = fresh["metadata"].get("ownerReferences") or []
            rest = [one for one in owners if one["uid"] != owner]
            if len(rest) != len(owners):
                await self._keep_owners(at, fresh, rest)

    async def _remove_finalizer(self, at: Reference, finalizer: str) -> None:
        fresh = await self._fetch(at)
        if fresh is None:
            return
        rest = [one for one in fresh["metadata"].get("finalizers") or () if one != finalizer]
        await self._patch(at, fresh, {"finalizers": rest or None})

    async def _unblock(self, at: Reference, fresh: Object, owners: Sequence[Object]) -> None:
        freed = [{k: v for k, v in owner.items() if k != "blockOwnerDeletion"} for owner in owners]
        await self._patch(at, fresh, {"ownerReferences": freed})

    async def _keep_owners(self, at: Reference, fresh: Object, owners: list[Object]) -> None:
        await self._patch(at, fresh, {"ownerReferences": owners or None})

    async def _patch(self, at: Reference, fresh: Object, metadata: Object) -> None:
        exact = {"uid": at.uid, "resourceVersion": fresh["metadata"]["resourceVersion"]}
        try:
            await self.client.patch(
                at.resource, at.name, at.namespace, {"metadata": metadata | exact}
            )
        except errors.NotFound:
            return

    async def _delete(self, at: Reference, fresh: Object, policy: str) -> None:
        log.debug("Collect", resource=at.resource, name=at.name, policy=policy)
        try:
            await self.client.delete(
                at.resource, at.name, at.namespace, propagation=policy, uid=at.uid
            )
        except errors.NotFound:
            return
