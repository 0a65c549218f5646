"""Netlink as netfilter speaks it: attributes, batches and dumps on one `NETLINK_NETFILTER` socket.

`linux.nftables` and `linux.conntrack` share it.  pyroute2 has no working nftables and costs 0.4 s to
import; these are the 200 lines that both need.  Source: linux/netfilter/nfnetlink.h, netlink(7).
"""

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Final, Self

from todoku.linux.namespaces import Netns, socket_in

NETLINK_NETFILTER: Final = 12
NLMSG_ERROR, NLMSG_DONE, NLMSG_OVERRUN = 2, 3, 4
F_REQUEST, F_MULTI, F_ACK, F_DUMP_INTR = 0x1, 0x2, 0x4, 0x10
F_DUMP, F_CREATE, F_EXCL, F_CAPPED, F_ACK_TLVS = 0x300, 0x400, 0x200, 0x100, 0x200
BATCH_BEGIN, BATCH_END = 0x10, 0x11
SUBSYS_CTNETLINK, SUBSYS_NFTABLES = 1, 10
NESTED, BIG_ENDIAN = 0x8000, 0x4000

_SOL_NETLINK, _EXT_ACK, _ADD_MEMBERSHIP = 270, 11, 1
_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33
_HEADER = struct.Struct("=IHHII")
_ATTR = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 18
_TYPE_MASK = 0x3FFF


class NetlinkError(OSError):
    """The kernel refused a message; `index` is its place in the batch (-1 if unknown)."""

    def __init__(self, code: int, detail: str = "", index: int = -1) -> None:
        super().__init__(code, detail or os.strerror(code))
        self.index = index


