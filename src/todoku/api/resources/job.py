"""Job and CronJob (batch/v1)."""

from __future__ import annotations

import re
from typing import Any

from todoku.api import validation
from todoku.api.errors import FieldError, Path, invalid, not_supported, required
from todoku.api.meta import Object, copy
from todoku.api.podspec import TemplateRules, default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.pod_warnings import template_warnings
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.selectors import from_selector
from todoku.api.tables import Ago, Since, created
from todoku.api.times import age
from todoku.api.times import parse as parse_time
from todoku.api.validation import non_negative

_RULES = TemplateRules(restart_policies=("Never", "OnFailure"), deadline=True, workload="Job")
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
JOB_NAME = "batch.kubernetes.io/job-name"


def default_spec(spec: Object) -> None:
    default_template(spec.setdefault("template", {}))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        per_index = spec.get("backoffLimitPerIndex") is not None
        spec["backoffLimit"] = 2**31 - 1 if per_index else 6
    if not spec.get("completionMode"):
        spec["completionMode"] = "NonIndexed"
    if spec.get("suspend") is None:
        spec["suspend"] = False
    if spec.get("manualSelector") is None:
        spec["manualSelector"] = False
    if not spec.get("podReplacementPolicy"):
        spec["podReplacementPolicy"] = (
            "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed"
        )
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            condition.setdefault("status", "True")


def _default(obj: Object) -> None:
    default_spec(obj.setdefault("spec", {}))


def _prepare_create(obj: Object) -> None:
    clear_status(obj)
    obj["status"] = {}
    if not obj["spec"].get("manualSelector"):
        generate_selector(obj)


def generate_selector(job: Object) -> None:
    """Labels that tie pods to this job alone; its uid must be there already."""
    uid, name = job["metadata"].get("uid", ""), job["metadata"].get("name", "")
    template = job["spec"]["template"]
    metadata = template.setdefault("metadata", {})
    labels = metadata["labels"] = dict(metadata.get("labels") or {})
    for key, value in (
        ("job-name", name),
        (JOB_NAME, name),
        ("controller-uid", uid),
        (CONTROLLER_UID, uid),
    ):
        labels.setdefault(key, value)
    selector = job["spec"].get("selector") or {}
    match = dict(selector.get("matchLabels") or {})
    match.setdefault(CONTROLLER_UID, uid)
    job["spec"]["selector"] = {**selector, "matchLabels": match}


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems = spec_problems(spec, SPEC)
    problems += (
        workloads.selector_and_template(spec, rules=_RULES, empty_is="")
        if spec.get("selector") is None
        else []
    )
    selector = spec.get("selector")
    if selector is not None:
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
        if not from_selector(selector).matches(labels):
            text = "`selector` does not match template `labels`"
            problems.append(invalid(SPEC / "template" / "metadata" / "labels", labels or {}, text))
    if old is not None:
        problems += _update_problems(spec, old["spec"], old)
    return problems


def spec_problems(spec: Object, path: Path) -> list[FieldError]:
    """A JobSpec without its selector (validateJobSpec)."""
    problems: list[FieldError] = []
    for field in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ):
        problems += non_negative(spec.get(field), path / field)
    mode = spec.get("completionMode")
    if mode not in ("Indexed", "NonIndexed"):
        problems.append(not_supported(path / "completionMode", mode, ("Indexed", "NonIndexed")))
    if mode == "Indexed" and spec.get("completions") is None:
        problems.append(required(path / "completions", "when completion mode is Indexed"))
    if mode == "NonIndexed":
        for field in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"):
            if spec.get(field) is not None:
                text = "requires indexed completion mode"
                problems.append(invalid(path / field, spec[field], text))
    replacement = spec.get("podReplacementPolicy")
    if replacement not in (None, "Failed", "TerminatingOrFailed"):
        problems.append(
            not_supported(
                path / "podReplacementPolicy", replacement, ("Failed", "TerminatingOrFailed")
            )
        )
    plain: Object = {"template": spec.get("template")} if spec.get("template") is not None else {}
    return problems + _template(plain, path)


