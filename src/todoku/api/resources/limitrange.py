"""LimitRange (core/v1): defaults and validation (pkg/apis/core/validation ValidateLimitRange)."""

from __future__ import annotations

from collections.abc import Mapping

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, duplicate, forbidden, invalid, required
from todoku.api.meta import Object
from todoku.api.podspec.resources import (
    container_resource_problems,
    is_overcommittable,
    resource_name_problems,
)
from todoku.api.quantities import Quantity
from todoku.api.resource import Strategy
from todoku.api.resources.generic import CREATED_AT, NAME
from todoku.api.resources.rules import Rules

_KINDS = ("Pod", "Container", "PersistentVolumeClaim")
_FIELDS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
_MAX_MILLI = (2**63 - 1) // 1000

Amounts = Mapping[str, Quantity]
"""A resource's amounts, by the field that they are in."""


def _default(obj: Object) -> None:
    for limit in (obj.get("spec") or {}).get("limits") or ():
        for field in _FIELDS:
            amounts = limit.get(field)
            for name, amount in (amounts or {}).items():
                if quantities.is_quantity(amount):
                    amounts[name] = quantities.canonical(amount)
        if limit.get("type") == "Container":
            _default_container_limits(limit)


def _default_container_limits(limit: Object) -> None:
    default = dict(limit.get("default") or {})
    for name, amount in (limit.get("max") or {}).items():
        default.setdefault(name, amount)
    asked = dict(limit.get("defaultRequest") or {})
    for source in (default, limit.get("min") or {}):
        for name, amount in source.items():
            asked.setdefault(name, amount)
    for field, value in (("default", default), ("defaultRequest", asked)):
        if value:
            limit[field] = value


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    kinds: set[str] = set()
    for index, limit in enumerate((new.get("spec") or {}).get("limits") or ()):
        at, kind = Path("spec") / "limits" / index, limit.get("type") or ""
        problems += _kind_problems(kind, at / "type")
        if kind in kinds:
            problems.append(duplicate(at / "type", kind))
        kinds.add(kind)
        problems += _limit_problems(limit, kind, at)
    return problems


def _kind_problems(kind: str, path: Path) -> list[FieldError]:
    problems = [invalid(path, kind, text) for text in validation.qualified_name_problems(kind)]
    if not problems and "/" not in kind and kind not in _KINDS:
        return [invalid(path, kind, "must be a standard limit type or fully qualified")]
    return problems


def _limit_problems(limit: Object, kind: str, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    found: dict[str, dict[str, Quantity]] = {}
    rule = container_resource_problems if kind in ("Pod", "Container") else resource_name_problems
    for field in _FIELDS:
        if field == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim":
            problems += _unbounded_claims(limit, at)
        if kind == "Pod" and field in ("default", "defaultRequest"):
            if limit.get(field):
                text = "may not be specified when `type` is 'Pod'"
                problems.append(forbidden(at / field, text))
            continue
        for name, amount in (limit.get(field) or {}).items():
            problems += rule(name, (at / field).key(name))
            try:
                found.setdefault(name, {})[field] = quantities.parse(amount)
            except quantities.QuantityError as error:
                problems.append(invalid((at / field).key(name), amount, str(error)))
    for name, amounts in found.items():
        problems += _order_problems(name, amounts, at)
        problems += _ratio_problems(name, amounts, at)
        problems += _overcommit_problems(name, amounts, at)
    return problems


def _unbounded_claims(limit: Object, at: Path) -> list[FieldError]:
    if any("storage" in (limit.get(field) or {}) for field in ("min", "max")):
        return []
    text = "either minimum or maximum storage value is required, but neither was provided"
    return [required(at / "limits", text)]


_WORDS = {
    "min": "min value",
    "max": "max value",
    "default": "default value",
    "defaultRequest": "default request value",
}
# which may not be above which; where that is said; whose amount is shown
_ORDER = (
    ("min", "max", "min", "min"),
    ("min", "defaultRequest", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "max", "defaultRequest", "defaultRequest"),
    ("defaultRequest", "default", "defaultRequest", "defaultRequest"),
    ("min", "default", "default", "min"),
    ("default", "max", "default", "max"),
)


def _order_problems(name: str, amounts: Amounts, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    for low, high, blamed, shown in _ORDER:
        if low not in amounts or high not in amounts or amounts[low] <= amounts[high]:
            continue
        word = "default limit value" if (low, high) == _ORDER[3][:2] else _WORDS[high]
        text = f"{_WORDS[low]} {amounts[low]} is greater than {word} {amounts[high]}"
        problems.append(invalid((at / blamed).key(name), amounts[shown], text))
    return problems


def _ratio_problems(name: str, amounts: Amounts, at: Path) -> list[FieldError]:
    ratio, path = amounts.get("maxLimitRequestRatio"), (at / "maxLimitRequestRatio").key(name)
    if ratio is None:
        return []
    problems: list[FieldError] = []
    if ratio < quantities.parse(1):
        problems.append(invalid(path, ratio, f"ratio {ratio} is less than 1"))
    low, high = amounts.get("min"), amounts.get("max")
    if low is None or high is None:
        return problems
    wanted, bottom, top = float(ratio.units()), low.units(), high.units()
    if max(ratio.units(), bottom, top) < _MAX_MILLI:
        wanted, bottom, top = ratio.milli() / 1000, low.milli(), high.milli()
    if bottom and wanted > top / bottom:
        text = f"ratio {ratio} is greater than max/min = {top / bottom:f}"
        problems.append(invalid(path, ratio, text))
    return problems


def _overcommit_problems(name: str, amounts: Amounts, at: Path) -> list[FieldError]:
    given, asked = amounts.get("default"), amounts.get("defaultRequest")
    if is_overcommittable(name) or given is None or asked is None or given == asked:
        return []
    text = f"default value {given} must equal to defaultRequest value {asked} in {name}"
    return [invalid((at / "defaultRequest").key(name), asked, text)]


LIMIT_RANGE = Rules(
    strategy=Strategy(default=_default, validate=_validate, has_status=False, has_generation=False),
    columns=(NAME, CREATED_AT),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj["metadata"].get("creationTimestamp") or "<unknown>",
    ],
)
