"""Warnings about Services (pkg/api/service GetWarningsForService)."""

from __future__ import annotations

import ipaddress

from todoku.api.meta import Object
from todoku.api.resources.service_validation import TOPOLOGY_HINTS, TOPOLOGY_MODE
from todoku.api.validation import without_zeros


def warnings(new: Object, old: Object | None) -> list[str]:
    spec, kind = new.get("spec") or {}, (new.get("spec") or {}).get("type")
    external = spec.get("externalIPs") or ()
    found: list[str] = []
    if TOPOLOGY_HINTS in (new["metadata"].get("annotations") or {}):
        found.append(
            f"annotation {TOPOLOGY_HINTS} is deprecated, please use {TOPOLOGY_MODE} instead"
        )
    headless = kind == "ClusterIP" and spec.get("clusterIP") == "None"
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address != "None":
            found += address_warnings(address, f"spec.clusterIPs[{index}]")
    if headless:
        found += _ignored_by_headless(spec)
    for index, address in enumerate(external):
        found += address_warnings(address, f"spec.externalIPs[{index}]")
    if external and not headless and kind != "ExternalName":
        found.append(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    if spec.get("loadBalancerIP"):
        found += address_warnings(spec["loadBalancerIP"], "spec.loadBalancerIP")
    for index, network in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += network_warnings(network, f"spec.loadBalancerSourceRanges[{index}]")
    if kind == "ExternalName" and external:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def _ignored_by_headless(spec: Object) -> list[str]:
    given = (
        ("loadBalancerIP", bool(spec.get("loadBalancerIP"))),
        ("externalIPs", bool(spec.get("externalIPs"))),
        ("SessionAffinity", spec.get("sessionAffinity") != "None"),
    )
    return [f"spec.{field} is ignored for headless services" for field, one in given if one]


def address_warnings(text: str, path: str) -> list[str]:
    """An address that other readers could take for another (GetWarningsForIP)."""
    try:
        parsed = ipaddress.ip_address(without_zeros(text))
    except ValueError:
        return []
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    plain = str(mapped or parsed)
    if mapped or (parsed.version == 4 and plain != text):
        return [
            f'{path}: non-standard IP address "{text}" will be considered invalid in a future Kubernetes release:'
            f' use "{plain}"'
        ]
    if plain != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{plain}")']
    return []


def network_warnings(text: str, path: str) -> list[str]:
    """A network that other readers could take for another (GetWarningsForCIDR)."""
    address, _, length = text.partition("/")
    try:
        interface = ipaddress.ip_interface(f"{without_zeros(address)}/{length}")
    except ValueError:
        return []
    network, ip = interface.network, interface.ip
    found: list[str] = []
    if ip != network.network_address:
        found.append(
            f'{path}: CIDR value "{text}" is ambiguous in this context'
            f' (should be "{network}" or "{ip}/{ip.max_prefixlen}"?)'
        )
    mapped = isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped
    if mapped or without_zeros(address) != address:
        found.append(
            f'{path}: non-standard CIDR value "{text}" will be considered invalid in a future Kubernetes release:'
            f' use "{network}"'
        )
    if not found and ip.version == 6 and str(network) != text:
        found.append(
            f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{network}")'
        )
    return found
