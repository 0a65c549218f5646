"""The proxy against our API server and a real table: it follows, adopts, recovers and answers health."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.apiserver import RunningApi, running_api
from tests.support.netns import Netns, namespaces
from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import Object
from todoku.client import Client, ClientConfig, InformerFactory
from todoku.linux.nftables import Element, Nft
from todoku.proxy import FrontendKey, Kernel, NodeView, Proxy, ProxyConfig, frontends, rules

pytestmark = pytest.mark.kernel

NODE = NodeView("n1", addresses=("192.168.11.132",))
KUBERNETES = socket.inet_aton("10.96.0.1")
PORTS = ({"port": 8080, "name": "http", "nodePort": 30080, "targetPort": 80},)


@dataclass
class Running:
    api: RunningApi
    client: Client
    netns: Netns

    @asynccontextmanager
    async def proxy(self, kernel: Kernel | None = None, **settings: Any) -> AsyncIterator[Proxy]:
        config = ProxyConfig(
            "n1", health_host="127.0.0.1", **{"health_port": 0, "metrics_port": 0, **settings}
        )
        own = kernel or Kernel(self.netns.fd)
        informers = InformerFactory(self.client)
        proxy = Proxy(informers, config, own)
        tasks = [asyncio.create_task(informers.run()), asyncio.create_task(proxy.run())]
        try:
            yield proxy
        finally:
            for task in tasks:
                task.cancel()
            for task in tasks:
                with suppress(asyncio.CancelledError):
                    await task
            own.close()

    async def create(self, *objects: Object) -> None:
        resources = {"Service": "services", "EndpointSlice": "endpointslices.discovery.k8s.io"}
        for obj in objects:
            await self.client.create(resources.get(obj["kind"], "nodes"), obj)

    async def change(
        self, resource: str, name: str, namespace: str = "", *, subresource: str = "", **fields: Any
    ) -> None:
        """Replace top-level fields of a stored object."""
        present = await self.client.get(resource, name, namespace)
        await self.client.update(resource, present | fields, subresource=subresource)

    def holds(self) -> set[Element]:
        """Every element of the table, but for those of the API server's own Service."""
        if rules.TABLE not in Nft(self.netns.fd).show("tables"):
            return set()
        with Kernel(self.netns.fd) as kernel:
            return {e for e in kernel.dump() if not e.key.startswith(KUBERNETES)}


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    with namespaces("n1") as (netns,):
        async with (
            running_api() as api,
            Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
        ):
            node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}}
            await client.create("nodes", node)
            running = Running(api, client, netns)
            await running.change(
                "nodes", "n1", subresource="status", status=address("192.168.11.132")
            )
            yield running


def address(text: str) -> Object:
    return {"addresses": [{"type": "InternalIP", "address": text}]}


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def web(**spec: Any) -> Object:
    made = service(ports=PORTS, type="NodePort", cluster_ip="10.96.0.20", **spec)
    del made["status"]
    return made


ENDS = slice_of(endpoint("10.244.1.2"), endpoint("10.244.2.2", "n2"))


def expected(*ends: Object) -> set[Element]:
    made = frontends(web(), [slice_of(*ends)], NODE)
    held = {element for frontend in made for element in rules.elements(frontend)}
    return held | {element for frontend in made for element in rules.hairpins(frontend, "n1")}


async def test_the_table_follows_services_and_endpoints(running: Running) -> None:
    async with running.proxy() as proxy:
        await running.create(web(), ENDS)
        await until(lambda: running.holds() == expected(*ENDS["endpoints"]))
        assert proxy.explain(FrontendKey("10.96.0.20", "TCP", 8080)) is not None

        more = {"endpoints": [*ENDS["endpoints"], endpoint("10.244.1.3")]}
        await running.change("endpointslices.discovery.k8s.io", "web-abcde", "default", **more)
        await until(lambda: running.holds() == expected(*more["endpoints"]))

        await running.client.delete("services", "web", "default")
        await until(lambda: running.holds() == set())


async def test_a_restarted_proxy_adopts_the_table_and_sends_only_differences(
    running: Running,
) -> None:
    await running.create(web(), ENDS, web_of("gone", "10.96.0.21"))
    async with running.proxy() as proxy:
        await until(lambda: proxy.explain(FrontendKey("10.96.0.21", "TCP", 80)) is not None)
        before = running.holds()
    await running.client.delete("services", "gone", "default")
    kernel = Watched(running.netns)
    async with running.proxy(kernel):
        await until(lambda: running.holds() == expected(*ENDS["endpoints"]))
    assert before > expected(*ENDS["endpoints"])
    assert not kernel.added, "nothing that was there is written again"


