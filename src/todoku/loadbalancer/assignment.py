"""What one Service's load-balancer status should be, and what to tell its owner (pure).

`converge` moves the allocator's book and answers with an `Outcome`; `updated` turns that into the object to
write, or None when nothing differs.  Source: MetalLB v0.14.9 controller.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api.meta import Object, copy
from todoku.loadbalancer.addresses import Address, Family, family_of, parse_address, quoted
from todoku.loadbalancer.pools import Allocator, Claim, Refused

POOL_ANNOTATION = "metallb.io/ip-allocated-from-pool"
_OLD_POOL_ANNOTATION = "metallb.universe.tf/ip-allocated-from-pool"
_INPUTS = ("address-pool", "loadBalancerIPs", "allow-shared-ip")


@dataclass(frozen=True, slots=True)
class Notice:
    """An Event for the Service: `kind` is Normal or Warning."""

    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The addresses the status should list and their pool.  `untouched` leaves the status as it is."""

    addresses: tuple[Address, ...] = ()
    pool: str = ""
    notices: tuple[Notice, ...] = ()
    untouched: bool = False


@dataclass(slots=True)
class _Attempt:
    """One convergence under way."""

    claim: Claim
    current: tuple[Address, ...]
    notices: list[Notice] = field(default_factory=list)

    def note(self, kind: str, reason: str, message: str) -> None:
        self.notices.append(Notice(kind, reason, message))

    def untouched(self) -> Outcome:
        return Outcome(notices=tuple(self.notices), untouched=True)


def handles(service: Object, lb_class: str) -> bool:
    """Whether this controller cares: without `--lb-class` only Services that name no class."""
    return str((service.get("spec") or {}).get("loadBalancerClass") or "") == lb_class


def converge(service: Object, allocator: Allocator) -> Outcome:
    """Keep, move, give or take away the addresses of one Service."""
    claim = claim_of(service)
    if not _balanced(service) or not allocator.pools:
        allocator.release(claim.service)
        return Outcome()
    attempt = _Attempt(claim, ingress_addresses(service))
    try:
        family = family_of(cluster_ips(service))
    except ValueError as problem:
        attempt.note("Warning", "noclusterIPsIPFamily", _no_family(service, problem))
        return attempt.untouched()
    try:
        wanted = requested_addresses(service)
    except ValueError as problem:
        text = f"invalid requested loadbalancer IPs: {problem}"
        attempt.note("Warning", "LoadBalancerFailed", text)
        return attempt.untouched()
    pool = _annotation(service, "address-pool")
    families = wanted_families(service, family)
    if not _keeps(attempt, allocator, families, wanted=wanted, pool=pool):
        allocator.release(claim.service)
        attempt.current = ()
    if attempt.current:
        _add_second(attempt, allocator, families)
    else:
        _allocate(attempt, allocator, families, wanted=wanted, pool=pool)
    return Outcome(attempt.current, allocator.pool_of(claim.service), tuple(attempt.notices))


def updated(service: Object, outcome: Outcome) -> Object | None:
    """The Service to PUT at services/status, or None when it already says so.

    Only addresses are compared: a server that adds `ipMode: VIP` must not set off a write.
    """
    annotations = dict(service["metadata"].get("annotations") or {})
    before = dict(annotations)
    annotations.pop(_OLD_POOL_ANNOTATION, None)
    annotations.pop(POOL_ANNOTATION, None)
    if outcome.pool:
        annotations[POOL_ANNOTATION] = outcome.pool
    shown = [one.get("ip", one) for one in _ingress(service)]
    wanted = [str(address) for address in outcome.addresses]
    if outcome.untouched or (annotations == before and shown == wanted):
        return None
    changed: Object = copy(service)
    changed["metadata"]["annotations"] = annotations
    balancer = {"ingress": [{"ip": text} for text in wanted]} if wanted else {}
    changed.setdefault("status", {})["loadBalancer"] = balancer
    return changed


def deprecated_annotations(service: Object) -> list[str]:
    """The input annotations still written with the old prefix."""
    annotations = service["metadata"].get("annotations") or {}
    names = [f"metallb.universe.tf/{name}" for name in _INPUTS]
    return [name for name in names if name in annotations]


def claim_of(service: Object) -> Claim:
    """What the allocator needs to know of a Service."""
    metadata, spec = service["metadata"], service.get("spec") or {}
    local = spec.get("externalTrafficPolicy") == "Local"
    selector = spec.get("selector") or {}
    return Claim(
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        ports=frozenset(
            f"{port.get('protocol', 'TCP')}/{port['port']}" for port in spec.get("ports") or ()
        ),
        sharing=_annotation(service, "allow-shared-ip"),
        backend=",".join(f"{key}={selector[key]}" for key in sorted(selector)) if local else "",
        labels=metadata.get("labels") or {},
    )


def ingress_addresses(service: Object) -> tuple[Address, ...]:
    """The parsable addresses of `status.loadBalancer.ingress`, in their order."""
    parsed = (parse_address(str(one.get("ip") or "")) for one in _ingress(service))
    return tuple(address for address in parsed if address is not None)


def cluster_ips(service: Object) -> tuple[Address, ...]:
    """The parsed cluster addresses; `None` (headless) is none."""
    spec = service.get("spec") or {}
    texts = spec.get("clusterIPs") or [spec.get("clusterIP") or ""]
    parsed = (parse_address(text) for text in texts)
    return tuple(address for address in parsed if address is not None)


