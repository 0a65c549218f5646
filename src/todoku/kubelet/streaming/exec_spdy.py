"""exec and attach over SPDY: one stream each for error, stdin, stdout, stderr and terminal sizes.

Source: k8s.io/apimachinery util/remotecommand, protocol versions v1 to v4.
"""

from __future__ import annotations

import asyncio
import json

from todoku.api.errors import BadRequest
from todoku.kubelet.streaming.backend import ByteWriter, Streams
from todoku.kubelet.streaming.exec import parse_size
from todoku.kubelet.streaming.spdy import Connection, Stream

# Best first; a client that offers none speaks the first version.
PROTOCOLS = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
_OPEN_SECONDS = 30.0


class SpdyRemote:
    """Satisfies `exec.Remote`."""

    def __init__(self, connection: Connection, streams: dict[str, Stream], protocol: str) -> None:
        self._connection = connection
        self._streams = streams
        self._sizes = b""
        self.reports_status = protocol.startswith("v4")

    async def read_stdin(self) -> bytes:
        stream = self._streams.get("stdin")
        return await stream.read() if stream else b""

    async def read_size(self) -> tuple[int, int] | None:
        stream = self._streams.get("resize")
        if stream is None:
            return None
        while True:
            text, end = _first_object(self._sizes)
            if text is not None:
                self._sizes = self._sizes[end:]
                size = parse_size(text)
                if size:
                    return size
                continue
            more = await stream.read()
            if not more:
                return None
            self._sizes += more

    def output(self, name: str) -> ByteWriter | None:
        return self._streams.get(name)

    async def gone(self) -> None:
        await self._connection.lost.wait()


async def accept(connection: Connection, wanted: Streams, protocol: str) -> SpdyRemote:
    """Wait for the streams the client must open.  Raises BadRequest if it opens others, or too late."""
    expected = expected_streams(wanted, protocol)
    opened: dict[str, Stream] = {}
    try:
        async with asyncio.timeout(_OPEN_SECONDS):
            while set(opened) != expected:
                stream = await connection.accept()
                if stream is None:
                    raise ConnectionResetError("the client has gone away")
                kind = stream.header("streamtype")
                if kind not in expected:
                    await stream.reset()
                    raise BadRequest(f'unexpected stream type "{kind}"')
                opened[kind] = stream
    except TimeoutError:
        raise BadRequest("timed out waiting for client to create streams") from None
    return SpdyRemote(connection, opened, protocol)


def expected_streams(wanted: Streams, protocol: str) -> set[str]:
    """The stream types a client opens for what it asked for."""
    expected = {"error"}
    expected |= {name for name in ("stdin", "stdout") if getattr(wanted, name)}
    if wanted.stderr and not wanted.tty:
        expected.add("stderr")
    if wanted.tty and protocol[:2] in ("v3", "v4"):
        expected.add("resize")
    return expected


def _first_object(buffer: bytes) -> tuple[bytes | None, int]:
    """The first JSON object in a buffer of several, and where it ends."""
    text = buffer.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return None, 0
    return text[start:end].encode(), len(text[:end].encode())
