import asyncio

import apsw
import pytest

from tests.storage.contract import END, START, StoreContract, delete, follow, keys, put
from todoku.storage import Compacted, Put
from todoku.storage.sqlite import SqliteStore, StoreFailed, UnknownFormat


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "todoku.db")


@pytest.fixture
async def store(path):
    store = await SqliteStore.open(path)
    yield store
    await store.close()


class TestSqliteStore(StoreContract):
    pass


async def reopened(store, path):
    await store.close()
    return await SqliteStore.open(path)


async def test_everything_acknowledged_is_there_after_reopening(path):
    store = await SqliteStore.open(path)
    await put(store, b"a", b"1")
    await put(store, b"b", b"1")
    await put(store, b"a", b"2")
    await delete(store, b"b")
    revision, entry = store.revision, await store.get(b"a")
    store = await reopened(store, path)
    assert store.revision == revision
    assert await store.get(b"a") == entry
    assert await keys(store) == [b"a"]
    await store.close()


async def test_history_survives_reopening_and_can_be_followed(path):
    store = await SqliteStore.open(path)
    start = store.revision
    await put(store, b"a", b"1")
    await delete(store, b"a")
    store = await reopened(store, path)
    seen = await follow(store, start, 2)
    assert [(change.key, change.entry is None) for change in seen] == [(b"a", False), (b"a", True)]
    assert seen[1].previous.value == b"1"
    await store.close()


async def test_compaction_is_remembered_and_shrinks_the_journal(path):
    store = await SqliteStore.open(path)
    first = await put(store, b"a", b"1")
    await put(store, b"b", b"1")
    await delete(store, b"b")
    last = await put(store, b"a", b"2")
    await store.compact(last)
    store = await reopened(store, path)
    assert store.revision == last
    with pytest.raises(Compacted):
        await store.range(START, END, revision=first)
    await store.close()
    with apsw.Connection(path) as db:
        assert db.execute("SELECT count(*) FROM changes").fetchall() == [(1,)]
    db.close()


async def test_the_revision_never_goes_back_even_if_the_last_change_was_compacted_away(path):
    store = await SqliteStore.open(path)
    await put(store, b"a", b"1")
    last = await delete(store, b"a")
    await store.compact(last)
    store = await reopened(store, path)
    assert store.revision == last
    assert await put(store, b"a", b"1") == last + 1
    await store.close()


async def test_many_commits_share_one_synchronization(path):
    store = await SqliteStore.open(path)
    results = await asyncio.gather(*(put(store, b"%d" % n, b"") for n in range(200)))
    assert results == sorted(results)
    assert len(await keys(store)) == 200
    await store.close()


async def test_a_relaxed_put_keeps_its_place_in_the_order(path):
    store = await SqliteStore.open(path)
    start = store.revision
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(put(store, b"a", b""))
        tasks.create_task(store.commit([], [Put(b"b", b"", relaxed=True)]))
        tasks.create_task(put(store, b"c", b""))
    assert [change.key for change in await follow(store, start, 3)] == [b"a", b"b", b"c"]
    await store.close()


async def test_a_disk_that_refuses_fails_the_write_and_shows_nothing_of_it(path):
    store = await SqliteStore.open(path)
    await put(store, b"a", b"1")
    store._db.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreFailed):
        await put(store, b"a", b"2")
    assert (await store.get(b"a")).value == b"1"
    with pytest.raises(StoreFailed):
        await put(store, b"b", b"1")
    await store.close()


def limited(store, pages):
    """The database may grow by so many pages (None: without end), as if the disk were full then."""
    ((now,),) = store._db.execute("PRAGMA page_count").fetchall()
    store._db.execute(f"PRAGMA max_page_count={now + pages if pages is not None else 1 << 30}")


async def test_a_disk_that_was_full_is_tried_again(path):
    store = await SqliteStore.open(path)
    await put(store, b"kept", b"1")
    limited(store, 2)
    many = [put(store, b"%d" % number, b"x" * 50_000) for number in range(10)]
    outcomes = await asyncio.gather(*many, return_exceptions=True)
    assert all(isinstance(one, StoreFailed) for one in outcomes)
    assert "full" in str(outcomes[0])
    assert await keys(store) == [b"kept"]
    limited(store, None)
    before = store.revision
    again = [put(store, b"%d" % number, b"x" * 50_000) for number in range(10)]
    await asyncio.gather(*again)
    assert store.revision == before + 10
    await store.close()
    reopened = await SqliteStore.open(path)
    assert len(await keys(reopened)) == 11
    assert reopened.revision == before + 10
    await reopened.close()


async def test_a_file_of_a_newer_format_is_refused(path):
    with apsw.Connection(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(UnknownFormat):
        await SqliteStore.open(path)


async def test_a_second_opener_is_refused(path):
    store = await SqliteStore.open(path)
    with pytest.raises(apsw.BusyError):
        await SqliteStore.open(path)
    await store.close()
