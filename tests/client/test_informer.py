"""Caches that follow a collection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from todoku.api.meta import Key
from todoku.client import Informer, InformerFactory


async def until(holds: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.005)


@pytest.fixture
async def informer(api, client) -> AsyncIterator[Informer]:
    made = Informer(client, "configmaps", indexers={"x": lambda o: [o["data"].get("x", "none")]})
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def log_of(informer: Informer) -> list[str]:
    told: list[str] = []
    informer.subscribe(lambda e: told.append(f"{e.type} {e.object['metadata']['name']}"))
    return told


async def test_the_cache_holds_what_was_there_and_follows_changes(api, informer):
    api.put("a", x="1")
    await informer.synced()
    told = log_of(informer)
    api.put("b", x="1")
    api.put("a", x="2")
    api.remove("b")
    await until(lambda: len(told) == 4)
    assert told == ["ADDED a", "ADDED b", "MODIFIED a", "DELETED b"]
    assert [one["metadata"]["name"] for one in informer.list()] == ["a"]


async def test_indexes_follow_the_objects(api, informer):
    api.put("a", x="1")
    api.put("b", x="1")
    await informer.synced()
    assert len(informer.by_index("x", "1")) == 2
    api.put("a", x="2")
    await until(lambda: bool(informer.by_index("x", "2")))
    assert [o["metadata"]["name"] for o in informer.by_index("x", "1")] == ["b"]
    assert set(informer.index_values("x")) == {"1", "2"}


async def test_a_restart_of_the_server_costs_no_list(api, informer):
    api.put("a")
    await informer.synced()
    await api.stop()
    assert informer.get(Key("default", "a"))
    api.put("b")
    await api.start()
    await until(lambda: informer.get(Key("default", "b")) is not None)
    lists = [r for r in api.requests if not r.query.get("watch")]
    assert len(lists) == 1


async def test_after_compaction_only_differences_are_told(api, informer):
    api.put("gone")
    api.put("kept")
    api.put("changed")
    await informer.synced()
    told = log_of(informer)
    told.clear()
    await api.stop()
    api.remove("gone")
    api.put("changed", x="9")
    api.put("new")
    api.compact()
    await api.start()
    await until(lambda: len(told) == 3)
    assert told == ["DELETED gone", "MODIFIED changed", "ADDED new"]


async def test_an_object_replaced_while_nobody_looked_is_told_as_deleted_and_added(api, informer):
    api.put("a")
    await informer.synced()
    told = log_of(informer)
    await api.stop()
    api.remove("a")
    api.put("a")
    api.compact()
    await api.start()
    await until(lambda: len(told) == 3)
    assert told == ["ADDED a", "DELETED a", "ADDED a"]


NONSENSE = {
    "no event": {"kind": "FlunderList", "items": []},
    "no object": ["ADDED"],
    "no version": {"type": "ADDED", "object": {"metadata": {"name": "x"}}},
    "no name": {"type": "ADDED", "object": {"metadata": {"resourceVersion": "9"}}},
}


@pytest.mark.parametrize("event", NONSENSE.values(), ids=NONSENSE)
async def test_an_event_that_makes_no_sense_does_not_end_the_informer(api, informer, event):
    await informer.synced()
    api.tell(event)
    api.put("b")
    await informer.until(lambda: informer.get(Key("default", "b")) is not None)


async def test_a_failing_subscriber_does_not_stop_the_cache(api, informer, caplog):
    def fail(event: object) -> None:
        raise RuntimeError("bug")

    await informer.synced()
    informer.subscribe(fail)
    told = log_of(informer)
    api.put("a")
    await until(lambda: told == ["ADDED a"])
    assert "A subscriber failed" in caplog.text


async def test_a_factory_shares_one_informer_per_collection(api, client):
    factory = InformerFactory(client)
    running = asyncio.create_task(factory.run())
    first = factory.informer("configmaps")
    assert factory.informer("configmaps", indexers={"y": lambda o: ["1"]}) is first
    await factory.synced()
    factory.discard(first)
    await until(lambda: not any(t.get_name() == "informer-configmaps" for t in asyncio.all_tasks()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
