"""Processes that clients start or attach to in containers, and connections into pods: `streaming.Backend`."""

from __future__ import annotations

import array
import asyncio
import contextlib
import fcntl
import os
import secrets
import signal
import socket
import struct
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from todoku.api import errors
from todoku.api.meta import Key
from todoku.kubelet import logs as containerlogs
from todoku.kubelet.records import Container, PodRecord, State
from todoku.kubelet.runner import Runner
from todoku.kubelet.streaming.backend import (
    ByteReader,
    ByteWriter,
    LogOptions,
    Process,
    Streams,
)
from todoku.linux import commands, namespaces
from todoku.linux.containers import Containers

_STDOUT, _STDERR = 2, 3  # first byte of the monitor's attach packets
_PACKET = 8192


class ContainerBackend:
    """The streaming server's view of this node; `find` gives the record of a pod."""

    def __init__(
        self, containers: Containers, runner: Runner, find: Callable[[Key], PodRecord | None]
    ) -> None:
        self._containers = containers
        self._runner = runner
        self._find = find

    async def exec(
        self,
        namespace: str,
        pod: str,
        uid: str,
        container: str,
        command: Sequence[str],
        streams: Streams,
    ) -> Process:
        found = self._running(namespace, pod, uid, container)
        if found is None:
            raise errors.NotFound(f'container not found ("{container}")')
        return await _Exec.start(self._containers, self._runner, found, command, streams)

    async def attach(
        self, namespace: str, pod: str, uid: str, container: str, streams: Streams
    ) -> Process:
        found = self._running(namespace, pod, uid, container)
        if found is None:
            raise errors.NotFound(f"container {container} not found in pod {pod}_{namespace}")
        return await _Attach.start(self._containers, found, streams)

    async def port_forward(
        self, namespace: str, pod: str, uid: str, port: int
    ) -> tuple[ByteReader, ByteWriter]:
        record = self._record(namespace, pod, uid)
        if record.sandbox is None:
            raise errors.BadRequest(
                "unable to forward port because pod is not running. Current status=Pending"
            )
        sock = await _connect_inside(record.sandbox.netns, port)
        reader, writer = await asyncio.open_connection(sock=sock)
        return reader, _SocketWriter(writer)

    async def logs(
        self, namespace: str, pod: str, container: str, options: LogOptions
    ) -> AsyncIterator[bytes]:
        record = self._record(namespace, pod, "")
        found = self._logged(record, pod, container, options.previous)

        def running() -> bool:
            return found.state is not State.EXITED

        async for piece in containerlogs.read(Path(found.log), options, running=running):
            yield piece

    def _record(self, namespace: str, pod: str, uid: str) -> PodRecord:
        record = self._find(Key(namespace, pod))
        if record is None or (uid and record.uid != uid):
            raise errors.NotFound.of("pods", pod)
        return record

    def _running(self, namespace: str, pod: str, uid: str, container: str) -> Container | None:
        found = self._record(namespace, pod, uid).last(container)
        return found if found is not None and found.running else None

    def _logged(self, record: PodRecord, pod: str, name: str, previous: bool) -> Container:
        last = record.last(name)
        if previous:
            older = record.previous(name)
            waits = name in record.waiting and last is not None and last.state is State.EXITED
            if older is None and waits:
                older = last
            if older is None:
                raise errors.BadRequest(
                    f'previous terminated container "{name}" in pod "{pod}" not found'
                )
            return older
        if last is None:
            waiting = record.waiting.get(name)
            reason = waiting.reason if waiting else "ContainerCreating"
            raise errors.BadRequest(
                f'container "{name}" in pod "{pod}" is waiting to start: {reason}'
            )
        return last


