"""The edge to aiohttp: reading bodies within the limit, streaming without a task switch per write."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import web

from todoku.api import errors


async def read_body(request: web.BaseRequest, limit_bytes: int) -> bytes:
    """The whole body.  Raises TooLarge (413) beyond the limit."""
    if not request.body_exists:
        return b""
    length = request.content_length
    if length is not None and length > limit_bytes:
        raise _too_large(limit_bytes)
    parts: list[bytes] = []
    size = 0
    async for part in request.content.iter_any():
        size += len(part)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


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

    __slots__ = ("_chunked", "_request", "_transport")

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has left")
        self._request = request
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
        if (
            self._transport.is_closing()
        ):  # a closed TLS transport has no buffer that it could measure
            return 0
        return self._transport.get_write_buffer_size()

    def abort(self) -> None:
        self._transport.abort()
