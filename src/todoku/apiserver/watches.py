"""watch: replay from a revision, then follow; the bytes of an event are made once for all who want the same form.

A watcher's events are written to its transport from the cache's task, without a task switch each.  One that does
not read is dropped when its transport has buffered too much: a client can list again, a server cannot wait.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from todoku.aio import log as logs
from todoku.aio.metrics import Value
from todoku.api import errors
from todoku.apiserver import answers, conversion
from todoku.apiserver.cache import Collection, Event
from todoku.apiserver.catalog import Served
from todoku.apiserver.config import Converter
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached
from todoku.apiserver.negotiation import JSON, Form
from todoku.apiserver.options import check_watch, flag, integer
from todoku.apiserver.predicates import Predicate
from todoku.apiserver.reads import read_revision

log = logs.get(__name__)

BUFFER_LIMIT_BYTES = 16 * 1024 * 1024


class Sink(Protocol):
    """Where a watch writes: an HTTP response, or a WebSocket."""

    def write(self, data: bytes) -> None:
        """Send without waiting."""

    async def drain(self) -> None: ...

    def buffered_bytes(self) -> int: ...

    def abort(self) -> None:
        """Drop the connection."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a watch begins: `initial` objects first (with a bookmark behind them if `mark`), then what came after
    `revision` (0: the newest)."""

    revision: int
    initial: bool = False
    mark: bool = False
    bookmarks: bool = False


def plan(context: Context) -> Plan:
    """Read the watch's parameters.  Raises Invalid, BadRequest.

    Semantics: resourceVersion unset or "0" sends what is there as ADDED events first; KEP-3157 for
    sendInitialEvents.
    """
    query = context.query
    check_watch(query)
    version = query.get("resourceVersion", "")
    bookmarks = flag(query, "allowWatchBookmarks") is True
    initial = flag(query, "sendInitialEvents")
    revision = read_revision(version) if version else 0
    if initial is None:
        if revision == 0:
            return Plan(0, initial=True, bookmarks=bookmarks)
        return Plan(revision, bookmarks=bookmarks)
    if initial:
        return Plan(0, initial=True, mark=bookmarks, bookmarks=bookmarks)
    return Plan(revision, bookmarks=bookmarks)


class Watch:
    """One watcher: filters events and writes their bytes."""

    def __init__(
        self,
        *,
        served: Served,
        collection: Collection,
        predicate: Predicate,
        namespace: str,
        form: Form,
        sink: Sink,
        sent: Value,
    ) -> None:
        self._served = served
        self._sent = sent
        self._collection = collection
        self._predicate = predicate
        self._start, self._end = collection.bounds(namespace)
        self._everything = predicate.everything
        self._form = form
        self._sink = sink
        # While the initial events are under way; for ever if a webhook converts what is shown.
        self._pending: list[Event] | None = []
        self._arrived = asyncio.Event()
        self._head = served.head
        self._headed = True  # only the first Table of a watch has column definitions
        self.revision = 0
        self._asked = 0  # a client may ask for what comes after a revision that is still to come
        self.ended = asyncio.Event()

    def push(self, event: Event) -> None:
        if self._pending is not None:
            self._pending.append(event)
            self._arrived.set()
            return
        data = self._encoded(event)
        if data is None:
            return
        self.revision = event.revision
        if self._sink.buffered_bytes() > BUFFER_LIMIT_BYTES:
            log.warning("Slow watcher dropped", resource=self._served.name)
            self._sink.abort()
            self.close()
            return
        self._sent.value += 1
        self._sink.write(data)

    def close(self) -> None:
        self.ended.set()

    def _encoded(self, event: Event) -> bytes | None:
        """The event as this watcher sees it, or None."""
        if event.revision <= self._asked or not self._start <= event.key < self._end:
            return None
        shown = self._seen(event)
        if shown is None:
            return None
        kind, one = shown
        key = (self._head, self._form, kind, self._headed)
        data = event.encodings.get(key)
        if data is None:
            data = event.encodings[key] = self._bytes(kind, one, event.revision)
        elif self._form.as_ == "Table":
            self._headed = False
        return data

    def _bytes(self, kind: str, one: Cached, revision: int) -> bytes:
        data = answers.event(self._served, kind, one, self._form, revision, columns=self._headed)
        self._headed = self._headed and self._form.as_ != "Table"
        return data

    def _seen(self, event: Event) -> tuple[str, Cached] | None:
        new, old = event.new, event.old
        if not self._everything:
            new = new if new is not None and self._predicate(new) else None
            old = old if old is not None and self._predicate(old) else None
        if new is not None:
            return ("ADDED" if old is None else "MODIFIED"), new
        return None if old is None else ("DELETED", old)

    async def begin(
        self, plan: Plan, newest: int, objects: Sequence[Cached], converter: Converter | None
    ) -> None:
        """Send `objects` (what was there) or the events after the plan's revision, then go live."""
        missed = [] if plan.initial else self._collection.since(plan.revision)
        await conversion.prepare(converter, self._served, objects)
        for one in objects:
            if not self._predicate(one):
                continue
            self._sent.value += 1
            self._sink.write(self._bytes("ADDED", one, one.revision))
            await self._relieve()
        if plan.mark:
            mark = answers.bookmark(self._served, self._form, newest, initial_end=True)
            self._sink.write(mark)
        self.revision = newest if plan.initial else plan.revision
        self._asked = 0 if plan.initial else plan.revision
        for event in missed:
            await self._replay(event, converter)
        while self._pending:
            await self._drain(converter)
        if not self._served.needs_conversion:
            self._pending = None

    async def _drain(self, converter: Converter | None) -> None:
        pending, self._pending = self._pending or [], []
        for event in pending:
            await self._replay(event, converter)

    async def pump(self, converter: Converter | None) -> None:
        """Convert and send what arrives, in order; ends by cancellation."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            await self._drain(converter)

    async def _replay(self, event: Event, converter: Converter | None) -> None:
        shown = [one for one in (event.new, event.old) if one is not None]
        await conversion.prepare(converter, self._served, shown)
        data = self._encoded(event)
        event.encodings.clear()
        if data is not None:
            self.revision = event.revision
            self._sent.value += 1
            self._sink.write(data)
            await self._relieve()

    async def _relieve(self) -> None:
        if self._sink.buffered_bytes() > 256 * 1024:
            await self._sink.drain()

    def bookmark(self, revision: int) -> None:
        if not self._pending:
            told = max(revision, self._asked)
            self._sink.write(answers.bookmark(self._served, self._form, told))


@dataclass(frozen=True, slots=True)
class Wanted:
    """A watch whose parameters were read and found good."""

    plan: Plan
    predicate: Predicate
    seconds: float


def read(engine: Engine, context: Context) -> Wanted:
    """Read the parameters before anything is answered.  Raises BadRequest, Invalid."""
    info = context.info
    if context.form.media != JSON:
        raise errors.NotAcceptable(
            f"only the following media types are accepted: {JSON};stream=watch"
        )
    predicate = Predicate(context.served, info.label_selector, info.field_selector, info.name)
    return Wanted(plan(context), predicate, _duration(engine, context))


async def serve(engine: Engine, context: Context, wanted: Wanted, sink: Sink) -> None:
    """Run one watch until its time is over, its client leaves (cancellation), or it is dropped."""
    served, info = context.served, context.info
    predicate, beginning = wanted.predicate, wanted.plan
    await engine.cache.wait()
    newest = engine.cache.revision
    if not beginning.revision:
        beginning = replace(beginning, revision=newest)
    collection = engine.collection(served)
    if not beginning.initial and beginning.revision < collection.oldest:
        sink.write(answers.failure(_too_old(beginning.revision, collection.oldest).status()))
        return
    watch = Watch(
        served=served,
        collection=collection,
        predicate=predicate,
        namespace=info.namespace,
        form=context.form,
        sink=sink,
        sent=engine.telemetry.watch_events(info.group, info.version, info.resource),
    )
    objects: list[Cached] = []
    if beginning.initial:
        among = None if predicate.everything else predicate.keys(collection)
        names = collection.select(info.namespace, among=among)
        objects = [collection.items[key] for key in names]
    collection.followers.add(watch)  # no wait since `newest` was read: nothing is lost or doubled
    try:
        async with asyncio.timeout(wanted.seconds):
            converter = engine.components.converter
            await watch.begin(beginning, newest, objects, converter)
            del objects
            if context.begun:
                context.begun()
            async with asyncio.TaskGroup() as tasks:
                pump = None
                if served.needs_conversion:
                    pump = tasks.create_task(watch.pump(converter), name="watch-conversion")
                await _follow(engine, watch, beginning)
                if pump:
                    pump.cancel()
    except TimeoutError:
        pass
    finally:
        collection.followers.discard(watch)
    if beginning.bookmarks and not watch.ended.is_set():
        watch.bookmark(engine.cache.revision)


async def _follow(engine: Engine, watch: Watch, beginning: Plan) -> None:
    if not beginning.bookmarks:
        await watch.ended.wait()
        return
    while not watch.ended.is_set():
        try:
            async with asyncio.timeout(engine.config.timings.bookmark_every):
                await watch.ended.wait()
        except TimeoutError:
            watch.bookmark(engine.cache.revision)


def _duration(engine: Engine, context: Context) -> float:
    seconds = integer(context.query, "timeoutSeconds")
    if seconds > 0:
        return float(seconds)
    return engine.config.timings.watch_timeout * (1 + random.random())


def _too_old(asked: int, oldest: int) -> errors.ApiError:
    return errors.Expired(f"too old resource version: {asked} ({oldest})")
