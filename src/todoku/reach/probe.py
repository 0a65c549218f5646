"""One real connection from inside a source's network namespace.

A socket belongs to the namespace it was made in, so the process itself stays where it is: `linux.namespaces.socket_in`
makes the socket over there, and the event loop here uses it.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from dataclasses import dataclass
from typing import Literal, Protocol

from todoku.linux.namespaces import socket_in
from todoku.reach.outcome import Outcome, of_error

Transport = Literal["TCP", "UDP"]

_HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: %s\r\nUser-Agent: todoku\r\nConnection: close\r\n\r\n"
# RST on close: the probe leaves no TIME_WAIT behind in the source's namespace (SO_LINGER, socket(7)).
_LINGER_RESET = struct.pack("ii", 1, 0)
PAYLOAD = b"todoku\n"
# A DNS server does not answer what is no query: A record of "kubernetes.", recursion desired (RFC 1035 4.1).
_DNS_QUERY = b"\x54\x4b\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x00\x00\x01\x00\x01"
_ANSWER_LIMIT = 64 * 1024


class Vantage(Protocol):
    """Where a probe starts; `lab` hands these in."""

    @property
    def name(self) -> str: ...

    @property
    def netns(self) -> str:
        """Path of the network namespace, e.g. `/proc/77/root/…/net`; "" is this process's own."""

    @property
    def nameservers(self) -> tuple[str, ...]:
        """Addresses of the DNS servers asked from here."""

    @property
    def search(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class Tuple5:
    """The witness of an attempt: what the source itself sent."""

    protocol: Transport
    source: str
    source_port: int
    destination: str
    destination_port: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """What one connection came to.  `latency_ms` is the time to connect (TCP) or to the reply (UDP).

    `witness` is what was sent, also of an attempt that failed; None if nothing could be sent.
    """

    outcome: Outcome
    latency_ms: float
    witness: Tuple5 | None = None
    http_status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Question:
    """How to probe: `speak` asks `GET /` after connecting, when the target may speak HTTP."""

    host: str
    port: int
    protocol: Transport = "TCP"
    timeout_seconds: float = 2.0
    speak: bool = True
    payload: bytes = PAYLOAD
    type_of_service: int = 0  # IP_TOS, by which a trace tags its packets


def payload_for(port: int) -> bytes:
    """What a server at this UDP port may answer: a query where names are served, a line elsewhere."""
    return _DNS_QUERY if port == 53 else PAYLOAD


async def attempt(vantage: Vantage, question: Question) -> Attempt:
    """Connect once and say what happened; never raises for what the network does.

    Raises OSError only if the namespace itself cannot be entered.
    """
    started = time.monotonic()
    address = await _address(vantage, question.host)
    if address is None:
        return Attempt(Outcome.DNS, _since(started))
    datagram = question.protocol == "UDP"
    kind = socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM
    with _socket(vantage, address, kind) as sock:
        sock.setblocking(False)
        if question.type_of_service:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, question.type_of_service)
        return await (_udp if datagram else _tcp)(sock, question, address)


async def _tcp(sock: socket.socket, question: Question, address: str) -> Attempt:
    loop = asyncio.get_running_loop()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
    started = time.monotonic()
    outcome, status, body = Outcome.OK, 0, b""
    try:
        async with asyncio.timeout(question.timeout_seconds):
            await loop.sock_connect(sock, (address, question.port))
    except OSError as error:
        outcome = of_error(error)
    latency = _since(started)
    witness = _witness(sock, question, address)
    if outcome is Outcome.OK and question.speak:
        status, body = await _speak(sock, question)
    return Attempt(outcome, latency, witness, status, body)


async def _speak(sock: socket.socket, question: Question) -> tuple[int, bytes]:
    """Ask `GET /`; a target that speaks something else, or nothing within the time, gives (0, b"")."""
    loop = asyncio.get_running_loop()
    answer = b""
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(min(question.timeout_seconds / 2, 1.0)):
            await loop.sock_sendall(sock, _HTTP_REQUEST % question.host.encode())
            while len(answer) < _ANSWER_LIMIT and (data := await loop.sock_recv(sock, 16384)):
                answer += data
                if not answer.startswith(b"HTTP/"[: len(answer)]):
                    return 0, b""
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    status = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return status, body


async def _udp(sock: socket.socket, question: Question, address: str) -> Attempt:
    """Open means that a reply came: silence and openness look alike over UDP."""
    loop = asyncio.get_running_loop()
    started = time.monotonic()
    outcome, body = Outcome.OK, b""
    try:
        async with asyncio.timeout(question.timeout_seconds):
            await loop.sock_connect(sock, (address, question.port))
            await loop.sock_sendall(sock, question.payload)
            body = await loop.sock_recv(sock, 65536)
    except OSError as error:
        outcome = of_error(error)
    return Attempt(outcome, _since(started), _witness(sock, question, address), 0, body)


async def _address(vantage: Vantage, host: str) -> str | None:
    """The address to dial: `host` itself, or what the source's own name servers say."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):
            socket.inet_pton(family, host)
            return host
    return await resolve(vantage, host)


async def resolve(vantage: Vantage, name: str) -> str | None:
    """Ask the source's name servers for an A record, as resolv.conf(5) there would; None if nobody knows it.

    Search domains follow ndots:5, the kubelet's default.
    """
    from dnslib import QTYPE, RCODE, DNSRecord

    names = [name.rstrip(".")] if name.endswith(".") else _candidates(name, vantage.search)
    for server in vantage.nameservers:
        for candidate in names:
            query = DNSRecord.question(candidate)
            reply = await _ask(vantage, server, query.pack())
            if reply is None:
                break  # this server does not answer; try the next one
            record = DNSRecord.parse(reply)
            addresses = [str(rr.rdata) for rr in record.rr if rr.rtype == QTYPE.A]
            if record.header.rcode == RCODE.NOERROR and addresses:
                return addresses[0]
    return None


async def _ask(vantage: Vantage, server: str, query: bytes) -> bytes | None:
    loop = asyncio.get_running_loop()
    with _socket(vantage, server, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            async with asyncio.timeout(1.0):
                await loop.sock_connect(sock, (server, 53))
                await loop.sock_sendall(sock, query)
                return await loop.sock_recv(sock, 4096)
        except (TimeoutError, OSError):
            return None


def _candidates(name: str, search: tuple[str, ...]) -> list[str]:
    searched = [f"{name}.{domain}" for domain in search]
    return [*searched, name] if name.count(".") < 5 else [name, *searched]


def _socket(vantage: Vantage, address: str, kind: socket.SocketKind) -> socket.socket:
    if not vantage.netns:  # needs no rights
        return socket.socket(_family(address), kind)
    return socket_in(vantage.netns, _family(address), kind)


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _witness(sock: socket.socket, question: Question, address: str) -> Tuple5 | None:
    """What the socket sent; None if the kernel gave it no source address, so that nothing left."""
    source, port = sock.getsockname()[:2]
    if not port or source in ("0.0.0.0", "::"):
        return None
    return Tuple5(question.protocol, source, port, address, question.port)


def _since(started: float) -> float:
    return (time.monotonic() - started) * 1000
