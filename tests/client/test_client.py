"""Requests against a small TLS server."""

from __future__ import annotations

import asyncio
import json

import pytest

from todoku.api import errors
from todoku.client import Client, ClientConfig, Unreachable


def status(code: int, reason: str, message: str = "no") -> bytes:
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return json.dumps(body).encode()


async def test_requests_show_the_client_certificate(api, client):
    await client.list("configmaps", "default")
    assert api.requests[0].peer == "tester"
    assert api.requests[0].path == "/api/v1/namespaces/default/configmaps"


async def test_listed_items_carry_their_kind(api, client):
    api.put("a", x="1")
    listed = await client.list("configmaps")
    assert [(one["kind"], one["apiVersion"]) for one in listed.items] == [("ConfigMap", "v1")]
    assert listed.resource_version == "11"


async def test_connections_are_kept_for_the_next_request(api, client):
    for _ in range(5):
        await client.list("configmaps")
    assert api.connections == 1


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced_silently(api, client):
    await client.list("configmaps")
    await api.stop()
    await api.start()
    await client.create("configmaps", {"metadata": {"name": "a", "namespace": "default"}})
    assert api.requests[-1].method == "POST"


async def test_no_server_is_unreachable_not_a_refusal(api, client):
    await api.stop()
    with pytest.raises(Unreachable) as caught:
        await client.get("configmaps", "a", "default")
    assert not caught.value.sent
    await api.start()


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (422, "Invalid", errors.Invalid),
        (403, "Forbidden", errors.Forbidden),
        (410, "Expired", errors.Expired),
    ],
)
async def test_refusals_become_their_exceptions(api, client, code, reason, kind):
    api.answers.append((code, {}, status(code, reason, "why not")))
    with pytest.raises(kind, match="why not"):
        await client.get("configmaps", "a", "default")


async def test_an_error_without_a_status_keeps_its_code_and_text(api, client):
    api.answers.append((502, {}, b"bad gateway"))
    with pytest.raises(errors.ApiError, match="bad gateway") as caught:
        await client.get("configmaps", "a", "default")
    assert caught.value.code == 502


async def test_a_busy_server_is_asked_again_after_the_time_it_names(api, client):
    api.answers.append((429, {"Retry-After": "0"}, status(429, "TooManyRequests")))
    await client.list("configmaps")
    assert len(api.requests) == 2


async def test_a_refusal_without_retry_after_is_final(api, client):
    api.answers.append((429, {}, status(429, "TooManyRequests")))
    with pytest.raises(errors.TooManyRequests):
        await client.create(
            "pods", {"metadata": {"name": "a", "namespace": "b"}}, subresource="eviction"
        )
    assert api.requests[0].path == "/api/v1/namespaces/b/pods/a/eviction"


async def test_patches_send_their_content_type(api, client):
    await client.patch(
        "deployments.apps",
        "web",
        "default",
        {"spec": {}},
        kind="apply",
        field_manager="me",
        force=True,
    )
    sent = api.requests[0]
    assert sent.headers["content-type"] == "application/apply-patch+yaml"
    assert sent.query == {"fieldManager": "me", "force": "true"}
    assert sent.path == "/apis/apps/v1/namespaces/default/deployments/web"


async def test_deleting_one_very_object_sends_preconditions(api, client):
    await client.delete(
        "pods", "a", "default", uid="u1", grace_period_seconds=0, propagation="Foreground"
    )
    assert api.requests[0].body == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u1"},
    }


async def test_custom_resources_are_found_by_discovery(api, client):
    resources = [
        {
            "resource": "pools",
            "scope": "Namespaced",
            "responseKind": {"kind": "Pool"},
            "verbs": ["get"],
        }
    ]
    versions = [{"version": "v1beta1", "resources": resources}]
    found = {"items": [{"metadata": {"name": "example.com"}, "versions": versions}]}
    api.answers += [(200, {}, b'{"items":[]}'), (200, {}, json.dumps(found).encode())]
    await client.create("pools.example.com", {"metadata": {"name": "a", "namespace": "n"}})
    assert api.requests[-1].path == "/apis/example.com/v1beta1/namespaces/n/pools"
    assert api.requests[-1].body["kind"] == "Pool"


async def test_an_unknown_resource_is_not_found(api, client):
    api.answers += [(200, {}, b'{"items":[]}')] * 2
    with pytest.raises(errors.NotFound, match=r"things\.example\.com"):
        await client.list("things.example.com")


async def test_a_server_that_never_answers_is_given_up(api, authority):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Client(
        ClientConfig(server=f"http://127.0.0.1:{port}", timeout_seconds=0.05)
    ) as slow:
        with pytest.raises(Unreachable, match="did not answer"):
            await slow.list("configmaps")
    server.close()
    await server.wait_closed()


async def test_a_watch_goes_on_after_the_server_restarted(api, client):
    seen: list[str] = []

    async def follow() -> None:
        async for event in client.watch("configmaps", resource_version="10"):
            seen.append(f"{event.type} {event.object['metadata']['name']}")
            if len(seen) == 2:
                return

    following = asyncio.create_task(follow())
    api.put("a")
    while not seen:
        await asyncio.sleep(0.01)
    await api.stop()
    api.put("b")
    await api.start()
    await asyncio.wait_for(following, 5)
    assert seen == ["ADDED a", "ADDED b"]


async def test_a_watch_from_a_compacted_revision_is_expired(api, client):
    api.put("a")
    api.compact()
    with pytest.raises(errors.Expired):
        async for _ in client.watch("configmaps", resource_version="1"):
            pass
