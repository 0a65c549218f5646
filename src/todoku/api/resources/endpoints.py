"""Endpoints (core/v1) and EndpointSlice (discovery.k8s.io/v1)."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from todoku.api import validation
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    invalid,
    not_supported,
    required,
    too_many,
)
from todoku.api.formats import domain_name, each
from todoku.api.meta import Object
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME
from todoku.api.resources.rules import Rules
from todoku.api.resources.service_validation import PROTOCOLS, special_address_problems
from todoku.api.resources.service_warnings import address_warnings
from todoku.api.tables import created
from todoku.api.validation import address_problems


def _default(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    """Subsets that are as before stay, whatever they are."""
    subsets, before = new.get("subsets") or [], (old or {}).get("subsets") or []
    if old is not None and subsets == before:
        return []
    kept = [one.get("ip") or "" for _, one in _addresses(before)]
    problems: list[FieldError] = []
    for index, subset in enumerate(subsets):
        at = Path("subsets") / index
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            problems.append(required(at, "must specify `addresses` or `notReadyAddresses`"))
        for where, one in _of_subset(subset, at):
            problems += _endpoint_address(one, where, kept)
        ports = subset.get("ports") or ()
        for number, port in enumerate(ports):
            problems += _port(port, at / "ports" / number, named=len(ports) > 1)
    return problems


def _addresses(subsets: Sequence[Object]) -> list[tuple[Path, Object]]:
    return [
        place
        for index, subset in enumerate(subsets)
        for place in _of_subset(subset, Path("subsets") / index)
    ]


def _of_subset(subset: Object, at: Path) -> list[tuple[Path, Object]]:
    return [
        (at / field / number, one)
        for field in ("addresses", "notReadyAddresses")
        for number, one in enumerate(subset.get(field) or ())
    ]


def _endpoint_address(one: Object, at: Path, kept: Sequence[str]) -> list[FieldError]:
    address = one.get("ip") or ""
    problems = address_problems(address, at / "ip", kept)
    if one.get("hostname"):
        problems += each(validation.dns1123_label, one["hostname"], at / "hostname")
    if one.get("nodeName") is not None:
        problems += each(validation.dns1123_subdomain, one["nodeName"], at / "nodeName")
    return problems + special_address_problems(address, at / "ip")


def _port(port: Object, at: Path, *, named: bool) -> list[FieldError]:
    problems: list[FieldError] = []
    name, protocol = port.get("name") or "", port.get("protocol") or ""
    if named and not name:
        problems.append(required(at / "name"))
    elif name:
        problems += each(validation.dns1123_label, name, at / "name")
    problems += validation.port_number(port.get("port"), at / "port")
    if not protocol:
        problems.append(required(at / "protocol"))
    elif protocol not in PROTOCOLS:
        problems.append(not_supported(at / "protocol", protocol, PROTOCOLS))
    if port.get("appProtocol") is not None:
        rule = validation.qualified_name_problems
        problems += each(rule, port["appProtocol"], at / "appProtocol")
    return problems


def _warnings(new: Object, old: Object | None) -> list[str]:
    """Addresses that are doubtful; the controller that copies Services' makes none."""
    labels = new["metadata"].get("labels") or {}
    if labels.get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
        return []
    return [
        text
        for at, one in _addresses(new.get("subsets") or ())
        for text in address_warnings(one.get("ip") or "", str(at / "ip"))
    ]


