"""Validation of NetworkPolicies, ServiceCIDRs and IPAddresses (pkg/apis/networking/validation)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TypeAlias

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.formats import each
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.selectors import selector_problems
from todoku.api.validation import (
    dns1123_subdomain,
    path_segment,
    port_name_problems,
    port_number,
)

_SPEC = Path("spec")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_DIRECTIONS = ("Ingress", "Egress")
_CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_FIXED = "field is immutable"

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def policy_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = selector_problems(spec.get("podSelector"), _SPEC / "podSelector")
    kept = _networks_of(old or {})
    for direction, peers in _PEERS:
        for index, rule in enumerate(spec.get(direction) or ()):
            at = _SPEC / direction / index
            for number, port in enumerate(rule.get("ports") or ()):
                problems += _port(port, at / "ports" / number)
            for number, peer in enumerate(rule.get(peers) or ()):
                problems += _peer(peer, at / peers / number, kept)
    types, path = spec.get("policyTypes") or (), _SPEC / "policyTypes"
    if len(types) > len(_DIRECTIONS):
        text = "may not specify more than two policyTypes"
        return [*problems, invalid(path, list(types), text)]
    return problems + [
        not_supported(path / index, kind, _DIRECTIONS)
        for index, kind in enumerate(types)
        if kind not in _DIRECTIONS
    ]


_PEERS = (("ingress", "from"), ("egress", "to"))


def _networks_of(policy: Object) -> set[str]:
    """All that an earlier form of a policy says of addresses; it may stay as it was written."""
    found: set[str] = set()
    for direction, peers in _PEERS:
        for rule in (policy.get("spec") or {}).get(direction) or ():
            for peer in rule.get(peers) or ():
                block = peer.get("ipBlock") or {}
                found |= {block.get("cidr") or "", *(block.get("except") or ())}
    return found


def _port(port: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if port.get("protocol") not in _PROTOCOLS:
        problems.append(not_supported(at / "protocol", port.get("protocol"), _PROTOCOLS))
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        if end is not None:
            text = "may not be specified when `port` is non-numeric"
            problems.append(invalid(at / "endPort", end, text))
        return problems + each(port_name_problems, number, at / "port")
    if number is None:
        text = "may not be specified when `port` is not specified"
        return problems + ([] if end is None else [invalid(at / "endPort", end, text)])
    problems += port_number(number, at / "port")
    if end is not None:
        if end < number:
            text = "must be greater than or equal to `port`"
            problems.append(invalid(at / "endPort", end, text))
        problems += port_number(end, at / "endPort")
    return problems


def _peer(peer: Object, at: Path, kept: set[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    given = [
        field
        for field in ("podSelector", "namespaceSelector", "ipBlock")
        if peer.get(field) is not None
    ]
    for field in given:
        if field == "ipBlock":
            problems += _block(peer[field], at / field, kept)
        else:
            problems += selector_problems(peer[field], at / field)
    if not given:
        problems.append(required(at, "must specify a peer"))
    elif "ipBlock" in given and len(given) > 1:
        problems.append(forbidden(at, "may not specify both ipBlock and another peer"))
    return problems


def _network(text: str) -> Network | None:
    """A network however it is written: with zeros in front, or an address within it."""
    address, _, length = text.partition("/")
    try:
        parsed = ipaddress.ip_network(f"{validation.without_zeros(address)}/{length}", strict=False)
    except ValueError:
        return None
    return parsed if length.isdigit() else None


def _block(block: Object, at: Path, kept: set[str]) -> list[FieldError]:
    """ValidateIPBlock, strict."""
    text = block.get("cidr") or ""
    if not text:
        return [required(at / "cidr")]
    problems = validation.cidr_problems(text, at / "cidr", kept)
    outer = _network(text)
    if outer is None:
        return problems
    for index, one in enumerate(block.get("except") or ()):
        problems += validation.cidr_problems(one, at / "except" / index, kept)
        inner = _network(one)
        if inner is not None and not _strictly_within(inner, outer):
            text = "must be a strict subset of `cidr`"
            problems.append(invalid(at / "except" / index, one, text))
    return problems


def _strictly_within(inner: Network, outer: Network) -> bool:
    if isinstance(inner, ipaddress.IPv4Network) and isinstance(outer, ipaddress.IPv4Network):
        return inner != outer and inner.subnet_of(outer)
    if isinstance(inner, ipaddress.IPv6Network) and isinstance(outer, ipaddress.IPv6Network):
        return inner != outer and inner.subnet_of(outer)
    return False


def policy_warnings(new: Object, old: Object | None) -> list[str]:
    """Networks that are written in an unusual way (GetWarningsForCIDR)."""
    spec = new.get("spec") or {}
    if old is not None and spec == (old.get("spec") or {}):
        return []
    found: list[str] = []
    for direction, peers in _PEERS:
        for index, rule in enumerate(spec.get(direction) or ()):
            for number, peer in enumerate(rule.get(peers) or ()):
                block = peer.get("ipBlock") or {}
                at = _SPEC / direction / index / peers / number / "ipBlock"
                found += _cidr_warning(block.get("cidr") or "", at / "cidr")
                for place, one in enumerate(block.get("except") or ()):
                    found += _cidr_warning(one, at / "except" / place)
    return found


def _cidr_warning(text: str, at: Path) -> list[str]:
    network = _network(text)
    if network is None:
        return []
    address = ipaddress.ip_address(validation.without_zeros(text.partition("/")[0]))
    if address != network.network_address:
        single = f"{address}/{network.max_prefixlen}"
        return [
            f'{at}: CIDR value "{text}" is ambiguous in this context (should be "{network}" or "{single}"?)'
        ]
    if network.version == 6 and str(network) != text:
        return [
            f'{at}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")'
        ]
    return []


def cidr_problems(new: Object, old: Object | None) -> list[FieldError]:
    """ServiceCIDR: one network of each family; a second one may be added later."""
    spec, path = new.get("spec") or {}, _SPEC / "cidrs"
    cidrs = spec.get("cidrs") or []
    if old is None:
        return _cidrs(spec, path)
    before = (old.get("spec") or {}).get("cidrs") or []
    if len(cidrs) == len(before):
        return [
            invalid(path / index, one, _FIXED)
            for index, (one, other) in enumerate(zip(cidrs, before, strict=True))
            if one != other
        ]
    if (len(before), len(cidrs)) != (1, 2):
        return [invalid(path, cidrs, _FIXED)]
    changed = [] if cidrs[0] == before[0] else [invalid(path / 0, cidrs[0], _FIXED)]
    return changed + _cidrs(spec, path)


def _cidrs(spec: Object, path: Path) -> list[FieldError]:
    cidrs: Sequence[str] = spec.get("cidrs") or []
    if not cidrs:
        return [required(path, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid(path, rendered(spec, "ServiceCIDRSpec"), "may only hold up to 2 values")]
    problems: list[FieldError] = []
    versions: list[int] = []
    for index, text in enumerate(cidrs):
        network = _network(text)
        if network is None:
            problems.append(invalid(path / index, text, _CIDR_TEXT))
            continue
        versions.append(network.version)
        if str(network) != text:
            shown = f'must be in canonical form ("{network}")'
            problems.append(invalid(path / index, text, shown))
    if len(versions) == 2 and versions[0] == versions[1]:
        text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        problems.append(invalid(path, list(cidrs), text))
    return problems


def address_problems(new: Object, old: Object | None) -> list[FieldError]:
    """IPAddress: what it is the address of."""
    reference, path = (new.get("spec") or {}).get("parentRef"), _SPEC / "parentRef"
    if old is not None:
        if reference == (old.get("spec") or {}).get("parentRef"):
            return []
        return [invalid(path, rendered(reference, "ParentReference"), _FIXED)]
    if reference is None:
        return [required(path)]
    problems: list[FieldError] = []
    if reference.get("group"):
        problems += each(dns1123_subdomain, reference["group"], path / "group")
    for field in ("resource", "name", "namespace"):
        value = reference.get(field) or ""
        if not value and field != "namespace":
            problems.append(required(path / field))
        problems += each(path_segment, value, path / field)
    return problems
