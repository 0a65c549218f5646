"""The store's contract: etcd's data model with opaque values.

One counter, the revision, rises by one with every successful transaction.  Keys are ordered bytes.  A watch
replays from any retained revision and then follows, in one order for everybody.  Semantics: etcd v3 KV and Watch.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class Compacted(Exception):
    """The asked revision is older than what is kept; `oldest` is the first one still there."""

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"revision {asked} is compacted, the oldest kept is {oldest}")
        self.asked, self.oldest = asked, oldest


class FutureRevision(Exception):
    """The asked revision is not yet there; `current` is the newest one."""

    def __init__(self, asked: int, current: int) -> None:
        super().__init__(f"revision {asked} is in the future, the current is {current}")
        self.asked, self.current = asked, current


class StoreFailed(Exception):
    """The disk refused a write: nothing since the last acknowledged commit is kept.

    A disk that is full is tried again with the next commit; after any other failure the store writes no more.
    """


class SlowWatcher(Exception):
    """The watcher did not take its events in time and was disconnected."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One key as of some revision.  `mod_revision` is when it was last written."""

    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a range; `revision` is the one it was read at, `count` all keys in the range."""

    entries: Sequence[Entry]
    revision: int
    more: bool
    count: int


@dataclass(frozen=True, slots=True)
class Put:
    key: bytes
    value: bytes
    relaxed: bool = False  # may be lost on power failure (Leases, Events)


@dataclass(frozen=True, slots=True)
class Delete:
    key: bytes


@dataclass(frozen=True, slots=True)
class Compare:
    """The key's mod_revision must equal this; 0 means the key must not exist."""

    key: bytes
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Committed:
    """A transaction's outcome: `revision` after it; when it did not succeed, `current` holds the compared keys."""

    succeeded: bool
    revision: int
    current: Sequence[Entry | None] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One event: a put (entry set) or a delete (entry None); `previous` is the entry before it."""

    key: bytes
    revision: int
    entry: Entry | None
    previous: Entry | None


class Store(Protocol):
    """See module docstring; the contract suite is `tests/storage/contract.py`."""

    @property
    def revision(self) -> int:
        """The newest committed revision."""

    @property
    def oldest(self) -> int:
        """The oldest revision that can be read, and after which a watch can begin."""

    async def get(self, key: bytes, *, revision: int = 0) -> Entry | None: ...

    async def range(self, start: bytes, end: bytes, *, revision: int = 0, limit: int = 0) -> Page:
        """Return the live keys in [start, end) as of `revision` (0 means latest).

        Raises Compacted if the revision is gone, FutureRevision if it is not yet here.
        """

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> Committed:
        """Apply all operations if every compare holds; returns once the disk has them."""

    def watch(
        self, start: bytes, end: bytes, *, revision: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Change]]]:
        """Follow [start, end) from the first change after `revision`; batches in commit order.

        Raises Compacted on entry; SlowWatcher while iterating.
        """

    async def compact(self, revision: int) -> None: ...

    async def close(self) -> None: ...
