"""Validation of ResourceClaims, their templates and DeviceClasses (pkg/apis/resource/validation)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from todoku.api import formats
from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from todoku.api.formats import driver_name
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec.scheduling import node_selector_problems
from todoku.api.resources.device_validation import (
    MAX_CONFIGS,
    binding_conditions,
    class_name,
    configuration,
    fully_qualified_name,
    items,
    label,
    pool_name,
    raw_object,
    selectors,
    share_id,
    toleration,
    unique_items,
)
from todoku.api.validation import annotation_problems, label_problems

_SPEC, _STATUS = Path("spec"), Path("status")
_FIXED = "field is immutable"
_ONE_OF = "exactly one of `exactly` or `firstAvailable` is required"
_MAX_REQUESTS, _MAX_CONSTRAINTS, _MAX_ALTERNATIVES, _MAX_TOLERATIONS = 32, 32, 8, 16
_MAX_CONSUMERS, _MAX_RESULTS, _MAX_CONDITIONS, _MAX_ADDRESSES = 256, 32, 8, 16
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
# Requests with the names of their alternatives.
Names: TypeAlias = Mapping[str, frozenset[str]]


def claim_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    if old is None:
        return _spec_problems(spec, _SPEC)
    if spec == (old.get("spec") or {}):
        return []
    return [invalid(_SPEC, rendered(spec, "ResourceClaimSpec"), _FIXED)]


def template_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    if old is not None:
        if spec == (old.get("spec") or {}):
            return []
        return [invalid(_SPEC, rendered(spec, "ResourceClaimTemplateSpec"), _FIXED)]
    metadata, at = spec.get("metadata") or {}, _SPEC / "metadata"
    problems = annotation_problems(metadata.get("annotations"), at / "annotations")
    problems += label_problems(metadata.get("labels"), at / "labels")
    return problems + _spec_problems(spec.get("spec") or {}, _SPEC / "spec")


def class_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems = selectors(spec.get("selectors") or (), _SPEC / "selectors")
    problems += items(spec.get("config") or (), MAX_CONFIGS, configuration, _SPEC / "config")
    name = spec.get("extendedResourceName")
    if name is not None and not _is_extended(name):
        text = "must be a valid extended resource name"
        problems.append(invalid(_SPEC / "extendedResourceName", name, text))
    return problems


def _is_extended(name: str) -> bool:
    """`example.com/thing` (IsExtendedResourceName)."""
    if "/" not in name or "kubernetes.io/" in name or name.startswith("requests."):
        return False
    return not formats.label_name(f"requests.{name}", _SPEC)


def _request_names(devices: Object) -> Names:
    return {
        one.get("name") or "": frozenset(
            other.get("name") or "" for other in one.get("firstAvailable") or ()
        )
        for one in devices.get("requests") or ()
    }


def _spec_problems(spec: Object, path: Path) -> list[FieldError]:
    devices, at = spec.get("devices") or {}, path / "devices"
    names = _request_names(devices)

    def constraint(one: Object, where: Path) -> list[FieldError]:
        return _references(one, where, names) + _constraint(one, where)

    def config(one: Object, where: Path) -> list[FieldError]:
        return _references(one, where, names) + configuration(one, where)

    requests = devices.get("requests") or ()
    problems = unique_items(requests, _MAX_REQUESTS, _request, at / "requests", "name")
    constraints = devices.get("constraints") or ()
    problems += items(constraints, _MAX_CONSTRAINTS, constraint, at / "constraints")
    return problems + items(devices.get("config") or (), MAX_CONFIGS, config, at / "config")


def _request(request: Object, at: Path) -> list[FieldError]:
    problems = label(request.get("name") or "", at / "name")
    alternatives, exactly = request.get("firstAvailable") or (), request.get("exactly")
    if alternatives:
        path = at / "firstAvailable"
        problems += unique_items(alternatives, _MAX_ALTERNATIVES, _alternative, path, "name")
    if exactly is not None:
        problems += _devices(exactly, at / "exactly")
    if not alternatives and exactly is None:
        problems.append(required(at, _ONE_OF))
    elif alternatives and exactly is not None:
        problems.append(invalid(at, None, f"{_ONE_OF}, but multiple fields are set"))
    return problems


def _alternative(request: Object, at: Path) -> list[FieldError]:
    return label(request.get("name") or "", at / "name") + _devices(request, at)


def _devices(request: Object, at: Path) -> list[FieldError]:
    problems = class_name(request.get("deviceClassName") or "", at / "deviceClassName")
    problems += selectors(request.get("selectors") or (), at / "selectors")
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All":
        if count:
            text = "must not be specified when allocationMode is 'All'"
            problems.append(invalid(at / "count", count, text))
    elif mode != "ExactCount":
        problems.append(not_supported(at / "allocationMode", mode, ("All", "ExactCount")))
    elif count <= 0:
        problems.append(invalid(at / "count", count, "must be greater than zero"))
    found = request.get("tolerations") or ()
    return problems + items(found, _MAX_TOLERATIONS, toleration, at / "tolerations")


def _references(holder: Object, at: Path, names: Names) -> list[FieldError]:
    def reference(name: str, where: Path) -> list[FieldError]:
        return _reference(name, where, names)

    return unique_items(holder.get("requests") or (), _MAX_REQUESTS, reference, at / "requests")


def _reference(name: str, at: Path, names: Names) -> list[FieldError]:
    """The name of a request, maybe with one of its alternatives."""
    parts = name.split("/")
    if len(parts) > 2:
        return [invalid(at, name, _NO_REQUEST)]
    problems = [one for part in parts for one in label(part, at)]
    known = names.get(parts[0])
    if known is None or (len(parts) == 2 and parts[1] not in known):
        problems.append(invalid(at, name, _NO_REQUEST))
    return problems


def _constraint(constraint: Object, at: Path) -> list[FieldError]:
    for field in ("matchAttribute", "distinctAttribute"):
        if constraint.get(field) is not None:
            return fully_qualified_name(constraint[field], at / field)
    text = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    return [required(at, text)]


def claim_status_problems(new: Object, old: Object) -> list[FieldError]:
    after, before = new.get("status") or {}, old.get("status") or {}
    names = _request_names((new.get("spec") or {}).get("devices") or {})
    allocation = after.get("allocation")
    consumers = after.get("reservedFor") or []
    problems = unique_items(consumers, _MAX_CONSUMERS, _consumer, _STATUS / "reservedFor", "uid")
    problems += _device_statuses(after)
    if consumers and allocation is None:
        text = "may not be specified when `allocated` is not set"
        problems.append(forbidden(_STATUS / "reservedFor", text))
    added = [one for one in consumers if one not in (before.get("reservedFor") or ())]
    if added and allocation is not None and new["metadata"].get("deletionTimestamp"):
        text = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        problems.append(forbidden(_STATUS / "reservedFor", text))
    if allocation is None or allocation == before.get("allocation"):
        return problems
    at = _STATUS / "allocation"
    if before.get("allocation") is not None:
        return [*problems, invalid(at, allocation, _FIXED)]
    return problems + _allocation(allocation, at, names)


def _consumer(reference: Object, at: Path) -> list[FieldError]:
    return [required(at / f) for f in ("resource", "name", "uid") if not reference.get(f)]


def _device_id(device: Object) -> tuple[str, ...]:
    return tuple(device.get(field) or "" for field in ("driver", "pool", "device", "shareID"))


def _device_statuses(status: Object) -> list[FieldError]:
    results = ((status.get("allocation") or {}).get("devices") or {}).get("results") or ()
    allocated = {_device_id(one) for one in results}
    found, path = status.get("devices") or (), _STATUS / "devices"
    problems: list[FieldError] = []
    seen: set[tuple[str, ...]] = set()
    for index, one in enumerate(found):
        at, identity = path / index, _device_id(one)
        problems += _device_names(one, at)
        if identity not in allocated:
            shown = "/".join(filter(None, identity))
            problems.append(invalid(at, shown, "must be an allocated device in the claim"))
        problems += _device_status(one, at)
        if identity in seen:
            problems.append(duplicate(at / "deviceID", "/".join(filter(None, identity))))
        seen.add(identity)
    return problems


def _device_names(device: Object, at: Path) -> list[FieldError]:
    problems = driver_name(device.get("driver") or "", at / "driver")
    problems += pool_name(device.get("pool") or "", at / "pool")
    problems += label(device.get("device") or "", at / "device")
    if device.get("shareID") is not None:
        problems += share_id(device["shareID"], at / "shareID")
    return problems


def _device_status(device: Object, at: Path) -> list[FieldError]:
    conditions = device.get("conditions") or ()
    problems: list[FieldError] = []
    if len(conditions) > _MAX_CONDITIONS:
        problems.append(too_many(at / "conditions", len(conditions), _MAX_CONDITIONS))
    problems += formats.conditions(conditions, at / "conditions")
    if device.get("data") is not None:
        problems += raw_object(device["data"], at / "data")
    network, path = device.get("networkData") or {}, at / "networkData"
    for field, limit in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((network.get(field) or "").encode()) > limit:
            problems.append(too_long(path / field, limit))
    addresses = network.get("ips") or ()
    return problems + unique_items(
        addresses, _MAX_ADDRESSES, formats.interface_address, path / "ips"
    )


def _allocation(allocation: Object, at: Path, names: Names) -> list[FieldError]:
    def result(one: Object, where: Path) -> list[FieldError]:
        problems = _reference(one.get("request") or "", where / "request", names)
        return problems + _device_names(one, where) + binding_conditions(one, where)

    def config(one: Object, where: Path) -> list[FieldError]:
        problems = _source(one.get("source") or "", where / "source")
        return problems + _references(one, where, names) + configuration(one, where)

    devices, path = allocation.get("devices") or {}, at / "devices"
    problems = items(devices.get("results") or (), _MAX_RESULTS, result, path / "results")
    problems += items(devices.get("config") or (), 2 * MAX_CONFIGS, config, path / "config")
    selector: Any = allocation.get("nodeSelector")
    if selector is not None:
        problems += node_selector_problems(selector, at / "nodeSelector")
    return problems


def _source(source: str, at: Path) -> list[FieldError]:
    if not source:
        return [required(at)]
    known = ("FromClaim", "FromClass")
    return [] if source in known else [not_supported(at, source, known)]
