"""The edge to aiohttp: reading bodies within the limit, streaming without a task switch per write."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from aiohttp import web

from todoku.api import errors


async def read_body(request: web.BaseRequest, limit_bytes: int) -> bytes:
    """The whole body.  Raises TooLarge (413) beyond the limit."""
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > limit_bytes:
        raise _too_large(limit_bytes)
    welcome(request)
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def welcome(request: web.BaseRequest) -> None:
    """Tell a client that asks before it sends its body (`Expect: 100-continue`) to go on."""
    transport = request.transport
    if transport is not None and request.headers.get("Expect", "").lower() == "100-continue":
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _too_large(limit_bytes: int) -> errors.ApiError:
    return errors.TooLarge(f"Request entity too large: limit is {limit_bytes}")


async def open_stream(
    request: web.BaseRequest, content_type: str, headers: Mapping[str, str]
) -> web.StreamResponse:
    """Send the head of a chunked response now, so that the client knows it was accepted."""
    response = web.StreamResponse(
        headers={
            "Content-Type": content_type,
            "Cache-Control": "no-cache, private",
            **headers,
        }
    )
    if request.version >= (1, 1):
        response.enable_chunked_encoding()
    await response.prepare(request)
    await response.write(b"")
    return response


class HttpSink:
    """Writes chunks straight to the transport; `open_stream` has sent the head.

    aiohttp's own write is a coroutine per watcher and event; with a hundred watchers that is most of the cost.
    """

    __slots__ = ("_chunked", "_transport")

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._transport = transport
        self._chunked = request.version >= (1, 1)

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    async def drain(self) -> None:
        """Wait until the client has taken what was written; transports tell no one else when they have."""
        while not self._transport.is_closing() and self.buffered_bytes():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    def buffered_bytes(self) -> int:
        if self._transport.is_closing():
            return 0  # a closed TLS transport has no buffer that it could measure
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        self._transport.abort()


class MessageSink(HttpSink):
    """Writes each piece as one text message of a WebSocket; `open_messages` has answered its upgrade."""

    __slots__ = ()

    def write(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(text_frame(data))


def text_frame(data: bytes) -> bytes:
    """A whole text message of a server (RFC 6455 5.2): final, not masked."""
    size = len(data)
    if size < 126:
        return b"\x81%c%b" % (size, data)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), data)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), data)


def is_websocket(request: web.BaseRequest) -> bool:
    """Whether the client asks for a WebSocket."""
    headers = request.headers
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("Connection", "").lower()
    )


async def open_messages(
    request: web.BaseRequest, headers: Mapping[str, str]
) -> web.WebSocketResponse:
    """Accept a WebSocket, with the first protocol that the client names."""
    protocols = without_token(request.headers.get("Sec-WebSocket-Protocol", ""))
    socket = web.WebSocketResponse(protocols=tuple(filter(None, protocols)), compress=False)
    socket.headers.update(headers)
    await socket.prepare(request)
    return socket


def without_token(protocols: str) -> Iterator[str]:
    """The WebSocket protocols of a header but for a bearer token (browsers can set no other header)."""
    for one in protocols.split(","):
        if not one.strip().startswith("base64url.bearer.authorization.k8s.io."):
            yield one.strip()
