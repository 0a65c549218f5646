"""Work on large objects is done in threads, so that it keeps no other client waiting.

One object may be as large as a request (3 MiB), and to decode, check and describe it may take seconds.  What runs there
decides purely: it changes what belongs to the request alone, and reads objects that nobody changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple, Unpack

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

# A smaller one is done with in the time that a few small requests take.
LARGE_BYTES = 64 * 1024
# They share one interpreter with the event loop; more would only slow each other down.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="large")


async def worked(
    size_bytes: int, function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments
) -> Result:
    """What the function makes of its arguments; it runs in a thread if they are large.

    Cancelling abandons the work, which comes to its end unseen.
    """
    if size_bytes < LARGE_BYTES:
        return function(*arguments)
    return await apart(function, *arguments)


async def apart(function: Callable[[Unpack[Arguments]], Result], *arguments: *Arguments) -> Result:
    """The same for what takes long whatever its size."""
    return await asyncio.get_running_loop().run_in_executor(_threads, function, *arguments)
