"""The supervisor's socket, seen by the supervisor: answers the requests that `control` describes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from todoku.aio import log as logs
from todoku.lab.control import Json, Progress, Refused

log = logs.get(__name__)

Work = Callable[[Json, Progress], Awaitable[Any]]
_LIMIT_BYTES = 1 << 20


async def serve(
    listener: socket.socket, work: Work, answered: Callable[[], None]
) -> asyncio.Server:
    """Answer requests with `work`, which returns the result or raises Refused or OSError.

    `answered` is called when a request is over and its answer, if anybody waits for one, is sent.
    """

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            try:
                await _answer(reader, writer, work)
            finally:
                answered()
                writer.close()
                await writer.wait_closed()

    return await asyncio.start_unix_server(handle, sock=listener, limit=_LIMIT_BYTES)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, work: Work) -> None:
    line = await reader.readline()
    if not line:
        return
    request = json.loads(line)

    def send(message: Json) -> None:
        if not writer.is_closing():
            writer.write(json.dumps(message).encode() + b"\n")

    doing = asyncio.create_task(
        _work(work, request, lambda text: send({"progress": text})), name=f"op-{request['op']}"
    )
    leaving = asyncio.create_task(reader.read(1), name="client-leaves")
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            log.info("Client left; giving up its request", op=request["op"])
            doing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            send(await doing)
        await writer.drain()
    finally:
        doing.cancel()
        leaving.cancel()


async def _work(work: Work, request: Json, progress: Progress) -> Json:
    try:
        return {"result": await work(request, progress)}
    except (Refused, OSError) as error:
        return {"error": str(error)}
    except Exception as error:
        log.exception("Request failed", op=request["op"])
        return {"error": f"{type(error).__name__}: {error}"}
