"""The HTTP server of aiohttp with the patience of Go's: who connects and never finishes a request's head has to go.

aiohttp bounds the time between requests, not the time to the first one.  What is no HTTP is answered with a 400 and
not logged: anyone could fill the log with it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.hdrs import SERVER
from aiohttp.http import SERVER_SOFTWARE, StreamWriter
from aiohttp.http_exceptions import HttpProcessingError
from multidict import CIMultiDict

HEAD_SECONDS = 32.0  # kube-apiserver's ReadHeaderTimeout
IDLE_SECONDS = 90.0
_LINE_BYTES = 64 * 1024


class Connections(web.Server):
    """Serves connections; `expire`, called now and then, closes those that have sent no request in time."""

    def __init__(
        self,
        handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            request_factory=self._request,
            auto_decompress=False,  # no client compresses what it sends, and a proxied body passes as it is
            access_log=None,
            logger=_logger(),
            max_line_size=_LINE_BYTES,
            max_field_size=_LINE_BYTES,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=1.0,
        )
        self._clock = clock
        self._silent: dict[web.RequestHandler, float] = {}  # oldest first

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._silent[handler] = self._clock()

    def connection_lost(
        self, handler: web.RequestHandler, exc: BaseException | None = None
    ) -> None:
        self._silent.pop(handler, None)
        super().connection_lost(handler, exc)

    def expire(self, after_seconds: float = HEAD_SECONDS) -> None:
        limit = self._clock() - after_seconds
        for handler, since in list(self._silent.items()):
            if since > limit:
                return
            del self._silent[handler]
            if handler.transport is not None:
                handler.transport.abort()

    async def watch_over(self) -> None:
        """Call `expire`, for ever."""
        while True:
            await asyncio.sleep(HEAD_SECONDS / 4)
            self.expire()

    def request_arrived(self, handler: web.RequestHandler) -> None:
        self._silent.pop(handler, None)

    def _request(
        self,
        message: Any,
        payload: Any,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        self.request_arrived(protocol)
        nameless = StreamWriter(protocol, asyncio.get_running_loop(), None, _without_our_name)
        request: web.BaseRequest = self._make_request(message, payload, protocol, nameless, task)
        return request


async def _without_our_name(headers: CIMultiDict[str]) -> None:
    """kube-apiserver sends no `Server`; what stands behind the proxy may send its own."""
    if headers.get(SERVER) is SERVER_SOFTWARE:
        del headers[SERVER]


def _logger() -> logging.Logger:
    logger = logging.getLogger("todoku.apiserver.http")
    logger.addFilter(_is_ours)
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
