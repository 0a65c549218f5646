"""Validation of a JobSpec and of its changes (pkg/apis/batch/validation); shared by Job and CronJob."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from todoku.api.errors import (
    OMITTED,
    FieldError,
    Path,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from todoku.api.formats import domain_prefixed_path, each
from todoku.api.internals import or_null, rendered, rendered_pod_spec, rendered_template
from todoku.api.meta import Object, copy
from todoku.api.podspec import validate_template
from todoku.api.validation import immutable, non_negative, qualified_name_problems, repeats

_COUNTS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
)  # fmt: skip
_MAX_PARALLELISM = _MAX_FAILED_INDEXES = _MANY_COMPLETIONS = 100_000
_LIMIT_OF_MANY = 10_000
_MAX_MANAGED_BY_BYTES = 63
_MAX_RULES, _MAX_EXIT_CODES, _MAX_PATTERNS = 20, 255, 20
_MAX_INDEXES_BYTES = 64 * 1024


def spec_problems(spec: Object, path: Path) -> list[FieldError]:
    """A JobSpec without its selector."""
    problems = [one for field in _COUNTS for one in non_negative(spec.get(field), path / field)]
    if spec.get("maxFailedIndexes") is not None:
        problems += non_negative(spec["maxFailedIndexes"], path / "maxFailedIndexes")
        if spec.get("backoffLimitPerIndex") is None:
            text = "when maxFailedIndexes is specified"
            problems.append(required(path / "backoffLimitPerIndex", text))
    if spec.get("managedBy") is not None:
        problems += domain_prefixed_path(spec["managedBy"], path / "managedBy")
        if len(spec["managedBy"]) > _MAX_MANAGED_BY_BYTES:
            problems.append(too_long(path / "managedBy", _MAX_MANAGED_BY_BYTES))
    problems += _mode_problems(spec, path)
    if spec.get("podFailurePolicy") is not None:
        problems += _failure_policy(spec, path / "podFailurePolicy")
    if spec.get("successPolicy") is not None:
        problems += _success_policy(spec, path / "successPolicy")
    problems += _replacement_policy(spec, path / "podReplacementPolicy")
    problems += validate_template(spec.get("template") or {}, path / "template")
    return problems + _restart_policy(spec, path / "template" / "spec" / "restartPolicy")


def _mode_problems(spec: Object, path: Path) -> list[FieldError]:
    mode = spec.get("completionMode")
    problems: list[FieldError] = []
    if mode not in (None, "NonIndexed", "Indexed"):
        problems.append(not_supported(path / "completionMode", mode, ("NonIndexed", "Indexed")))
    if mode == "Indexed":
        return problems + _indexed(spec, path)
    if mode in (None, "NonIndexed"):
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                text = "requires indexed completion mode"
                problems.append(invalid(path / field, spec[field], text))
    return problems


def _indexed(spec: Object, path: Path) -> list[FieldError]:
    completions, parallelism = spec.get("completions"), spec.get("parallelism")
    failed = spec.get("maxFailedIndexes")
    problems: list[FieldError] = []
    if completions is None:
        problems.append(required(path / "completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MAX_PARALLELISM:
        text = f"must be less than or equal to {_MAX_PARALLELISM} when completion mode is Indexed"
        problems.append(invalid(path / "parallelism", parallelism, text))
    if failed is not None and completions is not None and failed > completions:
        text = "must be less than or equal to completions"
        problems.append(invalid(path / "maxFailedIndexes", failed, text))
    if failed is not None and failed > _MAX_FAILED_INDEXES:
        text = f"must be less than or equal to {_MAX_FAILED_INDEXES}"
        problems.append(invalid(path / "maxFailedIndexes", failed, text))
    if completions is None or completions <= _MANY_COMPLETIONS:
        return problems
    return problems if spec.get("backoffLimitPerIndex") is None else problems + _many(spec, path)


def _many(spec: Object, path: Path) -> list[FieldError]:
    """Many completions with a limit per index need tighter bounds."""
    failed, parallelism = spec.get("maxFailedIndexes"), spec.get("parallelism")
    problems: list[FieldError] = []
    if failed is None:
        text = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        problems.append(required(path / "maxFailedIndexes", text))
    text = (
        f"must be less than or equal to {_LIMIT_OF_MANY} when completions are above {_MANY_COMPLETIONS}"
        " and used with backoff limit per index"
    )
    for field, value in (("parallelism", parallelism), ("maxFailedIndexes", failed)):
        if value is not None and value > _LIMIT_OF_MANY:
            problems.append(invalid(path / field, value, text))
    return problems


def _replacement_policy(spec: Object, at: Path) -> list[FieldError]:
    policy = spec.get("podReplacementPolicy")
    supported = ("Failed", "TerminatingOrFailed")
    if spec.get("podFailurePolicy") is not None:
        supported = ("Failed",)  # type: ignore[assignment]
    if policy is None or policy in supported:
        return []
    return [not_supported(at, policy, supported)]


def _restart_policy(spec: Object, at: Path) -> list[FieldError]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        return [required(at, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(at, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        text = 'only "Never" is supported when podFailurePolicy is specified'
        return [invalid(at, policy, text)]
    return []


_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")


def _valid_values(supported: Sequence[str]) -> str:
    listed = " ".join(f'"{one}"' for one in supported)
    return f"valid values: [{listed}]"


def _failure_policy(spec: Object, path: Path) -> list[FieldError]:
    rules = spec["podFailurePolicy"].get("rules") or ()
    problems: list[FieldError] = []
    if len(rules) > _MAX_RULES:
        problems.append(too_many(path / "rules", len(rules), _MAX_RULES))
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {
        one.get("name")
        for field in ("containers", "initContainers")
        for one in pod.get(field) or ()
    }
    for index, rule in enumerate(rules):
        problems += _failure_rule(spec, rule, path / "rules" / index, names)
    return problems


def _failure_rule(spec: Object, rule: Object, at: Path, names: set[Any]) -> list[FieldError]:
    action = rule.get("action") or ""
    problems: list[FieldError] = []
    if not action:
        problems.append(required(at / "action", _valid_values(_ACTIONS)))
    elif action not in _ACTIONS:
        problems.append(not_supported(at / "action", action, _ACTIONS))
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        text = "requires the backoffLimitPerIndex to be set"
        problems.append(invalid(at / "action", action, text))
    codes, patterns = rule.get("onExitCodes"), rule.get("onPodConditions")
    if codes is not None:
        problems += _exit_codes(codes, at / "onExitCodes", names)
    if patterns:
        problems += _patterns(patterns, at / "onPodConditions")
    if codes is not None and patterns:
        text = "specifying both OnExitCodes and OnPodConditions is not supported"
        problems.append(invalid(at, OMITTED, text))
    if codes is None and not patterns:
        text = "specifying one of OnExitCodes and OnPodConditions is required"
        problems.append(invalid(at, OMITTED, text))
    return problems


def _patterns(patterns: Sequence[Object], at: Path) -> list[FieldError]:
    problems: list[FieldError] = []
    if len(patterns) > _MAX_PATTERNS:
        problems.append(too_many(at, len(patterns), _MAX_PATTERNS))
    for index, one in enumerate(patterns):
        where, status = at / index, one.get("status") or ""
        problems += each(qualified_name_problems, one.get("type") or "", where / "type")
        if not status:
            problems.append(required(where / "status", _valid_values(_STATUSES)))
        elif status not in _STATUSES:
            problems.append(not_supported(where / "status", status, _STATUSES))
    return problems


def _exit_codes(codes: Object, at: Path, names: set[Any]) -> list[FieldError]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    problems: list[FieldError] = []
    if not operator:
        problems.append(required(at / "operator", _valid_values(_OPERATORS)))
    elif operator not in _OPERATORS:
        problems.append(not_supported(at / "operator", operator, _OPERATORS))
    container = codes.get("containerName")
    if container is not None and container not in names:
        text = "must be one of the container or initContainer names in the pod template"
        problems.append(invalid(at / "containerName", container, text))
    path = at / "values"
    if not values:
        shown = or_null(codes.get("values"))
        problems.append(invalid(path, shown, "at least one value is required"))
    elif len(values) > _MAX_EXIT_CODES:
        problems.append(too_many(path, len(values), _MAX_EXIT_CODES))
    repeated = repeats(values)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            problems.append(invalid(path / index, value, "must not be 0 for the In operator"))
        if index in repeated:
            problems.append(duplicate(path / index, value))
    if values != sorted(values):
        problems.append(invalid(path, values, "must be ordered"))
    return problems


def _success_policy(spec: Object, path: Path) -> list[FieldError]:
    if spec.get("completionMode") != "Indexed":
        shown = rendered(spec["successPolicy"], "SuccessPolicy")
        return [invalid(path, shown, "requires indexed completion mode")]
    rules = spec["successPolicy"].get("rules") or ()
    problems: list[FieldError] = []
    if not rules:
        text = "at least one rules must be specified when the successPolicy is specified"
        problems.append(required(path / "rules", text))
    if len(rules) > _MAX_RULES:
        problems.append(too_many(path / "rules", len(rules), _MAX_RULES))
    completions = spec.get("completions") or 0
    for index, rule in enumerate(rules):
        problems += _success_rule(rule, path / "rules" / index, completions)
    return problems


def _success_rule(rule: Object, at: Path, completions: int) -> list[FieldError]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    problems: list[FieldError] = []
    if count is None and indexes is None:
        text = "at least one of succeededCount or succeededIndexes must be specified"
        problems.append(required(at, text))
    total = 0
    if indexes is not None:
        if len(indexes) > _MAX_INDEXES_BYTES:
            problems.append(too_long(at / "succeededIndexes", _MAX_INDEXES_BYTES))
        try:
            total = count_indexes(indexes, completions)
        except ValueError as error:
            text = f"error parsing succeededIndexes: {error}"
            problems.append(invalid(at / "succeededIndexes", indexes, text))
    if count is None:
        return problems
    where = at / "succeededCount"
    problems += non_negative(count, where)
    if count > completions:
        text = f"must be less than or equal to {completions} (the number of specified completions)"
        problems.append(invalid(where, count, text))
    if indexes is not None and count > total:
        text = (
            f"must be less than or equal to {total} (the number of indexes in the specified"
            " succeededIndexes field)"
        )
        problems.append(invalid(where, count, text))
    return problems


def count_indexes(text: str, completions: int) -> int:
    """How many indexes `1,3-5` names.  Raises ValueError."""
    return sum(last - first + 1 for first, last in index_intervals(text, completions))


def index_intervals(text: str, completions: int) -> list[tuple[int, int]]:
    """The intervals of `1,3-5`, which must rise and stay below `completions`.  Raises ValueError."""
    found: list[tuple[int, int]] = []
    for part in text.split(",") if text else ():
        first, last = _interval(part, completions)
        if found and found[-1][1] >= first:
            raise ValueError(f"non-increasing order, previous: {found[-1][1]}, current: {first}")
        found.append((first, last))
    return found


def _interval(part: str, completions: int) -> tuple[int, int]:
    limits = part.split("-")
    if len(limits) > 2:
        raise ValueError(
            f'the fragment "{part}" violates the requirement that an index interval can have at most two parts'
            " separated by '-'"
        )
    first = _index(limits[0], completions)
    if len(limits) == 1:
        return first, first
    last = _index(limits[1], completions)
    if first >= last:
        raise ValueError(f"non-increasing order, previous: {first}, current: {last}")
    return first, last


def _index(text: str, completions: int) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)


def update_problems(new: Object, old: Object) -> list[FieldError]:
    """What a Job's spec may not change."""
    spec, before, path = new["spec"], old["spec"], Path("spec")
    problems = _completions_change(spec, before, path / "completions")
    problems += immutable(spec.get("selector"), before.get("selector"), path / "selector")
    problems += _template_change(new, old, path)
    for field in _FIXED:
        value = spec.get(field)
        shown = rendered(value, _FIXED[field]) if _FIXED[field] else value
        if value != before.get(field):
            problems.append(invalid(path / field, shown, "field is immutable"))
    return problems


