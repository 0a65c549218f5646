"""Sockets of rtnetlink: requests with their answers, and what the kernel tells by itself.

Source: netlink(7), rtnetlink(7), linux/rtnetlink.h.
"""

from __future__ import annotations

import errno
import socket
from typing import Final

from todoku.linux import rtnetlink
from todoku.linux.namespaces import Netns, socket_in
from todoku.linux.nfnetlink import NetlinkError
from todoku.linux.rtnetlink import HEADER, Address, Link, Neighbour, Route

_NETLINK_ROUTE = 0
_REQUEST, _ACK, _DUMP = 1, 4, 0x300
_DUMP_INTERRUPTED = 0x10
_ERROR, _DONE = 2, 3
_SOL_NETLINK, _ADD_MEMBERSHIP, _EXT_ACK = 270, 1, 11
_RECEIVE_BYTES = 1 << 18

GROUPS: Final = {
    "link": 1,
    "neighbour": 3,
    "address4": 5,
    "route4": 7,
    "address6": 9,
    "route6": 11,
}
"""Groups that a `Monitor` can join (RTNLGRP_*)."""


class Connection:
    """Requests to one network namespace, one at a time.  The kernel answers before `send` returns."""

    def __init__(self, netns: Netns = None) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket_in(netns, socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        self._sequence = 0
        try:
            self._socket.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            self._socket.bind((0, 0))
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def request(
        self,
        kind: int,
        flags: int,
        body: bytes,
        *,
        missing: tuple[int, ...] = (),
        answer: bool = False,
    ) -> memoryview:
        """Send one request and return its answer; errors in `missing` are none.  Raises NetlinkError."""
        self._sequence += 1
        wanted = 0 if answer else _ACK
        header = HEADER.pack(16 + len(body), kind, _REQUEST | wanted | flags, self._sequence, 0)
        self._socket.send(header + body)
        while True:
            for found, _, sequence, payload in rtnetlink.messages(
                self._socket.recv(_RECEIVE_BYTES)
            ):
                if sequence != self._sequence:
                    continue
                if found != _ERROR:
                    return payload
                error = rtnetlink.refusal(payload)
                if error is not None and error.errno not in missing:
                    raise error
                return payload

    def dump(self, kind: int, body: bytes) -> list[memoryview]:
        """List a table, again if it changes meanwhile.  Raises NetlinkError."""
        for _ in range(20):
            self._sequence += 1
            header = HEADER.pack(16 + len(body), kind, _REQUEST | _DUMP, self._sequence, 0)
            self._socket.send(header + body)
            answers = self._collect()
            if answers is not None:
                return answers
        raise NetlinkError(errno.EAGAIN, "the table changed during every attempt to list it")

    def _collect(self) -> list[memoryview] | None:
        """The answers to a dump, or None if the kernel says that the table changed meanwhile."""
        answers: list[memoryview] = []
        interrupted = False
        while True:
            for kind, flags, sequence, payload in rtnetlink.messages(
                self._socket.recv(_RECEIVE_BYTES)
            ):
                if sequence != self._sequence:
                    continue
                interrupted = interrupted or bool(flags & _DUMP_INTERRUPTED)
                if kind == _DONE:
                    return None if interrupted else answers
                if kind == _ERROR:
                    error = rtnetlink.refusal(payload)
                    if error is not None:
                        raise error
                answers.append(payload)


class Monitor:
    """Tells when links, addresses, routes or neighbours of a namespace change.

    Non-blocking: hand `fileno()` to the loop's `add_reader` and call `read` when it fires.
    """

    def __init__(self, netns: Netns = None, *, groups: tuple[str, ...] = ("link",)) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket_in(netns, socket.AF_NETLINK, kind, _NETLINK_ROUTE)
        try:
            self._socket.bind((0, 0))
            for group in groups:
                self._socket.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, GROUPS[group])
        except BaseException:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def read(self) -> list[tuple[bool, Link | Address | Route | Neighbour]] | None:
        """What has happened, as (present now, what); None if events were lost: list everything anew."""
        found: list[tuple[bool, Link | Address | Route | Neighbour]] = []
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                return found
            except OSError as error:
                if error.errno == errno.ENOBUFS:
                    return None
                raise
            for kind, _, _, payload in rtnetlink.messages(data):
                # A deletion is the addition's number plus one.
                parse = rtnetlink.PARSERS.get(kind & ~1)
                if parse is not None:
                    found.append((kind % 4 == 0, parse(payload)))
