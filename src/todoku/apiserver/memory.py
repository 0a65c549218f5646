"""Gives memory back that requests have left behind.

Connections that were cut leave cycles, which the tuned collector seldom looks for; and the C library keeps what is
free between what is not.  Without this, a server that once served thousands of watches stays as large as it was then.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import resource
from collections.abc import Callable
from pathlib import Path

from todoku.aio import log as logs

log = logs.get(__name__)

LOOK_SECONDS = 15.0
# Growth by less is left alone: to look through all objects stops the server for some milliseconds.
GROWTH_BYTES = 32 << 20
_PAGE_BYTES = resource.getpagesize()


class Memory:
    """`look`, called now and then, frees what nobody uses once the process has grown enough."""

    def __init__(self, resident_bytes: Callable[[], int], free: Callable[[], None]) -> None:
        self._resident_bytes = resident_bytes
        self._free = free
        self._left_bytes = resident_bytes()  # after the last time

    def look(self) -> None:
        before = self._resident_bytes()
        if before < self._left_bytes + GROWTH_BYTES:
            self._left_bytes = min(self._left_bytes, before)
            return
        self._free()
        self._left_bytes = self._resident_bytes()
        log.debug("Memory freed", before_bytes=before, after_bytes=self._left_bytes)

    async def watch_over(self) -> None:
        """Call `look`, for ever."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()


def of_process() -> Memory:
    """The memory of this process.  A C library that cannot be told to give back keeps what it has."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:  # not glibc
        return Memory(_resident_bytes, _collect)

    def free() -> None:
        _collect()
        trim(ctypes.c_size_t(0))

    return Memory(_resident_bytes, free)


def _collect() -> None:
    gc.collect()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
