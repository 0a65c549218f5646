"""What should happen, computed from API objects and topology alone.

The question is answered as the packet meets it: is the source on; where does the packet first meet a node's
rules (the source's own node, the node that owns the address, the node that announces it, or nowhere); and what do
that node's rules do with it.  Semantics: KEP-3866 (nftables proxy), Service v1 API field documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

from todoku.api.meta import Object
from todoku.api.validation import is_address
from todoku.loadbalancer import election
from todoku.reach.outcome import Code, Outcome
from todoku.reach.targets import Address, At, Source, ingress
from todoku.reach.world import Endpoint, Machine, World, inside, usable

_SILENCE = frozenset({Outcome.TIMEOUT, Outcome.NO_ROUTE})
"""Unanswered ARP: the kernel gives up after about 3 s, a probe often earlier, so both words are right."""
_ANYTHING = frozenset(Outcome) - {Outcome.NOT_APPLICABLE, Outcome.UNKNOWN}


@dataclass(frozen=True, slots=True)
class Prediction:
    """Which outcomes fit, why, and which endpoints may answer ("ip:port")."""

    outcomes: frozenset[Outcome]
    code: Code
    backends: frozenset[str] = field(default_factory=frozenset)
    via: str = ""  # the node whose rules translate or deliver the packet

    @property
    def open(self) -> bool:
        return Outcome.OK in self.outcomes and self.code is not Code.NOT_PREDICTED


def predict(world: World, source: Source, address: Address) -> Prediction:
    """Say what a connection from `source` to `address` should come to."""
    if address.missing is not None:
        return _closed(address.missing, Outcome.NOT_APPLICABLE)
    if not world.powered(source.machine):
        return _closed(Code.SOURCE_DOWN, Outcome.UNKNOWN)
    if address.at is At.POD:
        return _to_pod(world, source, address)
    if address.service is None:
        return Prediction(_ANYTHING, Code.NOT_PREDICTED)
    service = _service(world, address)
    rule = _RULES[address.at]
    return _as_heard(source, address, rule(world, source, address, service))


def _as_heard(source: Source, address: Address, prediction: Prediction) -> Prediction:
    """A rejection as the source hears it.

    UDP is refused by ICMP, which Linux sends at most once a second to the same host after a burst of six
    (icmp_ratelimit, icmp(7)); what is not sent is silence.  Loopback is exempt; TCP is refused by RST, unlimited.
    """
    at_home = source.kind == "node" and source.machine == prediction.via
    if address.protocol == "UDP" and prediction.outcomes == {Outcome.REFUSED} and not at_home:
        return replace(prediction, outcomes=frozenset({Outcome.REFUSED, Outcome.TIMEOUT}))
    return prediction


def _to_pod(world: World, source: Source, address: Address) -> Prediction:
    outside = source.kind == "outside" and not _is_node_address(world, address.host)
    if outside and _routed_node(world, source, address.host) is None:
        return _to_nowhere(world, source, address.host, Code.POD_NETWORK_INSIDE_ONLY)
    if address.node and not world.powered(address.node):
        return Prediction(_SILENCE, Code.ENDPOINT_NODE_DOWN)
    return _open([f"{address.host}:{address.port}"], via=address.node)


def _to_cluster_ip(world: World, source: Source, address: Address, service: Object) -> Prediction:
    if source.kind != "outside":
        return _internal(world, source.machine, address, service)
    router = _routed_node(world, source, address.host)
    if router is None:
        return _to_nowhere(world, source, address.host, Code.CLUSTERIP_INSIDE_ONLY)
    if not router.powered:
        return Prediction(_SILENCE, Code.NODE_DOWN)
    there = _internal(world, router.name, address, service)
    return (
        _open(sorted(there.backends), router.name, Code.CLUSTERIP_ROUTED) if there.open else there
    )


def _internal(world: World, node: str, address: Address, service: Object) -> Prediction:
    everywhere = _endpoints(world, service, address)
    if service["spec"].get("internalTrafficPolicy") == "Local":
        local = _on(node, everywhere)
        return _delivered(world, node, local, everywhere, Code.ITP_LOCAL_NO_ENDPOINT)
    return _delivered(world, node, everywhere, everywhere, Code.NO_ENDPOINTS)


def _to_node_port(world: World, source: Source, address: Address, service: Object) -> Prediction:
    if not world.powered(address.node):
        return Prediction(_SILENCE, Code.NODE_DOWN)
    return _external(world, source, address.node, address, service)


def _to_balancer(world: World, source: Source, address: Address, service: Object) -> Prediction:
    if not is_address(address.host):
        return Prediction(
            _ANYTHING, Code.NOT_PREDICTED
        )  # a name that the balancer's own DNS serves
    modes = {one.get("ip"): one.get("ipMode", "VIP") for one in ingress(service)}
    by_proxy = modes.get(address.host) == "Proxy"
    if source.kind == "outside" or by_proxy:
        node = announcer(world, service, address.host)
        if node is None and world.gateway == "unknown":
            return Prediction(_ANYTHING, Code.NOT_PREDICTED)  # somebody else's balancer
        if node is None:
            code = Code.LB_IPMODE_PROXY if by_proxy else Code.ARP_UNANSWERED
            return Prediction(_SILENCE, code)
    else:
        node = source.machine
    if not _in_source_ranges(world, source, service):
        return Prediction(frozenset({Outcome.TIMEOUT}), Code.SOURCE_RANGE, via=node)
    return _external(world, source, node, address, service)


def _to_external_ip(world: World, source: Source, address: Address, service: Object) -> Prediction:
    if source.kind != "outside":
        return _external(world, source, source.machine, address, service)
    owner = world.by_address.get(address.host) or _routed_node(world, source, address.host)
    if owner is None:
        return _to_nowhere(world, source, address.host, Code.EXTERNAL_IP_UNROUTED)
    if not owner.powered:
        return Prediction(_SILENCE, Code.NODE_DOWN)
    return _external(world, source, owner.name, address, service)


def _to_name(world: World, source: Source, address: Address, service: Object) -> Prediction:
    if source.kind != "pod":
        return _closed(Code.DNS_INSIDE_ONLY, Outcome.DNS)
    if not _dns_ready(world):
        return _closed(Code.DNS_UNREADY, Outcome.DNS)
    if service["spec"].get("clusterIP") == "None":
        return _to_pods_by_name(world, _endpoints(world, service, address))
    return _internal(world, source.machine, address, service)


def _to_pods_by_name(world: World, endpoints: Sequence[Endpoint]) -> Prediction:
    """A headless Service's name means its ready pods; without one it does not resolve."""
    ready = [one for one in endpoints if one.ready]
    if not ready:
        return _closed(Code.NO_ENDPOINTS, Outcome.DNS)
    alive = [one for one in ready if not one.node or world.powered(one.node)]
    if not alive:
        return Prediction(_SILENCE, Code.ENDPOINT_NODE_DOWN)
    backends = frozenset(f"{one.address}:{one.port}" for one in ready)
    silent = frozenset() if len(alive) == len(ready) else _SILENCE
    return Prediction(silent | {Outcome.OK}, Code.OPEN, backends)


