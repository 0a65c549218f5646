"""Ingress, IngressClass, NetworkPolicy, ServiceCIDR and IPAddress (networking.k8s.io/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.podspec.containers import PROTOCOLS
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import load_balancer_addresses, selector_cell
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

_SPEC = Path("spec")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_CIDR_TEXT = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def _validate_ingress(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        text = "either `defaultBackend` or `rules` must be specified"
        problems.append(invalid(_SPEC, spec, text))
    if spec.get("defaultBackend") is not None:
        problems += _backend(spec["defaultBackend"], _SPEC / "defaultBackend")
    for index, rule in enumerate(spec.get("rules") or ()):
        problems += _ingress_rule(rule, _SPEC / "rules" / index)
    for index, one in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(one.get("hosts") or ()):
            problems += _host(host, _SPEC / "tls" / index / "hosts" / number)
    if spec.get("ingressClassName") is not None:
        name = spec["ingressClassName"]
        problems += [
            invalid(_SPEC / "ingressClassName", name, t) for t in validation.dns1123_subdomain(name)
        ]
    return problems


def _host(host: str, at: Path) -> list[FieldError]:
    plain = host.removeprefix("*.") if host.startswith("*") else host
    return [invalid(at, host, text) for text in validation.dns1123_subdomain(plain)]


def _ingress_rule(rule: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if host := rule.get("host"):
        try:
            ipaddress.ip_address(host)
            problems.append(invalid(at / "host", host, "must be a DNS name, not an IP address"))
        except ValueError:
            problems += _host(host, at / "host")
    if rule.get("http") is not None:
        paths = rule["http"].get("paths") or ()
        if not paths:
            problems.append(required(at / "http" / "paths"))
        for index, one in enumerate(paths):
            problems += _ingress_path(one, at / "http" / "paths" / index)
    return problems


def _ingress_path(one: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    kind, path = one.get("pathType"), one.get("path") or ""
    if kind is None:
        problems.append(required(at / "pathType", "pathType must be specified"))
    elif kind not in _PATH_TYPES:
        problems.append(not_supported(at / "pathType", kind, _PATH_TYPES))
    elif kind in ("Exact", "Prefix") and not path.startswith("/"):
        problems.append(invalid(at / "path", path, "must be an absolute path"))
    elif kind in ("Exact", "Prefix"):
        for part in ("//", "/./", "/../", "%2f", "%2F"):
            if part in path:
                problems.append(invalid(at / "path", path, f"must not contain '{part}'"))
    elif path and not path.startswith("/"):
        problems.append(invalid(at / "path", path, "must be an absolute path"))
    return problems + _backend(one.get("backend") or {}, at / "backend")


def _backend(backend: Object, at: Path) -> list[FieldError]:
    service, resource = backend.get("service"), backend.get("resource")
    if (service is None) == (resource is None):
        if service is None:
            return [required(at, "resource or service backend is required")]
        return [invalid(at, "", "cannot set both resource and service backends")]
    if service is None:
        return []
    problems: list[FieldError] = []
    if not service.get("name"):
        problems.append(required(at / "service" / "name"))
    port = service.get("port") or {}
    if port.get("name") and port.get("number"):
        problems.append(invalid(at, "", "cannot set both port name & port number"))
    elif not port.get("name") and not port.get("number"):
        problems.append(required(at, "port name or number is required"))
    elif port.get("number"):
        problems += validation.port_number(port["number"], at / "service" / "port" / "number")
    return problems


def _ingress_address(obj: Object) -> str:
    found = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return ",".join(load_balancer_addresses(found))


def _hosts(rules: Sequence[Object]) -> str:
    """Three hosts; of a rule after the third it is only said that there are more, host or not."""
    shown: list[str] = []
    more = False
    for rule in rules:
        more = more or len(shown) == 3
        if rule.get("host") and not more:
            shown.append(rule["host"])
    return (",".join(shown) or "*") + (f" + {len(rules) - 3} more..." if more else "")


def _ingress_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    return [
        obj["metadata"]["name"],
        spec.get("ingressClassName") or "<none>",
        _hosts(spec.get("rules") or ()),
        _ingress_address(obj),
        "80, 443" if spec.get("tls") else "80",
        created(obj),
    ]


INGRESS = Rules(
    strategy=Strategy(
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_ingress,
    ),
    columns=(
        NAME,
        Column(
            name="Class",
            description="The name of the IngressClass resource that should be used for additional configuration",
        ),
        Column(
            name="Hosts",
            description="Hosts that incoming requests are matched against before the ingress rule",
        ),
        Column(
            name="Address",
            description="Address is a list containing ingress points for the load-balancer",
        ),
        Column(name="Ports", description="Ports of TLS configurations that open"),
        AGE,
    ),
    row=_ingress_row,
)


def _default_class(obj: Object) -> None:
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _validate_class(new: Object, old: Object | None) -> list[FieldError]:
    controller = (new.get("spec") or {}).get("controller") or ""
    problems: list[FieldError] = []
    if old is not None:
        before = (old.get("spec") or {}).get("controller")
        problems += validation.immutable(controller, before, _SPEC / "controller")
    if not controller:
        problems.append(required(_SPEC / "controller"))
    elif "/" not in controller:
        text = 'must be a domain-prefixed path (such as "acme.io/foo")'
        problems.append(invalid(_SPEC / "controller", controller, text))
    return problems


def _class_row(obj: Object) -> list[object]:
    spec = obj.get("spec") or {}
    parameters = spec.get("parameters")
    shown = "<none>"
    if parameters:
        group = f".{parameters['apiGroup']}" if parameters.get("apiGroup") else ""
        shown = f"{parameters.get('kind', '')}{group}/{parameters.get('name', '')}"
    return [obj["metadata"]["name"], spec.get("controller", ""), shown, created(obj)]


INGRESS_CLASS = Rules(
    strategy=Strategy(default=_default_class, validate=_validate_class, has_status=False),
    columns=(
        NAME,
        Column(
            name="Controller", description="Controller that is responsible for handling this class"
        ),
        Column(
            name="Parameters", description="A reference to a resource with additional parameters"
        ),
        AGE,
    ),
    row=_class_row,
)


def _default_policy(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("podSelector") is None:
        spec["podSelector"] = {}
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                if port.get("protocol") is None:
                    port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def _validate_policy(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = selector_problems(spec.get("podSelector"), _SPEC / "podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = _SPEC / direction / index
            for number, port in enumerate(rule.get("ports") or ()):
                problems += _policy_port(port, at / "ports" / number)
            for number, peer in enumerate(rule.get(peers) or ()):
                problems += _peer(peer, at / peers / number)
    types = spec.get("policyTypes") or ()
    if len(types) > 2:
        text = "may not specify more than two policyTypes"
        problems.append(invalid(_SPEC / "policyTypes", list(types), text))
    for index, kind in enumerate(types):
        if kind not in ("Egress", "Ingress"):
            problems.append(
                not_supported(_SPEC / "policyTypes" / index, kind, ("Egress", "Ingress"))
            )
    return problems


def _policy_port(port: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if port.get("protocol") not in PROTOCOLS:
        problems.append(not_supported(at / "protocol", port.get("protocol"), PROTOCOLS))
    number, end = port.get("port"), port.get("endPort")
    if isinstance(number, str):
        if end is not None:
            text = "may not be specified when `port` is non-numeric"
            problems.append(forbidden(at / "endPort", text))
        problems += [
            invalid(at / "port", number, text) for text in validation.port_name_problems(number)
        ]
    elif number is not None:
        problems += validation.port_number(number, at / "port")
        if end is not None:
            if end < number:
                text = "must be greater than or equal to `port`"
                problems.append(invalid(at / "endPort", end, text))
            problems += validation.port_number(end, at / "endPort")
    elif end is not None:
        problems.append(
            forbidden(at / "endPort", "may not be specified when `port` is not specified")
        )
    return problems


def _peer(peer: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in ("podSelector", "namespaceSelector"):
        if peer.get(field) is not None:
            problems += selector_problems(peer[field], at / field)
    block = peer.get("ipBlock")
    if block is not None:
        problems += _block(block, at / "ipBlock")
    given = [
        field
        for field in ("podSelector", "namespaceSelector", "ipBlock")
        if peer.get(field) is not None
    ]
    if not given:
        problems.append(required(at, "must specify a peer"))
    elif block is not None and len(given) > 1:
        problems.append(forbidden(at, "may not specify both ipBlock and another peer"))
    return problems


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None


def _block(block: Object, at: Path) -> list[FieldError]:
    text = block.get("cidr") or ""
    if not text:
        return [required(at / "cidr")]
    outer = _network(text)
    if outer is None:
        return [invalid(at / "cidr", text, _CIDR_TEXT)]
    problems: list[FieldError] = []
    for index, one in enumerate(block.get("except") or ()):
        inner = _network(one)
        if inner is None:
            problems.append(invalid(at / "except" / index, one, _CIDR_TEXT))
        elif inner.version != outer.version or not inner.subnet_of(outer) or inner == outer:  # type: ignore[arg-type]
            text = "must be a strict subset of `cidr`"
            problems.append(invalid(at / "except" / index, one, text))
    return problems


NETWORK_POLICY = Rules(
    strategy=Strategy(default=_default_policy, validate=_validate_policy, has_status=False),
    columns=(
        NAME,
        Column(name="Pod-Selector", documents="networking.v1.NetworkPolicySpec.podSelector"),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        selector_cell((obj.get("spec") or {}).get("podSelector")),
        created(obj),
    ],
)


def _validate_cidrs(new: Object, old: Object | None) -> list[FieldError]:
    cidrs = (new.get("spec") or {}).get("cidrs") or []
    path = _SPEC / "cidrs"
    if not cidrs:
        return [required(path, "at least one CIDR required")]
    if len(cidrs) > 2:
        return [invalid(path, cidrs, "may only hold up to 2 values")]
    problems = _cidr_values(cidrs, path)
    if old is not None:
        problems += _cidr_change(cidrs, (old.get("spec") or {}).get("cidrs") or [], path)
    return problems


def _cidr_values(cidrs: Sequence[str], path: Path) -> list[FieldError]:
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


def _cidr_change(cidrs: Sequence[str], before: Sequence[str], path: Path) -> list[FieldError]:
    if len(cidrs) < len(before):
        return [invalid(path, list(cidrs), "field is immutable")]
    for index, text in enumerate(before):
        if cidrs[index] != text:
            return [invalid(path / index, cidrs[index], "field is immutable")]
    return []


SERVICE_CIDR = Rules(
    strategy=Strategy(
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_cidrs,
        has_generation=False,
    ),
    columns=(NAME, Column(name="CIDRs", documents="networking.v1.ServiceCIDRSpec.cidrs"), AGE),
    row=lambda obj: [
        obj["metadata"]["name"],
        ",".join((obj.get("spec") or {}).get("cidrs") or ()),
        created(obj),
    ],
)


def _validate_address(new: Object, old: Object | None) -> list[FieldError]:
    reference = (new.get("spec") or {}).get("parentRef")
    path = _SPEC / "parentRef"
    if reference is None:
        return [required(path)]
    problems = [
        required(path / field) for field in ("resource", "name") if not reference.get(field)
    ]
    if old is not None:
        problems += validation.immutable(reference, (old.get("spec") or {}).get("parentRef"), path)
    return problems


def _address_row(obj: Object) -> list[object]:
    reference = (obj.get("spec") or {}).get("parentRef") or {}
    if not reference:
        return [obj["metadata"]["name"], "<none>"]
    parts = [reference.get("resource", "")]
    if reference.get("group"):
        parts[0] = f"{parts[0]}.{reference['group']}"
    parts += [one for one in (reference.get("namespace"), reference.get("name")) if one]
    return [obj["metadata"]["name"], "/".join(parts).lower()]


IP_ADDRESS = Rules(
    strategy=Strategy(validate=_validate_address, has_status=False, has_generation=False),
    columns=(NAME, Column(name="ParentRef", documents="networking.v1.IPAddressSpec.parentRef")),
    row=_address_row,
)
