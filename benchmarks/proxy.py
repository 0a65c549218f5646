"""Programming Services and attaching pods: what a change costs, and what a packet costs, by number of Services.

Run: ./bench proxy [--services 1000 5000] [--runs 5].  Needs root; everything happens in throw-away namespaces.
Topology for packets: client, node, backend, each a namespace; the Service that is measured is made last.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.figures import emit, note  # noqa: E402
from tests.support.apiserver import running_api  # noqa: E402
from tests.support.netns import Netns, Server, connect, namespaces  # noqa: E402
from tests.support.services import endpoint, service, slice_of  # noqa: E402
from todoku.api.meta import Key, Object, key_of  # noqa: E402
from todoku.client import Client, ClientConfig, InformerFactory  # noqa: E402
from todoku.network import peers  # noqa: E402
from todoku.network.ipam import Lease  # noqa: E402
from todoku.network.wiring import Site, Wiring, parse_subnet  # noqa: E402
from todoku.proxy import (  # noqa: E402
    FrontendKey,
    Kernel,
    NodeView,
    Proxy,
    ProxyConfig,
    Table,
    frontends,
)  # fmt: skip

NODE = NodeView("n1", addresses=("192.168.50.1",))
BACKEND = "10.244.1.2"
VIP = "10.111.0.1"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--services", type=int, nargs="+", default=[1, 1000, 5000])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--packets", type=int, default=1000)
    options = parser.parse_args()
    for count in options.services:
        note(f"{count} Services x 2 endpoints")
        with cluster() as (node, client):
            programming(node, client, count, options.runs, options.packets)
    note("from an acknowledged write to the kernel")
    with namespaces("node") as (node,):
        asyncio.run(following(node, options.runs * 10))
    note("attaching pods")
    attaching(options.runs)


@contextmanager
def cluster() -> Iterator[tuple[Netns, Netns]]:
    with namespaces("node", "client", "pod") as (node, client, pod):
        connect(node, client, a_name="eth0", b_name="eth0")
        connect(node, pod, a_name="vpod", b_name="eth0")
        node.ip("address add 192.168.50.1/24 dev eth0", "route add default via 192.168.50.9")
        client.ip("address add 192.168.50.9/24 dev eth0", "route add default via 192.168.50.1")
        pod.ip(f"address add {BACKEND}/24 dev eth0", "route add default via 10.244.1.1")
        node.ip("address add 10.244.1.1/24 dev vpod")
        node.sysctl("net.ipv4.ip_forward", "1")
        with Server(pod, "pod", 53, kind=socket.SOCK_DGRAM):
            yield node, client


def programming(node: Netns, client: Netns, count: int, runs: int, packets: int) -> None:
    table = Table("n1")
    world = [fake(number) for number in range(count)]
    with Kernel(node.fd) as kernel:
        kernel.adopt(table, NODE)
        gc.collect()
        gc.freeze()
        emit("proxy_load_all", [timed(load, kernel, table, world)], "s", services=count)
        restart(node, world, runs)
        changes(kernel, table, count, max(runs * 20, 100))
        load(kernel, table, [real()])
        control = round_trips(client, BACKEND, packets)
        through = round_trips(client, VIP, packets)
        for name, found in (("pod", control), ("service", through)):
            micro = sorted(found)
            emit(
                f"proxy_first_packet_extra_{name}_p50",
                [statistics.median(micro)],
                "us",
                services=count,
            )
            emit(
                f"proxy_first_packet_extra_{name}_p99",
                [micro[len(micro) * 99 // 100]],
                "us",
                services=count,
            )


def load(kernel: Kernel, table: Table, world: list[tuple[Object, list[Object]]]) -> None:
    for made, slices in world:
        table.update(key_of(made), frontends(made, slices, NODE))
    kernel.apply(table)


def restart(node: Netns, world: list[tuple[Object, list[Object]]], runs: int) -> None:
    """A new process: list the table once, find nothing to do."""

    def adopt() -> None:
        table = Table("n1")
        with Kernel(node.fd) as kernel:
            kernel.adopt(table, NODE)
            load(kernel, table, world)

    emit("proxy_adopt_all", [timed(adopt) for _ in range(runs)], "s", services=len(world))


def changes(kernel: Kernel, table: Table, count: int, times: int) -> None:
    """Compile, plan and program one change at a time."""
    figures: dict[str, list[float]] = {"add_service": [], "add_endpoint": [], "delete_service": []}
    for number in range(times):
        pair = fake(100_000 + number)
        figures["add_service"].append(timed(load, kernel, table, [pair]))
        pair[1][0]["endpoints"].append(endpoint("10.244.9.9"))
        figures["add_endpoint"].append(timed(load, kernel, table, [pair]))
        figures["delete_service"].append(timed(forget, kernel, table, key_of(pair[0])))
    for name, seconds in figures.items():
        micro = sorted(value * 1e6 for value in seconds)
        emit(f"proxy_{name}_p50", [statistics.median(micro)], "us", services=count, changes=times)
        emit(f"proxy_{name}_p99", [micro[times * 99 // 100]], "us", services=count, changes=times)


def forget(kernel: Kernel, table: Table, key: Key) -> None:
    table.update(key, [])
    kernel.apply(table)


async def following(node: Netns, times: int) -> None:
    """API server, client and proxy share this process, so this bounds what an agent of its own needs."""
    config = ProxyConfig("n1", health_port=0, metrics_port=0)
    found = []
    async with running_api() as api, Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client:
        informers = InformerFactory(client)
        with Kernel(node.fd) as kernel:
            proxy = Proxy(informers, config, kernel)
            tasks = [asyncio.create_task(informers.run()), asyncio.create_task(proxy.run())]
            for number in range(times):
                made, _ = fake(number + 16)
                del made["status"]
                await client.create("services", made)
                started = time.perf_counter()
                key = FrontendKey(made["spec"]["clusterIP"], "TCP", 8080)
                while proxy.explain(key) is None:
                    await asyncio.sleep(0)
                found.append((time.perf_counter() - started) * 1e3)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    emit("proxy_programmed_after_acknowledged_write", found[1:], "ms")


def fake(number: int) -> tuple[Object, list[Object]]:
    name, address = f"svc-{number}", f"10.{96 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    ends = [endpoint(f"10.244.{2 + index}.{number % 250 + 1}", "n2") for index in range(2)]
    return service(name, cluster_ip=address), [slice_of(*ends, name=name)]


def real() -> tuple[Object, list[Object]]:
    ports = ({"port": 53, "name": "echo", "protocol": "UDP"},)
    piece = slice_of(endpoint(BACKEND), name="real", port=53, port_name="echo", protocol="UDP")
    return service("real", cluster_ip=VIP, ports=ports), [piece]


def round_trips(client: Netns, address: str, times: int) -> list[float]:
    """Round trip of a flow's first datagram minus its second, in µs: look-up, translation, new entry."""
    found = []
    for _ in range(times):
        with client.socket(socket.SOCK_DGRAM) as probe:
            probe.connect((address, 53))
            both = [round_trip(probe) for _ in range(2)]
            found.append((both[0] - both[1]) * 1e6)
    return found


