"""pods/proxy, services/proxy and nodes/proxy: HTTP through the API server to a pod, a Service's pod or a kubelet.

The request passes with the client's own `Host`; the answer passes as it is, but for CORS headers, which would speak for
this server, and for absolute links: `Location` headers and the links of HTML pages are led back through the proxy.
Source: k8s.io/apimachinery util/proxy.
"""

from __future__ import annotations

import asyncio
import gzip
import ssl
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp import web
from yarl import URL

from todoku.aio import log as logs
from todoku.api.errors import ApiError, BadRequest, ServiceUnavailable
from todoku.api.meta import Object
from todoku.apiserver.config import Connector, Objects
from todoku.apiserver.kubelets import Kubelets, place_of, why
from todoku.apiserver.page_links import rewrite_links
from todoku.apiserver.request import RequestInfo, User
from todoku.apiserver.service_endpoints import endpoints_of
from todoku.apiserver.streaming import relay

log = logs.get(__name__)

_CONNECT_SECONDS = 10.0
_MAX_HTML_BYTES = 16 << 20
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer",
        "transfer-encoding", "upgrade", "proxy-connection",
    }
)  # fmt: skip
# The client's credentials are for us, not for what lies behind.
_PRIVATE = frozenset({"authorization", "x-forwarded-for"})
_NOT_PASSED_BACK = frozenset(
    {
        "access-control-allow-credentials", "access-control-allow-headers", "access-control-allow-methods",
        "access-control-allow-origin",
    }
)  # fmt: skip
_CODECS: Mapping[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
    "": (bytes, bytes),
    "gzip": (gzip.decompress, gzip.compress),
}


@dataclass(frozen=True, slots=True)
class Target:
    """Where a proxied request goes.  `prefix` is our own path in front of the target's."""

    scheme: str
    host: str
    port: int
    prefix: str

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Named:
    """`[scheme:]name[:port]`, as a proxied pod, Service or node is named in the path."""

    scheme: str
    name: str
    port: str

    @staticmethod
    def of(text: str, kind: str) -> Named:
        """Raises BadRequest."""
        parts = text.split(":")
        if len(parts) == 1:
            return Named("", text, "")
        if len(parts) == 2:
            return Named("", parts[0], parts[1])
        if len(parts) == 3 and parts[0] in ("http", "https"):
            return Named(parts[0], parts[1], parts[2])
        raise BadRequest(f'invalid {kind} request "{text}"')


def connectors(proxy: Proxy) -> Mapping[str, Connector]:
    return {
        "pods/proxy": _ToPod(proxy),
        "services/proxy": _ToService(proxy),
        "nodes/proxy": _ToNode(proxy),
    }


class Proxy:
    """Forwards requests; `close` ends the pooled connections."""

    def __init__(self, objects: Objects, kubelets: Kubelets) -> None:
        self.objects = objects
        self.kubelets = kubelets
        self._session: aiohttp.ClientSession | None = None

    async def forward(
        self, request: web.BaseRequest, target: Target, rest: str
    ) -> web.StreamResponse:
        """Send the request on to `rest` (path and query as the client wrote them) of the target."""
        if "upgrade" in request.headers.get("Connection", "").lower():
            return await self._upgrade(request, target, rest)
        if moved := _to_the_root(request, rest):
            return moved
        url = URL(f"{target.scheme}://{target.authority}{_rooted(rest)}", encoded=True)
        try:
            async with self._pool().request(
                request.method,
                url,
                headers=_forwarded(request),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                ssl=_unverified() if target.scheme == "https" else True,
            ) as answer:
                return await _answer(request, answer, target)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(target, error) from error

    async def forward_to_kubelet(
        self, request: web.BaseRequest, target: Target, rest: str
    ) -> web.StreamResponse:
        """As `forward`, with the server's own client certificate."""
        if moved := _to_the_root(request, rest):
            return moved
        url = URL(f"https://{target.authority}{_rooted(rest)}", encoded=True)
        try:
            async with self.kubelets.session().request(
                request.method,
                url,
                headers=_forwarded(request),
                data=request.content if request.body_exists else None,
                allow_redirects=False,
            ) as answer:
                return await _answer(request, answer, target)
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(target, error) from error

    async def _upgrade(
        self, request: web.BaseRequest, target: Target, rest: str
    ) -> web.StreamResponse:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                backend = await asyncio.open_connection(
                    target.host,
                    target.port,
                    ssl=_unverified() if target.scheme == "https" else None,
                )
        except OSError as error:
            raise unreachable(target, error) from error
        _, writer = backend
        try:
            writer.write(_upgrade_head(request, _rooted(rest)))
            await writer.drain()
            return await relay(request, backend, unreachable(target, EOFError("unexpected EOF")))
        finally:
            writer.close()

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
            # a pod may be gone and its address another's before the next request
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=timeout,
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _ToPod:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        named = Named.of(info.name, "pod")
        address = (parent.get("status") or {}).get("podIP")
        if not address:
            raise BadRequest("address not allowed")
        port = named.port or _first_port(parent)
        if not port.isdigit():
            raise BadRequest(f'invalid port "{port}"')
        target = Target(named.scheme or "http", str(address), int(port), _prefix(info))
        return await self._proxy.forward(request, target, _rest(request, info))


class _ToService:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        named = Named.of(info.name, "service")
        found = endpoints_of(self._proxy.objects, info.namespace, named.name, named.port)
        target = Target(named.scheme or "http", found[0].host, found[0].port, _prefix(info))
        return await self._proxy.forward(request, target, _rest(request, info))