# Fields that never change, with the internal type they print as.
_FIXED = {
    "completionMode": "",
    "podFailurePolicy": "PodFailurePolicy",
    "backoffLimitPerIndex": "",
    "managedBy": "",
    "successPolicy": "SuccessPolicy",
}


def _completions_change(spec: Object, before: Object, at: Path) -> list[FieldError]:
    """Completions of an indexed Job may change together with its parallelism."""
    value = spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        return immutable(value, before.get("completions"), at)
    if value in (None, before.get("completions"), spec.get("parallelism")):
        return []
    return [invalid(at, value, "can only be modified in tandem with spec.parallelism")]


_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def _template_change(new: Object, old: Object, path: Path) -> list[FieldError]:
    """A suspended Job's containers may ask for other resources; one that never ran may be placed anew."""
    template, stored = new["spec"].get("template") or {}, old["spec"].get("template") or {}
    if template == stored:
        return []
    if not old["spec"].get("suspend"):
        return [invalid(path / "template", rendered_template(template), "field is immutable")]
    allowed: Object = copy(stored)
    if not (old.get("status") or {}).get("startTime"):
        _allow_placement(template, allowed)
    _allow_resources(template.get("spec") or {}, allowed.setdefault("spec", {}))
    spec = template.get("spec") or {}
    if spec == allowed["spec"]:
        return []
    return [invalid(path / "template.spec", rendered_pod_spec(spec), "field is immutable")]


def _allow_placement(template: Object, allowed: Object) -> None:
    spec, free = template.get("spec") or {}, allowed.setdefault("spec", {})
    for field in _SCHEDULING:
        _take(spec, free, field)
    affinity, old_affinity = spec.get("affinity"), free.get("affinity")
    if affinity is None:
        rest = {key: one for key, one in (old_affinity or {}).items() if key != "nodeAffinity"}
        if not rest:
            free.pop("affinity", None)
        else:
            free["affinity"] = rest
        return
    free["affinity"] = dict(old_affinity or {})
    _take(affinity, free["affinity"], "nodeAffinity")


def _allow_resources(spec: Object, allowed: Object) -> None:
    for field in ("containers", "initContainers"):
        wanted, found = spec.get(field) or (), allowed.get(field) or ()
        if len(wanted) != len(found):
            continue
        for one, other in zip(wanted, found, strict=True):
            if one.get("name") == other.get("name"):
                _take(one, other, "resources")


def _take(source: Object, target: Object, field: str) -> None:
    if source.get(field) is None:
        target.pop(field, None)
    else:
        target[field] = source[field]
