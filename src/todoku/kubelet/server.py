"""The kubelet's HTTPS server on :10250: health, pods, logs, and the streaming server for exec and friends.

Clients show a certificate of the lab's CA; who may do what was decided by the API server, which is the only
client (and administrators).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import msgspec
from aiohttp import web

from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.kubelet import pages, usage
from todoku.kubelet.config import KubeletConfig
from todoku.kubelet.context import Context
from todoku.kubelet.records import PodRecord
from todoku.kubelet.streaming import Backend, LogOptions, add_routes

log = logs.get(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Pods(Protocol):
    def records(self) -> Sequence[PodRecord]: ...


class KubeletServer:
    def __init__(
        self, config: KubeletConfig, backend: Backend, pods: Pods, context: Context
    ) -> None:
        self._config = config
        self._backend = backend
        self._pods = pods
        self._context = context

    async def run(self) -> None:
        """Serve until cancelled; without certificates there is no server."""
        config = self._config
        if not config.server_cert:
            log.warning("No serving certificate: logs and exec are not available")
            await asyncio.Event().wait()
        app = web.Application(middlewares=[self._guard], client_max_size=1 << 20)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/pods", self._list)
        app.router.add_get("/stats/summary", self._summary)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/metrics/resource", self._resources)
        app.router.add_get("/configz", self._configz)
        app.router.add_get("/logs/{path:.*}", self._node_logs)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        add_routes(app, self._backend)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.5
        )
        await runner.setup()
        try:
            await self._listen(runner)
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _listen(self, runner: web.AppRunner) -> None:
        config = self._config
        while True:
            site = web.TCPSite(
                runner, config.bind_address or config.node_ips[0], config.port,
                ssl_context=self._tls(), reuse_address=True,
            )  # fmt: skip
            try:
                await site.start()
                return
            except OSError as error:  # the address may come a moment after us
                log.info("Cannot listen yet", port=config.port, why=error)
                await asyncio.sleep(0.2)

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self._config.server_cert, self._config.server_key)
        if self._config.client_ca:
            context.load_verify_locations(self._config.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        if request.path != "/healthz" and not self._allowed(request):
            return web.Response(status=401, text="Unauthorized")
        try:
            return await handler(request)
        except errors.ApiError as error:
            return web.Response(status=error.code, text=error.message)

    def _allowed(self, request: web.Request) -> bool:
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        subject = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
        groups = {value for name, value in subject if name == "organizationName"}
        users = {value for name, value in subject if name == "commonName"}
        return bool(groups & self._config.server_groups or users & self._config.server_users)

    async def _healthz(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def _list(self, _: web.Request) -> web.Response:
        items = [record.pod for record in self._pods.records()]
        return _json({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})

    async def _summary(self, _: web.Request) -> web.Response:
        return _json(usage.summary(await self._measured()))

    async def _resources(self, _: web.Request) -> web.Response:
        return _metrics(usage.resource_page(await self._measured()))

    async def _metrics(self, _: web.Request) -> web.Response:
        return _metrics(pages.kubelet_page(self._config, self._pods.records()))

    async def _configz(self, _: web.Request) -> web.Response:
        return _json(pages.configz(self._config))

    async def _measured(self) -> usage.NodeUsage:
        context = self._context
        return await asyncio.to_thread(
            usage.measure, self._config, context.cgroups, self._pods.records(),
            memory_bytes=context.memory_bytes, now=context.clock.now(),
        )  # fmt: skip

    async def _node_logs(self, request: web.Request) -> web.StreamResponse:
        path = request.match_info["path"]
        found = await asyncio.to_thread(pages.node_log, self._config, path)
        if found is None:
            raise errors.NotFound("404 page not found")
        if found.is_file():
            return web.FileResponse(found)
        if path and not path.endswith("/"):
            return web.Response(status=301, headers={"Location": f"{found.name}/"})
        page = await asyncio.to_thread(pages.folder_page, found)
        return web.Response(text=page, content_type="text/html")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        where = request.match_info
        pieces = self._backend.logs(
            where["namespace"], where["pod"], where["container"], log_options(request.query)
        )
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        response.enable_chunked_encoding()
        async with contextlib.aclosing(pieces) as stream:  # type: ignore[type-var]
            async for piece in stream:
                if not response.prepared:
                    await response.prepare(request)
                await response.write(piece)
        if not response.prepared:
            await response.prepare(request)
        await response.write_eof()
        return response


def log_options(query: Any) -> LogOptions:
    """PodLogOptions from the query that the API server passes on.  Raises BadRequest."""

    def number(name: str) -> int | None:
        text = query.get(name)
        if not text:
            return None
        try:
            return int(text)
        except ValueError as error:
            raise errors.BadRequest(f"{name}: {text!r} is not a number") from error

    since: float | None = None
    seconds = number("sinceSeconds")
    if seconds is not None:
        since = time.time() - seconds
    elif query.get("sinceTime"):
        since = times.parse(query["sinceTime"])
    return LogOptions(
        follow=query.get("follow") in ("true", "1"),
        previous=query.get("previous") in ("true", "1"),
        timestamps=query.get("timestamps") in ("true", "1"),
        since=since,
        tail_lines=number("tailLines"),
        limit_bytes=number("limitBytes"),
        stream=query.get("stream") or "All",
    )


def _metrics(text: str) -> web.Response:
    kind = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    return web.Response(body=text.encode(), headers={"Content-Type": kind})


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
