"""Pods that wait to be scheduled: ready ones by priority, refused ones until something changes for them."""

from __future__ import annotations

import asyncio
import heapq
from dataclasses import dataclass, field

from todoku.aio import Backoff, Clock
from todoku.api.meta import Key, Object, key_of

# Upstream waits 1 s to 10 s; a lab starts lower, so that a pod which was refused for a moment loses little.
BACKOFF = Backoff(initial=0.05, maximum=10.0)
FLUSH_SECONDS = 300.0

# Which plugins' refusals a change may turn: the rest need not look again.
CONCERNS: dict[str, frozenset[str] | None] = {
    "node": None,  # None: all
    "pod-gone": frozenset({
        "NodeResourcesFit", "NodePorts", "PodTopologySpread", "InterPodAffinity", "VolumeBinding",
    }),
    "pod-placed": frozenset({"InterPodAffinity", "PodTopologySpread"}),
    "volume": frozenset({"VolumeBinding"}),
    "namespace": frozenset({"InterPodAffinity"}),
}  # fmt: skip


@dataclass(slots=True)
class Waiting:
    """A pod in the queue, with its history."""

    pod: Object
    added: float
    attempts: int = 0
    refused_by: frozenset[str] = frozenset()
    refused_at: float = 0.0
    moved_during: bool = False


@dataclass(slots=True)
class SchedulingQueue:
    """One owner takes pods with `pop`; handlers of events add and move.  Never waits but in `pop`."""

    clock: Clock
    _heap: list[tuple[int, float, int, Key]] = field(default_factory=list)
    _ready: dict[Key, Waiting] = field(default_factory=dict)
    _refused: dict[Key, Waiting] = field(default_factory=dict)
    _delayed: dict[Key, asyncio.TimerHandle] = field(default_factory=dict)
    _flying: dict[Key, Waiting] = field(default_factory=dict)
    _order: int = 0
    _available: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, pod: Object) -> None:
        """A new pod, or a changed one: it is tried at once."""
        key = key_of(pod)
        known = self._ready.get(key) or self._refused.pop(key, None) or self._flying.get(key)
        self._cancel(key)
        waiting = known or Waiting(pod, self.clock.monotonic())
        waiting.pod = pod
        if key in self._flying:
            waiting.moved_during = True
            return
        self._push(key, waiting)

    def refresh(self, pod: Object) -> None:
        """A pod's status changed, which is no reason to try it again."""
        key = key_of(pod)
        for place in (self._ready, self._refused, self._flying):
            if key in place:
                place[key].pod = pod

    def remove(self, key: Key) -> None:
        self._cancel(key)
        self._ready.pop(key, None)
        self._refused.pop(key, None)

    def refused(self, key: Key, plugins: frozenset[str]) -> None:
        """The pod fits nowhere now; it waits for a change that concerns one of `plugins`."""
        waiting = self._flying.pop(key, None)
        if waiting is None:
            return
        waiting.refused_by, waiting.refused_at = plugins, self.clock.monotonic()
        self._refused[key] = waiting
        if waiting.moved_during or not plugins:
            self._retry(key, waiting)
        else:
            self._later(key, FLUSH_SECONDS)

    def done(self, key: Key) -> None:
        """The pod got its node."""
        self._flying.pop(key, None)

    def moved(self, change: str) -> None:
        """Something changed: pods refused for what it concerns are tried again, after their back-off."""
        concerned = CONCERNS[change]
        for waiting in self._flying.values():
            waiting.moved_during = True
        for key, waiting in list(self._refused.items()):
            if concerned is None or not waiting.refused_by or waiting.refused_by & concerned:
                self._retry(key, waiting)

    async def pop(self) -> Waiting:
        """The most important pod that is ready; then the one that waits longest."""
        while True:
            while self._heap:
                *_, key = heapq.heappop(self._heap)
                waiting = self._ready.pop(key, None)
                if waiting is not None:
                    waiting.attempts += 1
                    waiting.moved_during = False
                    self._flying[key] = waiting
                    return waiting
            self._available.clear()
            await self._available.wait()

    def __len__(self) -> int:
        return len(self._ready) + len(self._refused)

    def close(self) -> None:
        for key in list(self._delayed):
            self._cancel(key)

    def _retry(self, key: Key, waiting: Waiting) -> None:
        due = waiting.refused_at + BACKOFF.delay(waiting.attempts)
        self._later(key, max(due - self.clock.monotonic(), 0.0))

    def _later(self, key: Key, seconds: float) -> None:
        self._cancel(key)
        loop = asyncio.get_running_loop()
        self._delayed[key] = loop.call_later(seconds, self._due, key)

    def _due(self, key: Key) -> None:
        self._delayed.pop(key, None)
        waiting = self._refused.pop(key, None)
        if waiting is not None:
            self._push(key, waiting)

    def _push(self, key: Key, waiting: Waiting) -> None:
        self._order += 1
        priority = waiting.pod["spec"].get("priority") or 0
        if key not in self._ready:
            heapq.heappush(self._heap, (-priority, waiting.added, self._order, key))
        self._ready[key] = waiting
        self._available.set()

    def _cancel(self, key: Key) -> None:
        timer = self._delayed.pop(key, None)
        if timer is not None:
            timer.cancel()