class _ToNode:
    def __init__(self, proxy: Proxy) -> None:
        self._proxy = proxy

    async def connect(
        self, request: web.BaseRequest, *, user: User, info: RequestInfo, parent: Object
    ) -> web.StreamResponse:
        named = Named.of(info.name, "node")
        place = place_of(parent)
        if named.port and named.port != str(place.port):
            if not named.port.isdigit():
                raise BadRequest(f'invalid port "{named.port}"')
            target = Target(named.scheme or "http", place.host, int(named.port), _prefix(info))
            return await self._proxy.forward(request, target, _rest(request, info))
        target = Target("https", place.host, place.port, _prefix(info))
        return await self._proxy.forward_to_kubelet(request, target, _rest(request, info))


def _first_port(pod: Object) -> str:
    for container in (pod.get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return str(port.get("containerPort", ""))
    return "80"


def _prefix(info: RequestInfo) -> str:
    """Our path up to and with `/proxy`."""
    where = f"/namespaces/{quote(info.namespace)}" if info.namespace else ""
    return f"/api/{info.version}{where}/{info.resource}/{quote(info.name, safe=':')}/proxy"


def _to_the_root(request: web.BaseRequest, rest: str) -> web.Response | None:
    """Relative links of a page need a path that ends in a slash; other methods go to the root without being sent there."""
    if request.method not in ("GET", "HEAD") or rest.startswith("/"):
        return None
    return web.Response(status=301, headers={"Location": f"{request.path}/{rest}"})


def _rooted(rest: str) -> str:
    return rest if rest.startswith("/") else f"/{rest}"


def _rest(request: web.BaseRequest, info: RequestInfo) -> str:
    """What follows `/proxy` in the request line, still escaped, with the query."""
    path, _, query = request.raw_path.partition("?")
    parts = path.split("/")
    skip = 8 if info.namespace else 6  # "", api, v1, [namespaces, NS,] resource, name, proxy
    rest = "".join(f"/{part}" for part in parts[skip:])
    return f"{rest}?{query}" if query else rest


# -- requests and answers


def _forwarded(request: web.BaseRequest) -> list[tuple[str, str]]:
    found = [
        (name, value) for name, value in request.headers.items()
        if name.lower() not in _HOP_BY_HOP | _PRIVATE
    ]  # fmt: skip
    return [*found, *_forwarding(request)]


def _forwarding(request: web.BaseRequest) -> list[tuple[str, str]]:
    found = [("X-Forwarded-Uri", request.path)]
    passed = [*request.headers.getall("X-Forwarded-For", ()), *filter(None, [request.remote])]
    if passed:
        found.append(("X-Forwarded-For", ", ".join(passed)))
    return found


def _upgrade_head(request: web.BaseRequest, rest: str) -> bytes:
    headers = [
        (name, value) for name, value in request.headers.items() if name.lower() not in _PRIVATE
    ]
    lines = [f"{request.method} {rest} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in [*headers, *_forwarding(request)]]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _answer(
    request: web.BaseRequest, answer: aiohttp.ClientResponse, target: Target
) -> web.StreamResponse:
    left_out = _HOP_BY_HOP | _NOT_PASSED_BACK
    headers = [
        (name, led_back(value, target, request.host) if name.lower() == "location" else value)
        for name, value in answer.headers.items()
        if name.lower() not in left_out
    ]
    codec = _CODECS.get(answer.headers.get("Content-Encoding", ""))
    if answer.content_type == "text/html" and codec and "Location" not in answer.headers:
        body = await _whole(answer)
        rewritten = _rewritten(body, codec, target, request.host) if body else body
        kept = [(name, value) for name, value in headers if name.lower() != "content-length"]
        return web.Response(status=answer.status, headers=_multi(kept), body=rewritten)
    response = web.StreamResponse(status=answer.status, headers=_multi(headers))
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


def _multi(headers: list[tuple[str, str]]) -> Mapping[str, str]:
    from multidict import CIMultiDict

    return CIMultiDict(headers)


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _MAX_HTML_BYTES:
            raise ServiceUnavailable(f"the page is longer than {_MAX_HTML_BYTES} bytes")
    return bytes(body)


def _rewritten(
    body: bytes,
    codec: tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]],
    target: Target,
    request_host: str,
) -> bytes:
    decode, encode = codec
    try:
        page = decode(body)
    except (OSError, EOFError, zlib.error):
        return body  # not what its header says
    return encode(rewrite_links(page, lambda link: led_back(link, target, request_host)))


def led_back(link: str, target: Target, request_host: str) -> str:
    """A link that leads to the target's own host, as a path below our prefix; others stay as they are."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    elsewhere = parts.netloc and parts.netloc not in (target.authority, target.host, request_host)
    if elsewhere or not parts.path.startswith("/") or parts.path.startswith(target.prefix):
        return link
    scheme, netloc = parts[:2] if parts.netloc == request_host else ("", "")
    return parts._replace(scheme=scheme, netloc=netloc, path=target.prefix + parts.path).geturl()


def unreachable(target: Target, error: BaseException) -> ApiError:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    text = why(cause) if isinstance(cause, OSError) else str(cause) or type(cause).__name__
    return ServiceUnavailable(f"error trying to reach service: dial tcp {target.authority}: {text}")


def _unverified() -> ssl.SSLContext:
    """Pods behind the proxy have certificates of their own making; upstream does not verify them either."""
    global _CONTEXT
    if _CONTEXT is None:
        _CONTEXT = ssl.create_default_context()
        _CONTEXT.check_hostname = False
        _CONTEXT.verify_mode = ssl.CERT_NONE
    return _CONTEXT


_CONTEXT: ssl.SSLContext | None = None
