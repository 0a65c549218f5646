"""What a Job does next, from its pods.  Pure.

A pod counts once: it bears a finalizer until its end is in the status.  First its uid goes into
`uncountedTerminatedPods` together with what it changes, then the finalizer comes off, then the uid moves into the
counter (KEP-2307).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from todoku.api import times
from todoku.api.meta import Object
from todoku.controllers import conditions, indexes, pods
from todoku.controllers.controller import deleting

FINALIZER = "batch.kubernetes.io/job-tracking"
INDEX = "batch.kubernetes.io/job-completion-index"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 10.0, 600.0
ENDED = ("Complete", "Failed")


@dataclass(slots=True)
class Outcome:
    """A pod's end as the Job sees it."""

    pod: Object
    succeeded: bool
    counted: bool = True  # False: a failure policy ignores it
    fail_job: str = ""  # the message, if a failure policy ends the Job
    fail_index: bool = False


@dataclass(slots=True)
class View:
    """A Job with its pods, sorted out."""

    job: Object
    active: list[Object] = field(default_factory=list)
    terminating: list[Object] = field(default_factory=list)
    ended: list[Object] = field(default_factory=list)
    fresh: list[Outcome] = field(default_factory=list)  # ended, not yet in the status
    succeeded: int = 0
    failed: int = 0
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    index_failures: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """`create` are indexes (or None for plain pods); `wait` asks to look again in so many seconds."""

    create: tuple[int | None, ...] = ()
    delete: tuple[Object, ...] = ()
    wait: float | None = None


