"""Connection tracking: list, filter, delete and follow flows, in any network namespace.

The proxy deletes stale UDP flows; `reach` reads which backend answered a probe from the reply tuple:
after DNAT it is the only place that shows the choice.
Sources: linux/netfilter/nfnetlink_conntrack.h, nf_conntrack_common.h.
"""

import errno
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Literal, Self

from todoku.linux import nfnetlink as nf
from todoku.linux.namespaces import Netns

TCP, UDP, SCTP, ICMP = 6, 17, 132, 1

STATUS_SEEN_REPLY, STATUS_ASSURED, STATUS_SOURCE_NAT, STATUS_DESTINATION_NAT = 2, 4, 16, 32

_NEW, _GET, _DELETE = (nf.SUBSYS_CTNETLINK << 8 | n for n in (0, 1, 2))
_GROUP_NEW, _GROUP_UPDATE, _GROUP_DESTROY = 1, 2, 3
_TUPLE_ORIG, _TUPLE_REPLY, _STATUS, _PROTOINFO, _TIMEOUT, _MARK = 1, 2, 3, 4, 7, 8
_ID, _ZONE, _FILTER = 12, 18, 25
_TUPLE_IP, _TUPLE_PROTO = 1, 2
_V4_SRC, _V4_DST, _V6_SRC, _V6_DST = 1, 2, 3, 4
_PROTO_NUM, _PROTO_SRC_PORT, _PROTO_DST_PORT = 1, 2, 3
_PROTOINFO_TCP, _TCP_STATE = 1, 1
_FILTER_ORIG_FLAGS, _FILTER_REPLY_FLAGS = 1, 2
_FLAG_IP_SRC, _FLAG_IP_DST, _FLAG_PROTO_NUM, _FLAG_SRC_PORT, _FLAG_DST_PORT = 1, 2, 8, 16, 32

TCP_STATES: Final = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT",
    "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tuple:
    """One direction of a flow; ports are 0 for protocols without."""

    source: str
    destination: str
    protocol: int
    source_port: int = 0
    destination_port: int = 0


@dataclass(frozen=True, slots=True)
class Flow:
    """One tracked connection.

    `reply` is the tuple that an answer carries: its source is who really answers (after DNAT), its
    destination whom the backend sees as the client (after masquerading).
    """

    original: Tuple
    reply: Tuple
    status: int = 0
    mark: int = 0
    zone: int = 0
    id: int = 0
    timeout_seconds: int = 0
    tcp_state: str = ""

    @property
    def backend(self) -> tuple[str, int]:
        """Address and port that the flow was really sent to."""
        return self.reply.source, self.reply.source_port

    @property
    def translated(self) -> bool:
        """Whether the destination was changed on the way."""
        return bool(self.status & STATUS_DESTINATION_NAT)


@dataclass(frozen=True, slots=True)
class Match:
    """Which flows are meant, by their original tuple; None and 0 mean any."""

    protocol: int | None = None
    source: str | None = None
    destination: str | None = None
    source_port: int = 0
    destination_port: int = 0

    def covers(self, flow: Flow) -> bool:
        tuple_ = flow.original
        return (
            self.protocol in (None, tuple_.protocol)
            and self.source in (None, tuple_.source)
            and self.destination in (None, tuple_.destination)
            and self.source_port in (0, tuple_.source_port)
            and self.destination_port in (0, tuple_.destination_port)
        )


EVERY: Final = Match()


class Conntrack:
    """The flows of one network namespace.  Blocking, short; one user at a time."""

    def __init__(self, netns: Netns = None, *, family: int = socket.AF_INET) -> None:
        self._family = family
        self._socket = nf.NetfilterSocket(netns)

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

    def flows(self, match: Match = EVERY) -> list[Flow]:
        """The flows that match; the kernel filters, so a big table costs little."""
        answers = self._socket.dump(_GET, self._family, _filter(match, self._family))
        flows = (_flow(answer) for answer in answers)
        return [flow for flow in flows if flow is not None and match.covers(flow)]

    def find(self, original: Tuple) -> Flow | None:
        """The flow that began with this tuple: one hash lookup, where every listing walks the whole table."""
        try:
            answer = self._socket.get(
                _GET, _family_of(original.source), _tuple(_TUPLE_ORIG, original)
            )
        except nf.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return None
            raise
        found = _flow(answer)
        # The kernel looks tuples of either direction up.
        return found if found is not None and found.original == original else None

    def delete(self, flow: Flow) -> bool:
        """Forget one flow; False if it was already gone (or replaced by another of the same tuple)."""
        body = _tuple(_TUPLE_ORIG, flow.original)
        if flow.zone:
            body += nf.u16(_ZONE, flow.zone)
        if flow.id:
            body += nf.u32(_ID, flow.id)
        try:
            self._socket.request(_DELETE, _family_of(flow.original.source), body)
        except nf.NetlinkError as error:
            if error.errno == errno.ENOENT:
                return False
            raise
        return True


@dataclass(frozen=True, slots=True)
class Change:
    """A conntrack event."""

    kind: Literal["new", "update", "destroy"]
    flow: Flow


