"""The DNS pod: `python -m todoku.dns`.  Imports little: every node of a lab pays for it in memory."""

import argparse
import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from todoku.aio import http, metrics
from todoku.aio import log as logs
from todoku.client import Client, ClientConfig, InformerFactory
from todoku.dns.cluster import InformedCluster
from todoku.dns.forward import Forwarder, upstreams_of
from todoku.dns.server import Resolver, TcpServer, UdpServer
from todoku.dns.zone import Zone

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """How to serve; port 0 leaves a server out."""

    origin: str = "cluster.local"
    host: str = "0.0.0.0"
    port: int = 53
    health_port: int = 8080
    ready_port: int = 8181
    metrics_port: int = 9153
    upstreams: tuple[str, ...] = ()
    upstream_port: int = 53
    lameduck_seconds: float = 2.0


class DnsServer:
    """A name server for one cluster; see `run`."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._settings = settings
        self._informers = InformerFactory(client)
        self._cluster = InformedCluster(self._informers, self._changed)
        self._forwarder = Forwarder(settings.upstreams, settings.upstream_port)
        self.resolver = Resolver(Zone(self._cluster, settings.origin), self._forwarder)
        self._leaving = False
        self.port = settings.port

    @property
    def ready(self) -> bool:
        return self.resolver.synced and not self._leaving

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then for the lame-duck time while clients learn to go elsewhere."""
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(self._informers.run(), name="dns-informers"),
                tasks.create_task(self._forwarder.run(), name="dns-upstreams"),
                tasks.create_task(self._sync(), name="dns-sync"),
            ]
            async with self._listening():
                await stop.wait()
                self._leaving = True
                await asyncio.sleep(self._settings.lameduck_seconds)
            for task in running:
                task.cancel()

    async def _sync(self) -> None:
        await self._cluster.synced()
        self.resolver.synced = True
        self.resolver.forget()
        log.info("Names are served", zone=self._settings.origin)

    def _changed(self) -> None:
        self.resolver.forget()

    @asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        settings, loop = self._settings, asyncio.get_running_loop()
        tcp = await asyncio.start_server(
            TcpServer(self.resolver).talk, settings.host, self.port, reuse_address=True
        )
        self.port = tcp.sockets[0].getsockname()[1]
        udp, _ = await loop.create_datagram_endpoint(
            lambda: UdpServer(self.resolver), local_addr=(settings.host, self.port)
        )
        pages = http.Ports(settings.host)
        await pages.serve(self._pages())
        try:
            yield
        finally:
            udp.close()
            tcp.close()
            await pages.close()

    def _pages(self) -> dict[int, http.Respond]:
        wanted = {
            self._settings.health_port: self._health,
            self._settings.ready_port: self._readiness,
            self._settings.metrics_port: self._metrics,
        }
        return {port: respond for port, respond in wanted.items() if port}

    def _health(self, path: str) -> http.Answer:
        return _page(path, "/health", 200, "OK")

    def _readiness(self, path: str) -> http.Answer:
        code = 200 if self.ready else 503
        return _page(path, "/ready", code, "OK" if self.ready else "kubernetes")

    def _metrics(self, path: str) -> http.Answer:
        text = metrics.text(vars(self.resolver.metrics).values())
        return _page(path, "/metrics", 200, text)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the name server of this pod until SIGTERM."""
    options = _parser().parse_args(argv)
    logs.configure(options.log_level)
    if options.kubeconfig:
        config = ClientConfig.from_kubeconfig(options.kubeconfig)
    else:
        config = ClientConfig.in_cluster()
    upstreams = tuple(options.upstream) or _system_upstreams()
    settings = Settings(
        origin=options.zone,
        host=options.host,
        port=options.port,
        health_port=options.health_port,
        ready_port=options.ready_port,
        metrics_port=options.metrics_port,
        upstreams=upstreams,
        lameduck_seconds=options.lameduck,
    )
    asyncio.run(_serve(config, settings))


async def _serve(config: ClientConfig, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Client(config) as client:
        await DnsServer(client, settings).run(stop)


def _system_upstreams() -> tuple[str, ...]:
    """The pod's own resolv.conf: with dnsPolicy Default it is the node's."""
    with contextlib.suppress(OSError):
        text = Path("/etc/resolv.conf").read_text(encoding="utf-8", errors="replace")
        return upstreams_of(text, own=frozenset({"10.96.0.10"}))
    return ()


def _page(path: str, wanted: str, code: int, text: str) -> http.Answer:
    if path != wanted:
        return http.not_found(path)
    return http.Answer(code, text, "text/plain; charset=utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="todoku.dns", description="Names for Services and pods.")
    parser.add_argument("--zone", default="cluster.local")
    parser.add_argument("--host", default="0.0.0.0", help="address to listen on")
    parser.add_argument("--port", type=int, default=53)
    parser.add_argument("--health-port", type=int, default=8080)
    parser.add_argument("--ready-port", type=int, default=8181)
    parser.add_argument("--metrics-port", type=int, default=9153)
    parser.add_argument("--upstream", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--lameduck", type=float, default=2.0, metavar="SECONDS")
    parser.add_argument("--kubeconfig", default="", help="instead of the pod's service account")
    parser.add_argument("--log-level", default="info")
    return parser
