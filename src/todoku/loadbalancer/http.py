"""A small HTTP/1.1 server for probes, metrics and webhooks: one handler, JSON or text, TLS or not.

Small because every pod of the load balancer is to fit 22 MiB; it serves known clients (kubelet, Prometheus,
API server) and refuses whatever it does not understand.  Source: RFC 9112.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from todoku.aio import log as logs

log = logs.get(__name__)

_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed",
            413: "Content Too Large", 500: "Internal Server Error", 501: "Not Implemented"}  # fmt: skip
_HEAD_LIMIT_BYTES = 16 << 10
_BODY_LIMIT_BYTES = 8 << 20
_IDLE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is without its query."""

    method: str
    path: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/plain; charset=utf-8"


Handler = Callable[[Request], Awaitable[Reply]]


class _Bad(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@asynccontextmanager
async def serving(
    handler: Handler, host: str | None, port: int, *, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Serve until the block ends; yields the port.  `host` None is every address.  Raises OSError."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await _converse(handler, reader, writer)
        except (OSError, asyncio.CancelledError) as end:
            log.debug("Connection ended", why=repr(end))
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(connected, host, port, ssl=tls, limit=_HEAD_LIMIT_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _converse(
    handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    keep = True
    while keep:
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                received = await _read(reader, writer)
        except (TimeoutError, asyncio.IncompleteReadError):
            return
        except _Bad as problem:
            await _write(writer, Reply(f"{problem}\n".encode(), problem.status), keep=False)
            return
        if received is None:
            return
        request, keep = received
        await _write(writer, await _answered(handler, request), keep=keep)


async def _answered(handler: Handler, request: Request) -> Reply:
    try:
        return await handler(request)
    except Exception:  # one bad request must not end the server
        log.exception("Request failed", method=request.method, path=request.path)
        return Reply(b"internal error\n", 500)


async def _read(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[Request, bool] | None:
    """The next request and whether the connection stays; None at its end."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise _Bad(413, "the request's head is too large") from None
    except asyncio.IncompleteReadError as error:
        if error.partial.strip():
            raise
        return None
    first, *rest = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _Bad(400, "not an HTTP/1.1 request")
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in rest if line)
    }
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await _body(reader, headers)
    wish = headers.get("connection", "").lower()
    keep = wish != "close" and (words[2] == "HTTP/1.1" or wish == "keep-alive")
    return Request(words[0], words[1].partition("?")[0], body), keep


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        return await _chunks(reader)
    length = headers.get("content-length", "0")
    if not length.isdigit():
        raise _Bad(400, "bad Content-Length")
    if int(length) > _BODY_LIMIT_BYTES:
        raise _Bad(413, "the request's body is too large")
    return await reader.readexactly(int(length))


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    parts: list[bytes] = []
    total = 0
    while True:
        line = (await reader.readuntil(b"\r\n")).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise _Bad(400, "bad chunk") from None
        total += size
        if size < 0 or total > _BODY_LIMIT_BYTES:
            raise _Bad(413, "the request's body is too large")
        if size == 0:
            while (await reader.readuntil(b"\r\n")) != b"\r\n":
                pass
            return b"".join(parts)
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)


async def _write(writer: asyncio.StreamWriter, reply: Reply, *, keep: bool) -> None:
    head = (
        f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, '')}\r\n"
        f"Content-Type: {reply.content_type}\r\n"
        f"Content-Length: {len(reply.body)}\r\n"
        f"Connection: {'keep-alive' if keep else 'close'}\r\n\r\n"
    )
    writer.write(head.encode("latin-1") + reply.body)
    await writer.drain()
