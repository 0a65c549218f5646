"""The name server: UDP and TCP, answers remembered as bytes until the cluster changes."""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import ip_address
from typing import cast

import dnslib

from todoku.aio import log as logs
from todoku.aio.metrics import Histogram, Metric
from todoku.dns import packets
from todoku.dns.forward import Forwarder
from todoku.dns.packets import Malformed, Question
from todoku.dns.zone import Answer, Zone

log = logs.get(__name__)

_CACHED_QUESTIONS = 10_000
_TCP_IDLE_SECONDS = 10.0
_TCP_CONNECTIONS = 200

Send = Callable[[bytes], None]


class Metrics:
    """CoreDNS's names for what we count."""

    def __init__(self) -> None:
        self.requests = Metric("coredns_dns_requests_total", "Questions by protocol.")
        self.responses = Metric("coredns_dns_responses_total", "Answers by code.")
        self.hits = Metric("coredns_cache_hits_total", "Questions answered from remembered bytes.")
        self.misses = Metric("coredns_cache_misses_total", "Questions answered anew.")
        self.duration = Histogram(
            "coredns_dns_request_duration_seconds",
            "Time to answer from the cluster's own zone, without remembered answers.",
            tuple(0.00025 * 2**power for power in range(16)),
        )


class Resolver:
    """Answers packets with packets.  Never waits, except that a forwarded answer arrives later."""

    def __init__(self, zone: Zone, forwarder: Forwarder, metrics: Metrics | None = None) -> None:
        self._zone, self._forwarder = zone, forwarder
        self.metrics = metrics or Metrics()
        self.synced = False
        self._cache: OrderedDict[bytes, tuple[tuple[bytes, ...], int]] = OrderedDict()
        self._turn = 0

    def forget(self) -> None:
        """Drop every remembered answer: the cluster changed."""
        self._cache.clear()

    def handle(self, data: bytes, send: Send, *, udp: bool) -> None:
        """Answer one query through `send`, now or when the upstream has spoken."""
        self.metrics.requests.add(proto="udp" if udp else "tcp")
        remembered = self._cache.get(data[2:])
        if remembered is not None:
            self.metrics.hits.add()
            self._send(self._rotate(data, *remembered, udp=udp), send)
            return
        try:
            question = packets.parse(data)
        except Malformed:
            reply = packets.malformed(data)
            if reply:
                self._send(reply, send)
            return
        self._answer(question, data, send, udp=udp)

    def _answer(self, question: Question, data: bytes, send: Send, *, udp: bool) -> None:
        self.metrics.misses.add()
        if question.refusal:
            self._send(packets.refuse(question, question.refusal), send)
            return
        started = time.perf_counter()
        answer = self._zone.answer(question.name, question.kind)
        if answer is None:
            self._forward(question, data, send)
            return
        if not self.synced:
            self._send(packets.refuse(question, packets.SERVFAIL), send)
            return
        if answer.follow:
            self._follow(question, answer, send, udp=udp)
            return
        found = packets.encode(question, answer, self._zone.soa())
        self._remember(data[2:], found, question.size_bytes)
        self._send(self._rotate(data, found, question.size_bytes, udp=udp), send)
        self.metrics.duration.observe(time.perf_counter() - started)

    def _forward(self, question: Question, data: bytes, send: Send) -> None:
        def deliver(packet: bytes | None) -> None:
            self._send(packet or packets.refuse(question, self._unreachable(question)), send)

        self._forwarder.ask(data, deliver)

    def _unreachable(self, question: Question) -> int:
        """Refused; but private reverse names do not exist for anybody else either (RFC 6303)."""
        private = question.name.endswith(".arpa") and _private(question.name)
        return packets.NXDOMAIN if private else packets.REFUSED

    def _follow(self, question: Question, answer: Answer, send: Send, *, udp: bool) -> None:
        """Add the addresses behind a CNAME that leaves the cluster, if the upstream knows them."""

        def deliver(packet: bytes | None) -> None:
            found = _answers(packet)
            reply = packets.with_target(question, answer, found)
            self._send(packets.truncate(reply, question.size_bytes) if udp else reply, send)

        identifier = question.query.header.id
        query = packets.follow_query(answer.follow, question.kind, identifier)
        self._forwarder.ask(query, deliver)

    def _remember(self, key: bytes, found: tuple[bytes, ...], size: int) -> None:
        self._cache[key] = (found, size)
        if len(self._cache) > _CACHED_QUESTIONS:
            self._cache.popitem(last=False)

    def _rotate(self, data: bytes, found: tuple[bytes, ...], size: int, *, udp: bool) -> bytes:
        self._turn += 1
        packet = data[:2] + found[self._turn % len(found)][2:]
        return packets.truncate(packet, size) if udp else packet

    def _send(self, packet: bytes, send: Send) -> None:
        self.metrics.responses.add(rcode=str(dnslib.RCODE.get(packet[3] & 15)))
        send(packet)


class UdpServer(asyncio.DatagramProtocol):
    """Datagrams in, datagrams out."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        transport = self._transport
        if transport is not None:
            self._resolver.handle(data, lambda packet: transport.sendto(packet, addr), udp=True)

    def error_received(self, exc: Exception) -> None:
        log.debug("A client is gone", error=exc)


class TcpServer:
    """Queries with a length before them (RFC 7766); several may be under way on one connection."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._connections = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            if self._connections <= _TCP_CONNECTIONS:
                await self._answer_all(reader, writer)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
            log.debug("A TCP client is gone")
        finally:
            self._connections -= 1
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def send(packet: bytes) -> None:
            if not writer.is_closing():
                writer.write(len(packet).to_bytes(2, "big") + packet)

        while True:
            async with asyncio.timeout(_TCP_IDLE_SECONDS):
                head = await reader.readexactly(2)
                data = await reader.readexactly(int.from_bytes(head, "big"))
            self._resolver.handle(data, send, udp=False)
            await writer.drain()


def _answers(packet: bytes | None) -> list[dnslib.RR]:
    if packet is None:
        return []
    try:
        return list(dnslib.DNSRecord.parse(packet).rr)
    except (dnslib.DNSError, ValueError, IndexError):
        return []


def _private(name: str) -> bool:
    if not name.endswith(".in-addr.arpa"):
        return False
    try:
        return ip_address(".".join(reversed(name[:-13].split(".")))).is_private
    except ValueError:
        return False
