"""The pod network of one node: it follows Nodes, keeps tunnel and routes, and attaches pods."""

import asyncio
import time
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Key, Object
from todoku.api.podnetwork import PodAddresses, PodRef
from todoku.client import Client, InformerFactory, Unreachable, WatchEvent
from todoku.linux.rtsocket import Monitor
from todoku.network import peers as announced
from todoku.network.ipam import Ipam, Lease
from todoku.network.wiring import BRIDGE, Site, Wiring, parse_subnet

log = logs.get(__name__)

_FORWARDING_SECONDS = 0.25
_RETRY_SECONDS = 1.0
_DEVICES = frozenset({BRIDGE, announced.DEVICE})


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Settings of one node's pod network.

    `state` is the folder of address leases; it must outlive the agent and the node's power.
    """

    node_name: str
    node_address: str
    state: Path
    cluster_cidr: str = "10.244.0.0/16"
    interface: str = "eth0"


class PodNetwork:
    """Attaches pods (see the kubelet's Protocol) once `run` has made the node ready."""

    def __init__(
        self, client: Client, informers: InformerFactory, config: NetworkConfig, wiring: Wiring
    ) -> None:
        self._client, self._config, self._wiring = client, config, wiring
        self._nodes = informers.informer("nodes")
        self._pods = informers.informer("pods", fields=f"spec.nodeName={config.node_name}")
        self._ready = asyncio.Event()
        self._wake = asyncio.Event()
        self._site: Site | None = None
        self._ipam: Ipam | None = None
        self._present: dict[str, announced.Peer] = {}
        self._seen: tuple[object, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether pods can be attached: the node has a range, a bridge and a tunnel."""
        return self._ready.is_set()

    async def run(self) -> None:
        """Keep bridge, tunnel, routes and announcement until cancelled.  Attached pods stay attached."""
        monitor = self._wiring.monitor()
        loop = asyncio.get_running_loop()
        unsubscribe = self._nodes.subscribe(self._node_changed)
        loop.add_reader(monitor.fileno(), self._links_changed, monitor)
        try:
            await self._nodes.synced()
            await self._pods.synced()
            while True:
                self._wake.clear()
                try:
                    await self._reconcile()
                except (OSError, Unreachable, errors.ApiError) as error:
                    log.warning("The pod network is not ready; trying again", error=error)
                    await asyncio.sleep(_RETRY_SECONDS)
                    continue
                await self._wake.wait()
        finally:
            loop.remove_reader(monitor.fileno())
            unsubscribe()
            monitor.close()

    async def attach(self, pod: PodRef, netns: str) -> PodAddresses:
        """Give the pod its interface and address; waits until the node has a pod range.  Repeatable."""
        await self._ready.wait()
        ipam = self._leases()
        lease = ipam.reserve(
            pod.uid, namespace=pod.namespace, name=pod.name, host_ports=pod.host_ports
        )
        host = self._wiring.attach(lease, ipam.subnet, netns)
        if pod.host_ports:
            self._wiring.set_host_ports(ipam.leases())
        await self._forwarding(host)
        return PodAddresses((lease.address,))

    async def detach(self, pod: PodRef, netns: str) -> None:
        """Take the pod's interface and address away.  Repeatable; the namespace may be gone."""
        await asyncio.to_thread(self._wiring.detach, pod.uid)
        if self._ipam is None:
            # Not ready yet; the lease would be adopted later, and nobody would release it.
            await self._ready.wait()
        lease = self._leases().release(pod.uid)
        if lease is not None and lease.host_ports:
            self._wiring.set_host_ports(self._leases().leases())

    def find(self, uid: str) -> Lease | None:
        """The lease of a pod, adopted ones included."""
        return None if self._ipam is None else self._ipam.find(uid)

    async def prune(self, keep: frozenset[str]) -> tuple[Lease, ...]:
        """Release leases and interfaces of pods that are not in `keep` (their uids); what was released."""
        ipam = self._leases()
        stale = tuple(lease for lease in ipam.leases() if lease.uid not in keep)
        for lease in stale:
            await asyncio.to_thread(self._wiring.detach, lease.uid)
            ipam.release(lease.uid)
        if self._site is not None and any(lease.host_ports for lease in stale):
            self._wiring.set_host_ports(ipam.leases())
        return stale

    def _leases(self) -> Ipam:
        if self._ipam is None:
            raise OSError("the pod network is not ready")
        return self._ipam

    async def _forwarding(self, host: str) -> None:
        """Wait until the bridge forwards: a pod's first ARP request would be lost for a second."""
        deadline = time.monotonic() + _FORWARDING_SECONDS
        while not self._wiring.forwarding(host):
            if time.monotonic() > deadline:
                log.warning("A bridge port does not forward yet", interface=host)
                return
            await asyncio.sleep(0.001)

    async def _reconcile(self) -> None:
        node = self._nodes.get(Key("", self._config.node_name))
        cidr = announced.pod_cidr(node) if node is not None else ""
        if node is None or not cidr:
            log.debug("Waiting for a pod range", node=self._config.node_name)
            return
        site = self._site_of(node, parse_subnet(cidr))
        self._wiring.prepare(site)
        if site != self._site:
            await self._adopt(site)
        self._wiring.rejoin(self._leases().leases())
        self._follow_peers()
        await self._announce(node, site)
        if not self._ready.is_set():
            log.info("Pod network ready", subnet=site.subnet, vtep=site.vtep_mac)
            self._ready.set()
        await self._write_condition(node)

    def _site_of(self, node: Object, subnet: IPv4Network) -> Site:
        annotations = node["metadata"].get("annotations") or {}
        name = self._config.node_name
        mac = announced.vtep_mac(annotations) or announced.mac_from(f"{announced.DEVICE}/{name}")
        return Site(
            node_name=name,
            address=self._config.node_address,
            interface=self._config.interface,
            subnet=subnet,
            cluster=parse_subnet(self._config.cluster_cidr),
            vtep_mac=mac,
        )

    async def _adopt(self, site: Site) -> None:
        """Take over leases, host ports and routes that an earlier agent left, but not of pods long gone."""
        self._ipam = Ipam(self._config.state, site.subnet)
        gone = await self.prune(frozenset(pod["metadata"]["uid"] for pod in self._pods.list()))
        if gone:
            log.info("Leases of deleted pods released", count=len(gone))
        self._wiring.reload_rules(site, self._ipam.leases())
        self._site = site

    def _follow_peers(self) -> None:
        wanted = announced.peers(self._nodes.list(), self._config.node_name)
        changes = announced.changes(wanted, self._wiring.peers())
        if changes.add or changes.remove:
            self._wiring.apply(changes)
            log.info("Routes to nodes changed", added=len(changes.add), removed=len(changes.remove))

    async def _announce(self, node: Object, site: Site) -> None:
        wanted = announced.announcement(site.vtep_mac, site.address)
        present = node["metadata"].get("annotations") or {}
        if any(present.get(key) != value for key, value in wanted.items()):
            body = {"metadata": {"annotations": wanted}}
            await self._client.patch("nodes", self._config.node_name, "", body, kind="merge")

    async def _write_condition(self, node: Object) -> None:
        """Say that the network is available, as flannel does; the scheduler waits for it."""
        if _available(node):
            return
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        condition = {
            "type": "NetworkUnavailable",
            "status": "False",
            "reason": "FlannelIsUp",
            "message": "Flannel is running on this node",
            "lastHeartbeatTime": now,
            "lastTransitionTime": now,
        }
        body = {"status": {"conditions": [condition]}}
        await self._client.patch(
            "nodes", self._config.node_name, "", body, kind="strategic", subresource="status"
        )

    def _node_changed(self, event: WatchEvent) -> None:
        """Wake up for what matters; Nodes change with every heartbeat."""
        own = self._nodes.get(Key("", self._config.node_name))
        seen = (
            announced.peers(self._nodes.list(), self._config.node_name),
            announced.pod_cidr(own) if own else "",
            announced.peer_of(own) if own else None,
            _available(own) if own else False,
        )
        if seen != self._seen:
            self._seen = seen
            self._wake.set()

    def _links_changed(self, monitor: Monitor) -> None:
        """Somebody deleted the bridge or the tunnel: make them anew."""
        events = monitor.read()
        if events is None or any(
            not present and getattr(what, "name", "") in _DEVICES for present, what in events
        ):
            self._wake.set()


def _available(node: Object) -> bool:
    """Whether the Node says already that its network is available."""
    return any(
        condition["type"] == "NetworkUnavailable" and condition["status"] == "False"
        for condition in (node.get("status") or {}).get("conditions") or ()
    )
