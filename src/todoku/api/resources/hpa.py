"""HorizontalPodAutoscaler: autoscaling/v2 is stored, autoscaling/v1 is a view of it."""

from __future__ import annotations

import json
from itertools import zip_longest

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.meta import Object, copy
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_SPEC = Path("spec")
_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_DEFAULT_METRIC: Object = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def _is_cpu(metric: Object) -> bool:
    resource = metric.get("resource") or {}
    target = resource.get("target") or {}
    return resource.get("name") == "cpu" and target.get("averageUtilization") is not None


def to_v2(obj: Object) -> Object:
    """An autoscaling/v1 object as v2; what v1 cannot say travels in annotations."""
    out: Object = copy(obj)
    out["apiVersion"] = "autoscaling/v2"
    annotations = dict(out["metadata"].get("annotations") or {})
    spec = out.setdefault("spec", {})
    metrics = _loaded(annotations.pop(_METRICS, "[]"), [])
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    if percent is not None:
        target = {"type": "Utilization", "averageUtilization": percent}
        metrics.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    if metrics:
        spec["metrics"] = metrics
    behavior = _loaded(annotations.pop(_BEHAVIOR, "null"), None)
    if behavior:
        spec["behavior"] = behavior
    _set_annotations(out, annotations)
    current = (out.get("status") or {}).pop("currentCPUUtilizationPercentage", None)
    if current is not None:
        value = {"averageUtilization": current, "averageValue": "0"}
        out["status"]["currentMetrics"] = [
            {"type": "Resource", "resource": {"name": "cpu", "current": value}}
        ]
    return out


def from_v2(obj: Object) -> Object:
    """An autoscaling/v2 object as v1."""
    out: Object = copy(obj)
    out["apiVersion"] = "autoscaling/v1"
    annotations = dict(out["metadata"].get("annotations") or {})
    spec = out.setdefault("spec", {})
    metrics = spec.pop("metrics", None) or []
    cpu = next((one for one in metrics if _is_cpu(one)), None)
    if cpu is not None:
        spec["targetCPUUtilizationPercentage"] = cpu["resource"]["target"]["averageUtilization"]
    others = [one for one in metrics if one is not cpu]
    if others:
        annotations[_METRICS] = json.dumps(others, separators=(",", ":"))
    if behavior := spec.pop("behavior", None):
        annotations[_BEHAVIOR] = json.dumps(behavior, separators=(",", ":"))
    _set_annotations(out, annotations)
    status = out.get("status") or {}
    status.pop("conditions", None)
    for metric in status.pop("currentMetrics", None) or ():
        resource = metric.get("resource") or {}
        if resource.get("name") == "cpu":
            status["currentCPUUtilizationPercentage"] = (resource.get("current") or {}).get(
                "averageUtilization"
            )
    return out


def _loaded(text: str, fallback: object) -> list[Object]:
    try:
        return json.loads(text)  # type: ignore[no-any-return]
    except ValueError:
        return fallback  # type: ignore[return-value]


def _set_annotations(obj: Object, annotations: Object) -> None:
    if annotations:
        obj["metadata"]["annotations"] = annotations
    else:
        obj["metadata"].pop("annotations", None)


