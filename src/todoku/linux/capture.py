"""Every frame that the interfaces of a network namespace send and receive, with the kernel's time.

Source: packet(7) (AF_PACKET, PACKET_STATISTICS), socket(7) (SO_TIMESTAMPNS).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from todoku.linux.namespaces import Netns, socket_in

_EVERY_PROTOCOL: Final = 0x0003
_OUTGOING: Final = 4
_TIMESTAMP_NS: Final = 35  # SO_TIMESTAMPNS and SCM_TIMESTAMPNS
_SOL_PACKET, _STATISTICS = 263, 6
_TIME: Final = struct.Struct("@qq")
_FRAME_BYTES: Final = 65_600
_BUFFER_BYTES: Final = 1 << 21


@dataclass(frozen=True, slots=True)
class Frame:
    """One Ethernet frame as an interface saw it; `data` starts at the Ethernet header."""

    interface: str
    outgoing: bool
    time_ns: int
    data: bytes


class Capture:
    """Listens on all interfaces of one namespace; `read` never waits.  Needs NET_RAW.  Raises OSError."""

    def __init__(self, netns: Netns = None) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        # htons: packet(7) wants the protocol in network order, which Python's bind converts and socket() does not.
        self._socket = socket_in(netns, socket.AF_PACKET, kind, socket.htons(_EVERY_PROTOCOL))
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _TIMESTAMP_NS, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        except BaseException:
            self._socket.close()
            raise

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
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> Iterator[Frame]:
        """Every frame queued so far, loopback's once."""
        room = socket.CMSG_SPACE(_TIME.size)
        while True:
            try:
                data, ancillary, _, sender = self._socket.recvmsg(_FRAME_BYTES, room)
            except BlockingIOError:
                return
            interface, outgoing = str(sender[0]), sender[2] == _OUTGOING
            if outgoing and interface == "lo":
                continue  # it comes back in at once
            yield Frame(interface, outgoing, _time_ns(ancillary), data)

    def lost(self) -> int:
        """Frames since the last call that found no room; the kernel counts anew after each."""
        told = self._socket.getsockopt(_SOL_PACKET, _STATISTICS, 8)
        return int(struct.unpack("@II", told)[1])


def _time_ns(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, value in ancillary:
        if level == socket.SOL_SOCKET and kind == _TIMESTAMP_NS:
            seconds, nanoseconds = _TIME.unpack_from(value)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return 0
