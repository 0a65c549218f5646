"""exec and attach over WebSocket: every message begins with the number of its channel.

0 stdin, 1 stdout, 2 stderr, 3 error, 4 terminal sizes; since v5, 255 closes the channel whose number follows.
In the base64 protocols the number is a digit and the rest base64.  Source: KEP-4006 and k8s.io/apimachinery wsstream.
"""

from __future__ import annotations

import asyncio
import base64
import binascii

from aiohttp import WSMsgType, web

from todoku.kubelet.streaming.backend import ByteWriter, Streams
from todoku.kubelet.streaming.exec import parse_size

# Best first; a client that offers none gets bare binary channels.
PROTOCOLS = (
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
)
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_NUMBERS = {"stdout": STDOUT, "stderr": STDERR, "error": ERROR}
_STDIN_MESSAGES = 64


class WebSocketRemote:
    """Satisfies `exec.Remote`; `receive` must run in a task of its own."""

    def __init__(self, socket: web.WebSocketResponse, wanted: Streams, protocol: str) -> None:
        self._socket = socket
        self._wanted = wanted
        self._base64 = "base64" in protocol
        self._closes_channels = protocol.startswith("v5")
        self.reports_status = protocol.startswith(("v4", "v5"))
        self._stdin: asyncio.Queue[bytes] = asyncio.Queue(_STDIN_MESSAGES)
        self._sizes: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
        self._gone = asyncio.Event()
        self._stdin_ended = False

    async def receive(self) -> None:
        """Sort the client's messages to stdin and sizes until it leaves."""
        try:
            while True:
                message = await self._socket.receive()
                if message.type is WSMsgType.BINARY:
                    await self._take(bytes(message.data))
                elif message.type is WSMsgType.TEXT:
                    await self._take(message.data.encode())
                else:
                    return
        finally:
            self._gone.set()
            self._sizes.put_nowait(None)

    async def _take(self, message: bytes) -> None:
        if not message:
            return
        channel, data = (message[0] - 0x30 if self._base64 else message[0]), message[1:]
        if self._base64:
            try:
                data = base64.b64decode(data, validate=True)
            except binascii.Error:
                return
        if channel == STDIN and self._wanted.stdin and not self._stdin_ended:
            if data:
                await self._stdin.put(data)
        elif channel == RESIZE:
            size = parse_size(data)
            if size:
                self._sizes.put_nowait(size)
        elif channel == CLOSE and self._closes_channels and data[:1] == bytes([STDIN]):
            self._stdin_ended = True
            await self._stdin.put(b"")

    async def read_stdin(self) -> bytes:
        return await self._stdin.get()

    async def read_size(self) -> tuple[int, int] | None:
        return await self._sizes.get()

    def output(self, name: str) -> ByteWriter | None:
        if name != "error" and not getattr(self._wanted, name):
            return None
        return _Channel(self, _NUMBERS[name])

    async def gone(self) -> None:
        await self._gone.wait()

    async def send(self, channel: int, data: bytes) -> None:
        if self._socket.closed:
            raise ConnectionResetError("the client has gone away")
        if self._base64:
            await self._socket.send_str(chr(0x30 + channel) + base64.b64encode(data).decode())
        else:
            await self._socket.send_bytes(bytes([channel]) + data)


class _Channel:
    """One outgoing channel; a WebSocket server has no way to close a single one."""

    def __init__(self, remote: WebSocketRemote, number: int) -> None:
        self._remote, self._number = remote, number

    async def write(self, data: bytes, /) -> None:
        await self._remote.send(self._number, data)

    async def close(self) -> None:
        return None
