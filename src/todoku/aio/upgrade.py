"""Taking over the connection of an aiohttp request: after `101 Switching Protocols` its bytes are ours.

aiohttp has no public way to do this except for WebSocket, so everything that leans on its inside lies here: the
transport's protocol is exchanged for a stream protocol, and given back at the end so that aiohttp closes up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

_BUFFER_BYTES = 256 * 1024
_CHUNK_BYTES = 64 * 1024


class Taken(web.StreamResponse):
    """What a handler returns after it has taken a connection over: nothing more is to be written."""

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        return None

    @property
    def keep_alive(self) -> bool | None:
        return False


@asynccontextmanager
async def taken_over(
    request: web.BaseRequest, head: bytes
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Send `head` (a whole 101 answer) and use the connection's bytes; return a `Taken` afterwards.

    Raises ConnectionResetError when the client is gone already.  Leaving closes the connection.
    """
    transport, protocol = request.transport, request.protocol
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client has gone away")
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=_BUFFER_BYTES, loop=loop)
    streams = asyncio.StreamReaderProtocol(reader, loop=loop)
    early = bytes(getattr(protocol, "_message_tail", b""))
    transport.set_protocol(streams)
    streams.connection_made(transport)
    transport.resume_reading()  # aiohttp may have paused it
    if early:
        reader.feed_data(early)
    writer = asyncio.StreamWriter(transport, streams, reader, loop)
    try:
        writer.write(head)
        await writer.drain()
        yield reader, writer
    finally:
        lost = transport.is_closing()
        transport.set_protocol(protocol)
        if lost:
            # the exchanged protocol heard of the loss, aiohttp's did not
            loop.call_soon(protocol.connection_lost, None)
        else:
            transport.close()


def switching(headers: Mapping[str, str]) -> bytes:
    """The head of a 101 answer."""
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def splice(
    one: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    other: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Copy both ways until either side ends; what was read before is still delivered.

    TLS knows no half close, so the end of one direction is the end of both.
    """
    tasks = [
        asyncio.create_task(_copy(one[0], other[1]), name="splice-in"),
        asyncio.create_task(_copy(other[0], one[1]), name="splice-out"),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK_BYTES):
            writer.write(data)
            await writer.drain()
    except (ConnectionError, OSError):
        return  # a side that is gone ends the splice like one that has finished
