"""Clocks and delays."""

from __future__ import annotations

import asyncio

import pytest

from todoku.aio import Backoff, FakeClock


async def test_sleepers_wake_in_the_order_of_their_deadlines():
    clock = FakeClock(start=100)
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.now()))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sleeper("late", 5))
        tasks.create_task(sleeper("early", 2))
        await clock.advance(10)
    assert woken == [("early", 102), ("late", 105)]
    assert clock.now() == 110


async def test_a_task_that_sleeps_again_is_woken_again_within_one_advance():
    clock = FakeClock(start=0)
    ticks: list[float] = []

    async def ticker() -> None:
        for _ in range(3):
            await clock.sleep(1)
            ticks.append(clock.now())

    task = asyncio.create_task(ticker())
    await clock.advance(10)
    await task
    assert ticks == [1, 2, 3]


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 1), (2, 2), (3, 4), (4, 5), (5000, 5)]
)
def test_delays_double_up_to_their_maximum(failures, seconds):
    assert Backoff(initial=1, maximum=5).delay(failures) == seconds


def test_jitter_only_ever_lengthens():
    backoff = Backoff(initial=1, maximum=5, jitter=0.5)
    assert all(1 <= backoff.delay(1) <= 1.5 for _ in range(100))
