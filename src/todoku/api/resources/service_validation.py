"""Validation of Services (pkg/apis/core/validation ValidateService*)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.meta import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_SPEC = Path("spec")
_ADDRESS_TEXT = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """All problems of a Service; with `old`, also of the change."""
    problems = _transition(new, old) if old is not None else []
    problems += _spec_problems(new["spec"], old["spec"] if old else None)
    problems += _load_balancer_status(new, Path("status") / "loadBalancer") if old is None else []
    return problems


def validate_status(new: Object, old: Object) -> list[FieldError]:
    return _load_balancer_status(new, Path("status") / "loadBalancer")


def _spec_problems(spec: Object, before: Object | None) -> list[FieldError]:
    headless = spec.get("clusterIP") == "None"
    kind = spec.get("type") or ""
    problems: list[FieldError] = []
    if not spec.get("ports") and not headless and kind != "ExternalName":
        problems.append(required(_SPEC / "ports"))
    problems += _by_type(spec, kind, headless)
    problems += _ports(spec, headless)
    problems += validation.label_problems(spec.get("selector"), _SPEC / "selector")
    problems += _affinity(spec)
    problems += _cluster_ips(spec, before)
    problems += _families(spec, before)
    problems += _external_ips(
        spec.get("externalIPs") or (), (before or {}).get("externalIPs") or ()
    )
    if not kind:
        problems.append(required(_SPEC / "type"))
    elif kind not in TYPES:
        problems.append(not_supported(_SPEC / "type", kind, TYPES))
    problems += _node_ports(spec, kind)
    problems += _source_ranges(spec, kind)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        problems.append(forbidden(_SPEC / "allocateLoadBalancerNodePorts", text))
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        problems.append(required(_SPEC / "allocateLoadBalancerNodePorts"))
    problems += _class(spec, kind)
    problems += _traffic_policies(spec, kind)
    return problems


def _by_type(spec: Object, kind: str, headless: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    if kind in ("NodePort", "LoadBalancer") and headless:
        text = f"may not be set to 'None' for {kind} services"
        problems.append(invalid(_SPEC / "clusterIPs" / 0, "None", text))
    if kind == "ExternalName":
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(field):
                problems.append(
                    forbidden(_SPEC / field, "may not be set for ExternalName services")
                )
        name = spec.get("externalName") or ""
        if not name:
            problems.append(required(_SPEC / "externalName"))
        else:
            plain = name.removesuffix(".")
            problems += [
                invalid(_SPEC / "externalName", plain, text)
                for text in validation.dns1123_subdomain(plain)
            ]
    return problems


def _ports(spec: Object, headless: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    pairs: set[tuple[Any, Any]] = set()
    ports = spec.get("ports") or ()
    for index, port in enumerate(ports):
        at = _SPEC / "ports" / index
        problems += _port_name(port, at, names, needed=len(ports) > 1)
        problems += validation.port_number(port.get("port"), at / "port")
        problems += _protocol(port, at)
        problems += _target(port.get("targetPort"), at / "targetPort")
        if port.get("appProtocol") is not None:
            value = port["appProtocol"]
            problems += [
                invalid(at / "appProtocol", value, t)
                for t in validation.qualified_name_problems(value)
            ]
    for index, port in enumerate(ports):
        pair = (port.get("port"), port.get("protocol"))
        if pair in pairs:
            problems.append(
                duplicate(_SPEC / "ports" / index, {"port": pair[0], "protocol": pair[1]})
            )
        pairs.add(pair)
    return problems


def _port_name(port: Object, at: Path, names: set[str], *, needed: bool) -> list[FieldError]:
    name = port.get("name") or ""
    if not name:
        return [required(at / "name")] if needed else []
    problems = [invalid(at / "name", name, text) for text in validation.dns1123_label(name)]
    if name in names:
        problems.append(duplicate(at / "name", name))
    names.add(name)
    return problems


def _protocol(port: Object, at: Path) -> list[FieldError]:
    protocol = port.get("protocol") or ""
    if not protocol:
        return [required(at / "protocol")]
    return [] if protocol in PROTOCOLS else [not_supported(at / "protocol", protocol, PROTOCOLS)]


def _target(target: Any, at: Path) -> list[FieldError]:
    if isinstance(target, str):
        return [invalid(at, target, text) for text in validation.port_name_problems(target)]
    return validation.port_number(target, at)


def _affinity(spec: Object) -> list[FieldError]:
    affinity = spec.get("sessionAffinity") or ""
    at = _SPEC / "sessionAffinityConfig"
    if not affinity:
        return [required(_SPEC / "sessionAffinity")]
    if affinity not in ("ClientIP", "None"):
        return [not_supported(_SPEC / "sessionAffinity", affinity, ("ClientIP", "None"))]
    config = spec.get("sessionAffinityConfig")
    if affinity == "None":
        text = "must not be set when session affinity is None"
        return [forbidden(at, text)] if config is not None else []
    if config is None:
        return [required(at, "when session affinity type is ClientIP")]
    client = config.get("clientIP")
    if client is None or client.get("timeoutSeconds") is None:
        return [required(at / "clientIP", "when session affinity type is ClientIP")]
    seconds = client["timeoutSeconds"]
    if not 0 < seconds <= 86400:
        text = "must be greater than 0 and less than 86400"
        return [invalid(at / "clientIP" / "timeoutSeconds", seconds, text)]
    return []


def _parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _leading_zeros(text: str) -> bool:
    parts = text.split(".")
    return (
        len(parts) == 4
        and all(p.isdigit() for p in parts)
        and any(len(p) > 1 and p[0] == "0" for p in parts)
    )


def address_problems(text: str, path: Path) -> list[FieldError]:
    if _leading_zeros(text):
        return [invalid(path, text, "must not have leading 0s")]
    return [] if _parsed(text) and "%" not in text else [invalid(path, text, _ADDRESS_TEXT)]


def _cluster_ips(spec: Object, before: Object | None) -> list[FieldError]:
    """validateServiceClusterIPs."""
    at = _SPEC / "clusterIPs"
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if spec.get("type") == "ExternalName":
        return []
    problems: list[FieldError] = []
    if not single and plural:
        problems.append(invalid(at, plural, "must be empty when `clusterIP` is not specified"))
        return problems
    if plural and plural[0] != single:
        problems.append(invalid(at, plural, "first value must match `clusterIP`"))
    if not problems and len(plural) > 1 and "None" in plural:
        problems.append(invalid(at, plural, "'None' must be the first and only value"))
    kept = set((before or {}).get("clusterIPs") or ())
    if "None" not in plural:
        for index, text in enumerate(plural):
            if text not in kept:
                problems += address_problems(text, at / index)
    if len(plural) > 2:
        problems.append(invalid(at, plural, "may only hold up to 2 values"))
    versions = [one.version for text in plural if (one := _parsed(text))]
    if len(versions) != len(set(versions)):
        problems.append(invalid(at, plural, "may specify no more than one IP for each IP family"))
    problems += _family_match(plural, spec.get("ipFamilies") or (), at)
    return problems


def _family_match(addresses: Sequence[str], families: Sequence[str], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, (text, family) in enumerate(zip(addresses, families, strict=False)):
        parsed = _parsed(text)
        if parsed and family in ("IPv4", "IPv6") and f"IPv{parsed.version}" != family:
            shown = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            problems.append(invalid(at / index, text, shown))
    return problems


_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")


def _families(spec: Object, before: Object | None) -> list[FieldError]:
    """What does not depend on the cluster's families (the allocator knows these)."""
    problems: list[FieldError] = []
    if spec.get("type") == "ExternalName":
        return problems
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        problems.append(not_supported(_SPEC / "ipFamilyPolicy", policy, _POLICIES))
    seen: set[str] = set()
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        at = _SPEC / "ipFamilies" / index
        if family not in ("IPv4", "IPv6"):
            problems.append(not_supported(at, family, ("IPv4", "IPv6")))
        if family in seen:
            problems.append(duplicate(at, family))
        seen.add(family)
    if policy == "SingleStack" and (
        before is None or before.get("ipFamilyPolicy") in (None, "SingleStack")
    ):
        needed = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
        if len(spec.get("clusterIPs") or ()) > 1:
            problems.append(invalid(_SPEC / "ipFamilyPolicy", policy, needed.format("cluster IPs")))
        elif len(spec.get("ipFamilies") or ()) > 1:
            problems.append(invalid(_SPEC / "ipFamilyPolicy", policy, needed.format("IP families")))
    return problems


