"""Who announces an address on layer 2: stateless, the same answer on every node (pure).

Source: MetalLB v0.14.9.  The winner is the live candidate with the smallest SHA-256 of
`nodeName#address`; membership, not node readiness, says who lives.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256

from todoku.api.meta import Object

EXCLUDE_LABEL = "node.kubernetes.io/exclude-from-external-load-balancers"


class Silent(Enum):
    """Why this node does not announce; the value goes into logs and metrics."""

    NO_ADDRESS = "noIPAllocated"
    NO_POOL = "poolUnknown"
    NO_ADVERTISEMENT = "noMatchingAdvertisement"
    NO_ENDPOINTS = "noEndpoints"
    NO_LOCAL_ENDPOINTS = "noLocalEndpoints"
    NODE_NOT_ELIGIBLE = "nodeNotEligible"
    NOT_OWNER = "notOwner"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The nodes that have a serving endpoint; `anywhere` also counts endpoints that name no node."""

    anywhere: bool
    nodes: frozenset[str]


def endpoints(slices: Sequence[Object]) -> Endpoints:
    """Serving endpoints of a Service, over all its EndpointSlices (discovery.k8s.io/v1)."""
    serving = [
        endpoint
        for one in slices
        for endpoint in one.get("endpoints") or ()
        if _serves(endpoint.get("conditions") or {})
    ]
    nodes = frozenset(endpoint["nodeName"] for endpoint in serving if endpoint.get("nodeName"))
    return Endpoints(bool(serving), nodes)


def may_announce(node: Object, *, ignore_exclude_label: bool = False) -> bool:
    """Whether a node may hold addresses: schedulable, network available, not excluded by label."""
    if (node.get("spec") or {}).get("unschedulable"):
        return False
    labels = node["metadata"].get("labels") or {}
    if EXCLUDE_LABEL in labels and not ignore_exclude_label:
        return False
    conditions = (node.get("status") or {}).get("conditions") or ()
    return not any(
        one.get("type") == "NetworkUnavailable" and one.get("status") == "True"
        for one in conditions
    )


def winner(candidates: Collection[str], address: str) -> str | None:
    """The node that announces `address` (canonical text), or None without candidates."""
    return min(
        candidates, key=lambda node: sha256(f"{node}#{address}".encode()).digest(), default=None
    )


@dataclass(frozen=True, slots=True)
class Situation:
    """What the election looks at.  `nodes` are all Node objects by name, `advertised` the nodes that the
    pool's L2Advertisements name, `alive` the members heard from."""

    address: str
    nodes: Mapping[str, Object]
    alive: Collection[str]
    advertised: Collection[str]
    endpoints: Endpoints
    local: bool = False
    ignore_exclude_label: bool = False


def elect(situation: Situation) -> str | Silent:
    """The announcing node, or why there is none."""
    if not situation.advertised:
        return Silent.NO_ADVERTISEMENT
    if not situation.endpoints.anywhere:
        return Silent.NO_ENDPOINTS
    candidates = {
        name
        for name in situation.alive
        if name in situation.advertised
        and name in situation.nodes
        and may_announce(situation.nodes[name], ignore_exclude_label=situation.ignore_exclude_label)
    }
    if not candidates:
        return Silent.NODE_NOT_ELIGIBLE
    if situation.local:
        candidates &= situation.endpoints.nodes
        if not candidates:
            return Silent.NO_LOCAL_ENDPOINTS
    return winner(candidates, situation.address) or Silent.NODE_NOT_ELIGIBLE


def _serves(conditions: Mapping[str, bool | None]) -> bool:
    """`ready` unset or true; a terminating endpoint that still serves counts too."""
    if conditions.get("ready") is None or conditions["ready"]:
        return True
    return bool(conditions.get("serving"))
