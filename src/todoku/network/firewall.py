"""The pod network's nftables: masquerading, forwarding and host ports.  Pure text and elements.

The order of the masquerading rules is flannel's: traffic among pods is never translated, what leaves the
cluster is.  Host ports are map elements that carry their owner.
"""

import socket
import struct
from collections.abc import Iterable

from todoku.linux.nftables import Element
from todoku.network.ipam import Lease
from todoku.network.peers import PORT

TABLE = "todoku-network"
SERVICE_MARK = 0x4000
"""Set by the proxy on packets that it masquerades itself."""
_PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}


def load(*, cluster: str, node: str, bridge: str) -> str:
    """The table's fixed part; loading it replaces rules and empties the maps."""
    ports = "meta l4proto { tcp, udp, sctp }"
    return f"""
table ip {TABLE}
delete table ip {TABLE}
table ip {TABLE} {{
    map host-ports {{ typeof meta l4proto . th dport : ip daddr . th dport; }}
    map host-ip-ports {{ typeof ip daddr . meta l4proto . th dport : ip daddr . th dport; }}
    set hairpin {{ type ipv4_addr . ipv4_addr; }}

    # The tunnel's outer packets need no tracking.
    chain untracked-in {{
        type filter hook prerouting priority -300; policy accept;
        udp dport {PORT} fib daddr type local notrack
        iifname "{bridge}" ip daddr 127.0.0.0/8 drop
    }}
    chain untracked-out {{
        type filter hook output priority -300; policy accept;
        udp dport {PORT} fib saddr type local notrack
    }}

    chain prerouting {{
        type nat hook prerouting priority -95; policy accept;
        fib daddr type local goto node-port
    }}
    chain output {{
        type nat hook output priority -95; policy accept;
        fib daddr type local goto node-port
    }}
    chain node-port {{
        {ports} dnat ip to ip daddr . meta l4proto . th dport map @host-ip-ports
        {ports} dnat ip to meta l4proto . th dport map @host-ports
    }}

    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        meta mark & {SERVICE_MARK:#x} != 0 return
        ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
        ct status dnat ip saddr 127.0.0.0/8 masquerade fully-random
        ip saddr {node} ip daddr {cluster} return
        ip saddr {cluster} ip daddr {node} return
        ip saddr != {node} ip daddr {cluster} return
        ip saddr {cluster} ip daddr != 224.0.0.0/4 masquerade fully-random
    }}

    chain forward {{
        type filter hook forward priority 0; policy accept;
        ip saddr {cluster} accept
        ip daddr {cluster} accept
    }}
}}
"""


def host_port_elements(leases: Iterable[Lease]) -> list[Element]:
    """The elements of every host port.  The first lease in order of addresses wins a port."""
    made: dict[tuple[str, bytes, bytes | None], Element] = {}
    for lease in sorted(leases, key=lambda lease: socket.inet_aton(lease.address)):
        for element in _elements(lease):
            made.setdefault(element.identity, element)
    return list(made.values())


def _elements(lease: Lease) -> Iterable[Element]:
    address = socket.inet_aton(lease.address)
    owner = f"{lease.namespace}/{lease.name} {lease.uid}"
    for port in lease.host_ports:
        key = struct.pack(">B3xH2x", _PROTOCOLS[port.protocol], port.host_port)
        target = address + struct.pack(">H2x", port.container_port)
        if port.host_ip in ("", "0.0.0.0"):
            yield Element("host-ports", key, target, comment=owner)
        elif ":" not in port.host_ip:
            key = socket.inet_aton(port.host_ip) + key
            yield Element("host-ip-ports", key, target, comment=owner)
    if lease.host_ports:
        yield Element("hairpin", address + address)


MAPS = ("host-ports", "host-ip-ports", "hairpin")
