"""DaemonSet and ControllerRevision (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, invalid, not_supported, required
from todoku.api.meta import Object, controller_of
from todoku.api.podspec import TemplateRules, default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, labels_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.tables import created
from todoku.api.validation import immutable, non_negative

_RULES = TemplateRules(workload="DaemonSet")


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    default_template(spec.setdefault("template", {}))
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.get("rollingUpdate")
        if rolling is None:
            rolling = strategy["rollingUpdate"] = {}
        if rolling.get("maxUnavailable") is None:
            rolling["maxUnavailable"] = 1
        if rolling.get("maxSurge") is None:
            rolling["maxSurge"] = 0
    spec.setdefault("revisionHistoryLimit", 10)


def _prepare_create(obj: Object) -> None:
    clear_status(obj)
    fields = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    )
    obj["status"] = dict.fromkeys(fields, 0)


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    text = "empty selector is invalid for daemonset"
    problems = workloads.selector_and_template(spec, rules=_RULES, empty_is=text)
    problems += workloads.template_problems(spec, rules=_RULES)
    for field in ("minReadySeconds", "revisionHistoryLimit"):
        problems += non_negative(spec.get(field), SPEC / field)
    problems += _strategy(spec.get("updateStrategy") or {}, SPEC / "updateStrategy")
    if old is not None:
        problems += workloads.selector_unchanged(new, old)
    return problems


def _strategy(strategy: Object, path: Path) -> list[FieldError]:
    kind = strategy.get("type")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        return [not_supported(path / "type", kind, ("OnDelete", "RollingUpdate"))]
    rolling, at = strategy.get("rollingUpdate"), path / "rollingUpdate"
    if rolling is None:
        return [required(at)]
    problems: list[FieldError] = []
    for field in ("maxUnavailable", "maxSurge"):
        problems += workloads.int_or_percent_problems(rolling.get(field), at / field)
        problems += workloads.above_hundred_percent(rolling.get(field), at / field)
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if not workloads.is_zero(unavailable) and not workloads.is_zero(surge):
        text = "may not be set when maxUnavailable is non-zero"
        problems.append(invalid(at / "maxSurge", surge, text))
    elif workloads.is_zero(unavailable) and workloads.is_zero(surge):
        text = "cannot be 0 when maxSurge is 0"
        problems.append(invalid(at / "maxUnavailable", unavailable, text))
    return problems


_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
    "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    status, path = new.get("status") or {}, Path("status")
    return [one for field in _COUNTS for one in non_negative(status.get(field), path / field)]


def _row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    pod = (spec.get("template") or {}).get("spec") or {}
    return [
        obj["metadata"]["name"],
        status.get("desiredNumberScheduled", 0),
        status.get("currentNumberScheduled", 0),
        status.get("numberReady", 0),
        status.get("updatedNumberScheduled", 0),
        status.get("numberAvailable", 0),
        labels_cell(pod.get("nodeSelector")),
        created(obj),
        containers_cell(pod),
        images_cell(pod),
        selector_cell(spec.get("selector")),
    ]


DAEMON_SET = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        warnings=workloads.warnings,
    ),
    columns=(
        NAME,
        Column(
            name="Desired",
            type="integer",
            documents="apps.v1.DaemonSetStatus.desiredNumberScheduled",
        ),
        Column(
            name="Current",
            type="integer",
            documents="apps.v1.DaemonSetStatus.currentNumberScheduled",
        ),
        Column(name="Ready", type="integer", documents="apps.v1.DaemonSetStatus.numberReady"),
        Column(
            name="Up-to-date",
            type="integer",
            documents="apps.v1.DaemonSetStatus.updatedNumberScheduled",
        ),
        Column(
            name="Available", type="integer", documents="apps.v1.DaemonSetStatus.numberAvailable"
        ),
        Column(name="Node Selector", documents="core.v1.PodSpec.nodeSelector"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_column("apps.v1.DaemonSetSpec.selector"),
    ),
    row=_row,
)


def _validate_revision(new: Object, old: Object | None) -> list[FieldError]:
    problems: list[FieldError] = []
    if new.get("data") is None:
        problems.append(required(Path("data"), "data is mandatory"))
    problems += non_negative(new.get("revision"), Path("revision"))
    if old is not None:
        problems += immutable(new.get("data"), old.get("data"), Path("data"))
    return problems


def _revision_row(obj: Object) -> list[object]:
    owner = controller_of(obj)
    shown = "<none>"
    if owner:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        shown = (
            f"{owner.get('kind', '').lower()}{'.' + group if group else ''}/{owner.get('name', '')}"
        )
    return [obj["metadata"]["name"], shown, obj.get("revision", 0), created(obj)]


CONTROLLER_REVISION = Rules(
    strategy=Strategy(validate=_validate_revision, has_status=False, has_generation=False),
    columns=(
        NAME,
        Column(name="Controller", description="Controller of the object"),
        Column(name="Revision", documents="apps.v1.ControllerRevision.revision"),
        AGE,
    ),
    row=_revision_row,
)
