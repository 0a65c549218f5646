"""The work queue: every key once, one worker per key, back-off per key."""

from __future__ import annotations

import asyncio

import pytest

from todoku.aio import Backoff, FakeClock, WorkQueue
from todoku.aio.clock import settle


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> WorkQueue[str]:
    return WorkQueue("test", backoff=Backoff(initial=1, maximum=8), clock=clock)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_key_added_twice_is_worked_on_once(queue):
    queue.add("a")
    queue.add("a")
    assert len(queue) == 1


async def test_a_key_added_during_its_work_is_worked_on_again_afterwards(queue):
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0  # never by two workers at a time
    queue.done("a")
    assert len(queue) == 1


async def test_failures_wait_longer_each_time_and_success_starts_anew(queue):
    assert [queue.retry("a") for _ in range(5)] == [1, 2, 4, 8, 8]
    queue.forget("a")
    assert queue.retry("a") == 1
    queue.close()


async def test_the_earliest_of_several_delays_counts(queue, clock):
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 20)
    await clock.advance(2.9)
    assert len(queue) == 0
    await clock.advance(0.2)
    assert len(queue) == 1
    await clock.advance(30)
    assert len(queue) == 1


async def test_adding_a_delayed_key_makes_it_due_now(queue, clock):
    queue.add_after("a", 10)
    queue.add("a")
    assert await queue.get() == "a"
    queue.done("a")
    await clock.advance(20)
    assert len(queue) == 0


async def test_one_failing_key_does_not_stop_the_others(queue, clock, caplog):
    tries: list[str] = []

    async def work(key: str) -> None:
        tries.append(key)
        if key == "bad" and tries.count("bad") < 3:
            raise ValueError("not yet")

    running = asyncio.create_task(queue.run(work, workers=2))
    queue.add("bad")
    queue.add("good")
    await settle()
    assert tries == ["bad", "good"]
    await clock.advance(10)
    assert tries == ["bad", "good", "bad", "bad"]
    assert queue.failures("bad") == 0
    assert "ValueError: not yet" in str([r.fields for r in caplog.records])
    await stop(running)


async def test_no_more_keys_at_a_time_than_workers(queue):
    at_work = 0
    most = 0

    async def work(key: str) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0)
        at_work -= 1

    for number in range(20):
        queue.add(str(number))
    running = asyncio.create_task(queue.run(work, workers=3))
    while not queue.idle:
        await asyncio.sleep(0)
    assert most == 3
    await stop(running)


async def test_a_cancelled_waiter_does_not_swallow_a_key(queue):
    first = asyncio.create_task(queue.get())
    second = asyncio.create_task(queue.get())
    await settle()
    queue.add("a")
    first.cancel()
    assert await asyncio.wait_for(second, 1) == "a"
    await asyncio.gather(first, return_exceptions=True)
