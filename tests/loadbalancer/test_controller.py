"""The controller beside a real API server, under exactly the rights that its manifest gives it."""

import asyncio
import base64

import aiohttp
import pytest

from tests.loadbalancer.cluster import NAMESPACE, eventually, running_cluster
from todoku.api import errors
from todoku.api.meta import copy
from todoku.loadbalancer.trust import CONVERTED, DEFINITIONS, WEBHOOK_NAME, WEBHOOKS


@pytest.fixture
async def cluster(tmp_path, monkeypatch):
    async with running_cluster(tmp_path, monkeypatch) as running:
        yield running


async def has(cluster, name, *addresses):
    await eventually(lambda: _equal(cluster.addresses(name), list(addresses)))


async def _equal(awaited, wanted):
    return await awaited == wanted


async def test_a_service_gets_the_first_address_and_its_annotation_and_event(cluster):
    async with cluster.controller():
        await cluster.pool("first-pool", "192.168.11.136-192.168.11.139")
        await cluster.service("web")
        await has(cluster, "web", "192.168.11.136")
        service = await cluster.admin.get("services", "web", "default")
        assert (
            service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"] == "first-pool"
        )
        await eventually(lambda: cluster.reasons("web"))
        assert await cluster.reasons("web") == ["IPAllocated"]


