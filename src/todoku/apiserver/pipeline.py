"""The way of every request: who, how many at once, for what, whether allowed; then its verb; failures as Status."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from time import perf_counter

from aiohttp import web
from multidict import istr

from todoku.aio import log as logs
from todoku.aio.metrics import Value
from todoku.api import errors, times
from todoku.api.meta import Object
from todoku.apiserver import dispatch, negotiation, options, responses
from todoku.apiserver.authentication import impersonated
from todoku.apiserver.authorization import forbidden
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.documents import Documents, unserved
from todoku.apiserver.extension_requests import is_upgrade
from todoku.apiserver.flowcontrol import work
from todoku.apiserver.flowcontrol.control import Flow, FlowControl, NoSeat
from todoku.apiserver.health import Probes
from todoku.apiserver.http import read_body, welcome
from todoku.apiserver.large import worked
from todoku.apiserver.request import (
    ANONYMOUS,
    UNAUTHENTICATED,
    WRITES,
    Credentials,
    RequestInfo,
    User,
    is_stream,
    read_path,
)
from todoku.storage.store import StoreFailed

log = logs.get(__name__)

_ANONYMOUS = User(name=ANONYMOUS, groups=(UNAUTHENTICATED,))
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_AUDIT_ID = istr("Audit-Id")
# A UUID would cost more than all else that is said about an answer: these are one UUID and those that follow it.
_AUDIT_PREFIX = str(uuid.uuid4())[:24]
_audit_numbers = itertools.count(random.getrandbits(40))
_APPLY = "application/apply-patch"


class OutOfTime(errors.Timeout):
    """The request took longer than it may."""


@dataclass(slots=True)
class Exchange:
    """One request on its way, for the headers and figures of its answer."""

    started: float
    info: RequestInfo | None = None
    flow: Flow | None = None
    remote: Object | None = None  # the APIService of the server that serves it
    dry_run: bool = False
    verb: str = ""  # as metrics name it
    warnings: list[str] = field(default_factory=list)


class Pipeline:
    """Serves requests for one engine; `ready` and `stopping` tell the health checks."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._telemetry = engine.telemetry
        config = engine.config
        self._seconds = config.timings.request_timeout
        self.control = FlowControl(
            config.max_requests_inflight + config.max_mutating_inflight,
            wait_seconds=self._seconds / 4,
            waits=self._telemetry.waits,
        )
        probes = Probes(
            store=lambda: str(engine.cache.failure or ""),
            cache=lambda: str(engine.cache.failure or ""),
            started=lambda: "" if self.ready else "not finished",
            stopping=lambda: "process is shutting down" if self.stopping else "",
        )
        self._documents = Documents(engine, self.control, probes)
        self.ready = False
        self.stopping = False

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """The aiohttp handler.  Every failure becomes a Status; only cancellation passes."""
        exchange = Exchange(perf_counter())
        response: web.StreamResponse
        try:
            response = await self._handle(request, exchange)
        except errors.ApiError as refused:
            length = len(refused.message)  # it may quote much of a large object
            response = await worked(length, responses.refusal, refused, exchange.warnings)
            if (
                exchange.info
                and self._is_known(exchange.info)
                and isinstance(refused, NoSeat | OutOfTime)
            ):
                self._telemetry.terminated(exchange.info, refused.code)
        except (ConnectionResetError, asyncio.CancelledError):
            self._record(exchange, 200)  # a watch, mostly, whose client has had enough
            raise
        except StoreFailed as failure:
            log.error("Store failed", method=request.method, path=request.path, why=str(failure))
            response = responses.refusal(errors.InternalError.of(str(failure)))
        except Exception as failure:
            log.exception("Request failed", method=request.method, path=request.path)
            why = f"{type(failure).__name__}: {failure}"
            response = responses.refusal(errors.InternalError.of(why))
        if not response.prepared:
            response.headers.extend(_headers(request, exchange))
        self._record(exchange, response.status, response)
        return responses.for_reader(request, response)

    def _record(
        self, exchange: Exchange, code: int, response: web.StreamResponse | None = None
    ) -> None:
        info = exchange.info
        if info is None or not self._is_known(info):
            return
        size = 0
        if isinstance(response, web.Response) and isinstance(response.body, bytes):
            size = len(response.body)
        self._telemetry.record(
            info,
            exchange.verb or info.verb,
            code,
            dry_run=exchange.dry_run,
            size=size,
            seconds=perf_counter() - exchange.started,
        )

    def _is_known(self, info: RequestInfo) -> bool:
        """Whether figures are kept: of what is served, not of whatever anyone asks for."""
        if not info.resource:
            return info.path in self._documents.health_paths
        served = self._engine.catalog.find(info.group, info.version, info.resource)
        return served is not None and (
            not info.subresource or info.subresource in served.subresources
        )

    async def _handle(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        info = exchange.info = read_path(request.method, request.path, request.query)
        if "%" in info.path and _BAD_ESCAPE.search(request.raw_path.partition("?")[0]):
            raise errors.BadRequest(f'invalid URL escape in "{request.raw_path}"')
        user = await self._authenticate(request)
        authorizer = self._engine.components.authorizer
        if authorizer is not None and "Impersonate-User" in request.headers:
            user = await impersonated(user, request.headers, authorizer)
        stream = is_stream(info)
        if not stream:
            exchange.flow = self.control.flow(user, info)
        if authorizer is not None:
            decision = await authorizer.authorize(user, info)
            if not decision.allowed:
                raise forbidden(user, info, decision)
        aggregator = self._engine.components.aggregator
        remote = exchange.remote = aggregator.find(info.path) if aggregator else None
        # An upgrade to another server lasts as long as both sides want.
        if stream or info.verb == "watch" or (remote and is_upgrade(request)):
            gauge = self._telemetry.long_running(info) if self._is_known(info) else Value()
            gauge.value += 1
            try:
                return await self._long(request, exchange, user, info)
            finally:
                gauge.value -= 1
        return await self._short(request, exchange, user, info)

    async def _long(
        self, request: web.BaseRequest, exchange: Exchange, user: User, info: RequestInfo
    ) -> web.StreamResponse:
        """Watches, which take a seat while they begin, and streams, which take none."""
        flow = exchange.flow
        if flow is None:
            exchange.verb = "get" if info.subresource == "log" else "connect"
            return await self._serve(request, exchange, user, info, b"")
        async with self._seat(request, flow, user, info) as leave:
            return await self._serve(request, exchange, user, info, b"", begun=leave)

    async def _short(
        self, request: web.BaseRequest, exchange: Exchange, user: User, info: RequestInfo
    ) -> web.StreamResponse:
        flow, control = exchange.flow, self.control
        assert flow is not None, "every request but a stream is classified"
        seconds = self._seconds
        if "timeout" in request.query:
            seconds = _asked_seconds(request.query["timeout"], seconds)
        writing = info.verb in WRITES
        try:
            async with asyncio.timeout(seconds) as deadline:
                body = b""
                if writing and info.resource and not exchange.remote:
                    # Before the request takes a seat: a client that sends slowly keeps none from the others.
                    body = await read_body(request, self._engine.config.request_limit_bytes)
                ticket = control.enter(flow, self._width(request, flow, info))
                gauge = self._telemetry.writing if writing else self._telemetry.reading
                try:
                    if not ticket.executing:
                        await control.wait(flow, ticket, user, info)
                    gauge.value += 1
                    try:
                        return await self._serve(request, exchange, user, info, body)
                    finally:
                        gauge.value -= 1
                finally:
                    if ticket.executing:
                        control.leave(flow, ticket)
        except TimeoutError:
            if not deadline.expired():
                raise
            text = "Timeout: request did not complete within the allotted timeout"
            raise OutOfTime(text, details={}) from None

    def _width(self, request: web.BaseRequest, flow: Flow, info: RequestInfo) -> int:
        if info.verb in ("list", "watch"):
            return work.width(self._engine, info, request.query, flow.level.widest)
        return 1

    @asynccontextmanager
    async def _seat(
        self, request: web.BaseRequest, flow: Flow, user: User, info: RequestInfo
    ) -> AsyncIterator[Callable[[], None]]:
        """A seat for what is inside, which may call what it is handed to leave it earlier."""
        control = self.control
        ticket = control.enter(flow, self._width(request, flow, info))

        def leave() -> None:
            if ticket.executing:
                control.leave(flow, ticket)

        try:
            if not ticket.executing:
                await control.wait(flow, ticket, user, info)
            yield leave
        finally:
            leave()

    async def _serve(
        self,
        request: web.BaseRequest,
        exchange: Exchange,
        user: User,
        info: RequestInfo,
        body: bytes,
        begun: Callable[[], None] | None = None,
    ) -> web.StreamResponse:
        aggregator = self._engine.components.aggregator
        if info.verb != "watch" and (exchange.remote or exchange.flow is None):
            welcome(request)  # the body is somebody else's to read
        if aggregator and exchange.remote:
            if begun:
                begun()
            return await aggregator.serve(request, user, exchange.remote)
        if not info.resource:
            return await self._documents.answer(request, info)
        return await self._resource(request, exchange, info, user, body, begun)

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
        exchange: Exchange,
        info: RequestInfo,
        user: User,
        body: bytes,
        begun: Callable[[], None] | None,
    ) -> web.StreamResponse:
        context = self._context(request, exchange, info, user)
        context.body, context.size_bytes, context.begun = body, len(body), begun
        answer = await dispatch.answer(self._engine, context, request)
        if isinstance(answer, web.StreamResponse):
            return answer
        return responses.body(
            answer.data,
            code=answer.code,
            form=answer.form,
            warnings=exchange.warnings,
            gzip="gzip" in request.headers.get("Accept-Encoding", ""),
            headers=answer.headers,
        )

    def _context(
        self, request: web.BaseRequest, exchange: Exchange, info: RequestInfo, user: User
    ) -> Context:
        """What the verb is told.  Raises NotFound, NotAcceptable, BadRequest."""
        served = self._engine.catalog.find(info.group, info.version, info.resource)
        if served is None or (info.namespace and not _scope_fits(served.resource.namespaced, info)):
            raise unserved(info.group)
        if not served.resource.namespaced and info.namespace:
            info = replace(info, namespace="")  # /api/v1/namespaces/NAME is cluster-scoped
        headers, query = request.headers, request.query
        form = negotiation.form_of(
            headers.get("Accept", ""),
            tables="list" in served.resource.verbs,
            streamed=info.verb == "watch" and options.streams_a_list(query),
        )
        exchange.dry_run = _dry_run(request, info)
        content_type = headers.get("Content-Type", "")
        if info.verb == "patch" and content_type.startswith(_APPLY):
            exchange.verb = "apply"
        if form.as_ == "Table":
            form = _with_include(form, query.get("includeObject", ""))
        if served.resource.deprecation:
            exchange.warnings.append(served.resource.deprecation)
        return Context(
            user=user,
            info=info,
            served=served,
            query=query,
            content_type=content_type,
            form=form,
            user_agent=headers.get("User-Agent", ""),
            dry_run=exchange.dry_run,
            warnings=exchange.warnings,
            headers=_headers(request, exchange) if info.verb == "watch" else {},
        )


def _headers(request: web.BaseRequest, exchange: Exchange) -> dict[str, str]:
    """What every answer carries: the request's number in audit, the client's own if it gave one, and its flow."""
    number = (
        request.headers.get(_AUDIT_ID, "")[:64] or f"{_AUDIT_PREFIX}{next(_audit_numbers):012x}"
    )
    headers: dict[str, str] = {_AUDIT_ID: number}
    if exchange.flow is not None:
        headers.update(exchange.flow.headers)
    return headers


def _asked_seconds(text: str, most: float) -> float:
    """The `timeout` parameter, bounded; raises BadRequest."""
    if not text:
        return most
    try:
        seconds = times.parse_duration(text)
    except ValueError as problem:
        raise errors.BadRequest(
            f"invalid timeout specified in the request URL - {problem}"
        ) from None
    return min(seconds, most) if seconds > 0 else most


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
