"""Who is tried next, and what makes a refused pod worth another try."""

from __future__ import annotations

import asyncio

import pytest

from todoku.aio import SystemClock
from todoku.api.meta import Key, Object
from todoku.scheduler.queue import SchedulingQueue


def pod(name: str, priority: int = 0) -> Object:
    return {"metadata": {"name": name, "namespace": "n"}, "spec": {"priority": priority}}


@pytest.fixture
async def queue():
    made = SchedulingQueue(SystemClock())
    yield made
    made.close()


async def refuse(queue: SchedulingQueue, name: str, *plugins: str) -> None:
    queue.add(pod(name))
    await queue.pop()
    queue.refused(Key("n", name), frozenset(plugins))


async def test_the_more_important_then_the_longer_waiting_pod_is_next(queue):
    for name, priority in (("a", 0), ("b", 5), ("c", 5)):
        queue.add(pod(name, priority))
    assert [(await queue.pop()).pod["metadata"]["name"] for _ in range(3)] == ["b", "c", "a"]


@pytest.mark.parametrize(
    ("plugin", "change", "tried"),
    [
        ("NodeResourcesFit", "pod-gone", True),
        ("NodeResourcesFit", "node", True),
        ("NodeResourcesFit", "pod-placed", False),
        ("TaintToleration", "pod-gone", False),
        ("TaintToleration", "node", True),
        ("InterPodAffinity", "pod-placed", True),
        ("InterPodAffinity", "namespace", True),
        ("VolumeBinding", "volume", True),
        ("NodeAffinity", "volume", False),
    ],
)
async def test_only_a_change_that_concerns_the_refusal_is_worth_another_try(
    queue, plugin, change, tried
):
    await refuse(queue, "a", plugin)
    queue.moved(change)
    try:
        async with asyncio.timeout(0.15):
            await queue.pop()
        assert tried
    except TimeoutError:
        assert not tried


async def test_a_change_during_the_attempt_is_not_lost(queue):
    queue.add(pod("a"))
    await queue.pop()
    queue.moved("node")
    queue.refused(Key("n", "a"), frozenset({"TaintToleration"}))
    assert (await asyncio.wait_for(queue.pop(), 1)).attempts == 2


async def test_a_changed_pod_is_tried_at_once_and_a_removed_one_never(queue):
    await refuse(queue, "a", "NodeAffinity")
    queue.add(pod("a"))
    assert len(queue) == 1
    queue.remove(Key("n", "a"))
    assert len(queue) == 0
