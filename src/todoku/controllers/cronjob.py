"""CronJobs: a Job whenever the schedule says so (batch/v1 CronJob)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from todoku.api import errors, times
from todoku.api.meta import Key, Object, copy, key_of
from todoku.controllers import conditions, cron
from todoku.controllers.controller import Controller, deleting, owner_reference, owner_uid

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
TOO_MANY = 100


@dataclass(frozen=True, slots=True)
class Due:
    """What the schedule says: a moment to start now (or None), and when to look again."""

    start: float | None
    again: float | None
    missed: int = 0


def finished(job: Object) -> str:
    """`Complete`, `Failed`, or "" while the Job runs."""
    listed = (job.get("status") or {}).get("conditions")
    for type in ("Complete", "Failed"):
        if (conditions.find(listed, type) or {}).get("status") == "True":
            return type
    return ""


def due(cron_job: Object, now: float) -> Due:
    """When the next Job is to start.  Raises ValueError for a schedule or zone that cannot be read."""
    spec = cron_job["spec"]
    schedule, zone = cron.parse(spec["schedule"]), _zone(spec.get("timeZone"))
    last = (cron_job.get("status") or {}).get("lastScheduleTime")
    since = times.parse(last or cron_job["metadata"]["creationTimestamp"])
    deadline = spec.get("startingDeadlineSeconds")
    if deadline is not None:
        since = max(since, now - deadline)
    moments = cron.due_times(schedule, since, now, zone, limit=TOO_MANY + 1)
    following = cron.next_time(schedule, now, zone)
    if len(moments) > TOO_MANY:  # far behind: only the most recent one counts
        recent = cron.due_times(
            schedule,
            now - 366 * 86400 if following is None else _before(schedule, now, zone),
            now,
            zone,
        )
        moments = recent or moments
        return Due(moments[-1], following, TOO_MANY + 1)
    return Due(moments[-1] if moments else None, following, len(moments))


def _before(schedule: cron.Schedule, now: float, zone: tzinfo) -> float:
    """A moment shortly before the latest due one."""
    span = 60.0
    while span < 400 * 86400 and not cron.due_times(schedule, now - span, now, zone, limit=1):
        span *= 2
    return now - span


def _zone(name: str | None) -> tzinfo:
    if not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"unknown time zone {name}") from error


def surplus(jobs: Sequence[Object], kept: int | None, type: str) -> list[Object]:
    """The oldest finished Jobs beyond the history limit."""
    ended = sorted(
        (job for job in jobs if finished(job) == type),
        key=lambda job: ((job.get("status") or {}).get("startTime") or "", job["metadata"]["name"]),
    )
    if kept is None:
        return []
    return ended[: max(len(ended) - kept, 0)]


def make_job(cron_job: Object, moment: float) -> Object:
    """The Job for one scheduled moment: its name repeats if it is made twice."""
    template = cron_job["spec"]["jobTemplate"]
    meta = cron_job["metadata"]
    source = template.get("metadata") or {}
    notes = dict(source.get("annotations") or {})
    zone = _zone(cron_job["spec"].get("timeZone"))
    notes[SCHEDULED] = _local(moment, zone)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{meta['name']}-{int(moment // 60)}",
            "namespace": meta["namespace"],
            "labels": dict(source.get("labels") or {}),
            "annotations": notes,
            "ownerReferences": [owner_reference(cron_job)],
        },
        "spec": copy(template.get("spec") or {}),
    }


def _local(moment: float, zone: tzinfo) -> str:
    from datetime import datetime

    return datetime.fromtimestamp(moment, zone).isoformat().replace("+00:00", "Z")


def still_active(
    active: Sequence[Object], jobs: Sequence[Object]
) -> tuple[list[Object], list[tuple[str, str, str]]]:
    """The references to running Jobs that stay, and events (type, reason, message) on what became of the others.

    A Job that somebody else made of the template (`kubectl create job --from`) never becomes one of them.
    """
    there = {job["metadata"]["uid"]: job for job in jobs}
    kept, told = [], []
    for ref in active:
        job = there.pop(ref["uid"], None)
        if job is None:
            told.append(("Normal", "MissingJob", f"Active job went missing: {ref['name']}"))
        elif ended := finished(job):
            text = f"Saw completed job: {ref['name']}, condition: {ended}"
            told.append(("Normal", "SawCompletedJob", text))
        else:
            kept.append(ref)
    for job in there.values():
        if not finished(job):
            text = (
                f"Saw a job that the controller did not create or forgot: {job['metadata']['name']}"
            )
            told.append(("Warning", "UnexpectedJob", text))
    return kept, told


class CronJobController(Controller):
    name: ClassVar[str] = "cronjob"
    reconciles: ClassVar[str] = "cronjobs.batch"

    def setup(self) -> None:
        self.jobs = self.watch("jobs.batch", self.enqueue_owner("CronJob"))

    async def reconcile(self, key: Key) -> None:
        one = self.cache.get(key)
        if one is None or deleting(one):
            return
        jobs = [j for j in self.jobs.list(key.namespace) if owner_uid(j) == one["metadata"]["uid"]]
        await self._clean(one, jobs)
        one = await self._note(one, jobs)
        now = self.clock.now()
        try:
            found = due(one, now)
        except ValueError as error:
            self.recorder.event(
                one, "Warning", "UnparseableSchedule", f"unparseable schedule: {error}"
            )
            return
        if found.again is not None:
            self.queue.add_after(key, max(found.again - now, 0.0) + 0.1)
        if found.start is not None and not one["spec"].get("suspend"):
            await self._start(one, found, jobs)

    async def _start(self, one: Object, found: Due, jobs: Sequence[Object]) -> None:
        assert found.start is not None
        if found.missed > TOO_MANY:
            text = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
            self.recorder.event(one, "Warning", "TooManyMissedTimes", text)
        active = {ref["uid"] for ref in (one.get("status") or {}).get("active") or ()}
        running = [job for job in jobs if job["metadata"]["uid"] in active]
        policy = one["spec"].get("concurrencyPolicy", "Allow")
        if policy == "Forbid" and running:
            text = "Not starting job because prior execution is running and concurrency policy is Forbid"
            self.recorder.event(one, "Normal", "JobAlreadyActive", text)
            return
        replaced: set[str] = set()
        if policy == "Replace":
            for job in running:
                await self._delete(one, job)
                replaced.add(job["metadata"]["uid"])
        job = make_job(one, found.start)
        try:
            made = await self.client.create("jobs.batch", job)
            text = f"Created job {made['metadata']['name']}"
            self.recorder.event(one, "Normal", "SuccessfulCreate", text)
        except errors.AlreadyExists:
            made = await self.client.get(
                "jobs.batch", job["metadata"]["name"], job["metadata"]["namespace"]
            )
            if owner_uid(made) != one["metadata"]["uid"]:
                raise
        except errors.Forbidden as error:
            if "being terminated" in str(error):
                return
            self.recorder.event(one, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        await self.jobs.reached(made["metadata"]["resourceVersion"])
        status = dict(one.get("status") or {})
        kept = [ref for ref in status.get("active") or () if ref["uid"] not in replaced]
        status["active"] = [*kept, _reference(made)]
        status["lastScheduleTime"] = times.text(found.start)
        await self._write(one, status)

    async def _note(self, one: Object, jobs: Sequence[Object]) -> Object:
        """Keep the list of running Jobs and the last success."""
        status = dict(one.get("status") or {})
        active, told = still_active(status.pop("active", None) or (), jobs)
        for event in told:
            self.recorder.event(one, *event)
        if active:
            status["active"] = active
        successes = [
            (job.get("status") or {}).get("completionTime")
            for job in jobs
            if finished(job) == "Complete"
        ]
        latest = max((s for s in successes if s), default=None)
        if latest and latest > (status.get("lastSuccessfulTime") or ""):
            status["lastSuccessfulTime"] = latest
        if _comparable(status) == _comparable(one.get("status") or {}):
            return one
        return await self._write(one, status)

    async def _clean(self, one: Object, jobs: Sequence[Object]) -> None:
        spec = one["spec"]
        old = surplus(jobs, spec.get("successfulJobsHistoryLimit", 3), "Complete")
        old += surplus(jobs, spec.get("failedJobsHistoryLimit", 1), "Failed")
        for job in old:
            await self._delete(one, job)

    async def _delete(self, one: Object, job: Object) -> None:
        meta = job["metadata"]
        try:
            await self.client.delete(
                "jobs.batch",
                meta["name"],
                meta["namespace"],
                uid=meta["uid"],
                propagation="Background",
            )
        except (errors.NotFound, errors.Conflict):
            return
        self.recorder.event(one, "Normal", "SuccessfulDelete", f"Deleted job {meta['name']}")
        await self.jobs.until(
            lambda: (there := self.jobs.get(key_of(job))) is None or deleting(there)
        )

    async def _write(self, one: Object, status: Object) -> Object:
        written = await self.client.update(
            self.reconciles, one | {"status": status}, subresource="status"
        )
        await self.cache.reached(written["metadata"]["resourceVersion"])
        return written


def _reference(job: Object) -> Object:
    meta = job["metadata"]
    return {
        "apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "namespace": meta["namespace"],
        "uid": meta["uid"], "resourceVersion": meta["resourceVersion"],
    }  # fmt: skip


def _comparable(status: Object) -> Object:
    """Without the versions of running Jobs, whose every change would be one of ours."""
    active = sorted(ref["uid"] for ref in status.get("active") or ())
    return status | {"active": active}