async def test_a_converged_service_is_left_alone(cluster):
    async with cluster.controller():
        await cluster.pool("p", "10.0.0.0/24")
        await cluster.service("web")
        await has(cluster, "web", "10.0.0.0")
        before = await cluster.admin.get("services", "web", "default")
        await cluster.pool("other", "10.1.0.0/24")
        await asyncio.sleep(0.3)
        after = await cluster.admin.get("services", "web", "default")
        assert before["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]


async def test_who_waits_gets_the_address_that_another_gives_up(cluster):
    async with cluster.controller():
        await cluster.pool("p", "10.0.0.1/32")
        await cluster.service("first")
        await has(cluster, "first", "10.0.0.1")
        await cluster.service("second")
        await eventually(lambda: cluster.reasons("second"))
        assert await cluster.reasons("second") == ["AllocationFailed"]
        assert await cluster.addresses("second") == []
        await cluster.admin.delete("services", "first", "default")
        await has(cluster, "second", "10.0.0.1")


async def test_a_service_that_turns_cluster_ip_gives_its_address_up(cluster):
    async with cluster.controller():
        await cluster.pool("p", "10.0.0.1/32")
        await cluster.service("first")
        await has(cluster, "first", "10.0.0.1")
        await cluster.service("second")
        await cluster.admin.patch("services", "first", "default", {"spec": {"type": "ClusterIP"}})
        await has(cluster, "second", "10.0.0.1")
        await has(cluster, "first")
        service = await cluster.admin.get("services", "first", "default")
        assert "metallb.io/ip-allocated-from-pool" not in (
            service["metadata"].get("annotations") or {}
        )


async def test_addresses_survive_restarts_while_others_wait(cluster):
    async with cluster.controller():
        await cluster.pool("p", "10.0.0.1-10.0.0.2")
        for name in ("b", "a"):
            await cluster.service(name)
            await eventually(lambda name=name: cluster.addresses(name))
        await cluster.service("waiting")
    held = {name: await cluster.addresses(name) for name in ("a", "b")}
    for _ in range(3):
        async with cluster.controller():
            await asyncio.sleep(0.4)
        assert {name: await cluster.addresses(name) for name in ("a", "b")} == held
    assert await cluster.addresses("waiting") == []


async def test_without_pools_every_address_is_taken_back(cluster):
    async with cluster.controller():
        await cluster.pool("one", "10.0.0.1/32")
        await cluster.service("web")
        await has(cluster, "web", "10.0.0.1")
        await cluster.pool("two", "10.9.0.0/24")
        await cluster.admin.delete("ipaddresspools.metallb.io", "one", NAMESPACE)
        await has(cluster, "web", "10.9.0.0")
        await cluster.admin.delete("ipaddresspools.metallb.io", "two", NAMESPACE)
        await has(cluster, "web")


async def test_a_pool_for_labelled_namespaces_follows_the_labels(cluster):
    async with cluster.controller():
        await cluster.pool("common", "10.0.0.0/24")
        selectors = [{"matchLabels": {"team": "red"}}]
        await cluster.pool(
            "red", "10.1.0.0/24", serviceAllocation={"namespaceSelectors": selectors}
        )
        await cluster.service("before")
        await has(cluster, "before", "10.0.0.0")
        body = {"metadata": {"labels": {"team": "red"}}}
        await cluster.admin.patch("namespaces", "default", "", body)
        await asyncio.sleep(0.2)
        await cluster.service("after")
        await has(cluster, "after", "10.1.0.0")


async def test_the_memberlist_secret_is_made_once_and_owned_by_the_deployment(cluster):
    async def secret():
        listed = await cluster.admin.list("secrets", NAMESPACE, fields="metadata.name=memberlist")
        return listed.items[0] if listed.items else None

    async with cluster.controller():
        first = await eventually(secret)
    key = base64.b64decode(first["data"]["secretkey"])
    assert len(key) == 22
    (owner,) = first["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Deployment", "controller")
    async with cluster.controller():
        await asyncio.sleep(0.2)
    assert (await secret())["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def bundles(cluster):
    webhooks = await cluster.admin.get(WEBHOOKS, WEBHOOK_NAME)
    definition = await cluster.admin.get(DEFINITIONS, CONVERTED)
    found = [one["clientConfig"].get("caBundle") for one in webhooks["webhooks"]]
    return [*found, definition["spec"]["conversion"]["webhook"]["clientConfig"].get("caBundle")]


async def trusted(cluster):
    found = await bundles(cluster)
    return found[0] if all(found) and len(set(found)) == 1 else None


@pytest.fixture
async def guarded(tmp_path, monkeypatch, unused_tcp_port_factory):
    """A cluster whose API server calls the running controller's webhooks; the kubelet's part is played."""
    webhook_port, metrics_port = unused_tcp_port_factory(), unused_tcp_port_factory()
    async with running_cluster(tmp_path, monkeypatch, webhooks=True) as running:
        kubelet = asyncio.create_task(running.copy_secret())
        try:
            async with running.controller(webhook_port=webhook_port, port=metrics_port):
                await eventually(lambda: trusted(running))
                await running.route_webhooks(webhook_port)
                await eventually(lambda: _listens(webhook_port))
                yield running, metrics_port
        finally:
            kubelet.cancel()
            await asyncio.gather(kubelet, return_exceptions=True)


async def _listens(port):
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def test_the_api_server_asks_the_webhooks_and_passes_their_refusal_on(guarded):
    cluster, _ = guarded
    await cluster.pool("old", "10.0.0.0/24")
    with pytest.raises(errors.ApiError) as refusal:
        await cluster.pool("new", "10.0.0.9/32")
    assert refusal.value.message == (
        'admission webhook "ipaddresspoolvalidationwebhook.metallb.io" denied the request: '
        'CIDR "10.0.0.9/32" in pool "new" overlaps with already defined CIDR "10.0.0.0/24"'
    )
    assert refusal.value.code == 403


async def test_peers_are_converted_between_their_versions(guarded):
    cluster, _ = guarded
    spec = {"myASN": 64512, "peerASN": 64513, "peerAddress": "10.0.0.1"}
    metadata = {"name": "router", "namespace": NAMESPACE}
    older = {
        "apiVersion": "metallb.io/v1beta1",
        "kind": "BGPPeer",
        "metadata": metadata,
        "spec": spec,
    }
    path = f"/apis/metallb.io/{{}}/namespaces/{NAMESPACE}/bgppeers"
    status, _ = await cluster.api.request("POST", path.format("v1beta1"), older)
    assert status == 201
    status, newer = await cluster.api.request("GET", path.format("v1beta2") + "/router")
    assert status == 200
    times = {"holdTime": "0s", "keepaliveTime": "0s"}
    assert newer["spec"] == spec | times | {"peerPort": 179, "disableMP": False}


async def test_applying_the_manifest_again_heals_the_trust(guarded):
    cluster, _ = guarded
    before = await trusted(cluster)
    webhooks = copy(await cluster.admin.get(WEBHOOKS, WEBHOOK_NAME))
    for one in webhooks["webhooks"]:
        one["clientConfig"].pop("caBundle")
    await cluster.admin.update(WEBHOOKS, webhooks)
    assert await eventually(lambda: trusted(cluster)) == before


async def test_metrics_tell_of_pools_and_configuration(guarded):
    cluster, port = guarded
    await cluster.pool("p", "10.0.0.0/24", "fc00::/126")
    await cluster.service("web")
    await has(cluster, "web", "10.0.0.0")
    text = await _metrics(port)
    for line in (
        'metallb_allocator_addresses_total{pool="p"} 260',
        'metallb_allocator_addresses_in_use_total{pool="p"} 1',
        'metallb_allocator_ipv4_addresses_total{pool="p"} 256',
        'metallb_allocator_ipv6_addresses_in_use_total{pool="p"} 0',
        "metallb_k8s_client_config_loaded_bool 1",
        "metallb_k8s_client_config_stale_bool 0",
    ):
        assert line in text.splitlines()


async def _metrics(port):
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        return await answer.text()
