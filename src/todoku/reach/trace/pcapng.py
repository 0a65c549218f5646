"""The frames of one connection, and the file that Wireshark and tcpdump read (pure).

pcapng rather than pcap: it names the interface of each frame, so that one file shows every place in turn.
Source: draft-ietf-opsawg-pcapng; RFC 791, 826, 7348 (VXLAN).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from todoku.linux.capture import Frame
from todoku.linux.conntrack import Tuple

_ETHERNET = 14
_IPV4, _ARP = 0x0800, 0x0806
_ICMP, _TCP, _UDP = 1, 6, 17
_VXLAN_PORTS = (8472, 4789)
_UNREACHABLE = (3, 11, 12)  # ICMP errors carry the header of the packet they are about
_LINKTYPE_ETHERNET = 1
_SECTION, _INTERFACE, _PACKET = 0x0A0D0D0A, 1, 6
_OPTION_NAME, _OPTION_RESOLUTION, _OPTION_FLAGS = 2, 9, 2
_NANOSECONDS = b"\x09"


@dataclass(frozen=True, slots=True)
class Caught:
    """A frame and the place that saw it."""

    place: str
    frame: Frame


def concerns(data: bytes, tuples: Collection[Tuple], neighbours: Collection[str]) -> bool:
    """Whether an Ethernet frame belongs to the connection: itself, inside VXLAN, an ICMP error about it, or ARP.

    `tuples` are all forms of its packets, both directions; `neighbours` the addresses that are looked for by ARP.
    """
    if len(data) < _ETHERNET:
        return False
    kind = int.from_bytes(data[12:14], "big")
    if kind == _ARP and len(data) >= _ETHERNET + 28:
        asked = socket.inet_ntoa(data[38:42]), socket.inet_ntoa(data[28:32])
        return any(address in neighbours for address in asked)
    return kind == _IPV4 and _packet_concerns(data[_ETHERNET:], tuples, neighbours)


def _packet_concerns(packet: bytes, tuples: Collection[Tuple], neighbours: Collection[str]) -> bool:
    if len(packet) < 20 or packet[0] >> 4 != 4:
        return False
    start = (packet[0] & 0x0F) * 4
    inner = packet[start:]
    protocol = packet[9]
    if protocol == _ICMP and inner[:1] and inner[0] in _UNREACHABLE:
        return _packet_concerns(inner[8:], tuples, neighbours)
    if protocol not in (_TCP, _UDP) or len(inner) < 8:
        return False
    source_port, destination_port = struct.unpack_from(">HH", inner)
    seen = Tuple(
        socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), protocol, source_port,
        destination_port,
    )  # fmt: skip
    if seen in tuples:
        return True
    wrapped = protocol == _UDP and destination_port in _VXLAN_PORTS
    # Only the packets inside the tunnel: ARP there asks for other things.
    return wrapped and concerns(inner[16:], tuples, ())


def file(frames: Iterable[Caught]) -> bytes:
    """A pcapng file: one interface `place:name` for each that saw something, frames in the order of time."""
    ordered = sorted(frames, key=lambda one: one.frame.time_ns)
    interfaces = list(dict.fromkeys(_name(one) for one in ordered))
    blocks = [_block(_SECTION, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))]
    blocks += [_described(name) for name in interfaces]
    blocks += [_enhanced(interfaces.index(_name(one)), one.frame) for one in ordered]
    return b"".join(blocks)


def _name(one: Caught) -> str:
    return f"{one.place}:{one.frame.interface}"


def _described(name: str) -> bytes:
    head = struct.pack("<HHI", _LINKTYPE_ETHERNET, 0, 0)
    named = _options([(_OPTION_NAME, name.encode()), (_OPTION_RESOLUTION, _NANOSECONDS)])
    return _block(_INTERFACE, head + named)


def _enhanced(interface: int, frame: Frame) -> bytes:
    size = len(frame.data)
    high, low = frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF
    head = struct.pack("<IIIII", interface, high, low, size, size)
    direction = struct.pack("<I", 2 if frame.outgoing else 1)
    padded = frame.data + bytes(-size % 4)
    return _block(_PACKET, head + padded + _options([(_OPTION_FLAGS, direction)]))


def _options(listed: Sequence[tuple[int, bytes]]) -> bytes:
    parts = [
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in listed
    ]
    return b"".join(parts) + struct.pack("<HH", 0, 0)


def _block(kind: int, body: bytes) -> bytes:
    size = 12 + len(body)
    return struct.pack("<II", kind, size) + body + struct.pack("<I", size)
