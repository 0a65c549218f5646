"""Frontends as nftables: a few chains that never change, and elements that carry all data.  Pure.

`services` says, as a number, which policy a frontend has and how many endpoints; a map `endpoints-<k>` per
endpoint count k holds them, picked by a random index.  So a packet costs two hash lookups whatever the
number of Services, and adding a Service adds elements only.

Numbers, not verdicts: for each new element that leads to a chain the kernel walks every such element of the
table (and before 6.19, again through every chain that they lead to).  Only small maps lead to chains here.
Session affinity remembers clients, which needs chains and sets of its own for the Services that ask for it.
"""

import hashlib
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_network

from todoku.linux.nftables import DROP, GOTO, Element, Verdict
from todoku.proxy.endpoints import Backend, Endpoint, NodeView
from todoku.proxy.frontends import At, Frontend, FrontendKey, Policy, PortName

TABLE = "todoku-proxy"
MARK = 0x4000
"""The packet mark that asks for masquerading; kube-proxy's own, which pod networks know."""

PROTOCOLS = {"TCP": 6, "UDP": 17, "SCTP": 132}
_NAMES = {number: name for name, number in PROTOCOLS.items()}
_EAGER_COUNTS = range(1, 5)
MAX_ENDPOINTS = 0x3FFE
_STICKY = 0x3FFF
"""In place of a count: the Service has chains of its own."""
_COUNT_MASK = 0x3FFF
_POLICY_SHIFT = 16
_POLICIES = {Policy.INTERNAL: 1, Policy.EXTERNAL: 2, Policy.EXTERNAL_LOCAL: 3}

_KEY = "ip daddr . meta l4proto . th dport"


def base() -> str:
    """The table with its chains, as nft text; loading it again changes nothing but creates what lacks."""
    sticky = "\n".join(
        f"add element ip {TABLE} {prefix}picks {{ {_STICKY} : goto {prefix}sticky }}"
        for prefix in ("", "local-")
    )
    counted = "\n".join(
        counted_chain(prefix, count) for prefix in ("", "local-") for count in _EAGER_COUNTS
    )
    return f"{_BASE}{sticky}\n{counted}"


def layout() -> str:
    """A chain name that changes with the fixed part; an older table in the kernel is replaced."""
    return (
        "layout-" + hashlib.sha256(_BASE.encode() + counted_chain("", 2).encode()).hexdigest()[:8]
    )


def load() -> str:
    """Text that replaces the whole table, empty of data."""
    return f"table ip {TABLE}\ndelete table ip {TABLE}\n{base()}\nadd chain ip {TABLE} {layout()}"


def ranges(node: NodeView) -> str:
    """Text that sets the pod ranges and the service ranges of the cluster."""
    lines = []
    for name, cidrs in (("pods", node.pod_cidrs), ("service-cidrs", node.service_cidrs)):
        lines.append(f"flush set ip {TABLE} {name}")
        ours = ", ".join(cidr for cidr in cidrs if ":" not in cidr)
        if ours:
            lines.append(f"add element ip {TABLE} {name} {{ {ours} }}")
    return "\n".join(lines)


def counted_chain(prefix: str, count: int) -> str:
    """The map and the chain that pick one of `count` endpoints."""
    index = f"numgen random mod {count}"
    return (
        f"add map ip {TABLE} {prefix}endpoints-{count} "
        f"{{ typeof {_KEY} . {index} : ip daddr . th dport; }}\n"
        f"add chain ip {TABLE} {prefix}pick-{count}\n"
        f"flush chain ip {TABLE} {prefix}pick-{count}\n"
        f"add rule ip {TABLE} {prefix}pick-{count} {_ONLY_MASQUERADE}\n"
        f"add rule ip {TABLE} {prefix}pick-{count} meta l4proto {{ tcp, udp, sctp }} "
        f"dnat ip to {_KEY} . {index} map @{prefix}endpoints-{count}\n"
        f"add element ip {TABLE} {prefix}picks {{ {count} : goto {prefix}pick-{count} }}"
    )