def _template(spec: Object, path: Path) -> list[FieldError]:
    problems = workloads.template_problems(spec, rules=None, path=path / "template")
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    at = path / "template" / "spec" / "restartPolicy"
    if policy == "Always":
        problems.append(required(at, 'valid values: "OnFailure", "Never"'))
    return problems


_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "schedulingGates")


def _update_problems(spec: Object, before: Object, old: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    for field in (
        "selector",
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        problems += validation.immutable(spec.get(field), before.get(field), SPEC / field)
    elastic = spec.get("completionMode") == "Indexed" and spec.get("completions") == spec.get(
        "parallelism"
    )
    if not elastic:
        problems += validation.immutable(
            spec.get("completions"), before.get("completions"), SPEC / "completions"
        )
    template, stored = spec.get("template"), before.get("template")
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        template, stored = _without_scheduling(template), _without_scheduling(stored)
    problems += validation.immutable(template, stored, SPEC / "template")
    return problems


def _without_scheduling(template: Any) -> Any:
    out = copy(template) or {}
    for field in _SCHEDULING:
        out.get("spec", {}).pop(field, None)
    out.pop("metadata", None)
    for container in out.get("spec", {}).get("containers") or ():
        container.pop("resources", None)
    return out


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    status, path = new.get("status") or {}, Path("status")
    problems: list[FieldError] = []
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        problems += non_negative(status.get(field), path / field)
    if status.get("completionTime") and not _is_true(status, "Complete"):
        text = "cannot be set when there is no Complete=True condition"
        problems.append(invalid(path / "completionTime", status["completionTime"], text))
    return problems


def _is_true(status: Object, kind: str) -> bool:
    return any(
        one.get("type") == kind and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )


def _state(job: Object) -> str:
    status = job.get("status") or {}
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if _is_true(status, kind):
            return shown
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget"):
        if _is_true(status, kind):
            return kind
    return "Running"


def _completions(job: Object) -> str:
    spec, done = job["spec"], (job.get("status") or {}).get("succeeded", 0)
    if spec.get("completions") is not None:
        return f"{done}/{spec['completions']}"
    parallelism = spec.get("parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def _duration(job: Object) -> object:
    status = job.get("status") or {}
    start, end = status.get("startTime"), status.get("completionTime")
    if not start:
        return ""
    if not end:
        return Ago("{}", start)
    return age(parse_time(end) - parse_time(start))


def _row(job: Object) -> list[object]:
    pod = (job["spec"].get("template") or {}).get("spec") or {}
    return [
        job["metadata"]["name"],
        _state(job),
        _completions(job),
        _duration(job),
        created(job),
        containers_cell(pod),
        images_cell(pod),
        selector_cell(job["spec"].get("selector")),
    ]


JOB = Rules(
    strategy=Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate,
        validate_status=_validate_status,
        warnings=workloads.warnings,
        selectable_fields=lambda obj: {
            "status.successful": str((obj.get("status") or {}).get("succeeded", 0))
        },
        selectable_field_names=("status.successful",),
    ),
    columns=(
        NAME,
        Column(name="Status", description="Status of the job."),
        Column(name="Completions", documents="batch.v1.JobStatus.succeeded"),
        Column(name="Duration", description="Time required to complete the job."),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_column("batch.v1.JobSpec.selector"),
    ),
    row=_row,
)


def _default_cron(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    for field, value in (
        ("suspend", False),
        ("successfulJobsHistoryLimit", 3),
        ("failedJobsHistoryLimit", 1),
    ):
        if spec.get(field) is None:
            spec[field] = value
    job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    default_template(job.setdefault("template", {}))


_POLICIES = ("Allow", "Forbid", "Replace")


def _validate_cron(new: Object, old: Object | None) -> list[FieldError]:
    spec = new["spec"]
    problems: list[FieldError] = []
    schedule = spec.get("schedule") or ""
    if not schedule:
        problems.append(required(SPEC / "schedule"))
    else:
        problems += schedule_problems(schedule, SPEC / "schedule")
    problems += non_negative(spec.get("startingDeadlineSeconds"), SPEC / "startingDeadlineSeconds")
    policy = spec.get("concurrencyPolicy")
    if policy not in _POLICIES:
        problems.append(not_supported(SPEC / "concurrencyPolicy", policy, _POLICIES))
    if spec.get("timeZone") is not None and not spec["timeZone"]:
        problems.append(invalid(SPEC / "timeZone", "", "timeZone must be nil or non-empty string"))
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        problems += non_negative(spec.get(field), SPEC / field)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    at = SPEC / "jobTemplate" / "spec"
    if job.get("manualSelector"):
        problems.append(not_supported(at / "manualSelector", True, ("nil", "false")))
    problems += _template(
        {"template": job.get("template")} if job.get("template") is not None else {}, at
    )
    return problems


_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))
_WORDS: tuple[dict[str, int], ...] = (
    {}, {}, {},
    {name: i + 1 for i, name in enumerate(["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"])},
    {name: i for i, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])},
)  # fmt: skip
_MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")


