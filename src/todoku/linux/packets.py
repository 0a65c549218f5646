"""ARP and NDP: the packets, and the sockets that carry them.

Codecs are pure; the sockets belong to the network namespace of the thread that opens them and need NET_RAW.
Source: RFC 826 (ARP), RFC 5227 (announcements), RFC 4861 (neighbour discovery), packet(7), icmp6(4).
"""

import ipaddress
import socket
import struct
from dataclasses import dataclass

ETH_P_ARP = 0x0806
BROADCAST = b"\xff" * 6
REQUEST, REPLY = 1, 2
NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT = 135, 136
ALL_NODES = ipaddress.IPv6Address("ff02::1")
OVERRIDE, SOLICITED = 0x20000000, 0x40000000

_ETHERNET = struct.Struct("!6s6sH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_ND = struct.Struct("!BBHI16s")
_ICMP6_FILTER = 1
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2
_HOP_LIMIT = 255


@dataclass(frozen=True, slots=True)
class Arp:
    """An ARP packet for IPv4 over Ethernet, with the addresses of the frame around it."""

    operation: int
    sender_mac: bytes
    sender: ipaddress.IPv4Address
    target_mac: bytes
    target: ipaddress.IPv4Address
    frame_source: bytes = b"\x00" * 6
    frame_target: bytes = BROADCAST

    def encode(self) -> bytes:
        """The Ethernet frame."""
        return _ETHERNET.pack(self.frame_target, self.frame_source, ETH_P_ARP) + _ARP.pack(
            1, 0x0800, 6, 4, self.operation,
            self.sender_mac, self.sender.packed, self.target_mac, self.target.packed,
        )  # fmt: skip


def decode_arp(frame: bytes) -> Arp | None:
    """Read an Ethernet frame; None for anything but ARP for IPv4 over Ethernet."""
    if len(frame) < _ETHERNET.size + _ARP.size:
        return None
    target, source, ether_type = _ETHERNET.unpack_from(frame)
    fields = _ARP.unpack_from(frame, _ETHERNET.size)
    if ether_type != ETH_P_ARP or fields[:4] != (1, 0x0800, 6, 4):
        return None
    operation, sender_mac, sender, target_mac, asked = fields[4:]
    return Arp(
        operation, sender_mac, ipaddress.IPv4Address(sender), target_mac,
        ipaddress.IPv4Address(asked), frame_source=source, frame_target=target,
    )  # fmt: skip


def arp_reply(request: Arp, mac: bytes) -> Arp:
    """The unicast answer to a request: `mac` has the address that was asked for."""
    return Arp(
        REPLY, mac, request.target, request.sender_mac, request.sender,
        frame_source=mac, frame_target=request.sender_mac,
    )  # fmt: skip


def gratuitous_arp(address: ipaddress.IPv4Address, mac: bytes) -> tuple[Arp, Arp]:
    """A broadcast request and reply with sender = target = the address; some stacks heed only one of them."""
    return (
        Arp(REQUEST, mac, address, BROADCAST, address, frame_source=mac),
        Arp(REPLY, mac, address, BROADCAST, address, frame_source=mac),
    )


def arp_socket(interface: str) -> socket.socket:
    """A non-blocking AF_PACKET socket for the ARP frames of one interface.  Raises OSError."""
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.setblocking(False)
        sock.bind((interface, ETH_P_ARP))
    except OSError:
        sock.close()
        raise
    return sock


@dataclass(frozen=True, slots=True)
class Solicitation:
    """Who has `target`?  `source_mac` is None without the source link-layer option."""

    target: ipaddress.IPv6Address
    source_mac: bytes | None


def decode_solicitation(message: bytes) -> Solicitation | None:
    """Read an ICMPv6 message; None for anything but a neighbour solicitation."""
    if len(message) < _ND.size:
        return None
    kind, code, _, _, target = _ND.unpack_from(message)
    if kind != NEIGHBOR_SOLICITATION or code != 0:
        return None
    return Solicitation(ipaddress.IPv6Address(target), _link_address(message[_ND.size :]))


def neighbor_solicitation(target: ipaddress.IPv6Address, mac: bytes) -> bytes:
    """The ICMPv6 message that asks for `target`; the kernel fills in the checksum."""
    head = _ND.pack(NEIGHBOR_SOLICITATION, 0, 0, 0, target.packed)
    return head + bytes((_SOURCE_LINK_ADDRESS, 1)) + mac


def neighbor_advertisement(
    target: ipaddress.IPv6Address, mac: bytes, *, solicited: bool, override: bool
) -> bytes:
    """The ICMPv6 message `target` is at `mac`; the kernel fills in the checksum."""
    flags = (SOLICITED if solicited else 0) | (OVERRIDE if override else 0)
    head = _ND.pack(NEIGHBOR_ADVERTISEMENT, 0, 0, flags, target.packed)
    return head + bytes((_TARGET_LINK_ADDRESS, 1)) + mac


def solicited_node(address: ipaddress.IPv6Address) -> ipaddress.IPv6Address:
    """The multicast group in which neighbours ask for an address (RFC 4291 2.7.1)."""
    return ipaddress.IPv6Address(
        0xFF02_0000_0000_0000_0000_0001_FF00_0000 | int(address) & 0xFFFFFF
    )


def ndp_socket(interface: str) -> socket.socket:
    """A non-blocking raw ICMPv6 socket on one interface that receives solicitations only.

    Received messages start at the ICMPv6 header; `receive_solicitation` checks the hop limit.  Raises OSError.
    """
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode() + b"\0")
        passed = bytearray(b"\xff" * 32)
        passed[NEIGHBOR_SOLICITATION // 8] &= 0xFF ^ (1 << NEIGHBOR_SOLICITATION % 8)
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, _native_words(bytes(passed)))
        for option in (socket.IPV6_UNICAST_HOPS, socket.IPV6_MULTICAST_HOPS):
            sock.setsockopt(socket.IPPROTO_IPV6, option, _HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
        sock.setsockopt(
            socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(interface)
        )
    except OSError:
        sock.close()
        raise
    return sock


def join_group(sock: socket.socket, group: ipaddress.IPv6Address, index: int) -> None:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, _membership(group, index))


