"""What a trace observed, before anybody makes sense of it; and the hops that come of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from todoku.linux.conntrack import Flow
from todoku.linux.links import Link
from todoku.reach.outcome import Outcome
from todoku.reach.probe import Tuple5
from todoku.reach.trace.pcapng import Caught

Evidence = Literal["nft", "conntrack", "neigh", "route", "socket", "dns", "inferred"]
Direction = Literal["forward", "reply"]


@dataclass(frozen=True, slots=True)
class Place:
    """A network namespace that a packet may cross; `node` is where a pod stands."""

    name: str
    kind: Literal["node", "outside", "gateway", "pod"]
    netns: str
    addresses: tuple[str, ...] = ()
    node: str = ""


@dataclass(frozen=True, slots=True)
class Header:
    """The IPv4 and TCP or UDP header of a traced packet, as far as a trace shows them."""

    source: str
    destination: str
    protocol: int
    identification: int
    ttl: int
    source_port: int = 0
    destination_port: int = 0
    tcp_flags: int = 0

    @property
    def is_syn(self) -> bool:
        return self.tcp_flags & 0x12 == 0x02

    @property
    def is_syn_ack(self) -> bool:
        return self.tcp_flags & 0x12 == 0x12


@dataclass(frozen=True, slots=True)
class Step:
    """One trace event with its place and headers resolved; `seen` is the trace's own rule: the packet was here."""

    place: str
    kind: Literal["policy", "return", "rule", "seen"]
    family: str
    table: str
    chain: str
    handle: int
    verdict: str
    target: str
    header: Header | None
    in_interface: str
    out_interface: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule as `nft -a` lists it; `object` is the Kubernetes object behind it, if known."""

    family: str
    table: str
    chain: str
    handle: int
    text: str
    object: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How a place would send to an address: the route's text, the next hop ("" on link), the interface."""

    text: str
    next_hop: str
    interface: str


@dataclass(frozen=True, slots=True)
class Lookup:
    """A name, the server that was asked ("" if the source has none), and the address it gave ("" for none)."""

    name: str
    server: str
    address: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything collected around one connection.  `latency_ms` is None for somebody else's."""

    source: Place
    sent: Tuple5
    outcome: Outcome
    latency_ms: float | None
    places: Mapping[str, Place]
    steps: Sequence[Step] = ()
    flows: Mapping[str, Sequence[Flow]] = field(default_factory=dict)  # by place
    rules: Mapping[tuple[str, str, str, int], Rule] = field(default_factory=dict)
    way: Way | None = None
    neighbour_mac: str = ""  # of the next hop, "" while unanswered
    macs: Mapping[str, str] = field(default_factory=dict)  # MAC -> place
    listener: str = ""  # the process that listens in the pod, e.g. "httpd (pid 77)"
    objects: Mapping[str, str] = field(default_factory=dict)  # ip:port/proto -> Service
    code: str = ""  # the prediction's explanation, for what nftables cannot see
    announcer: str = ""
    why_announcer: str = ""
    lookup: Lookup | None = None
    dead_end: str = ""  # the last place's route that leads nowhere, e.g. "blackhole default"
    notes: tuple[str, ...] = ()
    frames: Sequence[Caught] = ()


@dataclass(frozen=True, slots=True)
class Hop:
    """One line of a trace."""

    where: str
    component: str
    action: str
    evidence: Evidence
    direction: Direction = "forward"
    rule: Rule | None = None
    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """The whole way: `disposition` is DELIVERED, REFUSED, DROPPED, UNANSWERED, LOST, NO_ROUTE, NAME_UNKNOWN.

    `notes` say what the trace could not see; `frames` are the connection's packets, if they were recorded.
    """

    source: str
    target: str
    packet: str
    disposition: str
    hops: Sequence[Hop]
    latency_ms: float | None
    code: str = ""
    notes: tuple[str, ...] = ()
    frames: Sequence[Caught] = field(default=(), repr=False)


def named(link_by_index: Mapping[int, Link], index: int) -> str:
    """The name of an interface, "" for none."""
    link = link_by_index.get(index)
    return link.name if link else ""