class _Pipe:
    """One end of a pipe as ByteWriter."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()

    async def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            if self._descriptor < 0:
                raise BrokenPipeError("closed")
            try:
                view = view[os.write(self._descriptor, view) :]
            except BlockingIOError:
                await _writable(self._descriptor)

    async def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _PipeReader:
    """The other end as ByteReader; a terminal's EIO is the end as well."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    async def read(self, n: int = -1, /) -> bytes:
        size = n if n > 0 else 65536
        while self.descriptor >= 0:
            try:
                return os.read(self.descriptor, size)
            except BlockingIOError:
                await commands.readable(self.descriptor)
            except OSError:
                return b""
        return b""

    def close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class _TerminalWriter:
    """Typing into a terminal; closing it types the end-of-file character."""

    def __init__(self, descriptor: int) -> None:
        self._pipe = _Pipe(descriptor)
        self._descriptor = descriptor
        self._open = True

    async def write(self, data: bytes, /) -> None:
        try:
            await self._pipe.write(data)
        except OSError as error:
            raise BrokenPipeError("the terminal is closed") from error

    async def close(self) -> None:
        if self._open:
            self._open = False
            with contextlib.suppress(OSError):
                await self._pipe.write(b"\x04")


class _Exec:
    """A process started by `crun exec` (or runc), with pipes or a terminal."""

    def __init__(self, pid: int, description: Path) -> None:
        self._pid = pid
        self._description = description
        self._status: asyncio.Future[int] = asyncio.ensure_future(self._reap())
        self._stdin: _Pipe | _TerminalWriter | None = None
        self._stdout: _PipeReader | None = None
        self._stderr: _PipeReader | None = None
        self._terminal = -1

    @classmethod
    async def start(
        cls,
        containers: Containers,
        runner: Runner,
        container: Container,
        command: Sequence[str],
        streams: Streams,
    ) -> _Exec:
        folder = containers.control(container.id)
        description = folder / f"exec-{secrets.token_hex(6)}.json"
        description.write_bytes(
            msgspec.json.encode(runner.process(container, command, terminal=streams.tty))
        )
        try:
            if streams.tty:
                return await cls._with_terminal(containers, container, description, streams)
            return cls._with_pipes(containers, container, description, streams)
        except BaseException:
            description.unlink(missing_ok=True)
            raise

    @classmethod
    def _with_pipes(
        cls, containers: Containers, container: Container, description: Path, streams: Streams
    ) -> _Exec:
        ours: dict[int, int] = {}
        theirs: dict[int, int] = {}
        for number, wanted in ((0, streams.stdin), (1, streams.stdout), (2, streams.stderr)):
            if wanted:
                read, write = os.pipe2(os.O_CLOEXEC)
                theirs[number], ours[number] = (read, write) if number == 0 else (write, read)
                os.set_blocking(ours[number], False)
        try:
            pid = commands.spawn(containers.exec_argv(container.id, description), fds=theirs)
        except BaseException:
            for descriptor in ours.values():
                os.close(descriptor)
            raise
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
        process = cls(pid, description)
        process._stdin = _Pipe(ours[0]) if 0 in ours else None
        process._stdout = _PipeReader(ours[1]) if 1 in ours else None
        process._stderr = _PipeReader(ours[2]) if 2 in ours else None
        return process

    @classmethod
    async def _with_terminal(
        cls, containers: Containers, container: Container, description: Path, streams: Streams
    ) -> _Exec:
        console = description.with_suffix(".sock")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.setblocking(False)
            with _short_path(console) as short:
                listener.bind(short)
            listener.listen(1)
            read, write = os.pipe2(os.O_CLOEXEC)
            try:
                argv = containers.exec_argv(container.id, description, console=console)
                process = cls(commands.spawn(argv, fds={2: write}), description)
            finally:
                os.close(write)
            try:
                terminal = await process._receive_terminal(listener, read)
            finally:
                os.close(read)
                console.unlink(missing_ok=True)
        process._terminal = terminal
        process._stdout = _PipeReader(terminal)
        process._stdin = _TerminalWriter(terminal) if streams.stdin else None
        return process

    async def _receive_terminal(self, listener: socket.socket, errors_pipe: int) -> int:
        """The terminal's descriptor, sent by the runtime; an InternalError with its words if it fails before."""
        loop = asyncio.get_running_loop()
        accepting = asyncio.ensure_future(loop.sock_accept(listener))
        either: set[asyncio.Future[object]] = {accepting, self._status}  # type: ignore[arg-type]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not accepting.done():
            accepting.cancel()
            await asyncio.gather(accepting, return_exceptions=True)
            text = os.read(errors_pipe, 65536).decode(errors="replace").strip()
            raise errors.InternalError(f"error executing command in container: {text}")
        connection, _ = accepting.result()
        with connection:
            connection.setblocking(False)
            await commands.readable(connection.fileno())
            _, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(4))
        descriptor = array.array("i", ancillary[0][2])[0]
        os.set_blocking(descriptor, False)
        return descriptor

    @property
    def stdin(self) -> ByteWriter | None:
        return self._stdin

    @property
    def stdout(self) -> ByteReader | None:
        return self._stdout

    @property
    def stderr(self) -> ByteReader | None:
        return self._stderr

    async def resize(self, width: int, height: int) -> None:
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                fcntl.ioctl(
                    self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0)
                )

    async def wait(self) -> int:
        return await asyncio.shield(self._status)

    async def close(self) -> None:
        if not self._status.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
        await asyncio.shield(self._status)
        if isinstance(self._stdin, _Pipe):
            await self._stdin.close()
        for reader in (self._stdout, self._stderr):
            if reader is not None:
                reader.close()
        self._terminal = -1

    async def _reap(self) -> int:
        try:
            return await commands.wait(self._pid)
        finally:
            self._description.unlink(missing_ok=True)


