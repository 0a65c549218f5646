"""A cache that follows one collection, and tells subscribers of every change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from todoku.aio import Backoff
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object, key_of
from todoku.client.client import Client, WatchEvent
from todoku.client.http import Unreachable

log = logs.get(__name__)

Index: TypeAlias = Callable[[Object], Iterable[str]]
Handler: TypeAlias = Callable[[WatchEvent], None]

_RETRY = Backoff(initial=0.05, maximum=2.0, jitter=0.5)


class Informer:
    """The objects of one collection as last heard of; see `run`.

    Reads never wait.  What they return is shared: copy before changing.  The cache survives a restart of the API
    server; when the revision is gone it is compared with a new list, and only differences are told.
    `metadata.managedFields` is dropped, for memory; a PUT without it leaves the server's as they are.
    """

    def __init__(
        self,
        client: Client,
        resource: str,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        indexers: Mapping[str, Index] | None = None,
        metadata_only: bool = False,
    ) -> None:
        self.resource = resource
        self._client = client
        self._namespace = namespace
        self._labels = labels
        self._fields = fields
        self._metadata_only = metadata_only
        self._objects: dict[Key, Object] = {}
        self._indexers: dict[str, Index] = {}
        self._indexes: dict[str, dict[str, dict[Key, Object]]] = {}
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        self.resource_version = ""
        # Loop time since when the watch stands; None while it does not.
        self.following_since: float | None = None
        for name, index in (indexers or {}).items():
            self.add_index(name, index)

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key)

    def list(self, namespace: str | None = None) -> list[Object]:
        """Every object, or those of one namespace."""
        if namespace is None:
            return list(self._objects.values())
        return [obj for key, obj in self._objects.items() if key.namespace == namespace]

    def by_index(self, name: str, value: str) -> Sequence[Object]:
        """The objects for which the index function gave `value`."""
        return list(self._indexes[name].get(value, {}).values())

    def index_values(self, name: str) -> Sequence[str]:
        """Every value that the index holds now."""
        return list(self._indexes[name])

    def add_index(self, name: str, index: Index) -> None:
        """Add an index (for one that is there already, its first function stays)."""
        if name in self._indexers:
            return
        self._indexers[name] = index
        self._indexes[name] = {}
        for key, obj in self._objects.items():
            self._index(name, key, None, obj)

    def subscribe(self, handler: Handler) -> Callable[[], None]:
        """Call `handler(event)` for each present object (ADDED, at once) and then for each change.

        Handlers are short and never wait; they are called in order, after the cache has changed.
        Returns the unsubscriber.
        """
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler(WatchEvent("ADDED", obj))
        return lambda: self._handlers.remove(handler)

    async def synced(self) -> None:
        """Wait until the first list is in the cache."""
        await self._synced.wait()

    async def until(self, holds: Callable[[], bool], *, seconds: float = 5.0) -> None:
        """Wait until `holds()`, which is asked now and after every change.  Raises TimeoutError.

        A reconciler that wrote waits here for its own writes, so that its next look sees them.
        """
        if holds():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = holds
        try:
            async with asyncio.timeout(seconds):
                await waiter
        finally:
            del self._waiting[waiter]

    async def reached(self, resource_version: str, *, seconds: float = 5.0) -> None:
        """Wait until the cache is as new as a write to this collection.  Raises TimeoutError."""
        wanted = int(resource_version)
        await self.until(lambda: int(self.resource_version or 0) >= wanted, seconds=seconds)

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        failures = 0
        while True:
            try:
                if not self.resource_version:
                    await self._relist()
                # A server that ends each watch at once must not be asked in a tight loop.
                failures = 0 if await self._follow() else failures + 1
                await asyncio.sleep(_RETRY.delay(failures))
            except errors.Expired:
                log.debug("Revision is gone, listing again", resource=self.resource)
                self.resource_version = ""
            except (Unreachable, errors.ApiError, TimeoutError) as error:
                failures += 1
                note = log.debug if isinstance(error, Unreachable) else log.warning
                note("Cannot follow", resource=self.resource, error=error)
                await asyncio.sleep(_RETRY.delay(failures))
            except Exception as error:  # an extension API server may answer anything
                failures += 1
                log.warning("Cannot understand", resource=self.resource, error=repr(error))
                self.resource_version = ""
                await asyncio.sleep(_RETRY.delay(failures))
            finally:
                self.following_since = None

    async def _relist(self) -> None:
        listed = await self._client.list(
            self.resource, self._namespace, labels=self._labels, fields=self._fields,
            metadata_only=self._metadata_only,
        )  # fmt: skip
        present = {key_of(obj): obj for obj in listed.items}
        for key in [key for key in self._objects if key not in present]:
            self._take(WatchEvent("DELETED", self._objects[key]))
        for obj in listed.items:
            self._take(WatchEvent("MODIFIED", obj))
        self.resource_version = listed.resource_version
        self._synced.set()
        self._wake()

    async def _follow(self) -> bool:
        """Follow one watch to its end; tells whether it brought anything."""
        brought = False
        stream = self._client.watch_once(
            self.resource, self._namespace, labels=self._labels, fields=self._fields,
            resource_version=self.resource_version, metadata_only=self._metadata_only,
            opened=self._opened,
        )  # fmt: skip
        async for event in stream:
            self.resource_version = event.object["metadata"]["resourceVersion"]
            if event.type != "BOOKMARK":
                self._take(event)
            brought = True
            self._wake()
        return brought

    def _opened(self) -> None:
        self.following_since = asyncio.get_running_loop().time()

    def _wake(self) -> None:
        for waiter, holds in list(self._waiting.items()):
            if not waiter.done() and holds():
                waiter.set_result(None)

    def _take(self, event: WatchEvent) -> None:
        obj = event.object
        obj["metadata"].pop("managedFields", None)
        key = key_of(obj)
        old = self._objects.get(key)
        if event.type == "DELETED":
            if old is None:
                return
            del self._objects[key]
            self._reindex(key, old, None)
            self._tell(WatchEvent("DELETED", obj, old))
            return
        if old is not None and _version(old) == _version(obj) != "":
            return  # a list repeats what the watch has told already
        self._objects[key] = obj
        if old is not None and old["metadata"]["uid"] != obj["metadata"]["uid"]:
            # Deleted and created again while nobody looked: two events, as the watch would have told.
            self._reindex(key, old, None)
            self._tell(WatchEvent("DELETED", old, old))
            old = None
        self._reindex(key, old, obj)
        self._tell(WatchEvent("MODIFIED" if old else "ADDED", obj, old))

    def _tell(self, event: WatchEvent) -> None:
        for handler in list(self._handlers):
            try:
                handler(event)
            except Exception:
                # One subscriber's bug must not stop the cache of all the others.
                log.exception("A subscriber failed", resource=self.resource)

    def _reindex(self, key: Key, old: Object | None, new: Object | None) -> None:
        for name in self._indexers:
            self._index(name, key, old, new)

    def _index(self, name: str, key: Key, old: Object | None, new: Object | None) -> None:
        index, buckets = self._indexers[name], self._indexes[name]
        before = set(index(old)) if old is not None else set()
        after = set(index(new)) if new is not None else set()
        for value in before - after:
            bucket = buckets[value]
            bucket.pop(key, None)
            if not bucket:
                del buckets[value]
        if new is not None:
            for value in after:
                buckets.setdefault(value, {})[key] = new


class InformerFactory:
    """Informers shared by everybody in a process: one watch per collection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._informers: dict[tuple[str, str | None, str, str, bool], Informer] = {}
        self._starting: asyncio.Queue[tuple[Informer, asyncio.Event]] = asyncio.Queue()
        self._stops: dict[int, asyncio.Event] = {}

    def informer(
        self,
        resource: str,
        *,
        namespace: str | None = None,
        labels: str = "",
        fields: str = "",
        indexers: Mapping[str, Index] | None = None,
        metadata_only: bool = False,
    ) -> Informer:
        """The informer of a collection; the first call creates it and `run` starts it."""
        identity = (resource, namespace, labels, fields, metadata_only)
        informer = self._informers.get(identity)
        if informer is None:
            informer = self._informers[identity] = Informer(
                self._client, resource, namespace=namespace, labels=labels, fields=fields,
                metadata_only=metadata_only,
            )  # fmt: skip
            stop = self._stops[id(informer)] = asyncio.Event()
            self._starting.put_nowait((informer, stop))
        for name, index in (indexers or {}).items():
            informer.add_index(name, index)
        return informer

    def existing(self, resource: str) -> Informer | None:
        """The informer of whole objects in all namespaces, if somebody asked for it."""
        return self._informers.get((resource, None, "", "", False))

    def discard(self, informer: Informer) -> None:
        """Stop following a collection (its resource is gone)."""
        self._informers = {i: kept for i, kept in self._informers.items() if kept is not informer}
        stop = self._stops.pop(id(informer), None)
        if stop is not None:
            stop.set()

    async def synced(self) -> None:
        """Wait for every informer asked for so far."""
        for informer in list(self._informers.values()):
            await informer.synced()

    async def run(self) -> None:
        """Run all informers, those asked for later too, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                informer, stop = await self._starting.get()
                tasks.create_task(_until(stop, informer), name=f"informer-{informer.resource}")


async def _until(stop: asyncio.Event, informer: Informer) -> None:
    running = asyncio.create_task(informer.run(), name=f"follow-{informer.resource}")
    stopping = asyncio.create_task(stop.wait(), name=f"stop-{informer.resource}")
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        for task in (running, stopping):
            task.cancel()
        await asyncio.gather(running, stopping, return_exceptions=True)


def _version(obj: Object) -> str:
    return str(obj["metadata"].get("resourceVersion", ""))
