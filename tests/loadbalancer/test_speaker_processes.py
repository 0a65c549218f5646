"""The real speaker program on two nodes of a LAN, with a real API server and only the manifest's rights."""

import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.loadbalancer.cluster import NAMESPACE, eventually, running_cluster
from tests.loadbalancer.lan import ADDRESS, lan
from todoku.loadbalancer.election import winner

pytestmark = pytest.mark.kernel

NODES = {"n1": "192.168.11.131", "n2": "192.168.11.132"}


class Town:
    """Speakers by node, the winner of ADDRESS first; the host that asks; the cluster's admin."""

    def __init__(self, cluster, host, nodes):
        self.cluster, self.host, self.nodes = cluster, host, nodes
        self.first = winner(NODES, str(ADDRESS))
        self.second = next(name for name in NODES if name != self.first)
        self.processes = {}
        self.macs = {}

    async def start(self, name, kubeconfig, secret):
        environment = os.environ | {
            "METALLB_NODE_NAME": name,
            "METALLB_POD_NAME": f"speaker-{name}",
            "METALLB_HOST": NODES[name],
            "METALLB_ML_BIND_ADDR": NODES[name],
            "METALLB_ML_LABELS": "app=metallb,component=speaker",
            "METALLB_ML_SECRET_KEY_PATH": str(secret),
        }
        with open(secret.parent / f"{name}.log", "wb") as log:
            self.processes[name] = await asyncio.create_subprocess_exec(
                "nsenter", f"--net={self.nodes[name].path}", "--",
                sys.executable, "-m", "todoku.loadbalancer", "speaker", "--port=7472",
                f"--kubeconfig={kubeconfig}", f"--namespace={NAMESPACE}", "--log-level=debug",
                env=environment, stderr=log,
            )  # fmt: skip

    async def answered(self, name, *, limit=15.0):
        """Seconds until that node answers for ADDRESS."""
        return await asyncio.to_thread(self.host.until_answered, self.macs[name], limit=limit)

    async def asked(self, wait=0.05):
        return await asyncio.to_thread(lambda: self.host.answers(wait=wait))

    async def statuses(self):
        listed = await self.cluster.admin.list("servicel2statuses.metallb.io", NAMESPACE)
        return [one.get("status", {}).get("node") for one in listed.items]


@pytest.fixture
async def town(tmp_path, monkeypatch):
    async with AsyncExitStack() as stack:
        nodes, host = stack.enter_context(lan(*NODES))
        cluster = await stack.enter_async_context(running_cluster(tmp_path, monkeypatch))
        made = Town(cluster, host, nodes)
        await _fill(cluster)
        secret = tmp_path / "memberlist"
        secret.mkdir()
        (secret / "secretkey").write_text("0123456789abcdefghijkl")
        port = int(cluster.api.url.rpartition(":")[2])
        kubeconfig = _kubeconfig(cluster)
        try:
            for name, where in nodes.items():
                # each node reaches the API through a relay of its own, as through a cable of its own
                await stack.enter_async_context(_relay(where, port))
                text = where.run("ip", "-o", "link", "show", "eth0")
                made.macs[name] = bytes.fromhex(
                    text.split("link/ether ")[1].split()[0].replace(":", "")
                )
                await made.start(name, kubeconfig, secret)
            yield made
        finally:
            for process in made.processes.values():
                if process.returncode is None:
                    process.kill()
                await process.wait()


async def _fill(cluster):
    """Nodes, speaker pods, a pool, an advertisement, a Service with its address and endpoints."""
    admin = cluster.admin
    for name, address in NODES.items():
        await admin.create("nodes", {"metadata": {"name": name}})
        labels = {"app": "metallb", "component": "speaker"}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"speaker-{name}", "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "serviceAccountName": "speaker",
                "nodeName": name,
                "containers": [{"name": "speaker", "image": "x"}],
            },
        }
        made = await admin.create("pods", pod)
        status = {"podIP": address, "podIPs": [{"ip": address}], "phase": "Running"}
        await admin.update("pods", made | {"status": status}, subresource="status")
    await cluster.pool("first-pool", "192.168.11.136-192.168.11.139")
    await cluster.custom(
        "L2Advertisement", "l2advertisements", "default", ipAddressPools=["first-pool"]
    )
    service = await cluster.service("web")
    service["status"] = {"loadBalancer": {"ingress": [{"ip": str(ADDRESS)}]}}
    await admin.update("services", service, subresource="status")
    await admin.create(
        "endpointslices.discovery.k8s.io",
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "endpoints": [
                {"addresses": [f"10.244.{i}.2"], "nodeName": name, "conditions": {"ready": True}}
                for i, name in enumerate(NODES)
            ],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    )


