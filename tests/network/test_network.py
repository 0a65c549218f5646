"""Two node agents' pod networks against our API server, each with its node's own identity."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.apiserver import RunningApi, running_api
from tests.support.netns import Netns, Server, ask, connect, namespaces
from todoku.api.meta import Object
from todoku.api.podnetwork import HostPort, PodRef
from todoku.client import Client, ClientConfig, InformerFactory
from todoku.network import NetworkConfig, PodNetwork, Wiring

pytestmark = pytest.mark.kernel


@dataclass
class Lab:
    api: RunningApi
    admin: Client
    nodes: dict[str, Netns]
    pods: list[Netns]
    folder: Path

    async def create_pod(self, name: str, *ports: HostPort) -> PodRef:
        """A pod that the API server knows, bound to n1."""
        account = {"metadata": {"name": "default", "namespace": "default"}}
        await self.admin.create("serviceaccounts", account)
        container = {"name": "c", "image": "none"}
        made = await self.admin.create(
            "pods",
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {"nodeName": "n1", "containers": [container]},
            },
        )
        return PodRef("default", name, made["metadata"]["uid"], ports)

    @asynccontextmanager
    async def agent(self, name: str) -> AsyncIterator[PodNetwork]:
        """The pod network of one node, as that node."""
        user = self.api.kubeconfig_for(f"system:node:{name}", "system:nodes")
        wiring = Wiring(self.nodes[name].fd)
        async with Client(ClientConfig.from_kubeconfig(user)) as client:
            informers = InformerFactory(client)
            config = NetworkConfig(name, f"192.168.60.13{name[-1]}", self.folder / name)
            network = PodNetwork(client, informers, config, wiring)
            tasks = [asyncio.create_task(informers.run()), asyncio.create_task(network.run())]
            try:
                yield network
            finally:
                for task in tasks:
                    task.cancel()
                for task in tasks:
                    with suppress(asyncio.CancelledError):
                        await task
                wiring.close()


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    with namespaces("n1", "n2", "a", "b") as (n1, n2, *pods):
        connect(n1, n2, a_name="eth0", b_name="eth0")
        for number, node in enumerate((n1, n2), 1):
            node.ip(f"address add 192.168.60.13{number}/24 dev eth0")
        async with (
            running_api() as api,
            Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as admin,
        ):
            lab = Lab(api, admin, {"n1": n1, "n2": n2}, pods, tmp_path)
            for name in lab.nodes:
                await admin.create("nodes", node_object(name, f"10.244.{name[-1]}.0/24"))
            yield lab


def node_object(name: str, cidr: str = "") -> Object:
    spec = {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def pod(name: str, *ports: HostPort) -> PodRef:
    return PodRef("default", name, f"uid-{name}", ports)


async def call(function: Callable[..., str], *arguments: object) -> str:
    return await asyncio.to_thread(function, *arguments)


async def test_pods_of_two_nodes_reach_each_other(lab: Lab) -> None:
    async with lab.agent("n1") as one, lab.agent("n2") as other:
        a = await one.attach(pod("a"), lab.pods[0].path)
        b = await other.attach(pod("b"), lab.pods[1].path)
        assert (a.ips, b.ips) == (("10.244.1.2",), ("10.244.2.2",))
        await until(lambda: "10.244.2.0/24" in lab.nodes["n1"].run("ip", "route"))
        await until(lambda: "10.244.1.0/24" in lab.nodes["n2"].run("ip", "route"))
        with Server(lab.pods[1], "b", 80):
            assert await call(ask, lab.pods[0], "10.244.2.2", 80) == "b 10.244.1.2"


async def test_a_node_announces_itself_like_flannel(lab: Lab) -> None:
    async with lab.agent("n1") as network:
        await until(lambda: network.ready)
        async with asyncio.timeout(5):
            while not _condition(node := await lab.admin.get("nodes", "n1")):
                await asyncio.sleep(0.005)
    annotations = node["metadata"]["annotations"]
    assert annotations["flannel.alpha.coreos.com/public-ip"] == "192.168.60.131"
    condition = _condition(node)
    assert condition is not None
    assert (condition["status"], condition["reason"]) == ("False", "FlannelIsUp")


def _condition(node: Object) -> Object | None:
    conditions = node.get("status", {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == "NetworkUnavailable"), None)


async def test_attach_waits_until_the_node_has_a_range(lab: Lab) -> None:
    lab.nodes["n3"] = lab.nodes["n1"]
    await lab.admin.create("nodes", node_object("n3"))
    async with lab.agent("n3") as network:
        waiting = asyncio.create_task(network.attach(pod("a"), lab.pods[0].path))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        node = await lab.admin.get("nodes", "n3")
        node["spec"] = {"podCIDR": "10.244.3.0/24", "podCIDRs": ["10.244.3.0/24"]}
        await lab.admin.update("nodes", node)
        async with asyncio.timeout(5):
            assert (await waiting).ips == ("10.244.3.2",)


async def test_detach_is_repeatable_and_frees_the_address(lab: Lab) -> None:
    async with lab.agent("n1") as network:
        await network.attach(pod("a"), lab.pods[0].path)
        for _ in range(2):
            await network.detach(pod("a"), lab.pods[0].path)
        assert network.find("uid-a") is None
        assert "veth" not in lab.nodes["n1"].run("ip", "link")
        await network.detach(pod("never-there"), "/nonexistent")


async def test_a_restarted_agent_keeps_pods_addresses_and_host_ports(lab: Lab) -> None:
    ref = await lab.create_pod("a", HostPort("TCP", 8081, 80))
    async with lab.agent("n1") as network:
        before = await network.attach(ref, lab.pods[0].path)
    link = lab.nodes["n1"].run("ip", "-o", "link")
    async with lab.agent("n1") as network:
        assert await network.attach(ref, lab.pods[0].path) == before
        assert lab.nodes["n1"].run("ip", "-o", "link") == link
        with Server(lab.pods[0], "a", 80):
            answer = await call(ask, lab.nodes["n2"], "192.168.60.131", 8081)
    assert answer.startswith("a ")


async def test_a_restarted_agent_releases_what_deleted_pods_held(lab: Lab) -> None:
    """A node that lost power never heard that they were deleted."""
    async with lab.agent("n1") as network:
        await network.attach(pod("deleted-meanwhile"), lab.pods[0].path)
    async with lab.agent("n1") as network:
        await until(lambda: network.ready)
        assert network.find("uid-deleted-meanwhile") is None
    assert "veth" not in lab.nodes["n1"].run("ip", "link")


async def test_a_node_that_leaves_is_forgotten(lab: Lab) -> None:
    async with lab.agent("n1") as one:
        async with lab.agent("n2") as other:
            await until(lambda: one.ready and other.ready)
            await until(lambda: "10.244.2.0/24" in lab.nodes["n1"].run("ip", "route"))
        await lab.admin.delete("nodes", "n2")
        await until(lambda: "10.244.2.0/24" not in lab.nodes["n1"].run("ip", "route"))


@pytest.mark.parametrize("device", ["flannel.1", "cni0"])
async def test_a_device_that_somebody_deletes_comes_back(lab: Lab, device: str) -> None:
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(lab.agent("n1"))
        other = await stack.enter_async_context(lab.agent("n2"))
        await one.attach(pod("a"), lab.pods[0].path)
        await other.attach(pod("b"), lab.pods[1].path)
        lab.nodes["n1"].ip(f"link delete {device}")
        with Server(lab.pods[1], "b", 80):
            async with asyncio.timeout(5):
                while await call(ask, lab.pods[0], "10.244.2.2", 80) != "b 10.244.1.2":
                    await asyncio.sleep(0.02)


async def test_pods_that_are_gone_are_pruned(lab: Lab) -> None:
    async with lab.agent("n1") as network:
        await network.attach(pod("a"), lab.pods[0].path)
        await network.attach(pod("b"), lab.pods[1].path)
        (gone,) = await network.prune(frozenset({"uid-a"}))
        assert gone.uid == "uid-b"
        assert network.find("uid-a") is not None
