"""Validation of Services (pkg/apis/core/validation ValidateService*)."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Sequence
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
from todoku.api.internals import or_null, rendered
from todoku.api.meta import Object
from todoku.api.validation import address_problems, cidr_problems, family_of, without_zeros

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS = ("SCTP", "TCP", "UDP")
_SPEC = Path("spec")
TOPOLOGY_HINTS = "service.kubernetes.io/topology-aware-hints"
TOPOLOGY_MODE = "service.kubernetes.io/topology-mode"
SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"


def validate(new: Object, old: Object | None) -> list[FieldError]:
    """All problems of a Service; with `old`, also of the change."""
    before = old["spec"] if old else {}
    problems = _transition(new["spec"], before) if old is not None else []
    problems += _topology(new["metadata"].get("annotations") or {})
    return problems + _spec_problems(new, before)


def validate_status(new: Object, old: Object) -> list[FieldError]:
    kept = [one["ip"] for one in ingress_of(old) if one.get("ip")]
    return _load_balancer_status(new, Path("status") / "loadBalancer", kept)


def _topology(annotations: Object) -> list[FieldError]:
    mode, hints = annotations.get(TOPOLOGY_MODE), annotations.get(TOPOLOGY_HINTS)
    if mode is None or hints is None or mode == hints:
        return []
    text = f"must match annotations[{TOPOLOGY_HINTS}] when both are specified"
    return [invalid((Path("metadata") / "annotations").key(TOPOLOGY_MODE), mode, text)]


def _spec_problems(service: Object, before: Object) -> list[FieldError]:
    spec = service["spec"]
    kind = spec.get("type") or ""
    problems: list[FieldError] = []
    if not spec.get("ports") and not headless(spec) and kind != "ExternalName":
        problems.append(required(_SPEC / "ports"))
    problems += _by_type(spec, kind)
    problems += _ports(spec)
    problems += validation.label_problems(spec.get("selector"), _SPEC / "selector")
    problems += _affinity(spec)
    problems += family_problems(spec, before)
    problems += _external_ips(
        spec.get("externalIPs") or (), frozenset(before.get("externalIPs") or ())
    )
    if not kind:
        problems.append(required(_SPEC / "type"))
    elif kind not in TYPES:
        problems.append(not_supported(_SPEC / "type", kind, TYPES))
    problems += _node_ports(spec, kind)
    problems += _same_ports(spec)
    problems += _source_ranges(
        service, kind, frozenset(before.get("loadBalancerSourceRanges") or ())
    )
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        text = "may only be used when `type` is 'LoadBalancer'"
        problems.append(forbidden(_SPEC / "allocateLoadBalancerNodePorts", text))
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        problems.append(required(Path("allocateLoadBalancerNodePorts")))
    problems += _class(spec, kind)
    problems += _traffic_policies(spec, kind)
    return problems


def headless(spec: Object) -> bool:
    return spec.get("clusterIPs") == ["None"]


def _by_type(spec: Object, kind: str) -> list[FieldError]:
    problems: list[FieldError] = []
    if kind in ("NodePort", "LoadBalancer") and headless(spec):
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


def _ports(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
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
    return problems


def _same_ports(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    pairs: set[tuple[Any, Any]] = set()
    for index, port in enumerate(spec.get("ports") or ()):
        pair = (port.get("port"), port.get("protocol"))
        if pair in pairs:
            shown = rendered({"port": pair[0], "protocol": pair[1]}, "ServicePort")
            problems.append(duplicate(_SPEC / "ports" / index, shown))
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
    if client is None:
        return [required(at / "clientIP", "when session affinity type is ClientIP")]
    seconds = client.get("timeoutSeconds")
    if seconds is None:
        text = "when session affinity type is ClientIP"
        return [required(at / "clientIP" / "timeoutSeconds", text)]
    if not 0 < seconds <= 86400:
        text = "must be greater than 0 and less than 86400"
        return [invalid(at / "clientIP" / "timeoutSeconds", seconds, text)]
    return []


def family_problems(spec: Object, before: Object) -> list[FieldError]:
    """What addresses and families can be without knowing the cluster's (ValidateServiceClusterIPsRelatedFields)."""
    if spec.get("type") == "ExternalName":
        return []
    at = _SPEC / "clusterIPs"
    single, plural = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    problems: list[FieldError] = []
    if single and not plural:
        problems.append(required(at))
    elif single and plural[0] != single:
        problems.append(invalid(at, plural, "first value must match `clusterIP`"))
    elif not single and plural:
        problems.append(invalid(at, plural, "must be empty when `clusterIP` is not specified"))
    problems += _families(spec)
    found = _clashing_none(plural, at)
    for index, text in enumerate(plural):
        if index or text != "None":
            found += address_problems(text, at / index, before.get("clusterIPs") or ())
    problems += found
    if len(plural) > 2:
        problems.append(invalid(at, plural, "may only hold up to 2 values"))
    if found:
        return problems
    if len(plural) > 1 and {family_of(one) for one in plural} != {4, 6}:
        problems.append(invalid(at, plural, "may specify no more than one IP for each IP family"))
    if not headless(spec):
        problems += _family_match(plural, spec.get("ipFamilies") or (), at)
    return problems


