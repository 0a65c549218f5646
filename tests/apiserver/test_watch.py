"""watch: replay, follow, selectors, bookmarks, streaming lists, expiry, one order for all."""

import asyncio
import json
import ssl
from types import SimpleNamespace

import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.cache import Collection, Event
from todoku.apiserver.config import Timings
from todoku.apiserver.encoding import cached
from todoku.apiserver.http import HttpSink
from todoku.storage.store import Entry

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def create(api, name, **labels):
    body = {"metadata": {"name": name, "labels": labels}}
    status, obj = await api.request("POST", CONFIG_MAPS, body)
    assert status == 201, obj
    return obj


async def relabel(api, name, **labels):
    body = {"metadata": {"name": name, "labels": labels}}
    return (await api.request("PUT", f"{CONFIG_MAPS}/{name}", body))[1]


async def delete(api, name):
    return await api.request("DELETE", f"{CONFIG_MAPS}/{name}")


async def events(api, query, count, path=CONFIG_MAPS):
    seen = []
    async with asyncio.timeout(5), api.watch(f"{path}?watch=true&{query}") as stream:
        async for event in stream:
            seen.append(event)
            if len(seen) >= count:
                break
    return seen


def told(seen):
    return [(one["type"], one["object"]["metadata"].get("name", "")) for one in seen]


async def revision(api):
    return (await api.request("GET", CONFIG_MAPS))[1]["metadata"]["resourceVersion"]


async def test_a_watch_from_a_revision_sees_all_that_came_after_in_order(api):
    start = await revision(api)
    await create(api, "a")
    await relabel(api, "a", app="x")
    await create(api, "b")
    await delete(api, "a")
    seen = await events(api, f"resourceVersion={start}", 4)
    assert told(seen) == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    versions = [int(one["object"]["metadata"]["resourceVersion"]) for one in seen]
    assert versions == sorted(set(versions))


async def test_a_watch_without_a_revision_begins_with_what_is_there(api):
    await create(api, "b")
    await create(api, "a")
    assert told(await events(api, "", 2)) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_follows(api):
    async with asyncio.timeout(5), api.watch(f"{CONFIG_MAPS}?watch=1") as stream:
        await create(api, "a")
        assert told([await anext(stream)]) == [("ADDED", "a")]
        await delete(api, "a")
        assert told([await anext(stream)]) == [("DELETED", "a")]


async def test_a_selector_turns_changes_into_coming_and_going(api):
    start = await revision(api)
    await create(api, "a", app="x")
    await relabel(api, "a", app="y")
    await relabel(api, "a", app="x", more="1")
    await relabel(api, "a", app="x", more="2")
    await delete(api, "a")
    seen = await events(api, f"resourceVersion={start}&labelSelector=app%3Dx", 5)
    kinds = [one["type"] for one in seen]
    assert kinds == ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
    assert seen[1]["object"]["metadata"]["labels"] == {"app": "x"}


async def test_one_object_is_watched_by_its_name(api):
    start = await revision(api)
    await create(api, "a")
    await create(api, "b")
    seen = await events(api, f"resourceVersion={start}&fieldSelector=metadata.name%3Db", 1)
    assert told(seen) == [("ADDED", "b")]


