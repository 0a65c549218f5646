"""Warnings about Services (pkg/api/service GetWarningsForService)."""

from __future__ import annotations

import ipaddress

from todoku.api.meta import Object

_FOR_EXTERNAL_NAME = "externalName"


def warnings(new: Object, old: Object | None) -> list[str]:
    spec = new.get("spec") or {}
    found: list[str] = []
    headless = spec.get("clusterIP") == "None"
    if headless:
        if spec.get("loadBalancerIP"):
            found.append("spec.loadBalancerIP is ignored for headless services")
        if spec.get("externalIPs"):
            found.append("spec.externalIPs is ignored for headless services")
        if spec.get("sessionAffinity") not in (None, "None"):
            found.append("spec.SessionAffinity is ignored for headless services")
    for index, address in enumerate(spec.get("clusterIPs") or ()):
        if address != "None":
            found += _address(address, f"spec.clusterIPs[{index}]")
    if spec.get("externalIPs") and (
        old is None or (old.get("spec") or {}).get("externalIPs") != spec["externalIPs"]
    ):
        found.append(
            "spec.externalIPs: deprecated in v1.36; use a Service of type LoadBalancer or a Gateway instead"
        )
    for index, address in enumerate(spec.get("externalIPs") or ()):
        found += _address(address, f"spec.externalIPs[{index}]")
    if spec.get("loadBalancerIP"):
        found += _address(spec["loadBalancerIP"], "spec.loadBalancerIP")
    if spec.get("trafficDistribution") == "PreferClose":
        found.append(
            'spec.trafficDistribution: "PreferClose" is deprecated, use "PreferSameZone" instead'
        )
    if spec.get("type") == "ExternalName" or not spec.get(_FOR_EXTERNAL_NAME):
        return found
    found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    return found


def _address(text: str, path: str) -> list[str]:
    """An address that other readers could take for another."""
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return []
    if str(parsed) == text:
        return []
    shown = f'{path}: IPv6 address "{text}" is not in RFC 5952 canonical format ("{parsed}"), which may cause controller apply-loops'
    return [shown] if parsed.version == 6 else []
