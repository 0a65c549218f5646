"""Port forwarding: pairs of a data and an error stream, one pair per connection of the user's.

Over SPDY (plain or inside a WebSocket) the client opens pairs with headers `streamtype`, `port`, `requestid`; over
bare WebSocket channels 2i and 2i+1 belong to the i-th asked port.  Source: k8s.io/kubelet pkg/cri/streaming.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from aiohttp import WSMsgType, web

from todoku.aio import log as logs
from todoku.api.errors import ApiError
from todoku.kubelet.streaming.backend import ByteReader, ByteWriter
from todoku.kubelet.streaming.spdy import Connection, Stream

log = logs.get(__name__)

SPDY_PROTOCOL = "portforward.k8s.io"
TUNNEL_PROTOCOL = "SPDY/3.1+portforward.k8s.io"
CHANNEL_PROTOCOLS = ("v4.channel.k8s.io",)
_CHUNK_BYTES = 32 * 1024
_QUEUED_MESSAGES = 64

Connect: TypeAlias = Callable[[int], Awaitable[tuple[ByteReader, ByteWriter]]]
"""Opens a connection to a port of the pod; raises ApiError or OSError."""


async def serve_spdy(connection: Connection, connect: Connect) -> None:
    """Forward every pair of streams until the client leaves."""
    waiting: dict[str, dict[str, Stream]] = {}
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(connection.serve(), name="portforward-spdy")]
        try:
            while (stream := await connection.accept()) is not None:
                pair = waiting.setdefault(stream.header("requestid"), {})
                pair[stream.header("streamtype")] = stream
                if {"data", "error"} <= set(pair):
                    del waiting[stream.header("requestid")]
                    forward = _forward_pair(connection, pair["data"], pair["error"], connect)
                    name = f"portforward-{stream.header('port')}"
                    running.append(tasks.create_task(forward, name=name))
                    running = [task for task in running if not task.done()]
        finally:
            for task in running:
                task.cancel()


async def _forward_pair(
    connection: Connection, data: Stream, error: Stream, connect: Connect
) -> None:
    try:
        await forward(_port(data.header("port")), data, data, error, connect)
    except ConnectionError:
        log.debug("Client left during port-forward")
    finally:
        connection.forget(data)
        connection.forget(error)


async def forward(
    port: int, source: ByteReader, sink: ByteWriter, error: ByteWriter, connect: Connect
) -> None:
    """One connection into the pod; what goes wrong is said on the error stream."""
    try:
        reader, writer = await connect(port)
    except (ApiError, OSError) as failure:
        text = (
            failure.message if isinstance(failure, ApiError) else f"{failure.strerror or failure}"
        )
        await error.write(f"error forwarding port {port} to pod: {text}".encode())
        await error.close()
        await sink.close()
        return
    try:
        inbound = asyncio.create_task(_pump(source, writer), name="portforward-in")
        try:
            await _pump(reader, sink)  # the pod's side ends the connection
        finally:
            inbound.cancel()
            await asyncio.gather(inbound, return_exceptions=True)
    finally:
        try:
            await error.close()
        finally:
            await writer.close()


async def _pump(source: ByteReader, sink: ByteWriter) -> None:
    try:
        while data := await source.read(_CHUNK_BYTES):
            await sink.write(data)
    except ConnectionError:
        pass  # a reset ends the direction like an orderly end
    await sink.close()


def _port(text: str) -> int:
    return int(text) if text.isdigit() and 0 < int(text) < 1 << 16 else 0


async def serve_channels(
    socket: web.WebSocketResponse, ports: Sequence[int], connect: Connect
) -> None:
    """Forward `ports` over bare WebSocket channels; each channel first announces its port."""
    channels = [_Channel(socket, number) for number in range(2 * len(ports))]
    for index, port in enumerate(ports):
        for channel in channels[2 * index : 2 * index + 2]:
            await channel.write(struct.pack("<H", port))
    async with asyncio.TaskGroup() as tasks:
        forwards = [
            tasks.create_task(
                forward(
                    port, channels[2 * index], channels[2 * index], channels[2 * index + 1], connect
                ),
                name=f"portforward-{port}",
            )
            for index, port in enumerate(ports)
        ]
        await _sort(socket, channels)
        for task in forwards:
            task.cancel()


async def _sort(socket: web.WebSocketResponse, channels: Sequence[_Channel]) -> None:
    while (message := await socket.receive()).type is WSMsgType.BINARY:
        data = bytes(message.data)
        if len(data) > 1 and data[0] < len(channels):
            await channels[data[0]].queue.put(data[1:])


class _Channel:
    """One channel of a WebSocket, both ways."""

    def __init__(self, socket: web.WebSocketResponse, number: int) -> None:
        self._socket, self._number = socket, number
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUED_MESSAGES)

    async def read(self, n: int = -1, /) -> bytes:
        return await self.queue.get()

    async def write(self, data: bytes, /) -> None:
        if self._socket.closed:
            raise ConnectionResetError("the client has gone away")
        await self._socket.send_bytes(bytes([self._number]) + data)

    async def close(self) -> None:
        return None
