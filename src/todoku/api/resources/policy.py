"""PodDisruptionBudget (policy/v1), PriorityClass, RuntimeClass, Lease."""

from __future__ import annotations

from todoku.api import validation
from todoku.api.errors import FieldError, Path, forbidden, invalid, not_supported
from todoku.api.formats import conditions, each
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.podspec.resources import resource_problems
from todoku.api.podspec.scheduling import toleration_problems
from todoku.api.resource import Column, Strategy
from todoku.api.resources.generic import (
    AGE,
    NAME,
    keep_all_but_status,
    keep_status,
)
from todoku.api.resources.pod_warnings import DEPRECATED_LABELS
from todoku.api.resources.rules import Rules
from todoku.api.resources.workloads import above_hundred_percent, int_or_percent_problems
from todoku.api.selectors import selector_problems
from todoku.api.tables import created

_SPEC = Path("spec")


def _validate_budget(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    minimum, maximum = spec.get("minAvailable"), spec.get("maxUnavailable")
    if minimum is not None and maximum is not None:
        text = "minAvailable and maxUnavailable cannot be both set"
        problems.append(invalid(_SPEC, rendered(spec, "PodDisruptionBudgetSpec"), text))
    for field in ("minAvailable", "maxUnavailable"):
        if spec.get(field) is not None:
            problems += int_or_percent_problems(spec[field], _SPEC / field)
            problems += above_hundred_percent(spec[field], _SPEC / field)
    problems += selector_problems(spec.get("selector"), _SPEC / "selector")
    policy = spec.get("unhealthyPodEvictionPolicy")
    supported = ("AlwaysAllow", "IfHealthyBudget")
    if policy is not None and policy not in supported:
        problems.append(not_supported(_SPEC / "unhealthyPodEvictionPolicy", policy, supported))
    return problems


_BUDGET_COUNTS = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")


def _validate_budget_status(new: Object, old: Object) -> list[FieldError]:
    status, path = new.get("status") or {}, Path("status")
    problems = conditions(status.get("conditions") or (), path / "conditions")
    for field in _BUDGET_COUNTS:
        problems += validation.non_negative(status.get(field), path / field)
    return problems


def _no_budget_status(obj: Object) -> None:
    obj["status"] = dict.fromkeys(_BUDGET_COUNTS, 0)


def _shown(value: object) -> object:
    return "N/A" if value is None else str(value)


DISRUPTION_BUDGET = Rules(
    strategy=Strategy(
        prepare_create=_no_budget_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_budget,
        validate_status=_validate_budget_status,
    ),
    columns=(
        NAME,
        Column(
            name="Min Available", description="The minimum number of pods that must be available."
        ),
        Column(
            name="Max Unavailable",
            description="The maximum number of pods that may be unavailable.",
        ),
        Column(
            name="Allowed Disruptions",
            type="integer",
            description="Calculated number of pods that may be disrupted at this time.",
        ),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        _shown((obj.get("spec") or {}).get("minAvailable")),
        _shown((obj.get("spec") or {}).get("maxUnavailable")),
        (obj.get("status") or {}).get("disruptionsAllowed", 0),
        created(obj),
    ],
)


_HIGHEST_USER = 1_000_000_000


def _default_priority(obj: Object) -> None:
    if obj.get("preemptionPolicy") is None:
        obj["preemptionPolicy"] = "PreemptLowerPriority"
    obj.setdefault("value", 0)


SYSTEM_CLASSES = {"system-node-critical": 2000001000, "system-cluster-critical": 2000000000}


def _system_class_problem(obj: Object) -> str:
    name = obj["metadata"].get("name", "")
    if name not in SYSTEM_CLASSES:
        return f"{name} is not a known system priority class"
    if (obj.get("value") or 0) != SYSTEM_CLASSES[name]:
        return f"value of {name} PriorityClass must be {SYSTEM_CLASSES[name]}"
    if obj.get("globalDefault"):
        return f"globalDefault of {name} PriorityClass must be false"
    return ""


def _validate_priority(new: Object, old: Object | None) -> list[FieldError]:
    value, policy = new.get("value") or 0, new.get("preemptionPolicy")
    if old is not None:
        problems = [] if value == (old.get("value") or 0) else [forbidden(Path("value"), _FIXED)]
        path = Path("preemptionPolicy")
        return problems + validation.immutable(policy, old.get("preemptionPolicy"), path)
    problems = []
    if new["metadata"].get("name", "").startswith("system-"):
        if text := _system_class_problem(new):
            problems.append(forbidden(Path("metadata") / "name", f"{_RESERVED} error: {text}"))
    elif value > _HIGHEST_USER:
        text = f"maximum allowed value of a user defined priority is {_HIGHEST_USER}"
        problems.append(forbidden(Path("value"), text))
    if policy not in _PREEMPTION:
        problems.append(not_supported(Path("preemptionPolicy"), policy, _PREEMPTION))
    return problems


_FIXED = "may not be changed in an update."
_RESERVED = "priority class names with 'system-' prefix are reserved for system use only."
_PREEMPTION = ("PreemptLowerPriority", "Never")


PRIORITY_CLASS = Rules(
    strategy=Strategy(
        default=_default_priority,
        validate=_validate_priority,
        has_status=False,
        generation_of=lambda obj: None,  # it stays 1
    ),
    columns=(
        NAME,
        Column(name="Value", type="integer", documents="scheduling.v1.PriorityClass.value"),
        Column(
            name="Global-Default",
            type="boolean",
            documents="scheduling.v1.PriorityClass.globalDefault",
        ),
        AGE,
        Column(name="PreemptionPolicy", documents="scheduling.v1.PriorityClass.preemptionPolicy"),
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        obj.get("value", 0),
        bool(obj.get("globalDefault")),
        created(obj),
        obj.get("preemptionPolicy", ""),
    ],
)


def _validate_runtime(new: Object, old: Object | None) -> list[FieldError]:
    handler, path = new.get("handler") or "", Path("handler")
    if old is not None:
        return validation.immutable(handler, old.get("handler"), path)
    problems = each(validation.dns1123_label, handler, path)
    fixed = (new.get("overhead") or {}).get("podFixed")
    if fixed:
        problems += resource_problems({"limits": fixed}, Path("overhead") / "podFixed")
    scheduling = new.get("scheduling")
    if scheduling is not None:
        problems += _scheduling_problems(scheduling, Path("scheduling"))
    return problems


def _scheduling_problems(scheduling: Object, path: Path) -> list[FieldError]:
    problems = validation.label_problems(scheduling.get("nodeSelector"), path / "nodeSelector")
    tolerations = scheduling.get("tolerations") or ()
    problems += toleration_problems(tolerations, path / "tolerations")
    return problems + validation.duplicates(tolerations, path / "tolerations")


def _runtime_warnings(new: Object, old: Object | None) -> list[str]:
    labels = (new.get("scheduling") or {}).get("nodeSelector") or {}
    return [
        f"scheduling.nodeSelector: {DEPRECATED_LABELS[key]}"
        for key in labels
        if key in DEPRECATED_LABELS
    ]


RUNTIME_CLASS = Rules(
    strategy=Strategy(
        validate=_validate_runtime,
        warnings=_runtime_warnings,
        has_status=False,
        has_generation=False,
    ),
    columns=(NAME, Column(name="Handler"), AGE),
    row=lambda obj: [obj["metadata"]["name"], obj.get("handler", ""), created(obj)],
)


def _validate_lease(new: Object, old: Object | None) -> list[FieldError]:
    spec = new.get("spec") or {}
    problems: list[FieldError] = []
    seconds = spec.get("leaseDurationSeconds")
    if seconds is not None and seconds <= 0:
        problems.append(invalid(_SPEC / "leaseDurationSeconds", seconds, "must be greater than 0"))
    transitions = spec.get("leaseTransitions")
    if transitions is not None and transitions < 0:
        text = "must be greater than or equal to 0"
        problems.append(invalid(_SPEC / "leaseTransitions", transitions, text))
    return problems


LEASE = Rules(
    strategy=Strategy(
        validate=_validate_lease,
        has_status=False,
        has_generation=False,
    ),
    columns=(
        NAME,
        Column(name="Holder", documents="coordination.v1.LeaseSpec.holderIdentity"),
        AGE,
    ),
    row=lambda obj: [
        obj["metadata"]["name"],
        (obj.get("spec") or {}).get("holderIdentity", ""),
        created(obj),
    ],
)
