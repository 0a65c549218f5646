"""DaemonSet and ControllerRevision (apps/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, invalid, not_supported, required
from todoku.api.internals import rendered
from todoku.api.meta import Object, controller_of
from todoku.api.podspec import TemplateRules, default_template, validate_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, labels_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.selectors import selector_problems
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


# Where apps/v1 keeps the number that pods of the old template carry as a label.
TEMPLATE_GENERATION = "deprecated.daemonset.template.generation"


def _prepare_create(obj: Object) -> None:
    clear_status(obj)
    fields = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
    )
    obj["status"] = dict.fromkeys(fields, 0)
    _set_generation(obj, max(_template_generation(obj), 1))


def _prepare_update(new: Object, old: Object) -> None:
    """The template's generation is the server's: it counts the changes of the template."""
    keep_status(new, old)
    changed = new["spec"].get("template") != old["spec"].get("template")
    _set_generation(new, _template_generation(old) + changed)


def _prepare_status(new: Object, old: Object) -> None:
    keep_all_but_status(new, old)
    _set_generation(new, _template_generation(old))


def _template_generation(obj: Object) -> int:
    text = (obj["metadata"].get("annotations") or {}).get(TEMPLATE_GENERATION, "")
    return int(text) if text.isascii() and text.isdecimal() else 0


def _set_generation(obj: Object, generation: int) -> None:
    annotations = dict(obj["metadata"].get("annotations") or {})
    annotations[TEMPLATE_GENERATION] = str(generation)
    obj["metadata"]["annotations"] = annotations


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = workloads.selector_unchanged(new, old) if old is not None else []
    selector, template = spec.get("selector"), spec.get("template") or {}
    broken = selector_problems(selector, SPEC / "selector")
    problems += broken or workloads.labels_mismatch(selector, template, SPEC / "template")
    if selector is not None and not any(selector.values()):
        text = "empty selector is invalid for daemonset"
        problems.append(invalid(SPEC / "selector", selector, text))
    problems += validate_template(template, SPEC / "template", _RULES)
    problems += non_negative(spec.get("minReadySeconds"), SPEC / "minReadySeconds")
    problems += _strategy(spec.get("updateStrategy") or {}, SPEC / "updateStrategy")
    return problems + non_negative(spec.get("revisionHistoryLimit"), SPEC / "revisionHistoryLimit")


def _strategy(strategy: Object, path: Path) -> list[FieldError]:
    kind = strategy.get("type")
    if kind == "OnDelete":
        return []
    if kind != "RollingUpdate":
        shown = rendered(strategy, "DeploymentStrategy")
        return [not_supported(path, shown, ("RollingUpdate", "OnDelete"))]
    rolling, at = strategy.get("rollingUpdate"), path / "rollingUpdate"
    if rolling is None:
        return [required(at)]
    problems: list[FieldError] = []
    for rule in (workloads.int_or_percent_problems, workloads.above_hundred_percent):
        for field in ("maxUnavailable", "maxSurge"):
            problems += rule(rolling.get(field), at / field)
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    if not workloads.is_zero(unavailable) and not workloads.is_zero(surge):
        text = "may not be set when maxUnavailable is non-zero"
        problems.append(invalid(at / "maxSurge", surge, text))
    elif workloads.is_zero(unavailable) and workloads.is_zero(surge):
        problems.append(required(at / "maxUnavailable", "cannot be 0 when maxSurge is 0"))
    return problems


_COUNTS = (
    "currentNumberScheduled", "numberMisscheduled", "desiredNumberScheduled", "numberReady",
    "observedGeneration", "updatedNumberScheduled", "numberAvailable", "numberUnavailable", "collisionCount",
)  # fmt: skip


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    problems = workloads.count_problems(new.get("status") or {}, _COUNTS)
    return problems + workloads.collisions_decremented(new, old)


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
        prepare_update=_prepare_update,
        prepare_status=_prepare_status,
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
    data, path = new.get("data"), Path("data")
    problems = non_negative(new.get("revision"), Path("revision"))
    if old is not None:
        return problems + immutable(data, old.get("data"), path)
    if data is None:
        problems.append(required(path, "data is mandatory"))
    elif not isinstance(data, dict):
        problems.append(required(path, "data must be a valid JSON object"))
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
