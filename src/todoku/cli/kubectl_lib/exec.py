"""`exec [-i] [-t]` over a WebSocket with the subprotocol v5.channel.k8s.io (KEP-4006)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import termios
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from urllib.parse import urlencode

import aiohttp

from todoku.cli.kubectl_lib.pods import container_of, pod_of
from todoku.cli.kubectl_lib.refusals import Failed, Usage
from todoku.cli.kubectl_lib.session import Session
from todoku.client import Client
from todoku.client.names import built_in

_STDIN, _STDOUT, _STDERR, _ERROR, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_PROTOCOL = "v5.channel.k8s.io"
_CHUNK_BYTES = 32 << 10


async def execute(session: Session) -> int:
    """Run `exec`; the status is the command's own."""
    given = session.given
    if not given.words or not given.command:
        raise Usage("you must specify at least one command for the container: exec POD -- COMMAND")
    pod = await pod_of(session, given.words[0])
    container = container_of(pod, given.container)
    if not given.container and len(pod["spec"]["containers"]) > 1:
        print(f'Defaulted container "{container}"', file=sys.stderr)
    terminal = given.tty and sys.stdin.isatty()
    if given.tty and not terminal:
        print(
            "Unable to use a TTY - input is not a terminal or the right kind of file",
            file=sys.stderr,
        )
    query = [("container", container), ("stdout", "true"), ("command", given.command[0])]
    query += [("command", word) for word in given.command[1:]]
    query += [("stdin", "true")] if given.stdin else []
    query += [("tty", "true")] if given.tty else [("stderr", "true")]
    metadata = pod["metadata"]
    path = built_in()["pods"].path(metadata["namespace"], metadata["name"], "exec")
    async with _connected(session.client, f"{path}?{urlencode(query)}") as channel:
        with _raw_terminal() if terminal and given.stdin else contextlib.nullcontext():
            return await _talk(channel, stdin=given.stdin, terminal=terminal)


@asynccontextmanager
async def _connected(client: Client, target: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    config = client.config
    headers = {name: value for name, value in {
        "Authorization": config.authorization()(), "User-Agent": config.user_agent,
    }.items() if value}  # fmt: skip
    context = config.ssl_context()
    async with aiohttp.ClientSession(headers=headers) as http:
        try:
            connecting = http.ws_connect(
                config.server + target, protocols=(_PROTOCOL,), ssl=context or False,
                server_hostname=config.server_name or None, max_msg_size=0, autoping=True,
            )  # fmt: skip
            async with connecting as channel:
                if channel.protocol != _PROTOCOL:
                    raise Failed(f"error: the server does not speak {_PROTOCOL}")
                yield channel
        except aiohttp.WSServerHandshakeError as refusal:
            raise Failed(
                f"error: unable to upgrade connection: {refusal.status} {refusal.message}"
            ) from None


async def _talk(channel: aiohttp.ClientWebSocketResponse, *, stdin: bool, terminal: bool) -> int:
    """Carry the streams until the command ends; its status."""
    loop = asyncio.get_running_loop()
    helpers: list[asyncio.Task[None]] = []
    resized = asyncio.Event()
    if stdin:
        helpers.append(asyncio.create_task(_send_stdin(channel), name="exec-stdin"))
    if terminal:
        resized.set()
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
        helpers.append(asyncio.create_task(_send_sizes(channel, resized), name="exec-size"))
    try:
        return await _receive(channel)
    finally:
        if terminal:
            loop.remove_signal_handler(signal.SIGWINCH)
        for task in helpers:
            task.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _receive(channel: aiohttp.ClientWebSocketResponse) -> int:
    outputs = {_STDOUT: sys.stdout.buffer, _STDERR: sys.stderr.buffer}
    async for message in channel:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        number, data = message.data[0], message.data[1:]
        if number in outputs:
            outputs[number].write(data)
            outputs[number].flush()
        elif number == _ERROR:
            return status_of(data)
    raise Failed("error: the connection ended before the command did")


def status_of(data: bytes) -> int:
    """The command's status from the error channel's Status.  Raises Failed if it could not be run."""
    status = json.loads(data)
    if status.get("status") == "Success":
        return 0
    for cause in (status.get("details") or {}).get("causes") or ():
        if cause.get("reason") == "ExitCode":
            code = int(cause["message"])
            print(f"command terminated with exit code {code}", file=sys.stderr)
            return code
    raise Failed(f"error: {status.get('message', 'the command could not be run')}")


async def _send_stdin(channel: aiohttp.ClientWebSocketResponse) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(0), "rb")
    )
    try:
        while data := await reader.read(_CHUNK_BYTES):
            await channel.send_bytes(bytes((_STDIN,)) + data)
        await channel.send_bytes(bytes((_CLOSE, _STDIN)))
    finally:
        transport.close()


async def _send_sizes(channel: aiohttp.ClientWebSocketResponse, resized: asyncio.Event) -> None:
    while True:
        await resized.wait()
        resized.clear()
        size = os.get_terminal_size()
        body = json.dumps({"Width": size.columns, "Height": size.lines}).encode()
        await channel.send_bytes(bytes((_RESIZE,)) + body)


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys go to the container as typed; the terminal is restored whatever happens."""
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
