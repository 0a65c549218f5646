"""The other nodes' pod ranges and how to reach them, as flannel announces them on Nodes.  Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any

from todoku.api.meta import Object

PREFIX = "flannel.alpha.coreos.com"
VNI = 1
PORT = 8472
DEVICE = "flannel.1"


@dataclass(frozen=True, slots=True)
class Peer:
    """A remote node: its pod range, its VTEP's MAC, and the node address that carries the tunnel."""

    subnet: str
    mac: str
    address: str

    @property
    def base(self) -> str:
        """The range's base address, which the remote VXLAN device holds."""
        return str(ip_network(self.subnet).network_address)


@dataclass(frozen=True, slots=True)
class Changes:
    """What to take from and give to the VXLAN device."""

    remove: tuple[Peer, ...] = ()
    add: tuple[Peer, ...] = ()


def peers(nodes: Iterable[Object], own: str) -> dict[str, Peer]:
    """The remote nodes that have announced themselves, by pod range."""
    found: dict[str, Peer] = {}
    for node in nodes:
        if node["metadata"]["name"] == own:
            continue
        peer = peer_of(node)
        if peer is not None:
            found[peer.subnet] = peer
    return found


def peer_of(node: Object) -> Peer | None:
    """What a Node announces; None until it has a range and valid annotations."""
    annotations = node["metadata"].get("annotations") or {}
    subnet = pod_cidr(node)
    address = annotations.get(f"{PREFIX}/public-ip")
    mac = vtep_mac(annotations)
    if not (subnet and address and mac):
        return None
    return Peer(subnet, mac, address)


def pod_cidr(node: Object) -> str:
    """The node's IPv4 pod range, "" while it has none."""
    spec = node.get("spec") or {}
    for cidr in spec.get("podCIDRs") or [spec.get("podCIDR") or ""]:
        if cidr and ":" not in cidr:
            return str(cidr)
    return ""


def vtep_mac(annotations: Mapping[str, str]) -> str:
    try:
        data: dict[str, Any] = json.loads(annotations.get(f"{PREFIX}/backend-data") or "{}")
    except ValueError:
        return ""
    return str(data.get("VtepMAC") or "")


def announcement(mac: str, address: str) -> dict[str, str]:
    """The annotations by which a node announces itself."""
    return {
        f"{PREFIX}/backend-type": "vxlan",
        f"{PREFIX}/backend-data": json.dumps({"VNI": VNI, "VtepMAC": mac}, separators=(",", ":")),
        f"{PREFIX}/public-ip": address,
        f"{PREFIX}/kube-subnet-manager": "true",
    }


def changes(wanted: Mapping[str, Peer], present: Mapping[str, Peer]) -> Changes:
    """The difference; a peer that changed is removed and added."""
    return Changes(
        remove=tuple(peer for subnet, peer in present.items() if wanted.get(subnet) != peer),
        add=tuple(peer for subnet, peer in wanted.items() if present.get(subnet) != peer),
    )


def mac_from(text: str) -> str:
    """A unicast, locally administered MAC that is the same for the same text."""
    digest = bytearray(hashlib.sha256(text.encode()).digest()[:6])
    digest[0] = (digest[0] & 0xFC) | 0x02
    return digest.hex(":")


def pod_mac(address: str) -> str:
    """0a:58 and the address, as CNI's bridge does: an address that is used again keeps its MAC."""
    return (b"\x0a\x58" + ip_address(address).packed[-4:]).hex(":")
