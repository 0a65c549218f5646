"""MetalLB's custom resources, parsed and validated as one configuration (pure).

Controller, speaker and webhooks all use `parse`, over the lists that each of them has.  The first problem
raises `BadConfig`.  Source: MetalLB v0.14.9, metallb.io/v1beta1 and v1beta2, native BGP mode.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from todoku.api.meta import Object
from todoku.loadbalancer import bgp
from todoku.loadbalancer.addresses import Network, overlap, parse_entry
from todoku.loadbalancer.fields import (
    BadConfig,
    check_unique,
    matchers,
    matches_any,
    name_of,
    spec_of,
)
from todoku.loadbalancer.pools import Allocation, Pool

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Resources:
    """The objects a configuration is made of; a webhook fills only the lists it looks at."""

    pools: Sequence[Object] = ()
    l2_advertisements: Sequence[Object] = ()
    bgp_advertisements: Sequence[Object] = ()
    peers: Sequence[Object] = ()
    bfd_profiles: Sequence[Object] = ()
    communities: Sequence[Object] = ()
    namespaces: Sequence[Object] = ()
    nodes: Sequence[Object] = ()
    secrets: Sequence[Object] = ()


@dataclass(frozen=True, slots=True)
class L2Advertisement:
    """Which nodes may announce, and on which interfaces; no interface names means all."""

    name: str
    nodes: frozenset[str]
    interfaces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Config:
    """A whole valid configuration; advertisements are filed under the pools they cover."""

    pools: Mapping[str, Pool] = field(default_factory=dict)
    l2: Mapping[str, tuple[L2Advertisement, ...]] = field(default_factory=dict)
    routes: Mapping[str, tuple[bgp.Advertisement, ...]] = field(default_factory=dict)
    peers: Mapping[str, bgp.Peer] = field(default_factory=dict)


def parse(resources: Resources) -> Config:
    """The configuration that the resources make.  Raises BadConfig (Dangling) with the first problem."""
    _check_native(resources)
    peers = bgp.peers(resources.peers, resources.secrets)
    aliases = bgp.communities(resources.communities)
    pools = _pools(resources)
    l2 = _filed(
        resources.l2_advertisements,
        resources.pools,
        lambda one: _l2_advertisement(one, resources.nodes),
    )
    bgp.check_duplicates(resources.bgp_advertisements)
    routes = _filed(
        resources.bgp_advertisements,
        resources.pools,
        lambda one: bgp.advertisement(one, aliases, _selected_nodes(one, resources.nodes)),
    )
    for name, advertisements in routes.items():
        bgp.check_pool(pools[name], advertisements)
    return Config(pools, l2, routes, peers)


def _check_native(resources: Resources) -> None:
    """Refuse what the native BGP mode of this version does not know."""
    bgp.check_native_peers(resources.peers)
    if resources.bfd_profiles:
        raise BadConfig("bfd profiles section set")
    covered = {
        name for one in resources.bgp_advertisements for name in _covered(one, resources.pools)
    }
    for pool in resources.pools:
        if name_of(pool) in covered:
            _check_ipv4_only(pool)
    bgp.check_native_communities(resources.bgp_advertisements, resources.communities)


def _check_ipv4_only(pool: Object) -> None:
    name = name_of(pool)
    for text in spec_of(pool).get("addresses") or ():
        for cidr in _entry(text, name):
            if cidr.version == 6:
                raise BadConfig(
                    f'pool "{name}" has ipv6 CIDR {cidr}, native bgp mode does not support ipv6'
                )


def _pools(resources: Resources) -> dict[str, Pool]:
    pools: dict[str, Pool] = {}
    defined: list[Network] = []
    for obj in resources.pools:
        try:
            pool = _pool(obj, resources.namespaces)
        except BadConfig as problem:
            raise BadConfig(f"parsing address pool {name_of(obj)}: {problem}") from None
        for cidr in pool.cidrs:
            _check_overlap(cidr, pool.name, defined)
            defined.append(cidr)
        pools[pool.name] = pool
    return pools


def _check_overlap(cidr: Network, pool: str, defined: Iterable[Network]) -> None:
    for other in defined:
        if overlap(cidr, other):
            raise BadConfig(
                f'CIDR "{cidr}" in pool "{pool}" overlaps with already defined CIDR "{other}"'
            )


def _pool(obj: Object, namespaces: Iterable[Object]) -> Pool:
    spec = spec_of(obj)
    addresses = spec.get("addresses") or ()
    if not addresses:
        raise BadConfig("pool has no prefixes defined")
    return Pool(
        name=name_of(obj),
        entries=tuple((text, _entry(text, name_of(obj))) for text in addresses),
        auto_assign=spec.get("autoAssign") is not False,
        avoid_buggy_ips=bool(spec.get("avoidBuggyIPs")),
        allocation=_allocation(spec.get("serviceAllocation"), namespaces),
    )


def _entry(text: str, pool: str) -> tuple[Network, ...]:
    try:
        return parse_entry(text)
    except ValueError as problem:
        raise BadConfig(f'invalid CIDR "{text}" in pool "{pool}": {problem}') from None


def _allocation(spec: Object | None, namespaces: Iterable[Object]) -> Allocation | None:
    if spec is None:
        return None
    names = list(spec.get("namespaces") or ())
    if len(set(names)) < len(names):
        raise BadConfig("duplicate definition in namespaces field")
    selectors = matchers(spec, "namespaceSelectors")
    hits = [name_of(one) for one in namespaces if matches_any(selectors, one)]
    return Allocation(
        priority=int(spec.get("priority") or 0),
        namespaces=frozenset([*names, *hits]),
        service_selectors=matchers(spec, "serviceSelectors"),
    )


def _l2_advertisement(obj: Object, nodes: Iterable[Object]) -> L2Advertisement:
    spec = spec_of(obj)
    check_unique(spec.get("ipAddressPools"), "ipAddressPools")
    matchers(spec, "ipAddressPoolSelectors")  # refused even where no pool exists yet
    interfaces = frozenset(spec.get("interfaces") or ())
    return L2Advertisement(name_of(obj), _selected_nodes(obj, nodes), interfaces)


def _filed(
    advertisements: Sequence[Object], pools: Sequence[Object], parsed: Callable[[Object], T]
) -> dict[str, tuple[T, ...]]:
    """Parse each advertisement once and file it under every pool that it covers."""
    filed: dict[str, list[T]] = {}
    for obj in advertisements:
        one = parsed(obj)
        for name in _covered(obj, pools):
            filed.setdefault(name, []).append(one)
    return {name: tuple(ones) for name, ones in filed.items()}


def _covered(advertisement: Object, pools: Sequence[Object]) -> list[str]:
    """The existing pools an advertisement covers: named or selected ones; all without either."""
    spec = spec_of(advertisement)
    names = spec.get("ipAddressPools") or ()
    selectors = matchers(spec, "ipAddressPoolSelectors")
    everything = not names and not selectors
    return [
        name_of(pool)
        for pool in pools
        if everything or name_of(pool) in names or matches_any(selectors, pool)
    ]


def _selected_nodes(advertisement: Object, nodes: Iterable[Object]) -> frozenset[str]:
    """The nodes that nodeSelectors (ORed) hit; all of them without selectors."""
    selectors = matchers(spec_of(advertisement), "nodeSelectors")
    return frozenset(
        name_of(node) for node in nodes if not selectors or matches_any(selectors, node)
    )
