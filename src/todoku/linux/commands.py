"""Programs run from an event loop with posix_spawn and a pidfd: no fork of a big process, no child watcher.

asyncio's own subprocesses cost a fork (uvloop) or a watcher; a node agent starts several programs per
container, so it matters.  Source: posix_spawn(3), pidfd_open(2).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended: `status` is its exit status, or 128+N for signal N."""

    status: int
    output: bytes = b""
    error: bytes = b""


class TimedOut(Exception):
    """The program was killed because it took too long; `done` has what it wrote until then."""

    def __init__(self, argv: Sequence[str], seconds: float, done: Done) -> None:
        super().__init__(f"{argv[0]}: no end after {seconds:g} s")
        self.done = done


def spawn(
    argv: Sequence[str],
    *,
    fds: Mapping[int, int] | None = None,
    env: Mapping[str, str] | None = None,
) -> int:
    """Start a program (an absolute path) in a session of its own; its process id.

    `fds` maps descriptors of the child to ours; 0, 1 and 2 are /dev/null unless given.  Others are closed if
    they are close-on-exec, as all that Python opens are.  The caller waits for the program.
    """
    given = dict(fds or {})
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = []
    # Move sources out of the way of targets first: one may be the other's number.
    safe = {target: os.dup(source) for target, source in given.items()}
    try:
        for target in (0, 1, 2):
            if target not in safe:
                flags = os.O_RDONLY if target == 0 else os.O_WRONLY
                actions.append((os.POSIX_SPAWN_OPEN, target, "/dev/null", flags, 0))
        actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in safe.items()]
        return os.posix_spawn(
            argv[0],
            list(argv),
            dict(os.environ if env is None else env),
            file_actions=actions,
            setsigdef=_DEFAULT_SIGNALS,
            setsigmask=(),
            setsid=True,
        )
    finally:
        for descriptor in safe.values():
            os.close(descriptor)


async def wait(pid: int) -> int:
    """Wait for a child of ours; its exit status, 128+N for signal N.

    Cancelled, it leaves the child to run; somebody must wait for it again.
    """
    descriptor = os.pidfd_open(pid)
    try:
        await readable(descriptor)
    finally:
        os.close(descriptor)
    return _status(pid)


async def readable(descriptor: int) -> None:
    """Wait until `descriptor` can be read."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    fds: Mapping[int, int] | None = None,
    timeout_seconds: float | None = None,
    limit_bytes: int = 1 << 20,
) -> Done:
    """Run a program to its end and collect what it writes (up to `limit_bytes` of each stream).

    Raises OSError if it cannot be started, TimedOut after killing it.  Cancelled, it kills the program.
    """
    out_read, out_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    error_read, error_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    for descriptor in (out_write, error_write):
        os.set_blocking(descriptor, True)
    readers = [_Collector(out_read, limit_bytes), _Collector(error_read, limit_bytes)]
    try:
        try:
            pid = spawn(argv, fds={1: out_write, 2: error_write, **(fds or {})}, env=env)
        finally:
            os.close(out_write)
            os.close(error_write)
        return await _finish(argv, pid, readers, timeout_seconds)
    finally:
        for reader in readers:
            reader.close()


async def _finish(
    argv: Sequence[str], pid: int, readers: Sequence[_Collector], timeout_seconds: float | None
) -> Done:
    ended = False
    try:
        async with asyncio.timeout(timeout_seconds):
            status = await wait(pid)
            ended = True
            # A daemon that the program left behind may hold the pipes open: what is there now is enough.
            for reader in readers:
                reader.drain()
            return Done(status, *(bytes(reader.data) for reader in readers))
    except TimeoutError:
        assert timeout_seconds is not None
        done = Done(128 + signal.SIGKILL, *(bytes(reader.data) for reader in readers))
        raise TimedOut(argv, timeout_seconds, done) from None
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            _status(pid)


class _Collector:
    """Keeps what arrives on a pipe."""

    def __init__(self, descriptor: int, limit_bytes: int) -> None:
        self.data = bytearray()
        self._descriptor = descriptor
        self._limit_bytes = limit_bytes
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._loop.add_reader(descriptor, self.drain)

    def drain(self) -> None:
        while self._open:
            try:
                chunk = os.read(self._descriptor, 65536)
            except BlockingIOError:
                return
            if not chunk:
                self.close()
                return
            self.data += chunk[: max(self._limit_bytes - len(self.data), 0)]

    def close(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)


def _status(pid: int) -> int:
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