def round_trip(probe: socket.socket) -> float:
    started = time.perf_counter()
    probe.send(b"?")
    probe.recv(100)
    return time.perf_counter() - started


def attaching(runs: int) -> None:
    with namespaces("node", "lan") as (node, lan):
        connect(node, lan, a_name="eth0", b_name="eth0")
        node.ip("address add 192.168.50.1/24 dev eth0")
        subnet = parse_subnet("10.244.1.0/24")
        mac = peers.mac_from("bench")
        site = Site("n1", "192.168.50.1", "eth0", subnet, parse_subnet("10.244.0.0/16"), mac)
        wiring = Wiring(node.fd)
        wiring.prepare(site)
        attach, forward, detach = [], [], []
        for number in range(runs * 4):
            with namespaces("pod") as (pod,):
                lease = Lease(f"10.244.1.{number + 2}", f"uid-{number}")
                attach.append(timed(wiring.attach, lease, subnet, pod.path) * 1e3)
                forward.append(timed(until_forwarding, wiring, lease) * 1e3)
                detach.append(timed(wiring.detach, lease.uid) * 1e3)
        wiring.close()
    emit("network_attach", attach, "ms")
    emit("network_attach_until_forwarding", forward, "ms")
    emit("network_detach", detach, "ms")


def until_forwarding(wiring: Wiring, lease: Lease) -> None:
    from todoku.network.wiring import host_interface

    while not wiring.forwarding(host_interface(lease.uid)):
        time.sleep(0.0005)


def timed(function: Callable[..., object], *arguments: object) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