_RULES = {
    At.CLUSTERIP: _to_cluster_ip,
    At.NODEPORT: _to_node_port,
    At.LOADBALANCER: _to_balancer,
    At.EXTERNAL: _to_external_ip,
    At.DNS: _to_name,
}


def _external(
    world: World, source: Source, node: str, address: Address, service: Object
) -> Prediction:
    """A node port, external IP or load-balancer address as the rules of `node` treat it."""
    everywhere = _endpoints(world, service, address)
    if service["spec"].get("externalTrafficPolicy") != "Local":
        return _delivered(world, node, everywhere, everywhere, Code.NO_ENDPOINTS)
    # Local policy does not bind the node itself and its pods: they are short-circuited to every endpoint.
    if source.kind != "outside" and _same(world, source.machine, node):
        return _delivered(world, node, everywhere, everywhere, Code.NO_ENDPOINTS)
    return _delivered(world, node, _on(node, everywhere), everywhere, Code.ETP_LOCAL_NO_ENDPOINT)


def _delivered(
    world: World, node: str, chosen: Sequence[Endpoint], everywhere: Sequence[Endpoint], empty: Code
) -> Prediction:
    """The rule picks among the usable of `chosen`; with none it drops (Local) or rejects (nothing anywhere)."""
    picked = usable(chosen)
    if not picked:
        nothing = not usable(everywhere)
        code = Code.NO_ENDPOINTS if nothing else empty
        return Prediction(
            frozenset({Outcome.REFUSED if nothing else Outcome.TIMEOUT}), code, via=node
        )
    alive = [one for one in picked if not one.node or world.powered(one.node)]
    if not alive:
        return Prediction(_SILENCE, Code.ENDPOINT_NODE_DOWN, via=node)
    backends = frozenset(f"{one.address}:{one.port}" for one in picked)
    outcomes = {Outcome.OK} if len(alive) == len(picked) else {Outcome.OK, *_SILENCE}
    return Prediction(frozenset(outcomes), Code.OPEN, backends, node)


