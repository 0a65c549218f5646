import asyncio

import pytest

from tests.storage.contract import END, START, StoreContract, put
from todoku.storage import MemoryStore, SlowWatcher


@pytest.fixture
async def store():
    store = MemoryStore()
    yield store
    await store.close()


class TestMemoryStore(StoreContract):
    pass


async def test_a_watcher_that_takes_nothing_is_disconnected():
    store = MemoryStore(backlog=3)
    async with store.watch(START, END, revision=store.revision) as batches:
        for n in range(5):
            await put(store, b"a", b"%d" % n)
        async with asyncio.timeout(5):
            with pytest.raises(SlowWatcher):
                await anext(batches)
    await store.close()
