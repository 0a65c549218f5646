"""What every store must do; each backend's test module subclasses `StoreContract` and gives a `store` fixture."""

import asyncio

import pytest

from todoku.storage import (
    Compacted,
    Compare,
    Delete,
    FutureRevision,
    Put,
    Store,
)

START, END = b"", b"\xff"


async def put(store: Store, key: bytes, value: bytes) -> int:
    return (await store.commit([], [Put(key, value)])).revision


async def delete(store: Store, key: bytes) -> int:
    return (await store.commit([], [Delete(key)])).revision


async def keys(store: Store, start: bytes = START, end: bytes = END, **options: int) -> list[bytes]:
    page = await store.range(start, end, **options)
    return [entry.key for entry in page.entries]


async def follow(store: Store, revision: int, count: int, start: bytes = START, end: bytes = END):
    seen: list = []
    async with asyncio.timeout(5), store.watch(start, end, revision=revision) as batches:
        async for batch in batches:
            seen.extend(batch)
            if len(seen) >= count:
                break
    return seen


class StoreContract:
    async def test_a_put_is_read_back_with_its_revisions(self, store):
        first = await put(store, b"a", b"1")
        second = await put(store, b"a", b"2")
        entry = await store.get(b"a")
        assert entry.value == b"2"
        assert (entry.create_revision, entry.mod_revision) == (first, second)

    async def test_every_transaction_raises_the_revision_by_one(self, store):
        before = store.revision
        assert await put(store, b"a", b"") == before + 1
        assert await delete(store, b"a") == before + 2
        assert store.revision == before + 2

    async def test_deleting_what_is_not_there_changes_nothing(self, store):
        before = store.revision
        result = await store.commit([], [Delete(b"none")])
        assert result.succeeded
        assert store.revision == before

    async def test_a_new_life_has_a_new_create_revision(self, store):
        await put(store, b"a", b"1")
        await delete(store, b"a")
        born = await put(store, b"a", b"2")
        assert (await store.get(b"a")).create_revision == born

    async def test_a_missing_key_reads_as_none(self, store):
        assert await store.get(b"none") is None

    async def test_a_commit_whose_compare_fails_changes_nothing_and_shows_what_is_there(
        self, store
    ):
        revision = await put(store, b"a", b"1")
        result = await store.commit(
            [Compare(b"a", revision - 1)], [Put(b"a", b"2"), Put(b"b", b"")]
        )
        assert not result.succeeded
        assert result.current[0].value == b"1"
        assert await store.get(b"b") is None

    async def test_compare_with_zero_means_the_key_must_not_exist(self, store):
        assert (await store.commit([Compare(b"a", 0)], [Put(b"a", b"1")])).succeeded
        assert not (await store.commit([Compare(b"a", 0)], [Put(b"a", b"2")])).succeeded

    async def test_of_many_writers_with_one_compare_exactly_one_wins(self, store):
        revision = await put(store, b"a", b"")
        results = await asyncio.gather(
            *(store.commit([Compare(b"a", revision)], [Put(b"a", b"%d" % n)]) for n in range(20))
        )
        assert [result.succeeded for result in results].count(True) == 1

    async def test_a_range_is_ordered_and_excludes_its_end(self, store):
        for key in (b"b", b"d", b"a", b"c"):
            await put(store, key, b"")
        assert await keys(store, b"a", b"d") == [b"a", b"b", b"c"]

    async def test_a_limited_range_says_that_there_is_more(self, store):
        for key in (b"a", b"b", b"c"):
            await put(store, key, b"")
        page = await store.range(START, END, limit=2)
        assert [entry.key for entry in page.entries] == [b"a", b"b"]
        assert page.more
        assert page.count == 3
        assert not (await store.range(START, END, limit=3)).more

    async def test_an_old_revision_is_read_as_it_was(self, store):
        await put(store, b"a", b"1")
        revision = await put(store, b"b", b"1")
        await put(store, b"a", b"2")
        await delete(store, b"b")
        await put(store, b"c", b"1")
        page = await store.range(START, END, revision=revision)
        assert [(entry.key, entry.value) for entry in page.entries] == [(b"a", b"1"), (b"b", b"1")]
        assert page.revision == revision
        assert (await store.get(b"b", revision=revision)).value == b"1"
        assert await store.get(b"c", revision=revision) is None

    async def test_an_old_revision_is_paged_in_the_same_order(self, store):
        for key in (b"a", b"b", b"c", b"d"):
            revision = await put(store, key, b"1")
        await delete(store, b"c")
        await put(store, b"bb", b"1")
        assert await keys(store, revision=revision, limit=3) == [b"a", b"b", b"c"]
        assert await keys(store, b"c\0", END, revision=revision) == [b"d"]

    async def test_a_future_revision_is_refused(self, store):
        with pytest.raises(FutureRevision):
            await store.range(START, END, revision=store.revision + 1)

    async def test_a_compacted_revision_is_refused_and_the_oldest_named(self, store):
        first = await put(store, b"a", b"1")
        second = await put(store, b"a", b"2")
        await store.compact(second)
        with pytest.raises(Compacted) as refusal:
            await store.range(START, END, revision=first)
        assert refusal.value.oldest == second
        assert await keys(store, revision=second) == [b"a"]

    async def test_a_watch_replays_what_happened_after_its_revision_then_follows(self, store):
        start = store.revision
        await put(store, b"a", b"1")
        await put(store, b"a", b"2")
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            seen = tasks.create_task(follow(store, start, 4))
            await asyncio.sleep(0)
            await put(store, b"b", b"1")
            await delete(store, b"a")
        assert [(c.key, c.entry and c.entry.value) for c in seen.result()] == [
            (b"a", b"1"),
            (b"a", b"2"),
            (b"b", b"1"),
            (b"a", None),
        ]

    async def test_a_change_carries_what_was_there_before(self, store):
        start = store.revision
        await put(store, b"a", b"1")
        await delete(store, b"a")
        created, deleted = await follow(store, start, 2)
        assert created.previous is None
        assert deleted.previous.value == b"1"
        assert deleted.revision == created.revision + 1

    async def test_a_watch_sees_only_its_range(self, store):
        start = store.revision
        for key in (b"a", b"b", b"c"):
            await put(store, key, b"")
        seen = await follow(store, start, 1, b"b", b"c")
        assert [change.key for change in seen] == [b"b"]

    async def test_all_watchers_see_one_order(self, store):
        start = store.revision
        async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
            watchers = [tasks.create_task(follow(store, start, 60)) for _ in range(5)]
            await asyncio.gather(*(put(store, b"%d" % (n % 7), b"%d" % n) for n in range(60)))
        orders = [[(c.key, c.revision) for c in watcher.result()] for watcher in watchers]
        assert all(order == orders[0] for order in orders)
        assert orders[0] == sorted(orders[0], key=lambda pair: pair[1])

    async def test_a_watch_from_a_compacted_revision_is_refused_on_entry(self, store):
        start = store.revision
        await put(store, b"a", b"1")
        await store.compact(await put(store, b"a", b"2"))
        with pytest.raises(Compacted):
            async with store.watch(START, END, revision=start):
                pass

    async def test_one_transaction_gives_its_changes_one_revision(self, store):
        start = store.revision
        result = await store.commit([], [Put(b"a", b"1"), Put(b"b", b"1")])
        seen = await follow(store, start, 2)
        assert {change.revision for change in seen} == {result.revision}
