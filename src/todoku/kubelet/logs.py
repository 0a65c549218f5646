"""Container logs: files in CRI format, read with all of `kubectl logs`' options, and rotated.

A line is `<RFC 3339 time> <stdout|stderr> <F|P> <text>`; P is a part of a longer line.
Source: CRI logging (design-proposals kubelet-cri-logging), v1 PodLogOptions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from todoku.api import times
from todoku.kubelet.streaming.backend import LogOptions
from todoku.linux.inotify import IN_CREATE, IN_MODIFY, IN_MOVED_TO, Watch

_CHUNK = 256 * 1024


def render(line: bytes, options: LogOptions) -> bytes | None:
    """What a reader sees of one line of the file (without its newline); None if it is filtered out."""
    stamp, _, rest = line.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if stream not in (b"stdout", b"stderr"):
        return None  # not a line of the format: the file was cut
    if options.stream != "All" and stream.decode().lower() != options.stream.lower():
        return None
    if options.since is not None and _time(stamp) < options.since:
        return None
    prefix = stamp.replace(b"+00:00", b"Z") + b" " if options.timestamps else b""
    return prefix + text + (b"" if tag.startswith(b"P") else b"\n")


def tail_offset(path: Path, lines: int) -> int:
    """Where the last `lines` whole lines of a file begin."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        if lines <= 0:
            return end
        position, found = end, 0
        while position > 0:
            size = min(_CHUNK, position)
            position -= size
            file.seek(position)
            chunk = file.read(size)
            index = len(chunk)
            while (index := chunk.rfind(b"\n", 0, index)) >= 0:
                if position + index == end - 1:
                    continue  # the newline that ends the file
                found += 1
                if found == lines:
                    return position + index + 1
        return 0


async def read(
    path: Path, options: LogOptions, *, running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """The log in pieces; with `follow` until `running()` is False and everything was read."""
    budget = options.limit_bytes
    offset = tail_offset(path, options.tail_lines) if options.tail_lines is not None else 0
    follower = _Follower(path) if options.follow else None
    try:
        async for piece in _pieces(path, offset, follower, running):
            shown = b"".join(one for line in piece if (one := render(line, options)) is not None)
            if budget is not None:
                shown = shown[:budget]
                budget -= len(shown)
            if shown:
                yield shown
            if budget == 0:
                return
    finally:
        if follower is not None:
            follower.close()


async def _pieces(
    path: Path, offset: int, follower: _Follower | None, running: Callable[[], bool]
) -> AsyncIterator[list[bytes]]:
    """Complete lines, many at a time; over to the new file when the log is rotated."""
    file = open(path, "rb")  # noqa: SIM115, ASYNC230
    rest = b""
    try:
        file.seek(offset)
        while True:
            was_running = running()  # asked before reading, so that the last lines are not missed
            chunk = file.read(_CHUNK)
            if chunk:
                *lines, rest = (rest + chunk).split(b"\n")
                if lines:
                    yield lines
                await asyncio.sleep(0)
                continue
            if follower is None or not was_running:
                return
            if _rotated(file.fileno(), path):
                last = file.read()  # written between our reading and the monitor's reopening
                if last:
                    *lines, rest = (rest + last).split(b"\n")
                    yield lines
                file.close()
                file, rest = open(path, "rb"), b""  # noqa: SIM115, ASYNC230
                continue
            await follower.wait()
    finally:
        file.close()


class _Follower:
    """Wakes when the log's folder or the log changes."""

    def __init__(self, path: Path) -> None:
        self._event = asyncio.Event()
        self._watch = Watch(
            str(path.parent), lambda _: self._event.set(), IN_MODIFY | IN_CREATE | IN_MOVED_TO
        )

    async def wait(self) -> None:
        # A container's end changes no file: look again from time to time.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.2):
                await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        self._watch.close()


def _rotated(descriptor: int, path: Path) -> bool:
    try:
        return os.fstat(descriptor).st_ino != path.stat().st_ino
    except FileNotFoundError:
        return False


def _time(stamp: bytes) -> float:
    try:
        return times.parse(stamp.decode())
    except ValueError:
        return 0.0


def rotate(path: Path, *, limit_bytes: int, files: int, stamp: str) -> bool:
    """Rename a log that has grown beyond its limit; True if the monitor must be told to open a new one."""
    try:
        if path.stat().st_size <= limit_bytes:
            return False
    except FileNotFoundError:
        return False
    old = sorted(path.parent.glob(f"{path.name}.*"))
    for gone in old[: max(len(old) - (files - 2), 0)]:
        gone.unlink(missing_ok=True)
    os.rename(path, path.with_name(f"{path.name}.{stamp}"))
    return True
