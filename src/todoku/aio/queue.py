"""The work queue of every reconciler: keys once, one worker per key, back-off per key.

Semantics of client-go's workqueue: a key added while it is being processed is processed again afterwards, never
twice at the same time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from todoku.aio import log as logs
from todoku.aio.backoff import Backoff
from todoku.aio.clock import Clock, SystemClock

K = TypeVar("K", bound=Hashable)

log = logs.get(__name__)

DEFAULT_BACKOFF = Backoff(initial=0.005, maximum=30.0)


class WorkQueue(Generic[K]):
    """Keys to work on.  `add` never waits; `run` works them off until it is cancelled.

    Its size is bounded by the number of distinct keys.  It belongs to one event loop.
    """

    def __init__(
        self, name: str = "", *, backoff: Backoff = DEFAULT_BACKOFF, clock: Clock | None = None
    ) -> None:
        self.name = name
        self._backoff = backoff
        self._clock = clock or SystemClock()
        self._ready: deque[K] = deque()
        self._queued: set[K] = set()
        self._active: set[K] = set()
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, float] = {}
        self._timers: dict[K, asyncio.Task[None]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        """Keys that wait (those being worked on and those delayed not counted)."""
        return len(self._ready)

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being worked on; delayed keys do not count."""
        return not (self._ready or self._active)

    def add(self, key: K) -> None:
        """Queue a key now; a delayed addition of it is thereby due."""
        self._cancel_timer(key)
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._wake_one()

    def add_after(self, key: K, seconds: float) -> None:
        """Queue a key later; of several delays for one key the earliest counts."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock.monotonic() + seconds
        if key in self._due and self._due[key] <= due:
            return
        self._cancel_timer(key)
        self._due[key] = due
        name = f"{self.name}-delay"
        self._timers[key] = asyncio.get_running_loop().create_task(
            self._fire(key, seconds), name=name
        )

    def retry(self, key: K) -> float:
        """Queue a key after its back-off, which grows with each call; returns the delay in seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = self._backoff.delay(failures)
        self.add_after(key, delay)
        return delay

    def forget(self, key: K) -> None:
        """The key succeeded: its next back-off starts anew."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        return self._failures.get(key, 0)

    async def get(self) -> K:
        """Take the next key; `done` must follow.  Cancelling is safe."""
        while not self._ready:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                # A wake-up that this waiter got but cannot use belongs to the next one.
                if waiter.done() and not waiter.cancelled() and self._ready:
                    self._wake_one()
                raise
        key = self._ready.popleft()
        self._queued.discard(key)
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """The key is worked off; if it was added meanwhile it is queued again."""
        self._active.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def run(self, work: Callable[[K], Awaitable[None]], *, workers: int = 1) -> None:
        """Work keys off with `workers` tasks until cancelled.

        A key whose work raises is logged and retried after its back-off; one that succeeds is forgotten.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for number in range(workers):
                    tasks.create_task(self._worker(work), name=f"{self.name}-worker-{number}")
        finally:
            self.close()

    def close(self) -> None:
        """Cancel delayed additions."""
        for key in list(self._timers):
            self._cancel_timer(key)

    async def _worker(self, work: Callable[[K], Awaitable[None]]) -> None:
        while True:
            key = await self.get()
            try:
                await work(key)
            except Exception as error:
                delay = self.retry(key)
                log.warning(
                    "Work failed, will retry",
                    queue=self.name, key=key, error=_words(error), retry_seconds=round(delay, 3),
                )  # fmt: skip
            else:
                self.forget(key)
            finally:
                self.done(key)

    async def _fire(self, key: K, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timers.pop(key, None)
        self._due.pop(key, None)
        self.add(key)

    def _cancel_timer(self, key: K) -> None:
        self._due.pop(key, None)
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()

    def _wake_one(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
