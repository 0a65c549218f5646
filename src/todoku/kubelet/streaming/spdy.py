"""A SPDY/3.1 connection as a server sees it: streams that the client opens, each with bytes both ways.

Clients (moby/spdystream) neither keep windows nor send updates, so none are enforced here; a stream that nobody
reads holds the whole connection back once it has `_STREAM_BYTES` waiting.  WINDOW_UPDATEs are sent all the same,
for a client that does keep windows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

from todoku.aio import log as logs
from todoku.kubelet.streaming.link import Link
from todoku.wire import spdy

log = logs.get(__name__)

_STREAM_BYTES = 1 << 20
_DATA_BYTES = 32 * 1024


class Stream:
    """One stream; a `ByteReader` and a `ByteWriter`."""

    def __init__(self, connection: Connection, number: int, headers: spdy.Headers) -> None:
        self.number = number
        self.headers: Mapping[str, Sequence[str]] = headers
        self._connection = connection
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._closed = False
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()

    def header(self, name: str) -> str:
        return (self.headers.get(name) or [""])[0]

    async def read(self, n: int = -1, /) -> bytes:
        while not self._chunks:
            if self._ended:
                return b""
            self._changed.clear()
            await self._changed.wait()
        chunk = self._chunks.popleft()
        if 0 <= n < len(chunk):
            self._chunks.appendleft(chunk[n:])
            chunk = chunk[:n]
        self._size -= len(chunk)
        self._drained.set()
        await self._connection.consumed(self.number, len(chunk))
        return chunk

    async def write(self, data: bytes, /) -> None:
        if self._closed:
            raise BrokenPipeError("the stream is closed")
        for start in range(0, len(data), _DATA_BYTES):
            await self._connection.send_data(self.number, data[start : start + _DATA_BYTES])

    async def close(self) -> None:
        """Half close: nothing more will be written."""
        if self._closed:
            return
        self._closed = True
        await self._connection.finish(self.number)

    async def reset(self, status: int = spdy.CANCEL) -> None:
        self.end()
        self._closed = True
        await self._connection.reset(self.number, status)

    async def feed(self, data: bytes) -> None:
        """Take bytes from the client; waits while too many are unread."""
        if data and not self._ended:
            self._chunks.append(data)
            self._size += len(data)
            self._changed.set()
        while self._size > _STREAM_BYTES and not self._ended:
            self._drained.clear()
            await self._drained.wait()

    def end(self) -> None:
        """The client will send no more."""
        self._ended = True
        self._changed.set()
        self._drained.set()


class Connection:
    """Run `serve` in a task of its own; take what the client opens with `accept`."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._reader, self._writer = spdy.Reader(), spdy.Writer()
        self._streams: dict[int, Stream] = {}
        self._opened: asyncio.Queue[Stream | None] = asyncio.Queue()
        self._sending = asyncio.Lock()
        self._last_stream = 0
        self.lost = asyncio.Event()

    async def serve(self) -> None:
        """Read frames until the client goes away; then every stream ends."""
        try:
            while data := await self._link.read():
                for frame in self._reader.feed(data):
                    if not await self._take(frame):
                        return
        except spdy.ProtocolError as error:
            log.warning("SPDY client broke the protocol", error=error)
        except ConnectionError:
            pass  # an answer to a ping found the client gone: the end, like any other
        finally:
            self.lost.set()
            for stream in self._streams.values():
                stream.end()
            self._opened.put_nowait(None)

    async def accept(self) -> Stream | None:
        """The next stream the client opens; None when it is gone."""
        stream = await self._opened.get()
        if stream is None:
            self._opened.put_nowait(None)
        return stream

    async def _take(self, frame: spdy.Frame) -> bool:
        match frame:
            case spdy.SynStream(number, headers, fin):
                await self._open(number, headers, fin)
            case spdy.Data(number, data, fin):
                stream = self._streams.get(number)
                if stream is not None:
                    await stream.feed(data)
                    if fin:
                        stream.end()
            case spdy.MoreHeaders(number, _, True) | spdy.Reset(number, _):
                stream = self._streams.get(number)
                if stream is not None:
                    stream.end()
            case spdy.Ping(identifier):
                if identifier % 2:  # the client's own; even ones would answer ours
                    await self._send(self._writer.ping(identifier))
            case spdy.GoAway():
                return False
        return True

    async def _open(self, number: int, headers: spdy.Headers, fin: bool) -> None:
        if number % 2 == 0 or number <= self._last_stream:
            await self.reset(number, spdy.PROTOCOL_ERROR)
            return
        self._last_stream = number
        stream = self._streams[number] = Stream(self, number, headers)
        if fin:
            stream.end()
        async with self._sending:
            await self._link.write(self._writer.syn_reply(number, {}))
        self._opened.put_nowait(stream)

    def forget(self, stream: Stream) -> None:
        """A stream that both sides are done with."""
        self._streams.pop(stream.number, None)

    async def send_data(self, number: int, data: bytes) -> None:
        await self._send(self._writer.data(number, data))

    async def finish(self, number: int) -> None:
        if not self.lost.is_set():
            try:
                await self._send(self._writer.data(number, b"", fin=True))
            except ConnectionError:
                pass  # closing never fails: a client that is gone needs no end

    async def reset(self, number: int, status: int) -> None:
        await self._send(self._writer.reset(number, status))

    async def consumed(self, number: int, size: int) -> None:
        if size and not self.lost.is_set():
            updates = self._writer.window_update(number, size) + self._writer.window_update(0, size)
            try:
                await self._send(updates)
            except ConnectionError:
                pass  # the bytes are read all the same

    async def go_away(self) -> None:
        try:
            await self._send(self._writer.go_away(self._last_stream))
        except ConnectionError:
            pass  # it has gone away first

    async def _send(self, data: bytes) -> None:
        # frames of one stream must not overtake each other
        async with self._sending:
            await self._link.write(data)
