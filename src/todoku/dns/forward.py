"""Names outside the cluster: asked upstream if somebody answers there, refused at once if not.

A lab has often no way out.  An upstream server is therefore used only while it is known to answer: it is
probed at the start and then now and again, and one question without an answer puts it aside.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from todoku.aio import log as logs
from todoku.dns import packets

log = logs.get(__name__)

ANSWER_SECONDS = 1.0
_PROBE_SECONDS = 5.0
_MAX_WAITING = 1000

Deliver = Callable[[bytes | None], None]
"""Takes the upstream's packet (its identifier restored), or None if there is none."""


def upstreams_of(resolv_conf: str, *, own: frozenset[str]) -> tuple[str, ...]:
    """The name servers of a resolv.conf, without those that lead back to us."""
    found = []
    for line in resolv_conf.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver" and _usable(words[1], own):
            found.append(words[1])
    return tuple(found)


@dataclass(slots=True)
class _Waiting:
    identifier: bytes
    deliver: Deliver
    timeout: asyncio.TimerHandle


class Upstream(asyncio.DatagramProtocol):
    """One upstream server over one UDP socket; answers are matched by our own identifiers."""

    def __init__(self, address: str, port: int = 53) -> None:
        self.address, self._port = address, port
        self.alive = False
        self._transport: asyncio.DatagramTransport | None = None
        self._waiting: dict[bytes, _Waiting] = {}

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        target = (self.address, self._port)
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, remote_addr=target)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        for key in list(self._waiting):
            self._finish(key, None)

    def ask(self, query: bytes, deliver: Deliver) -> None:
        """Send a query; `deliver` is called exactly once."""
        if self._transport is None or len(self._waiting) >= _MAX_WAITING:
            deliver(None)
            return
        key = self._identifier()
        loop = asyncio.get_running_loop()
        timeout = loop.call_later(ANSWER_SECONDS, self._silent, key)
        self._waiting[key] = _Waiting(query[:2], deliver, timeout)
        self._transport.sendto(key + query[2:])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if data[:2] not in self._waiting:
            return
        if not self.alive:
            log.info("Upstream name server answers", address=self.address)
            self.alive = True
        self._finish(data[:2], data)

    def error_received(self, exc: Exception) -> None:
        """A port or network is unreachable: whoever waits need not wait longer."""
        self._put_aside(str(exc))
        for key in list(self._waiting):
            self._finish(key, None)

    def _silent(self, key: bytes) -> None:
        self._put_aside("no answer")
        self._finish(key, None)

    def _put_aside(self, reason: str) -> None:
        if self.alive:
            log.warning("Upstream name server is put aside", address=self.address, reason=reason)
        self.alive = False

    def _finish(self, key: bytes, packet: bytes | None) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is None:
            return
        waiting.timeout.cancel()
        waiting.deliver(None if packet is None else waiting.identifier + packet[2:])

    def _identifier(self) -> bytes:
        while True:
            key = os.urandom(2)
            if key not in self._waiting:
                return key


class Forwarder:
    """Asks the first upstream that is alive."""

    def __init__(self, addresses: Sequence[str], port: int = 53) -> None:
        self._upstreams = [Upstream(address, port) for address in addresses]

    @property
    def reachable(self) -> bool:
        return any(upstream.alive for upstream in self._upstreams)

    async def run(self) -> None:
        """Open the sockets and probe those that do not answer, until cancelled."""
        try:
            while True:
                for upstream in self._upstreams:
                    await self._probe(upstream)
                await asyncio.sleep(_PROBE_SECONDS)
        finally:
            for upstream in self._upstreams:
                upstream.close()

    def ask(self, query: bytes, deliver: Deliver) -> None:
        """Pass a query on.  Delivers None at once if nobody upstream is known to answer."""
        for upstream in self._upstreams:
            if upstream.alive:
                upstream.ask(query, deliver)
                return
        deliver(None)

    async def _probe(self, upstream: Upstream) -> None:
        if upstream.alive:
            return
        if upstream._transport is None:
            try:
                await upstream.open()
            except OSError as error:
                log.debug(
                    "No way to an upstream name server", address=upstream.address, error=error
                )
                return
        upstream.ask(packets.follow_query(".", "NS", 1), lambda _: None)


def _usable(text: str, own: frozenset[str]) -> bool:
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return not address.is_loopback and text not in own
