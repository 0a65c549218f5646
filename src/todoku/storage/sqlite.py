"""The durable store: state in memory, every change in a SQLite journal before it is acknowledged.

A commit is decided in the event loop against what is live or under way, given its revision, and queued.  One
writer thread takes whatever is queued as one SQLite transaction (group commit) and synchronizes it to the disk;
then the loop makes the changes visible, in order, and answers.  Reads and watches never touch the disk.

A batch of relaxed puts only is not synchronized: a power failure may lose the last of them, never the order.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import apsw

from todoku.storage.mvcc import WATCH_BACKLOG, Mvcc, holds, plan
from todoku.storage.store import Change, Committed, Compare, Delete, Entry, Page, Put, StoreFailed

_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
    id INTEGER PRIMARY KEY,
    revision INTEGER NOT NULL,
    key BLOB NOT NULL,
    value BLOB,                        -- NULL: deleted
    create_revision INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS changes_by_revision ON changes (revision);
CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO changes (revision, key, value, create_revision) VALUES (?, ?, ?, ?)"
_FORMAT = 1


class UnknownFormat(Exception):
    """The file was written by a newer Todoku, or is no store."""


@dataclass(slots=True)
class _Transaction:
    revision: int
    changes: Sequence[Change]
    relaxed: bool
    done: asyncio.Future[None]
    attempt: int


@dataclass(slots=True)
class _Compaction:
    revision: int
    superseded: Sequence[tuple[int, bytes]]
    newest: int
    done: asyncio.Future[None]
    attempt: int


_Work = _Transaction | _Compaction


class SqliteStore:
    """`Store` on one SQLite file; only one process may open it."""

    def __init__(self, path: str, *, backlog: int = WATCH_BACKLOG) -> None:
        """Opens and reads the file, which blocks: use `open` in an event loop."""
        self._loop = asyncio.get_running_loop()
        self._mvcc = Mvcc(backlog=backlog)
        self._revision = 0  # newest given out
        self._under_way: dict[bytes, Entry | None] = {}
        self._last: asyncio.Future[None] | None = None
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._attempt = 0  # goes up when the disk was full: a batch is of one attempt
        self._waiting = 0  # for the writer thread, in pieces of work
        self._failure: Exception | None = None
        self._db = apsw.Connection(path)
        try:
            self._prepare()
            self._load()
        except BaseException:
            self._db.close()
            raise
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    @classmethod
    async def open(cls, path: str, *, backlog: int = WATCH_BACKLOG) -> SqliteStore:
        """Open `path`, creating it if absent.  Raises UnknownFormat, apsw.Error."""
        return cls(path, backlog=backlog)

    def _prepare(self) -> None:
        self._db.set_busy_timeout(0)
        self._execute("PRAGMA locking_mode=EXCLUSIVE")
        self._execute("PRAGMA journal_mode=WAL")
        self._execute("PRAGMA synchronous=FULL")
        self._execute("PRAGMA auto_vacuum=INCREMENTAL")
        version = self._execute("PRAGMA user_version")[0][0]
        if version not in (0, _FORMAT):
            raise UnknownFormat(f"store format {version}, this Todoku reads {_FORMAT}")
        self._execute(_SCHEMA)
        self._execute(f"PRAGMA user_version={_FORMAT}")

    def _load(self) -> None:
        numbers = dict(self._execute("SELECT name, value FROM numbers"))
        compacted = int(numbers.get("compacted", 1))
        changes: list[Change] = []
        live: dict[bytes, Entry] = {}
        rows = self._db.execute(
            "SELECT revision, key, value, create_revision FROM changes ORDER BY id"
        )
        for revision, key, value, created in rows:
            entry = None if value is None else Entry(key, value, created, revision)
            previous = live.pop(key, None)
            if entry:
                live[key] = entry
            elif previous is None:
                continue
            changes.append(Change(key, revision, entry, previous))
        newest = changes[-1].revision if changes else 1
        newest = max(newest, int(numbers.get("revision", 1)), compacted)
        self._mvcc.restore(changes, revision=newest, compacted=compacted)
        self._revision = newest

    def _execute(self, text: str) -> list[Any]:
        return list(self._db.execute(text))

    # -- reading

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

    def watch(
        self, start: bytes, end: bytes, *, revision: int
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Change]]]:
        return self._mvcc.watch(start, end, revision)

    # -- writing

    async def commit(
        self, compares: Sequence[Compare], operations: Sequence[Put | Delete]
    ) -> Committed:
        """See `Store.commit`.  Cancelling while it waits leaves the outcome open.  Raises StoreFailed."""
        while True:
            self._check()
            refused = [c for c in compares if not holds(c, self._newest(c.key))]
            if not refused:
                break
            if not any(c.key in self._under_way for c in refused):
                return Committed(
                    False, self._mvcc.revision, [self._mvcc.live.get(c.key) for c in compares]
                )
            assert self._last is not None
            await asyncio.shield(self._last)  # the answer must not show what may still fail
        newest = {op.key: e for op in operations if (e := self._newest(op.key)) is not None}
        revision = self._revision + 1
        changes = plan(newest, operations, revision)
        if not changes:
            return Committed(True, self._mvcc.revision)
        relaxed = all(isinstance(op, Put) and op.relaxed for op in operations)
        await self._submit(revision, changes, relaxed)
        return Committed(True, revision)

    def _newest(self, key: bytes) -> Entry | None:
        if key in self._under_way:
            return self._under_way[key]
        return self._mvcc.live.get(key)

    async def _submit(self, revision: int, changes: Sequence[Change], relaxed: bool) -> None:
        self._revision = revision
        for change in changes:
            self._under_way[change.key] = change.entry
        done = self._last = self._loop.create_future()
        self._put(_Transaction(revision, changes, relaxed, done, self._attempt))
        await asyncio.shield(done)

    def _put(self, work: _Work) -> None:
        self._waiting += 1
        self._queue.put(work)

    def _check(self) -> None:
        if self._failure:
            raise StoreFailed(f"the store cannot write: {self._failure}") from self._failure

    async def compact(self, revision: int) -> None:
        self._check()
        gone = self._mvcc.compact(revision)
        superseded = [
            (change.previous.mod_revision, change.key) for change in gone if change.previous
        ]
        superseded += [(change.revision, change.key) for change in gone if change.entry is None]
        done = self._loop.create_future()
        self._put(_Compaction(revision, superseded, self._mvcc.revision, done, self._attempt))
        await asyncio.shield(done)

    async def close(self) -> None:
        """Write what is queued, then close the file.  Safe to repeat."""
        if self._thread.is_alive():
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)
            await asyncio.sleep(0)  # what the thread has reported is applied first
        self._mvcc.close()
        self._db.close()

    # -- the writer thread

    def _write(self) -> None:
        failed = -1  # the attempt whose work was decided on what could not be written
        failure: Exception | None = None
        while True:
            batch, last = self._take()
            if batch:
                try:
                    if batch[0].attempt != failed:
                        failure = None
                        self._write_batch(batch)
                except Exception as problem:
                    failure, failed = _first(problem), batch[0].attempt
                try:
                    self._loop.call_soon_threadsafe(self._written, batch, failure)
                except RuntimeError:  # the loop is closed: nobody waits any more
                    return
            if last:
                return

    def _take(self) -> tuple[list[_Work], bool]:
        """Wait for work, then take all there is; True after the end mark."""
        batch: list[_Work] = []
        work = self._queue.get()
        while work is not None:
            batch.append(work)
            try:
                work = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write_batch(self, batch: Sequence[_Work]) -> None:
        relaxed = all(isinstance(work, _Transaction) and work.relaxed for work in batch)
        self._db.execute(f"PRAGMA synchronous={'NORMAL' if relaxed else 'FULL'}")
        with self._db:
            for work in batch:
                if isinstance(work, _Transaction):
                    self._db.executemany(_INSERT, [_row(change) for change in work.changes])
                else:
                    self._forget(work)

    def _forget(self, work: _Compaction) -> None:
        self._db.executemany("DELETE FROM changes WHERE revision=? AND key=?", work.superseded)
        self._db.executemany(
            "INSERT INTO numbers VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value=excluded.value",
            [("compacted", work.revision), ("revision", work.newest)],
        )
        self._db.execute("PRAGMA incremental_vacuum(1000)")

    def _written(self, batch: Sequence[_Work], failure: Exception | None) -> None:
        """Back in the loop: make the batch visible in order and wake those who wait for it."""
        if failure:
            self._failure = failure
        self._waiting -= len(batch)
        for work in batch:
            if isinstance(work, _Transaction):
                self._settle(work, failure)
            if work.done.done():
                continue
            if failure:
                work.done.set_exception(StoreFailed(f"the store cannot write: {failure}"))
                work.done.exception()  # whoever waited was cancelled: seen
            else:
                work.done.set_result(None)
        if isinstance(failure, apsw.FullError) and not self._waiting:
            self._try_again()

    def _try_again(self) -> None:
        """Nothing that was decided on lost commits is left: the next one begins where the disk is."""
        self._failure = None
        self._attempt += 1
        self._revision = self._mvcc.revision

    def _settle(self, work: _Transaction, failure: Exception | None) -> None:
        if failure is None:
            self._mvcc.apply(work.changes, work.revision)
        for change in work.changes:
            if self._under_way.get(change.key) is change.entry:
                del self._under_way[change.key]


def _first(problem: Exception) -> Exception:
    """What went wrong first: SQLite may have rolled back before it is asked to, and complains of that."""
    while isinstance(problem.__context__, apsw.Error):
        problem = problem.__context__
    return problem


def _row(change: Change) -> tuple[int, bytes, bytes | None, int]:
    entry = change.entry
    if entry is None:
        return change.revision, change.key, None, 0
    return change.revision, change.key, entry.value, entry.create_revision