def _kubeconfig(cluster):
    """The speaker's kubeconfig, for the relay in its namespace."""
    user = f"system:serviceaccount:{NAMESPACE}:speaker"
    groups = (
        "system:serviceaccounts",
        f"system:serviceaccounts:{NAMESPACE}",
        "system:authenticated",
    )
    return cluster.api.kubeconfig_for(user, *groups)


@asynccontextmanager
async def _relay(where, port):
    """127.0.0.1:port inside a namespace leads to the same address outside."""

    async def carry(reader, writer):
        try:
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    talks = set()

    async def connected(reader, writer):
        talks.add(asyncio.current_task())
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer))

    sock = where.socket()
    sock.bind(("127.0.0.1", port))
    sock.setblocking(False)
    server = await asyncio.start_server(connected, sock=sock)
    try:
        yield
    finally:
        server.close()
        await asyncio.wait_for(asyncio.gather(*talks), 5)  # the speakers are gone, so they end


async def test_the_winner_announces_and_says_so(town):
    await town.answered(town.first)
    assert await town.asked() == [town.macs[town.first]]
    await eventually(lambda: _is(town.statuses(), [town.first]))
    await eventually(lambda: town.cluster.reasons("web"))
    assert await town.cluster.reasons("web") == ["nodeAssigned"]


async def _is(awaited, wanted):
    return await awaited == wanted


async def test_a_cut_node_s_address_is_taken_over_and_its_status_removed(town):
    await town.answered(town.first)
    await asyncio.sleep(1)
    town.nodes[town.first].ip("link set eth0 down")
    start = time.monotonic()
    await town.answered(town.second)
    print(f"failover of the real speaker after a cut: {(time.monotonic() - start) * 1000:.0f} ms")
    town.processes[town.first].kill()
    await eventually(lambda: _is(town.statuses(), [town.second]))


async def test_sigterm_hands_the_address_over_at_once_and_ends_cleanly(town):
    await town.answered(town.first)
    await asyncio.sleep(1)
    process = town.processes[town.first]
    process.terminate()
    took = await town.answered(town.second)
    assert took < 0.5
    async with asyncio.timeout(2):
        assert await process.wait() == 0


async def test_the_exclude_label_and_a_cordon_move_the_address(town):
    await town.answered(town.first)
    label = "node.kubernetes.io/exclude-from-external-load-balancers"
    admin = town.cluster.admin
    await admin.patch("nodes", town.first, "", {"metadata": {"labels": {label: ""}}})
    await town.answered(town.second)
    await admin.patch("nodes", town.first, "", {"metadata": {"labels": {label: None}}})
    await town.answered(town.first)
    await admin.patch("nodes", town.first, "", {"spec": {"unschedulable": True}})
    await town.answered(town.second)


async def test_without_endpoints_nobody_answers(town):
    await town.answered(town.first)
    body = {"endpoints": []}
    await town.cluster.admin.patch("endpointslices.discovery.k8s.io", "web-1", "default", body)
    await eventually(lambda: _is(town.asked(), []))
    await eventually(lambda: _is(town.statuses(), []))


async def test_announcing_goes_on_without_the_api_server(town):
    """The power cut that takes the control plane must not take the address."""
    await town.answered(town.first)
    await asyncio.sleep(1)
    await town.cluster.api.server.stop()
    assert await town.asked() == [town.macs[town.first]]
    town.nodes[town.first].ip("link set eth0 down")
    assert await town.answered(town.second) < 2.0


async def test_a_status_that_a_peer_took_away_by_mistake_is_written_again(town):
    await town.answered(town.first)
    await eventually(lambda: _is(town.statuses(), [town.first]))
    (there,) = (await town.cluster.admin.list("servicel2statuses.metallb.io", NAMESPACE)).items
    await town.cluster.admin.delete(
        "servicel2statuses.metallb.io", there["metadata"]["name"], NAMESPACE
    )
    await eventually(lambda: _is(town.statuses(), [town.first]))