async def test_a_streaming_list_ends_its_first_part_with_a_marked_bookmark(api):
    await create(api, "a")
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    seen = await events(api, query, 2)
    assert told(seen) == [("ADDED", "a"), ("BOOKMARK", "")]
    metadata = seen[1]["object"]["metadata"]
    assert metadata["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert metadata["resourceVersion"] == await revision(api)


async def test_a_streaming_list_of_nothing_has_its_bookmark_too(api):
    query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true"
    assert told(await events(api, query, 1)) == [("BOOKMARK", "")]


BAD_WATCHES = {
    "a match without initial events": "resourceVersionMatch=NotOlderThan&resourceVersion=1",
    "initial events without a match": "sendInitialEvents=true",
    "initial events with another match": "sendInitialEvents=true&resourceVersionMatch=Exact",
}


@pytest.mark.parametrize("query", BAD_WATCHES.values(), ids=BAD_WATCHES)
async def test_a_watch_is_refused_for(api, query):
    status, refusal = await api.request("GET", f"{CONFIG_MAPS}?watch=1&{query}")
    assert (status, refusal["reason"]) == (422, "Invalid")


async def test_bookmarks_come_while_nothing_happens():
    async with running_api(timings=Timings(bookmark_every=0.05)) as api:
        seen = await events(api, "allowWatchBookmarks=true", 2)
        assert [one["type"] for one in seen] == ["BOOKMARK", "BOOKMARK"]
        assert seen[0]["object"]["kind"] == "ConfigMap"


async def test_a_watch_ends_after_its_timeout(api):
    async with asyncio.timeout(5), api.watch(f"{CONFIG_MAPS}?watch=1&timeoutSeconds=1") as stream:
        assert [event async for event in stream] == []


async def test_a_watch_from_a_forgotten_revision_is_told_so():
    async with running_api(timings=Timings(compact_every=0.02, keep_history=0.02)) as api:
        start = await revision(api)
        for n in range(200):
            await create(api, f"a-{n}")
            seen = await events(api, f"resourceVersion={start}", 1)
            if seen[0]["type"] == "ERROR":
                break
        status = seen[0]["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")
        assert status["message"].startswith(f"too old resource version: {start}")


async def test_all_watchers_see_one_order(api):
    start = await revision(api)
    async with asyncio.TaskGroup() as tasks:
        watchers = [
            tasks.create_task(events(api, f"resourceVersion={start}", 60)) for _ in range(10)
        ]
        await asyncio.gather(*(create(api, f"a-{n}") for n in range(30)))
        await asyncio.gather(*(delete(api, f"a-{n}") for n in range(30)))
    orders = [told(watcher.result()) for watcher in watchers]
    assert all(order == orders[0] for order in orders)


async def test_a_watch_of_tables_and_of_metadata(api):
    await create(api, "a")
    await create(api, "b")
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with api.session.get(f"{api.url}{CONFIG_MAPS}?watch=1", headers=headers) as response:
        assert response.headers["Content-Type"] == "application/json"
        tables = [json.loads(await response.content.readline())["object"] for _ in range(2)]
        await create(api, "c")
        tables.append(json.loads(await response.content.readline())["object"])
    assert [one["kind"] for one in tables] == ["Table"] * 3
    assert [bool(one["columnDefinitions"]) for one in tables] == [True, False, False]
    headers = {"Accept": "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"}
    async with api.session.get(f"{api.url}{CONFIG_MAPS}?watch=1", headers=headers) as response:
        event = await response.content.readline()
    assert b'"kind":"PartialObjectMetadata"' in event


async def test_two_watches_of_tables_each_begin_with_the_columns(api):
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    get = api.session.get
    async with (
        asyncio.timeout(5),
        get(f"{api.url}{CONFIG_MAPS}?watch=1", headers=headers) as one,
        get(f"{api.url}{CONFIG_MAPS}?watch=1", headers=headers) as other,
    ):
        for name, headed in (("a", True), ("b", False)):
            await create(api, name)
            for response in (one, other):
                table = json.loads(await response.content.readline())["object"]
                assert bool(table["columnDefinitions"]) == headed


async def test_a_streaming_list_has_no_table(api):
    await create(api, "a")
    query = (
        "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    )
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    response, _ = await api.raw("GET", f"{CONFIG_MAPS}?{query}", accept=table)
    assert response.status == 406
    headers = {"Accept": f"{table},application/json"}
    async with api.session.get(f"{api.url}{CONFIG_MAPS}?{query}", headers=headers) as response:
        event = json.loads(await response.content.readline())
    assert event["object"]["kind"] == "ConfigMap"


async def test_a_watch_is_not_served_as_yaml(api):
    response, _ = await api.raw("GET", f"{CONFIG_MAPS}?watch=1", accept="application/yaml")
    assert response.status == 406


async def test_a_watcher_that_left_is_forgotten(api):
    await events(
        api, "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 1
    )
    collection = api.server.engine.cache.collection(b"/registry/core/configmaps/")
    async with asyncio.timeout(5):
        while collection.followers:
            await asyncio.sleep(0.01)


async def test_stopping_the_server_ends_watches(api):
    async with asyncio.timeout(5), api.watch(f"{CONFIG_MAPS}?watch=1") as stream:
        await api.server.stop()
        assert [event async for event in stream] == []


async def test_a_watcher_that_does_not_read_is_dropped_and_disturbs_nobody(api):
    context = ssl.create_default_context(cafile=api.ca_file)
    context.load_cert_chain(api.cert_file, api.key_file)
    port = int(api.url.rpartition(":")[2])
    collection = api.server.engine.cache.collection(b"/registry/core/configmaps/")
    async with asyncio.timeout(30):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=1024)
        writer.transport.pause_reading()
        writer.write(f"GET {CONFIG_MAPS}?watch=1 HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        while not collection.followers:
            await asyncio.sleep(0.01)
        for n in range(60):
            body = {"metadata": {"name": f"big-{n}"}, "data": {"a": "x" * 900_000}}
            status, _ = await api.request("POST", CONFIG_MAPS, body)
            assert status == 201
            if not collection.followers:
                break
        writer.transport.abort()
    assert not collection.followers


async def test_a_watch_from_a_revision_to_come_begins_there(api):
    made = await create(api, "one")
    ahead = int(made["metadata"]["resourceVersion"]) + 1

    async def both():
        await asyncio.sleep(0.2)
        await create(api, "before")
        await create(api, "after")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(both())
        seen = await events(api, f"resourceVersion={ahead}&timeoutSeconds=4", 1)
    assert [one["object"]["metadata"]["name"] for one in seen] == ["after"]


async def test_a_watch_from_a_far_revision_ends_when_its_time_is_over(api):
    query = "watch=true&resourceVersion=999999&timeoutSeconds=1"
    response, data = await api.raw("GET", f"{CONFIG_MAPS}?{query}")
    assert (response.status, data) == (200, b"")


async def test_a_closed_connection_has_nothing_buffered(api):
    """The moment between a client's leaving and its watch's end: an event must not stumble over it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(api.config.cert_file, api.config.key_file)
    served = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(
        lambda _, writer: served.set_result(writer), "127.0.0.1", 0, ssl=context
    )
    trusting = ssl.create_default_context(cafile=api.ca_file)
    trusting.check_hostname = False
    async with server, asyncio.timeout(5):
        address = server.sockets[0].getsockname()
        _, client = await asyncio.open_connection(*address, ssl=trusting)
        writer = await served
        sink = HttpSink(SimpleNamespace(transport=writer.transport, version=(1, 1)))
        client.transport.abort()
        writer.transport.close()
        writer.transport.close()  # from now on it has no protocol left to ask
        sink.write(b"late")
        await sink.drain()
        assert sink.buffered_bytes() == 0


def test_a_broken_watcher_does_not_stop_the_others():
    class Watcher:
        def __init__(self, broken):
            self.broken, self.events, self.closed = broken, [], False

        def push(self, event):
            if self.broken:
                raise RuntimeError("broken")
            self.events.append(event)

        def close(self):
            self.closed = True

    collection = Collection(b"/registry/core/configmaps/", 0)
    good, bad = Watcher(False), Watcher(True)
    collection.followers |= {good, bad}
    entry = Entry(b"/registry/core/configmaps/default/a", b'{"metadata":{}}', 1, 1)
    for revision in (1, 2):
        collection.apply(Event(entry.key, revision, cached(entry, "default", "a"), None))
    assert len(good.events) == 2
    assert bad.closed
    assert collection.followers == {good}


def test_what_trips_over_one_object_does_not_stop_the_others():
    def choosy(one):
        if one.revision == 2:
            raise ValueError("odd object")
        return "value"

    def handle(old, new):
        if new.revision == 2:
            raise RuntimeError("odd object")
        handled.append(new.revision)

    handled = []
    collection = Collection(b"/registry/core/configmaps/", 0)
    collection.handlers.append(handle)
    collection.index("choosy", choosy)
    for revision in (1, 2, 3):
        key = b"/registry/core/configmaps/default/%d" % revision
        entry = Entry(key, b'{"metadata":{}}', revision, revision)
        one = cached(entry, "default", str(revision))
        collection.apply(Event(key, revision, one, None))
    assert handled == [1, 3]
    assert len(collection.keys) == 3
    with pytest.raises(ValueError, match="odd object"):
        collection.index("choosy", choosy)
