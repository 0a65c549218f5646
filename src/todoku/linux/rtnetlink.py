"""What rtnetlink says of interfaces, addresses, routes and neighbours: the values, and how messages carry them.  Pure.

Source: rtnetlink(7), linux/if_link.h, linux/rtnetlink.h, linux/neighbour.h.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from todoku.linux.nfnetlink import NetlinkError, attribute_map

HEADER: Final = struct.Struct("=IHHII")
IFINFO: Final = struct.Struct("=BxHiII")
PERMANENT: Final = 0x80
NEWLINK, NEWADDR, NEWROUTE, NEWNEIGH = 16, 20, 24, 28
_IFF_UP, _IFF_LOWER_UP = 1, 0x10000

ROUTE_TYPES = {
    "unicast": 1,
    "local": 2,
    "blackhole": 6,
    "unreachable": 7,
    "prohibit": 8,
}
_ROUTE_TYPE_NAMES = {number: name for name, number in ROUTE_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Link:
    """One interface.  `up` is administrative, `carrier` whether the other end is up, too.

    `forwarding` is a bridge port's state.  The kernel sets it some milliseconds after the port has carrier;
    an ARP request lost before that is repeated only after a second.
    """

    index: int
    name: str
    kind: str
    mac: str
    mtu: int
    up: bool
    carrier: bool
    master: int = 0
    peer_index: int = 0
    forwarding: bool = False


@dataclass(frozen=True, slots=True)
class Address:
    """`address` with its prefix length, as `10.0.0.1/24`."""

    index: int
    address: str


@dataclass(frozen=True, slots=True)
class Route:
    """`destination` is a prefix (`0.0.0.0/0` is the default route); "" where a part is not set."""

    destination: str
    via: str = ""
    index: int = 0
    source: str = ""
    table: int = 254
    metric: int = 0
    kind: str = "unicast"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A neighbour entry (`address` answers at `mac`), or a forwarding entry (`mac` is behind `address`)."""

    index: int
    address: str
    mac: str
    state: int
    permanent: bool


def messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    view = memoryview(data)
    offset = 0
    while offset + 16 <= len(view):
        size, kind, flags, sequence, _ = HEADER.unpack_from(view, offset)
        if size < 16:
            return
        yield kind, flags, sequence, view[offset + 16 : offset + size]
        offset += (size + 3) & ~3


def refusal(payload: memoryview) -> NetlinkError | None:
    code = -struct.unpack_from("=i", payload)[0]
    if code == 0:
        return None
    length = struct.unpack_from("=I", payload, 4)[0]
    words = (
        attribute_map(payload[(4 + length + 3) & ~3 :]).get(1)
        if len(payload) > 4 + length
        else None
    )
    detail = f": {bytes(words).rstrip(bytes(1)).decode()}" if words is not None else ""
    return NetlinkError(code, os.strerror(code) + detail)


def link(payload: memoryview) -> Link:
    _, _, index, flags, _ = IFINFO.unpack_from(payload)
    found = attribute_map(payload[16:])
    info = attribute_map(found[18]) if 18 in found else {}
    return Link(
        index=index,
        name=_text(found[3]),
        kind=_text(info[1]) if 1 in info else "",
        mac=bytes(found.get(1, b"")).hex(":"),
        mtu=_number(found.get(4)),
        up=bool(flags & _IFF_UP),
        carrier=bool(flags & _IFF_LOWER_UP),
        master=_number(found.get(10)),
        peer_index=_number(found.get(5)),
        forwarding=5 in info and bytes(attribute_map(info[5]).get(1, b"")) == b"\x03",
    )


def address(payload: memoryview) -> Address:
    _, length, _, _, index = struct.unpack_from("=BBBBI", payload)
    found = attribute_map(payload[8:])
    packed = found.get(2, found.get(1))
    assert packed is not None  # the kernel always sends one of them
    return Address(index, f"{ipaddress.ip_address(bytes(packed))}/{length}")


def route(payload: memoryview) -> Route:
    family, length, _, _, table, _, _, kind, _ = struct.unpack_from("=BBBBBBBBI", payload)
    found = attribute_map(payload[12:])
    empty = bytes(4 if family == socket.AF_INET else 16)
    return Route(
        destination=f"{ipaddress.ip_address(bytes(found.get(1, empty)))}/{length}",
        via=_ip(found.get(5)),
        index=_number(found.get(4)),
        source=_ip(found.get(7)),
        table=_number(found.get(15)) or table,
        metric=_number(found.get(6)),
        kind=_ROUTE_TYPE_NAMES.get(kind, str(kind)),
    )


def neighbour(payload: memoryview) -> Neighbour:
    _, _, index, state, _, _ = struct.unpack_from("=BxHiHBB", payload)
    found = attribute_map(payload[12:])
    return Neighbour(
        index=index,
        address=_ip(found.get(1)),
        mac=bytes(found.get(2, b"")).hex(":"),
        state=state,
        permanent=bool(state & PERMANENT),
    )


PARSERS: dict[int, Callable[[memoryview], Link | Address | Route | Neighbour]] = {
    NEWLINK: link,
    NEWADDR: address,
    NEWROUTE: route,
    NEWNEIGH: neighbour,
}


def _number(value: memoryview | None) -> int:
    return 0 if value is None else int(struct.unpack_from("=I", value)[0])


def _ip(value: memoryview | None) -> str:
    return "" if value is None else str(ipaddress.ip_address(bytes(value)))


def _text(value: memoryview) -> str:
    return bytes(value).rstrip(b"\0").decode()
