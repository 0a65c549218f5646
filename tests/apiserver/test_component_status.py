"""ComponentStatus: who of the control plane lives."""

import time

import pytest

from tests.support.apiserver import running_api
from todoku.api import times
from todoku.apiserver.component_status import is_held

STATUSES = "/api/v1/componentstatuses"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
HELD = {
    "renewed a moment ago": ({"renewTime": times.micro_text(95.0), "leaseDurationSeconds": 15}, True),
    "run out": ({"renewTime": times.micro_text(80.0), "leaseDurationSeconds": 15}, False),
    "never renewed": ({"leaseDurationSeconds": 15}, False),
    "empty": ({}, False),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "held"), HELD.values(), ids=HELD)
def test_a_lease_is_held_for_its_duration(spec, held):
    assert is_held(spec, 100.0) is held


async def test_each_component_is_as_healthy_as_its_lease_is_fresh():
    async with running_api() as api:
        spec = {"holderIdentity": "x", "leaseDurationSeconds": 15, "renewTime": times.micro_text(time.time())}  # fmt: skip
        code, _ = await api.request("POST", LEASES, {"metadata": {"name": "kube-scheduler"}, "spec": spec})  # fmt: skip
        assert code == 201
        code, listed = await api.request("GET", STATUSES)
        assert (code, listed["kind"]) == (200, "ComponentStatusList")
        found = {one["metadata"]["name"]: one for one in listed["items"]}
        assert sorted(found) == ["controller-manager", "etcd-0", "scheduler"]
        well = {"type": "Healthy", "status": "True", "message": "ok"}
        for name in ("etcd-0", "scheduler"):
            assert found[name] == {"metadata": {"name": name}, "conditions": [well]}
        (ill,) = found["controller-manager"]["conditions"]
        assert ill["status"] == "False"
        assert ill["message"].endswith("127.0.0.1:10257: connect: connection refused")
        code, one = await api.request("GET", f"{STATUSES}/scheduler")
        assert (code, one["kind"], one["conditions"]) == (200, "ComponentStatus", [well])
        assert (await api.request("GET", f"{STATUSES}/nobody"))[0] == 404
        _, none = await api.request("GET", f"{STATUSES}?labelSelector=a%3Db")
        assert none["items"] == []
