"""The clock as a value, so that tests advance time instead of sleeping."""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Wall time: seconds since 1970, UTC.  For timestamps in objects."""

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back.  For durations."""

    async def sleep(self, seconds: float) -> None:
        """Wait; zero or less only yields to the loop."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(seconds, 0.0))


class FakeClock:
    """A clock that stands still until `advance`; sleepers wake in the order of their deadlines."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._order = 0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._order += 1
        heapq.heappush(self._sleepers, (self._now + seconds, self._order, woken))
        await woken

    @property
    def sleepers(self) -> int:
        """How many tasks wait for time to pass."""
        return sum(not woken.done() for _, _, woken in self._sleepers)

    async def advance(self, seconds: float) -> None:
        """Let time pass; tasks woken on the way run (and may sleep again) before it goes on."""
        target = self._now + seconds
        await settle()
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not woken.done():
                woken.set_result(None)
                await settle()
        self._now = target
        await settle()


async def settle(turns: int = 20) -> None:
    """Let every task that is ready run for some turns of the loop.  For tests."""
    for _ in range(turns):
        await asyncio.sleep(0)
