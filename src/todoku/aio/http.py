"""Small HTTP answers: health checks, metrics, nothing that needs a framework's memory.

GET and HEAD only, one answer per connection.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from todoku.aio import log as logs

log = logs.get(__name__)

_REQUEST_SECONDS = 5.0
_PHRASES = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; the body is JSON unless it is plain text."""

    code: int
    body: str
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Respond = Callable[[str], Answer]


def not_found(path: str) -> Answer:
    return Answer(404, f"404 page not found: {path}\n", "text/plain")


class Ports:
    """Small HTTP servers on one host address, opened and closed to match what is wanted."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._open: dict[int, asyncio.Server] = {}
        self._respond: dict[int, Respond] = {}

    async def serve(self, wanted: Mapping[int, Respond]) -> None:
        """Listen on exactly these ports.  One that is in use is logged, and tried again next time."""
        for port in [port for port in self._open if port not in wanted]:
            await self._close(port)
        for port, respond in wanted.items():
            self._respond[port] = respond
            if port not in self._open:
                await self._listen(port)

    async def close(self) -> None:
        for port in list(self._open):
            await self._close(port)

    async def _listen(self, port: int) -> None:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _talk(reader, writer, self._respond[port])

        try:
            self._open[port] = await asyncio.start_server(
                talk, self._host, port, reuse_address=True
            )
        except OSError as error:
            log.warning("Cannot listen", host=self._host, port=port, error=error)

    async def _close(self, port: int) -> None:
        server = self._open.pop(port)
        server.close()
        await server.wait_closed()
        self._respond.pop(port, None)


async def _talk(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, respond: Respond
) -> None:
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(_encode(_answer(head, respond)))
            await writer.drain()
    except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        log.debug("A client went away")
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def _answer(head: bytes, respond: Respond) -> Answer:
    method, _, rest = head.decode("latin-1").partition(" ")
    if method not in ("GET", "HEAD"):
        return Answer(405, "method not allowed\n", "text/plain")
    return respond(rest.partition(" ")[0].partition("?")[0])


def _encode(answer: Answer) -> bytes:
    body = answer.body.encode()
    lines = [
        f"HTTP/1.1 {answer.code} {_PHRASES.get(answer.code, '')}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
