"""The proxy of one node: watch Services and EndpointSlices, compile, program the difference."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from todoku.aio import http
from todoku.aio import log as logs
from todoku.api.meta import Key, Object, key_of
from todoku.client import InformerFactory, WatchEvent
from todoku.linux.nfnetlink import NetlinkError
from todoku.linux.nftables import NftError
from todoku.proxy import health
from todoku.proxy.endpoints import NodeView, service_of
from todoku.proxy.frontends import (
    Drop,
    Frontend,
    FrontendKey,
    frontends,
    local_ready_endpoints,
    proxied,
)
from todoku.proxy.kernel import Kernel
from todoku.proxy.metrics import Metrics
from todoku.proxy.table import Table

log = logs.get(__name__)

ZONE_LABEL = "topology.kubernetes.io/zone"
_CHANGE_TIME = "endpoints.kubernetes.io/last-change-trigger-time"
_BY_SERVICE = "service"
_INLINE_ELEMENTS = 200  # more than this goes to a thread, so that the agent's loop stays responsive
_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """Settings of one node's proxy; the ranges are the cluster's.

    ServiceCIDR objects, once there are any, replace `service_cidrs`.  Port 0 turns a server off.
    """

    node_name: str
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)
    health_host: str = "0.0.0.0"
    health_port: int = 10256
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 10249


class Proxy:
    """Programs Services into the network namespace of this process; see `run`."""

    def __init__(self, informers: InformerFactory, config: ProxyConfig, kernel: Kernel) -> None:
        self._config, self._kernel = config, kernel
        self._node = NodeView(
            config.node_name, pod_cidrs=config.pod_cidrs, service_cidrs=config.service_cidrs
        )
        self._node_object: Object | None = None
        self._services = informers.informer("services")
        self._slices = informers.informer(
            "endpointslices.discovery.k8s.io", indexers={_BY_SERVICE: _service_index}
        )
        self._nodes = informers.informer("nodes")
        self._cidrs = informers.informer("servicecidrs.networking.k8s.io")
        self._table = Table(config.node_name)
        self._dirty: set[Key] = set()
        self._reconfigure = False
        self._wake = asyncio.Event()
        self._dirty_since = 0.0
        self._updated = 0.0
        self._changed_at: dict[Key, float] = {}
        self._health_checks: dict[Key, tuple[int, int]] = {}
        self._ports = http.Ports(config.health_host)
        self._metrics_ports = http.Ports(config.metrics_host)
        self.metrics = Metrics()

    async def run(self) -> None:
        """Follow the cluster until cancelled.  The table stays when this ends, and is adopted later."""
        unsubscribe = [
            self._services.subscribe(self._service_changed),
            self._slices.subscribe(self._slice_changed),
            self._nodes.subscribe(self._node_changed),
            self._cidrs.subscribe(self._cidr_changed),
        ]
        try:
            for informer in (self._services, self._slices, self._nodes):
                await informer.synced()
            await asyncio.to_thread(self._kernel.adopt, self._table, self._node)
            self._reconfigure = False
            self._mark_all()
            await self._serve_metrics()
            await self._sync_forever()
        finally:
            for stop in unsubscribe:
                stop()
            await self._ports.close()
            await self._metrics_ports.close()

    @property
    def healthy(self) -> bool:
        """False if a change has waited too long for the kernel to take it."""
        if not self._updated:
            return False
        return not self._dirty_since or time.time() - self._dirty_since < health.STUCK_SECONDS

    def explain(self, key: FrontendKey) -> Frontend | None:
        """What is programmed for an address and port, and for which Service."""
        return self._table.explain(key)

    async def _sync_forever(self) -> None:
        while True:
            try:
                await self._sync()
                await self._wake.wait()
            except (NftError, NetlinkError) as error:
                self.metrics.failures.add()
                log.error("The kernel refused the rules; trying again", error=error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _sync(self) -> None:
        self._wake.clear()
        if self._reconfigure:
            await asyncio.to_thread(self._kernel.configure, self._node)
            self._reconfigure = False
        keys, self._dirty = self._dirty, set()
        started = time.perf_counter()
        for key in keys:
            try:
                self._compile(key)
            except Exception:
                log.exception(
                    "Cannot compile a Service; it keeps the rules that it has", service=key
                )
        applied = await self._apply(len(keys))
        self._updated, self._dirty_since = time.time(), 0.0
        self._observe(keys, time.perf_counter() - started)
        if applied:
            log.debug("Rules programmed", services=len(keys), elements=applied)
        await self._ports.serve(self._health_ports())

    async def _apply(self, services: int) -> int:
        if services * 8 > _INLINE_ELEMENTS:
            applied = await asyncio.to_thread(self._kernel.apply, self._table)
        else:
            applied = self._kernel.apply(self._table)
        self.metrics.flows_deleted.add(applied.flows_deleted)
        return applied.elements

    def _compile(self, key: Key) -> None:
        service = self._services.get(key)
        slices = self._slices.by_index(_BY_SERVICE, str(key))
        self._health_checks.pop(key, None)
        if service is None:
            self._table.update(key, [])
            return
        self._table.update(key, frontends(service, slices, self._node))
        port = service["spec"].get("healthCheckNodePort")
        if port and proxied(service):
            ready = len(local_ready_endpoints(service, slices, self._node))
            self._health_checks[key] = (int(port), ready)

    def _observe(self, keys: set[Key], seconds: float) -> None:
        now = time.time()
        self.metrics.sync.observe(seconds)
        self.metrics.last_sync.set(now)
        self.metrics.pending.set(len(self._dirty))
        for key in keys:
            changed = self._changed_at.pop(key, None)
            if changed is not None:
                self.metrics.programming.observe(max(now - changed, 0.0))

    def _metrics_text(self) -> str:
        for policy, drop in (
            ("internal", Drop.ITP_LOCAL_NO_ENDPOINT),
            ("external", Drop.ETP_LOCAL_NO_ENDPOINT),
        ):
            count = sum(frontend.refusal is drop for frontend in self._table.frontends)
            self.metrics.no_local_endpoints.set(count, traffic_policy=policy)
        return self.metrics.text()

    def _service_changed(self, event: WatchEvent) -> None:
        self.metrics.service_changes.add()
        self._mark(key_of(event.object))

    def _slice_changed(self, event: WatchEvent) -> None:
        self.metrics.endpoint_changes.add()
        for piece in (event.object, event.old):
            key = service_of(piece) if piece is not None else None
            if key is not None:
                self._note_change_time(key, event.object)
                self._mark(key)

    def _node_changed(self, event: WatchEvent) -> None:
        if event.object["metadata"]["name"] != self._config.node_name:
            return
        self._node_object = None if event.type == "DELETED" else event.object
        view = _view(self._node, self._node_object)
        if view != self._node:
            self._node = view
            self._mark_all()

    def _cidr_changed(self, event: WatchEvent) -> None:
        cidrs = tuple(
            sorted(cidr for obj in self._cidrs.list() for cidr in obj["spec"].get("cidrs") or ())
        )
        wanted = cidrs or self._config.service_cidrs
        if wanted != self._node.service_cidrs:
            self._node = replace(self._node, service_cidrs=wanted)
            self._reconfigure = True
            self._wake.set()

    def _mark(self, key: Key) -> None:
        self._dirty.add(key)
        if not self._dirty_since:
            self._dirty_since = time.time()
            self.metrics.last_queued.set(self._dirty_since)
        self._wake.set()

    def _mark_all(self) -> None:
        for service in self._services.list():
            self._mark(key_of(service))
        self._wake.set()

    def _note_change_time(self, key: Key, piece: Object) -> None:
        text = (piece["metadata"].get("annotations") or {}).get(_CHANGE_TIME)
        if not text or not self._updated:
            return  # what happened before this proxy ran says nothing about it
        changed = datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
        self._changed_at[key] = min(changed, self._changed_at.get(key, changed))

    def _health_ports(self) -> dict[int, http.Respond]:
        wanted: dict[int, http.Respond] = {}
        if self._config.health_port:
            wanted[self._config.health_port] = self._respond_health
        for key, (port, _) in self._health_checks.items():
            wanted[port] = lambda _path, key=key: self._respond_service(key)  # type: ignore[misc]
        return wanted

    async def _serve_metrics(self) -> None:
        if self._config.metrics_port:
            await self._metrics_ports.serve({self._config.metrics_port: self._respond_metrics})

    def _respond_service(self, key: Key) -> http.Answer:
        _, local = self._health_checks.get(key, (0, 0))
        return health.service_health(key, local_endpoints=local, proxy_healthy=self.healthy)

    def _respond_health(self, path: str) -> http.Answer:
        now = time.time()
        if path == "/livez":
            answer = health.livez(programmed=self.healthy, updated=self._updated, now=now)
            self.metrics.livez.add(code=str(answer.code))
            return answer
        if path == "/healthz":
            answer = health.healthz(
                programmed=self.healthy, node=self._node_object, updated=self._updated, now=now
            )
            self.metrics.healthz.add(code=str(answer.code))
            return answer
        return http.not_found(path)

    def _respond_metrics(self, path: str) -> http.Answer:
        if path == "/metrics":
            return http.Answer(200, self._metrics_text(), "text/plain; version=0.0.4")
        if path == "/proxyMode":
            return http.Answer(200, "nftables", "text/plain")
        if path == "/healthz":
            return http.Answer(200, "ok", "text/plain")
        return http.not_found(path)


def node_addresses(node: Object | None) -> tuple[str, ...]:
    """The node's primary address of each family, on which nodePorts answer."""
    primary: dict[bool, str] = {}
    for kind in ("InternalIP", "ExternalIP"):
        for item in ((node or {}).get("status") or {}).get("addresses") or ():
            if item.get("type") == kind:
                primary.setdefault(":" in item["address"], item["address"])
    return tuple(primary.values())


def _view(present: NodeView, node: Object | None) -> NodeView:
    labels = ((node or {}).get("metadata") or {}).get("labels") or {}
    return replace(present, addresses=node_addresses(node), zone=labels.get(ZONE_LABEL, ""))


def _service_index(piece: Object) -> Sequence[str]:
    key = service_of(piece)
    return () if key is None else (str(key),)
