"""Requests that go on to an extension API server: with our certificate, the user in headers, upgrades included.

Source: kube-aggregator handler_proxy; RFC 9110 (hop-by-hop headers).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from todoku.aio import log as logs
from todoku.api.errors import ApiError, ServiceUnavailable
from todoku.api.meta import Object
from todoku.apiserver.config import Objects
from todoku.apiserver.http import without_token
from todoku.apiserver.outbound import Outbound, failure_text
from todoku.apiserver.request import User
from todoku.apiserver.service_endpoints import endpoints_of
from todoku.apiserver.streaming import relay

log = logs.get(__name__)

CONNECT_SECONDS = 5.0
# It could lead clients, with their credentials, anywhere.
_REDIRECTED = "the backend attempted to redirect this request, which is not permitted"
_HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_FORWARDED_FOR = "x-forwarded-for"
_NOT_PASSED = frozenset({"authorization", "host", "x-remote-user", "x-remote-uid", "x-remote-group", _FORWARDED_FOR})  # fmt: skip
_NOT_PASSED_PREFIXES = ("impersonate-", "x-remote-extra-")


class Forwarder:
    """Passes authorized requests on."""

    def __init__(self, objects: Objects, outbound: Outbound) -> None:
        self._objects = objects
        self._outbound = outbound

    async def serve(
        self, request: web.BaseRequest, user: User, api_service: Object
    ) -> web.StreamResponse:
        """The extension server's answer; 503 when it cannot be reached."""
        try:
            if is_upgrade(request):
                return await self._upgrade(request, user, api_service)
            return await self._pass(request, user, api_service)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning(
                "Extension API server not reached", name=api_service["metadata"]["name"], why=error
            )
            return unavailable(f"error trying to reach service: {failure_text(error)}")

    async def _pass(
        self, request: web.BaseRequest, user: User, api_service: Object
    ) -> web.StreamResponse:
        url = URL(f"https://{host_of(api_service)}{request.raw_path}", encoded=True)
        headers = _passed_headers(request, _HOP_BY_HOP)
        headers.extend(identity(user))
        headers.extend(_forwarding(request))
        async with self._outbound.session().request(
            request.method,
            url,
            headers=headers,
            data=request.content if request.body_exists else None,
            ssl=self.tls(api_service),
            allow_redirects=False,
            timeout=aiohttp.ClientTimeout(total=None, connect=CONNECT_SECONDS),
        ) as answer:
            if 300 <= answer.status < 400 and answer.headers.get("Location"):
                return web.Response(status=502, text=_REDIRECTED)
            return await _passed_back(request, answer)

    async def _upgrade(
        self, request: web.BaseRequest, user: User, api_service: Object
    ) -> web.StreamResponse:
        """SPDY or a WebSocket: after the extension server's 101 both sides speak with each other."""
        service = api_service["spec"]["service"]
        namespace, name = service.get("namespace", ""), service.get("name", "")
        port = str(service.get("port") or 443)
        try:
            endpoint = endpoints_of(self._objects, namespace, name, port)[0]
        except ApiError as error:
            raise OSError(error.message) from error
        async with asyncio.timeout(CONNECT_SECONDS):
            backend = await asyncio.open_connection(
                endpoint.host,
                endpoint.port,
                ssl=self.tls(api_service),
                server_hostname=f"{name}.{namespace}.svc",
            )
        _, writer = backend
        try:
            writer.write(_upgrade_head(request, user, host_of(api_service)))
            await writer.drain()
            broken = ServiceUnavailable("error trying to reach service: unexpected EOF")
            return await relay(request, backend, broken)
        finally:
            writer.close()

    def tls(self, api_service: Object, *, verified: bool = True) -> ssl.SSLContext:
        """Shows the front-proxy certificate; trusts what the APIService says."""
        spec = api_service["spec"]
        insecure = bool(spec.get("insecureSkipTLSVerify")) or not verified
        bundle = "" if insecure else spec.get("caBundle") or ""
        return self._outbound.tls(bundle, insecure=insecure, front_proxy=True)


def is_upgrade(request: web.BaseRequest) -> bool:
    return "upgrade" in request.headers.get("Connection", "").lower()


def unavailable(text: str) -> web.Response:
    """Clients know the aggregator's own failures as plain text."""
    headers = {"X-Content-Type-Options": "nosniff"}
    return web.Response(status=503, text=f"{text}\n", headers=headers)


def host_of(api_service: Object) -> str:
    service = api_service["spec"]["service"]
    port = service.get("port") or 443
    return f"{service.get('name', '')}.{service.get('namespace', '')}.svc:{port}"


def identity(user: User) -> Iterator[tuple[str, str]]:
    """The user as extension servers read it."""
    yield "X-Remote-User", user.name
    if user.uid:
        yield "X-Remote-Uid", user.uid
    for group in user.groups:
        yield "X-Remote-Group", group
    for key, values in user.extra.items():
        for value in values:
            yield f"X-Remote-Extra-{quote(key, safe='')}", value


def _forwarding(request: web.BaseRequest) -> Iterator[tuple[str, str]]:
    yield "X-Forwarded-Uri", request.path
    passed = [*request.headers.getall(_FORWARDED_FOR, ()), *filter(None, [request.remote])]
    if passed:
        yield "X-Forwarded-For", ", ".join(passed)


def _passed_headers(
    request: web.BaseRequest, left_out: frozenset[str] = frozenset()
) -> CIMultiDict[str]:
    """The client's headers without its credentials for us."""
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        lower = name.lower()
        if lower in _NOT_PASSED or lower in left_out or lower.startswith(_NOT_PASSED_PREFIXES):
            continue
        headers.add(name, value)
    return headers


def _upgrade_head(request: web.BaseRequest, user: User, host: str) -> bytes:
    lines = [f"{request.method} {request.raw_path} HTTP/1.1", f"Host: {host}"]
    for name, value in [*_passed_headers(request).items(), *identity(user), *_forwarding(request)]:
        shown = ", ".join(without_token(value)) if name == "Sec-WebSocket-Protocol" else value
        if shown:
            lines.append(f"{name}: {shown}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _passed_back(
    request: web.BaseRequest, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in answer.headers.items():
        if name.lower() not in ("connection", "keep-alive", "transfer-encoding"):
            headers.add(name, value)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response
