"""The garbage collector: objects whose owners are gone go too, of every kind that is served."""

from __future__ import annotations

import asyncio
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
    judge,
)

log = logs.get(__name__)

# Without owners, and many.
IGNORED = {"events", "events.events.k8s.io"}
DISCOVER_EVERY_SECONDS = 30.0


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
        old_owners = [dict(one) for one in before.owners] if before else []
        was = (before.foreground, before.orphaning) if before else (False, False)
        node = self.graph.put(at, event.object)
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
        known = self.graph.nodes.get(owner["uid"])
        if known is not None and known.at.namespace in ("", at.namespace):
            return OwnerState.WAITING if known.foreground else OwnerState.SOLID
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        resource = self._kinds.get((group, str(owner.get("kind", ""))))
        if resource is None:
            self._rediscover.set()
            raise errors.NotFound(
                f"owner {owner.get('kind')} {owner.get('name')}: its kind is not served"
            )
        namespace = at.namespace if resource.namespaced else ""
        if resource.namespaced and not namespace:
            return OwnerState.ABSENT  # a cluster-scoped object cannot be owned by a namespaced one
        fresh = await self._fetch(Reference(resource.name, namespace, owner["name"], owner["uid"]))
        if fresh is None:
            return OwnerState.ABSENT
        waits = deleting(fresh) and FOREGROUND in (fresh["metadata"].get("finalizers") or ())
        return OwnerState.WAITING if waits else OwnerState.SOLID

    async def _fetch(self, at: Reference) -> Object | None:
        """The object as the server has it; None if it is gone or another one bears its name."""
        try:
            fresh = await self.client.get(at.resource, at.name, at.namespace)
        except errors.NotFound:
            return None
        return fresh if fresh["metadata"]["uid"] == at.uid else None

    async def _release(self, node: Node) -> None:
        """A foreground deletion ends when nothing blocks it."""
        blocking = self.graph.blocking(node.at.uid)
        if blocking:
            for one in blocking:
                if not one.deleting:
                    self._judge(one.at.uid)
            return
        await self._remove_finalizer(node.at, FOREGROUND)

    async def _orphan(self, uid: str) -> None:
        node = self.graph.nodes.get(uid)
        if node is None or not node.orphaning:
            return
        for dependent in self.graph.dependents(uid):
            fresh = await self._fetch(dependent.at)
            if fresh is None:
                continue
            owners = fresh["metadata"].get("ownerReferences") or []
            await self._keep_owners(dependent.at, fresh, [o for o in owners if o["uid"] != uid])
        await self._remove_finalizer(node.at, ORPHAN)

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
