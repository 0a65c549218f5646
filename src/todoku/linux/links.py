"""Interfaces, addresses, routes, neighbours and forwarding entries of one network namespace: rtnetlink.

The kernel answers an rtnetlink request before `send` returns, in tens of microseconds, so `Links` is a plain
class that may be called from an event loop; only listings of thousands of entries deserve a thread.
It speaks rtnetlink itself, on the messages of `nfnetlink`: a library for it costs 0.1 s and 6 MB at import in
every process, and ten times as long a request.

Source: rtnetlink(7), linux/if_link.h, linux/rtnetlink.h, linux/neighbour.h.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from types import TracebackType
from typing import Self

from todoku.linux import rtnetlink
from todoku.linux.namespaces import Netns
from todoku.linux.nfnetlink import NESTED, NetlinkError, attr, nested, text
from todoku.linux.rtnetlink import (
    IFINFO,
    NEWADDR,
    NEWLINK,
    NEWNEIGH,
    NEWROUTE,
    PERMANENT,
    Address,
    Link,
    Neighbour,
    Route,
)
from todoku.linux.rtsocket import Connection

__all__ = ["Address", "Link", "Links", "Neighbour", "NetlinkError", "Route"]

_REPLACE, _EXCL, _CREATE, _APPEND = 0x100, 0x200, 0x400, 0x800
_DELLINK, _GETLINK, _SETLINK = 17, 18, 19
_DELADDR, _GETADDR = 21, 22
_DELROUTE, _GETROUTE = 25, 26
_DELNEIGH, _GETNEIGH = 29, 30
_IFF_UP = 1
_NTF_SELF, _NTF_MASTER = 0x02, 0x04
_NODAD, _NOPREFIXROUTE = 0x02, 0x200
_PF_BRIDGE = 7

# Settings of a bridge port (IFLA_BRPORT_*), all of them one byte.
_PORT_SETTINGS = {
    "hairpin": 4,
    "learning": 8,
    "unicast_flood": 9,
    "proxy_arp": 10,
    "proxy_arp_wifi": 12,
    "multicast_flood": 27,
    "broadcast_flood": 30,
    "neigh_suppress": 32,
    "isolated": 33,
}


class Links:
    """The links of one network namespace.  One user at a time; raises NetlinkError (an OSError).

    Adding what exists raises EEXIST except where a method says that it replaces; deleting what is not there
    is fine.
    """

    def __init__(self, netns: Netns = None) -> None:
        self._kernel = Connection(netns)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._kernel.close()

    # -- interfaces ---------------------------------------------------------------------------------

    def links(self) -> list[Link]:
        """Every interface of the namespace."""
        return [
            rtnetlink.link(body) for body in self._kernel.dump(_GETLINK, IFINFO.pack(0, 0, 0, 0, 0))
        ]

    def find(self, name: str) -> Link | None:
        """The interface of this name, or None."""
        body = IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        try:
            return rtnetlink.link(self._kernel.request(_GETLINK, 0, body, answer=True))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def index(self, name: str) -> int:
        """The number of an interface; raises ENODEV."""
        link = self.find(name)
        if link is None:
            raise NetlinkError(errno.ENODEV, f"no interface {name!r}")
        return link.index

    def add_bridge(self, name: str, *, mac: str = "", mtu: int = 0) -> None:
        """A bridge without spanning tree, which forwards from the first moment."""
        self._add_link(name, "bridge", _u32(1, 0) + _u32(5, 0), mac=mac, mtu=mtu)

    def add_veth(
        self,
        name: str,
        peer: str,
        *,
        peer_netns: Netns = None,
        mac: str = "",
        peer_mac: str = "",
        mtu: int = 0,
    ) -> None:
        """A pair; the peer is born in `peer_netns` (a path or descriptor), so names never collide here."""
        other = IFINFO.pack(0, 0, 0, 0, 0) + text(3, peer) + _common(peer_mac, mtu)
        with _descriptor(peer_netns) as descriptor:
            if descriptor is not None:
                other += _u32(28, descriptor)
            self._add_link(name, "veth", nested(1, other), mac=mac, mtu=mtu)

    def add_vxlan(
        self,
        name: str,
        *,
        vni: int,
        local: str,
        device: str = "",
        port: int = 8472,
        learning: bool = False,
        mac: str = "",
        mtu: int = 0,
    ) -> None:
        """A VXLAN device (RFC 7348) whose outer source address is `local`."""
        address = ipaddress.ip_address(local)
        data = _u32(1, vni) + attr(4 if address.version == 4 else 17, address.packed)
        data += _u8(7, learning) + attr(15, struct.pack(">H", port))
        if device:
            data += _u32(3, self.index(device))
        self._add_link(name, "vxlan", data, mac=mac, mtu=mtu)

    def set(
        self,
        name: str,
        *,
        up: bool | None = None,
        master: str | None = None,
        mac: str = "",
        mtu: int = 0,
        rename: str = "",
        netns: Netns = None,
    ) -> None:
        """Change an interface; `master=""` takes it out of its bridge, `netns` moves it away."""
        flags = 0 if up is None else int(up)
        change = 0 if up is None else _IFF_UP
        body = IFINFO.pack(0, 0, self.index(name), flags, change) + _common(mac, mtu)
        if master is not None:
            body += _u32(10, self.index(master) if master else 0)
        if rename:
            body += text(3, rename)
        with _descriptor(netns) as descriptor:
            if descriptor is not None:
                body += _u32(28, descriptor)
            self._kernel.request(NEWLINK, 0, body)

    def up(self, *names: str) -> None:
        """Set interfaces up."""
        for name in names:
            self.set(name, up=True)

    def down(self, name: str) -> None:
        """Set an interface down."""
        self.set(name, up=False)

    def set_port(self, name: str, **settings: bool) -> None:
        """Change a bridge port: hairpin, isolated, proxy_arp, learning, neigh_suppress, ..._flood."""
        data = b"".join(_u8(_PORT_SETTINGS[key], value) for key, value in settings.items())
        body = IFINFO.pack(_PF_BRIDGE, 0, self.index(name), 0, 0) + attr(12 | NESTED, data)
        self._kernel.request(_SETLINK, 0, body)

    def delete(self, name: str) -> None:
        """Delete an interface (and a veth's other end)."""
        body = IFINFO.pack(0, 0, 0, 0, 0) + text(3, name)
        self._kernel.request(_DELLINK, 0, body, missing=(errno.ENODEV,))

    # -- addresses ----------------------------------------------------------------------------------

    def addresses(self, name: str = "") -> list[Address]:
        """The addresses of one interface, or of all."""
        wanted = self.index(name) if name else 0
        found = [
            rtnetlink.address(body)
            for body in self._kernel.dump(_GETADDR, struct.pack("=BBBBI", 0, 0, 0, 0, 0))
        ]
        return [address for address in found if not wanted or address.index == wanted]

    def add_address(self, name: str, address: str, *, prefix_route: bool = True) -> None:
        """Give an interface an address (`10.0.0.1/24`); given again, it changes nothing.

        IPv6 addresses skip duplicate detection (`nodad`): nobody waits a second for an address that the lab
        hands out itself.
        """
        body = self._address_body(name, address, _NODAD | (0 if prefix_route else _NOPREFIXROUTE))
        self._kernel.request(NEWADDR, _CREATE | _REPLACE, body)

    def delete_address(self, name: str, address: str) -> None:
        """Take an address away; an address or interface that is gone is fine."""
        link = self.find(name)
        if link is not None:
            body = self._address_body(name, address, 0)
            self._kernel.request(_DELADDR, 0, body, missing=(errno.EADDRNOTAVAIL, errno.ENODEV))

    # -- routes -------------------------------------------------------------------------------------

    def routes(self, *, table: int = 254) -> list[Route]:
        """The routes of one table, 254 being `main`, or of all with 0."""
        found = [rtnetlink.route(body) for body in self._kernel.dump(_GETROUTE, bytes(12))]
        return [route for route in found if not table or route.table == table]

    def set_route(
        self,
        destination: str,
        *,
        via: str = "",
        device: str = "",
        source: str = "",
        onlink: bool = False,
        metric: int = 0,
        table: int = 254,
        kind: str = "unicast",
    ) -> None:
        """Add or replace a route; `destination` is a prefix or `default`."""
        body = self._route_body(
            destination, via, device, source, onlink=onlink, metric=metric, table=table, kind=kind
        )
        self._kernel.request(NEWROUTE, _CREATE | _REPLACE, body)

    def delete_route(
        self,
        destination: str,
        *,
        via: str = "",
        device: str = "",
        metric: int = 0,
        table: int = 254,
        kind: str = "unicast",
    ) -> None:
        """Delete a route; one that is not there is fine."""
        if device and self.find(device) is None:
            return
        body = self._route_body(
            destination,
            via,
            device,
            "",
            onlink=False,
            metric=metric,
            table=table,
            kind=kind,
            delete=True,
        )
        self._kernel.request(_DELROUTE, 0, body, missing=(errno.ESRCH, errno.ENODEV))

    # -- neighbours and forwarding entries ----------------------------------------------------------

    def neighbours(self, name: str = "", *, family: int = 0) -> list[Neighbour]:
        """The ARP and ND entries of one interface, or of all."""
        wanted = self.index(name) if name else 0
        found = [
            rtnetlink.neighbour(body)
            for body in self._kernel.dump(_GETNEIGH, struct.pack("=BxHiHBB", family, 0, 0, 0, 0, 0))
        ]
        return [entry for entry in found if not wanted or entry.index == wanted]

    def set_neighbour(self, name: str, address: str, mac: str, *, state: int = PERMANENT) -> None:
        """Say (or say anew) at which MAC a neighbour answers."""
        target = ipaddress.ip_address(address)
        body = struct.pack("=BxHiHBB", _family(target), 0, self.index(name), state, 0, 0)
        body += attr(1, target.packed) + attr(2, _mac(mac))
        self._kernel.request(NEWNEIGH, _CREATE | _REPLACE, body)

    def delete_neighbour(self, name: str, address: str) -> None:
        """Forget a neighbour; one that is not there is fine."""
        link = self.find(name)
        if link is None:
            return
        target = ipaddress.ip_address(address)
        body = struct.pack("=BxHiHBB", _family(target), 0, link.index, 0, 0, 0) + attr(
            1, target.packed
        )
        self._kernel.request(_DELNEIGH, 0, body, missing=(errno.ENOENT,))

    def fdb(self, name: str = "") -> list[Neighbour]:
        """The forwarding entries of a bridge port or VXLAN device, or of all."""
        return self.neighbours(name, family=_PF_BRIDGE)

    def set_fdb(self, name: str, mac: str, address: str) -> None:
        """On a VXLAN device: frames to `mac` go to the host at `address`; replaces."""
        target = ipaddress.ip_address(address)
        body = struct.pack("=BxHiHBB", _PF_BRIDGE, 0, self.index(name), PERMANENT, _NTF_SELF, 0)
        body += attr(2, _mac(mac)) + attr(1, target.packed)
        self._kernel.request(NEWNEIGH, _CREATE | _REPLACE, body)

    def delete_fdb(self, name: str, mac: str, address: str = "") -> None:
        """Forget a forwarding entry; one that is not there is fine."""
        link = self.find(name)
        if link is None:
            return
        body = struct.pack("=BxHiHBB", _PF_BRIDGE, 0, link.index, PERMANENT, _NTF_SELF, 0)
        body += attr(2, _mac(mac))
        if address:
            body += attr(1, ipaddress.ip_address(address).packed)
        self._kernel.request(_DELNEIGH, 0, body, missing=(errno.ENOENT,))

    # -- messages -----------------------------------------------------------------------------------

    def _add_link(self, name: str, kind: str, data: bytes, *, mac: str, mtu: int) -> None:
        body = IFINFO.pack(0, 0, 0, 0, 0) + text(3, name) + _common(mac, mtu)
        body += nested(18, attr(1, kind.encode()), nested(2, data))
        self._kernel.request(NEWLINK, _CREATE | _EXCL, body)

    def _address_body(self, name: str, address: str, flags: int) -> bytes:
        interface = ipaddress.ip_interface(address)
        body = struct.pack(
            "=BBBBI",
            _family(interface.ip),
            interface.network.prefixlen,
            flags & 0xFF,
            0,
            self.index(name),
        )
        body += attr(2, interface.packed) + attr(1, interface.packed) + _u32(8, flags)
        if interface.version == 4 and interface.network.prefixlen < 31:
            body += attr(4, interface.network.broadcast_address.packed)
        return body

    def _route_body(
        self,
        destination: str,
        via: str,
        device: str,
        source: str,
        *,
        onlink: bool,
        metric: int,
        table: int,
        kind: str,
        delete: bool = False,
    ) -> bytes:
        if destination == "default":
            destination = "::/0" if ":" in via or ":" in source else "0.0.0.0/0"
        network = ipaddress.ip_network(destination)
        link_scope = bool(device) and not via and kind == "unicast"
        scope = 255 if delete else 253 if link_scope and network.version == 4 else 0
        body = struct.pack(
            "=BBBBBBBBI",
            socket.AF_INET if network.version == 4 else socket.AF_INET6,
            network.prefixlen,
            0,
            0,
            table if table < 256 else 0,
            0 if delete else 4,  # RTPROT_STATIC; a delete matches any
            scope,
            rtnetlink.ROUTE_TYPES[kind],
            4 if onlink else 0,
        )
        body += attr(1, network.network_address.packed) + _u32(15, table)
        if via:
            body += attr(5, ipaddress.ip_address(via).packed)
        if device:
            body += _u32(4, self.index(device))
        if source:
            body += attr(7, ipaddress.ip_address(source).packed)
        if metric:
            body += _u32(6, metric)
        return body


class _descriptor:
    """A descriptor of a network namespace for the length of a request; None for the caller's own."""

    def __init__(self, netns: Netns) -> None:
        self._netns = netns
        self._opened = -1

    def __enter__(self) -> int | None:
        if not isinstance(self._netns, str):
            return self._netns
        if not self._netns:
            return None
        self._opened = os.open(self._netns, os.O_RDONLY | os.O_CLOEXEC)
        return self._opened

    def __exit__(self, *_: object) -> None:
        if self._opened >= 0:
            os.close(self._opened)


def _common(mac: str, mtu: int) -> bytes:
    return (attr(1, _mac(mac)) if mac else b"") + (_u32(4, mtu) if mtu else b"")


def _u32(kind: int, value: int) -> bytes:
    return attr(kind, value.to_bytes(4, "little" if _LITTLE else "big"))


def _u8(kind: int, value: int) -> bytes:
    return attr(kind, bytes([value]))


_LITTLE = struct.pack("=H", 1)[0] == 1


def _mac(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _family(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> int:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6
