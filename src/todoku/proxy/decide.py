"""What this node does with a connection to a Service address: the answer that the rules will give.

The same frontends are compiled into rules, so a prediction is wrong only where the kernel is.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from todoku.api.meta import Object
from todoku.proxy.endpoints import Backend, NodeView
from todoku.proxy.frontends import Drop, Frontend, FrontendKey, Policy, PortName, frontends


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a connection.

    `backends` are those it may be sent to; empty if it is refused, and then `drop` says why.  Both are
    empty if no rule concerns it.  `masquerade` tells that the backend sees an address of this node
    (a pod that reaches itself does so, too); `owner` is the Service port behind the rule.
    """

    backends: frozenset[Backend] = frozenset()
    drop: Drop | None = None
    masquerade: bool = False
    sticky_seconds: int = 0
    owner: PortName | None = None

    @property
    def concerned(self) -> bool:
        """Whether the proxy has anything to do with the connection."""
        return bool(self.backends) or self.drop is not None


def decide(
    service: Object, slices: Iterable[Object], node: NodeView, *, source: str, address: FrontendKey
) -> Verdict:
    """Predict a connection from `source` to `address` that reaches this node, for one Service."""
    made = frontends(service, slices, node)
    for frontend in made:
        if frontend.key == address:
            return judge(frontend, node, source=source)
    if any(
        frontend.key.address == address.address and _is_cluster_ip(frontend) for frontend in made
    ):
        return Verdict(drop=Drop.UNKNOWN_PORT)
    return Verdict()


def unallocated(address: str, services: Sequence[Object], node: NodeView) -> Drop | None:
    """Drop.UNALLOCATED for an address of the service ranges that no Service holds."""
    if not any(_inside(address, cidr) for cidr in node.service_cidrs):
        return None
    if any(address in (service["spec"].get("clusterIPs") or ()) for service in services):
        return None
    return Drop.UNALLOCATED


def judge(frontend: Frontend, node: NodeView, *, source: str) -> Verdict:
    """Follow the chains of `rules` for one frontend and source address."""
    if frontend.sources is not None and not any(_inside(source, cidr) for cidr in frontend.sources):
        return Verdict(drop=Drop.SOURCE_RANGE, owner=frontend.owner)
    pod = any(_inside(source, cidr) for cidr in node.pod_cidrs)
    here = source in node.addresses
    endpoints = frontend.cluster
    masquerade = not pod
    if frontend.policy is Policy.EXTERNAL:
        masquerade = True
    elif frontend.policy is Policy.EXTERNAL_LOCAL:
        masquerade = here and not pod
        endpoints = frontend.cluster if pod or here else frontend.local
    if not endpoints:
        return Verdict(drop=frontend.refusal or Drop.NO_ENDPOINTS, owner=frontend.owner)
    return Verdict(
        backends=frozenset(endpoint.backend for endpoint in endpoints),
        masquerade=masquerade,
        sticky_seconds=frontend.affinity_seconds,
        owner=frontend.owner,
    )


def _is_cluster_ip(frontend: Frontend) -> bool:
    return frontend.policy is Policy.INTERNAL


def _inside(address: str, cidr: str) -> bool:
    network = ip_network(cidr)
    parsed = ip_address(address)
    return parsed.version == network.version and parsed in network