def schedule_problems(schedule: str, path: Path) -> list[FieldError]:
    """Cron's five fields, or a macro (robfig/cron)."""
    if "TZ" in schedule:
        text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        return [invalid(path, schedule, text)]
    if schedule in _MACROS or re.fullmatch(r"@every [0-9hmsµun.]+", schedule):
        return []
    fields = schedule.split()
    if len(fields) != 5:
        return [
            invalid(path, schedule, f"expected exactly 5 fields, found {len(fields)}: {fields}")
        ]
    for text, bounds, words in zip(fields, _RANGES, _WORDS, strict=True):
        problem = _cron_field(text.lower(), bounds, words)
        if problem:
            return [invalid(path, schedule, problem)]
    return []


def _cron_field(text: str, bounds: tuple[int, int], words: dict[str, int]) -> str:
    low, high = bounds
    for part in text.split(","):
        span, _, step = part.partition("/")
        if step and not step.isdigit():
            return (
                f'failed to parse int from {step}: strconv.Atoi: parsing "{step}": invalid syntax'
            )
        if step == "0":
            return f"step of range should be a positive number: {part}"
        if span in ("*", "?"):
            continue
        for one in span.split("-"):
            value = words.get(one, int(one) if one.isdigit() else None)
            if value is None:
                return (
                    f'failed to parse int from {one}: strconv.Atoi: parsing "{one}": invalid syntax'
                )
            if value < low:
                return f"beginning of range ({value}) below minimum ({low}): {part}"
            if value > high:
                return f"end of range ({value}) above maximum ({high}): {part}"
    return ""


def _cron_warnings(new: Object, old: Object | None) -> list[str]:
    template = ((new["spec"].get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    return template_warnings(template, "spec.jobTemplate.spec.template") if old is None else []


def _cron_row(obj: Object) -> list[object]:
    spec, status = obj["spec"], obj.get("status") or {}
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    pod = (job.get("template") or {}).get("spec") or {}
    last = status.get("lastScheduleTime")
    return [
        obj["metadata"]["name"],
        spec.get("schedule", ""),
        spec.get("timeZone") or "<none>",
        "True" if spec.get("suspend") else "False",
        len(status.get("active") or ()),
        Since(last) if last else "<none>",
        created(obj),
        containers_cell(pod),
        images_cell(pod),
        selector_cell(job.get("selector")),
    ]


CRON_JOB = Rules(
    strategy=Strategy(
        default=_default_cron,
        prepare_create=clear_status,
        prepare_update=keep_status,
        prepare_status=keep_all_but_status,
        validate=_validate_cron,
        warnings=_cron_warnings,
    ),
    columns=(
        NAME,
        Column(name="Schedule", documents="batch.v1.CronJobSpec.schedule"),
        Column(name="Timezone", documents="batch.v1.CronJobSpec.timeZone"),
        Column(name="Suspend", type="boolean", documents="batch.v1.CronJobSpec.suspend"),
        Column(name="Active", type="integer", documents="batch.v1.CronJobStatus.active"),
        Column(name="Last Schedule", documents="batch.v1.CronJobStatus.lastScheduleTime"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_column("batch.v1.JobSpec.selector"),
    ),
    row=_cron_row,
)