def requested_addresses(service: Object) -> tuple[Address, ...]:
    """What annotation or `spec.loadBalancerIP` ask for.  Raises ValueError if that is not readable."""
    listed = _annotation(service, "loadBalancerIPs")
    single = (service.get("spec") or {}).get("loadBalancerIP") or ""
    if listed and single:
        raise ValueError(
            "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP"
        )
    if not listed and not single:
        return ()
    parsed = [parse_address(text.strip()) for text in (listed or single).split(",")]
    addresses = tuple(address for address in parsed if address is not None)
    if len(addresses) != len(parsed) or (single and len(addresses) != 1):
        what = (
            f'metallb.io/loadBalancerIPs: "{listed}"'
            if listed
            else f'spec.loadBalancerIP "{single}"'
        )
        raise ValueError(f"invalid {what}")
    family_of(addresses)
    return addresses


def wanted_families(service: Object, family: Family) -> tuple[Family, ...]:
    """What to look for, best first; PreferDualStack falls back to one family, the primary one first."""
    spec = service.get("spec") or {}
    if family is not Family.DUAL or spec.get("ipFamilyPolicy") != "PreferDualStack":
        return (family,)
    ipv6_first = (spec.get("ipFamilies") or [""])[0] == "IPv6"
    singles = (Family.IPV6, Family.IPV4) if ipv6_first else (Family.IPV4, Family.IPV6)
    return (Family.DUAL, *singles)


def _balanced(service: Object) -> bool:
    spec = service.get("spec") or {}
    has_address = bool(spec.get("clusterIPs") or spec.get("clusterIP"))
    return spec.get("type") == "LoadBalancer" and has_address


def _keeps(
    attempt: _Attempt,
    allocator: Allocator,
    families: Sequence[Family],
    *,
    wanted: Sequence[Address],
    pool: str,
) -> bool:
    """Whether the addresses in the status stay: right family, allowed, and what the user asks for."""
    if not attempt.current:
        return False
    try:
        fits = family_of(attempt.current) in families
    except ValueError as problem:
        text = f"Failed to retrieve LBIPs IPFamily for {quoted(attempt.current)}: {problem}"
        attempt.note("Warning", "nolbIPsIPFamily", text)
        return False
    if not fits:
        return False
    claim = attempt.claim
    try:
        allocator.assign(claim, attempt.current)
    except Refused as reason:
        text = (
            f'current IP for "{claim.service}" not allowed by config, '
            f"will attempt for new IP assignment: {reason}"
        )
        attempt.note("Normal", "ClearAssignment", text)
        return False
    if pool and allocator.pool_of(claim.service) != pool:
        return False
    return not wanted or set(wanted) == set(attempt.current)


def _add_second(attempt: _Attempt, allocator: Allocator, families: Sequence[Family]) -> None:
    """Under PreferDualStack one address may become two, if its own pool has the other family."""
    if len(attempt.current) != 1 or families[0] is not Family.DUAL:
        return
    try:
        second = allocator.allocate_second(attempt.claim)
    except Refused as reason:
        text = f"cannot assign additional IP in PreferDualStack: {reason}"
        attempt.note("Normal", "AdditionalAssignFailed", text)
        return
    if second is not None:
        attempt.current = (*attempt.current, second)
        attempt.note("Normal", "IPAllocated", f'Assigned additional IP "{second}"')


def _allocate(
    attempt: _Attempt,
    allocator: Allocator,
    families: Sequence[Family],
    *,
    wanted: Sequence[Address],
    pool: str,
) -> None:
    claim = attempt.claim
    try:
        if wanted:
            attempt.current = _exactly(claim, allocator, families[0], wanted=wanted, pool=pool)
        elif pool:
            attempt.current = allocator.allocate_from(claim, pool, families)
        else:
            attempt.current = allocator.allocate(claim, families)
    except Refused as reason:
        text = f'Failed to allocate IP for "{claim.service}": {reason}'
        attempt.note("Warning", "AllocationFailed", text)
        return
    attempt.note("Normal", "IPAllocated", f"Assigned IP {quoted(attempt.current)}")


def _exactly(
    claim: Claim, allocator: Allocator, family: Family, *, wanted: Sequence[Address], pool: str
) -> tuple[Address, ...]:
    if family_of(wanted) is not family:
        raise Refused(
            f"requested loadBalancer IP(s) {quoted(wanted)} does not match the ipFamily of the service"
        )
    found = allocator.assign(claim, wanted)
    if pool and found.name != pool:
        allocator.release(claim.service)
        raise Refused(
            f"requested loadBalancer IP(s) {quoted(wanted)} is not compatible with "
            f"requested address pool {pool}"
        )
    return tuple(wanted)


def _ingress(service: Object) -> list[Object]:
    balancer = (service.get("status") or {}).get("loadBalancer") or {}
    return balancer.get("ingress") or []


def _annotation(service: Object, name: str) -> str:
    """The new prefix wins where both are present, even when it is empty."""
    annotations = service["metadata"].get("annotations") or {}
    for prefix in ("metallb.io", "metallb.universe.tf"):
        if f"{prefix}/{name}" in annotations:
            return str(annotations[f"{prefix}/{name}"])
    return ""


def _no_family(service: Object, problem: ValueError) -> str:
    spec = service.get("spec") or {}
    listed = " ".join(f'"{text}"' for text in spec.get("clusterIPs") or ())
    return f"Failed to retrieve ClusterIPs IPFamily for [{listed}] {spec.get('clusterIP', '')}: {problem}"