def _external_ips(addresses: Sequence[str], kept: Sequence[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, text in enumerate(addresses):
        at = _SPEC / "externalIPs" / index
        found = [] if text in kept else address_problems(text, at)
        problems += found or special_address_problems(text, at)
    return problems


def special_address_problems(text: str, path: Path) -> list[FieldError]:
    """Addresses that can lead nowhere (ValidateNonSpecialIP)."""
    parsed = _parsed(text)
    if parsed is None:
        return []
    problems: list[FieldError] = []
    if parsed.is_unspecified:
        problems.append(invalid(path, text, f"may not be unspecified ({text})"))
    if parsed.is_loopback:
        problems.append(
            invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
        )
    if parsed.is_link_local:
        problems.append(
            invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
        )
    if parsed.is_multicast and (parsed.version == 6 or text.startswith("224.0.0.")):
        shown = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        problems.append(invalid(path, text, shown))
    return problems


def _node_ports(spec: Object, kind: str) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        node = port.get("nodePort")
        at = _SPEC / "ports" / index / "nodePort"
        if not node:
            continue
        if kind in ("ClusterIP", "ExternalName"):
            problems.append(forbidden(at, f"may not be used when `type` is '{kind}'"))
            continue
        pair = (port.get("protocol"), node)
        if pair in seen:
            problems.append(duplicate(at, node))
        seen.add(pair)
    return problems


def _source_ranges(spec: Object, kind: str) -> list[FieldError]:
    ranges = spec.get("loadBalancerSourceRanges") or ()
    at = _SPEC / "LoadBalancerSourceRanges"
    if ranges and kind != "LoadBalancer":
        return [forbidden(at, "may only be used when `type` is 'LoadBalancer'")]
    problems: list[FieldError] = []
    for index, text in enumerate(ranges):
        try:
            ipaddress.ip_network(text.strip(), strict=False)
            valid = "/" in text
        except ValueError:
            valid = False
        if not valid:
            shown = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            problems.append(invalid(at / index, text, shown))
    return problems


def _class(spec: Object, kind: str) -> list[FieldError]:
    value = spec.get("loadBalancerClass")
    if value is None:
        return []
    at = _SPEC / "loadBalancerClass"
    if kind != "LoadBalancer":
        return [forbidden(at, "may only be used when `type` is 'LoadBalancer'")]
    return [invalid(at, value, text) for text in validation.qualified_name_problems(value)]


def _traffic_policies(spec: Object, kind: str) -> list[FieldError]:
    external = kind in ("NodePort", "LoadBalancer") or (
        kind == "ClusterIP" and bool(spec.get("externalIPs"))
    )
    problems: list[FieldError] = []
    policy, at = spec.get("externalTrafficPolicy") or "", _SPEC / "externalTrafficPolicy"
    if not external and policy:
        problems.append(invalid(at, policy, "may only be set for externally-accessible services"))
    elif external and not policy:
        problems.append(required(at, "for externally-accessible services"))
    elif external and policy not in ("Cluster", "Local"):
        problems.append(not_supported(at, policy, ("Cluster", "Local")))
    problems += _health_check_port(spec, kind)
    inside = spec.get("internalTrafficPolicy")
    if kind == "ExternalName":
        pass
    elif inside is None:
        problems.append(required(_SPEC / "internalTrafficPolicy"))
    elif inside not in ("Cluster", "Local"):
        problems.append(
            not_supported(_SPEC / "internalTrafficPolicy", inside, ("Cluster", "Local"))
        )
    spread = spec.get("trafficDistribution")
    supported = ("PreferClose", "PreferSameNode", "PreferSameZone")
    if spread is not None and spread not in supported:
        problems.append(not_supported(_SPEC / "trafficDistribution", spread, supported))
    return problems


def _health_check_port(spec: Object, kind: str) -> list[FieldError]:
    port, at = spec.get("healthCheckNodePort") or 0, _SPEC / "healthCheckNodePort"
    needs = kind == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"
    if port and not needs:
        text = (
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        )
        return [invalid(at, port, text)]
    return validation.port_number(port, at) if port else []


def _transition(new: Object, old: Object) -> list[FieldError]:
    """What may not change (ValidateServiceUpdate)."""
    spec, before = new["spec"], old["spec"]
    problems: list[FieldError] = []
    was, now = before.get("type"), spec.get("type")
    if was != "ExternalName" and now != "ExternalName":
        problems += _address_change(spec, before)
    if was == now == "LoadBalancer" and spec.get("loadBalancerClass") != before.get(
        "loadBalancerClass"
    ):
        text = "may not change once set"
        problems.append(invalid(_SPEC / "loadBalancerClass", spec.get("loadBalancerClass"), text))
    needs = [
        one.get("type") == "LoadBalancer" and one.get("externalTrafficPolicy") == "Local"
        for one in (spec, before)
    ]
    if all(needs) and spec.get("healthCheckNodePort", 0) != before.get("healthCheckNodePort", 0):
        problems.append(forbidden(_SPEC / "healthCheckNodePort", "field is immutable"))
    return problems


def _address_change(spec: Object, before: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    old_ips, new_ips = before.get("clusterIPs") or [], spec.get("clusterIPs") or []
    at = _SPEC / "clusterIPs"
    if old_ips:
        if not new_ips:
            problems.append(invalid(at / 0, new_ips, "primary clusterIP can not be unset"))
        elif old_ips[0] != new_ips[0]:
            problems.append(invalid(at / 0, new_ips, "may not change once set"))
        problems += _secondary_change(spec, old_ips, new_ips, at)
    old_families, new_families = before.get("ipFamilies") or [], spec.get("ipFamilies") or []
    if old_families and new_families and old_families[0] != new_families[0]:
        problems.append(
            invalid(_SPEC / "ipFamilies" / 0, new_families[0], "may not change once set")
        )
    elif old_families and not new_families:
        problems.append(
            invalid(_SPEC / "ipFamilies" / 0, new_families, "primary ipFamily can not be unset")
        )
    return problems


def _secondary_change(spec: Object, old: list[str], new: list[str], at: Path) -> list[FieldError]:
    if len(old) < 2:
        return []
    if len(new) < 2:
        if spec.get("ipFamilyPolicy") != "SingleStack":
            text = "must be 'SingleStack' to release the secondary cluster IP"
            return [invalid(_SPEC / "ipFamilyPolicy", spec.get("ipFamilyPolicy"), text)]
    elif old[1] != new[1]:
        return [invalid(at / 1, new, "may not change once set")]
    return []


def _load_balancer_status(service: Object, path: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    status = (service.get("status") or {}).get("loadBalancer") or {}
    ingress = status.get("ingress") or ()
    if ingress and (service.get("spec") or {}).get("type") != "LoadBalancer":
        text = 'may only be used when `spec.type` is "LoadBalancer"'
        problems.append(forbidden(path / "ingress", text))
    for index, one in enumerate(ingress):
        at = path / "ingress" / index
        if one.get("ip"):
            problems += address_problems(one["ip"], at / "ip")
        mode = one.get("ipMode")
        if one.get("ip") and mode is None:
            problems.append(required(at / "ipMode", "must be specified when `ip` is set"))
        elif not one.get("ip") and mode is not None:
            problems.append(forbidden(at / "ipMode", "may not be specified when `ip` is not set"))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            problems.append(not_supported(at / "ipMode", mode, ("Proxy", "VIP")))
        if one.get("hostname"):
            problems += [
                invalid(at / "hostname", one["hostname"], t)
                for t in validation.dns1123_subdomain(one["hostname"])
            ]
            if _parsed(one["hostname"]):
                problems.append(
                    invalid(
                        at / "hostname", one["hostname"], "must be a DNS name, not an IP address"
                    )
                )
    return problems
