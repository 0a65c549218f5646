"""The controller's work: follow pools and Services, and write each Service's load-balancer status.

One worker owns the allocator.  Its queue holds Service keys, and `CONFIG` for the pool configuration; no
Service is handled before that has parsed once, so that a restart finds every address where it was.
"""

from collections.abc import Iterable
from typing import Final

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api.meta import Key, Object, key_of
from todoku.client import Client, EventRecorder, InformerFactory, WatchEvent
from todoku.loadbalancer.assignment import (
    converge,
    deprecated_annotations,
    handles,
    ingress_addresses,
    updated,
)
from todoku.loadbalancer.config import Config, Resources, parse
from todoku.loadbalancer.fields import BadConfig
from todoku.loadbalancer.metrics import ClientMetrics, Registry
from todoku.loadbalancer.pools import Allocator, capacity

log = logs.get(__name__)

CONFIG: Final = Key("", "configuration")


class Balancer:
    """See the module.  `run` works until cancelled; the informers are the factory's to run."""

    def __init__(
        self,
        client: Client,
        informers: InformerFactory,
        recorder: EventRecorder,
        *,
        namespace: str,
        lb_class: str,
        registry: Registry,
    ) -> None:
        self._client, self._recorder, self._lb_class = client, recorder, lb_class
        self._queue: WorkQueue[Key] = WorkQueue("services")
        self._allocator = Allocator()
        self._config: Config | None = None
        self._pools = informers.informer("ipaddresspools.metallb.io", namespace=namespace)
        self._communities = informers.informer("communities.metallb.io", namespace=namespace)
        self._namespaces = informers.informer("namespaces")
        self._services = informers.informer("services")
        for informer in (self._pools, self._communities, self._namespaces):
            informer.subscribe(self._config_changed)
        self._services.subscribe(self._service_changed)
        self._metrics = ClientMetrics(registry)
        registry.before_reading(self._measure)
        self._gauges = {
            version: (
                registry.gauge(
                    f"metallb_allocator_{prefix}addresses_total",
                    "Number of usable IP addresses, per pool.",
                ),
                registry.gauge(
                    f"metallb_allocator_{prefix}addresses_in_use_total",
                    "Number of IP addresses in use, per pool.",
                ),
            )
            for version, prefix in ((0, ""), (4, "ipv4_"), (6, "ipv6_"))
        }

    async def run(self) -> None:
        for informer in (self._pools, self._communities, self._namespaces, self._services):
            await informer.synced()
        self._queue.add(CONFIG)
        await self._queue.run(self.reconcile)

    async def reconcile(self, key: Key) -> None:
        """Bring one Service, or the configuration, up to date."""
        self._metrics.updates.add()
        try:
            if key == CONFIG:
                self._reconfigure()
            elif self._config is not None:
                await self._reconcile_service(key)
        except Exception:
            self._metrics.update_errors.add()
            raise

    def _reconfigure(self) -> None:
        """Take the present pools, or keep the last good ones."""
        resources = Resources(
            pools=self._pools.list(),
            communities=self._communities.list(),
            namespaces=self._namespaces.list(),
        )
        try:
            config = parse(resources)
        except BadConfig as problem:
            self._metrics.configured(valid=False)
            log.error("Configuration refused, the last good one stays", problem=problem)
            return
        self._metrics.configured(valid=True)
        if config == self._config:
            return
        self._config = config
        released = self._allocator.set_pools(config.pools)
        log.info("Configuration loaded", pools=len(config.pools), released=len(released))
        self._enqueue(self._services.list())

    async def _reconcile_service(self, key: Key) -> None:
        service = self._services.get(key)
        before = self._allocator.holding(str(key))
        if service is None:
            if self._allocator.release(str(key)):
                self._wake_waiting()
            return
        if not handles(service, self._lb_class):
            return
        outcome = converge(service, self._allocator)
        freed = set(before.addresses if before else ()) - set(outcome.addresses)
        changed = updated(service, outcome)
        if changed is not None:
            await self._client.update("services", changed, subresource="status")
            shown = ",".join(str(one) for one in outcome.addresses)
            log.info("Service updated", service=key, addresses=shown, pool=outcome.pool)
            self._warn_deprecated(service)
        for notice in outcome.notices:
            self._recorder.event(service, notice.kind, notice.reason, notice.message)
        if freed and not outcome.untouched:
            self._wake_waiting()

    def _warn_deprecated(self, service: Object) -> None:
        for name in deprecated_annotations(service):
            newer = name.replace("metallb.universe.tf", "metallb.io")
            text = f"annotation {name} is deprecated, use {newer} instead"
            self._recorder.event(service, "Warning", "deprecatedAnnotation", text)

    def _wake_waiting(self) -> None:
        """An address came free: those who wait for one may have it."""
        self._enqueue(one for one in self._services.list() if not ingress_addresses(one))

    def _enqueue(self, services: Iterable[Object]) -> None:
        """Those that have an address come first, so that nobody takes it from them after a restart."""
        for service in sorted(services, key=lambda one: not ingress_addresses(one)):
            self._queue.add(key_of(service))

    def _config_changed(self, event: WatchEvent) -> None:
        if self._config is not None:
            self._queue.add(CONFIG)

    def _service_changed(self, event: WatchEvent) -> None:
        if self._config is not None:
            self._queue.add(key_of(event.object))

    def _measure(self) -> None:
        pools = self._allocator.pools
        for version, (total, used) in self._gauges.items():
            total.replace(
                {(("pool", name),): capacity(pool, version) for name, pool in pools.items()}
            )
            used.replace(
                {
                    (("pool", name),): self._allocator.addresses_in_use(name, version)
                    for name in pools
                }
            )