def attr(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    size = 4 + len(payload)
    return _ATTR.pack(size, kind) + payload + b"\0" * (-size % 4)


def nested(kind: int, *payloads: bytes) -> bytes:
    return attr(kind | NESTED, b"".join(payloads))


def text(kind: int, value: str) -> bytes:
    return attr(kind, value.encode() + b"\0")


def u32(kind: int, value: int) -> bytes:
    return attr(kind, value.to_bytes(4, "big"))


def u16(kind: int, value: int) -> bytes:
    return attr(kind, value.to_bytes(2, "big"))


def attributes(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """The (type, payload) pairs of an attribute stream; the nested flag is taken off the type."""
    view = memoryview(data)
    offset, end = 0, len(view)
    while offset + 4 <= end:
        size, kind = _ATTR.unpack_from(view, offset)
        if size < 4 or offset + size > end:
            return
        yield kind & _TYPE_MASK, view[offset + 4 : offset + size]
        offset += (size + 3) & ~3


def attribute_map(data: bytes | memoryview) -> dict[int, memoryview]:
    return dict(attributes(data))


def message(
    kind: int, flags: int, sequence: int, family: int, body: bytes, resource: int = 0
) -> bytes:
    """A netlink message with its nfgenmsg header; `resource` is the subsystem for a batch mark."""
    size = 20 + len(body)
    generic = struct.pack("=BB", family, 0) + resource.to_bytes(2, "big")
    return _HEADER.pack(size, kind, F_REQUEST | flags, sequence, 0) + generic + body


class NetfilterSocket:
    """A netfilter netlink socket in a chosen network namespace; blocking, one user at a time.

    It stays in the namespace it was made in, whatever its thread enters later.
    """

    def __init__(self, netns: Netns = None, *, groups: Iterable[int] = ()) -> None:
        self._socket = socket_in(
            netns, socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._sequence = 1
        try:
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, group)
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

    def request(self, kind: int, family: int, body: bytes, *, flags: int = 0) -> None:
        """Send one message and wait for its acknowledgement; raises NetlinkError."""
        sequence = self._next(1)
        self._socket.send(message(kind, flags | F_ACK, sequence, family, body))
        self._await_acknowledgements(sequence, sequence)

    def get(self, kind: int, family: int, body: bytes) -> memoryview:
        """The one answer to a question about one object, without its headers; raises NetlinkError (ENOENT)."""
        sequence = self._next(1)
        self._socket.send(message(kind, 0, sequence, family, body))
        while True:
            for answered, flags, number, payload in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if number != sequence:
                    continue
                if answered != NLMSG_ERROR:
                    return payload[4:]
                error = _error(payload, flags, 0)
                raise error or NetlinkError(errno.ENOENT, "acknowledged without an answer")

    def batch(self, messages: list[tuple[int, int, int, bytes]], *, subsystem: int) -> None:
        """Send (kind, flags, family, body) messages as one transaction: all of them or none.

        Raises NetlinkError whose index says which message the kernel refused first.
        """
        if not messages:
            return
        first = self._next(len(messages) + 2)
        last = first + len(messages)
        parts = [message(BATCH_BEGIN, 0, first, 0, b"", subsystem)]
        for number, (kind, flags, family, body) in enumerate(messages, first + 1):
            acknowledge = F_ACK if number == last else 0
            parts.append(message(kind, flags | acknowledge, number, family, body))
        parts.append(message(BATCH_END, 0, last + 1, 0, b"", subsystem))
        data = b"".join(parts)
        self._make_room(len(data))
        self._socket.send(data)
        self._await_acknowledgements(first + 1, last)

    def dump(self, kind: int, family: int, body: bytes = b"") -> list[memoryview]:
        """Every answer to a dump request, each without its headers.

        Repeated if the kernel says that the table changed meanwhile.
        """
        for _ in range(20):
            sequence = self._next(1)
            self._socket.send(message(kind, F_DUMP, sequence, family, body))
            answers, interrupted = self._collect(sequence)
            if not interrupted:
                return answers
        raise NetlinkError(errno.EAGAIN, "the table changed during every attempt to list it")

    def receive(self) -> Iterator[tuple[int, int, memoryview]]:
        """Wait for one datagram and yield its (type, flags, body) messages, headers removed."""
        for kind, flags, _, payload in _messages(self._socket.recv(_RECEIVE_BYTES)):
            yield kind, flags, payload[4:]

    def setblocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def grow_receive_buffer(self, size_bytes: int) -> None:
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, size_bytes)
        except PermissionError:  # a user namespace's root may only grow up to rmem_max
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)

    def _next(self, count: int) -> int:
        first = self._sequence
        self._sequence += count
        if self._sequence > 0x7FFFFFFF:
            first, self._sequence = 1, count + 1
        return first

    def _make_room(self, size: int) -> None:
        if size < self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2:
            return
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_SNDBUFFORCE, size * 2)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size * 2)

    def _await_acknowledgements(self, first: int, last: int) -> None:
        failure: NetlinkError | None = None
        while True:
            for kind, flags, sequence, payload in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind != NLMSG_ERROR or not (first - 1 <= sequence <= last + 1):
                    continue
                error = _error(payload, flags, sequence - first)
                if error is not None and failure is None:
                    failure = error
                if sequence == last or (error is not None and sequence in (first - 1, last + 1)):
                    if failure is not None:
                        raise failure
                    return

    def _collect(self, wanted: int) -> tuple[list[memoryview], bool]:
        answers: list[memoryview] = []
        interrupted = False
        while True:
            for kind, flags, sequence, payload in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if sequence != wanted:
                    continue
                interrupted = interrupted or bool(flags & F_DUMP_INTR)
                if kind == NLMSG_DONE:
                    return answers, interrupted
                if kind == NLMSG_ERROR:
                    error = _error(payload, flags, 0)
                    if error is not None and error.errno == errno.EINTR:
                        return [], True
                    if error is not None:
                        raise error
                    return answers, interrupted
                answers.append(payload[4:])


def _messages(data: bytes) -> Iterator[tuple[int, int, int, memoryview]]:
    view = memoryview(data)
    offset, end = 0, len(view)
    while offset + 16 <= end:
        size, kind, flags, sequence, _ = _HEADER.unpack_from(view, offset)
        if size < 16:
            return
        yield kind, flags, sequence, view[offset + 16 : offset + size]
        offset += (size + 3) & ~3


def _error(payload: memoryview, flags: int, index: int) -> NetlinkError | None:
    code = -struct.unpack_from("=i", payload)[0]
    if code == 0:
        return None
    return NetlinkError(code, _detail(payload, flags, code), index)


def _detail(payload: memoryview, flags: int, code: int) -> str:
    """The extended acknowledgement's message, if the kernel sent one."""
    if not flags & F_ACK_TLVS:
        return os.strerror(code)
    original = struct.unpack_from("=I", payload, 4)[0]
    skipped = 20 if flags & F_CAPPED else 4 + original
    words = attribute_map(payload[(skipped + 3) & ~3 :]).get(1)
    if words is None:
        return os.strerror(code)
    return f"{os.strerror(code)}: {bytes(words).rstrip(bytes(1)).decode()}"
