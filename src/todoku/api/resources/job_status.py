"""Validation of a JobStatus and of its changes: what a finished Job may say (pkg/apis/batch/validation).

Each rule looks only at a status that changes what the rule is about, so that old objects can still be written.
"""

from __future__ import annotations

from collections.abc import Iterator

from todoku.api.errors import OMITTED, FieldError, Path, duplicate, invalid, required
from todoku.api.internals import rendered
from todoku.api.meta import Object
from todoku.api.resources.generic import holds
from todoku.api.resources.job_validation import index_intervals
from todoku.api.times import parse as parse_time
from todoku.api.validation import non_negative

_STATUS = Path("status")
_CONDITIONS = _STATUS / "conditions"
_COMPLETION = _STATUS / "completionTime"


def status_problems(new: Object, old: Object) -> list[FieldError]:
    after, before = new.get("status") or {}, old.get("status") or {}
    problems: list[FieldError] = []
    for field in ("active", "succeeded", "failed", "ready", "terminating"):
        problems += non_negative(after.get(field), _STATUS / field)
    problems += _uncounted(after.get("uncountedTerminatedPods") or {})
    change = _Change(new, after, before)
    problems += change.conditions()
    problems += change.completion()
    problems += change.finishing()
    problems += change.finished()
    problems += change.indexes()
    problems += change.terminating()
    problems += change.success()
    return [*problems, *change.transition()]


def _uncounted(pods: Object) -> list[FieldError]:
    problems: list[FieldError] = []
    seen: set[str] = set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(field) or ()):
            at = _STATUS / "uncountedTerminatedPods" / field / index
            if not uid:
                problems.append(invalid(at, uid, "must not be empty"))
            elif uid in seen:
                problems.append(duplicate(at, uid))
            seen.add(uid)
    return problems


def _conflict(text: str) -> FieldError:
    return invalid(_CONDITIONS, OMITTED, text)