def _default_v1(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1


def _default(obj: Object) -> None:
    _default_v1(obj)
    spec = obj["spec"]
    if not spec.get("metrics"):
        spec["metrics"] = [copy(_DEFAULT_METRIC)]
    behavior = spec.get("behavior")
    if behavior is not None:
        _default_rules(behavior, "scaleUp", [("Pods", 4, 15), ("Percent", 100, 15)], window=0)
        _default_rules(behavior, "scaleDown", [("Percent", 100, 15)], window=None)


def _default_rules(
    behavior: Object, field: str, policies: list[tuple[str, int, int]], *, window: int | None
) -> None:
    rules = behavior.get(field)
    if rules is None:
        rules = behavior[field] = {}
    if rules.get("stabilizationWindowSeconds") is None and window is not None:
        rules["stabilizationWindowSeconds"] = window
    if rules.get("selectPolicy") is None:
        rules["selectPolicy"] = "Max"
    if not rules.get("policies"):
        rules["policies"] = [
            {"type": kind, "value": value, "periodSeconds": seconds}
            for kind, value, seconds in policies
        ]


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems: list[FieldError] = []
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if low is not None and low < 1:
        problems.append(invalid(_SPEC / "minReplicas", low, "must be greater than or equal to 1"))
    if high < 1:
        problems.append(invalid(_SPEC / "maxReplicas", high, "must be greater than 0"))
    if low is not None and high < low:
        text = "must be greater than or equal to `minReplicas`"
        problems.append(invalid(_SPEC / "maxReplicas", high, text))
    target = spec.get("scaleTargetRef") or {}
    for field in ("kind", "name"):
        at, value = _SPEC / "scaleTargetRef" / field, target.get(field) or ""
        if not value:
            problems.append(required(at))
        else:
            problems += [invalid(at, value, text) for text in validation.path_segment(value)]
    percent = spec.get("targetCPUUtilizationPercentage")
    if percent is not None and percent < 1:
        problems.append(
            invalid(_SPEC / "targetCPUUtilizationPercentage", percent, "must be greater than 0")
        )
    return problems


_WITH_NAME = ("Resource", "ContainerResource")
_BY_AVERAGE = ("External", "Object")


def _metric_cell(metric: Object, status: Object) -> str:
    """`cpu: 10%/80%`: what is, of what should be."""
    kind = metric.get("type", "")
    field = kind[:1].lower() + kind[1:]
    if kind not in (*_WITH_NAME, *_BY_AVERAGE, "Pods"):
        return "<unknown type>"
    part, known = metric.get(field) or {}, status.get(field)
    target, now = part.get("target") or {}, (known or {}).get("current") or {}
    if kind in _WITH_NAME:
        return f"{part.get('name', '')}: {_resource_cell(target, now, known=known is not None)}"
    average = kind == "Pods" or target.get("averageValue") is not None
    key = "averageValue" if average else "value"
    missing = "<unknown>" if known is None or (average and kind != "Pods") else _NO_QUANTITY
    suffix = " (avg)" if average and kind != "Pods" else ""
    return f"{now.get(key, missing)}/{target.get(key, _NO_QUANTITY)}{suffix}"


# How Go prints a quantity that is not there.
_NO_QUANTITY = "<nil>"


def _resource_cell(target: Object, now: Object, *, known: bool) -> str:
    if target.get("averageValue") is not None:
        shown = now.get("averageValue", _NO_QUANTITY if known else "<unknown>")
        return f"{shown}/{target['averageValue']}"
    wanted, used = target.get("averageUtilization"), now.get("averageUtilization")
    return (
        f"{'<unknown>' if used is None else f'{used}%'}/"
        f"{'<auto>' if wanted is None else f'{wanted}%'}"
    )


def _row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    wanted, current = spec.get("metrics") or (), status.get("currentMetrics") or ()
    metrics = [
        _metric_cell(one, known or {}) for one, known in zip_longest(wanted, current[: len(wanted)])
    ]
    shown = ", ".join(metrics[:2]) + (f" + {len(metrics) - 2} more..." if len(metrics) > 2 else "")
    return [
        obj["metadata"]["name"],
        f"{target.get('kind', '')}/{target.get('name', '')}",
        shown or "<none>",
        str(spec["minReplicas"]) if spec.get("minReplicas") is not None else "<unset>",
        spec.get("maxReplicas", 0),
        status.get("currentReplicas", 0),
        created(obj),
    ]


_COLUMNS = (
    NAME,
    Column(name="Reference", documents="autoscaling.v2.HorizontalPodAutoscalerSpec.scaleTargetRef"),
    Column(name="Targets", documents="autoscaling.v2.HorizontalPodAutoscalerSpec.metrics"),
    Column(name="MinPods", documents="autoscaling.v2.HorizontalPodAutoscalerSpec.minReplicas"),
    Column(name="MaxPods", documents="autoscaling.v2.HorizontalPodAutoscalerSpec.maxReplicas"),
    Column(
        name="Replicas", documents="autoscaling.v2.HorizontalPodAutoscalerStatus.currentReplicas"
    ),
    AGE,
)

HPA_V2 = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=_row,
)

HPA_V1 = Rules(
    strategy=Strategy(
        default=_default_v1,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=lambda obj: _row(to_v2(obj)),
    storage=("autoscaling", "v2"),
    to_storage=to_v2,
    from_storage=from_v2,
)
