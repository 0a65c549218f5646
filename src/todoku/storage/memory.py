"""The store that forgets: for tests and for labs that need no state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager

from todoku.storage.mvcc import WATCH_BACKLOG, Mvcc, plan, refused
from todoku.storage.store import Change, Committed, Compare, Delete, Entry, Page, Put


class MemoryStore:
    """`Store` without a disk."""

    def __init__(self, *, backlog: int = WATCH_BACKLOG) -> None:
        self._mvcc = Mvcc(backlog=backlog)

    @property
    def revision(self) -> int:
        return self._mvcc.revision

    @property
    def oldest(self) -> int:
        return self._mvcc.compacted

    async def get(self, key: bytes, *, revision: int = 0) -> Entry | None:
        return self._mvcc.get(key, revision)

    async def range(self, start: bytes, end: bytes, *, revision: int = 0, limit: int = 0) -> Page:
        return self._mvcc.range(start, end, revision, limit)

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> Committed:
        refusal = refused(self._mvcc, compares)
        if refusal:
            return refusal
        revision = self._mvcc.revision + 1
        changes = plan(self._mvcc.live, operations, revision)
        if not changes:
            return Committed(True, self._mvcc.revision)
        self._mvcc.apply(changes, revision)
        return Committed(True, revision)

    def watch(
        self, start: bytes, end: bytes, *, revision: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Change]]]:
        return self._mvcc.watch(start, end, revision)

    async def compact(self, revision: int) -> None:
        self._mvcc.compact(revision)

    async def close(self) -> None:
        self._mvcc.close()
