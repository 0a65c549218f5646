"""ReplicaSet (apps/v1) and ReplicationController (core/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, invalid, required
from todoku.api.internals import or_null
from todoku.api.meta import Object
from todoku.api.podspec import TemplateRules, default_template, validate_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, labels_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.selectors import from_map
from todoku.api.tables import created
from todoku.api.validation import non_negative

_RULES = TemplateRules(workload="ReplicaSet")


def default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("template") is not None:
        default_template(spec["template"])
    spec.setdefault("replicas", 1)


def _default_set(obj: Object) -> None:
    obj.setdefault("spec", {}).setdefault("template", {})
    default(obj)


def prepare_create(obj: Object) -> None:
    clear_status(obj)
    obj["status"] = {"replicas": 0}


def validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems: list[FieldError] = []
    for field in ("replicas", "minReadySeconds"):
        problems += non_negative(spec.get(field), SPEC / field)
    text = "empty selector is invalid for deployment"
    problems += workloads.needed_selector(spec, empty_is=text)
    problems += workloads.matched_template(spec, _RULES)
    if old is not None:
        problems += workloads.selector_unchanged(new, old)
    return problems


_COUNTS = (
    "replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration",
    "terminatingReplicas",
)  # fmt: skip


def validate_status(new: Object, old: Object) -> list[FieldError]:
    status = new.get("status") or {}
    return workloads.count_problems(status, _COUNTS) + workloads.above_replicas(
        status,
        ("fullyLabeledReplicas", "readyReplicas", "availableReplicas"),
        unready_is="cannot be greater than readyReplicas",
    )


def _selectable(obj: Object) -> dict[str, str]:
    return {"status.replicas": str((obj.get("status") or {}).get("replicas", 0))}


def _row(obj: Object) -> list[object]:
    return _cells(obj, selector_cell(obj["spec"].get("selector")))


def _cells(obj: Object, selector: str) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        obj["metadata"]["name"],
        spec.get("replicas", 0),
        status.get("replicas", 0),
        status.get("readyReplicas", 0),
        created(obj),
        containers_cell(pod),
        images_cell(pod),
        selector,
    ]


def _columns(kind: str) -> tuple[Column, ...]:
    return (
        NAME,
        Column(name="Desired", type="integer", documents=f"{kind}Spec.replicas"),
        Column(name="Current", type="integer", documents=f"{kind}Status.replicas"),
        Column(name="Ready", type="integer", documents=f"{kind}Status.readyReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_column(f"{kind}Spec.selector"),
    )


REPLICA_SET = Rules(
    strategy=Strategy(
        default=_default_set,
        prepare_create=prepare_create,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=validate,
        validate_status=validate_status,
        warnings=workloads.named_warnings,
        selectable_fields=_selectable,
        selectable_field_names=("status.replicas",),
    ),
    columns=_columns("apps.v1.ReplicaSet"),
    row=_row,
)


def _default_controller(obj: Object) -> None:
    default(obj)
    spec = obj["spec"]
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not obj["metadata"].get("labels"):
            obj["metadata"]["labels"] = dict(labels)


def _validate_controller(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    selector, template = spec.get("selector"), spec.get("template")
    problems = non_negative(spec.get("minReadySeconds"), SPEC / "minReadySeconds")
    if not selector:
        problems.append(required(SPEC / "selector"))
    problems += non_negative(spec.get("replicas"), SPEC / "replicas")
    if template is None:
        return [*problems, required(SPEC / "template")]
    labels = (template.get("metadata") or {}).get("labels")
    if selector and not from_map(selector).matches(labels):
        text = "`selector` does not match template `labels`"
        problems.append(invalid(SPEC / "template" / "metadata" / "labels", or_null(labels), text))
    rules = TemplateRules(workload="ReplicationController")
    return problems + validate_template(template, SPEC / "template", rules)


REPLICATION_CONTROLLER = Rules(
    strategy=Strategy(
        default=_default_controller,
        prepare_create=prepare_create,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_controller,
        validate_status=validate_status,
        warnings=workloads.named_warnings,
        orphans_dependents=True,
        selectable_fields=_selectable,
        selectable_field_names=("status.replicas",),
    ),
    columns=_columns("core.v1.ReplicationController"),
    row=lambda obj: _cells(obj, labels_cell(obj["spec"].get("selector"))),
)