def counts(elements: Iterable[Element]) -> Iterator[tuple[str, int]]:
    """The (prefix, count) chains that must exist before these elements can be added."""
    for element in elements:
        prefix, found, count = element.set.partition("endpoints-")
        if found and prefix != "no-" and count.isdigit() and int(count) not in _EAGER_COUNTS:
            yield prefix, int(count)


def elements(frontend: Frontend) -> list[Element]:
    """Everything that one frontend adds to the maps and sets."""
    key = encode_key(frontend.key)
    comment = str(frontend.owner)
    policy = _POLICIES[frontend.policy] << _POLICY_SHIFT
    made = _picked("", key, frontend, frontend.cluster, policy)
    made += _picked("local-", key, frontend, frontend.local, 0)
    if frontend.refusal is not None:
        answer = Verdict(GOTO, "reject-packet") if frontend.refusal.rejects else Verdict(DROP)
        made.append(Element("no-endpoints", key, answer, comment=comment))
    if frontend.sources is not None:
        made.append(Element("firewall", key, Verdict(GOTO, "firewall-check"), comment=comment))
        made += [_allowed(key, cidr) for cidr in frontend.sources]
    if frontend.at is At.CLUSTER_IP:
        made.append(Element("cluster-ips", socket.inet_aton(frontend.key.address)))
    return made


def hairpin(endpoint: Endpoint) -> Element:
    """A pod of this node that reaches itself through a Service must not see its own address."""
    address = socket.inet_aton(endpoint.backend.address)
    return Element("hairpin", address + address)


def hairpins(frontend: Frontend, node: str) -> list[Element]:
    addresses = {
        e.backend.address: e for e in (*frontend.cluster, *frontend.local) if e.node == node
    }
    return [hairpin(endpoint) for endpoint in addresses.values()]


def encode_key(key: FrontendKey) -> bytes:
    """Address, protocol and port as the kernel concatenates them: each padded to four bytes."""
    return socket.inet_aton(key.address) + struct.pack(">B3xH2x", PROTOCOLS[key.protocol], key.port)


def decode_key(data: bytes) -> FrontendKey:
    """The frontend that an element's key begins with."""
    protocol, port = struct.unpack_from(">B3xH", data, 4)
    return FrontendKey(socket.inet_ntoa(data[:4]), _NAMES.get(protocol, str(protocol)), port)


KEYED = (
    "services", "local-services", "sticky", "local-sticky", "no-endpoints", "firewall", "source-ranges",
)  # fmt: skip
SHARED = ("cluster-ips", "hairpin")
"""Sets whose elements several frontends may share."""


def _picked(
    prefix: str, key: bytes, frontend: Frontend, endpoints: tuple[Endpoint, ...], policy: int
) -> list[Element]:
    """What leads to the endpoints of one set, and, unless clients stick to them, the endpoints."""
    if not endpoints:
        return []
    comment = str(frontend.owner)
    endpoints = endpoints[:MAX_ENDPOINTS]
    count = _STICKY if frontend.affinity_seconds else len(endpoints)
    made = [Element(f"{prefix}services", key, _number(policy | count), comment=comment)]
    if frontend.affinity_seconds:
        # A client that another address led elsewhere must not follow it under internalTrafficPolicy Local.
        chain = affinity_chain(frontend.owner, "local-" if frontend.stays_here else prefix)
        made.append(Element(f"{prefix}sticky", key, Verdict(GOTO, chain), comment=comment))
        return made
    made += [
        Element(
            f"{prefix}endpoints-{count}", key + _number(index), _encode_backend(endpoint.backend)
        )
        for index, endpoint in enumerate(endpoints)
    ]
    return made


def _number(value: int) -> bytes:
    """Marks and random indexes are in host order, unlike everything from a packet."""
    return struct.pack("=I", value)


def _encode_backend(backend: Backend) -> bytes:
    return socket.inet_aton(backend.address) + struct.pack(">H2x", backend.port)


def _allowed(key: bytes, cidr: str) -> Element:
    network = ip_network(cidr)
    return Element(
        "source-ranges",
        key + network.network_address.packed,
        key_end=key + network.broadcast_address.packed,
    )


