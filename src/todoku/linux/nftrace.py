"""Packet traces of many network namespaces on one socket.

A rule `meta nftrace set 1` flags a packet; the kernel then reports each rule it matches and each chain end to the
netlink group NFTRACE.  With `NETLINK_LISTEN_ALL_NSID` one socket hears every namespace that has an id (nsid) in the
socket's own namespace, each message tagged with that id, in the order in which things happened.
Sources: linux/netfilter/nf_tables.h (NFTA_TRACE_*), netlink(7), linux/net_namespace.h.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from todoku.linux import nfnetlink as nf
from todoku.linux.namespaces import Netns, socket_in

_GROUP_NFTRACE: Final = 9
_SOL_NETLINK, _ADD_MEMBERSHIP, _LISTEN_ALL_NSID = 270, 1, 8
_MESSAGE_TRACE: Final = nf.SUBSYS_NFTABLES << 8 | 17
_NFTABLE, _CHAIN, _HANDLE, _TYPE, _VERDICT, _ID = 1, 2, 3, 4, 5, 6
_NETWORK, _TRANSPORT, _IIF, _OIF, _MARK, _FAMILY, _POLICY = 8, 9, 10, 12, 14, 15, 16
_VERDICT_CODE, _VERDICT_CHAIN = 1, 2
_VERDICTS: Final = {
    0: "drop", 1: "accept", 2: "stolen", 3: "queue", -1: "continue", -2: "break",
    -3: "jump", -4: "goto", -5: "return",
}  # fmt: skip
_KINDS: Final[dict[int, Literal["policy", "return", "rule"]]] = {
    1: "policy", 2: "return", 3: "rule",
}  # fmt: skip
_FAMILIES: Final = {1: "inet", 2: "ip", 7: "bridge", 10: "ip6"}

_RTM_NEWNSID, _RTM_GETNSID = 88, 90
_NSID, _NSID_FD = 1, 3
_NO_NSID = -1
_HEADER = struct.Struct("=IHHII")


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """One step of one packet: a rule that matched, a chain that returned, or a policy that decided.

    `nsid` names the namespace (see `nsid`), `packet` is the kernel's id of the packet in its hook run, which is
    not unique over time.  `network` and `transport` are the first bytes of the headers, sent once per chain.
    """

    nsid: int
    packet: int
    kind: Literal["policy", "return", "rule"]
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    network: bytes
    transport: bytes
    in_index: int
    out_index: int
    mark: int


class TraceSocket:
    """Hears traces of all namespaces known to `home`; `read` never waits."""

    def __init__(self, home: Netns = None) -> None:
        self._socket = socket_in(
            home, socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nf.NETLINK_NETFILTER
        )
        try:
            self._socket.setsockopt(_SOL_NETLINK, _LISTEN_ALL_NSID, 1)
            self._socket.bind((0, 0))
            self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTRACE)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
            self._socket.setblocking(False)
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
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def read(self) -> Iterator[TraceEvent]:
        """Every event queued so far.  Raises OSError(ENOBUFS) if some were lost."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(1 << 16, socket.CMSG_SPACE(4))
            except BlockingIOError:
                return
            nsid = _tagged(ancillary)
            for kind, body in _messages(data):
                if kind == _MESSAGE_TRACE:
                    yield _event(nsid, body)


def nsid(home: Netns, target: str) -> int:
    """The id under which `home` knows the namespace at path `target`, given now if it has none."""
    descriptor = os.open(target, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with socket_in(home, socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
            known = _ask_nsid(route, descriptor)
            if known == _NO_NSID:
                _give_nsid(route, descriptor)
                known = _ask_nsid(route, descriptor)
            return known
    finally:
        os.close(descriptor)


def _ask_nsid(route: socket.socket, descriptor: int) -> int:
    body = bytes(4) + nf.attr(_NSID_FD, struct.pack("=I", descriptor))
    route.send(_HEADER.pack(16 + len(body), _RTM_GETNSID, nf.F_REQUEST, 1, 0) + body)
    for kind, answer in _messages(route.recv(4096), generic=4):
        if kind == nf.NLMSG_ERROR:
            raise OSError(-struct.unpack_from("=i", answer)[0], "RTM_GETNSID")
        value = nf.attribute_map(answer).get(_NSID)
        if value is not None:
            return int(struct.unpack("=i", value)[0])
    return _NO_NSID


def _give_nsid(route: socket.socket, descriptor: int) -> None:
    body = bytes(4) + nf.attr(_NSID, struct.pack("=i", _NO_NSID))
    body += nf.attr(_NSID_FD, struct.pack("=I", descriptor))
    flags = nf.F_REQUEST | nf.F_ACK
    route.send(_HEADER.pack(16 + len(body), _RTM_NEWNSID, flags, 2, 0) + body)
    code = struct.unpack_from("=i", route.recv(4096), 16)[0]
    if code:
        raise OSError(-code, f"RTM_NEWNSID: {os.strerror(-code)}")


def _tagged(ancillary: list[tuple[int, int, bytes]]) -> int:
    """The nsid of a message; -1 for the socket's own namespace, which is not tagged."""
    for level, kind, value in ancillary:
        if level == _SOL_NETLINK and kind == _LISTEN_ALL_NSID:
            return int(struct.unpack_from("=i", value)[0])
    return _NO_NSID


def _messages(data: bytes, *, generic: int = 4) -> Iterator[tuple[int, memoryview]]:
    """(type, body) of each message, the `generic` bytes of family header removed; errors keep their code."""
    view, offset = memoryview(data), 0
    while offset + 16 <= len(view):
        size, kind, _, _, _ = _HEADER.unpack_from(view, offset)
        if size < 16:
            return
        skipped = 0 if kind == nf.NLMSG_ERROR else generic
        yield kind, view[offset + 16 + skipped : offset + size]
        offset += (size + 3) & ~3


def _event(nsid: int, body: memoryview) -> TraceEvent:
    fields = nf.attribute_map(body)
    verdict = nf.attribute_map(fields.get(_VERDICT, memoryview(b"")))
    kind = _KINDS.get(_number(fields.get(_TYPE)), "rule")
    code = _signed(verdict.get(_VERDICT_CODE))
    if kind == "policy":
        code = _signed(fields.get(_POLICY))
    return TraceEvent(
        nsid=nsid,
        packet=_number(fields.get(_ID)),
        kind=kind,
        family=_FAMILIES.get(_number(fields.get(_FAMILY)), "?"),
        table=_text(fields.get(_NFTABLE)),
        chain=_text(fields.get(_CHAIN)),
        handle=_number(fields.get(_HANDLE)),
        verdict=_VERDICTS.get(code, str(code)),
        target=_text(verdict.get(_VERDICT_CHAIN)),
        network=bytes(fields.get(_NETWORK, b"")),
        transport=bytes(fields.get(_TRANSPORT, b"")),
        in_index=_number(fields.get(_IIF)),
        out_index=_number(fields.get(_OIF)),
        mark=_number(fields.get(_MARK)),
    )


def _number(data: memoryview | None) -> int:
    return 0 if data is None else int.from_bytes(data, "big")


def _signed(data: memoryview | None) -> int:
    return 0 if data is None else int.from_bytes(data, "big", signed=True)


def _text(data: memoryview | None) -> str:
    return "" if data is None else bytes(data).split(b"\0", 1)[0].decode()
