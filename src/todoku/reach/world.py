"""One snapshot of everything a prediction may use: API objects, machines and routes.  No measurement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from ipaddress import ip_address, ip_network
from typing import Any, Literal

from todoku.api.meta import Key, Object, key_of
from todoku.loadbalancer import config
from todoku.loadbalancer.fields import BadConfig

GatewayPolicy = Literal["drop", "reject", "none", "unknown"]
"""What the hosts' default gateway does with what it does not know; outside a lab nobody can tell."""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of an outside host beyond its default: `destination` (CIDR) through `via` (an address)."""

    destination: str
    via: str


@dataclass(frozen=True, slots=True)
class Machine:
    """A node or an outside host of the lab.  `powered` is False when it is stopped, paused or cut off."""

    name: str
    kind: Literal["node", "outside"]
    address: str
    powered: bool = True
    routes: tuple[Route, ...] = ()

    @property
    def short(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of a Service's port, as an EndpointSlice publishes it."""

    address: str
    port: int
    node: str
    pod: Key | None
    ready: bool
    serving: bool
    terminating: bool


@dataclass(frozen=True)
class World:
    """Objects as wire objects; every list is read once and never changed."""

    machines: Sequence[Machine]
    gateway: GatewayPolicy
    pod_cidr: str
    service_cidrs: Sequence[str]
    nodes: Sequence[Object] = ()
    pods: Sequence[Object] = ()
    services: Sequence[Object] = ()
    slices: Sequence[Object] = ()
    pools: Sequence[Object] = ()
    l2_advertisements: Sequence[Object] = ()
    namespaces: Sequence[Object] = ()
    speakers: frozenset[str] = frozenset()  # nodes that run a load-balancer speaker
    domain: str = "cluster.local"

    @cached_property
    def balancer(self) -> config.Config:
        """The load balancer's configuration; one that it would refuse counts as none."""
        resources = config.Resources(
            pools=self.pools, l2_advertisements=self.l2_advertisements, nodes=self.nodes,
            namespaces=self.namespaces,
        )  # fmt: skip
        try:
            return config.parse(resources)
        except BadConfig:
            return config.Config()

    @cached_property
    def by_name(self) -> Mapping[str, Machine]:
        """Machines by their full and by their short name."""
        return {m.short: m for m in self.machines} | {m.name: m for m in self.machines}

    @cached_property
    def by_address(self) -> Mapping[str, Machine]:
        return {machine.address: machine for machine in self.machines}

    @cached_property
    def pods_by_address(self) -> Mapping[str, Object]:
        """Pods with an address of their own; hostNetwork pods share their node's."""
        return {
            pod["status"]["podIP"]: pod
            for pod in self.pods
            if pod.get("status", {}).get("podIP") and not pod["spec"].get("hostNetwork")
        }

    def node_machines(self) -> list[Machine]:
        return [machine for machine in self.machines if machine.kind == "node"]

    def powered(self, node: str) -> bool:
        """False when the lab has switched the node off; a node that the lab does not own counts as on."""
        machine = self.by_name.get(node)
        return machine is None or machine.powered

    def endpoints(self, service: Object, port: Object) -> list[Endpoint]:
        """Endpoints of one Service port over all its slices; the non-terminating copy of a duplicate wins."""
        found: dict[tuple[str, int], Endpoint] = {}
        for endpoint in self._published(service, port):
            known = found.get((endpoint.address, endpoint.port))
            if known is None or known.terminating:
                found[(endpoint.address, endpoint.port)] = endpoint
        return list(found.values())

    def slices_of(self, service: Object) -> list[Object]:
        """The EndpointSlices of a Service."""
        key = key_of(service)
        return [piece for piece in self.slices if _owner(piece) == key]

    def _published(self, service: Object, port: Object) -> Iterable[Endpoint]:
        name, protocol = port.get("name", ""), port.get("protocol", "TCP")
        headless = service["spec"].get("clusterIP") == "None"
        for piece in self.slices_of(service):
            labelled = "service.kubernetes.io/headless" in piece["metadata"].get("labels", {})
            if labelled and not headless:
                continue  # on a Service with a VIP this label keeps proxies away
            for slice_port in piece.get("ports") or ():
                same = (slice_port.get("name") or "", slice_port.get("protocol", "TCP"))
                if same == (name, protocol) and slice_port.get("port"):
                    yield from _endpoints(piece, int(slice_port["port"]))


def _owner(piece: Object) -> Key:
    labels = piece["metadata"].get("labels", {})
    return Key(piece["metadata"]["namespace"], labels.get("kubernetes.io/service-name", ""))


def _endpoints(piece: Object, port: int) -> Iterable[Endpoint]:
    namespace = piece["metadata"]["namespace"]
    for item in piece.get("endpoints") or ():
        conditions = item.get("conditions") or {}
        ready = conditions.get("ready")
        serving = conditions.get("serving")
        target = item.get("targetRef") or {}
        pod = Key(namespace, target["name"]) if target.get("kind") == "Pod" else None
        for address in item.get("addresses", ()):
            yield Endpoint(
                address=address,
                port=port,
                node=item.get("nodeName", ""),
                pod=pod,
                ready=ready is not False,
                serving=(ready is not False) if serving is None else bool(serving),
                terminating=bool(conditions.get("terminating")),
            )


def usable(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """Ready ones; if there are none, those that still serve while they terminate (KEP-1669)."""
    ready = [one for one in endpoints if one.ready]
    return ready or [one for one in endpoints if one.serving and one.terminating]


def inside(address: str, cidrs: Iterable[str]) -> bool:
    """Whether an address lies in one of the networks; other families never match."""
    ip = ip_address(address)
    return any(ip.version == net.version and ip in net for net in map(_network, cidrs))


def _network(cidr: str) -> Any:
    return ip_network(cidr.strip(), strict=False)
