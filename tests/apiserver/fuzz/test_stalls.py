"""Clients that are slow, idle or many do not keep others from being served."""

import asyncio
import os
import ssl
import time
from urllib.parse import urlsplit

import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.config import Timings

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
WATCHES = int(os.environ.get("TODOKU_IDLE_WATCHES", "200"))


async def opened(api, user=""):
    """A TLS connection of its own, as the admin or another user."""
    context = ssl.create_default_context(cafile=api.ca_file)
    files = api.cert_file, api.key_file
    if user:
        files = api.authority.issue(user).write(api.folder, user)
    context.load_cert_chain(*files)
    place = urlsplit(api.url)
    return await asyncio.open_connection(place.hostname, place.port, ssl=context)


async def took(api, method, path, body=None):
    began = time.perf_counter()
    status, _ = await api.request(method, path, body)
    assert status < 300
    return time.perf_counter() - began


def head(path, *more, method="GET"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: x", *more, "", ""]).encode()


async def closed(writers):
    for writer in writers:
        writer.transport.abort()
    await asyncio.sleep(0)


ANYONE = {
    "metadata": {"name": "anyone"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "bob"}],
}  # fmt: skip


async def test_bodies_that_never_come_hold_up_no_one():
    """More of them than may be under way at once: the limit is for work, not for waiting."""
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    async with running_api(max_requests_inflight=20, max_mutating_inflight=10) as api:
        assert (await api.request("POST", path, ANYONE))[0] == 201
        slow = head(
            CONFIG_MAPS, "Content-Length: 90", "Content-Type: application/json", method="POST"
        )
        body = b'{"metadata":{"generateName":"served-"}}'
        whole = slow.replace(b": 90", b": %d" % len(body)) + body
        writers = []
        try:
            for number in range(60):
                _, writer = await opened(api, "bob")
                writers.append(writer)
                writer.write(slow if number % 2 else slow[:-10])
            reader, writer = await opened(api, "bob")
            writers.append(writer)
            writer.write(whole)
            async with asyncio.timeout(5):
                assert b" 201 " in await reader.readline()
        finally:
            await closed(writers)


async def test_an_unfinished_body_is_given_up_after_the_request_timeout():
    async with running_api(timings=Timings(request_timeout=0.3)) as api:
        reader, writer = await opened(api)
        try:
            writer.write(head(CONFIG_MAPS, "Content-Length: 90", method="POST"))
            async with asyncio.timeout(10):
                assert b" 504 " in await reader.readline()
        finally:
            await closed([writer])


@pytest.mark.parametrize("kind", ["secrets", "configmaps"])
async def test_idle_watches_cost_others_little(api, kind):
    """Watches of another kind, and of the same kind with a selector that nothing fits."""
    path = f"/api/v1/namespaces/default/{kind}?watch=true&labelSelector=none%3Dsuch"
    writers = []
    try:
        for _ in range(WATCHES):
            reader, writer = await opened(api)
            writers.append(writer)
            writer.write(head(path))
            assert b" 200 " in await reader.readline()
        body = {"metadata": {"generateName": "m-"}}
        times = [await took(api, "POST", CONFIG_MAPS, body) for _ in range(20)]
    finally:
        await closed(writers)
    assert sorted(times)[10] < 0.25
