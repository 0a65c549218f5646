"""Kubernetes Events about objects, with the economy of client-go's EventCorrelator.

An event that repeats raises the count of the first one (PATCH); more than ten similar ones in ten minutes become one
"(combined from similar events)"; an object that causes too many is rate limited.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Object
from todoku.client.client import Client
from todoku.client.http import Unreachable

log = logs.get(__name__)

T = TypeVar("T")

QUEUE_LIMIT = 1000  # further events are dropped, as upstream's broadcaster does
CACHE_LIMIT = 4096
SIMILAR_LIMIT, SIMILAR_SECONDS = 10, 600.0
BURST, REFILL_PER_SECOND = 25.0, 1.0 / 300.0
ATTEMPTS, RETRY_SECONDS = 12, 1.0


@dataclass(slots=True)
class _Bucket:
    """A token bucket per source and object."""

    tokens: float
    at: float

    def take(self, now: float) -> bool:
        self.tokens = min(BURST, self.tokens + (now - self.at) * REFILL_PER_SECOND)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    at: float = 0.0


@dataclass(slots=True)
class _Seen:
    """What the server has of an event that may repeat."""

    name: str
    first: str
    count: int


class EventRecorder:
    """`event` queues without waiting; `run` sends, until cancelled.  One per component."""

    def __init__(
        self,
        client: Client,
        *,
        component: str,
        host: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        self._client = client
        self._component = component
        self._host = host
        self._now = now
        self._queue: asyncio.Queue[Object] = asyncio.Queue(QUEUE_LIMIT)
        self._buckets: OrderedDict[tuple[str, ...], _Bucket] = OrderedDict()
        self._similar: OrderedDict[tuple[str, ...], _Similar] = OrderedDict()
        self._seen: OrderedDict[tuple[str, ...], _Seen] = OrderedDict()

    def event(
        self,
        about: Object,
        type: str,
        reason: str,
        message: str,
        *,
        action: str = "",
        field_path: str = "",
        annotations: Mapping[str, str] | None = None,
        related: Object | None = None,
    ) -> None:
        """Record that something happened to `about` (an object, or a reference with apiVersion and kind).

        `type` is Normal or Warning; `field_path` names a part, as `spec.containers{web}`.
        """
        event = self._compose(about, type, reason, message, field_path)
        if action:
            event |= {"action": action}
        if annotations:
            event["metadata"]["annotations"] = dict(annotations)
        if related is not None:
            event["related"] = reference(related)
        try:
            self._queue.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("Too many events, one is dropped", reason=reason, note=message)

    async def run(self) -> None:
        """Send queued events one after the other."""
        while True:
            event = await self._queue.get()
            try:
                await self._send(event)
            finally:
                self._queue.task_done()

    async def flush(self) -> None:
        """Wait until everything queued was sent or given up."""
        await self._queue.join()

    async def _send(self, event: Object) -> None:
        source = _source_key(event)
        now = self._now()
        bucket = _recent(self._buckets, source, lambda: _Bucket(BURST, now))
        if not bucket.take(now):
            return
        event, key = self._combined(event, now)
        for attempt in range(ATTEMPTS):
            try:
                await self._write(event, key)
                return
            except Unreachable as error:
                log.debug("Event waits for the server", attempt=attempt, error=error)
                await asyncio.sleep(RETRY_SECONDS)
            except errors.ApiError as error:
                log.debug("Event refused", reason=event["reason"], error=error)
                return

    async def _write(self, event: Object, key: tuple[str, ...]) -> None:
        seen = self._seen.get(key)
        if seen is not None:
            body = {
                "count": seen.count + 1,
                "lastTimestamp": event["lastTimestamp"],
                "message": event["message"],
            }
            namespace = event["metadata"]["namespace"]
            try:
                await self._client.patch("events", seen.name, namespace, body, kind="strategic")
                seen.count += 1
                return
            except errors.NotFound:
                pass  # it expired: a new one begins
        await self._client.create("events", event)
        fresh = _Seen(event["metadata"]["name"], event["firstTimestamp"], 1)
        self._seen.pop(key, None)
        _recent(self._seen, key, lambda: fresh)

    def _combined(self, event: Object, now: float) -> tuple[Object, tuple[str, ...]]:
        """The event to send and what it repeats: all that are combined repeat one, whatever their messages."""
        key = (*_source_key(event), event["reason"], event["type"])
        similar = _recent(self._similar, key, _Similar)
        if now - similar.at > SIMILAR_SECONDS:
            similar.messages.clear()
        similar.at = now
        similar.messages.add(event["message"])
        if len(similar.messages) < SIMILAR_LIMIT:
            return event, (*key, event["message"])
        similar.messages.pop()
        return event | {"message": f"(combined from similar events): {event['message']}"}, key

    def _compose(
        self, about: Object, type: str, reason: str, message: str, field_path: str
    ) -> Object:
        now = self._now()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        involved = reference(about)
        if field_path:
            involved["fieldPath"] = field_path
        source = {"component": self._component} | ({"host": self._host} if self._host else {})
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{involved['name']}.{int(now * 1e9):x}",
                "namespace": involved.get("namespace") or "default",
            },
            "involvedObject": involved,
            "reason": reason,
            "message": message,
            "source": source,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
            "type": type,
            "eventTime": None,
            "reportingComponent": self._component,
            "reportingInstance": self._host,
        }


def reference(obj: Object) -> Object:
    """The ObjectReference of an object; what is a reference already stays as it is."""
    metadata = obj.get("metadata")
    if metadata is None:
        return dict(obj)
    found = {
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "apiVersion": obj.get("apiVersion", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {name: value for name, value in found.items() if value}


def _source_key(event: Object) -> tuple[str, ...]:
    source, involved = event["source"], event["involvedObject"]
    fields = ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")
    named = (str(involved.get(name, "")) for name in fields)
    return (source["component"], source.get("host", ""), *named)


def _recent(
    cache: OrderedDict[tuple[str, ...], T], key: tuple[str, ...], make: Callable[[], T]
) -> T:
    """The cached value, made if absent; the least recently used one beyond the limit is dropped."""
    if key not in cache:
        cache[key] = make()
    cache.move_to_end(key)
    if len(cache) > CACHE_LIMIT:
        cache.popitem(last=False)
    return cache[key]
