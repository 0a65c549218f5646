"""What to do next for a pod, its phase, its conditions, its back-off: tables over the pure decisions."""

import pytest

from todoku.kubelet.backoff import after_exit, after_image_failure, after_restart, go_duration
from todoku.kubelet.config import Timings
from todoku.kubelet.plan import plan
from todoku.kubelet.records import Container, Delay, PodRecord, Sandbox, State, Waiting
from todoku.kubelet.status import pod_phase, pod_status

NOW = 1000.0


def container(name, state, code=0, *, kind="regular", started=True, ready=True, restarts=0):
    one = Container(id=f"id-{name}-{restarts}", name=name, kind=kind, restarts=restarts, image="i", image_id="sha256:1",
                    state=State(state), exit_code=code, started_at=900.0)  # fmt: skip
    if state == "exited":
        one.finished_at, one.reason = 950.0, "Completed" if code == 0 else "Error"
        return one
    one.started, one.ready = started, ready
    return one


def record(*known, inits=(), mains=("main",), policy="Always", sidecars=(), sandbox=True):
    specs = [
        {"name": name, "image": "i", **({"restartPolicy": "Always"} if name in sidecars else {})}
        for name in inits
    ]
    pod = {
        "metadata": {"name": "p", "namespace": "d", "uid": "u", "generation": 2},
        "spec": {
            "restartPolicy": policy,
            "initContainers": specs,
            "containers": [{"name": n, "image": "i"} for n in mains],
        },
    }
    found = PodRecord(pod, sandbox=Sandbox("s", 900.0, ips=("10.0.0.1",)) if sandbox else None)
    for one in known:
        found.containers.setdefault(one.name, []).append(one)
    return found


def decide(rec, *, alive=True, unhealthy=None):
    return plan(rec, now=NOW, sandbox_alive=alive, unhealthy=unhealthy or {})


def starts(rec, **more):
    return [spec["name"] for _, spec in decide(rec, **more).start]


def test_first_comes_the_sandbox():
    assert decide(record(sandbox=False), alive=False).new_sandbox


@pytest.mark.parametrize(("rec", "expected"), [
    (record(), ["main"]),
    (record(mains=("a", "b")), ["a", "b"]),
    (record(inits=("i1", "i2")), ["i1"]),
    (record(container("i1", "running"), inits=("i1", "i2")), []),
    (record(container("i1", "exited"), inits=("i1", "i2")), ["i2"]),
    (record(container("i1", "exited"), container("i2", "exited"), inits=("i1", "i2")), ["main"]),
    (record(container("i1", "exited", 1), inits=("i1",)), ["i1"]),
    (record(container("i1", "exited", 1), inits=("i1",), policy="Never"), []),
    (record(container("s", "running", started=False), inits=("s", "i"), sidecars=("s",)), []),
    (record(container("s", "running"), inits=("s", "i"), sidecars=("s",)), ["i"]),
    (record(container("s", "running"), container("i", "exited"), inits=("s", "i"), sidecars=("s",)), ["main"]),
    (record(container("s", "exited"), container("main", "running"), inits=("s",), sidecars=("s",)), ["s"]),
    (record(container("main", "running")), []),
    (record(container("main", "exited")), ["main"]),
    (record(container("main", "exited"), policy="OnFailure", mains=("main", "x")), ["x"]),
    (record(container("main", "exited", 1), policy="OnFailure"), ["main"]),
    (record(container("main", "exited", 1), policy="Never"), []),
], ids=["main", "all mains", "first init", "init runs", "second init", "mains after inits", "init failed, again",
        "init failed, never", "sidecar not started", "after the sidecar", "sidecar and init done", "sidecar ended",
        "runs", "ended, always", "done and missing", "failed, on failure", "failed, never"])  # fmt: skip
def test_what_starts_next(rec, expected):
    assert starts(rec) == expected


def test_a_container_in_back_off_waits_and_the_worker_wakes_for_it():
    rec = record(container("main", "exited", 1))
    rec.delays["main"] = Delay(until=NOW + 7, seconds=10, why="crash")
    decided = decide(rec)
    assert (decided.start, decided.backing_off, decided.wake_at) == ((), ("main",), NOW + 7)


def test_an_unhealthy_container_is_killed_with_the_reason():
    rec = record(container("main", "running"))
    (kill,) = decide(rec, unhealthy={"id-main-0": "failed"}).kill
    assert (kill.container.name, kill.message) == ("main", "failed")


def test_a_container_whose_image_changed_is_replaced():
    rec = record(container("main", "running"))
    rec.last("main").spec_hash = "other"
    (kill,) = decide(rec).kill
    assert kill.message == "Container main definition changed, will be restarted"


def test_a_pod_that_is_done_ends_its_sidecars_and_its_sandbox():
    rec = record(
        container("s", "running"),
        container("main", "exited"),
        inits=("s",),
        sidecars=("s",),
        policy="Never",
    )
    decided = decide(rec)
    assert decided.stop_pod
    assert [kill.container.name for kill in decided.kill] == ["s"]


def test_a_lost_sandbox_takes_its_containers_along():
    decided = decide(record(container("main", "running")), alive=False)
    assert decided.new_sandbox and [kill.container.name for kill in decided.kill] == ["main"]