class _Attach:
    """A connection to the monitor's attach socket of a container."""

    def __init__(self, sock: socket.socket, window: Path, streams: Streams) -> None:
        self._socket = sock
        self._window = window
        self._loop = asyncio.get_running_loop()
        self._out, self._error = asyncio.StreamReader(), asyncio.StreamReader()
        self._streams = streams
        self._ended = asyncio.ensure_future(self._pump())

    @classmethod
    async def start(cls, containers: Containers, container: Container, streams: Streams) -> _Attach:
        path = containers.attach_socket(container.id)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with _short_path(path) as short:
                sock.connect(short)
        except OSError as error:
            sock.close()
            raise errors.InternalError(
                f"container {container.name} cannot be attached to: {error}"
            ) from error
        sock.setblocking(False)
        return cls(sock, containers.window_pipe(container.id), streams)

    @property
    def stdin(self) -> ByteWriter | None:
        return _AttachInput(self._socket) if self._streams.stdin else None

    @property
    def stdout(self) -> ByteReader | None:
        return self._out if self._streams.stdout else None

    @property
    def stderr(self) -> ByteReader | None:
        return self._error if self._streams.stderr and not self._streams.tty else None

    async def resize(self, width: int, height: int) -> None:
        with contextlib.suppress(OSError):
            descriptor = os.open(self._window, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(descriptor, f"{height} {width}\n".encode())
            finally:
                os.close(descriptor)

    async def wait(self) -> int:
        await asyncio.shield(self._ended)
        return 0

    async def close(self) -> None:
        self._ended.cancel()
        await asyncio.gather(self._ended, return_exceptions=True)
        self._socket.close()

    async def _pump(self) -> None:
        try:
            while packet := await self._loop.sock_recv(self._socket, _PACKET + 1):
                target = self._error if packet[0] == _STDERR else self._out
                target.feed_data(packet[1:])
        except OSError:
            return
        finally:
            self._out.feed_eof()
            self._error.feed_eof()


class _AttachInput:
    """Input for a container; its end half-closes the connection."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    async def write(self, data: bytes, /) -> None:
        loop = asyncio.get_running_loop()
        for start in range(0, len(data), _PACKET):
            await loop.sock_sendall(self._socket, data[start : start + _PACKET])

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)


class _SocketWriter:
    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    async def write(self, data: bytes, /) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


async def _connect_inside(netns: str, port: int) -> socket.socket:
    """A connection to the loopback address of a network namespace.  Raises OSError."""
    problem: OSError | None = None
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        sock = namespaces.socket_in(netns or None, family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
            return sock
        except OSError as error:
            problem = problem or error
            sock.close()
    assert problem is not None
    raise problem


@contextlib.contextmanager
def _short_path(path: Path) -> Iterator[str]:
    """A name of at most 108 bytes for a unix socket, through its folder's descriptor."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def _writable(descriptor: int) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_writer(descriptor)
