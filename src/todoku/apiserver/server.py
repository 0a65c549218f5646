"""`ApiServer`: composes the engine, loads the store, listens, and stops without leaving anything behind."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from types import TracebackType

from aiohttp import web

from todoku.aio import log as logs
from todoku.api.resources import registry
from todoku.apiserver import bootstrap, components, memory
from todoku.apiserver.cache import Cache
from todoku.apiserver.catalog import Catalog
from todoku.apiserver.config import Components, Config
from todoku.apiserver.connections import Connections
from todoku.apiserver.context import Engine
from todoku.apiserver.crds import CrdController
from todoku.apiserver.flowcontrol.upkeep import Upkeep
from todoku.apiserver.objects import EngineObjects
from todoku.apiserver.pipeline import Pipeline
from todoku.storage import Store

log = logs.get(__name__)


class ApiServer:
    """One API server.  `start` returns when it is ready; `stop` is graceful and may follow a failed start."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._runner: web.ServerRunner | None = None
        self._tasks: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()
        self.pipeline: Pipeline | None = None
        self.connections: Connections | None = None
        self._own_store: Store | None = None
        self.engine: Engine | None = None

    async def start(self) -> None:
        started = time.perf_counter()
        engine = self.engine = await self._compose()
        running = asyncio.get_running_loop().create_future()
        self._tasks = asyncio.create_task(self._run(engine, running), name="apiserver")
        await running
        log.info("API server ready", seconds=f"{time.perf_counter() - started:.3f}")

    async def _compose(self) -> Engine:
        config = self._config
        store = config.store
        if isinstance(store, str):
            from todoku.storage.sqlite import SqliteStore

            store = self._own_store = await SqliteStore.open(store)
        objects = EngineObjects()
        engine = Engine(
            config=config,
            store=store,
            cache=Cache(store),
            catalog=Catalog(registry()),
            components=Components(),
            clock=config.clock,
        )
        objects.bind(engine)
        engine.components = (config.components or components.standard)(config, objects)
        return engine

    async def _run(self, engine: Engine, running: asyncio.Future[None]) -> None:
        """Everything that lives as long as the server, in one task group."""
        try:
            async with asyncio.TaskGroup() as tasks:
                cache = tasks.create_task(engine.cache.run(), name="cache")
                compactor = tasks.create_task(_compact(engine), name="compactor")
                await engine.cache.wait(engine.store.revision)
                definitions = CrdController(engine)
                definitions.start()
                crds = tasks.create_task(definitions.run(), name="definitions")
                await bootstrap.ensure(engine)
                pipeline = self.pipeline = Pipeline(engine)
                upkeep = Upkeep(pipeline.control, EngineObjects.of(engine), engine.clock)
                upkeep.start()
                server = self.connections = Connections(pipeline.handle)
                others = [
                    tasks.create_task(upkeep.adjust(), name="flow-control-seats"),
                    tasks.create_task(upkeep.write(), name="flow-control-objects"),
                    tasks.create_task(server.watch_over(), name="connections"),
                    tasks.create_task(memory.of_process().watch_over(), name="memory"),
                ]
                try:
                    if engine.components.start:
                        await engine.components.start()
                    if engine.components.upkeep:
                        keeping = engine.components.upkeep()
                        others.append(tasks.create_task(keeping, name="well-known-objects"))
                    await self._listen(pipeline, server)
                    running.set_result(None)
                    await self._stop.wait()
                finally:
                    await self._close(engine.components.stop)
                for task in (cache, compactor, crds, *others):
                    task.cancel()
        except BaseException as failure:
            if not running.done():
                running.set_exception(failure)
                return
            raise

    async def _listen(self, pipeline: Pipeline, server: Connections) -> None:
        runner = self._runner = web.ServerRunner(
            server, handle_signals=False, shutdown_timeout=self._config.timings.shutdown_grace
        )
        await runner.setup()
        context = tls_context(self._config)
        for sock in self._config.sockets:
            site = web.SockSite(runner, sock, ssl_context=context, backlog=1024)
            await site.start()
        pipeline.ready = True

    async def _close(self, stop: Callable[[], Awaitable[None]] | None) -> None:
        assert self.engine is not None
        if self.pipeline:
            self.pipeline.stopping = True
        for collection in self.engine.cache:
            for follower in tuple(collection.followers):
                follower.close()
        if self._runner:
            await _end(self._runner)
        if stop:
            await stop()

    async def wait(self) -> None:
        """Return when the server has been stopped; raises what ended it before that."""
        assert self._tasks is not None, "the server was not started"
        await asyncio.shield(self._tasks)

    async def stop(self) -> None:
        """End watches, let requests finish for a moment, close the store if it is ours."""
        self._stop.set()
        try:
            if self._tasks:
                await self._tasks
        finally:
            if self._own_store:
                await self._own_store.close()

    async def __aenter__(self) -> ApiServer:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()


async def _end(runner: web.ServerRunner) -> None:
    """Stop listening, let requests finish for a moment, then leave no connection behind."""
    server = runner.server
    transports = [one.transport for one in server.connections] if server else []
    await runner.cleanup()
    for transport in transports:
        if transport is not None:  # its client may never answer the farewell of TLS
            transport.abort()
    await asyncio.sleep(0)  # transports close their sockets in the loop's next round


def tls_context(config: Config) -> ssl.SSLContext:
    """TLS with optional client certificates of the cluster's CA (and of the front proxies')."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # Busybox's wget names no signature algorithms, which TLS 1.2 reads as SHA-1; OpenSSL takes that at level 0 only.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=0")
    context.load_cert_chain(config.cert_file, config.key_file)
    context.set_alpn_protocols(["http/1.1"])
    for ca_file in {config.client_ca_file, config.requestheader_ca_file} - {""}:
        context.load_verify_locations(ca_file)
        context.verify_mode = ssl.CERT_OPTIONAL
    return context


async def _compact(engine: Engine) -> None:
    """Forget history older than `keep_history`: mark the revision each round, drop the mark that is old enough."""
    timings = engine.config.timings
    marks: list[tuple[float, int]] = []
    while True:
        await asyncio.sleep(timings.compact_every)
        now = asyncio.get_running_loop().time()
        marks.append((now, engine.store.revision))
        old = [revision for at, revision in marks if now - at >= timings.keep_history]
        if old:
            await engine.store.compact(old[-1])
            engine.cache.compact(old[-1])
            marks = [mark for mark in marks if mark[1] > old[-1]]
