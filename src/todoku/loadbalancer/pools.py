"""Which address a Service gets: pools, selectors, sharing, dual stack (pure; no clock, no I/O).

`Allocator` is the book of who holds what.  It has one owner, the controller's worker; every method
either succeeds or raises `Refused` and leaves the book as it was.
Source: MetalLB v0.14.9, IPAddressPool v1beta1.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from todoku.loadbalancer.addresses import Address, Family, Network, is_buggy, quoted

HUGE = 2**63 - 1


class Matcher(Protocol):
    """A label selector; equal selectors compare equal, so that equal configurations do."""

    def matches(self, labels: Mapping[str, str]) -> bool: ...


class Refused(Exception):
    """Why a Service cannot have the address; the text goes into its Event."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """`spec.serviceAllocation`, with namespace selectors already turned into names."""

    priority: int = 0
    namespaces: frozenset[str] = frozenset()
    service_selectors: tuple[Matcher, ...] = ()

    @property
    def pins(self) -> bool:
        """Whether it selects anything; one that holds only a priority is never chosen automatically."""
        return bool(self.namespaces or self.service_selectors)


@dataclass(frozen=True, slots=True)
class Pool:
    """An IPAddressPool.  `entries` keeps each text of `spec.addresses` with its prefixes, in order."""

    name: str
    entries: tuple[tuple[str, tuple[Network, ...]], ...]
    auto_assign: bool = True
    avoid_buggy_ips: bool = False
    allocation: Allocation | None = None

    @property
    def cidrs(self) -> Iterator[Network]:
        return (cidr for _, cidrs in self.entries for cidr in cidrs)

    def holds(self, address: Address) -> bool:
        if self.avoid_buggy_ips and is_buggy(address):
            return False
        return any(cidr.version == address.version and address in cidr for cidr in self.cidrs)

    def admits(self, claim: "Claim") -> bool:
        """Whether the Service passes namespaces and selectors; an empty condition restricts nothing."""
        rules = self.allocation
        if rules is None:
            return True
        if rules.namespaces and claim.namespace not in rules.namespaces:
            return False
        if not rules.service_selectors:
            return True
        return any(one.matches(claim.labels) for one in rules.service_selectors)


@dataclass(frozen=True, slots=True)
class Claim:
    """What allocation needs to know of a Service.

    `ports` are texts like `TCP/80`.  `sharing` is the allow-shared-ip annotation.  `backend` is the
    selector's text under externalTrafficPolicy Local and "" otherwise, so that the two never mix.
    """

    namespace: str
    name: str
    ports: frozenset[str] = frozenset()
    sharing: str = ""
    backend: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def service(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Holding:
    """The addresses that one Service has, all of one pool."""

    pool: str
    addresses: tuple[Address, ...]
    claim: Claim


class Allocator:
    """Who holds which address of which pool."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        self._holdings: dict[str, Holding] = {}
        self._users: dict[Address, dict[str, Claim]] = {}

    @property
    def pools(self) -> Mapping[str, Pool]:
        return self._pools

    def set_pools(self, pools: Mapping[str, Pool]) -> tuple[str, ...]:
        """Take a new configuration.  Addresses still covered stay, under whichever pool holds them now.

        Returns the Services whose addresses no pool covers any more; they are released.
        """
        self._pools = dict(pools)
        released = []
        for service, holding in list(self._holdings.items()):
            pool = self._pool_for(holding.addresses)
            if pool is None:
                self.release(service)
                released.append(service)
            elif pool.name != holding.pool:
                self._holdings[service] = Holding(pool.name, holding.addresses, holding.claim)
        return tuple(released)

    def holding(self, service: str) -> Holding | None:
        return self._holdings.get(service)

    def pool_of(self, service: str) -> str:
        """The pool of the Service's addresses, or ""."""
        holding = self._holdings.get(service)
        return holding.pool if holding else ""

    def release(self, service: str) -> bool:
        """Forget what the Service holds; whether it held anything."""
        holding = self._holdings.pop(service, None)
        if holding is None:
            return False
        for address in holding.addresses:
            users = self._users[address]
            del users[service]
            if not users:
                del self._users[address]
        return True

    def assign(self, claim: Claim, addresses: Sequence[Address]) -> Pool:
        """Give exactly these addresses to the Service (again).  Returns their pool."""
        pool = self._pool_for(addresses)
        if pool is None:
            raise Refused(f"{quoted(addresses)} is not allowed in config")
        if not pool.admits(claim):
            raise Refused(f"pool {pool.name} not compatible for ip assignment")
        for address in addresses:
            self._check_sharing(claim, address)
        self._take(claim, pool.name, tuple(addresses))
        return pool

    def allocate_from(
        self, claim: Claim, pool_name: str, families: Sequence[Family]
    ) -> tuple[Address, ...]:
        """Give the first free addresses of a named pool; `families` as for `allocate`."""
        pool = self._pools.get(pool_name)
        if pool is None:
            raise Refused(f'unknown pool "{pool_name}"')
        if not pool.admits(claim):
            raise Refused(f"pool {pool_name} not compatible for ip assignment")
        for family in families:
            found = self._find(claim, pool, family)
            if found is not None:
                self._take(claim, pool_name, found)
                return found
        raise Refused(f'no available IPs in pool "{pool_name}" for {families[0].value} IPFamily')

    def allocate(self, claim: Claim, families: Sequence[Family]) -> tuple[Address, ...]:
        """Choose automatically: the first of `families` that some pool can serve.

        `families` is (IPV4,), (IPV6,) or (DUAL,); under PreferDualStack (DUAL, primary, secondary).
        Pinned pools come before the rest; within each group every family is tried before the next group.
        """
        for group in self._candidates(claim):
            for family in families:
                for pool in group:
                    found = self._find(claim, pool, family)
                    if found is not None:
                        self._take(claim, pool.name, found)
                        return found
        raise Refused("no available IPs")

    def allocate_second(self, claim: Claim) -> Address | None:
        """Add the missing family from the same pool, or None if the pool has none of that family at all.

        Raises Refused if it has, but none is free.
        """
        holding = self._holdings[claim.service]
        missing = Family.IPV6 if holding.addresses[0].version == 4 else Family.IPV4
        pool = self._pools[holding.pool]
        if not any(_family_of_network(cidr) is missing for cidr in pool.cidrs):
            return None
        found = self._find(claim, pool, missing)
        if found is None:
            raise Refused(f'no available IPs in pool "{pool.name}" for {missing.value} IPFamily')
        self._take(claim, pool.name, (*holding.addresses, *found))
        return found[0]

    def addresses_in_use(self, pool: str, version: int = 0) -> int:
        """How many addresses of the pool someone holds; `version` 4 or 6 narrows."""
        used = {
            address
            for holding in self._holdings.values()
            if holding.pool == pool
            for address in holding.addresses
        }
        return sum(1 for address in used if version in (0, address.version))

    def _candidates(self, claim: Claim) -> tuple[list[Pool], list[Pool]]:
        automatic = [pool for _, pool in sorted(self._pools.items()) if pool.auto_assign]
        pinned = [
            pool for pool in automatic
            if pool.allocation and pool.allocation.pins and pool.admits(claim)
        ]  # fmt: skip
        pinned.sort(key=_priority)
        return pinned, [pool for pool in automatic if pool.allocation is None]

    def _pool_for(self, addresses: Sequence[Address]) -> Pool | None:
        """The pool that covers every address; sorted, so that equal configurations decide equally."""
        for _, pool in sorted(self._pools.items()):
            if all(pool.holds(address) for address in addresses):
                return pool
        return None

    def _find(self, claim: Claim, pool: Pool, family: Family) -> tuple[Address, ...] | None:
        wanted = (Family.IPV4, Family.IPV6) if family is Family.DUAL else (family,)
        found = [self._first_free(claim, pool, one) for one in wanted]
        complete = tuple(address for address in found if address is not None)
        return complete if len(complete) == len(wanted) else None

    def _first_free(self, claim: Claim, pool: Pool, family: Family) -> Address | None:
        for cidr in pool.cidrs:
            if _family_of_network(cidr) is not family:
                continue
            for address in cidr:
                if pool.avoid_buggy_ips and is_buggy(address):
                    continue
                if self._sharing_problem(claim, address) is None:
                    return address
        return None

    def _check_sharing(self, claim: Claim, address: Address) -> None:
        problem = self._sharing_problem(claim, address)
        if problem is not None:
            raise Refused(problem)

    def _sharing_problem(self, claim: Claim, address: Address) -> str | None:
        """Why the Service may not use the address beside its present users, or None."""
        others = {
            service: other
            for service, other in self._users.get(address, {}).items()
            if service != claim.service
        }
        if not others:
            return None
        key = (claim.sharing, claim.backend)
        if not claim.sharing or any((one.sharing, one.backend) != key for one in others.values()):
            users = ",".join(sorted(others))
            return (
                f'can\'t change sharing key for "{claim.service}", address also in use by {users}'
            )
        for other in others.values():
            taken = sorted(claim.ports & other.ports)
            if taken:
                return f'port {taken[0]} is already in use on "{address}"'
        return None

    def _take(self, claim: Claim, pool: str, addresses: tuple[Address, ...]) -> None:
        self.release(claim.service)
        self._holdings[claim.service] = Holding(pool, addresses, claim)
        for address in addresses:
            self._users.setdefault(address, {})[claim.service] = claim


def capacity(pool: Pool, version: int = 0) -> int:
    """How many addresses a pool offers, at most 2**63 - 1, as upstream's gauges count; `version` narrows."""
    total = 0
    for cidr in pool.cidrs:
        if version in (0, cidr.version):
            total += cidr.num_addresses - (_buggy_in(cidr) if pool.avoid_buggy_ips else 0)
    return min(total, HUGE)


def _buggy_in(cidr: Network) -> int:
    if cidr.version != 4:
        return 0
    if cidr.prefixlen <= 24:
        return 2 * (1 << (24 - cidr.prefixlen))
    return len({end for end in (cidr[0], cidr[-1]) if is_buggy(end)})


def _priority(pool: Pool) -> tuple[bool, int, str]:
    """Lower wins, 0 (unset) comes last, the name breaks ties."""
    priority = pool.allocation.priority if pool.allocation else 0
    return (priority == 0, priority, pool.name)


def _family_of_network(cidr: Network) -> Family:
    return Family.IPV4 if cidr.version == 4 else Family.IPV6
