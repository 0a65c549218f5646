"""A watch over WebSocket, as browsers and some clients ask for it."""

import asyncio
import base64
import json

import aiohttp
import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.config import Timings
from todoku.apiserver.http import text_frame
from todoku.apiserver.request import User

PATH = "/api/v1/namespaces/default/configmaps"


def socket(api, query="watch=1", path=PATH, **settings):
    return api.session.ws_connect(f"{api.url}{path}?{query}", **settings)


async def event(messages):
    message = await messages.receive(timeout=5)
    assert message.type is aiohttp.WSMsgType.TEXT
    return json.loads(message.data)


async def test_events_are_text_messages_in_order(api):
    query = "watch=1&labelSelector=my%3Dmessages"
    labels = {"my": "messages"}
    async with socket(api, query) as messages:
        assert messages._response.headers["X-Kubernetes-Pf-Flowschema-Uid"]
        body = {"metadata": {"name": "m", "labels": labels}, "data": {"a": "x" * 70_000}}
        await api.request("POST", PATH, body)
        await api.request("PUT", f"{PATH}/m", {"metadata": {"name": "m", "labels": labels}})
        await api.request("DELETE", f"{PATH}/m")
        seen = [await event(messages) for _ in range(3)]
    assert [one["type"] for one in seen] == ["ADDED", "MODIFIED", "DELETED"]
    assert len(seen[0]["object"]["data"]["a"]) == 70_000


async def test_the_time_of_a_watch_ends_with_a_farewell(api):
    async with socket(api, "watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dno") as messages:
        message = await messages.receive(timeout=5)
    assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_a_client_that_closes_leaves_no_watcher():
    async with running_api() as api:
        served = api.server.engine.catalog.by_name("configmaps")
        followers = api.server.engine.collection(served).followers
        before = len(followers)
        async with socket(api, "watch=1&resourceVersion=1") as messages:
            await messages.send_str("is anybody there?")
            await messages.ping()
            async with asyncio.timeout(5):
                while len(followers) == before:
                    await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while len(followers) != before:
                await asyncio.sleep(0)


async def test_a_stopped_server_ends_its_watches():
    async with running_api(timings=Timings(shutdown_grace=0.2)) as api:
        messages = await socket(api, "watch=1&resourceVersion=1")
    message = await messages.receive(timeout=5)
    assert message.type in (
        aiohttp.WSMsgType.CLOSE,
        aiohttp.WSMsgType.CLOSED,
        aiohttp.WSMsgType.ERROR,
    )


@pytest.mark.parametrize(
    ("query", "code"), [("watch=1&resourceVersion=x", 400), ("watch=1&labelSelector=%3D", 400)]
)
async def test_a_bad_watch_is_refused_before_the_upgrade(api, query, code):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
        await socket(api, query)
    assert refusal.value.status == code


async def test_a_browser_sends_its_token_as_a_protocol():
    user = User("alice", groups=("system:masters",))
    async with running_api(tokens={"secret-token": user}) as api:
        await api.request("POST", PATH, {"metadata": {"name": "there"}})
        token = base64.urlsafe_b64encode(b"secret-token").decode().rstrip("=")
        protocols = [f"base64url.bearer.authorization.k8s.io.{token}", "base64.binary.k8s.io"]
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"{api.url}{PATH}?watch=1", protocols=protocols, ssl=False
            ) as messages,
        ):
            assert messages.protocol == "base64.binary.k8s.io"
            assert (await event(messages))["type"] == "ADDED"


SIZES = {0: 2, 125: 2, 126: 4, 65_535: 4, 65_536: 10}


@pytest.mark.parametrize(("size", "header"), SIZES.items())
def test_a_frame_says_how_long_it_is(size, header):
    frame = text_frame(b"x" * size)
    assert (frame[0], len(frame)) == (0x81, header + size)
