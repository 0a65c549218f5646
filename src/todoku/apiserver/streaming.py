"""exec, attach, port-forward and log: the request goes on to the kubelet of the pod's node, bytes pass unchanged.

The protocols are spoken by client and kubelet; the server authorizes, finds the node, repeats the client's upgrade
to it, and from then on only copies.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import web

from todoku.aio import log as logs
from todoku.aio.upgrade import Taken, splice, taken_over
from todoku.api import errors
from todoku.api.errors import ApiError, BadRequest
from todoku.api.meta import Object
from todoku.apiserver.config import Connector
from todoku.apiserver.http import without_token
from todoku.apiserver.kubelets import Kubelets, Place, dial_error, why
from todoku.apiserver.log_options import kubelet_query
from todoku.apiserver.options import flag
from todoku.apiserver.request import RequestInfo, User

log = logs.get(__name__)

_HEAD_BYTES = 64 * 1024
_CHUNK_BYTES = 64 * 1024
_PASSED_HEADERS = (
    "Upgrade",
    "X-Stream-Protocol-Version",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
    "Sec-WebSocket-Protocol",
    "Origin",
)
_LOG_PROTOCOLS = ("binary.k8s.io", "base64.binary.k8s.io")


def connectors(kubelets: Kubelets) -> Mapping[str, Connector]:
    return {
        "pods/exec": Exec(kubelets, "exec"),
        "pods/attach": Exec(kubelets, "attach"),
        "pods/portforward": PortForward(kubelets),
        "pods/log": Log(kubelets),
    }


class Exec:
    """pods/exec and pods/attach."""

    def __init__(self, kubelets: Kubelets, kind: str) -> None:
        self._kubelets = kubelets
        self._kind = kind

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        container = container_of(parent, request.query.get("container", ""))
        place = self._kubelets.place(node_of(parent))
        query = [("command", one) for one in request.query.getall("command", [])]
        for ours, theirs in (
            ("stdin", "input"),
            ("stdout", "output"),
            ("stderr", "error"),
            ("tty", "tty"),
        ):
            if flag(request.query, ours):
                query.append((theirs, "1"))
        path = f"/{self._kind}/{_place(parent)}/{quote(container, safe='')}?{urlencode(query)}"
        return await pass_upgrade(self._kubelets, place, request, path)


class PortForward:
    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        place = self._kubelets.place(node_of(parent))
        ports = [("ports", one) for one in request.query.getall("ports", [])]
        path = f"/portForward/{_place(parent)}" + (f"?{urlencode(ports)}" if ports else "")
        return await pass_upgrade(self._kubelets, place, request, path)


class Log:
    """pods/log: a plain GET to the kubelet, its answer streamed on (or as WebSocket messages)."""

    def __init__(self, kubelets: Kubelets) -> None:
        self._kubelets = kubelets

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        query = kubelet_query(parent["metadata"]["name"], request.query)
        container = container_of(parent, request.query.get("container", ""))
        if not (parent.get("spec") or {}).get("nodeName"):
            return web.Response(text="")  # nothing has run yet, so nothing is logged
        place = self._kubelets.place(node_of(parent))
        path = f"/containerLogs/{_place(parent)}/{quote(container, safe='')}?{urlencode(query)}"
        async with aclosing(self._pieces(place, path)) as pieces:
            first = await anext(pieces, b"")  # a refusal comes before the first piece
            if request.headers.get("Upgrade", "").lower() == "websocket":
                return await _as_messages(request, first, pieces)
            return await _as_body(request, first, pieces)

    async def _pieces(self, place: Place, path: str) -> AsyncGenerator[bytes, None]:
        session, url = self._kubelets.session(), self._kubelets.url(place, path)
        try:
            async with session.get(url) as answer:
                if answer.status != 200:
                    raise _refusal(answer.status, await answer.read())
                async for piece in answer.content.iter_any():
                    yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise get_error(f"https://{place.authority}{path}", place, error) from error


async def _as_body(
    request: web.BaseRequest, first: bytes, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    if first:
        await response.write(first)
    async for piece in pieces:
        await response.write(piece)
    await response.write_eof()
    return response


async def _as_messages(
    request: web.BaseRequest, first: bytes, pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    socket = web.WebSocketResponse(protocols=_LOG_PROTOCOLS, compress=False)
    await socket.prepare(request)
    in_base64 = (socket.ws_protocol or "").startswith("base64")

    async def send(piece: bytes) -> None:
        if in_base64:
            await socket.send_str(base64.b64encode(piece).decode())
        else:
            await socket.send_bytes(piece)

    if first:
        await send(first)
    async for piece in pieces:
        await send(piece)
    await socket.close()
    return socket


# -- passing an upgrade on


async def pass_upgrade(
    kubelets: Kubelets, place: Place, request: web.BaseRequest, path: str
) -> web.StreamResponse:
    """Repeat the client's upgrade to the kubelet and copy bytes both ways; its refusal is the answer otherwise."""
    if "upgrade" not in request.headers.get("Connection", "").lower():
        raise BadRequest("Upgrade request required")
    backend = await kubelets.open(place)
    _, writer = backend
    try:
        writer.write(_request_head(request, place.authority, path, _passed(request)))
        await writer.drain()
        return await relay(request, backend, dial_error(place, "unexpected EOF"))
    finally:
        writer.close()