class ConntrackEvents:
    """Follow flows as they come and go.

    Subscribe before the traffic: the kernel records events only while somebody listens.  `fileno`
    suits `loop.add_reader`; `read` never waits and yields what is there.
    """

    def __init__(self, netns: Netns = None) -> None:
        self._socket = nf.NetfilterSocket(netns, groups=(_GROUP_NEW, _GROUP_UPDATE, _GROUP_DESTROY))
        self._socket.grow_receive_buffer(1 << 22)
        self._socket.setblocking(False)

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

    def read(self) -> Iterator[Change]:
        """Every change queued so far.  Raises OSError(ENOBUFS) if some were lost: list again."""
        while True:
            try:
                messages = list(self._socket.receive())
            except BlockingIOError:
                return
            for kind, flags, body in messages:
                flow = _flow(body)
                if flow is None:
                    continue
                if kind == _DELETE:
                    yield Change("destroy", flow)
                elif kind == _NEW:
                    yield Change("new" if flags & nf.F_CREATE else "update", flow)


def _filter(match: Match, family: int) -> bytes:
    """A tuple and which of its fields count; the kernel (5.8) wants both or neither."""
    flags = 0
    wanted = Tuple(
        match.source or _any(family),
        match.destination or _any(family),
        match.protocol or 0,
        match.source_port,
        match.destination_port,
    )
    for used, flag in (
        (match.source, _FLAG_IP_SRC),
        (match.destination, _FLAG_IP_DST),
        (match.protocol, _FLAG_PROTO_NUM),
        (match.protocol and match.source_port, _FLAG_SRC_PORT),
        (match.protocol and match.destination_port, _FLAG_DST_PORT),
    ):
        flags |= flag if used else 0
    if not flags:
        return b""
    # Attribute values of CTA_FILTER are in host order, unlike everything else in ctnetlink.
    both = nf.attr(_FILTER_ORIG_FLAGS, flags.to_bytes(4, sys.byteorder)) + nf.attr(
        _FILTER_REPLY_FLAGS, bytes(4)
    )
    return _tuple(_TUPLE_ORIG, wanted, flags) + nf.nested(_FILTER, both)


def _tuple(kind: int, value: Tuple, flags: int = 0xFFFF) -> bytes:
    family = _family_of(value.source)
    source, destination = (_V4_SRC, _V4_DST) if family == socket.AF_INET else (_V6_SRC, _V6_DST)
    addresses = b""
    if flags & _FLAG_IP_SRC:
        addresses += nf.attr(source, socket.inet_pton(family, value.source))
    if flags & _FLAG_IP_DST:
        addresses += nf.attr(destination, socket.inet_pton(family, value.destination))
    protocol = b""
    if flags & _FLAG_PROTO_NUM:
        protocol += nf.attr(_PROTO_NUM, bytes((value.protocol,)))
    if flags & _FLAG_SRC_PORT:
        protocol += nf.u16(_PROTO_SRC_PORT, value.source_port)
    if flags & _FLAG_DST_PORT:
        protocol += nf.u16(_PROTO_DST_PORT, value.destination_port)
    parts = [nf.nested(_TUPLE_IP, addresses)] if addresses else []
    if protocol:
        parts.append(nf.nested(_TUPLE_PROTO, protocol))
    return nf.nested(kind, *parts)


def _family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _any(family: int) -> str:
    return "0.0.0.0" if family == socket.AF_INET else "::"


def _flow(body: memoryview) -> Flow | None:
    """The flow of a ctnetlink message; None for one without both tuples."""
    fields = nf.attribute_map(body)
    original, reply = fields.get(_TUPLE_ORIG), fields.get(_TUPLE_REPLY)
    if original is None or reply is None:
        return None
    return Flow(
        original=_parse_tuple(original),
        reply=_parse_tuple(reply),
        status=_number(fields.get(_STATUS)),
        mark=_number(fields.get(_MARK)),
        zone=_number(fields.get(_ZONE)),
        id=_number(fields.get(_ID)),
        timeout_seconds=_number(fields.get(_TIMEOUT)),
        tcp_state=_tcp_state(fields.get(_PROTOINFO)),
    )


def _parse_tuple(data: memoryview) -> Tuple:
    fields = nf.attribute_map(data)
    addresses = nf.attribute_map(fields.get(_TUPLE_IP, b""))
    protocol = nf.attribute_map(fields.get(_TUPLE_PROTO, b""))
    if _V4_SRC in addresses:
        family, source, destination = socket.AF_INET, _V4_SRC, _V4_DST
    else:
        family, source, destination = socket.AF_INET6, _V6_SRC, _V6_DST
    return Tuple(
        source=socket.inet_ntop(family, addresses[source]),
        destination=socket.inet_ntop(family, addresses[destination]),
        protocol=_number(protocol.get(_PROTO_NUM)),
        source_port=_number(protocol.get(_PROTO_SRC_PORT)),
        destination_port=_number(protocol.get(_PROTO_DST_PORT)),
    )


def _number(data: memoryview | None) -> int:
    return 0 if data is None else int.from_bytes(data, "big")


def _tcp_state(protoinfo: memoryview | None) -> str:
    if protoinfo is None:
        return ""
    tcp = nf.attribute_map(protoinfo).get(_PROTOINFO_TCP)
    if tcp is None:
        return ""
    number = _number(nf.attribute_map(tcp).get(_TCP_STATE))
    return TCP_STATES[number] if number < len(TCP_STATES) else str(number)
