"""autoscaling/v1 and v2 of a HorizontalPodAutoscaler: what v1 cannot say travels in annotations.

Metrics, their statuses and conditions are JSON of the types of autoscaling/v1, the behavior is JSON of the internal
type (pkg/apis/autoscaling/v1/conversion.go).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from todoku.api.internals import rendered
from todoku.api.meta import Object, copy

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS, _BEHAVIOR = f"{_PREFIX}metrics", f"{_PREFIX}behavior"
_CURRENT, _CONDITIONS = f"{_PREFIX}current-metrics", f"{_PREFIX}conditions"

# source -> (v1 field, where v2 has it); `{}` is `target` in a spec and `current` in a status, `target` in the v1 name
# of a value is `current` in a status.
_PLACES: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "resource": (
        ("name", ("name",)),
        ("targetAverageUtilization", ("{}", "averageUtilization")),
        ("targetAverageValue", ("{}", "averageValue")),
    ),
    "containerResource": (
        ("name", ("name",)),
        ("targetAverageUtilization", ("{}", "averageUtilization")),
        ("targetAverageValue", ("{}", "averageValue")),
        ("container", ("container",)),
    ),
    "pods": (
        ("metricName", ("metric", "name")),
        ("targetAverageValue", ("{}", "averageValue")),
        ("selector", ("metric", "selector")),
    ),
    "object": (
        ("target", ("describedObject",)),
        ("metricName", ("metric", "name")),
        ("targetValue", ("{}", "value")),
        ("selector", ("metric", "selector")),
        ("averageValue", ("{}", "averageValue")),
    ),
    "external": (
        ("metricName", ("metric", "name")),
        ("metricSelector", ("metric", "selector")),
        ("targetValue", ("{}", "value")),
        ("targetAverageValue", ("{}", "averageValue")),
    ),
}


def _moved(metric: Object, *, word: str, back: bool) -> Object:
    """One metric (`word` target) or its status (`word` current) from v2 to v1, or `back`."""
    out: Object = {"type": metric.get("type", "")}
    for source, places in _PLACES.items():
        if metric.get(source) is None:
            continue
        part: Object = {}
        for name, place in places:
            old = ((name if name == "target" else name.replace("target", word, 1)),)
            new = tuple(one.format(word) for one in place)
            taken, given = (old, new) if back else (new, old)
            value = _at(metric[source], taken)
            if value is not None:
                _put(part, given, value)
        out[source] = part
    return out


def _at(value: Any, place: Sequence[str]) -> Any:
    for part in place:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _put(target: Object, place: Sequence[str], value: Any) -> None:
    for part in place[:-1]:
        target = target.setdefault(part, {})
    target[place[-1]] = value


def _with_target_type(metric: Object) -> Object:
    """v1 does not say the type of a target; its values do."""
    for source in _PLACES:
        target = (metric.get(source) or {}).get("target")
        if target is not None and source in metric:
            kinds = (
                ("averageUtilization", "Utilization"),
                ("averageValue", "AverageValue"),
                ("value", "Value"),
            )
            target["type"] = next((kind for field, kind in kinds if field in target), "Value")
    return metric


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return resource.get("name") == "cpu" and target.get("averageUtilization") is not None


def to_v2(obj: Object) -> Object:
    """An autoscaling/v1 object as v2."""
    out: Object = copy(obj)
    out["apiVersion"] = "autoscaling/v2"
    annotations = dict(out["metadata"].get("annotations") or {})
    spec = out.setdefault("spec", {})
    metrics = [
        _with_target_type(_moved(one, word="target", back=True))
        for one in _loaded(annotations.pop(_METRICS, "[]"), list)
    ]
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _lower(_loaded(annotations.pop(_BEHAVIOR, "{}"), dict))
    if behavior:
        spec["behavior"] = behavior
    _status_to_v2(out, annotations)
    _set_annotations(out, annotations)
    return out


def _status_to_v2(out: Object, annotations: Object) -> None:
    found = _loaded(annotations.pop(_CURRENT, "[]"), list)
    conditions = _loaded(annotations.pop(_CONDITIONS, "[]"), list)
    status = out.get("status")
    if status is None:
        return
    percent = status.pop("currentCPUUtilizationPercentage", None)
    metrics = [_moved(one, word="current", back=True) for one in found]
    if not metrics and percent is not None:
        current = {"averageUtilization": percent}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "current": current}}]
    if metrics:
        status["currentMetrics"] = metrics
    if conditions:
        status["conditions"] = conditions


def from_v2(obj: Object) -> Object:
    """An autoscaling/v2 object as v1."""
    out: Object = copy(obj)
    out["apiVersion"] = "autoscaling/v1"
    annotations = dict(out["metadata"].get("annotations") or {})
    spec = out.setdefault("spec", {})
    metrics = spec.pop("metrics", None) or []
    for one in metrics:
        if _is_cpu(one):
            percent = one["resource"]["target"]["averageUtilization"]
            spec["targetCPUUtilizationPercentage"] = percent
    others = [one for one in metrics if not _is_cpu(one)]
    if others:
        annotations[_METRICS] = _dumped([_moved(one, word="target", back=False) for one in others])
    if behavior := spec.pop("behavior", None):
        shown = rendered(behavior, "HorizontalPodAutoscalerBehavior")
        annotations[_BEHAVIOR] = shown.text
    if out.get("status") is not None:
        _status_from_v2(out["status"], annotations)
    _set_annotations(out, annotations)
    return out


def _status_from_v2(status: Object, annotations: Object) -> None:
    status.setdefault("currentReplicas", 0)
    conditions = status.pop("conditions", None)
    metrics = status.pop("currentMetrics", None) or []
    for metric in metrics:
        resource = metric.get("resource") or {}
        percent = (resource.get("current") or {}).get("averageUtilization")
        if resource.get("name") == "cpu" and percent is not None:
            status["currentCPUUtilizationPercentage"] = percent
    if metrics:
        moved = [_moved(one, word="current", back=False) for one in metrics]
        annotations[_CURRENT] = _dumped(moved)
    if conditions:
        annotations[_CONDITIONS] = _dumped(conditions)


def _dumped(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _loaded(text: str, kind: type) -> Any:
    """What an annotation says; nothing if it is broken."""
    try:
        found = json.loads(text)
    except ValueError:
        return kind()
    return found if isinstance(found, kind) else kind()


def _lower(value: Any) -> Any:
    """Go names of the internal behavior as wire names; nulls are absent."""
    if isinstance(value, dict):
        return {
            key[:1].lower() + key[1:]: _lower(one) for key, one in value.items() if one is not None
        }
    return [_lower(one) for one in value] if isinstance(value, list) else value


def _set_annotations(obj: Object, annotations: Object) -> None:
    if annotations:
        obj["metadata"]["annotations"] = annotations
    else:
        obj["metadata"].pop("annotations", None)
