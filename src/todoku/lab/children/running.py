"""What every child does: logs, an event loop, and a clean end when asked with SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any

import uvloop

from todoku.aio import log as logs


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run `work` until it ends or SIGTERM cancels it."""
    logs.configure(os.environ.get("TODOKU_LOG", "info"))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_until_asked_to_end(work))


async def _until_asked_to_end(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await task
    except asyncio.CancelledError:
        if not task.cancelled():
            raise
