"""The speaker's work: follow everything the election looks at, and announce what this node wins.

Reconciling never waits for the network: taking an address over must not depend on an API server that may be
on the very node that died.  Events and status objects are queued and sent by others.
"""

from collections.abc import Callable, Sequence
from typing import Final

from todoku.aio import WorkQueue
from todoku.aio import log as logs
from todoku.api.meta import Key, Object, key_of
from todoku.client import EventRecorder, InformerFactory, WatchEvent
from todoku.loadbalancer.announcing import Scene, decide, pool_of
from todoku.loadbalancer.config import Config, Resources, parse
from todoku.loadbalancer.election import endpoints, may_announce
from todoku.loadbalancer.fields import BadConfig, labels_of, name_of
from todoku.loadbalancer.layer2 import Claimed, Layer2
from todoku.loadbalancer.membership import View
from todoku.loadbalancer.metrics import ClientMetrics, Registry

log = logs.get(__name__)

CONFIG: Final = Key("", "configuration")
SERVICE_LABEL = "kubernetes.io/service-name"


class Announcer:
    """See the module.  `status_changed(key)` is called when an announcement began, changed or ended."""

    def __init__(
        self,
        informers: InformerFactory,
        recorder: EventRecorder,
        layer2: Layer2,
        *,
        node: str,
        namespace: str,
        lb_class: str,
        ignore_exclude_label: bool,
        registry: Registry,
    ) -> None:
        self._recorder, self._layer2, self._node = recorder, layer2, node
        self._lb_class, self._ignore_exclude_label = lb_class, ignore_exclude_label
        self._queue: WorkQueue[Key] = WorkQueue("announcements")
        self._config: Config | None = None
        self._view = View(frozenset([node]), may_announce=False)
        self._told: dict[Key, object] = {}
        self.status_changed: Callable[[Key], None] = lambda key: None
        self._pools = informers.informer("ipaddresspools.metallb.io", namespace=namespace)
        self._l2 = informers.informer("l2advertisements.metallb.io", namespace=namespace)
        self._bgp = informers.informer("bgpadvertisements.metallb.io", namespace=namespace)
        self._peers = informers.informer("bgppeers.metallb.io", namespace=namespace)
        self._nodes = informers.informer("nodes")
        self._services = informers.informer("services")
        self._slices = informers.informer(
            "endpointslices.discovery.k8s.io", indexers={"service": _services_of}
        )
        for informer in (self._pools, self._l2, self._bgp, self._peers):
            informer.subscribe(self._config_changed)
        self._nodes.subscribe(self._node_changed)
        self._services.subscribe(lambda event: self._add(key_of(event.object)))
        self._slices.subscribe(self._slice_changed)
        self._metrics = ClientMetrics(registry)
        self._announced = registry.gauge(
            "metallb_speaker_announced",
            "Services being announced from this node. This is desired state, it does not guarantee "
            "that the routing protocols have converged.",
        )
        self._sessions = registry.gauge(
            "metallb_bgp_session_up", "BGP session state (1 is up, 0 is down)."
        )

    async def run(self) -> None:
        for informer in (
            self._pools, self._l2, self._bgp, self._peers, self._nodes, self._services, self._slices
        ):  # fmt: skip
            await informer.synced()
        self._queue.add(CONFIG)
        await self._queue.run(self.reconcile)

    def membership_changed(self, view: View) -> None:
        """Somebody joined or died, or this node may speak (again): elect anew, at once."""
        spoke, self._view = self._view.may_announce, view
        if self._config is None:
            return
        for key in self._known():
            self._reconcile_service(key)
        if view.may_announce and not spoke:
            self._layer2.resume()

    def interfaces_of(self, service: Key) -> Sequence[str] | None:
        """The listed interfaces of an announced Service (none listed: all), or None if it is not announced."""
        claimed = self._layer2.claimed(str(service))
        if claimed is None:
            return None
        return [] if claimed.interfaces is None else self._layer2.used(claimed)

    async def reconcile(self, key: Key) -> None:
        """Bring the configuration, or one Service's announcement, up to date."""
        self._metrics.updates.add()
        try:
            if key == CONFIG:
                self._reconfigure()
            elif self._config is not None:
                self._reconcile_service(key)
        except Exception:
            self._metrics.update_errors.add()
            raise

    def _reconfigure(self) -> None:
        """Take the present configuration, or keep the last good one."""
        resources = Resources(
            pools=self._pools.list(), l2_advertisements=self._l2.list(), nodes=self._nodes.list()
        )
        self._refuse_bgp()
        try:
            config = parse(resources)
            self._check_covered(config)
        except BadConfig as problem:
            self._metrics.configured(valid=False)
            log.error("Configuration refused, the last good one stays", problem=problem)
            return
        self._metrics.configured(valid=True)
        if config == self._config:
            return
        self._config = config
        log.info("Configuration loaded", pools=len(config.pools), advertised=len(config.l2))
        for key in self._known():
            self._queue.add(key)

    def _check_covered(self, config: Config) -> None:
        """An address on the air must not lose its pool before the controller has moved the Service."""
        for service in self._layer2.services():
            claimed = self._layer2.claimed(service)
            if claimed is not None and pool_of(claimed.addresses, config) is None:
                self._queue.add_after(CONFIG, 1.0)
                raise BadConfig(f"service {service} still announces an address that no pool covers")

    def _refuse_bgp(self) -> None:
        """BGP is not built into this speaker: say so wherever somebody might look."""
        self._sessions.values.clear()
        for peer in self._peers.list():
            spec = peer.get("spec") or {}
            address = f"{spec.get('peerAddress', '')}:{spec.get('peerPort') or 179}"
            self._sessions.set(0, peer=address)
            self._tell_once(
                key_of(peer),
                "BGP is not implemented by this speaker: no session, no route",
                peer=name_of(peer),
            )
        for advertisement in self._bgp.list():
            self._tell_once(
                key_of(advertisement),
                "BGP is not implemented by this speaker: nothing is advertised",
                advertisement=name_of(advertisement),
            )

    def _tell_once(self, key: Key, message: str, **fields: str) -> None:
        if self._told.get(key) != message:
            self._told[key] = message
            log.error(message, **fields)

    def _reconcile_service(self, key: Key) -> None:
        assert self._config is not None
        name, service = str(key), self._services.get(key)
        before = self._layer2.claimed(name)
        if service is None:
            self._withdraw(key, "the Service is gone")
            return
        scene = Scene(
            node=self._node,
            config=self._config,
            nodes={name_of(one): one for one in self._nodes.list()},
            alive=self._view.alive,
            lb_class=self._lb_class,
            ignore_exclude_label=self._ignore_exclude_label,
        )
        decision = decide(service, endpoints(self._slices.by_index("service", name)), scene)
        if not isinstance(decision, Claimed):
            self._withdraw(key, decision.value)
        elif before is not None or self._view.may_announce:
            self._announce(service, decision, before)

    def _announce(self, service: Object, decision: Claimed, before: Claimed | None) -> None:
        key = key_of(service)
        possible = self._layer2.claim(str(key), decision)
        if decision == before:
            return
        self._announced.remove(service=str(key))
        if not possible:
            text = f'no interface of node "{self._node}" can announce it'
            self._recorder.event(service, "Warning", "announceFailed", text)
            log.warning("No interface can announce", service=key, listed=decision.interfaces)
        else:
            text = f'announcing from node "{self._node}" with protocol "layer2"'
            self._recorder.event(service, "Normal", "nodeAssigned", text)
            shown = ",".join(str(one) for one in decision.addresses)
            log.info("Announcing", service=key, addresses=shown)
        for address in decision.addresses:
            self._announced.set(
                1, service=str(key), protocol="layer2", node=self._node, ip=str(address)
            )
        self.status_changed(key)

    def _withdraw(self, key: Key, why: str) -> None:
        if self._layer2.release(str(key)):
            self._announced.remove(service=str(key))
            log.info("No longer announcing", service=key, reason=why)
            self.status_changed(key)

    def _known(self) -> set[Key]:
        """Every Service there is, and those announced although they are gone."""
        gone = (Key(*name.split("/", 1)) for name in self._layer2.services())
        return {key_of(one) for one in self._services.list()} | set(gone)

    def _add(self, key: Key) -> None:
        if self._config is not None:
            self._queue.add(key)

    def _config_changed(self, event: WatchEvent) -> None:
        self._add(CONFIG)

    def _slice_changed(self, event: WatchEvent) -> None:
        for obj in (event.object, event.old):
            for name in _services_of(obj) if obj else ():
                self._add(Key(*name.split("/", 1)))

    def _node_changed(self, event: WatchEvent) -> None:
        """Heartbeats change nothing here: only labels, cordons and conditions do."""
        old, new = event.old, event.object
        if old is None or event.type == "DELETED" or labels_of(old) != labels_of(new):
            self._add(CONFIG)
        elif may_announce(old) == may_announce(new) and _cordon(old) == _cordon(new):
            return
        if self._config is not None:
            for key in self._known():
                self._queue.add(key)


def _services_of(endpoint_slice: Object) -> list[str]:
    service = labels_of(endpoint_slice).get(SERVICE_LABEL)
    return [f"{endpoint_slice['metadata']['namespace']}/{service}"] if service else []


def _cordon(node: Object) -> bool:
    """With `--ignore-exclude-lb` the label hides a cordon from `may_announce`'s comparison."""
    return may_announce(node, ignore_exclude_label=True)
