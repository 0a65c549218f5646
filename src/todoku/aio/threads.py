"""Work in a thread that is waited for even when the one who asked is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def thread(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Like asyncio.to_thread, but cancellation waits for the function's end.

    A thread cannot be stopped: whoever cleans up after a cancellation must find it finished, or it goes on
    making what was just removed.
    """
    return await to_the_end(asyncio.to_thread(function, *args, **kwargs))


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Await `work`; when cancelled, wait for it first and then be cancelled."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # looked at, so that nobody complains about it
        raise
