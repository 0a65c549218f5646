"""The node's side of the pod network: bridge, tunnel, routes, veth pairs, settings.  Short system calls."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network

from todoku.linux import sysctl
from todoku.linux.links import Link, Links
from todoku.linux.namespaces import Netns
from todoku.linux.nftables import IPV4, Elements, Nft
from todoku.linux.rtsocket import Monitor
from todoku.network import firewall
from todoku.network.ipam import Lease
from todoku.network.peers import DEVICE, PORT, VNI, Changes, Peer, mac_from, pod_mac

BRIDGE = "cni0"
POD_INTERFACE = "eth0"
VXLAN_OVERHEAD_BYTES = 50


@dataclass(frozen=True, slots=True)
class Site:
    """What the wiring of one node is made from."""

    node_name: str
    address: str
    """The node's address on the LAN, which carries the tunnel."""
    interface: str
    subnet: IPv4Network
    cluster: IPv4Network
    vtep_mac: str

    @property
    def gateway(self) -> str:
        return f"{self.subnet.network_address + 1}/{self.subnet.prefixlen}"


class Wiring:
    """Interfaces and rules in the network namespace of this process (or `netns`).  One user at a time."""

    def __init__(self, netns: Netns = None) -> None:
        self._netns = netns
        self._links = Links(netns)
        self._nft = Nft(netns)
        self._elements = Elements(IPV4, firewall.TABLE, netns)
        self._mtu = 0

    def close(self) -> None:
        self._links.close()
        self._elements.close()

    def monitor(self) -> Monitor:
        """Tells when interfaces come and go."""
        return Monitor(self._netns)

    def prepare(self, site: Site) -> None:
        """Make bridge, tunnel, settings and rules as they should be; what is right already stays."""
        underlay = self._links.find(site.interface)
        if underlay is None:
            raise OSError(f"node {site.node_name} has no interface {site.interface}")
        self._mtu = underlay.mtu - VXLAN_OVERHEAD_BYTES
        self._set("net/ipv4/ip_forward", 1)
        self._prepare_bridge(site)
        self._prepare_tunnel(site)
        for name in ("all", "default", site.interface, BRIDGE, DEVICE):
            # Replies may take another way than requests (VXLAN, host routes), and a redirect would
            # teach pods a way around the node's rules.
            self._set(f"net/ipv4/conf/{name}/rp_filter", 0)
            self._set(f"net/ipv4/conf/{name}/send_redirects", 0)
        if os.path.exists("/proc/sys/net/bridge"):
            # With it, a bridged frame is translated before it is routed, and then sent from port to port,
            # which isolation forbids.  The setting belongs to this namespace.
            for name in ("iptables", "ip6tables", "arptables"):
                self._set(f"net/bridge/bridge-nf-call-{name}", 0)
        if firewall.TABLE not in self._nft.show("tables"):
            self._load(site)

    def reload_rules(self, site: Site, leases: Iterable[Lease]) -> None:
        """Replace the rules and all host ports; a restarted agent may bring newer ones."""
        self._load(site)
        self.set_host_ports(leases)

    def peers(self) -> dict[str, Peer]:
        """The remote nodes that the kernel knows, by pod range."""
        device = self._links.find(DEVICE)
        if device is None:
            return {}
        macs = {entry.address: entry.mac for entry in self._links.neighbours(DEVICE)}
        hosts = {entry.mac: entry.address for entry in self._links.fdb(DEVICE)}
        found = {}
        for route in self._links.routes():
            if route.index == device.index and route.via:
                mac = macs.get(route.via, "")
                found[route.destination] = Peer(route.destination, mac, hosts.get(mac, ""))
        return found

    def apply(self, changes: Changes) -> None:
        """Neighbour, forwarding entry, route; and the reverse to remove."""
        for peer in changes.remove:
            self._links.delete_route(peer.subnet, via=peer.base, device=DEVICE)
            if peer.mac:
                self._links.delete_fdb(DEVICE, peer.mac)
                self._links.delete_neighbour(DEVICE, peer.base)
        for peer in changes.add:
            self._links.set_neighbour(DEVICE, peer.base, peer.mac)
            self._links.set_fdb(DEVICE, peer.mac, peer.address)
            self._links.set_route(peer.subnet, via=peer.base, device=DEVICE, onlink=True)

    def attach(self, lease: Lease, subnet: IPv4Network, netns: str) -> str:
        """Give the pod's namespace its interface; the name of the node's end.  Repeatable."""
        host = host_interface(lease.uid)
        if self._attached(host, lease, netns):
            return host
        self._links.delete(host)  # half made by an agent that died
        self._links.add_veth(
            host, POD_INTERFACE, peer_netns=netns, peer_mac=pod_mac(lease.address), mtu=self._mtu
        )
        with Links(netns) as pod:
            pod.add_address(POD_INTERFACE, f"{lease.address}/{subnet.prefixlen}")
            pod.up("lo", POD_INTERFACE)
            self._links.set(host, master=BRIDGE, up=True)
            # Isolated ports make pods of one node talk through the node's IP layer, where replies of
            # Services are translated back; bridged frames would miss it.
            self._links.set_port(host, isolated=True)
            pod.set_route("default", via=str(subnet.network_address + 1), device=POD_INTERFACE)
        return host

    def rejoin(self, leases: Iterable[Lease]) -> None:
        """Put pods back on the bridge, should it have been made anew."""
        bridge = self._links.index(BRIDGE)
        for lease in leases:
            host = host_interface(lease.uid)
            link = self._links.find(host)
            if link is not None and link.master != bridge:
                self._links.set(host, master=BRIDGE, up=True)
                self._links.set_port(host, isolated=True)

    def forwarding(self, host: str) -> bool:
        """Whether the bridge lets the port's frames through already (some milliseconds after attach)."""
        link = self._links.find(host)
        return link is not None and link.forwarding

    def detach(self, uid: str) -> None:
        """Delete a pod's interface.  Takes some 30 ms, in which the kernel waits for its own readers.

        Any thread may call it: it uses a socket of its own.
        """
        with Links(self._netns) as links:
            links.delete(host_interface(uid))

    def attached(self) -> set[str]:
        """The node's ends of all pods."""
        bridge = self._links.find(BRIDGE)
        if bridge is None:
            return set()
        return {link.name for link in self._links.links() if link.master == bridge.index}

    def set_host_ports(self, leases: Iterable[Lease]) -> None:
        """Make the host ports those of these leases, in one transaction."""
        wanted = {element.identity: element for element in firewall.host_port_elements(leases)}
        present = {
            element.identity: element
            for name in firewall.MAPS
            for element in self._elements.dump(name)
        }
        remove = [e for identity, e in present.items() if wanted.get(identity) != e]
        add = [e for identity, e in wanted.items() if present.get(identity) != e]
        self._elements.apply(remove=remove, add=add)

    def _load(self, site: Site) -> None:
        self._nft.apply(
            firewall.load(cluster=str(site.cluster), node=str(site.subnet), bridge=BRIDGE)
        )

    def _prepare_bridge(self, site: Site) -> None:
        bridge = self._links.find(BRIDGE)
        if bridge is None:
            # A MAC of its own: a bridge without one takes its lowest port's and changes it with them.
            mac = mac_from(f"{BRIDGE}/{site.node_name}")
            self._links.add_bridge(BRIDGE, mac=mac, mtu=self._mtu)
        self._set_addresses(BRIDGE, site.gateway)
        self._links.up(BRIDGE)
        self._set(f"net/ipv4/conf/{BRIDGE}/proxy_arp_pvlan", 1)
        self._set(f"net/ipv4/conf/{BRIDGE}/route_localnet", 1)
        self._set(f"net/ipv4/neigh/{BRIDGE}/proxy_delay", 0)  # else it waits up to 0.8 s to answer

    def _prepare_tunnel(self, site: Site) -> None:
        device = self._links.find(DEVICE)
        if device is not None and device.mac != site.vtep_mac:
            self._links.delete(DEVICE)
            device = None
        if device is None:
            self._links.add_vxlan(
                DEVICE, vni=VNI, local=site.address, device=site.interface, port=PORT,
                mac=site.vtep_mac, mtu=self._mtu,
            )  # fmt: skip
            if os.path.exists("/proc/sys/net/ipv6"):
                self._set(f"net/ipv6/conf/{DEVICE}/accept_ra", 0)
        self._set_addresses(DEVICE, f"{site.subnet.network_address}/32")
        self._links.up(DEVICE)

    def _set_addresses(self, name: str, wanted: str) -> None:
        """Give an interface exactly this IPv4 address; it may hold one of a former range."""
        for present in self._links.addresses(name):
            if ":" not in present.address and present.address != wanted:
                self._links.delete_address(name, present.address)
        self._links.add_address(name, wanted)

    def _attached(self, host: str, lease: Lease, netns: str) -> bool:
        link = self._links.find(host)
        if link is None or not link.up or not link.master:
            return False
        with Links(netns) as pod:
            there = pod.find(POD_INTERFACE)
            if there is None or not _peers(link, there):
                return False
            return any(
                address.address.startswith(f"{lease.address}/")
                for address in pod.addresses(POD_INTERFACE)
            )

    def _set(self, name: str, value: int) -> None:
        sysctl.write(name, value, self._netns)


def host_interface(uid: str) -> str:
    """The name of the node's end of a pod's veth pair; at most 15 characters."""
    return "veth" + hashlib.sha256(uid.encode()).hexdigest()[:8]


def parse_subnet(cidr: str) -> IPv4Network:
    network = ip_network(cidr)
    if not isinstance(network, IPv4Network):
        raise ValueError(f"pod range {cidr} is not IPv4")
    return network


def _peers(one: Link, other: Link) -> bool:
    return one.peer_index == other.index and other.peer_index == one.index
