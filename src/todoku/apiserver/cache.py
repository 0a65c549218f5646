"""The watch cache: every object in memory, in key order, following the store's one order of changes.

Reads, lists and watches are answered from here and do not reach the disk.  One task applies the store's changes;
`wait(revision)` gives reads the freshness of the last acknowledged write.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from todoku.aio import log as logs
from todoku.apiserver import keys
from todoku.apiserver.encoding import Cached, cached
from todoku.storage.store import Change, Store

log = logs.get(__name__)

MAX_INDEXES = 16


class Event:
    """One change of one object: `new` None means deleted, `old` None created.

    `encodings` holds the bytes already made for it, by form, for all watchers.  A deleted object is shown as it
    last was, under the revision of its deletion.
    """

    __slots__ = ("encodings", "key", "new", "old", "revision")

    def __init__(self, key: bytes, revision: int, new: Cached | None, old: Cached | None) -> None:
        self.key, self.revision, self.new, self.old = key, revision, new, old
        self.encodings: dict[object, bytes] = {}


class Follower(Protocol):
    """Receives the events of one collection, in order, from the cache's task; must not wait."""

    def push(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Index:
    """Keys by one string that `value_of` reads from an object (None: not indexed)."""

    __slots__ = ("_keys", "_value_of")

    def __init__(
        self, value_of: Callable[[Cached], str | None], items: Iterable[tuple[bytes, Cached]]
    ) -> None:
        self._value_of = value_of
        self._keys: dict[str, set[bytes]] = {}
        for key, one in items:
            self.add(key, one)

    def add(self, key: bytes, one: Cached) -> None:
        value = self._value_of(one)
        if value is not None:
            self._keys.setdefault(value, set()).add(key)

    def remove(self, key: bytes, one: Cached) -> None:
        value = self._value_of(one)
        if value is not None and value in self._keys:
            self._keys[value].discard(key)
            if not self._keys[value]:
                del self._keys[value]

    def keys(self, value: str) -> list[bytes]:
        return sorted(self._keys.get(value, ()))


class Collection:
    """All objects of one stored resource."""

    def __init__(self, prefix: bytes, oldest: int) -> None:
        self.prefix = prefix
        self.items: dict[bytes, Cached] = {}
        self.keys: list[bytes] = []
        self.size_bytes = 0  # of all values
        self.changed = oldest  # revision of the last change
        self.oldest = oldest  # history holds all changes after it
        self.history: deque[Event] = deque()
        self.followers: set[Follower] = set()
        self.handlers: list[Callable[[Cached | None, Cached | None], None]] = []
        self._indexes: dict[str, Index] = {}

    def apply(self, event: Event) -> None:
        if event.old is not None:
            self.size_bytes -= len(event.old.value)
        if event.new is None:
            del self.items[event.key]
            del self.keys[bisect_left(self.keys, event.key)]
        else:
            if event.old is None:
                insort(self.keys, event.key)
            self.items[event.key] = event.new
            self.size_bytes += len(event.new.value)
        if self._indexes:
            self._reindex(event)
        self.changed = event.revision
        self.history.append(event)
        for follower in tuple(self.followers):
            try:
                follower.push(event)
            except Exception:  # one broken watcher must not stop the others
                log.exception("Watcher dropped", collection=self.prefix.decode())
                self.followers.discard(follower)
                follower.close()
        event.encodings.clear()
        for handler in tuple(self.handlers):
            try:
                handler(event.old, event.new)
            except Exception:  # nor may a part of the server that trips over one object
                log.exception("Change not taken", key=event.key.decode())
        if event.old is not None:
            event.old.superseded()

    def _reindex(self, event: Event) -> None:
        for name, index in tuple(self._indexes.items()):
            try:
                if event.old is not None:
                    index.remove(event.key, event.old)
                if event.new is not None:
                    index.add(event.key, event.new)
            except Exception:  # who asks for it builds it again, and is told what is wrong
                log.exception("Index dropped", index=name, key=event.key.decode())
                del self._indexes[name]

    def get(self, namespace: str, name: str) -> Cached | None:
        return self.items.get(keys.key_of(self.prefix, namespace, name))

    def select(
        self, namespace: str = "", *, after: bytes = b"", among: Iterable[bytes] | None = None
    ) -> Sequence[bytes]:
        """Keys in order: of one namespace ("" means all), from `after` on, and only `among` these if given."""
        if among is not None:
            start, end = self.bounds(namespace)
            start = max(start, after)
            return [key for key in among if start <= key < end]
        return self.keys[slice(*self.span(namespace, after))]

    def span(self, namespace: str = "", after: bytes = b"") -> tuple[int, int]:
        """Where in `keys` those of a namespace ("" means all) from `after` on begin and end."""
        start, end = self.bounds(namespace)
        return bisect_left(self.keys, max(start, after)), bisect_left(self.keys, end)

    def bounds(self, namespace: str) -> tuple[bytes, bytes]:
        start = self.prefix + f"{namespace}/".encode() if namespace else self.prefix
        return start, keys.end_of(start)

    def index(self, name: str, value_of: Callable[[Cached], str | None]) -> Index:
        """The index of that name, built when first asked for; the least recently asked one makes room."""
        found = self._indexes.pop(name, None)
        if found is None:
            found = Index(value_of, self.items.items())
            if len(self._indexes) >= MAX_INDEXES:
                del self._indexes[next(iter(self._indexes))]
        self._indexes[name] = found
        return found

    def since(self, revision: int) -> list[Event]:
        """The events after `revision`, which must not be older than `oldest`."""
        events = []
        for event in reversed(self.history):
            if event.revision <= revision:
                break
            events.append(event)
        events.reverse()
        return events

    def compact(self, revision: int) -> None:
        while self.history and self.history[0].revision <= revision:
            self.history.popleft()
        self.oldest = max(self.oldest, revision)


class Cache:
    """All collections; `run` is its one task."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._collections: dict[bytes, Collection] = {}
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()
        self.revision = 0
        self.oldest = 0
        self.failure: Exception | None = None

    def collection(self, prefix: bytes) -> Collection:
        found = self._collections.get(prefix)
        if found is None:
            found = self._collections[prefix] = Collection(prefix, self.oldest)
        return found

    def __iter__(self) -> Iterator[Collection]:
        return iter(self._collections.values())

    async def run(self) -> None:
        """Load what the store keeps, then follow it until cancelled."""
        self.oldest = self._store.oldest
        page = await self._store.range(keys.PREFIX, keys.PREFIX_END, revision=self.oldest)
        for entry in page.entries:
            prefix, namespace, name = keys.split(entry.key)
            collection = self.collection(prefix)
            collection.items[entry.key] = cached(entry, namespace, name)
            collection.size_bytes += len(entry.value)
            collection.keys.append(entry.key)
        try:
            async with self._store.watch(
                keys.PREFIX, keys.PREFIX_END, revision=self.oldest
            ) as batches:
                self._reach(self.oldest)
                async for changes in batches:
                    self._apply(changes)
        except Exception as failure:
            self.failure = failure
            self._release(failure)
            raise

    def _apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            prefix, namespace, name = keys.split(change.key)
            collection = self.collection(prefix)
            new = cached(change.entry, namespace, name) if change.entry else None
            old = collection.items.get(change.key)
            collection.apply(Event(change.key, change.revision, new, old))
        self._reach(changes[-1].revision)

    def _reach(self, revision: int) -> None:
        self.revision = revision
        while self._waiting and self._waiting[0][0] <= revision:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_result(None)

    def _release(self, failure: Exception) -> None:
        while self._waiting:
            future = self._waiting.popleft()[1]
            if not future.done():
                future.set_exception(failure)

    async def wait(self, revision: int = 0) -> None:
        """Return once the cache holds `revision` (0: the store's newest)."""
        wanted = revision or self._store.revision
        if self.revision >= wanted:
            return
        if self.failure:
            raise self.failure
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._waiting and self._waiting[-1][0] > wanted:
            self._insert(wanted, future)
        else:
            self._waiting.append((wanted, future))
        await future

    def _insert(self, wanted: int, future: asyncio.Future[None]) -> None:
        waiting = sorted([*self._waiting, (wanted, future)], key=lambda pair: pair[0])
        self._waiting = deque(waiting)

    def compact(self, revision: int) -> None:
        self.oldest = max(self.oldest, revision)
        for collection in self:
            collection.compact(revision)
