"""The LAN: a switch, a gateway, and every machine's cable, address and routes.

The switch is a bridge in the place `lan`; port `p-NAME` there is the other end of `eth0` in machine NAME.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from todoku.lab.topology import GATEWAY, LAN, Host, Node, Topology
from todoku.linux.links import Links
from todoku.linux.namespaces import inside_net

BRIDGE = "br0"
INTERFACE = "eth0"
_SETTLE_SECONDS = 5.0
_GATEWAY_SETTINGS = {
    "net/ipv4/ip_forward": "1",
    "net/ipv4/conf/all/send_redirects": "0",
    # Every refusal is said: Linux's own limit, one a second and host, would turn the others into silence.
    "net/ipv4/icmp_ratelimit": "0",
}


def port(name: str) -> str:
    """The switch port of a machine."""
    return f"p-{name.partition('.')[0]}"


def net(pid: int) -> str:
    """The network namespace that a place's init holds."""
    return f"/proc/{pid}/ns/net"


def build_switch(pid: int) -> None:
    """The bridge of the place `lan`."""
    with Links(net(pid)) as links:
        links.add_bridge(BRIDGE)
        links.up("lo", BRIDGE)


def build_gateway(topology: Topology, switch: int, pid: int) -> None:
    """The gateway: it routes what it knows, and drops or rejects the rest."""
    _plug(topology, switch, pid, GATEWAY, topology.gateway_address)
    _write_settings(pid, _GATEWAY_SETTINGS)
    with Links(net(pid)) as links:
        kind = "blackhole" if topology.gateway == "drop" else "unreachable"
        links.set_route("default", kind=kind)


def build_machine(topology: Topology, switch: int, pid: int, machine: Node | Host) -> None:
    """A machine's cable, address and routes; a node forwards packets."""
    _plug(topology, switch, pid, machine.name, machine.address)
    with Links(net(pid)) as links:
        # A node needs the route even where nobody answers for it: without one the kernel refuses a ClusterIP
        # before any rule sees it.
        if topology.gateway != "none" or isinstance(machine, Node):
            links.set_route("default", via=topology.gateway_address)
        if isinstance(machine, Host):
            for prefix, via in machine.routes.items():
                links.set_route(prefix, via=via)
    if isinstance(machine, Node):
        _write_settings(pid, {"net/ipv4/ip_forward": "1", "net/ipv6/conf/all/forwarding": "1"})


def unplug(switch: int, name: str) -> None:
    """Take a machine's cable away: what a power cut does first."""
    with Links(net(switch)) as links:
        if links.find(port(name)) is not None:
            links.down(port(name))
            links.delete(port(name))


def set_cable(switch: int, name: str, *, connected: bool) -> None:
    """Pull a machine's cable out of the switch, or put it back; the machine sees its link go down."""
    with Links(net(switch)) as links:
        links.set(port(name), up=connected)
    if connected:
        wait_until_forwarding(switch, [name])


def connected(switch: int, name: str) -> bool:
    """Whether a machine's cable is in."""
    with Links(net(switch)) as links:
        link = links.find(port(name))
        return link is not None and link.up


def wait_until_forwarding(switch: int, names: list[str]) -> None:
    """Wait until the switch passes frames of these machines.

    An ARP request lost before that is repeated only after a second.  Raises TimeoutError.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    waiting = {port(name) for name in names}
    with Links(net(switch)) as links:
        while waiting:
            waiting -= {link.name for link in links.links() if link.forwarding}
            if not waiting:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"switch ports do not come up: {', '.join(sorted(waiting))}")
            time.sleep(0.001)


def hosts_file(topology: Topology) -> str:
    """`/etc/hosts` of every machine."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback"]
    if topology.gateway != "none":
        lines.append(f"{topology.gateway_address} {GATEWAY}")
    for machine in topology.machines:
        names = dict.fromkeys((machine.name, machine.short))
        lines.append(f"{machine.address} {' '.join(names)}")
    return "\n".join(lines) + "\n"


def place_names(topology: Topology) -> list[str]:
    """Every place of the lab beside the lab itself, the switch first."""
    gateway = [] if topology.gateway == "none" else [GATEWAY]
    return [LAN, *gateway, *(machine.name for machine in topology.machines)]


def _plug(topology: Topology, switch: int, pid: int, name: str, address: str) -> None:
    with Links(net(pid)) as links:
        links.up("lo")
        # The end of a cable whose switch has died goes by itself, but only some time later.
        links.delete(INTERFACE)
    with Links(net(switch)) as lan, Links(net(pid)) as links:
        lan.add_veth(port(name), INTERFACE, peer_netns=net(pid), peer_mac=topology.mac(name))
        links.add_address(INTERFACE, f"{address}/{topology.prefix_length}")
        links.up(INTERFACE)
        lan.set(port(name), master=BRIDGE, up=True)


def _write_settings(pid: int, settings: Mapping[str, str]) -> None:
    with inside_net(net(pid)):
        for path, value in settings.items():
            try:
                with open(f"/proc/sys/{path}", "w") as file:
                    file.write(value)
            except FileNotFoundError:
                continue  # a kernel without IPv6
