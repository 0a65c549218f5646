"""Jobs and CronJobs."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.support.cluster import Cluster, ended, running, running_cluster, template
from todoku.api import times
from todoku.api.meta import Object
from todoku.controllers import cron, indexes
from todoku.controllers.cronjob import due, still_active, surplus
from todoku.controllers.job_plan import index_of

NAMES = ("job", "cronjob", "ttl-after-finished", "garbage-collector")


@pytest.fixture
async def cluster():
    async with running_cluster(nodes=("w1",), names=NAMES) as made:
        made.kubelets.behave = ended
        yield made


def job(**spec: object) -> Object:
    plain = template({"app": "j"}, restartPolicy="Never")
    return {"metadata": {"name": "j", "namespace": "lab"}, "spec": {"template": plain} | spec}


def status(cluster: Cluster) -> Object:
    found: Object = (cluster.get("jobs.batch", "j") or {}).get("status") or {}
    return found


def conditions(cluster: Cluster) -> dict[str, str]:
    return {
        c["type"]: c["reason"]
        for c in status(cluster).get("conditions") or ()
        if c["status"] == "True"
    }


async def test_a_job_runs_as_often_as_asked_and_is_complete(cluster):
    await cluster.client.create("jobs.batch", job(completions=3, parallelism=2))
    await cluster.until(lambda: "Complete" in conditions(cluster))
    assert status(cluster)["succeeded"] == 3
    assert status(cluster).get("active") is None and status(cluster)["completionTime"]
    assert conditions(cluster) == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert (
        all(not p["metadata"].get("finalizers") for p in cluster.pods())
        and len(cluster.pods()) == 3
    )


async def test_a_pod_counts_even_if_it_is_deleted_at_once(cluster):
    cluster.kubelets.behave = running
    await cluster.client.create("jobs.batch", job())
    await cluster.until(lambda: status(cluster).get("ready") == 1)
    name = cluster.pods()[0]["metadata"]["name"]
    cluster.kubelets.behave = lambda pod: None
    await cluster.client.patch(
        "pods", name, "lab", {"status": {"phase": "Succeeded"}}, subresource="status"
    )
    await cluster.client.delete("pods", name, "lab", grace_period_seconds=0)
    await cluster.until(lambda: "Complete" in conditions(cluster))
    assert status(cluster)["succeeded"] == 1


async def test_too_many_failures_end_it(cluster):
    cluster.kubelets.behave = lambda pod: ended(pod, code=1)
    await cluster.client.create("jobs.batch", job(backoffLimit=0))
    await cluster.until(lambda: "Failed" in conditions(cluster))
    assert conditions(cluster)["Failed"] == "BackoffLimitExceeded"
    assert status(cluster)["failed"] == 1


async def test_a_failed_pod_is_replaced_only_after_a_while(cluster):
    cluster.kubelets.behave = lambda pod: ended(pod, code=1)
    await cluster.client.create("jobs.batch", job(backoffLimit=3))
    await cluster.until(lambda: status(cluster).get("failed") == 1)
    assert len(cluster.pods()) == 1


async def test_an_indexed_job_gives_each_pod_its_number(cluster):
    await cluster.client.create(
        "jobs.batch", job(completions=3, parallelism=3, completionMode="Indexed")
    )
    await cluster.until(lambda: "Complete" in conditions(cluster))
    assert status(cluster)["completedIndexes"] == "0-2"
    assert sorted(index_of(p) for p in cluster.pods()) == [0, 1, 2]
    one = cluster.pods()[0]
    assert one["spec"]["hostname"] == f"j-{index_of(one)}"
    assert any(e["name"] == "JOB_COMPLETION_INDEX" for e in one["spec"]["containers"][0]["env"])


async def test_an_index_that_fails_too_often_fails_alone(cluster):
    cluster.kubelets.behave = lambda pod: ended(pod, code=1 if index_of(pod) == 1 else 0)
    await cluster.client.create(
        "jobs.batch",
        job(completions=3, parallelism=3, completionMode="Indexed", backoffLimitPerIndex=1),
    )
    await cluster.until(lambda: "Failed" in conditions(cluster))
    assert (status(cluster)["completedIndexes"], status(cluster)["failedIndexes"]) == ("0,2", "1")
    assert conditions(cluster)["Failed"] == "FailedIndexes"
    assert sum(index_of(p) == 1 for p in cluster.pods()) == 2


async def test_a_failure_policy_ends_the_job_by_exit_code(cluster):
    rule = {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [42]}}
    cluster.kubelets.behave = lambda pod: ended(pod, code=42)
    await cluster.client.create(
        "jobs.batch", job(backoffLimit=5, podFailurePolicy={"rules": [rule]})
    )
    await cluster.until(lambda: "Failed" in conditions(cluster))
    found = next(c for c in status(cluster)["conditions"] if c["type"] == "Failed")
    assert found["reason"] == "PodFailurePolicy"
    assert "failed with exit code 42 matching FailJob rule at index 0" in found["message"]


async def test_success_can_be_reached_by_some_indexes(cluster):
    cluster.kubelets.behave = lambda pod: ended(pod) if index_of(pod) == 0 else running(pod)
    policy = {"rules": [{"succeededIndexes": "0", "succeededCount": 1}]}
    await cluster.client.create(
        "jobs.batch",
        job(completions=3, parallelism=3, completionMode="Indexed", successPolicy=policy),
    )
    await cluster.until(lambda: "Complete" in conditions(cluster))
    assert conditions(cluster)["Complete"] == "SuccessPolicy"


@pytest.mark.parametrize(("change", "left"), [({"suspend": True}, 0), ({"parallelism": 1}, 1)])
async def test_pods_that_are_no_longer_needed_have_not_failed(cluster, change, left):
    cluster.kubelets.behave = running
    await cluster.client.create("jobs.batch", job(parallelism=3, completions=3))
    await cluster.until(lambda: status(cluster).get("ready") == 3)
    await cluster.client.patch("jobs.batch", "j", "lab", {"spec": change})
    await cluster.until(lambda: len(cluster.pods()) == status(cluster)["ready"] == left)
    await cluster.until(lambda: status(cluster)["terminating"] == 0)
    assert "failed" not in status(cluster)
    assert status(cluster)["uncountedTerminatedPods"] == {}


async def test_a_suspended_job_has_no_pods_until_it_is_resumed(cluster):
    await cluster.client.create("jobs.batch", job(suspend=True))
    await cluster.until(lambda: conditions(cluster).get("Suspended") == "JobSuspended")
    assert not cluster.pods() and not status(cluster).get("startTime")
    await cluster.client.patch("jobs.batch", "j", "lab", {"spec": {"suspend": False}})
    await cluster.until(lambda: "Complete" in conditions(cluster))


async def test_a_job_past_its_deadline_fails_and_its_pods_go(cluster):
    cluster.kubelets.behave = running
    await cluster.client.create("jobs.batch", job(activeDeadlineSeconds=1))
    await cluster.until(lambda: "Failed" in conditions(cluster))
    assert conditions(cluster)["Failed"] == "DeadlineExceeded"
    assert not cluster.pods()


async def test_a_finished_job_goes_after_its_time(cluster):
    await cluster.client.create("jobs.batch", job(ttlSecondsAfterFinished=0))
    await cluster.gone("jobs.batch", "j")
    await cluster.until(lambda: not cluster.pods())


async def test_deleting_a_job_frees_and_deletes_its_pods(cluster):
    cluster.kubelets.behave = running
    await cluster.client.create("jobs.batch", job(parallelism=2, completions=2))
    await cluster.until(lambda: status(cluster).get("ready") == 2)
    await cluster.client.delete("jobs.batch", "j", "lab", propagation="Background")
    await cluster.until(lambda: not cluster.pods())


# -- numbers and schedules


@pytest.mark.parametrize(
    ("numbers", "text"), [((), ""), ((0,), "0"), ((0, 1), "0,1"), ((0, 1, 2), "0-2"), ((0, 2, 3, 4, 7), "0,2-4,7")]
)  # fmt: skip
def test_indexes_as_text(numbers, text):
    assert indexes.text(numbers) == text
    assert indexes.parse(text) == set(numbers)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("schedule", "after", "due_at"),
    [
        ("*/5 * * * *", "2026-01-01T00:00:30", "2026-01-01T00:05"),
        ("0 * * * *", "2026-01-01T00:00", "2026-01-01T01:00"),
        ("30 9 * * mon-fri", "2026-01-02T10:00", "2026-01-05T09:30"),
        ("0 0 1 * *", "2026-01-15T00:00", "2026-02-01T00:00"),
        ("0 0 13 * 5", "2026-01-01T00:00", "2026-01-02T00:00"),  # the 13th, or a Friday
        ("0 0 29 2 *", "2026-01-01T00:00", "2028-02-29T00:00"),
        ("0 0 30 2 *", "2026-01-01T00:00", None),
        ("@hourly", "2026-01-01T00:10", "2026-01-01T01:00"),
        ("1-5/2 0 * jan,mar *", "2026-01-31T23:59", "2026-03-01T00:01"),
    ],
)
def test_when_a_schedule_is_due_next(schedule, after, due_at):
    assert cron.parse(schedule).next(at(after)) == (at(due_at) if due_at else None)


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "61 * * * *", "* * * * 8", "a * * * *", "5-1 * * * *", "*/0 * * * *"],
)
def test_schedules_that_cannot_be_read(schedule):
    with pytest.raises(ValueError):
        cron.parse(schedule)


def cron_job(**spec: object) -> Object:
    base = {"schedule": "0 * * * *", "jobTemplate": {"spec": {}}}
    return {"metadata": {"creationTimestamp": "2026-01-01T00:30:00Z"}, "spec": base | spec}


def seconds(text: str) -> float:
    return at(text).replace(tzinfo=UTC).timestamp()


def test_only_the_latest_of_several_missed_starts_counts():
    found = due(cron_job(), seconds("2026-01-01T03:10"))
    assert (found.start, found.again, found.missed) == (
        seconds("2026-01-01T03:00"),
        seconds("2026-01-01T04:00"),
        3,
    )


def test_a_start_missed_by_more_than_the_deadline_is_dropped():
    assert due(cron_job(startingDeadlineSeconds=60), seconds("2026-01-01T03:10")).start is None


def test_far_behind_the_latest_start_is_found_all_the_same():
    found = due(cron_job(schedule="* * * * *"), seconds("2026-01-02T00:00"))
    assert (found.start, found.missed > 100) == (seconds("2026-01-02T00:00"), True)


def test_schedules_mean_the_named_time_zone():
    found = due(cron_job(schedule="0 9 * * *", timeZone="Asia/Tokyo"), seconds("2026-01-01T12:00"))
    tokyo = datetime(2026, 1, 2, 9, tzinfo=ZoneInfo("Asia/Tokyo")).timestamp()
    assert found.again == tokyo


def finished(name: str, kind: str, stamp: str) -> Object:
    return {
        "metadata": {"name": name},
        "status": {"startTime": stamp, "conditions": [{"type": kind, "status": "True"}]},
    }


def test_the_oldest_finished_jobs_beyond_the_limit_go():
    jobs = [finished(f"j{i}", "Complete", f"2026-01-0{i + 1}T00:00:00Z") for i in range(5)]
    assert [j["metadata"]["name"] for j in surplus(jobs, 3, "Complete")] == ["j0", "j1"]
    assert surplus(jobs, None, "Complete") == []


def test_what_becomes_of_the_jobs_of_a_cron_job():
    def job(uid: str, kind: str = "") -> Object:
        conditions = [{"type": kind, "status": "True"}] if kind else []
        return {"metadata": {"name": uid, "uid": uid}, "status": {"conditions": conditions}}

    active = [{"name": name, "uid": name} for name in ("running", "done", "gone")]
    jobs = [job("running"), job("done", "Complete"), job("by-hand"), job("old", "Failed")]
    kept, told = still_active(active, jobs)
    assert [ref["name"] for ref in kept] == ["running"]
    assert told == [
        ("Normal", "SawCompletedJob", "Saw completed job: done, condition: Complete"),
        ("Normal", "MissingJob", "Active job went missing: gone"),
        (
            "Warning",
            "UnexpectedJob",
            "Saw a job that the controller did not create or forgot: by-hand",
        ),
    ]


async def test_a_cron_job_starts_its_job_and_notes_it(cluster):
    past = times.text(times.parse("2026-01-01T00:00:00Z"))
    wanted = {
        "metadata": {"name": "tick", "namespace": "lab"},
        "spec": {
            "schedule": "* * * * *",
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {"spec": {"template": template({"app": "t"}, restartPolicy="Never")}},
        },
    }
    made = await cluster.client.create("cronjobs.batch", wanted)
    made["status"] = {"lastScheduleTime": past}
    await cluster.client.update("cronjobs.batch", made, subresource="status")
    await cluster.until(lambda: len(cluster.cached("jobs.batch", "lab")) == 1)
    (one,) = cluster.cached("jobs.batch", "lab")
    assert (
        one["metadata"]["name"].startswith("tick-")
        and one["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
    )
    await cluster.until(
        lambda: ((cluster.get("cronjobs.batch", "tick") or {}).get("status") or {}).get(
            "lastSuccessfulTime"
        )
    )