def _clashing_none(addresses: Sequence[str], at: Path) -> list[FieldError]:
    if len(addresses) > 1 and addresses[0] == "None":
        return [invalid(at, addresses, "'None' must be the first and only value")]
    return []


def _family_match(addresses: Sequence[str], families: Sequence[str], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, (text, family) in enumerate(zip(addresses, families, strict=False)):
        if family in ("IPv4", "IPv6") and f"IPv{family_of(text)}" != family:
            shown = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            problems.append(invalid(at / index, text, shown))
    return problems


_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")


def _families(spec: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        at = _SPEC / "ipFamilies" / index
        if family not in ("IPv4", "IPv6"):
            problems.append(not_supported(at, family, ("IPv4", "IPv6")))
        if family in seen:
            problems.append(duplicate(at, family))
        seen.add(family)
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _POLICIES:
        problems.append(not_supported(_SPEC / "ipFamilyPolicy", policy, _POLICIES))
    return problems


def _external_ips(addresses: Sequence[str], kept: Collection[str]) -> list[FieldError]:
    problems: list[FieldError] = []
    for index, text in enumerate(addresses):
        at = _SPEC / "externalIPs" / index
        problems += address_problems(text, at, kept) or special_address_problems(text, at)
    return problems


def special_address_problems(text: str, path: Path) -> list[FieldError]:
    """Addresses that can lead nowhere (ValidateNonSpecialIP)."""
    try:
        parsed = ipaddress.ip_address(without_zeros(text))
    except ValueError:
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
    ports = [
        (_SPEC / "ports" / index / "nodePort", port)
        for index, port in enumerate(spec.get("ports") or ())
        if port.get("nodePort")
    ]
    problems: list[FieldError] = []
    if kind == "ClusterIP":
        problems += [forbidden(at, "may not be used when `type` is 'ClusterIP'") for at, _ in ports]
    seen: set[tuple[Any, Any]] = set()
    for at, port in ports:
        pair = (port.get("protocol"), port["nodePort"])
        if pair in seen:
            problems.append(duplicate(at, port["nodePort"]))
        seen.add(pair)
    return problems


def _source_ranges(service: Object, kind: str, kept: Collection[str]) -> list[FieldError]:
    """Of the field, or else of the annotation that was before it."""
    ranges = service["spec"].get("loadBalancerSourceRanges") or ()
    annotation = (service["metadata"].get("annotations") or {}).get(SOURCE_RANGES)
    if ranges:
        at = _SPEC / "LoadBalancerSourceRanges"
        places = [(at / index, one) for index, one in enumerate(ranges)]
    elif annotation is not None:
        at = (Path("metadata") / "annotations").key(SOURCE_RANGES)
        places = [(at, one) for one in annotation.split(",")] if annotation.strip() else []
    else:
        return []
    problems: list[FieldError] = []
    if kind != "LoadBalancer":
        problems.append(forbidden(at, "may only be used when `type` is 'LoadBalancer'"))
    for place, text in places:
        problems += [] if text in kept else cidr_problems(text.strip(), place)
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
        problems.append(required(at))
    elif external and policy not in ("Cluster", "Local"):
        problems.append(not_supported(at, policy, ("Cluster", "Local")))
    problems += _health_check_port(spec, kind)
    inside = spec.get("internalTrafficPolicy")
    if inside is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
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
    if needs and not port:
        return [required(at)]
    return validation.port_number(port, at) if port else []


def _transition(spec: Object, before: Object) -> list[FieldError]:
    """What may not change (ValidateServiceUpdate)."""
    was, now = before.get("type"), spec.get("type")
    problems = address_changes(spec, before)
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


_CHANGED = "may not change once set"


def address_changes(spec: Object, before: Object) -> list[FieldError]:
    """Second addresses and families come and go; what is there stays as it is."""
    if "ExternalName" in (spec.get("type"), before.get("type")):
        return []
    was_headless, is_headless = headless(before), headless(spec)
    problems: list[FieldError] = []
    if not (was_headless and is_headless):
        problems += _changed_addresses(spec, before)
    if not was_headless and not is_headless:
        problems += _changed_families(spec, before)
    return problems


def _changed_addresses(spec: Object, before: Object) -> list[FieldError]:
    was, now, at = (
        before.get("clusterIPs") or [],
        spec.get("clusterIPs") or [],
        _SPEC / "clusterIPs",
    )
    if len(was) == len(now):
        pairs = enumerate(zip(was, now, strict=True))
        return [invalid(at / index, now, _CHANGED) for index, (a, b) in pairs if a != b]
    problems: list[FieldError] = []
    if not now:
        problems.append(invalid(at / 0, or_null(None), "primary clusterIP can not be unset"))
    if was and now and was[0] != now[0]:
        problems.append(invalid(at / 0, now, _CHANGED))
    if len(was) > len(now) == 1:
        problems += _kept_policy(spec, "clusterIP")
    return problems


def _kept_policy(spec: Object, what: str) -> list[FieldError]:
    policy = spec.get("ipFamilyPolicy")
    if policy == "SingleStack":
        return []
    text = f"must be set to 'SingleStack' when releasing the secondary {what}"
    return [invalid(_SPEC / "ipFamilyPolicy", policy, text)]


def _changed_families(spec: Object, before: Object) -> list[FieldError]:
    was, now = before.get("ipFamilies") or [], spec.get("ipFamilies") or []
    at = _SPEC / "ipFamilies" / 0
    addresses = or_null(spec.get("clusterIPs"))
    if len(was) == len(now):
        return [invalid(at, now, _CHANGED) for a, b in zip(was, now, strict=True) if a != b]
    problems: list[FieldError] = []
    if len(was) > len(now) and not spec.get("clusterIPs"):
        text = "primary ipFamily can not be unset"
        problems.append(invalid(at, or_null(spec.get("ipFamilies")), text))
    if was and now and was[0] != now[0]:
        problems.append(invalid(at, addresses, _CHANGED))
    if len(was) > len(now) == 1:
        problems += _kept_policy(spec, "ipFamily")
    return problems


def ingress_of(service: Object) -> list[Object]:
    return ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []


def _load_balancer_status(service: Object, path: Path, kept: Sequence[str]) -> list[FieldError]:
    ingress = ingress_of(service)
    if ingress and (service.get("spec") or {}).get("type") != "LoadBalancer":
        text = "may only be used when `spec.type` is 'LoadBalancer'"
        return [forbidden(path / "ingress", text)]
    problems: list[FieldError] = []
    for index, one in enumerate(ingress):
        at = path / "ingress" / index
        if one.get("ip"):
            problems += address_problems(one["ip"], at / "ip", kept)
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
            if family_of(one["hostname"]):
                problems.append(
                    invalid(
                        at / "hostname", one["hostname"], "must be a DNS name, not an IP address"
                    )
                )
    return problems
