"""CronJob (batch/v1)."""

from __future__ import annotations

from todoku.api.cron import schedule_problems, time_zone_problems
from todoku.api.errors import FieldError, Path, invalid, not_supported, required
from todoku.api.meta import Object
from todoku.api.podspec import default_template
from todoku.api.resource import Column, Strategy
from todoku.api.resources import workloads
from todoku.api.resources.deployment import CONTAINERS, IMAGES, selector_column
from todoku.api.resources.generic import AGE, NAME, clear_status, keep_all_but_status, keep_status
from todoku.api.resources.job import spec_warnings
from todoku.api.resources.job_validation import spec_problems
from todoku.api.resources.rules import Rules
from todoku.api.resources.templates import containers_cell, images_cell, selector_cell
from todoku.api.resources.workloads import SPEC
from todoku.api.tables import Since, created
from todoku.api.validation import non_negative

# Its Jobs get eleven more characters.
MAX_NAME_BYTES = 52


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
    spec, before = new["spec"], old["spec"] if old is not None else None
    problems: list[FieldError] = []
    if not spec.get("schedule"):
        problems.append(required(SPEC / "schedule"))
    else:
        problems += _schedule(spec, before)
    problems += non_negative(spec.get("startingDeadlineSeconds"), SPEC / "startingDeadlineSeconds")
    if before is None or before.get("timeZone") != spec.get("timeZone"):
        problems += time_zone_problems(spec.get("timeZone"), SPEC / "timeZone")
    policy = spec.get("concurrencyPolicy") or ""
    if policy not in _POLICIES:
        problems.append(not_supported(SPEC / "concurrencyPolicy", policy, _POLICIES))
    problems += _job_template(
        (spec.get("jobTemplate") or {}).get("spec") or {}, SPEC / "jobTemplate" / "spec"
    )
    for field in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        problems += non_negative(spec.get(field), SPEC / field)
    name = new["metadata"].get("name", "")
    if old is None and len(name) > MAX_NAME_BYTES:
        text = f"must be no more than {MAX_NAME_BYTES} bytes"
        problems.append(invalid(Path("metadata") / "name", name, text))
    return problems


def _job_template(job: Object, at: Path) -> list[FieldError]:
    problems = spec_problems(job, at)
    if job.get("selector") is not None:
        text = "`selector` will be auto-generated"
        problems.append(invalid(at / "selector", job["selector"], text))
    if job.get("manualSelector"):
        problems.append(not_supported(at / "manualSelector", True, ("nil", "false")))
    return problems


def _schedule(spec: Object, before: Object | None) -> list[FieldError]:
    """A zone in the schedule is only kept where there was one."""
    schedule, path = spec["schedule"], SPEC / "schedule"
    problems = schedule_problems(schedule, path)
    if "TZ" not in schedule:
        return problems
    if before is not None and "TZ" in (before.get("schedule") or ""):
        if spec.get("timeZone") is not None:
            text = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            problems.append(invalid(path, schedule, text))
        return problems
    text = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
    return [*problems, invalid(path, schedule, text)]


def _cron_warnings(new: Object, old: Object | None) -> list[str]:
    job = (new["spec"].get("jobTemplate") or {}).get("spec") or {}
    if old is None:
        return workloads.name_warnings(new) + spec_warnings(job, "spec.jobTemplate.spec")
    found: list[str] = []
    if "TZ" in (new["spec"].get("schedule") or ""):
        found.append(
            "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone field instead, see"
            " https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#time-zones for more details"
        )
    before = (old["spec"].get("jobTemplate") or {}).get("spec") or {}
    if before.get("template") == job.get("template"):
        return found
    return found + spec_warnings(job, "spec.jobTemplate.spec")


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
