"""Deployment (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import (
    FieldError,
    Path,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
)
from todoku.api.meta import Object
from todoku.api.podspec import TemplateRules, default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    keep_all_but_status_and_labels,
    keep_status,
)
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.tables import created
from todoku.api.validation import non_negative

RULES = TemplateRules(workload="Deployment")


def default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    default_template(spec.setdefault("template", {}))
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            rolling = strategy["rollingUpdate"] = {}
        for field in ("maxUnavailable", "maxSurge"):
            if rolling.get(field) is None:
                rolling[field] = "25%"
    spec.setdefault("revisionHistoryLimit", 10)
    spec.setdefault("progressDeadlineSeconds", 600)


def validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = non_negative(spec.get("replicas"), SPEC / "replicas")
    problems += workloads.selector_and_template(
        spec, rules=RULES, empty_is="empty selector is invalid for deployment"
    )
    problems += workloads.template_problems(spec, rules=RULES)
    problems += _strategy_problems(spec.get("strategy") or {}, SPEC / "strategy")
    for field in ("minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"):
        problems += non_negative(spec.get(field), SPEC / field)
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        text = "must be greater than minReadySeconds"
        problems.append(invalid(SPEC / "progressDeadlineSeconds", deadline, text))
    if old is not None:
        problems += workloads.selector_unchanged(new, old)
    return problems


def _strategy_problems(strategy: Object, path: Path) -> list[FieldError]:
    kind = strategy.get("type")
    if kind == "Recreate":
        if strategy.get("rollingUpdate") is not None:
            text = "may not be specified when strategy `type` is 'Recreate'"
            return [forbidden(path / "rollingUpdate", text)]
        return []
    if kind != "RollingUpdate":
        return [not_supported(path / "type", kind, ("Recreate", "RollingUpdate"))]
    rolling = strategy.get("rollingUpdate")
    at = path / "rollingUpdate"
    if rolling is None:
        return [required(at, "this should be defaulted and never be nil")]
    problems: list[FieldError] = []
    for field in ("maxUnavailable", "maxSurge"):
        problems += workloads.int_or_percent_problems(rolling.get(field), at / field)
    if workloads.is_zero(rolling.get("maxUnavailable")) and workloads.is_zero(
        rolling.get("maxSurge")
    ):
        text = "may not be 0 when `maxSurge` is 0"
        problems.append(invalid(at / "maxUnavailable", rolling.get("maxUnavailable"), text))
    problems += workloads.above_hundred_percent(
        rolling.get("maxUnavailable"), at / "maxUnavailable"
    )
    return problems


_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
    "unavailableReplicas", "terminatingReplicas", "collisionCount",
)  # fmt: skip


def validate_status(new: Object, old: Object) -> list[FieldError]:
    status, path = new.get("status") or {}, Path("status")
    problems: list[FieldError] = []
    for field in _COUNTS:
        problems += non_negative(status.get(field), path / field)
    total = status.get("replicas", 0)
    for field in ("updatedReplicas", "readyReplicas", "availableReplicas"):
        if status.get(field, 0) > total:
            problems.append(
                invalid(
                    path / field, status.get(field, 0), "cannot be greater than status.replicas"
                )
            )
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        text = "cannot be greater than readyReplicas"
        problems.append(
            invalid(path / "availableReplicas", status.get("availableReplicas", 0), text)
        )
    before = (old.get("status") or {}).get("collisionCount")
    if before is not None and (status.get("collisionCount") or 0) < before:
        text = "cannot be decremented"
        problems.append(invalid(path / "collisionCount", status.get("collisionCount") or 0, text))
    return problems + condition_problems(status.get("conditions") or (), path / "conditions")


def condition_problems(conditions: object, path: Path) -> list[FieldError]:
    """Condition types are unique."""
    problems: list[FieldError] = []
    seen: set[str] = set()
    for index, one in enumerate(conditions):  # type: ignore[arg-type, var-annotated]
        if one.get("type") in seen:
            problems.append(duplicate(path / index / "type", one["type"]))
        seen.add(one.get("type", ""))
    return problems


def row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        obj["metadata"]["name"],
        f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}",
        status.get("updatedReplicas", 0),
        status.get("availableReplicas", 0),
        created(obj),
        containers_cell(pod),
        images_cell(pod),
        selector_cell(spec.get("selector")),
    ]


CONTAINERS = Column(
    name="Containers", priority=1, description="Names of each container in the template."
)
IMAGES = Column(
    name="Images", priority=1, description="Images referenced by each container in the template."
)


def selector_column(documents: str) -> Column:
    return Column(name="Selector", priority=1, documents=documents)


DEPLOYMENT = Rules(
    strategy=Strategy(
        default=default,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status_and_labels,
        validate=validate,
        validate_status=validate_status,
        warnings=workloads.warnings,
    ),
    columns=(
        NAME,
        Column(name="Ready", description="Number of the pod with ready state"),
        Column(name="Up-to-date", documents="apps.v1.DeploymentStatus.updatedReplicas"),
        Column(name="Available", documents="apps.v1.DeploymentStatus.availableReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_column("apps.v1.DeploymentSpec.selector"),
    ),
    row=row,
)
