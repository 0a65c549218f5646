"""A lean HTTP/1.1 client on asyncio streams: keep-alive, TLS, streamed answers, upgrades.

Written here because the client runs inside every DNS and load balancer pod: importing aiohttp costs 14 MiB of a budget
of 22 (docs/decisions/0004-own-http-client.md).  It speaks what Kubernetes API servers speak (RFC 9112: Content-Length
and chunked bodies, 101 upgrades), and nothing else.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

LINE_LIMIT = 64 * 1024  # one header line
IDLE_CONNECTIONS = 8
# A peer that lost power sends no FIN: unacknowledged data gives up after this, idle connections are probed.
DEAD_AFTER_MILLISECONDS = 10_000
PROBE_AFTER_SECONDS, PROBE_EVERY_SECONDS, PROBES = 5, 2, 3
CONNECT_SECONDS = 10.0


class Unreachable(ConnectionError):
    """The server could not be reached, or the connection broke before the answer was complete.

    `sent` tells whether the server may have seen the request.
    """

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class Response:
    """An answer whose head was read; the body is read on demand, once."""

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Mapping[str, str],
        connection: Connection,
        body: bool,
    ) -> None:
        self.status = status
        self.reason = reason
        self.headers = headers  # names in lower case
        self._connection = connection
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        length = headers.get("content-length")
        self._left = int(length) if length is not None and not self._chunked else -1
        self.complete = not body
        if body and self._left == 0:
            self.complete = True

    @property
    def stream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """The raw connection, for the protocol that a 101 switched to."""
        return self._connection.reader, self._connection.writer

    @property
    def reusable(self) -> bool:
        return (
            self.complete
            and self.status != 101
            and self.headers.get("connection", "").lower() != "close"
        )

    async def read(self) -> bytes:
        """The rest of the body."""
        return b"".join([part async for part in self.chunks()])

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body in pieces as they arrive.  Raises Unreachable if it ends early."""
        try:
            while not self.complete:
                part = await self._next()
                if part:
                    yield part
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError) as error:
            raise Unreachable(f"the answer broke off: {error}", sent=True) from error

    async def lines(self) -> AsyncIterator[bytes]:
        """The body in lines, without their ends."""
        rest: list[bytes] = []
        async for part in self.chunks():
            if b"\n" not in part:
                rest.append(part)
                continue
            *whole, last = part.split(b"\n")
            whole[0] = b"".join(rest) + whole[0]
            rest = [last] if last else []
            for line in whole:
                yield line
        if rest:
            yield b"".join(rest)

    async def _next(self) -> bytes:
        reader = self._connection.reader
        if self._chunked:
            size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
            if size == 0:
                while await reader.readuntil(b"\r\n") != b"\r\n":
                    pass  # trailers
                self.complete = True
                return b""
            part = await reader.readexactly(size + 2)
            return part[:-2]
        if self._left < 0:  # neither length nor chunks: until the end of the connection
            part = await reader.read(65536)
            self.complete = not part
            return part
        part = await reader.read(min(self._left, 65536 * 4))
        if not part:
            raise asyncio.IncompleteReadError(b"", self._left)
        self._left -= len(part)
        self.complete = self._left == 0
        return part


