"""Which endpoints of a Service port take traffic on this node: pure, from EndpointSlices.

Sources: EndpointSlice v1 API fields; KEP-1669 (terminating endpoints), KEP-2433 (topology hints),
KEP-4444 (traffic distribution).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from todoku.api.meta import Key, Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
HEADLESS_LABEL = "service.kubernetes.io/headless"


class Backend(NamedTuple):
    """Where a packet ends up: a pod's address and port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one Service port, with what the proxy needs of its conditions."""

    backend: Backend
    node: str = ""
    zone: str = ""
    ready: bool = True
    serving: bool = True
    terminating: bool = False
    hint_zones: frozenset[str] = frozenset()
    hint_nodes: frozenset[str] = frozenset()

    @property
    def lingering(self) -> bool:
        """Still answering while it shuts down: used only when nothing is ready."""
        return self.serving and self.terminating


@dataclass(frozen=True, slots=True)
class NodeView:
    """What the decisions need to know of the node they are for."""

    name: str
    addresses: tuple[str, ...] = ()
    """The node's primary addresses, on which nodePorts answer."""
    zone: str = ""
    pod_cidrs: tuple[str, ...] = ("10.244.0.0/16",)
    """The cluster's pod ranges: sources inside are pods and keep their address."""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/12",)


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoints in use on a node: for traffic anywhere, and for traffic that must stay local.

    `anywhere` says whether some endpoint is usable on any node; it decides between drop and reject.
    """

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()
    anywhere: bool = False
    local_ready: frozenset[str] = field(default_factory=frozenset)
    """Addresses of this node's ready endpoints; health-check node ports count them."""
    serving: frozenset[Backend] = field(default_factory=frozenset)
    """Everybody who still answers, used or not: a UDP flow to anybody else is stale."""


def choose(endpoints: Sequence[Endpoint], node: NodeView) -> Choice:
    """Apply readiness, the fallback to terminating endpoints, and topology hints."""
    ready = [endpoint for endpoint in endpoints if endpoint.ready]
    lingering = [endpoint for endpoint in endpoints if endpoint.lingering]
    cluster = _topology(ready, node) or lingering
    local_ready = _on(node.name, ready)
    return Choice(
        cluster=_sorted(cluster),
        local=_sorted(local_ready or _on(node.name, lingering)),
        anywhere=bool(ready or lingering),
        local_ready=frozenset(endpoint.backend.address for endpoint in local_ready),
        serving=frozenset(endpoint.backend for endpoint in endpoints if endpoint.serving),
    )


def service_of(piece: Object) -> Key | None:
    """The Service that an EndpointSlice belongs to; None if a proxy must ignore the slice."""
    labels = piece["metadata"].get("labels") or {}
    name = labels.get(SERVICE_NAME_LABEL)
    if not name or HEADLESS_LABEL in labels:
        return None
    return Key(piece["metadata"].get("namespace", ""), name)


def endpoints_of(
    slices: Iterable[Object], *, port_name: str, protocol: str, family: str
) -> list[Endpoint]:
    """The endpoints of one Service port (`family` is IPv4 or IPv6), merged over the Service's slices.

    An address that several slices carry counts once; a copy that is not terminating wins.
    """
    found: dict[Backend, Endpoint] = {}
    for piece in slices:
        if piece.get("addressType", "IPv4") != family or service_of(piece) is None:
            continue
        for port in _matching_ports(piece, port_name, protocol):
            for item in piece.get("endpoints") or ():
                for endpoint in _parse(item, port):
                    known = found.get(endpoint.backend)
                    if known is None or known.terminating:
                        found[endpoint.backend] = endpoint
    return list(found.values())


def _matching_ports(piece: Object, name: str, protocol: str) -> Iterable[int]:
    for port in piece.get("ports") or ():
        if (port.get("name") or "") != name or (port.get("protocol") or "TCP") != protocol:
            continue
        if port.get("port"):
            yield int(port["port"])


def _parse(item: dict[str, Any], port: int) -> Iterable[Endpoint]:
    conditions = item.get("conditions") or {}
    ready = conditions.get("ready")
    serving = conditions.get("serving")
    hints = item.get("hints") or {}
    # The API allows several addresses per endpoint; consumers use the first only.
    for address in (item.get("addresses") or ())[:1]:
        yield Endpoint(
            backend=Backend(str(address), port),
            node=item.get("nodeName") or "",
            zone=item.get("zone") or "",
            ready=ready is not False,
            serving=(ready is not False) if serving is None else bool(serving),
            terminating=bool(conditions.get("terminating")),
            hint_zones=frozenset(zone["name"] for zone in hints.get("forZones") or ()),
            hint_nodes=frozenset(node["name"] for node in hints.get("forNodes") or ()),
        )


def _topology(ready: Sequence[Endpoint], node: NodeView) -> Sequence[Endpoint]:
    """Keep the endpoints hinted for this node, else for its zone; hints must be complete to count."""
    by_node = _hinted(ready, lambda endpoint: endpoint.hint_nodes, node.name)
    if by_node:
        return by_node
    return _hinted(ready, lambda endpoint: endpoint.hint_zones, node.zone) or ready


def _hinted(
    ready: Sequence[Endpoint], hints: Callable[[Endpoint], frozenset[str]], wanted: str
) -> list[Endpoint]:
    if not wanted or not all(hints(endpoint) for endpoint in ready):
        return []
    return [endpoint for endpoint in ready if wanted in hints(endpoint)]


def _on(node: str, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    return [endpoint for endpoint in endpoints if endpoint.node == node]


def _sorted(endpoints: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """A fixed order, so that the same endpoints always make the same elements."""
    return tuple(sorted(endpoints, key=lambda endpoint: endpoint.backend))