async def relay(
    request: web.BaseRequest,
    backend: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    broken: ApiError,
) -> web.StreamResponse:
    """Answer with what the backend answers to an upgrade; after a 101, splice.  Raises `broken`."""
    reader, _ = backend
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
        raise broken from error
    status, headers = _read_head(head)
    if status != 101:
        raise _refusal(status, await _read_body(reader, headers))
    async with taken_over(request, head) as client:
        await splice(client, backend)
    return Taken()


def _request_head(
    request: web.BaseRequest, authority: str, path: str, headers: Sequence[tuple[str, str]]
) -> bytes:
    lines = [f"{request.method} {path} HTTP/1.1", f"Host: {authority}", "Connection: Upgrade"]
    lines += [f"{name}: {value}" for name, value in headers]
    if request.method == "POST":
        lines.append("Content-Length: 0")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _passed(request: web.BaseRequest) -> list[tuple[str, str]]:
    """The headers that negotiate the protocol; a bearer token among the subprotocols stays here."""
    found = []
    for name in _PASSED_HEADERS:
        for value in request.headers.getall(name, []):
            if name == "Sec-WebSocket-Protocol":
                value = ", ".join(without_token(value))
            if value:
                found.append((name, value))
    return found


def _read_head(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    parts = first.split(" ", 2)
    status = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 502
    pairs = (line.partition(":") for line in lines if line)
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _read_body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    size = headers.get("content-length", "")
    if size.isdigit():
        return await reader.readexactly(min(int(size), _HEAD_BYTES))
    return await reader.read(_HEAD_BYTES)


def _refusal(status: int, body: bytes) -> ApiError:
    """A kubelet's error answer, its text or Status, as ours."""
    import json

    try:
        decoded = json.loads(body)
    except ValueError:
        decoded = None
    if isinstance(decoded, dict) and decoded.get("kind") == "Status":
        return errors.from_status(decoded)
    text = body.decode("utf-8", "replace").strip() or f"the kubelet answered {status}"
    for kind in (errors.BadRequest, errors.NotFound, errors.Forbidden, errors.Unauthorized):
        if kind.code == status and kind is not errors.Unauthorized:
            return kind(text)
    return errors.InternalError.of(text)


def get_error(url: str, place: Place, error: Exception) -> ApiError:
    """A GET to a kubelet that failed on the way, as Go words it."""
    cause: BaseException = error
    if isinstance(error, aiohttp.ClientConnectorError):
        cause = error.os_error
    text = why(cause) if isinstance(cause, OSError) else str(cause) or type(cause).__name__
    return errors.InternalError(f'Get "{url}": dial tcp {place.authority}: {text}')


# -- what a request means


def container_of(pod: Object, name: str) -> str:
    """The container asked for, or the only one.  Raises BadRequest in the server's words."""
    spec, pod_name = pod.get("spec") or {}, pod["metadata"]["name"]
    containers = [one["name"] for one in spec.get("containers") or ()]
    inits = [one["name"] for one in spec.get("initContainers") or ()]
    ephemeral = [one["name"] for one in spec.get("ephemeralContainers") or ()]
    if name:
        if name in (*containers, *inits, *ephemeral):
            return name
        raise BadRequest(f"container {name} is not valid for pod {pod_name}")
    if len(containers) == 1:
        return str(containers[0])
    text = f"a container name must be specified for pod {pod_name}, choose one of: [{' '.join(containers)}]"
    if inits:
        text += f" or one of the init containers: [{' '.join(inits)}]"
    raise BadRequest(text)


def node_of(pod: Object) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise BadRequest(f"pod {pod['metadata']['name']} does not have a host assigned")
    return str(node)


def _place(pod: Object) -> str:
    metadata = pod["metadata"]
    return f"{quote(metadata['namespace'], safe='')}/{quote(metadata['name'], safe='')}"
