"""Keeping a child alive: start it, watch it by pidfd, start it again with back-off."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from todoku.aio import log as logs
from todoku.linux.process import ProcessId

log = logs.get(__name__)

_BACKOFF_SECONDS = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)
_STEADY_SECONDS = 10.0  # running this long forgives earlier deaths


@dataclass(slots=True)
class Child:
    """One child: what it runs, where, and the listening sockets that outlive it.

    `place` is the machine it runs on, "" for the lab itself (in the host's network).  `sockets` keep their
    order: they become the child's descriptors 3, 4, ...
    """

    name: str
    main: str
    place: str
    config: dict[str, Any]
    sockets: dict[str, socket.socket] = field(default_factory=dict)
    process: ProcessId | None = None
    restarts: int = 0

    def descriptors(self) -> Mapping[str, int]:
        """The number of each socket in the child."""
        return {name: 3 + index for index, name in enumerate(self.sockets)}


Start = Callable[[Child], Awaitable[ProcessId]]


async def keep(child: Child, start: Start, changed: Callable[[], None]) -> None:
    """Keep a child running until cancelled; a child that runs already is adopted.

    `changed` is called whenever the child has another process.
    """
    deaths = 0
    while True:
        if child.process is None or not child.process.alive():
            child.process = await _started(child, start)
            changed()
        began = time.monotonic()
        await ended(child.process)
        if time.monotonic() - began > _STEADY_SECONDS:
            deaths = 0
        pause = _BACKOFF_SECONDS[min(deaths, len(_BACKOFF_SECONDS) - 1)]
        deaths += 1
        child.restarts += 1
        log.warning("Child ended; starting it again", child=child.name, seconds=pause)
        child.process = None
        changed()
        await asyncio.sleep(pause)


async def _started(child: Child, start: Start) -> ProcessId:
    """Start the child, trying again while it cannot be started."""
    for attempt in range(1 << 30):
        try:
            process = await start(child)
        except OSError as error:
            pause = _BACKOFF_SECONDS[min(attempt + 1, len(_BACKOFF_SECONDS) - 1)]
            log.error("Child cannot be started", child=child.name, error=error, seconds=pause)
            await asyncio.sleep(pause)
        else:
            log.info("Child started", child=child.name, pid=process.pid)
            return process
    raise AssertionError("unreachable")


async def ended(process: ProcessId) -> None:
    """Wait until that very process has ended."""
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        if process.alive():
            loop.add_reader(descriptor, gone.set)
            await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


async def end(process: ProcessId, *, grace_seconds: float) -> None:
    """Ask a process to end, and kill it if it does not."""
    if not process.alive():
        return
    try:
        os.kill(process.pid, signal.SIGTERM)
        async with asyncio.timeout(grace_seconds):
            await ended(process)
    except TimeoutError:
        log.warning("Process does not end; killing it", pid=process.pid)
        await asyncio.to_thread(process.kill)
    except ProcessLookupError:
        return
