"""The way of every request: who, how many at once, for what, whether allowed; then its verb; failures as Status."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import replace

from aiohttp import web

from todoku import KUBERNETES_VERSION
from todoku.aio import log as logs
from todoku.api import errors
from todoku.apiserver import discovery, dispatch, negotiation, options, responses
from todoku.apiserver.authentication import impersonated
from todoku.apiserver.authorization import forbidden
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import dumps
from todoku.apiserver.extension_requests import is_upgrade
from todoku.apiserver.http import read_body
from todoku.apiserver.inflight import WRITES, Limits
from todoku.apiserver.openapi import OpenApi
from todoku.apiserver.request import (
    ANONYMOUS,
    UNAUTHENTICATED,
    Credentials,
    RequestInfo,
    User,
    read_path,
)

log = logs.get(__name__)

_ANONYMOUS = User(name=ANONYMOUS, groups=(UNAUTHENTICATED,))
_HEALTH = frozenset({"/healthz", "/livez", "/readyz"})


class Pipeline:
    """Serves requests for one engine; `ready` tells /readyz."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limits = Limits(engine.config)
        self._openapi = OpenApi(engine.catalog, engine.components.aggregator)
        self._pages = discovery.Discovery(engine.catalog, engine.components.aggregator)
        self.ready = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The aiohttp handler.  Every failure becomes a Status; only cancellation passes."""
        warnings: list[str] = []
        try:
            return responses.for_reader(request, await self._handle(request, warnings))
        except errors.ApiError as refused:
            return responses.for_reader(request, responses.refusal(refused, warnings=warnings))
        except (ConnectionResetError, asyncio.CancelledError):
            raise
        except Exception as failure:
            log.exception("Request failed", method=request.method, path=request.path)
            text = f"Internal error occurred: {type(failure).__name__}: {failure}"
            return responses.refusal(errors.InternalError(text))

    async def _handle(self, request: web.BaseRequest, warnings: list[str]) -> web.StreamResponse:
        query = request.query
        info = read_path(request.method, request.path, query)
        if info.path in _HEALTH:
            return self._health(info.path)
        user = await self._authenticate(request)
        authorizer = self._engine.components.authorizer
        if authorizer is not None:
            if "Impersonate-User" in request.headers:
                user = await impersonated(user, request.headers, authorizer)
            decision = await authorizer.authorize(user, info)
            if not decision.allowed:
                raise forbidden(user, info, decision)
        aggregator = self._engine.components.aggregator
        remote = aggregator.find(info.path) if aggregator else None
        body = b"" if remote else await self._body(request, info)
        if aggregator and remote and is_upgrade(request):
            return await aggregator.serve(request, user, remote)  # lasts as long as both sides want
        async with self._limits.admit(user, info):
            if aggregator and remote:
                return await aggregator.serve(request, user, remote)
            if not info.is_resource:
                return await self._document(request, info)
            return await self._resource(request, info, user, warnings, body)

    async def _body(self, request: web.BaseRequest, info: RequestInfo) -> bytes:
        """Read before the request takes a place: a client that sends slowly keeps none from the others."""
        if not info.is_resource or info.verb not in WRITES or info.subresource == "proxy":
            return b""  # a proxied body passes as it is
        async with self._limits.in_time():
            return await read_body(request, self._engine.config.request_limit_bytes)

    async def _authenticate(self, request: web.BaseRequest) -> User:
        certificate = b""
        transport = request.transport
        if transport is not None:
            secured: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
            if secured is not None:
                certificate = secured.getpeercert(binary_form=True) or b""
        credentials = Credentials(certificate, request.headers, request.path)
        for authenticator in self._engine.components.authenticators:
            user = await authenticator.authenticate(credentials)
            if user is not None:
                return user
        if not self._engine.config.anonymous or "Authorization" in request.headers:
            raise errors.Unauthorized
        return _ANONYMOUS

    async def _resource(
        self,
        request: web.BaseRequest,
        info: RequestInfo,
        user: User,
        warnings: list[str],
        body: bytes,
    ) -> web.StreamResponse:
        served = self._engine.catalog.find(info.group, info.version, info.resource)
        if served is None or (info.namespace and not _scope_fits(served.resource.namespaced, info)):
            raise errors.NotFound("the server could not find the requested resource")
        if not served.resource.namespaced and info.namespace:
            info = replace(info, namespace="")  # /api/v1/namespaces/NAME is cluster-scoped
        headers = request.headers
        context = Context(
            user=user,
            info=info,
            served=served,
            query=request.query,
            content_type=headers.get("Content-Type", ""),
            form=negotiation.form_of(
                headers.get("Accept", ""), tables="list" in served.resource.verbs
            ),
            user_agent=headers.get("User-Agent", ""),
            dry_run=_dry_run(request, info),
            warnings=warnings,
            body=body,
        )
        if context.form.as_ == "Table":
            context.form = _with_include(context.form, request.query.get("includeObject", ""))
        if served.resource.deprecation:
            warnings.append(served.resource.deprecation)
        answer = await dispatch.answer(self._engine, context, request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return responses.body(
            answer.data,
            code=answer.code,
            form=answer.form,
            warnings=warnings,
            gzip="gzip" in headers.get("Accept-Encoding", ""),
            headers=answer.headers,
        )

    def _schema(self, request: web.BaseRequest, path: str) -> web.Response:
        document = self._openapi.get(
            path, request.headers.get("Accept", ""), request.query.get("hash", "")
        )
        if document is None:
            raise errors.NotFound("the server could not find the requested resource")
        cache = "public, immutable" if document.immutable else "no-cache, private"
        headers = {"ETag": document.etag, "Vary": "Accept", "Cache-Control": cache}
        if document.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return responses.body(
            document.data,
            content_type=document.content_type,
            gzip=_compressible(request),
            headers=headers,
        )

    def _health(self, path: str) -> web.Response:
        if path == "/readyz" and not self.ready:
            return web.Response(status=500, text="[-]starting failed: not ready yet\n")
        return web.Response(text="ok", headers={"X-Content-Type-Options": "nosniff"})

    async def _document(self, request: web.BaseRequest, info: RequestInfo) -> web.StreamResponse:
        """Discovery, version, OpenAPI and other documents."""
        if request.method not in ("GET", "HEAD"):
            raise errors.MethodNotAllowed(
                "the server does not allow this method on the requested resource"
            )
        path = info.path.rstrip("/") or "/"
        if path.startswith("/openapi/"):
            aggregator = self._engine.components.aggregator
            remote = aggregator.find_schema(path) if aggregator else None
            if aggregator and remote:
                return await aggregator.serve_schema(request, remote)
            return self._schema(request, path)
        if parts_of(path)[0] in ("api", "apis"):
            return self._discovery(request, path)
        if path == "/version":
            return responses.body(dumps(version_info()))
        if path == "/":
            return responses.body(dumps({"paths": self._paths()}))
        provider = self._engine.components.documents.get(path)
        if provider is None:
            raise errors.NotFound("the server could not find the requested resource")
        return responses.body(dumps(provider()))

    def _paths(self) -> list[str]:
        groups = {served.resource.api_version for served in self._engine.catalog}
        found = ["/api", "/apis", "/openapi/v2", "/openapi/v3", "/version", *_HEALTH]
        found += [f"/apis/{one}" if "/" in one else f"/api/{one}" for one in groups]
        return sorted([*found, *self._engine.components.documents])

    def _discovery(self, request: web.BaseRequest, path: str) -> web.Response:
        accept = request.headers.get("Accept", "")
        page = self._pages.page(path, accept, request.host)
        if page is None:
            raise errors.NotFound("the server could not find the requested resource")
        headers = {"ETag": page.etag, "Vary": "Accept"}
        if page.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return responses.body(
            page.data,
            content_type=page.content_type,
            gzip=_compressible(request),
            headers=headers,
        )


def _compressible(request: web.BaseRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


def parts_of(path: str) -> list[str]:
    return path.strip("/").split("/")


def version_info() -> dict[str, str]:
    """GET /version."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


def _scope_fits(namespaced: bool, info: RequestInfo) -> bool:
    return namespaced or info.resource == "namespaces"


def _dry_run(request: web.BaseRequest, info: RequestInfo) -> bool:
    """Judge the parameters of a write, and read whether it is to be stored (a delete has its own options)."""
    query = request.query
    if not query or info.verb not in ("create", "update", "patch"):
        return False
    values = query.getall("dryRun", [])
    options.check_write(info.verb, query, values)
    return "All" in values


def _with_include(form: negotiation.Form, text: str) -> negotiation.Form:
    if text and text not in ("None", "Metadata", "Object"):
        raise errors.BadRequest(f'invalid value for includeObject: "{text}"')
    return replace(form, include=text or "Metadata")