@dataclass(frozen=True, slots=True)
class Affinity:
    """What a sticky Service port needs besides elements; shared by all its frontends."""

    owner: PortName
    seconds: int
    cluster: tuple[Backend, ...]
    local: tuple[Backend, ...]

    @property
    def chains(self) -> frozenset[str]:
        made = {_client_name(self.owner, backend) for backend in (*self.cluster, *self.local)}
        if self.cluster:
            made.add(affinity_chain(self.owner, ""))
        if self.local:
            made.add(affinity_chain(self.owner, "local-"))
        return frozenset(made)

    @property
    def sets(self) -> frozenset[str]:
        return frozenset(
            _client_name(self.owner, backend) for backend in (*self.cluster, *self.local)
        )

    def text(self) -> str:
        """Text that makes or renews the chains; clients already remembered stay so."""
        lines: list[str] = []
        for backend in sorted({*self.cluster, *self.local}):
            name = _client_name(self.owner, backend)
            lines += (
                f"add set ip {TABLE} {name} {{ type ipv4_addr; flags dynamic,timeout; }}",
                f"add chain ip {TABLE} {name}",
                f"flush chain ip {TABLE} {name}",
                f"add rule ip {TABLE} {name} update @{name} {{ ip saddr timeout {self.seconds}s }}",
                f"add rule ip {TABLE} {name} meta l4proto {self.owner.protocol.lower()} "
                f"dnat to {backend.address}:{backend.port}",
            )
        for prefix, backends in (("", self.cluster), ("local-", self.local)):
            lines += self._dispatch(prefix, backends)
        return "\n".join(lines)

    def _dispatch(self, prefix: str, backends: tuple[Backend, ...]) -> Iterable[str]:
        if not backends:
            return
        chain = affinity_chain(self.owner, prefix)
        names = [_client_name(self.owner, backend) for backend in backends]
        yield f"add chain ip {TABLE} {chain}"
        yield f"flush chain ip {TABLE} {chain}"
        for name in names:
            yield f"add rule ip {TABLE} {chain} ip saddr @{name} goto {name}"
        table = ", ".join(f"{index} : goto {name}" for index, name in enumerate(names))
        yield f"add rule ip {TABLE} {chain} numgen random mod {len(names)} vmap {{ {table} }}"


def affinity(frontends: Iterable[Frontend]) -> dict[PortName, Affinity]:
    """The sticky ports among the frontends of one Service."""
    found: dict[PortName, Affinity] = {}
    for frontend in frontends:
        if not frontend.affinity_seconds or not (frontend.cluster or frontend.local):
            continue
        known = found.get(frontend.owner)
        cluster = {endpoint.backend for endpoint in frontend.cluster}
        local = {endpoint.backend for endpoint in frontend.local}
        if frontend.stays_here:
            cluster, local = set(), cluster
        if known is not None:
            cluster |= set(known.cluster)
            local |= set(known.local)
        found[frontend.owner] = Affinity(
            frontend.owner, frontend.affinity_seconds, tuple(sorted(cluster)), tuple(sorted(local))
        )
    return found


def affinity_chain(owner: PortName, prefix: str) -> str:
    return f"{prefix}affinity-{_id(owner)}"


def is_affinity(chain: str) -> bool:
    """Whether a chain of the table belongs to some sticky Service."""
    return chain.startswith(("affinity-", "local-affinity-", "client-"))


def _client_name(owner: PortName, backend: Backend) -> str:
    return f"client-{_id(owner)}/{backend.address}/{backend.port}"


def _id(owner: PortName) -> str:
    readable = (
        f"{owner.service.namespace}/{owner.service.name}/{owner.protocol.lower()}/{owner.port}"
    )
    return f"{hashlib.sha256(readable.encode()).hexdigest()[:8]}-{readable}"


_MARK = f"meta mark set meta mark | {MARK:#x}"
_ONLY_MASQUERADE = f"meta mark set meta mark & {MARK:#x}"

