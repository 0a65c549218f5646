"""Notice changes of a directory without polling.  Source: inotify(7)."""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
from collections.abc import Callable
from typing import Final

IN_CLOSE_WRITE: Final = 0x8
IN_MODIFY: Final = 0x2
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_Q_OVERFLOW: Final = 0x4000

_HEADER = struct.Struct("iIII")
_libc = ctypes.CDLL(None, use_errno=True)


class Watch:
    """Calls `told(name)` on the running loop for each event in the directory or file `path`.

    `name` is that of the entry, "" for the watched thing itself and when events were lost: then look at
    everything.  Close it; it is also a context manager.
    """

    def __init__(
        self, path: str, told: Callable[[str], None], mask: int = IN_CLOSE_WRITE | IN_MOVED_TO
    ) -> None:
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._descriptor = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._descriptor < 0:
            raise _error(path)
        if _libc.inotify_add_watch(self._descriptor, os.fsencode(path), mask) < 0:
            error = _error(path)
            os.close(self._descriptor)
            raise error
        self._loop.add_reader(self._descriptor, self._read)

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        offset = 0
        while offset < len(data):
            _, mask, _, length = _HEADER.unpack_from(data, offset)
            offset += _HEADER.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            self._told("" if mask & IN_Q_OVERFLOW else os.fsdecode(name))


def _error(path: str) -> OSError:
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code), path)