def announcer(world: World, service: Object, address: str) -> str | None:
    """The node that answers ARP for a load-balancer address, or None; the speakers' own election."""
    ip = ip_address(address)
    pool = next((one for one in world.balancer.pools.values() if one.holds(ip)), None)
    if pool is None:
        return None
    advertisements = world.balancer.l2.get(pool.name, ())
    nodes = {node["metadata"]["name"]: node for node in world.nodes}
    elected = election.elect(
        election.Situation(
            address=str(ip),
            nodes=nodes,
            alive={name for name in world.speakers if world.powered(name)},
            advertised=frozenset[str]().union(*(one.nodes for one in advertisements)),
            endpoints=election.endpoints(world.slices_of(service)),
            local=service["spec"].get("externalTrafficPolicy") == "Local",
        )
    )
    return elected if isinstance(elected, str) else None


def _in_source_ranges(world: World, source: Source, service: Object) -> bool:
    ranges = service["spec"].get("loadBalancerSourceRanges") or ()
    same_family = [one for one in ranges if (":" in one) == (":" in source.address)]
    return not same_family or not source.address or inside(source.address, same_family)


def _to_nowhere(world: World, source: Source, host: str, code: Code) -> Prediction:
    """No route to a node: the packet goes to the gateway, if there is one."""
    words = {
        "drop": frozenset({Outcome.TIMEOUT}),
        "reject": frozenset({Outcome.NO_ROUTE}),
        "none": frozenset({Outcome.NO_ROUTE}),
        "unknown": frozenset({Outcome.TIMEOUT, Outcome.NO_ROUTE, Outcome.REFUSED}),
    }
    return Prediction(words[world.gateway], code)


def _routed_node(world: World, source: Source, host: str) -> Machine | None:
    """The node through which an outside host's own route leads, longest prefix first."""
    machine = world.by_name.get(source.machine)
    routes = [one for one in machine.routes if inside(host, [one.destination])] if machine else []
    routes.sort(key=lambda one: int(one.destination.rpartition("/")[2]), reverse=True)
    owner = world.by_address.get(routes[0].via) if routes else None
    return owner if owner is not None and owner.kind == "node" else None


def _is_node_address(world: World, host: str) -> bool:
    machine = world.by_address.get(host)
    return machine is not None and machine.kind == "node"


def _endpoints(world: World, service: Object, address: Address) -> list[Endpoint]:
    for port in service["spec"].get("ports") or ():
        same_protocol = port.get("protocol", "TCP") == address.protocol
        if same_protocol and port.get("name", "") == address.port_name:
            return world.endpoints(service, port)
    return []


def _on(node: str, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    return [one for one in endpoints if one.node == node]


def _same(world: World, one: str, other: str) -> bool:
    return world.by_name.get(one) is world.by_name.get(other)


def _dns_ready(world: World) -> bool:
    return any(
        pod["metadata"].get("labels", {}).get("k8s-app") == "kube-dns" and _is_ready(pod)
        and world.powered(pod["spec"].get("nodeName", ""))
        for pod in world.pods
    )  # fmt: skip


def _is_ready(pod: Object) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _service(world: World, address: Address) -> Object:
    assert address.service is not None
    for service in world.services:
        metadata = service["metadata"]
        if (metadata["namespace"], metadata["name"]) == tuple(address.service):
            return service
    raise LookupError(f"the world has no Service {address.service}")


def _open(backends: Sequence[str], via: str = "", code: Code = Code.OPEN) -> Prediction:
    return Prediction(frozenset({Outcome.OK}), code, frozenset(backends), via)


def _closed(code: Code, outcome: Outcome) -> Prediction:
    return Prediction(frozenset({outcome}), code)