class Watched(Kernel):
    """A kernel that remembers which elements were added through it."""

    def __init__(self, netns: Netns) -> None:
        super().__init__(netns.fd)
        self.added: list[Element] = []

    def _carry_out(self, plan: Any) -> None:
        self.added += plan.add
        super()._carry_out(plan)


def web_of(name: str, address: str) -> Object:
    made = service(name, cluster_ip=address, ports=({"port": 80, "name": "http"},))
    del made["status"]
    return made


async def test_a_table_that_somebody_emptied_is_repaired_with_the_next_change(
    running: Running,
) -> None:
    await running.create(web(), ENDS)
    async with running.proxy():
        await until(lambda: running.holds() == expected(*ENDS["endpoints"]))
        Nft(running.netns.fd).apply(rules.load())
        await running.client.delete("endpointslices.discovery.k8s.io", "web-abcde", "default")
        await until(lambda: running.holds() == expected())


async def test_node_ports_follow_the_nodes_address(running: Running) -> None:
    await running.create(web(), ENDS)
    async with running.proxy() as proxy:
        await until(lambda: proxy.explain(FrontendKey("192.168.11.132", "TCP", 30080)) is not None)
        await running.change("nodes", "n1", subresource="status", status=address("192.168.11.99"))
        await until(lambda: proxy.explain(FrontendKey("192.168.11.99", "TCP", 30080)) is not None)
        assert proxy.explain(FrontendKey("192.168.11.132", "TCP", 30080)) is None


async def test_a_new_service_range_is_programmed_at_once(running: Running) -> None:
    async with running.proxy() as proxy:
        await until(lambda: proxy.healthy)
        cidr = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "ServiceCIDR",
            "metadata": {"name": "more"},
            "spec": {"cidrs": ["10.200.0.0/24"]},
        }
        await running.client.create("servicecidrs.networking.k8s.io", cidr)
        await until(lambda: "10.200.0.0/24" in Nft(running.netns.fd).show())


async def test_more_endpoints_than_prepared_chains(running: Running) -> None:
    many = [endpoint(f"10.244.1.{number}") for number in range(2, 12)]
    await running.create(web(), slice_of(*many))
    async with running.proxy():
        await until(lambda: running.holds() == expected(*many))
    assert "pick-10" in Nft(running.netns.fd).chains("ip", rules.TABLE)


async def http(port: int, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    data = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    return int(data.split(" ")[1]), data.partition("\r\n\r\n")[2]


async def test_health_of_the_proxy_and_its_metrics(
    running: Running, free_port: Callable[[], int]
) -> None:
    health, metrics = free_port(), free_port()
    await running.create(web(), ENDS)
    async with running.proxy(health_port=health, metrics_port=metrics) as proxy:
        await until(lambda: proxy.healthy)
        await asyncio.sleep(0)
        assert (await http(health, "/healthz"))[0] == 200
        assert (await http(health, "/livez"))[0] == 200
        assert (await http(health, "/nothing"))[0] == 404
        taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
        await running.change("nodes", "n1", spec={"taints": [taint]})
        async with asyncio.timeout(5):
            while (await http(health, "/healthz"))[0] != 503:
                await asyncio.sleep(0.005)
        assert (await http(health, "/livez"))[0] == 200
        code, text = await http(metrics, "/metrics")
        assert code == 200
        assert "kubeproxy_sync_proxy_rules_duration_seconds_count" in text
        assert 'kubeproxy_proxy_healthz_total{code="503"}' in text
        assert await http(metrics, "/proxyMode") == (200, "nftables")


async def test_a_health_check_node_port_follows_local_ready_endpoints(
    running: Running, free_port: Callable[[], int]
) -> None:
    made = web(externalTrafficPolicy="Local")
    made["spec"]["type"] = "LoadBalancer"
    await running.create(made, ENDS)
    stored = await running.client.get("services", "web", "default")
    port = stored["spec"]["healthCheckNodePort"]
    async with running.proxy() as proxy:
        await until(lambda: proxy.healthy)
        assert await until_code(port, 200) == (
            '{"service": {"namespace": "default", "name": "web"}, "localEndpoints": 1, '
            '"serviceProxyHealthy": true}'
        )
        gone = {"endpoints": [endpoint("10.244.2.2", "n2")]}
        await running.change("endpointslices.discovery.k8s.io", "web-abcde", "default", **gone)
        assert '"localEndpoints": 0' in await until_code(port, 503)


async def until_code(port: int, code: int) -> str:
    async with asyncio.timeout(5):
        while True:
            with suppress(ConnectionRefusedError):
                found, body = await http(port, "/")
                if found == code:
                    return body
            await asyncio.sleep(0.005)