class Connection:
    """One connection; carries one request at a time."""

    __slots__ = ("reader", "used", "writer")

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = 0

    @property
    def alive(self) -> bool:
        return not (self.reader.at_eof() or self.writer.is_closing())

    def abort(self) -> None:
        """Close at once, without TLS farewell."""
        self.writer.transport.abort()

    async def send(self, method: str, target: str, head: bytes, body: bytes) -> Response:
        kept = self.used > 0
        self.used += 1
        try:
            self.writer.write(
                b"%s %s HTTP/1.1\r\n%s" % (method.encode(), target.encode(), head) + body
            )
            await self.writer.drain()
            return await self._head(method)
        except asyncio.IncompleteReadError as error:
            # A kept-alive connection that the server closed in the meantime did nothing with this request.
            stale = kept and not error.partial
            raise Unreachable(
                "the connection was closed before an answer", sent=not stale
            ) from error
        except (OSError, ssl.SSLError) as error:
            harmless = kept and method == "GET"
            raise Unreachable(f"the connection broke: {error}", sent=not harmless) from error

    async def _head(self, method: str) -> Response:
        line = await self.reader.readuntil(b"\r\n")
        version, _, rest = line.decode("latin-1").strip().partition(" ")
        if not version.startswith("HTTP/1."):
            raise Unreachable(f"not an HTTP/1.1 answer: {line[:40]!r}", sent=True)
        code, _, reason = rest.partition(" ")
        headers: dict[str, str] = {}
        while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, value = line.decode("latin-1").partition(":")
            name, value = name.strip().lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(code)
        if status == 100:
            return await self._head(method)
        has_body = method != "HEAD" and status not in (101, 204, 304)
        return Response(status, reason, headers, self, has_body)


class Transport:
    """Connections to one server; idle ones are kept for the next request."""

    def __init__(self, server: str, context: ssl.SSLContext | None, server_name: str = "") -> None:
        parts = urlsplit(server)
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if context else 80)
        self.prefix = parts.path.rstrip("/")
        self._host_header = parts.netloc.rpartition("@")[2]
        self._context = context
        self._server_name = server_name or self.host
        self._idle: deque[Connection] = deque()
        self._open: set[Connection] = set()
        self._closed = False

    @asynccontextmanager
    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes = b""
    ) -> AsyncIterator[Response]:
        """Send one request; the connection returns to the pool if its answer was read whole.

        A request that met a connection the server had already closed is sent again, on a new one.
        """
        head = self._render(headers, body)
        while True:
            connection = await self._acquire()
            try:
                response = await connection.send(method, self.prefix + target, head, body)
            except Unreachable as error:
                self._drop(connection)
                if error.sent:
                    raise
                continue
            except BaseException:
                self._drop(connection)
                raise
            break
        try:
            yield response
        finally:
            self._release(connection, response)

    async def close(self) -> None:
        """Close every connection, those in use too."""
        self._closed = True
        connections = list(self._open)
        for connection in connections:
            self._drop(connection)
        self._idle.clear()
        for connection in connections:
            try:
                await connection.writer.wait_closed()
            except (OSError, ssl.SSLError):
                pass  # it was broken already; closing it is all that was wanted

    def _render(self, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"Host: {self._host_header}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    async def _acquire(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.alive:
                return connection
            self._drop(connection)
        if self._closed:
            raise Unreachable("the client is closed")
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    self.host,
                    self.port,
                    ssl=self._context,
                    server_hostname=self._server_name if self._context else None,
                    limit=LINE_LIMIT,
                )
        except (OSError, ssl.SSLError, TimeoutError) as error:
            where = f"{self.host}:{self.port}"
            raise Unreachable(f"cannot connect to {where}: {error or 'timed out'}") from error
        _notice_dead_peers(writer)
        connection = Connection(reader, writer)
        self._open.add(connection)
        return connection

    def _release(self, connection: Connection, response: Response) -> None:
        fit = response.reusable and connection.alive and not self._closed
        if fit and len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        connection.abort()


def _notice_dead_peers(writer: asyncio.StreamWriter) -> None:
    found = writer.get_extra_info("socket")
    if found is None or found.family not in (socket.AF_INET, socket.AF_INET6):
        return
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (
        (socket.TCP_KEEPIDLE, PROBE_AFTER_SECONDS),
        (socket.TCP_KEEPINTVL, PROBE_EVERY_SECONDS),
        (socket.TCP_KEEPCNT, PROBES),
        (socket.TCP_USER_TIMEOUT, DEAD_AFTER_MILLISECONDS),
        (socket.TCP_NODELAY, 1),
    ):
        found.setsockopt(socket.IPPROTO_TCP, option, value)
