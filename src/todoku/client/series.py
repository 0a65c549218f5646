"""Events of events.k8s.io/v1, with the economy of client-go's tools/events: what repeats becomes a series.

An event that was told already, about the same object in the same state, gives the first one a series of two; further
ones are counted here and told when none has come for six minutes, or the series has run for half an hour.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Object
from todoku.client.client import Client
from todoku.client.http import Unreachable
from todoku.client.recorder import ATTEMPTS, CACHE_LIMIT, QUEUE_LIMIT, RETRY_SECONDS, reference

log = logs.get(__name__)

EVENTS = "events.events.k8s.io"
FINISH_SECONDS, REFRESH_SECONDS = 360.0, 1800.0
SETTLE_SECONDS = 30.0
NOTE_LIMIT = 1024


@dataclass(slots=True)
class _Told:
    """What the server has of an event that may repeat; `told` is the count that it knows."""

    event: Object
    last: float
    refreshed: float
    count: int = 1
    told: int = 1


class SeriesRecorder:
    """`event` queues without waiting; `run` sends, until cancelled.  One per component."""

    def __init__(
        self,
        client: Client,
        *,
        component: str,
        instance: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._now = now
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_LIMIT)
        self._told: OrderedDict[tuple[object, ...], _Told] = OrderedDict()
        self._settled = now()

    def event(
        self,
        about: Object,
        type: str,
        reason: str,
        note: str,
        *,
        action: str,
        related: Object | None = None,
    ) -> None:
        """Record that something happened to `about`; `related` is the other object that took part."""
        event = self._compose(about, type, reason, note, action)
        if related is not None:
            event["related"] = reference(related)
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("Too many events, one is dropped", reason=reason, note=note)

    async def run(self) -> None:
        """Send queued events one after the other, and the ends of series in time."""
        while True:
            event = await self._next()
            if event is not None:
                try:
                    await self._record(event)
                finally:
                    self._queue.task_done()
            if self._now() - self._settled > SETTLE_SECONDS:
                await self.settle()

    async def flush(self) -> None:
        """Wait until everything queued was sent or given up."""
        await self._queue.join()

    async def settle(self) -> None:
        """Tell the counts of series that ended or have run for long, and forget what no longer repeats."""
        now = self._settled = self._now()
        for key, told in list(self._told.items()):
            over = now - told.last > FINISH_SECONDS
            if told.count > told.told and (over or now - told.refreshed > REFRESH_SECONDS):
                told.refreshed = now
                await self._tell(told)
            if over:
                self._told.pop(key, None)

    async def _next(self) -> Object | None:
        try:
            async with asyncio.timeout(FINISH_SECONDS if self._told else None):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def _record(self, event: Object) -> None:
        key, now = _key(event), self._now()
        told = self._told.get(key)
        if told is None or now - told.last > FINISH_SECONDS:
            await self._begin(key, event, now)
            return
        told.count, told.last = told.count + 1, now
        self._told.move_to_end(key)
        if told.told == 1:
            await self._tell(told)

    async def _begin(self, key: tuple[object, ...], event: Object, now: float) -> None:
        self._told[key] = _Told(event, last=now, refreshed=now)
        if len(self._told) > CACHE_LIMIT:
            self._told.popitem(last=False)
        await _insist(event["reason"], lambda: self._client.create(EVENTS, event))

    async def _tell(self, told: _Told) -> None:
        metadata = told.event["metadata"]
        series = {"count": told.count, "lastObservedTime": _micro(told.last)}
        told.told = told.count

        async def patch() -> Object:
            try:
                return await self._client.patch(
                    EVENTS,
                    metadata["name"],
                    metadata["namespace"],
                    {"series": series},
                    kind="strategic",
                )
            except errors.NotFound:  # it expired: a new one begins
                return await self._client.create(EVENTS, told.event | {"series": series})

        await _insist(told.event["reason"], patch)

    def _compose(self, about: Object, type: str, reason: str, note: str, action: str) -> Object:
        now = self._now()
        regarding = reference(about)
        return {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{regarding['name']}.{int(now * 1e9):x}",
                "namespace": regarding.get("namespace") or "default",
            },
            "eventTime": _micro(now),
            "reportingController": self._component,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason,
            "regarding": regarding,
            "note": _shortened(note),
            "type": type,
        }


async def _insist(reason: str, write: Callable[[], Coroutine[Any, Any, Object]]) -> None:
    """Write, and try again while the server is not to be reached."""
    for attempt in range(ATTEMPTS):
        try:
            await write()
            return
        except Unreachable as error:
            log.debug("Event waits for the server", attempt=attempt, error=error)
            await asyncio.sleep(RETRY_SECONDS)
        except errors.ApiError as error:
            log.debug("Event refused", reason=reason, error=error)
            return


def _key(event: Object) -> tuple[object, ...]:
    """What makes two events one series; the note does not count."""
    parts = (event["regarding"], event.get("related") or {})
    named = (tuple(sorted(part.items())) for part in parts)
    return (event["type"], event["action"], event["reason"], *named)


def _shortened(note: str) -> str:
    return note if len(note) <= NOTE_LIMIT else f"{note[: NOTE_LIMIT - 4]} ..."


def _micro(now: float) -> str:
    whole = int(now)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return f"{stamp}.{int((now - whole) * 1e6):06d}Z"
