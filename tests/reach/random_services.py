"""Random Services over a few known pods, for holding prediction against measurement."""

import random
from typing import Any

NAMESPACE = "random"
TCP_PORTS, UDP_PORTS = (8080, 8081), (9090,)
PODS = {"a": "worker1", "b": "worker1", "c": "worker2", "d": "master1", "unready": "worker2"}
GROUPS = {
    "all": "abcd",
    "worker1": "ab",
    "worker2": "c",
    "workers": "abc",
    "one": "a",
    "master": "d",
    "unready": ["unready"],
    "mixed": ["b", "unready"],
}
NOBODY = "nobody"
POOL = "192.168.11.140-192.168.11.190"
_RANGES = (
    [],
    [],
    ["192.168.11.201/32"],
    ["192.168.11.0/24"],
    ["10.244.0.0/16"],
    ["198.51.100.0/24"],
)
_EXTERNAL = ("192.168.11.132", "192.168.11.240", "203.0.113.7")

SERVER = f"""
import asyncio
class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport): self.transport = transport
    def datagram_received(self, data, client): self.transport.sendto(data, client)
async def main():
    loop = asyncio.get_running_loop()
    for port in {TCP_PORTS}: await asyncio.start_server(lambda r, w: w.close(), port=port)
    for port in {UDP_PORTS}: await loop.create_datagram_endpoint(Echo, local_addr=("0.0.0.0", port))
    await asyncio.Event().wait()
asyncio.run(main())
"""


def pods(domain: str) -> list[dict[str, Any]]:
    """A pod per name, standing where PODS says; every group it belongs to is a label."""
    return [_pod(name, f"{node}.{domain}") for name, node in PODS.items()]


def _pod(name: str, node: str) -> dict[str, Any]:
    groups = {f"group-{group}": "yes" for group, members in GROUPS.items() if name in members}
    container: dict[str, Any] = {
        "name": "echo",
        "image": "todoku.internal/system:latest",
        "args": ["-c", SERVER],
        "ports": [{"containerPort": port} for port in TCP_PORTS],
    }
    if name == "unready":
        container["readinessProbe"] = {"tcpSocket": {"port": 7}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": groups},
        "spec": {
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }


def service(chance: random.Random, name: str) -> dict[str, Any]:
    """One Service of random type, ports, policies, source ranges, and a selector that may match nobody."""
    kind = chance.choice(["ClusterIP", "NodePort", "LoadBalancer", "LoadBalancer"])
    spec: dict[str, Any] = {
        "type": kind,
        "selector": {f"group-{chance.choice([*GROUPS, NOBODY])}": "yes"},
        "ports": _ports(chance),
        "internalTrafficPolicy": chance.choice(["Cluster", "Cluster", "Local"]),
        "sessionAffinity": chance.choice(["None", "None", "ClientIP"]),
        "publishNotReadyAddresses": chance.random() < 0.2,
    }
    if kind == "ClusterIP" and chance.random() < 0.2:
        spec |= {"clusterIP": "None", "sessionAffinity": "None"}
        for port in spec["ports"]:
            port["port"] = port["targetPort"]  # a headless name leads to the pods' own port
    if kind != "ClusterIP":
        spec["externalTrafficPolicy"] = chance.choice(["Cluster", "Local"])
    if kind == "LoadBalancer":
        spec["loadBalancerSourceRanges"] = chance.choice(_RANGES)
        spec["allocateLoadBalancerNodePorts"] = chance.random() < 0.8
    if spec.get("clusterIP") != "None" and chance.random() < 0.2:
        spec["externalIPs"] = [chance.choice(_EXTERNAL)]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


def _ports(chance: random.Random) -> list[dict[str, Any]]:
    number = chance.choice([1, 1, 2])
    found = []
    for index, port in enumerate(chance.sample(range(1000, 20000), number)):
        protocol = chance.choice(["TCP", "TCP", "UDP"])
        target = chance.choice(TCP_PORTS if protocol == "TCP" else UDP_PORTS)
        found.append(
            {"name": f"p{index}", "port": port, "protocol": protocol, "targetPort": target}
        )
    return found


def fault(chance: random.Random) -> tuple[str, str] | None:
    """(what, machine) that is broken in a round, or nothing."""
    if chance.random() < 0.4:
        return None
    return chance.choice(["stop", "pause", "cut"]), chance.choice(["worker1", "worker2"])
