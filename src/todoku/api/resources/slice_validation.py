"""Validation of ResourceSlices (pkg/apis/resource/validation)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from todoku.api import quantities
from todoku.api.errors import (
    FieldError,
    Path,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from todoku.api.formats import driver_name, each, label_name
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec.scheduling import node_selector_problems
from todoku.api.resources.device_validation import (
    TAINT_EFFECTS,
    binding_conditions,
    entries,
    items,
    label,
    pool_name,
    qualified_name,
    unique_items,
)
from todoku.api.validation import dns1123_subdomain, immutable, label_value_problems

_SPEC = Path("spec")
_MAX_DEVICES, _MAX_SPECIAL_DEVICES = 128, 64
_MAX_FACTS, _MAX_VALUE_BYTES, _MAX_TAINTS = 32, 64, 16
_MAX_COUNTER_SETS, _MAX_COUNTERS, _MAX_CONSUMED_SETS = 8, 32, 2
_MAX_OPTIONS = 10
_NODES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_UNSET = "must be either unset or set to true"
_IDENTIFIER = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    rf"(-{_IDENTIFIER}(\.{_IDENTIFIER})*)?"
    r"(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?"
)


def slice_problems(new: Object, old: Object | None) -> list[FieldError]:
    spec, pool = new.get("spec") or {}, (new.get("spec") or {}).get("pool") or {}
    problems = driver_name(spec.get("driver") or "", _SPEC / "driver")
    problems += _pool(pool, _SPEC / "pool")
    if old is not None:
        before = old.get("spec") or {}
        name = (before.get("pool") or {}).get("name")
        problems += immutable(pool.get("name"), name, _SPEC / "pool" / "name")
        for field in ("driver", "nodeName"):
            problems += immutable(spec.get(field), before.get(field), _SPEC / field)
    problems += _nodes(spec)
    devices, counters = spec.get("devices") or (), spec.get("sharedCounters") or ()
    if devices and counters:
        text = "only one of `sharedCounters` or `devices` is allowed"
        problems.append(invalid(_SPEC, "{`sharedCounters`, `devices`}", text))
    problems += _devices(devices, per_device=spec.get("perDeviceNodeSelection") is True)
    path = _SPEC / "sharedCounters"
    return problems + unique_items(counters, _MAX_COUNTER_SETS, _counter_set, path, "name")


def _pool(pool: Object, at: Path) -> list[FieldError]:
    count, generation = pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    problems = pool_name(pool.get("name") or "", at / "name")
    if count <= 0:
        problems.append(invalid(at / "resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        text = "must be greater than or equal to zero"
        problems.append(invalid(at / "generation", generation, text))
    return problems


def _nodes(spec: Object) -> list[FieldError]:
    """Exactly one way of saying which nodes have the devices."""
    given: list[str] = []
    problems: list[FieldError] = []
    for field in _NODES:
        value, at = spec.get(field), _SPEC / field
        if value is None:
            continue
        if value is False:
            problems.append(invalid(at, value, _UNSET))
            continue
        if field == "nodeName" and not value:
            text = "must be either unset or set to a non-empty string"
            problems.append(invalid(at, value, text))
            continue
        given.append(f"`{field}`")
        problems += _node_choice(field, value, at)
        terms = value.get("nodeSelectorTerms") if field == "nodeSelector" else None
        if field == "nodeSelector" and len(terms or ()) != 1:
            text = "must have exactly one node selector term"
            problems.append(invalid(at / "nodeSelectorTerms", terms or [], text))
    text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    if not given:
        problems.append(required(_SPEC, text))
    elif len(given) > 1:
        shown = "{" + ", ".join(given) + "}"
        problems.append(invalid(_SPEC, shown, f"{text}, but multiple fields are set"))
    return problems


def _node_choice(field: str, value: Any, at: Path) -> list[FieldError]:
    if field == "nodeName":
        return each(dns1123_subdomain, value, at)
    return node_selector_problems(value, at) if field == "nodeSelector" else []


def _devices(devices: Sequence[Object], *, per_device: bool) -> list[FieldError]:
    def device(one: Object, at: Path) -> list[FieldError]:
        return _device(one, at) + _device_nodes(one, at, wanted=per_device)

    special = any(one.get("taints") or one.get("consumesCounters") for one in devices)
    limit = _MAX_SPECIAL_DEVICES if special else _MAX_DEVICES
    return unique_items(devices, limit, device, _SPEC / "devices", "name")


def _device(device: Object, at: Path) -> list[FieldError]:
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    problems = label(device.get("name") or "", at / "name")
    total = len(attributes) + len(capacity)
    if total > _MAX_FACTS:
        text = f"the total number of attributes and capacities must not exceed {_MAX_FACTS}"
        problems.append(invalid(at, total, text))
    problems += entries(attributes, qualified_name, _attribute, at / "attributes")
    shared = device.get("allowMultipleAllocations") is True
    rule = _shared_capacity if shared else _capacity
    problems += entries(capacity, qualified_name, rule, at / "capacity")
    problems += items(device.get("taints") or (), _MAX_TAINTS, _taint, at / "taints")
    consumed = device.get("consumesCounters") or ()
    path = at / "consumesCounters"
    problems += unique_items(consumed, _MAX_CONSUMED_SETS, _consumption, path, "counterSet")
    return problems + binding_conditions(device, at)


_PER_DEVICE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true"
    " in the ResourceSlice spec"
)


def _device_nodes(device: Object, at: Path, *, wanted: bool) -> list[FieldError]:
    found = {field: device[field] for field in _NODES[:3] if device.get(field) is not None}
    if not wanted:
        text = (
            "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in"
            " the ResourceSlice spec"
        )
        return [invalid(at, None, text)] if found else []
    given: list[str] = []
    problems: list[FieldError] = []
    for field, value in found.items():
        if value is False:
            problems.append(invalid(at / field, value, _UNSET))
        elif value == "":
            problems.append(invalid(at / field, value, "must not be empty"))
        else:
            given.append(f"`{field}`")
            problems += _node_choice(field, value, at / field)
    if not given:
        problems.append(required(at, _PER_DEVICE))
    elif len(given) > 1:
        problems.append(invalid(at, "{" + ", ".join(given) + "}", _PER_DEVICE))
    return problems


_VALUES = ("bool", "int", "string", "version")


def _attribute(attribute: Object, at: Path) -> list[FieldError]:
    text, version = attribute.get("string"), attribute.get("version")
    problems: list[FieldError] = []
    if text is not None and len(text.encode()) > _MAX_VALUE_BYTES:
        problems.append(too_long(at / "string", _MAX_VALUE_BYTES))
    if version is not None and not _SEMVER.fullmatch(version):
        why = "must be a string compatible with semver.org spec 2.0.0"
        problems.append(invalid(at / "version", version, why))
    if version is not None and len(version.encode()) > _MAX_VALUE_BYTES:
        problems.append(too_long(at / "version", _MAX_VALUE_BYTES))
    given = [field for field in _VALUES if attribute.get(field) is not None]
    why = "exactly one value must be specified"
    if not given:
        problems.append(required(at, why))
    elif len(given) > 1:
        problems.append(invalid(at, rendered(attribute, "DeviceAttribute"), why))
    return problems


def _capacity(capacity: Object, at: Path) -> list[FieldError]:
    if capacity.get("requestPolicy") is None:
        return []
    return [forbidden(at / "requestPolicy", "allowMultipleAllocations must be true")]


def _shared_capacity(capacity: Object, at: Path) -> list[FieldError]:
    policy, path = capacity.get("requestPolicy"), at / "requestPolicy"
    if policy is None:
        return []
    options, bounds = policy.get("validValues") or (), policy.get("validRange")
    if options and bounds is not None:
        text = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        return [forbidden(path, text)]
    word = "validValues" if options else "validRange"
    if not options and bounds is None:
        return []
    if policy.get("default") is None:
        return [required(path / "default", f"required when {word} is defined")]
    default, most = _amount(policy["default"]), _amount(capacity.get("value", "0"))
    if options:
        return _options([_amount(one) for one in options], default, most, path / word)
    return _range({key: _amount(one) for key, one in bounds.items()}, default, most, path / word)


def _amount(value: Any) -> quantities.Quantity:
    return quantities.parse(value) if quantities.is_quantity(value) else quantities.ZERO


def _options(
    options: Sequence[quantities.Quantity],
    default: quantities.Quantity,
    most: quantities.Quantity,
    at: Path,
) -> list[FieldError]:
    def option(one: quantities.Quantity, where: Path) -> list[FieldError]:
        text = f"option is larger than capacity value: {most}"
        return [invalid(where, str(one), text)] if one > most else []

    problems = [
        invalid(at / (index + 1), str(other), "values must be sorted in ascending order")
        for index, (one, other) in enumerate(pairwise(options))
        if one > other
    ]
    problems += unique_items(options, _MAX_OPTIONS, option, at)
    if default not in options:
        text = "default value is not valid according to the requestPolicy"
        problems.append(invalid(at, str(default), text))
    return problems


def _range(
    bounds: dict[str, quantities.Quantity],
    default: quantities.Quantity,
    most: quantities.Quantity,
    at: Path,
) -> list[FieldError]:
    low, high, step = bounds.get("min"), bounds.get("max"), bounds.get("step")
    if low is None:
        return [required(at / "min", "required when validRange is defined")]
    checks = [
        (low > most, "min", low, f"min is larger than capacity value: {most}"),
        (default < low, "min", default, f"default is less than min: {low}"),
    ]
    if high is not None:
        checks += [
            (low > high, "max", low, f"min is larger than max: {high}"),
            (high > most, "max", high, f"max is larger than capacity value: {most}"),
            (default > high, "max", default, f"default is more than max: {high}"),
        ]
    return [invalid(at / field, str(shown), text) for bad, field, shown, text in checks if bad] + (
        [] if step is None else _steps(low, high, step, default, most, at / "step")
    )


def _steps(
    low: quantities.Quantity,
    high: quantities.Quantity | None,
    step: quantities.Quantity,
    default: quantities.Quantity,
    most: quantities.Quantity,
    at: Path,
) -> list[FieldError]:
    problems: list[FieldError] = []
    if low + step > most:
        text = f"one step {low + step} is larger than capacity value: {most}"
        problems.append(invalid(at, str(step), text))
    for value in (default, high):
        if value is not None and step > quantities.ZERO and (value.value - low.value) % step.value:
            text = f"value is not a multiple of a given step ({step}) from ({low})"
            problems.append(invalid(at, str(value), text))
    return problems


def _taint(taint: Object, at: Path) -> list[FieldError]:
    effect = taint.get("effect") or ""
    problems = label_name(taint.get("key") or "", at / "key")
    problems += each(label_value_problems, taint.get("value") or "", at / "value")
    if not effect:
        problems.append(required(at / "effect"))
    elif effect not in TAINT_EFFECTS:
        problems.append(not_supported(at / "effect", effect, TAINT_EFFECTS))
    return problems


def _counters(holder: Object, at: Path) -> list[FieldError]:
    counters, path = holder.get("counters") or {}, at / "counters"
    if not counters:
        return [required(path)]
    problems = entries(counters, label, lambda counter, where: [], path)
    if len(counters) > _MAX_COUNTERS:
        text = f"the total number of counters must not exceed {_MAX_COUNTERS}"
        problems.append(invalid(path, len(counters), text))
    return problems


def _counter_set(found: Object, at: Path) -> list[FieldError]:
    name = found.get("name") or ""
    problems = label(name, at / "name") if name else [required(at / "name")]
    return problems + _counters(found, at)


def _consumption(consumption: Object, at: Path) -> list[FieldError]:
    problems = [] if consumption.get("counterSet") else [required(at / "counterSet")]
    return problems + _counters(consumption, at)
