"""HorizontalPodAutoscaler: autoscaling/v2 is stored, autoscaling/v1 is a view of it."""

from __future__ import annotations

from itertools import zip_longest

from todoku.api.errors import FieldError
from todoku.api.meta import Object, copy
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import AGE, NAME, keep_all_but_status, keep_status
from todoku.api.resources.hpa_conversion import from_v2, to_v2
from todoku.api.resources.hpa_validation import spec_problems, status_problems
from todoku.api.resources.rules import Rules
from todoku.api.tables import created

_DEFAULT_PERCENT = 80
_DEFAULT_METRIC: Object = {
    "type": "Resource",
    "resource": {
        "name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": _DEFAULT_PERCENT},
    },
}


def _default_minimum(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1


def _default_v1(obj: Object) -> None:
    """What the stored version would get as its default."""
    _default_minimum(obj)
    if not to_v2(obj)["spec"].get("metrics"):
        obj["spec"]["targetCPUUtilizationPercentage"] = _DEFAULT_PERCENT


def _default(obj: Object) -> None:
    _default_minimum(obj)
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
    return spec_problems(new.get("spec") or {}, old)


def _validate_v1(new: Object, old: Object | None) -> list[FieldError]:
    """Judged as the version that is stored; messages name its fields."""
    return spec_problems(to_v2(new)["spec"], old)


def _no_status(obj: Object) -> None:
    obj["status"] = {"currentMetrics": None, "desiredReplicas": 0}


def _no_status_v1(obj: Object) -> None:
    obj["status"] = {"currentReplicas": 0, "desiredReplicas": 0}


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
        prepare_create=_no_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=status_problems,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=_row,
)

HPA_V1 = Rules(
    strategy=Strategy(
        default=_default_v1,
        prepare_create=_no_status_v1,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_v1,
        validate_status=status_problems,
        has_generation=False,
    ),
    columns=_COLUMNS,
    row=lambda obj: _row(to_v2(obj)),
    storage=("autoscaling", "v2"),
    to_storage=to_v2,
    from_storage=from_v2,
)
