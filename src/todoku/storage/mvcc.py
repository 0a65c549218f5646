"""The state every embedded store shares: live keys, the log of changes, and who follows it.  No I/O.

An old revision is read by undoing the log from its end: the value of a key at revision r is what the first
change after r replaced.  So only the log costs memory, and compaction is dropping its head.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

from todoku.storage.store import (
    Change,
    Committed,
    Compacted,
    Compare,
    Delete,
    Entry,
    FutureRevision,
    Page,
    Put,
    SlowWatcher,
)

WATCH_BACKLOG = 100_000
"""Changes a watcher may leave untaken before it is disconnected."""


def plan(
    live: dict[bytes, Entry], operations: Sequence[Put | Delete], revision: int
) -> list[Change]:
    """What the operations change if they commit as `revision`; deleting an absent key changes nothing."""
    changes = []
    for operation in operations:
        previous = live.get(operation.key)
        if isinstance(operation, Put):
            created = previous.create_revision if previous else revision
            entry = Entry(operation.key, operation.value, created, revision)
            changes.append(Change(operation.key, revision, entry, previous))
        elif previous is not None:
            changes.append(Change(operation.key, revision, None, previous))
    return changes


def holds(compare: Compare, entry: Entry | None) -> bool:
    return compare.mod_revision == (entry.mod_revision if entry else 0)


class Watcher:
    """One follower's backlog of changes; closed with a reason when it is too slow."""

    __slots__ = ("_backlog", "_count", "_failure", "_limit", "_waiting", "after", "end", "start")

    def __init__(self, start: bytes, end: bytes, after: int, limit: int) -> None:
        self.start, self.end, self.after = start, end, after
        self._backlog: deque[Sequence[Change]] = deque()
        self._count = 0
        self._limit = limit
        self._waiting: asyncio.Future[None] | None = None
        self._failure: Exception | None = None

    def push(self, changes: Sequence[Change]) -> None:
        wanted = [
            change
            for change in changes
            if change.revision > self.after and self.start <= change.key < self.end
        ]
        if not wanted or self._failure:
            return
        self._count += len(wanted)
        if self._count > self._limit:
            self.fail(SlowWatcher(f"{self._count} changes were not taken"))
            return
        self._backlog.append(wanted)
        self._wake()

    def fail(self, failure: Exception) -> None:
        self._failure = failure
        self._backlog.clear()
        self._wake()

    def _wake(self) -> None:
        if self._waiting and not self._waiting.done():
            self._waiting.set_result(None)

    def __aiter__(self) -> Watcher:
        return self

    async def __anext__(self) -> Sequence[Change]:
        while not self._backlog:
            if self._failure:
                raise self._failure
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        changes = self._backlog.popleft()
        self._count -= len(changes)
        return changes


class Closed(Exception):
    """The store was closed while somebody followed it."""


class Mvcc:
    """Live entries, the changes since `compacted`, and the watchers.  Not for several threads."""

    def __init__(self, revision: int = 1, *, backlog: int = WATCH_BACKLOG) -> None:
        self.revision = revision
        self.compacted = revision
        self.live: dict[bytes, Entry] = {}
        self._keys: list[bytes] = []
        self._log: deque[Change] = deque()
        self._watchers: set[Watcher] = set()
        self._backlog = backlog

    # -- writing

    def apply(self, changes: Sequence[Change], revision: int) -> None:
        """Make changes planned for `revision` visible and tell the watchers."""
        for change in changes:
            self._set(change.key, change.entry)
        self._log.extend(changes)
        self.revision = revision
        for watcher in list(self._watchers):
            watcher.push(changes)

    def _set(self, key: bytes, entry: Entry | None) -> None:
        if entry is None:
            del self.live[key]
            del self._keys[bisect_left(self._keys, key)]
        else:
            if key not in self.live:
                if self._keys and key < self._keys[-1]:
                    insort(self._keys, key)
                else:
                    self._keys.append(key)
            self.live[key] = entry

    def restore(self, changes: Sequence[Change], *, revision: int, compacted: int) -> None:
        """Take up stored state: changes in commit order; those up to `compacted` leave no history."""
        for change in changes:
            self._set(change.key, change.entry)
        self._log.extend(change for change in changes if change.revision > compacted)
        self.revision, self.compacted = revision, compacted

    def compact(self, revision: int) -> list[Change]:
        """Forget the log up to `revision`; returns what was forgotten."""
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)
        gone = []
        while self._log and self._log[0].revision <= revision:
            gone.append(self._log.popleft())
        self.compacted = max(self.compacted, revision)
        return gone

    # -- reading

    def check(self, revision: int) -> None:
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        if revision > self.revision:
            raise FutureRevision(revision, self.revision)

    def get(self, key: bytes, revision: int) -> Entry | None:
        if revision == 0:
            return self.live.get(key)
        self.check(revision)
        undone = self._undone(key, key + b"\0", revision)
        return undone[key] if key in undone else self.live.get(key)

    def range(self, start: bytes, end: bytes, revision: int, limit: int) -> Page:
        if revision:
            self.check(revision)
        undone = self._undone(start, end, revision) if revision else {}
        first, last = bisect_left(self._keys, start), bisect_left(self._keys, end)
        if undone:
            keys = self._keys_at(first, last, undone)
            first, last = 0, len(keys)
        else:
            keys = self._keys
        count = last - first
        taken = min(count, limit) if limit else count
        entries = [undone.get(key) or self.live[key] for key in keys[first : first + taken]]
        return Page(entries, revision or self.revision, taken < count, count)

    def _keys_at(self, first: int, last: int, undone: dict[bytes, Entry | None]) -> list[bytes]:
        keys = {key for key in self._keys[first:last] if undone.get(key, True)}
        keys.update(key for key, entry in undone.items() if entry)
        return sorted(keys)

    def _undone(self, start: bytes, end: bytes, revision: int) -> dict[bytes, Entry | None]:
        """What the keys changed after `revision` were at it."""
        undone: dict[bytes, Entry | None] = {}
        for change in self._after(revision):
            if start <= change.key < end:
                undone[change.key] = change.previous
        return undone

    def _after(self, revision: int) -> Iterator[Change]:
        """The log from its end back to the first change after `revision`."""
        for change in reversed(self._log):
            if change.revision <= revision:
                return
            yield change

    # -- following

    @asynccontextmanager
    async def watch(
        self, start: bytes, end: bytes, revision: int
    ) -> AsyncIterator[AsyncIterator[Sequence[Change]]]:
        if revision < self.compacted:
            raise Compacted(revision, self.compacted)
        missed = [c for c in self._after(revision) if start <= c.key < end]
        watcher = Watcher(start, end, revision, max(self._backlog, 2 * len(missed)))
        missed.reverse()
        for changes in by_revision(missed):
            watcher.push(changes)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.fail(Closed("the store is closed"))
        self._watchers.clear()


def by_revision(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Split changes in commit order into their transactions."""
    revisions = [change.revision for change in changes]
    first = 0
    while first < len(changes):
        last = bisect_right(revisions, revisions[first], first)
        yield changes[first:last]
        first = last


def refused(mvcc: Mvcc, compares: Sequence[Compare]) -> Committed | None:
    """The outcome if a compare fails, else None."""
    if all(holds(compare, mvcc.live.get(compare.key)) for compare in compares):
        return None
    return Committed(False, mvcc.revision, [mvcc.live.get(c.key) for c in compares])
