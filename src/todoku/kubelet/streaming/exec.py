"""Connects a process to a client: stdin, stdout, stderr, terminal sizes, and how it ended.

`Remote` is the client as the two protocols present it (`exec_spdy`, `exec_websocket`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, Protocol

from todoku.aio import log as logs
from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.kubelet.streaming.backend import ByteReader, ByteWriter, Process

log = logs.get(__name__)

_CHUNK_BYTES = 32 * 1024


class Remote(Protocol):
    """The client of one exec or attach."""

    @property
    def reports_status(self) -> bool:
        """Whether the protocol carries a Status object (v4 and later) rather than bare text."""

    async def read_stdin(self) -> bytes:
        """Some bytes; b"" when the client will send no more."""

    async def read_size(self) -> tuple[int, int] | None:
        """The terminal's next size, width and height in cells; None when there will be no more."""

    def output(self, name: str) -> ByteWriter | None:
        """`stdout`, `stderr` or `error`."""

    async def gone(self) -> None:
        """Returns when the client has left."""


async def serve(process: Process, remote: Remote) -> None:
    """Run until the process has ended and all its output is delivered, or the client is gone."""
    work = asyncio.create_task(_converse(process, remote), name="exec-streams")
    gone = asyncio.create_task(remote.gone(), name="exec-client")
    try:
        await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    except ConnectionError:
        log.debug("Client left during exec")
    finally:
        for task in (work, gone):
            task.cancel()
        await _whatever_happens(_close(process, work, gone))


async def _close(process: Process, *tasks: asyncio.Task[None]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    await process.close()


async def _whatever_happens(closing: Coroutine[Any, Any, None]) -> None:
    """Finish even if we are cancelled meanwhile: the connection's loss cancels the handler that noticed it first."""
    task = asyncio.create_task(closing, name="exec-close")
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _converse(process: Process, remote: Remote) -> None:
    inputs = [asyncio.create_task(_sizes(process, remote), name="exec-resize")]
    if process.stdin is not None:
        inputs.append(asyncio.create_task(_stdin(process.stdin, remote), name="exec-stdin"))
    try:
        async with asyncio.TaskGroup() as tasks:
            for name in ("stdout", "stderr"):
                source: ByteReader | None = getattr(process, name)
                sink = remote.output(name)
                if source is not None:
                    tasks.create_task(_output(source, sink), name=f"exec-{name}")
            ended = tasks.create_task(_ended(process), name="exec-wait")
        await _report(remote, ended.result())
    except* ConnectionError as group:
        raise ConnectionResetError("the client has gone away") from group
    finally:
        for task in inputs:
            task.cancel()
        await asyncio.gather(*inputs, return_exceptions=True)


async def _ended(process: Process) -> Object:
    try:
        return exit_status(await process.wait())
    except ApiError as error:
        return error.status()


async def _stdin(target: ByteWriter, remote: Remote) -> None:
    try:
        while data := await remote.read_stdin():
            await target.write(data)
    except (ConnectionError, OSError):
        return  # the process reads no more; its output and end still matter
    finally:
        await target.close()


async def _output(source: ByteReader, sink: ByteWriter | None) -> None:
    while data := await source.read(_CHUNK_BYTES):
        if sink is not None:
            await sink.write(data)
    if sink is not None:
        await sink.close()


async def _sizes(process: Process, remote: Remote) -> None:
    while (size := await remote.read_size()) is not None:
        await process.resize(*size)


async def _report(remote: Remote, status: Object) -> None:
    await report(remote, status)


async def report(remote: Remote, status: Object) -> None:
    """Tell how it ended on the error stream."""
    sink = remote.output("error")
    if sink is None:
        return
    if remote.reports_status:
        await sink.write(json.dumps(status, separators=(",", ":")).encode())
    elif status["status"] != "Success":
        await sink.write(str(status["message"]).encode())
    await sink.close()


def exit_status(code: int) -> Object:
    """The Status that ends an exec; clients take the exit code from its cause."""
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def parse_size(data: bytes) -> tuple[int, int] | None:
    """A TerminalSize message, `{"Width":80,"Height":24}`; None if it is none."""
    try:
        size = json.loads(data)
        width, height = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return None
    return (width, height) if 0 <= width < 1 << 16 and 0 <= height < 1 << 16 else None
