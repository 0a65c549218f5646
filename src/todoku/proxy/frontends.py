"""A Service as this node sees it: every address and port it answers on, and what happens there.

Pure.  `rules` turns frontends into nftables elements; `decide` answers questions about them; so what
is predicted and what is programmed cannot drift apart.  Sources: Service v1 API fields, KEP-3866.
"""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, ip_network
from typing import NamedTuple

from todoku.api.meta import Key, Object, key_of
from todoku.proxy.endpoints import Backend, Choice, Endpoint, NodeView, choose, endpoints_of

PROXY_NAME_LABEL = "service.kubernetes.io/service-proxy-name"
DEFAULT_AFFINITY_SECONDS = 10_800


class At(enum.Enum):
    """Which kind of address a frontend is."""

    CLUSTER_IP = "clusterIP"
    NODE_PORT = "nodePort"
    EXTERNAL_IP = "externalIP"
    LOAD_BALANCER = "loadBalancer"


class Policy(enum.Enum):
    """What is done to a packet before an endpoint is picked; the value is the chain's name."""

    INTERNAL = "cluster-ip"
    """Masquerade unless the source is a pod."""
    EXTERNAL = "external"
    """Masquerade always, so that the answer comes back through this node."""
    EXTERNAL_LOCAL = "external-local"
    """Keep the source and use this node's endpoints; pods and the node itself use them all."""


class Drop(enum.Enum):
    """Why a packet to a Service does not get through."""

    NO_ENDPOINTS = "no endpoint of the Service is usable on any node: rejected"
    ITP_LOCAL_NO_ENDPOINT = (
        "internalTrafficPolicy Local and no usable endpoint on this node: dropped"
    )
    ETP_LOCAL_NO_ENDPOINT = (
        "externalTrafficPolicy Local and no usable endpoint on this node: dropped"
    )
    SOURCE_RANGE = "the source is not in loadBalancerSourceRanges: dropped"
    UNKNOWN_PORT = "the Service has no such port: rejected"
    UNALLOCATED = "no Service has this address of the service range: dropped"

    @property
    def rejects(self) -> bool:
        """Whether the client is told at once (connection refused) instead of waiting."""
        return self in (Drop.NO_ENDPOINTS, Drop.UNKNOWN_PORT)


class FrontendKey(NamedTuple):
    """What a packet is recognised by."""

    address: str
    protocol: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}/{self.protocol}"


class PortName(NamedTuple):
    """Names one port of one Service."""

    service: Key
    port: str
    protocol: str

    def __str__(self) -> str:
        return f"{self.service}:{self.port}" if self.port else str(self.service)


@dataclass(frozen=True, slots=True)
class Frontend:
    """One address and port that a Service answers on, with everything that this node does there.

    `cluster` is where traffic goes; under EXTERNAL_LOCAL it is only for pods and this node, and `local`
    for everybody else.  `refusal` is for those who are left without an endpoint.
    """

    key: FrontendKey
    owner: PortName
    at: At
    policy: Policy
    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    refusal: Drop | None = None
    sources: tuple[str, ...] | None = None
    """Allowed source ranges; None means everybody, () nobody."""
    affinity_seconds: int = 0
    stays_here: bool = False
    """internalTrafficPolicy: Local: `cluster` holds this node's endpoints only."""

    serving: frozenset[Backend] = frozenset()
    """Everybody who still answers for the Service, in use here or not."""

    @property
    def live(self) -> frozenset[Backend]:
        """Whom an established flow may go on with."""
        return self.serving.union(e.backend for e in (*self.cluster, *self.local))


def frontends(
    service: Object, slices: Iterable[Object], node: NodeView, family: str = "IPv4"
) -> list[Frontend]:
    """Every frontend of a Service on this node; none if the Service is not for this proxy.

    `slices` are the Service's EndpointSlices.
    """
    if not proxied(service):
        return []
    slices = list(slices)
    made: list[Frontend] = []
    for port in service["spec"].get("ports") or ():
        made += _of_port(service, port, slices, node, family)
    return made


def proxied(service: Object) -> bool:
    """False for headless and ExternalName Services, and those labelled for another proxy."""
    spec = service["spec"]
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") in (None, "", "None"):
        return False
    return PROXY_NAME_LABEL not in (service["metadata"].get("labels") or {})


def local_ready_endpoints(
    service: Object, slices: Iterable[Object], node: NodeView, family: str = "IPv4"
) -> frozenset[str]:
    """Distinct addresses of ready endpoints on this node; the health-check node port answers 200 on any."""
    slices = list(slices)
    found: frozenset[str] = frozenset()
    for port in service["spec"].get("ports") or ():
        found |= _choice(port, slices, node, family).local_ready
    return found