PHASES = {
    "nothing yet": (record(), "Pending"),
    "initialising": (record(container("i", "running"), inits=("i",)), "Pending"),
    "init failed, never": (record(container("i", "exited", 1), inits=("i",), policy="Never"), "Failed"),
    "init failed, again": (record(container("i", "exited", 1), inits=("i",)), "Pending"),
    "one of two": (record(container("a", "running"), mains=("a", "b")), "Pending"),
    "running": (record(container("main", "running")), "Running"),
    "restarting": (record(container("main", "exited", 1)), "Running"),
    "succeeded": (record(container("main", "exited"), policy="Never"), "Succeeded"),
    "succeeded, the sidecar still runs": (record(container("s", "running"), container("main", "exited"), inits=("s",), sidecars=("s",), policy="Never"), "Running"),
    "succeeded, the sidecar has ended": (record(container("s", "exited"), container("main", "exited"), inits=("s",), sidecars=("s",), policy="Never"), "Succeeded"),
    "failed": (record(container("main", "exited", 1), policy="Never"), "Failed"),
    "retrying": (record(container("main", "exited", 1), policy="OnFailure"), "Running"),
    "half done": (record(container("a", "exited"), container("b", "running"), mains=("a", "b"), policy="Never"), "Running"),
}  # fmt: skip


@pytest.mark.parametrize(("rec", "expected"), PHASES.values(), ids=PHASES.keys())
def test_phases(rec, expected):
    assert pod_phase(rec) == expected


def test_a_deleted_pod_that_was_killed_has_failed():
    rec = record(container("main", "exited", 137))
    rec.terminated = True
    assert pod_phase(rec) == "Failed"


def status(rec, old=None):
    rec.pod["status"] = old or {}
    return pod_status(
        rec, now=NOW, host_ips=("1.1.1.1",), runtime="crun", sandbox_alive=rec.sandbox is not None
    )


def conditions(rec, old=None):
    return {one["type"]: one for one in status(rec, old)["conditions"]}


def test_conditions_of_a_pod_that_initialises():
    found = conditions(record(container("i", "running"), inits=("i",)))
    assert {kind: one["status"] for kind, one in found.items()} == {
        "PodReadyToStartContainers": "True", "Initialized": "False", "Ready": "False", "ContainersReady": "False",
        "PodScheduled": "True",
    }  # fmt: skip
    assert found["Initialized"]["message"] == "containers with incomplete status: [i]"
    assert found["Ready"]["message"] == "containers with unready status: [main]"
    assert found["Ready"]["observedGeneration"] == 2


def test_a_ready_pod_and_when_it_became_so():
    old = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
                          {"type": "example.com/gate", "status": "True"}]}  # fmt: skip
    found = conditions(record(container("main", "running")), old)
    assert found["Ready"]["lastTransitionTime"] == "2026-01-01T00:00:00Z"
    assert found["example.com/gate"] == {"type": "example.com/gate", "status": "True"}


def test_a_readiness_gate_that_is_missing_keeps_the_pod_unready():
    rec = record(container("main", "running"))
    rec.pod["spec"]["readinessGates"] = [{"conditionType": "example.com/gate"}]
    found = conditions(rec)
    assert (found["ContainersReady"]["status"], found["Ready"]["status"]) == ("True", "False")
    assert found["Ready"]["reason"] == "ReadinessGatesNotReady"


def test_a_container_in_back_off_shows_how_it_ended():
    rec = record(container("main", "exited", 3, restarts=1))
    rec.waiting["main"] = Waiting("CrashLoopBackOff", "back-off 10s")
    (shown,) = status(rec)["containerStatuses"]
    assert shown["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}}
    assert shown["lastState"]["terminated"]["exitCode"] == 3
    assert shown["restartCount"] == 1


def test_the_waits_between_restarts_double_to_five_minutes():
    timings, delay, waits = Timings(), None, []
    ended = container("main", "exited", 1)
    for _ in range(8):
        delay = after_exit(delay, ended, timings)
        waits.append(max(delay.until - ended.finished_at, 0.0))
        delay = after_restart(delay, timings)
    assert waits == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]


def test_a_container_that_ran_for_long_begins_anew():
    ended = container("main", "exited", 1)
    ended.started_at = ended.finished_at - 700
    assert after_exit(Delay(seconds=160.0), ended, Timings()) == Delay()


def test_pulls_back_off_too():
    first = after_image_failure(None, NOW, Timings())
    second = after_image_failure(first, NOW, Timings())
    assert (first.until - NOW, second.until - NOW) == (10.0, 20.0)


@pytest.mark.parametrize(("seconds", "text"), [(10, "10s"), (80, "1m20s"), (300, "5m0s")])
def test_durations_as_go_prints_them(seconds, text):
    assert go_duration(seconds) == text


def test_a_container_that_waits_shows_its_mounts_and_one_that_ran_its_user():
    mount = {"name": "v", "mountPath": "/v", "readOnly": True}
    user = {"linux": {"uid": 1, "gid": 2, "supplementalGroups": [2]}}
    rec = record(mains=("waits", "runs"))
    for spec in rec.pod["spec"]["containers"]:
        spec["volumeMounts"] = [mount]
    runs = container("runs", "running")
    runs.user = user
    rec.containers["runs"] = [runs]
    first, second = status(rec)["containerStatuses"]
    assert (
        first["volumeMounts"]
        == second["volumeMounts"]
        == [{**mount, "recursiveReadOnly": "Disabled"}]
    )
    assert ("user" in first, second["user"]) == (False, user)


@pytest.mark.parametrize("resources", [{}, {"limits": {"cpu": "1"}}])
def test_the_pod_tells_what_it_has_as_a_whole(resources):
    rec = record(container("main", "running"))
    rec.pod["spec"]["resources"] = resources
    assert status(rec)["resources"] == resources
