"""Validation of HorizontalPodAutoscalers in their stored version (pkg/apis/autoscaling/validation)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from todoku.api import quantities, validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.formats import each
from todoku.api.meta import Object
from todoku.api.podspec.resources import resource_name_problems
from todoku.api.validation import non_negative

_SPEC, _STATUS = Path("spec"), Path("status")
_MAX_PERIOD_SECONDS, _MAX_WINDOW_SECONDS = 1800, 3600
_SELECT_POLICIES = ("Disabled", "Max", "Min")
_POLICY_TYPES = ("Percent", "Pods")
_SOURCES = ("ContainerResource", "External", "Object", "Pods", "Resource")
_TARGETS = ("Utilization", "Value", "AverageValue")


def spec_problems(spec: Object, old: Object | None) -> list[FieldError]:
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    problems: list[FieldError] = []
    if low is not None and low < _lowest(old):
        text = f"must be greater than or equal to {_lowest(old)}"
        problems.append(invalid(_SPEC / "minReplicas", low, text))
    if high < 1:
        problems.append(invalid(_SPEC / "maxReplicas", high, "must be greater than 0"))
    if low is not None and high < low:
        text = "must be greater than or equal to `minReplicas`"
        problems.append(invalid(_SPEC / "maxReplicas", high, text))
    problems += _reference(spec.get("scaleTargetRef") or {}, _SPEC / "scaleTargetRef")
    metrics = spec.get("metrics") or ()
    for index, metric in enumerate(metrics):
        problems += _metric(metric, _SPEC / "metrics" / index)
    if low == 0 and not any(one.get("type") in ("Object", "External") for one in metrics):
        text = "must specify at least one Object or External metric to support scaling to zero replicas"
        problems.append(forbidden(_SPEC / "metrics", text))
    for field in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(field)
        if rules is not None:
            problems += _rules(rules, _SPEC / "behavior" / field)
    return problems


def _lowest(old: Object | None) -> int:
    """Zero is kept where it was set while the server allowed it."""
    return 0 if old is not None and (old.get("spec") or {}).get("minReplicas") == 0 else 1


def status_problems(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    fields = ("currentReplicas", "desiredReplicas")
    return [one for field in fields for one in non_negative(status.get(field), _STATUS / field)]


def _reference(reference: Object, at: Path) -> list[FieldError]:
    """CrossVersionObjectReference."""
    problems: list[FieldError] = []
    for field in ("kind", "name"):
        value = reference.get(field) or ""
        if not value:
            problems.append(required(at / field))
        problems += each(validation.path_segment, value, at / field)
    return problems


def _rules(rules: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    window, where = rules.get("stabilizationWindowSeconds"), at / "stabilizationWindowSeconds"
    if window is not None and window < 0:
        problems.append(invalid(where, window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW_SECONDS:
        text = f"must be less than or equal to {_MAX_WINDOW_SECONDS}"
        problems.append(invalid(where, window, text))
    select = rules.get("selectPolicy")
    if select is not None and select not in _SELECT_POLICIES:
        problems.append(not_supported(at / "selectPolicy", select, _SELECT_POLICIES))
    policies = rules.get("policies") or ()
    if not policies:
        problems.append(required(at / "policies", "must specify at least one Policy"))
    for index, policy in enumerate(policies):
        problems += _policy(policy, at / "policies" / index)
    return problems + _tolerance(rules.get("tolerance"), at / "tolerance")


def _tolerance(tolerance: object, at: Path) -> list[FieldError]:
    if tolerance is None:
        return []
    try:
        negative = quantities.parse(str(tolerance)) < quantities.ZERO
    except quantities.QuantityError as error:
        return [invalid(at, tolerance, str(error))]
    text = "must be greater than or equal to 0"
    return [invalid(at, tolerance, text)] if negative else []


def _policy(policy: Object, at: Path) -> list[FieldError]:
    kind, value = policy.get("type") or "", policy.get("value") or 0
    seconds = policy.get("periodSeconds") or 0
    problems: list[FieldError] = []
    if kind not in _POLICY_TYPES:
        problems.append(not_supported(at / "type", kind, _POLICY_TYPES))
    if value <= 0:
        problems.append(invalid(at / "value", value, "must be greater than zero"))
    if seconds <= 0:
        problems.append(invalid(at / "periodSeconds", seconds, "must be greater than zero"))
    if seconds > _MAX_PERIOD_SECONDS:
        text = f"must be less than or equal to {_MAX_PERIOD_SECONDS}"
        problems.append(invalid(at / "periodSeconds", seconds, text))
    return problems


def _metric(metric: Object, at: Path) -> list[FieldError]:
    """Exactly the source that the type names; only the first one given is looked at."""
    kind = metric.get("type") or ""
    problems: list[FieldError] = []
    if not kind:
        problems.append(required(at / "type", "must specify a metric source type"))
    if kind not in _SOURCES:
        problems.append(not_supported(at / "type", kind, _SOURCES))
    given = [field for field in _RULES if metric.get(field) is not None]
    if given:
        problems += _RULES[given[0]](metric[given[0]], at / given[0])
    expected = kind[:1].lower() + kind[1:]
    if kind not in _SOURCES:
        problems.append(not_supported(at / "type", kind, _SOURCES))
    elif expected not in given:
        text = "must populate information for the given metric source"
        problems.append(required(at / expected, text))
    if len(given) != 1:
        text = "must populate the given metric source only"
        problems += [forbidden(at / field, text) for field in given if field != expected]
    return problems


def _identifier(identifier: Object, at: Path) -> list[FieldError]:
    name = identifier.get("name") or ""
    if not name:
        return [required(at / "name", "must specify a metric name")]
    return each(validation.path_segment, name, at / "name")


def _target(target: Object, at: Path) -> list[FieldError]:
    kind = target.get("type") or ""
    problems: list[FieldError] = []
    if not kind:
        problems.append(required(at / "type", "must specify a metric target type"))
    if kind not in _TARGETS:
        text = "must be either Utilization, Value, or AverageValue"
        problems.append(invalid(at / "type", kind, text))
    for field in ("value", "averageValue"):
        if target.get(field) is not None:
            problems += _positive(target[field], at / field)
    percent = target.get("averageUtilization")
    if percent is not None and percent < 1:
        problems.append(invalid(at / "averageUtilization", percent, "must be greater than 0"))
    return problems


def _positive(amount: object, at: Path) -> list[FieldError]:
    try:
        quantity = quantities.parse(str(amount))
    except quantities.QuantityError as error:
        return [invalid(at, amount, str(error))]
    return [] if quantity > quantities.ZERO else [invalid(at, str(quantity), "must be positive")]


def _parts(source: Object, at: Path) -> tuple[Object, list[FieldError]]:
    """The target, and the problems of metric and target."""
    target = source.get("target") or {}
    problems = _identifier(source.get("metric") or {}, at / "metric")
    return target, problems + _target(target, at / "target")


def _object(source: Object, at: Path) -> list[FieldError]:
    target, problems = _parts(source, at)
    described = _reference(source.get("describedObject") or {}, at / "describedObject")
    if target.get("value") is None and target.get("averageValue") is None:
        text = "must set either a target value or averageValue"
        problems.append(required(at / "target" / "averageValue", text))
    return described + problems


def _external(source: Object, at: Path) -> list[FieldError]:
    target, problems = _parts(source, at)
    given = [field for field in ("value", "averageValue") if target.get(field) is not None]
    if not given:
        text = "must set either a target value for metric or a per-pod target"
        problems.append(required(at / "target" / "averageValue", text))
    if len(given) == 2:
        text = "may not set both a target value for metric and a per-pod target"
        problems.append(forbidden(at / "target" / "value", text))
    return problems


def _pods(source: Object, at: Path) -> list[FieldError]:
    target, problems = _parts(source, at)
    if target.get("averageValue") is None:
        text = "must specify a positive target averageValue"
        problems.append(required(at / "target" / "averageValue", text))
    return problems


def _amount(target: Object, at: Path) -> list[FieldError]:
    problems = _target(target, at)
    given = [f for f in ("averageUtilization", "averageValue") if target.get(f) is not None]
    if not given:
        text = "must set either a target raw value or a target utilization"
        problems.append(required(at / "averageUtilization", text))
    if len(given) == 2:
        text = "may not set both a target raw value and a target utilization"
        problems.append(forbidden(at / "averageValue", text))
    return problems


def _resource(source: Object, at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if not source.get("name"):
        problems.append(required(at / "name", "must specify a resource name"))
    return problems + _amount(source.get("target") or {}, at / "target")


def _container_resource(source: Object, at: Path) -> list[FieldError]:
    name, container = source.get("name") or "", source.get("container") or ""
    if not name:
        problems = [required(at / "name", "must specify a resource name")]
    else:
        problems = resource_name_problems(name, at / "name")
    if not container:
        problems.append(required(at / "container", "must specify a container"))
    else:
        problems += each(validation.dns1123_label, container, at / "container")
    return problems + _amount(source.get("target") or {}, at / "target")


# In the order that they are looked at.
_RULES: Mapping[str, Callable[[Object, Path], list[FieldError]]] = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}
