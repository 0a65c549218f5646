"""Deployment (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported, required
from todoku.api.internals import rendered
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

RULES = TemplateRules(workload="ReplicaSet")


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
    problems += workloads.needed_selector(spec, empty_is="empty selector is invalid for deployment")
    problems += workloads.matched_template(spec, RULES)
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
        shown = rendered(strategy, "DeploymentStrategy")
        return [not_supported(path, shown, ("Recreate", "RollingUpdate"))]
    rolling = strategy.get("rollingUpdate")
    at = path / "rollingUpdate"
    if rolling is None:
        return [required(at, "this should be defaulted and never be nil")]
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    problems = workloads.int_or_percent_problems(unavailable, at / "maxUnavailable")
    problems += workloads.int_or_percent_problems(surge, at / "maxSurge")
    if workloads.is_zero(unavailable) and workloads.is_zero(surge):
        text = "may not be 0 when `maxSurge` is 0"
        problems.append(invalid(at / "maxUnavailable", unavailable, text))
    return problems + workloads.above_hundred_percent(unavailable, at / "maxUnavailable")


_COUNTS = (
    "observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas",
    "unavailableReplicas", "terminatingReplicas", "collisionCount",
)  # fmt: skip


def validate_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    problems = workloads.count_problems(status, _COUNTS)
    problems += workloads.above_replicas(
        status,
        ("updatedReplicas", "readyReplicas", "availableReplicas"),
        unready_is="cannot be greater than readyReplicas",
    )
    return problems + workloads.collisions_decremented(new, old)


def generation_of(obj: Object) -> object:
    """A Deployment's annotations count like its spec: its controller copies them to the ReplicaSets."""
    return obj["spec"], obj["metadata"].get("annotations") or {}


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
        warnings=workloads.named_warnings,
        generation_of=generation_of,
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