def _of_port(
    service: Object, port: Object, slices: Sequence[Object], node: NodeView, family: str
) -> Iterable[Frontend]:
    spec = service["spec"]
    choice = _choice(port, slices, node, family)
    owner = PortName(key_of(service), port.get("name") or "", _protocol(port))
    affinity = _affinity_seconds(spec)

    def frontend(address: str, number: int, at: At) -> Frontend:
        policy = _policy(spec, at)
        cluster, local, refusal = _endpoints_under(policy, spec, at, choice)
        return Frontend(
            key=FrontendKey(address, owner.protocol, number),
            owner=owner,
            at=at,
            policy=policy,
            cluster=cluster,
            local=local,
            refusal=refusal,
            sources=_sources(spec, address, node) if at is At.LOAD_BALANCER else None,
            affinity_seconds=affinity,
            stays_here=at is At.CLUSTER_IP and spec.get("internalTrafficPolicy") == "Local",
            serving=choice.serving,
        )

    for at, address, number in _addresses(service, port, node):
        if _family(address) == family:
            yield frontend(address, number, at)


def _addresses(service: Object, port: Object, node: NodeView) -> Iterable[tuple[At, str, int]]:
    spec, number = service["spec"], int(port["port"])
    for address in spec.get("clusterIPs") or [spec["clusterIP"]]:
        yield At.CLUSTER_IP, address, number
    for address in spec.get("externalIPs") or ():
        yield At.EXTERNAL_IP, address, number
    for ingress in ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode", "VIP") != "Proxy":
            yield At.LOAD_BALANCER, ingress["ip"], number
    if port.get("nodePort"):
        for address in node.addresses:
            yield At.NODE_PORT, address, int(port["nodePort"])


def _endpoints_under(
    policy: Policy, spec: Object, at: At, choice: Choice
) -> tuple[tuple[Endpoint, ...], tuple[Endpoint, ...], Drop | None]:
    """The (cluster, local) sets of a frontend, and the refusal of those who get none."""
    if policy is Policy.EXTERNAL_LOCAL:
        nobody = Drop.ETP_LOCAL_NO_ENDPOINT if choice.anywhere else Drop.NO_ENDPOINTS
        return choice.cluster, choice.local, None if choice.local else nobody
    if at is At.CLUSTER_IP and spec.get("internalTrafficPolicy") == "Local":
        nobody = Drop.ITP_LOCAL_NO_ENDPOINT if choice.anywhere else Drop.NO_ENDPOINTS
        return choice.local, (), None if choice.local else nobody
    return choice.cluster, (), None if choice.cluster else Drop.NO_ENDPOINTS


def _policy(spec: Object, at: At) -> Policy:
    if at is At.CLUSTER_IP:
        return Policy.INTERNAL
    return (
        Policy.EXTERNAL_LOCAL if spec.get("externalTrafficPolicy") == "Local" else Policy.EXTERNAL
    )


def _choice(port: Object, slices: Sequence[Object], node: NodeView, family: str) -> Choice:
    name = port.get("name") or ""
    return choose(
        endpoints_of(slices, port_name=name, protocol=_protocol(port), family=family), node
    )


def _protocol(port: Object) -> str:
    return port.get("protocol") or "TCP"


def _affinity_seconds(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    config = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(config.get("timeoutSeconds") or DEFAULT_AFFINITY_SECONDS)


def _sources(spec: Object, vip: str, node: NodeView) -> tuple[str, ...] | None:
    """Allowed ranges of the address's family; None if everybody is.

    A node that is allowed may also come from the address itself: some balancers assign it to the node.
    """
    family = _family(vip)
    ranges = [text.strip() for text in spec.get("loadBalancerSourceRanges") or ()]
    ours = [ip_network(text, strict=False) for text in ranges if _family(text) == family]
    if not ours or any(network.prefixlen == 0 for network in ours):
        return None
    if any(ip_address(address) in network for address in node.addresses for network in ours):
        ours.append(ip_network(vip))
    # Sorted out, because the kernel refuses ranges that overlap.
    return tuple(str(network) for network in _collapse(ours))


def _collapse(networks: Sequence[IPv4Network | IPv6Network]) -> list[IPv4Network | IPv6Network]:
    """The same addresses in networks that do not overlap; all of one family."""
    return [
        *collapse_addresses(n for n in networks if isinstance(n, IPv4Network)),
        *collapse_addresses(n for n in networks if isinstance(n, IPv6Network)),
    ]


def _family(text: str) -> str:
    return "IPv6" if ":" in text else "IPv4"