def leave_group(sock: socket.socket, group: ipaddress.IPv6Address, index: int) -> None:
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_LEAVE_GROUP, _membership(group, index))


def receive_solicitation(
    sock: socket.socket,
) -> tuple[Solicitation, ipaddress.IPv6Address] | None:
    """Read one message; None if it is no valid solicitation.  Raises BlockingIOError when none waits.

    A hop limit other than 255 came through a router and is not a neighbour's (RFC 4861 7.1.1).
    """
    data, ancillary, _, sender = sock.recvmsg(2048, 256)
    hops = [
        int.from_bytes(value[:4], "little" if struct.pack("=H", 1)[0] else "big")
        for level, kind, value in ancillary
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_HOPLIMIT
    ]
    found = decode_solicitation(data)
    if found is None or hops != [_HOP_LIMIT]:
        return None
    return found, ipaddress.IPv6Address(sender[0].partition("%")[0])


def _link_address(options: bytes) -> bytes | None:
    """The source link-layer address among ND options; a zero length ends the reading (RFC 4861 4.6)."""
    while len(options) >= 8 and options[1]:
        if options[0] == _SOURCE_LINK_ADDRESS and options[1] == 1:
            return options[2:8]
        options = options[options[1] * 8 :]
    return None


def _membership(group: ipaddress.IPv6Address, index: int) -> bytes:
    return group.packed + struct.pack("@I", index)


def _native_words(bits: bytes) -> bytes:
    """ICMP6_FILTER counts bits in native 32-bit words."""
    return struct.pack("=8I", *struct.unpack("<8I", bits))
