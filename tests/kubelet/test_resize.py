"""In-place resize: what is granted, what waits, and which containers start anew."""

import pytest

from todoku.kubelet.records import Container, PodRecord, State
from todoku.kubelet.resize import Ledger, as_granted, needs_restart, pending, requests, resources_of
from todoku.kubelet.status import pod_status

NODE = {"cpu": "2", "memory": "1Gi"}


def pod(cpu="100m", memory="64Mi", uid="u", **more):
    amounts = {"cpu": cpu, "memory": memory}
    main = {"name": "main", "image": "i", "resources": {"requests": amounts}} | more
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": uid, "generation": 2},
        "spec": {"containers": [main]},
    }


@pytest.mark.parametrize(
    ("wanted", "others", "told"),
    [
        pytest.param({}, (), None, id="it fits"),
        pytest.param({"cpu": "3"}, (), ("Infeasible", "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"), id="never"),
        pytest.param({"memory": "2Gi"}, (), ("Infeasible", "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824"), id="never, by memory"),
        pytest.param({"cpu": "1500m"}, ("800m",), ("Deferred", "Node didn't have enough resource: cpu, requested: 1500, used: 800, capacity: 2000"), id="not now"),
    ],
)  # fmt: skip
def test_what_a_node_grants(wanted, others, told):
    ledger = Ledger()
    for number, cpu in enumerate(others):
        ledger.grant(f"other-{number}", requests(pod(cpu=cpu)))
    found = pending(requests(pod(**wanted)), ledger.beside("u"), NODE)
    assert (found and (found.reason, found.message)) == told


def test_a_deferred_resize_is_looked_at_again_when_another_pod_gives_back():
    ledger, woken = Ledger(), []
    ledger.grant("a", requests(pod(cpu="1")))
    ledger.grant("b", requests(pod(cpu="1")))
    ledger.wait("b", lambda: woken.append("b"))
    ledger.grant("a", requests(pod(cpu="1500m")))
    assert woken == []
    ledger.grant("a", requests(pod(cpu="500m")))
    assert woken == ["b"]
    ledger.wait("b", lambda: woken.append("b"))
    ledger.release("a")
    assert woken == ["b", "b"]


def test_a_pod_runs_with_what_it_was_granted_until_more_is():
    before, after = pod(cpu="100m"), pod(cpu="3")
    granted = resources_of(before)
    assert as_granted(before, granted) is before
    found = as_granted(after, granted)
    assert found["spec"] == before["spec"]
    assert after["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "3"


RESTART = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]


@pytest.mark.parametrize(
    ("change", "policy", "restarts"),
    [
        ({"cpu": "2"}, RESTART, False),
        ({"memory": "1Gi"}, RESTART, True),
        ({"memory": "1Gi"}, [], False),
    ],
)
def test_a_policy_may_ask_for_a_new_container(change, policy, restarts):
    spec = pod(**change, resizePolicy=policy)["spec"]["containers"][0]
    assert needs_restart(spec, resources_of(pod())["main"]) is restarts


def test_the_status_tells_what_is_granted_what_runs_and_what_waits():
    one = Container("id", "main", "regular", 0, "i", "sha256:1", state=State.RUNNING)
    one.resources = {"requests": {"cpu": "50m"}}
    record = PodRecord(pod(), containers={"main": [one]})
    record.resize_pending, record.resizing = ("Deferred", "later"), True
    found = pod_status(record, now=1, host_ips=("1.2.3.4",), runtime="crun", sandbox_alive=True)
    (main,) = found["containerStatuses"]
    assert main["resources"] == {"requests": {"cpu": "50m"}}
    assert main["allocatedResources"] == {"cpu": "100m", "memory": "64Mi"}
    told = {c["type"]: (c.get("reason"), c.get("message")) for c in found["conditions"]}
    assert told["PodResizePending"] == ("Deferred", "later")
    assert told["PodResizeInProgress"] == (None, None)
    record.pod = record.pod | {"status": found}
    record.resize_pending, record.resizing = None, False
    again = pod_status(record, now=1, host_ips=("1.2.3.4",), runtime="crun", sandbox_alive=True)
    assert not any("Resize" in c["type"] for c in again["conditions"])
