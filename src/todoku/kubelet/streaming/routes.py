"""The HTTP side of exec, attach and port-forward: reading the request, agreeing on a protocol, switching to it.

Paths and queries are those the API server uses towards a kubelet: `/exec/NS/POD[/UID]/CONTAINER?command=…&input=1`,
`/attach/…`, `/portForward/NS/POD[/UID]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeAlias

from aiohttp import web

from todoku.aio import log as logs
from todoku.aio.upgrade import Taken, switching, taken_over
from todoku.api.errors import ApiError, BadRequest, InternalError
from todoku.kubelet.streaming import exec_spdy, exec_websocket, port_forward
from todoku.kubelet.streaming.backend import Backend, ByteReader, ByteWriter, Process, Streams
from todoku.kubelet.streaming.exec import Remote, report, serve
from todoku.kubelet.streaming.link import StreamLink, WebSocketLink
from todoku.kubelet.streaming.spdy import Connection

log = logs.get(__name__)

Start: TypeAlias = Callable[[], Awaitable[Process]]
_MAX_MESSAGE_BYTES = 32 << 20
_CLOSE_SECONDS = 2.0


def add_routes(app: web.Application, backend: Backend) -> None:
    """Serve exec, attach and port-forward; whoever may connect at all may use them."""
    pod = "{namespace}/{pod}"
    routes = {
        f"/exec/{pod}/{{container}}": _exec,
        f"/exec/{pod}/{{uid}}/{{container}}": _exec,
        f"/attach/{pod}/{{container}}": _attach,
        f"/attach/{pod}/{{uid}}/{{container}}": _attach,
        f"/portForward/{pod}": _port_forward,
        f"/portForward/{pod}/{{uid}}": _port_forward,
    }
    for path, handler in routes.items():
        for method in ("GET", "POST"):
            app.router.add_route(method, path, partial(handler, backend))


# -- exec and attach


async def _exec(backend: Backend, request: web.Request) -> web.StreamResponse:
    command = request.query.getall("command", [])
    if not command:
        raise BadRequest("you must specify at least 1 command")
    wanted = streams_of(request)
    where = _where(request)

    async def start() -> Process:
        return await backend.exec(*where, command, wanted)

    return await _run(request, wanted, start)


async def _attach(backend: Backend, request: web.Request) -> web.StreamResponse:
    wanted, where = streams_of(request), _where(request)

    async def start() -> Process:
        return await backend.attach(*where, wanted)

    return await _run(request, wanted, start)


def _where(request: web.Request) -> tuple[str, str, str, str]:
    found = request.match_info
    return found["namespace"], found["pod"], found.get("uid", ""), found["container"]


def streams_of(request: web.Request) -> Streams:
    """What the query asks for.  Raises BadRequest if it is nothing."""
    wanted = {
        name: request.query.get(name) in ("1", "true")
        for name in ("input", "output", "error", "tty")
    }
    if not (wanted["input"] or wanted["output"] or wanted["error"]):
        raise BadRequest("you must specify at least 1 of stdin, stdout, stderr")
    return Streams(
        stdin=wanted["input"],
        stdout=wanted["output"],
        stderr=wanted["error"] and not wanted["tty"],
        tty=wanted["tty"],
    )


async def _run(request: web.Request, wanted: Streams, start: Start) -> web.StreamResponse:
    upgrade = _upgrade_of(request)
    if upgrade == "websocket":
        return await _run_websocket(request, wanted, start)
    protocol = _agreed(_offered_spdy(request), exec_spdy.PROTOCOLS, "channel.k8s.io")
    headers = _spdy_headers(protocol)
    async with taken_over(request, switching(headers)) as (reader, writer):
        connection = Connection(StreamLink(reader, writer))
        serving = asyncio.create_task(connection.serve(), name="exec-spdy")
        try:
            remote = await exec_spdy.accept(connection, wanted, protocol)
            await _converse(start, remote, refused=InternalError)
            await connection.go_away()
            # the client closes once it has read everything; closing first could cost it the end
            async with asyncio.timeout(_CLOSE_SECONDS):
                await connection.lost.wait()
        except (TimeoutError, ConnectionError, ApiError) as error:
            log.debug("SPDY exec ended early", error=error)
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    return Taken()


async def _run_websocket(request: web.Request, wanted: Streams, start: Start) -> web.StreamResponse:
    socket = web.WebSocketResponse(
        protocols=exec_websocket.PROTOCOLS, max_msg_size=_MAX_MESSAGE_BYTES, compress=False
    )
    await socket.prepare(request)
    remote = exec_websocket.WebSocketRemote(socket, wanted, socket.ws_protocol or "")
    receiving = asyncio.create_task(remote.receive(), name="exec-websocket")
    try:
        await _converse(start, remote, refused=InternalError.of)
    finally:
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await socket.close()
    return socket


async def _converse(
    start: Start, remote: Remote, *, refused: Callable[[str], InternalError]
) -> None:
    """Start the process and serve it; a refusal to start is told on the error stream.

    Upstream refuses before it upgrades, which SPDY clients word so; the API server passes it on to WebSocket clients as
    an error of its own.
    """
    try:
        process = await start()
    except ApiError as error:
        log.info("Exec refused", error=error.message)
        if not isinstance(error, InternalError):  # which the runtime caused, after the upgrade
            error = refused(f"unable to upgrade connection: {error.message}")
        await report(remote, error.status())
        return
    await serve(process, remote)


# -- port forward


async def _port_forward(backend: Backend, request: web.Request) -> web.StreamResponse:
    found = request.match_info
    where = found["namespace"], found["pod"], found.get("uid", "")

    async def connect(port: int) -> tuple[ByteReader, ByteWriter]:
        if not port:
            raise BadRequest("not a port")
        return await backend.port_forward(*where, port)

    if _upgrade_of(request) == "websocket":
        return await _forward_websocket(request, connect)
    protocol = _agreed(
        _offered_spdy(request), [port_forward.SPDY_PROTOCOL], port_forward.SPDY_PROTOCOL
    )
    async with taken_over(request, switching(_spdy_headers(protocol))) as (reader, writer):
        await port_forward.serve_spdy(Connection(StreamLink(reader, writer)), connect)
    return Taken()


async def _forward_websocket(
    request: web.Request, connect: port_forward.Connect
) -> web.StreamResponse:
    protocols = (port_forward.TUNNEL_PROTOCOL, *port_forward.CHANNEL_PROTOCOLS)
    socket = web.WebSocketResponse(
        protocols=protocols, max_msg_size=_MAX_MESSAGE_BYTES, compress=False
    )
    await socket.prepare(request)
    try:
        if socket.ws_protocol == port_forward.TUNNEL_PROTOCOL:
            await port_forward.serve_spdy(Connection(WebSocketLink(socket)), connect)
        else:
            await port_forward.serve_channels(socket, _ports(request), connect)
    finally:
        await socket.close()
    return socket


def _ports(request: web.Request) -> list[int]:
    values = [
        one
        for text in request.query.getall("ports", request.query.getall("port", []))
        for one in text.split(",")
    ]
    return [int(one) for one in values if one.isdigit() and 0 < int(one) < 1 << 16]


# -- agreeing


def _upgrade_of(request: web.Request) -> str:
    """`websocket` or `spdy/3.1`.  Raises BadRequest for a request that asks for neither."""
    upgrade = request.headers.get("Upgrade", "").lower()
    if upgrade not in ("websocket", "spdy/3.1"):
        raise BadRequest("unable to upgrade: missing upgrade headers in request")
    return upgrade


def _offered_spdy(request: web.Request) -> list[str]:
    values = request.headers.getall("X-Stream-Protocol-Version", [])
    return [one.strip() for value in values for one in value.split(",") if one.strip()]


def _agreed(offered: Sequence[str], served: Sequence[str], default: str) -> str:
    """The best protocol both sides speak; `default` for a client that names none.  Raises BadRequest."""
    if not offered:
        return default
    for one in served:
        if one in offered:
            return one
    raise BadRequest(
        f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {list(served)}"
    )


def _spdy_headers(protocol: str) -> dict[str, str]:
    return {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": protocol}
