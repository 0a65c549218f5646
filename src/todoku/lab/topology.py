"""What a lab consists of: the resolved lab file, plain values that know nothing of the machine."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

GatewayPolicy = Literal["drop", "reject", "none"]
Role = Literal["control-plane", "worker"]
TimingProfile = Literal["lab", "kubernetes"]

GATEWAY = "gateway"
LAN = "lan"
CONTROL_PLANE_LABELS = {
    "node-role.kubernetes.io/control-plane": "",
    "node.kubernetes.io/exclude-from-external-load-balancers": "",
}


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node, as `spec.taints[]` has it."""

    key: str
    effect: str
    value: str = ""


CONTROL_PLANE_TAINT = Taint("node-role.kubernetes.io/control-plane", "NoSchedule")


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.  Labels and taints are those it registers with, its role's included."""

    name: str
    address: str
    role: Role = "worker"
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    kind: Literal["node"] = "node"

    @property
    def short(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Host:
    """A machine on the LAN outside the cluster; `routes` maps a prefix to the address it goes through."""

    name: str
    address: str
    routes: Mapping[str, str] = field(default_factory=dict)
    kind: Literal["host"] = "host"

    @property
    def short(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Share:
    """A folder of the real machine that a hostPath finds at `at` on every node."""

    path: str
    at: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    """A lab: addresses are on `lan`, and nothing overlaps."""

    name: str
    lan: str
    gateway_address: str
    gateway: GatewayPolicy
    nodes: tuple[Node, ...]
    hosts: tuple[Host, ...]
    pod_cidr: str
    service_cidr: str
    timings: TimingProfile = "lab"
    image_order: tuple[str, ...] = ()
    shares: tuple[Share, ...] = ()
    domain: str = "cluster.local"

    @property
    def machines(self) -> tuple[Node | Host, ...]:
        return (*self.nodes, *self.hosts)

    @property
    def control_plane(self) -> Node:
        """The node that carries the API server."""
        return next(node for node in self.nodes if node.role == "control-plane")

    @property
    def prefix_length(self) -> int:
        return ipaddress.ip_network(self.lan).prefixlen

    @property
    def kubernetes_service(self) -> str:
        """The address of the Service `kubernetes`: the first of the service network."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def dns_service(self) -> str:
        return str(ipaddress.ip_network(self.service_cidr)[10])

    def find(self, name: str) -> Node | Host | None:
        """A machine by full or short name."""
        exact = [machine for machine in self.machines if machine.name == name]
        short = [machine for machine in self.machines if machine.short == name]
        found = exact or short
        return found[0] if len(found) == 1 else None

    def mac(self, name: str) -> str:
        """The MAC of a machine's LAN interface: the same whenever it boots."""
        digest = hashlib.sha256(f"{self.name}/{name}".encode()).digest()
        return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def document(topology: Topology) -> dict[str, Any]:
    """The lab file that describes this topology completely."""
    return {
        "apiVersion": "todoku.dev/v1",
        "kind": "Lab",
        "name": topology.name,
        "lan": {"cidr": topology.lan, "gateway": topology.gateway_address},
        "gateway": topology.gateway,
        "nodes": [_node(node) for node in topology.nodes],
        "hosts": [
            {"name": host.name, "address": host.address}
            | ({"routes": dict(host.routes)} if host.routes else {})
            for host in topology.hosts
        ],
        "podCIDR": topology.pod_cidr,
        "serviceCIDR": topology.service_cidr,
        "timings": topology.timings,
        **({"images": {"order": list(topology.image_order)}} if topology.image_order else {}),
        **(
            {
                "shares": [
                    {"path": share.path, "at": share.at, "readOnly": share.read_only}
                    for share in topology.shares
                ]
            }
            if topology.shares
            else {}
        ),
    }


def _node(node: Node) -> dict[str, Any]:
    entry: dict[str, Any] = {"name": node.name, "address": node.address, "role": node.role}
    implied = CONTROL_PLANE_LABELS if node.role == "control-plane" else {}
    labels = {key: value for key, value in node.labels.items() if implied.get(key) != value}
    if labels:
        entry["labels"] = labels
    implied_taints = (CONTROL_PLANE_TAINT,) if node.role == "control-plane" else ()
    if node.taints != implied_taints:
        entry["taints"] = [
            {"key": taint.key, "effect": taint.effect}
            | ({"value": taint.value} if taint.value else {})
            for taint in node.taints
        ]
    return entry