_BASE = f"""
add table ip {TABLE} {{ comment "Services of this node; see todoku explain" ; }}
table ip {TABLE} {{
    # Numbers: policy (1 ClusterIP, 2 external, 3 external and local) << 16 | count of endpoints.
    map services {{ typeof {_KEY} : meta mark; }}
    map local-services {{ typeof {_KEY} : meta mark; }}
    map picks {{ type mark : verdict; }}
    map local-picks {{ type mark : verdict; }}
    map sticky {{ typeof {_KEY} : verdict; }}
    map local-sticky {{ typeof {_KEY} : verdict; }}
    map no-endpoints {{ typeof {_KEY} : verdict; }}
    map firewall {{ typeof {_KEY} : verdict; }}
    set source-ranges {{ typeof {_KEY} . ip saddr; flags interval; }}
    set cluster-ips {{ type ipv4_addr; }}
    set service-cidrs {{ type ipv4_addr; flags interval; }}
    set pods {{ type ipv4_addr; flags interval; }}
    set hairpin {{ type ipv4_addr . ipv4_addr; }}

    # A source range is checked before the destination is translated, while it is still the address
    # that the range was written for.
    chain firewall-prerouting {{
        type filter hook prerouting priority -110; policy accept;
        ct state new {_KEY} vmap @firewall
    }}
    chain firewall-output {{
        type filter hook output priority -110; policy accept;
        ct state new {_KEY} vmap @firewall
    }}
    chain firewall-check {{
        {_KEY} . ip saddr @source-ranges return
        drop
    }}

    chain prerouting {{
        type nat hook prerouting priority -100; policy accept;
        meta mark set {_KEY} map @services goto by-policy
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        meta mark set {_KEY} map @services goto by-policy
    }}
    chain by-policy {{
        meta mark & 0xff0000 vmap {{
            0x10000 : goto {Policy.INTERNAL.value},
            0x20000 : goto {Policy.EXTERNAL.value},
            0x30000 : goto {Policy.EXTERNAL_LOCAL.value} }}
    }}
    chain {Policy.INTERNAL.value} {{
        ip saddr != @pods {_MARK}
        goto pick
    }}
    chain {Policy.EXTERNAL.value} {{
        {_MARK}
        goto pick
    }}
    # A pod or this node that uses an external address is spared the detour over another node.
    chain {Policy.EXTERNAL_LOCAL.value} {{
        ip saddr @pods goto pick
        fib saddr type local goto {Policy.EXTERNAL.value}
        meta mark set 0
        meta mark set {_KEY} map @local-services goto local-pick
    }}
    chain pick {{
        meta mark & {_COUNT_MASK:#x} vmap @picks
        meta mark set 0
    }}
    chain local-pick {{
        meta mark & {_COUNT_MASK:#x} vmap @local-picks
        meta mark set 0
    }}
    chain sticky {{
        {_ONLY_MASQUERADE}
        {_KEY} vmap @sticky
    }}
    chain local-sticky {{
        {_ONLY_MASQUERADE}
        {_KEY} vmap @local-sticky
    }}

    chain postrouting {{
        type nat hook postrouting priority 100; policy accept;
        meta mark & {MARK:#x} != 0 goto masquerade-packet
        ct status dnat ip saddr . ip daddr @hairpin masquerade fully-random
    }}
    # The mark is taken off, or a packet that is wrapped for another node would be masqueraded again.
    chain masquerade-packet {{
        meta mark set meta mark ^ {MARK:#x}
        masquerade fully-random
    }}

    # A packet that still carries a Service's address here was not translated.
    chain input {{
        type filter hook input priority 0; policy accept;
        ct state new goto untranslated
    }}
    chain forward {{
        type filter hook forward priority 0; policy accept;
        ct state new goto untranslated
    }}
    chain filter-output {{
        type filter hook output priority 0; policy accept;
        ct state new goto untranslated
    }}
    chain untranslated {{
        {_KEY} vmap @no-endpoints
        ip daddr @cluster-ips goto reject-packet
        ip daddr @service-cidrs drop
    }}
    # On veth pairs an ICMP error comes back while connect() still holds its socket, counts as a soft
    # error and delays the refusal by a SYN's one-second retry; a reset waits in the backlog instead.
    chain reject-packet {{
        meta l4proto tcp reject with tcp reset
        reject
    }}
}}
"""
