"""Job (batch/v1)."""

from __future__ import annotations

from todoku.api.errors import FieldError, Path, invalid, required
from todoku.api.internals import or_null
from todoku.api.meta import Object
from todoku.api.podspec import default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import (
    AGE,
    NAME,
    clear_status,
    holds,
    keep_all_but_status,
    keep_status,
)
from todoku.api.resources.job_status import status_problems
from todoku.api.resources.job_validation import spec_problems, update_problems
from todoku.api.resources.pod_warnings import template_warnings
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.selectors import from_selector, selector_problems
from todoku.api.tables import Ago, created
from todoku.api.times import age
from todoku.api.times import parse as parse_time
from todoku.api.validation import dns1123_label

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
    metadata = job["spec"]["template"].setdefault("metadata", {})
    generated = _generated_labels(job["metadata"])
    metadata["labels"] = generated | dict(metadata.get("labels") or {})
    selector = job["spec"].get("selector") or {}
    match = dict(selector.get("matchLabels") or {})
    match.setdefault(CONTROLLER_UID, generated[CONTROLLER_UID])
    job["spec"]["selector"] = {**selector, "matchLabels": match}


def _validate(new: Object, old: Object | None) -> list[FieldError]:
    problems = _generated_selector(new) + _with_selector(new["spec"]) + _host_names(new)
    if old is None:
        return problems
    # An update is judged as a Job and as a change of one.
    repeated = _with_selector(new["spec"]) if problems else []
    return problems + repeated + update_problems(new, old)


def _with_selector(spec: Object) -> list[FieldError]:
    problems = spec_problems(spec, SPEC)
    selector, template = spec.get("selector"), spec.get("template") or {}
    if selector is None:
        problems.append(required(SPEC / "selector"))
    broken = selector_problems(selector, SPEC / "selector")
    return problems + (broken or workloads.labels_mismatch(selector, template, SPEC / "template"))


def _generated_selector(job: Object) -> list[FieldError]:
    """The labels and the selector are those that were generated, unless the user makes their own."""
    spec, selector = job["spec"], job["spec"].get("selector")
    if spec.get("manualSelector") or selector is None:
        return []
    metadata, path = job["metadata"], SPEC / "template" / "metadata" / "labels"
    expected = _generated_labels(metadata)
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    problems: list[FieldError] = []
    for key, value in expected.items():
        found = (labels or {}).get(key)
        if found is None:
            problems.append(required(path.key(key), f"must be '{value}'"))
        if (found or "") != value:
            problems.append(invalid(path.key(key), or_null(labels), f"must be '{value}'"))
    if not from_selector(selector).matches(expected):
        problems.append(invalid(SPEC / "selector", selector, "`selector` not auto-generated"))
    return problems


def _generated_labels(metadata: Object) -> dict[str, str]:
    uid, name = metadata.get("uid", ""), metadata.get("name", "")
    return {"controller-uid": uid, "job-name": name, CONTROLLER_UID: uid, JOB_NAME: name}


def _host_names(job: Object) -> list[FieldError]:
    """Pods of an indexed Job are named after it and their index."""
    spec, name = job["spec"], job["metadata"].get("name", "")
    if spec.get("completionMode") != "Indexed" or (spec.get("completions") or 0) <= 0:
        return []
    longest = f"{name}-{spec['completions'] - 1}"
    if not dns1123_label(longest):
        return []
    text = f"will not able to create pod with invalid DNS label: {longest}"
    return [invalid(Path("metadata") / "name", name, text)]


_MANY = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4,"
    " Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)


def spec_warnings(spec: Object, path: str) -> list[str]:
    """Warnings of a new JobSpec (WarningsForJobSpec)."""
    many = (spec.get("completions") or 0) > 100_000 and (spec.get("parallelism") or 0) > 10_000
    found = [f"{path}: {_MANY}"] if many and spec.get("completionMode") == "Indexed" else []
    return found + template_warnings(spec.get("template") or {}, f"{path}.template")


def _warnings(new: Object, old: Object | None) -> list[str]:
    if old is not None:
        return workloads.warnings(new, old)
    return workloads.name_warnings(new) + spec_warnings(new["spec"], "spec")


def _state(job: Object) -> str:
    status = job.get("status") or {}
    for kind, shown in (("Complete", "Complete"), ("Failed", "Failed")):
        if holds(status, kind):
            return shown
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for kind in ("Suspended", "FailureTarget"):
        if holds(status, kind):
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
        validate_status=status_problems,
        warnings=_warnings,
        orphans_dependents=True,
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
