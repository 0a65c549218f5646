"""The interfaces of this network namespace, read with one small rtnetlink dump.

For processes that must stay small: it needs neither sysfs nor a netlink library.
Source: rtnetlink(7), linux/if_link.h, linux/if_addr.h.
"""

import ipaddress
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_ADDRESS = struct.Struct("=BBBBI")
_ATTRIBUTE = struct.Struct("=HH")
_NEWLINK, _GETLINK, _NEWADDR, _GETADDR = 16, 18, 20, 22
_ERROR, _DONE = 2, 3
_REQUEST_DUMP = 0x301
_IFLA_ADDRESS, _IFLA_IFNAME, _IFLA_MASTER = 1, 3, 10
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_UP, _BROADCAST, _LOOPBACK, _NOARP = 0x1, 0x2, 0x8, 0x80
_GROUP_LINK, _GROUP_IPV4, _GROUP_IPV6 = 0x1, 0x10, 0x100


@dataclass(frozen=True, slots=True)
class Interface:
    """One interface with its addresses; `enslaved` means that a bridge or bond owns it."""

    name: str
    index: int
    mac: bytes
    up: bool
    broadcast: bool
    no_arp: bool
    loopback: bool
    enslaved: bool
    ipv4: tuple[ipaddress.IPv4Address, ...] = ()
    ipv6: tuple[ipaddress.IPv6Address, ...] = ()


def interfaces() -> list[Interface]:
    """Every interface, in the kernel's order.  Raises OSError if netlink refuses."""
    with _socket() as sock:
        addresses: dict[int, list[ipaddress.IPv4Address | ipaddress.IPv6Address]] = {}
        for index, address in map(_read_address, _dump(sock, _GETADDR, _NEWADDR)):
            addresses.setdefault(index, []).append(address)
        return [_read_link(body, addresses) for body in _dump(sock, _GETLINK, _NEWLINK)]


def change_socket() -> socket.socket:
    """A non-blocking socket that turns readable whenever a link or an address changes.

    Read and drop what comes (ENOBUFS included), then list again.
    """
    sock = _socket(_GROUP_LINK | _GROUP_IPV4 | _GROUP_IPV6)
    sock.setblocking(False)
    return sock


def _socket(groups: int = 0) -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    try:
        sock.bind((0, groups))
    except OSError:
        sock.close()
        raise
    return sock


def _dump(sock: socket.socket, request: int, answer: int) -> Iterator[bytes]:
    body = struct.pack("=B15x", socket.AF_UNSPEC)
    sock.send(_HEADER.pack(_HEADER.size + len(body), request, _REQUEST_DUMP, 1, 0) + body)
    while True:
        data = sock.recv(1 << 16)
        offset = 0
        while offset < len(data):
            length, kind, *_ = _HEADER.unpack_from(data, offset)
            payload = data[offset + _HEADER.size : offset + length]
            if kind == _DONE:
                return
            if kind == _ERROR:
                code = -struct.unpack_from("=i", payload)[0]
                raise OSError(code, "netlink dump refused")
            if kind == answer:
                yield payload
            offset += length + 3 & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            break
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += length + 3 & ~3
    return found


def _read_link(
    body: bytes, addresses: dict[int, list[ipaddress.IPv4Address | ipaddress.IPv6Address]]
) -> Interface:
    _, _, index, flags, _ = _LINK.unpack_from(body)
    attributes = _attributes(body[_LINK.size :])
    mine = addresses.get(index, [])
    return Interface(
        name=attributes[_IFLA_IFNAME].rstrip(b"\0").decode(),
        index=index,
        mac=attributes.get(_IFLA_ADDRESS, b""),
        up=bool(flags & _UP),
        broadcast=bool(flags & _BROADCAST),
        no_arp=bool(flags & _NOARP),
        loopback=bool(flags & _LOOPBACK),
        enslaved=_IFLA_MASTER in attributes,
        ipv4=tuple(one for one in mine if isinstance(one, ipaddress.IPv4Address)),
        ipv6=tuple(one for one in mine if isinstance(one, ipaddress.IPv6Address)),
    )


def _read_address(body: bytes) -> tuple[int, ipaddress.IPv4Address | ipaddress.IPv6Address]:
    _, _, _, _, index = _ADDRESS.unpack_from(body)
    attributes = _attributes(body[_ADDRESS.size :])
    # on a point-to-point link IFA_ADDRESS is the peer's and IFA_LOCAL is ours
    return index, ipaddress.ip_address(attributes.get(_IFA_LOCAL, attributes.get(_IFA_ADDRESS)))  # type: ignore[arg-type]