class _Change:
    """A status beside the one it replaces."""

    def __init__(self, job: Object, after: Object, before: Object) -> None:
        self.spec, self.after, self.before = job["spec"], after, before
        self.complete, self.failed = holds(after, "Complete"), holds(after, "Failed")
        self.target = holds(after, "FailureTarget")
        self.met = holds(after, "SuccessCriteriaMet")
        self.over = self.complete or self.failed

    def changed(self, *names: str) -> bool:
        """Whether a condition (capitalized) or a field has changed."""
        return any(
            holds(self.after, name) != holds(self.before, name)
            if name[0].isupper()
            else (self.after.get(name) or 0) != (self.before.get(name) or 0)
            for name in names
        )

    def ended(self, *fields: str) -> bool:
        """Whether the Job is over and that, or one of the fields, is news."""
        return self.over and self.changed("Complete", "Failed", *fields)

    def conditions(self) -> Iterator[FieldError]:
        if self.complete and self.failed and self.changed("Complete", "Failed"):
            yield _conflict("cannot set Complete=True and Failed=true conditions")
        if self.complete and self.target and self.changed("Complete", "FailureTarget"):
            yield _conflict("cannot set Complete=True and FailureTarget=true conditions")

    def completion(self) -> Iterator[FieldError]:
        done, start = self.after.get("completionTime"), self.after.get("startTime")
        if self.changed("Complete", "completionTime"):
            if done and not self.complete:
                text = "cannot set completionTime when there is no Complete=True condition"
                yield invalid(_COMPLETION, done, text)
            if not done and self.complete:
                yield required(_COMPLETION, "completionTime is required for Complete jobs")
        news = self.changed("startTime", "completionTime")
        if done and start and news and parse_time(done) < parse_time(start):
            yield invalid(_COMPLETION, done, "must be equal to or after `startTime`")

    def finishing(self) -> Iterator[FieldError]:
        if self.failed and not self.target and self.changed("Failed", "FailureTarget"):
            yield _conflict(
                "cannot set Failed=True condition without the FailureTarget=true condition"
            )
        if self.complete and not self.met and self.changed("Complete", "SuccessCriteriaMet"):
            yield _conflict(
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"
            )

    def finished(self) -> Iterator[FieldError]:
        if self.after.get("active", 0) > 0 and self.ended("active"):
            text = "active>0 is invalid for finished job"
            yield invalid(_STATUS / "active", self.after["active"], text)
        if not self.after.get("startTime") and self.ended("startTime"):
            yield required(_STATUS / "startTime", "startTime is required for finished job")
        pods = self.after.get("uncountedTerminatedPods") or {}
        if any(pods.values()) and self.ended("uncountedTerminatedPods"):
            shown = rendered(pods, "UncountedTerminatedPods")
            text = "must be empty for finished job"
            yield invalid(_STATUS / "uncountedTerminatedPods", shown, text)

    def indexes(self) -> Iterator[FieldError]:
        completions = self.spec.get("completions")
        per_index = self.spec.get("backoffLimitPerIndex") is not None
        completed, failed = self.after.get("completedIndexes", ""), self.after.get("failedIndexes")
        if completions is not None and self.changed("completedIndexes"):
            yield from _format("completedIndexes", completed, completions)
        if completions is not None and per_index and failed and self.changed("failedIndexes"):
            yield from _format("failedIndexes", failed, completions)
        indexed = self.spec.get("completionMode") == "Indexed"
        if completed and not indexed and self.changed("completedIndexes"):
            text = "cannot set non-empty completedIndexes when non-indexed completion mode"
            yield invalid(_STATUS / "completedIndexes", completed, text)
        if failed is not None and not per_index and self.changed("failedIndexes"):
            text = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
            yield invalid(_STATUS / "failedIndexes", failed, text)
        both = completions is not None and failed and completed
        if both and self.changed("failedIndexes", "completedIndexes"):
            yield from _overlap(completed, str(failed), int(completions or 0))

    def terminating(self) -> Iterator[FieldError]:
        if (self.after.get("terminating") or 0) > 0 and self.ended("terminating"):
            text = "terminating>0 is invalid for finished job"
            yield invalid(_STATUS / "terminating", self.after["terminating"], text)
        ready = self.after.get("ready") or 0
        if ready > self.after.get("active", 0) and self.changed("ready", "active"):
            yield invalid(_STATUS / "ready", ready, "cannot set more ready pods than active")

    def success(self) -> Iterator[FieldError]:
        if self.met and self.failed:
            yield _conflict("cannot set SuccessCriteriaMet=True and Failed=true conditions")
        if self.met and self.target:
            yield _conflict("cannot set SuccessCriteriaMet=True and FailureTarget=true conditions")
        if self.spec.get("successPolicy") is not None and self.complete and not self.met:
            yield _conflict(
                "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
            )

    def transition(self) -> Iterator[FieldError]:
        for kind in ("Failed", "Complete", "FailureTarget"):
            if holds(self.before, kind) and not holds(self.after, kind):
                yield _conflict(f"cannot disable the terminal {kind}=True condition")
        for field in ("failed", "succeeded"):
            if field == "succeeded" and self.spec.get("completionMode") == "Indexed":
                continue  # completions may be lowered
            if self.after.get(field, 0) < self.before.get(field, 0):
                text = f"cannot decrease the {field} counter"
                yield invalid(_STATUS / field, self.after.get(field, 0), text)
        done, was = self.after.get("completionTime"), self.before.get("completionTime")
        if done and was and done != was:
            yield invalid(_COMPLETION, done, "field is immutable")
        started = self.before.get("startTime") and self.changed("startTime")
        if started and not self.spec.get("suspend"):
            text = "startTime cannot be removed for unsuspended job"
            yield required(_STATUS / "startTime", text)
        if holds(self.before, "SuccessCriteriaMet") and not self.met:
            yield _conflict("cannot disable the SuccessCriteriaMet=True condition")
        complete = holds(self.before, "Complete") and not holds(self.before, "SuccessCriteriaMet")
        if complete and self.met:
            yield _conflict(
                "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
            )


def _format(field: str, text: str, completions: int) -> Iterator[FieldError]:
    try:
        index_intervals(text, completions)
    except ValueError as error:
        yield invalid(_STATUS / field, text, f"error parsing {field}: {error}")


def _overlap(completed: str, failed: str, completions: int) -> Iterator[FieldError]:
    try:
        done = index_intervals(completed, completions)
        lost = index_intervals(failed, completions)
    except ValueError:
        return  # told by its format
    for first, last in done:
        for start, end in lost:
            if first <= end and start <= last:
                at = max(first, start)
                text = f"failedIndexes and completedIndexes overlap at index: {at}"
                yield invalid(_STATUS / "failedIndexes", failed, text)
                return