def _shown(obj: Object) -> str:
    """`10.0.0.1:80,10.0.0.2:80 + 3 more...`; `<none>` without subsets, nothing without ready addresses."""
    if not obj.get("subsets"):
        return "<none>"
    found: list[str] = []
    for subset in obj.get("subsets") or ():
        addresses = [one.get("ip", "") for one in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if not ports:
            found += addresses
        for port in ports:
            found += [_joined(address, port.get("port")) for address in addresses]
    return _short(found)


def _joined(address: str, port: object) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


ENDPOINTS = Rules(
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    strategy=Strategy(
        default=_default,
        validate=_validate,
        warnings=_warnings,
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(name="Endpoints", documents="core.v1.Endpoints.subsets"),
        AGE,
    ),
    row=lambda obj: [obj["metadata"]["name"], _shown(obj), created(obj)],
)


def _default_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if not port.get("protocol"):
            port["protocol"] = "TCP"


_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS, _MAX_ADDRESSES, _MAX_PORTS = 1000, 100, 20000
_MAX_HINTS, _MAX_TOPOLOGY = 8, 16


def _validate_slice(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    kind, path = new.get("addressType") or "", Path("endpoints")
    if not kind:
        problems.append(required(Path("addressType")))
    elif kind not in _ADDRESS_TYPES:
        problems.append(not_supported(Path("addressType"), kind, _ADDRESS_TYPES))
    endpoints = new.get("endpoints") or ()
    if len(endpoints) > _MAX_ENDPOINTS:
        problems.append(too_many(path, len(endpoints), _MAX_ENDPOINTS))
    else:
        for index, endpoint in enumerate(endpoints):
            problems += _endpoint(endpoint, kind, path / index)
    problems += _slice_ports(new.get("ports") or ())
    if old is not None:
        problems += validation.immutable(kind, old.get("addressType"), Path("addressType"))
    return problems


def _endpoint(endpoint: Object, kind: str, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        problems.append(required(at / "addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        problems.append(too_many(at / "addresses", len(addresses), _MAX_ADDRESSES))
    for index, address in enumerate(addresses):
        problems += _address(address, kind, at / "addresses" / index)
    if endpoint.get("nodeName") is not None:
        problems += each(validation.dns1123_subdomain, endpoint["nodeName"], at / "nodeName")
    topology, path = endpoint.get("deprecatedTopology") or {}, at / "deprecatedTopology"
    if len(topology) > _MAX_TOPOLOGY:
        problems.append(too_many(path, len(topology), _MAX_TOPOLOGY))
    problems += validation.label_problems(topology, path)
    if endpoint.get("hostname") is not None:
        problems += each(validation.dns1123_label, endpoint["hostname"], at / "hostname")
    for field in ("forZones", "forNodes"):
        hints = (endpoint.get("hints") or {}).get(field) or ()
        problems += _hints(hints, at / "hints" / field)
    return problems


def _hints(hints: Sequence[Object], at: Path) -> list[FieldError]:
    if len(hints) > _MAX_HINTS:
        return [too_many(at, len(hints), _MAX_HINTS)]
    names = [one.get("name") or "" for one in hints]
    return [
        duplicate(at / index / "name", name)
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _address(address: str, kind: str, at: Path) -> list[FieldError]:
    if kind == "FQDN":
        return domain_name(address, at)
    if kind not in ("IPv4", "IPv6"):
        return []
    problems = address_problems(address, at)
    if problems:
        return problems
    if f"IPv{ipaddress.ip_address(address).version}" != kind:
        problems = [invalid(at, address, f"must be a valid {kind} address")]
    return problems + special_address_problems(address, at)


def _slice_ports(ports: Sequence[Object]) -> list[FieldError]:
    problems: list[FieldError] = []
    names: set[str] = set()
    if len(ports) > _MAX_PORTS:
        return [too_many(Path("ports"), len(ports), _MAX_PORTS)]
    for index, port in enumerate(ports):
        at, name = Path("ports") / index, port.get("name") or ""
        if name:
            problems += each(validation.dns1123_label, name, at / "name")
        if name in names:
            problems.append(duplicate(at / "name", name))
        names.add(name)
        if port.get("protocol") not in PROTOCOLS:
            problems.append(not_supported(at / "protocol", port.get("protocol") or "", PROTOCOLS))
        if port.get("port") is not None:
            problems += validation.port_number(port["port"], at / "port")
        if port.get("appProtocol") is not None:
            rule = validation.qualified_name_problems
            problems += each(rule, port["appProtocol"], at / "appProtocol")
    return problems


def _slice_generation(obj: Object) -> object:
    """All that an EndpointSlice says, its labels included."""
    return {key: obj.get(key) for key in ("addressType", "endpoints", "ports")}, obj[
        "metadata"
    ].get("labels") or {}


def _slice_warnings(new: Object, old: Object | None) -> list[str]:
    if new.get("addressType") != "FQDN" or old is not None:
        return []
    return ["spec.addressType: FQDN endpoints are deprecated"]


def _slice_row(obj: Object) -> list[object]:
    ports = [
        str(port["port"])
        if port.get("port") is not None
        else port["name"]
        if port.get("name") is not None
        else "*"
        for port in obj.get("ports") or ()
    ]
    addresses = [a for one in obj.get("endpoints") or () for a in one.get("addresses") or ()]
    return [
        obj["metadata"]["name"],
        obj.get("addressType", ""),
        _short(ports) or "<unset>",
        _short(addresses) or "<unset>",
        created(obj),
    ]


def _short(found: Sequence[str]) -> str:
    more = f" + {len(found) - 3} more..." if len(found) > 3 else ""
    return ",".join(found[:3]) + more


ENDPOINT_SLICE = Rules(
    strategy=Strategy(
        default=_default_slice,
        validate=_validate_slice,
        warnings=_slice_warnings,
        generation_of=_slice_generation,
        has_status=False,
    ),
    columns=(
        NAME,
        Column(name="AddressType", documents="discovery.v1.EndpointSlice.addressType"),
        Column(name="Ports", documents="discovery.v1.EndpointSlice.ports"),
        Column(name="Endpoints", documents="discovery.v1.EndpointSlice.endpoints"),
        AGE,
    ),
    row=_slice_row,
)