def index_of(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else -1


def indexed(job: Object) -> bool:
    return bool(job["spec"].get("completionMode") == "Indexed")


def tracked(pod: Object) -> bool:
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def is_finished(job: Object) -> bool:
    listed = (job.get("status") or {}).get("conditions")
    return any((conditions.find(listed, type) or {}).get("status") == "True" for type in ENDED)


def uncounted(job: Object) -> tuple[list[str], list[str]]:
    """uids of (succeeded, failed) pods that are known and not yet in the counters."""
    found = (job.get("status") or {}).get("uncountedTerminatedPods") or {}
    return list(found.get("succeeded") or ()), list(found.get("failed") or ())


def look(job: Object, owned: Sequence[Object]) -> View:
    """Sort the pods of a Job; nothing is decided yet."""
    status = job.get("status") or {}
    done, lost = uncounted(job)
    known = {*done, *lost}
    view = View(
        job,
        succeeded=status.get("succeeded", 0) + len(done),
        failed=status.get("failed", 0) + len(lost),
        completed=indexes.parse(status.get("completedIndexes")),
        failed_indexes=indexes.parse(status.get("failedIndexes")),
    )
    for pod in owned:
        over = pods.is_terminal(pod) or (deleting(pod) and _counts_as_failed(job, pod))
        if not over:
            (view.terminating if deleting(pod) else view.active).append(pod)
            continue
        if deleting(pod) and not pods.is_terminal(pod):
            view.terminating.append(pod)
        view.ended.append(pod)
        _count_index_failure(view, pod)
        if tracked(pod) and pod["metadata"]["uid"] not in known:
            view.fresh.append(judge(job, pod))
    _add_fresh(view)
    return view


def _counts_as_failed(job: Object, pod: Object) -> bool:
    """A pod that is being deleted counts as failed at once, unless replacements wait for its real end."""
    return job["spec"].get("podReplacementPolicy") != "Failed" or pods.is_terminal(pod)


def _count_index_failure(view: View, pod: Object) -> None:
    index = index_of(pod)
    if indexed(view.job) and index >= 0 and pods.phase(pod) != "Succeeded":
        before = (pod["metadata"].get("annotations") or {}).get(FAILURES, "0")
        count = int(before) + 1 if before.isdigit() else 1
        view.index_failures[index] = max(view.index_failures.get(index, 0), count)


def _add_fresh(view: View) -> None:
    limit = view.job["spec"].get("backoffLimitPerIndex")
    total = view.job["spec"].get("completions") or 0
    for one in view.fresh:
        index = index_of(one.pod)
        if one.succeeded and indexed(view.job):
            if 0 <= index < total:
                view.completed.add(index)
        elif one.succeeded:
            view.succeeded += 1
        elif one.counted:
            view.failed += 1
        if one.fail_index and index >= 0:
            view.failed_indexes.add(index)
        failed = limit is not None and not one.succeeded and one.counted
        if failed and view.index_failures.get(index, 0) > limit:
            view.failed_indexes.add(index)
    if indexed(view.job):
        view.succeeded = len(view.completed)


def judge(job: Object, pod: Object) -> Outcome:
    """What a pod's end means, the failure policy's rules applied in order."""
    if pods.phase(pod) == "Succeeded":
        return Outcome(pod, True)
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        why = _rule_matches(rule, pod)
        if not why:
            continue
        action = rule["action"]
        if action == "Ignore":
            return Outcome(pod, False, counted=False)
        if action == "FailIndex":
            return Outcome(pod, False, fail_index=True)
        if action == "FailJob":
            return Outcome(pod, False, fail_job=f"{why} matching FailJob rule at index {number}")
        return Outcome(pod, False)
    return Outcome(pod, False)


def _rule_matches(rule: Object, pod: Object) -> str:
    meta, status = pod["metadata"], pod.get("status") or {}
    where = f"pod {meta['namespace']}/{meta['name']}"
    codes = rule.get("onExitCodes")
    if codes:
        statuses = [
            *(status.get("containerStatuses") or ()),
            *(status.get("initContainerStatuses") or ()),
        ]
        for one in statuses:
            code = ((one.get("state") or {}).get("terminated") or {}).get("exitCode")
            named = codes.get("containerName") in (None, one.get("name"))
            if code in (None, 0) or not named:
                continue
            if (code in codes["values"]) == (codes["operator"] == "In"):
                return f"Container {one['name']} for {where} failed with exit code {code}"
        return ""
    for wanted in rule.get("onPodConditions") or ():
        found = conditions.find(status.get("conditions"), wanted["type"])
        if found is not None and found["status"] == wanted.get("status", "True"):
            return f"Pod {meta['namespace']}/{meta['name']} has condition {wanted['type']}"
    return ""


def verdict(view: View, now: float) -> tuple[str, str, str] | None:
    """(condition, reason, message) by which the Job ends; None while it goes on."""
    spec, status = view.job["spec"], view.job.get("status") or {}
    for type, final in (("FailureTarget", "Failed"), ("SuccessCriteriaMet", "Complete")):
        found = conditions.find(status.get("conditions"), type)
        if found is not None and found["status"] == "True":
            return final, found.get("reason", ""), found.get("message", "")
    failing = next((one.fail_job for one in view.fresh if one.fail_job), "")
    if failing:
        return "Failed", "PodFailurePolicy", failing
    if _past_backoff(view):
        return "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    deadline = spec.get("activeDeadlineSeconds")
    started = status.get("startTime")
    if (
        deadline is not None
        and started
        and not spec.get("suspend")
        and times.parse(started) + deadline <= now
    ):
        return "Failed", "DeadlineExceeded", "Job was active longer than specified deadline"
    return _index_verdict(view) or _success(view)


def _past_backoff(view: View) -> bool:
    limit = view.job["spec"].get("backoffLimit", 6)
    if view.failed > limit:
        return True
    policy = (view.job["spec"]["template"].get("spec") or {}).get("restartPolicy")
    if policy != "OnFailure":
        return False
    restarts = sum(_all_restarts(pod) for pod in view.active)
    return restarts > 0 if limit == 0 else restarts >= limit


def _all_restarts(pod: Object) -> int:
    status = pod.get("status") or {}
    listed = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    return sum(one.get("restartCount", 0) for one in listed)


def _index_verdict(view: View) -> tuple[str, str, str] | None:
    spec = view.job["spec"]
    if not indexed(view.job) or not view.failed_indexes:
        return None
    limit = spec.get("maxFailedIndexes")
    if limit is not None and len(view.failed_indexes) > limit:
        return (
            "Failed",
            "MaxFailedIndexesExceeded",
            "Job has exceeded the specified maximal number of failed indexes",
        )
    if len(view.completed | view.failed_indexes) >= spec["completions"]:
        return "Failed", "FailedIndexes", "Job has failed indexes"
    return None


def _success(view: View) -> tuple[str, str, str] | None:
    spec = view.job["spec"]
    for number, rule in enumerate((spec.get("successPolicy") or {}).get("rules") or ()):
        wanted = rule.get("succeededIndexes")
        hit = view.completed & indexes.parse(wanted) if wanted else view.completed
        enough = rule.get("succeededCount")
        need = enough if enough is not None else len(indexes.parse(wanted))
        if hit and len(hit) >= need:
            return "Complete", "SuccessPolicy", f"Matched rules at index {number}"
    completions = spec.get("completions")
    if completions is None:
        done = view.succeeded > 0 and not view.active and not view.terminating
    else:
        done = view.succeeded >= completions
    text = "Reached expected number of succeeded pods"
    return ("Complete", "CompletionsReached", text) if done else None


def plan(view: View, ending: bool, now: float) -> Plan:
    """Pods to create or delete so that as many run as should."""
    spec = view.job["spec"]
    if ending or spec.get("suspend"):
        return Plan(delete=tuple(view.active))
    parallel = spec.get("parallelism", 1)
    completions = spec.get("completions")
    if completions is None:
        wanted = len(view.active) if view.succeeded else parallel
        wanted = min(wanted, parallel)
    else:
        left = completions - view.succeeded - (len(view.failed_indexes) if indexed(view.job) else 0)
        wanted = min(parallel, max(left, 0))
    surplus, gone = _surplus_by_index(view)
    active = len(view.active) - len(gone)
    if active > wanted:
        rank = sorted(surplus, key=lambda pod: pods.deletion_rank(pod, beside=0, now=now))
        return Plan(delete=(*gone, *rank[: active - wanted]))
    missing = wanted - active
    if spec.get("podReplacementPolicy") == "Failed":
        missing -= len(view.terminating)
    if missing <= 0:
        return Plan(delete=gone)
    wait = backoff_left(view, now)
    if wait > 0:
        return Plan(delete=gone, wait=wait)
    if not indexed(view.job):
        return Plan(create=(None,) * missing, delete=gone)
    return Plan(create=_free_indexes(view, missing), delete=gone)


def _surplus_by_index(view: View) -> tuple[list[Object], tuple[Object, ...]]:
    """Active pods, and those that repeat an index or have none that is wanted."""
    if not indexed(view.job):
        return list(view.active), ()
    seen: set[int] = set()
    kept: list[Object] = []
    gone: list[Object] = []
    limit = view.job["spec"]["completions"]
    for pod in sorted(
        view.active,
        key=lambda pod: (pod["metadata"].get("creationTimestamp", ""), pod["metadata"]["name"]),
    ):
        index = index_of(pod)
        useless = (
            index in seen or not 0 <= index < limit or index in view.completed | view.failed_indexes
        )
        (gone if useless else kept).append(pod)
        seen.add(index)
    return kept, tuple(gone)


def _free_indexes(view: View, count: int) -> tuple[int, ...]:
    taken = {index_of(pod) for pod in view.active} | view.completed | view.failed_indexes
    if view.job["spec"].get("podReplacementPolicy") == "Failed":
        taken |= {index_of(pod) for pod in view.terminating}
    free = (index for index in range(view.job["spec"]["completions"]) if index not in taken)
    return tuple(index for index, _ in zip(free, range(count), strict=False))


def backoff_left(view: View, now: float) -> float:
    """Seconds until a failed pod may be replaced: 10 s, 20 s, … after the last of a series of failures."""
    if indexed(view.job) and view.job["spec"].get("backoffLimitPerIndex") is not None:
        return 0.0
    succeeded = max(
        (_ended_at(p, now) for p in view.ended if pods.phase(p) == "Succeeded"), default=0.0
    )
    ends = [_ended_at(pod, now) for pod in view.ended if pods.phase(pod) == "Failed"]
    series = [end for end in ends if end > succeeded]
    if not series:
        return 0.0
    delay = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(len(series) - 1, 10), MAX_BACKOFF_SECONDS)
    return max(max(series) + delay - now, 0.0)


def _ended_at(pod: Object, now: float) -> float:
    stamps = [
        ((one.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for one in (pod.get("status") or {}).get("containerStatuses") or ()
    ]
    known = [times.parse(stamp) for stamp in stamps if stamp]
    return max(known, default=now)
