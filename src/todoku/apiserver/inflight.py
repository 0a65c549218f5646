"""How many requests may be under way at once, and for how long (--max-requests-inflight, --request-timeout).

Watches and streams do not count and have no deadline; system:masters and the server's own health are exempt.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from todoku.api import errors
from todoku.apiserver.config import Config
from todoku.apiserver.request import SYSTEM_MASTERS, RequestInfo, User

_STREAMS = frozenset({"exec", "attach", "portforward", "proxy", "log"})
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


def is_long_running(info: RequestInfo) -> bool:
    return info.verb == "watch" or info.subresource in _STREAMS


class Limits:
    """Counts reads and writes apart; the excess is turned away at once with 429."""

    def __init__(self, config: Config) -> None:
        self._most = {True: config.max_mutating_inflight, False: config.max_requests_inflight}
        self._count = {True: 0, False: 0}
        self._seconds = config.timings.request_timeout

    @asynccontextmanager
    async def admit(self, user: User, info: RequestInfo) -> AsyncIterator[None]:
        """Hold a place while the request is served.  Raises TooManyRequests, Timeout."""
        if is_long_running(info):
            yield
            return
        writing = info.verb in WRITES
        exempt = SYSTEM_MASTERS in user.groups
        if not exempt and self._count[writing] >= self._most[writing]:
            raise errors.TooManyRequests("Too many requests, please try again later.")
        self._count[writing] += not exempt
        try:
            async with self.in_time():
                yield
        finally:
            self._count[writing] -= not exempt

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Bound what is awaited inside.  Raises Timeout."""
        try:
            async with asyncio.timeout(self._seconds) as deadline:
                yield
        except TimeoutError:
            if not deadline.expired():
                raise
            text = "Timeout: request did not complete within the allotted timeout"
            raise errors.Timeout(text) from None
