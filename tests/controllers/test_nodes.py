"""Nodes: their piece of the pod network, their silence, and what becomes of their pods."""

from __future__ import annotations

import asyncio
import ipaddress
import time

import pytest

from tests.support.cluster import Cluster, add_node, node, running_cluster, stop, workload
from todoku.api import times
from todoku.api.meta import Key, Object
from todoku.controllers import Timings
from todoku.controllers.heartbeats import Heartbeats
from todoku.controllers.node_ipam import Exhausted, next_free, plan
from todoku.controllers.node_lifecycle import wanted_taints
from todoku.controllers.taint_eviction import FOREVER, evict_in

CLUSTER = ipaddress.ip_network("10.244.0.0/16")


def networks(*texts: str):
    return [ipaddress.ip_network(text) for text in texts]


@pytest.mark.parametrize(
    ("used", "found"),
    [
        ((), "10.244.0.0/24"),
        (("10.244.0.0/24",), "10.244.1.0/24"),
        (("10.244.1.0/24",), "10.244.0.0/24"),
        (("10.244.0.0/24", "10.244.1.0/24", "10.244.3.0/24"), "10.244.2.0/24"),
        (("10.244.0.0/23",), "10.244.2.0/24"),
        (("10.244.0.0/25",), "10.244.1.0/24"),
        (("192.168.0.0/24",), "10.244.0.0/24"),
    ],
)
def test_the_first_free_piece_is_given(used, found):
    assert str(next_free(CLUSTER, 24, networks(*used))) == found


def test_when_none_is_left_that_is_said():
    with pytest.raises(Exhausted, match="no /24 is left"):
        next_free(ipaddress.ip_network("10.0.0.0/23"), 24, networks("10.0.0.0/24", "10.0.1.0/24"))


def test_a_dual_stack_node_gets_one_piece_of_each_range():
    clusters = networks("10.244.0.0/16", "fd00::/48")
    assert plan({}, [], clusters, (24, 64)) == ["10.244.0.0/24", "fd00::/64"]


def beats() -> Heartbeats:
    made = Heartbeats(grace=2.0, startup_grace=20.0)
    made.seen("w1", "a", 100.0)
    return made


def test_a_node_is_silent_after_its_grace():
    assert beats().left("w1", 101.5, listening_since=0) == pytest.approx(0.5)
    assert beats().left("w1", 102.0, listening_since=0) <= 0


def test_the_same_mark_again_is_no_sign_of_life():
    made = beats()
    assert not made.seen("w1", "a", 101.0)
    assert made.seen("w1", "b", 101.0)


def test_a_detector_that_ran_late_extends_the_grace_by_its_own_absence():
    made = beats()
    made.stalled(5.0)
    assert made.left("w1", 106.0, listening_since=0) == pytest.approx(1.0)


def test_without_a_connection_nobody_is_silent_and_afterwards_all_get_the_whole_grace():
    assert beats().left("w1", 1000.0, listening_since=None) > 0
    assert beats().left("w1", 1000.0, listening_since=999.5) == pytest.approx(1.5)


def test_a_node_that_never_spoke_gets_longer():
    made = Heartbeats(grace=2.0, startup_grace=20.0)
    made.seen("new", "", 100.0)
    assert made.left("new", 110.0, listening_since=0) == pytest.approx(10.0)


def test_a_posted_status_alone_does_not_start_the_short_grace():
    made = Heartbeats(grace=2.0, startup_grace=20.0)
    made.seen("new", "posted", 100.0, lease=False)
    assert made.left("new", 110.0, listening_since=0) == pytest.approx(10.0)


def with_ready(status: str, *taints: Object, **spec: object) -> Object:
    return {
        "spec": {"taints": list(taints)} | spec,
        "status": {"conditions": [{"type": "Ready", "status": status}]},
    }


OWN = {"key": "dedicated", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("one", "keys"),
    [
        pytest.param(with_ready("True"), [], id="ready"),
        pytest.param(with_ready("False"), ["not-ready/NoSchedule", "not-ready/NoExecute"], id="not ready"),
        pytest.param(with_ready("Unknown"), ["unreachable/NoSchedule", "unreachable/NoExecute"], id="silent"),
        pytest.param(with_ready("True", unschedulable=True), ["unschedulable/NoSchedule"], id="cordoned"),
        pytest.param(with_ready("True", OWN), ["dedicated/NoSchedule"], id="others' taints stay"),
        pytest.param(
            with_ready("True", {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}), [], id="ready again"
        ),
    ],
)  # fmt: skip
def test_taints_follow_conditions(one, keys):
    found = wanted_taints(one, "now")
    assert [f"{t['key'].rpartition('/')[2]}/{t['effect']}" for t in found] == keys
    assert all(("timeAdded" in t) == (t["effect"] == "NoExecute") for t in found)


GONE = {
    "key": "node.kubernetes.io/unreachable",
    "effect": "NoExecute",
    "timeAdded": times.text(1000),
}


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        pytest.param([], 0.0, id="none"),
        pytest.param([{"key": GONE["key"], "operator": "Exists", "effect": "NoExecute"}], FOREVER, id="for ever"),
        pytest.param([{"key": GONE["key"], "operator": "Exists", "tolerationSeconds": 300}], 290.0, id="for a while"),
        pytest.param([{"key": GONE["key"], "operator": "Exists", "tolerationSeconds": 5}], 0.0, id="over"),
        pytest.param(
            [{"operator": "Exists"}, {"key": GONE["key"], "operator": "Exists", "tolerationSeconds": 60}], 50.0, id="shortest"
        ),
    ],
)  # fmt: skip
def test_how_long_a_pod_may_stay_on_a_tainted_node(tolerations, seconds):
    pod = {"spec": {"tolerations": tolerations}}
    assert evict_in(pod, {"spec": {"taints": [GONE]}}, now=1010) == seconds


class Leases:
    """Renews the leases of nodes that have power."""

    def __init__(self, cluster: Cluster, *names: str) -> None:
        self.cluster, self.alive = cluster, set(names)

    async def run(self) -> None:
        client = self.cluster.client
        for name in self.alive:
            body = {
                "metadata": {"name": name, "namespace": "kube-node-lease"},
                "spec": {"holderIdentity": name},
            }
            await client.create("leases.coordination.k8s.io", body)
        while True:
            stamp = times.micro_text(time.time())
            for name in sorted(self.alive):
                await client.patch(
                    "leases.coordination.k8s.io",
                    name,
                    "kube-node-lease",
                    {"spec": {"renewTime": stamp}},
                )
            await asyncio.sleep(0.1)


def ready_of(cluster: Cluster, name: str) -> str:
    found = cluster.informers.informer("nodes").get(Key("", name))
    listed = ((found or {}).get("status") or {}).get("conditions") or ()
    return next((c["status"] for c in listed if c["type"] == "Ready"), "")


async def test_a_power_cut_withdraws_the_node_and_its_endpoints_and_power_brings_them_back():
    timings = Timings(node_grace=0.6, node_startup_grace=600)
    names = (
        "node-lifecycle",
        "node-ipam",
        "deployment",
        "replicaset",
        "endpointslice",
        "taint-eviction",
    )
    async with running_cluster(nodes=("w1", "w2"), names=names, timings=timings) as cluster:
        leases = Leases(cluster, "w1", "w2")
        renewing = asyncio.create_task(leases.run())
        service = {
            "metadata": {"name": "web", "namespace": "lab"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
        }
        await cluster.client.create("services", service)
        await cluster.client.create("deployments.apps", workload("web", replicas=2))

        def ready_on() -> set[str]:
            return {
                e["nodeName"]
                for one in cluster.cached("endpointslices.discovery.k8s.io", "lab")
                for e in one.get("endpoints") or ()
                if e["conditions"]["ready"]
            }

        await cluster.until(lambda: ready_on() == {"w1", "w2"})
        cluster.kubelets.paused.add("w1")
        leases.alive.discard("w1")
        cut = time.monotonic()
        await cluster.until(lambda: ready_on() == {"w2"})
        took = time.monotonic() - cut
        assert took < 2.0
        assert ready_of(cluster, "w1") == "Unknown" and ready_of(cluster, "w2") == "True"
        found = cluster.informers.informer("nodes").get(Key("", "w1"))
        await cluster.until(
            lambda: (
                {
                    t["key"]
                    for t in (
                        cluster.informers.informer("nodes").get(Key("", "w1"))["spec"].get("taints")
                        or ()
                    )
                }
                == {"node.kubernetes.io/unreachable"}
            )
        )
        leases.alive.add("w1")
        fresh = await cluster.client.get("nodes", "w1")
        fresh["status"] = node("w1")["status"]
        await cluster.client.update("nodes", fresh, subresource="status")
        await cluster.until(
            lambda: not cluster.informers.informer("nodes").get(Key("", "w1"))["spec"].get("taints")
        )
        assert found["spec"]["podCIDR"]
        await stop(renewing)


async def test_each_node_gets_its_own_pod_network():
    async with running_cluster(
        nodes=("w1", "w2", "w3"), names=("node-ipam",), schedule=False
    ) as cluster:
        nodes = cluster.informers.informer("nodes")
        await cluster.until(
            lambda: all(n["spec"].get("podCIDR") for n in nodes.list()) and len(nodes.list()) == 3
        )
        assert {n["spec"]["podCIDR"] for n in nodes.list()} == {
            "10.244.0.0/24",
            "10.244.1.0/24",
            "10.244.2.0/24",
        }
        await cluster.client.delete("nodes", "w2")
        gone = (
            next(n for n in nodes.list() if n["metadata"]["name"] == "w2")["spec"]["podCIDR"]
            if nodes.get(Key("", "w2"))
            else None
        )
        await cluster.until(lambda: nodes.get(Key("", "w2")) is None)
        await add_node(cluster.client, node("w4"))
        await cluster.until(
            lambda: (nodes.get(Key("", "w4")) or {"spec": {}})["spec"].get("podCIDR")
        )
        assert gone is None or nodes.get(Key("", "w4"))["spec"]["podCIDR"] == gone


async def test_a_new_node_is_announced_by_the_node_controller():
    async with running_cluster(nodes=("w1",), names=("node-lifecycle",), schedule=False) as cluster:

        async def told() -> list[Object]:
            listed = (await cluster.client.list("events", "default")).items
            return [one for one in listed if one["reason"] == "RegisteredNode"]

        (event,) = await cluster.eventually(told)
        assert event["message"] == "Node w1 event: Registered Node w1 in Controller"
        assert event["source"]["component"] == "node-controller"


async def test_pods_that_do_not_tolerate_a_taint_leave():
    names = ("taint-eviction", "replicaset")
    async with running_cluster(nodes=("w1",), names=names) as cluster:
        await cluster.client.create("replicasets.apps", workload("web", replicas=1))
        await cluster.until(
            lambda: any((p.get("status") or {}).get("phase") == "Running" for p in cluster.pods())
        )
        first = cluster.pods()[0]["metadata"]["uid"]
        taint = {"key": "maintenance", "effect": "NoExecute"}
        await cluster.client.patch("nodes", "w1", "", {"spec": {"taints": [taint]}})
        await cluster.until(
            lambda: cluster.pods() and all(p["metadata"]["uid"] != first for p in cluster.pods())
        )

        async def told() -> bool:
            return any(
                text.startswith("TaintManagerEviction: Marking for deletion Pod lab/web-")
                for text in await cluster.events()
            )

        await cluster.eventually(told)


async def test_a_kubelet_that_reports_itself_not_ready_withdraws_its_pods():
    async with running_cluster(nodes=("w1",), names=("replicaset",)) as cluster:
        await cluster.client.create("replicasets.apps", workload("web", replicas=1))

        def pod_ready() -> str:
            listed = [
                c for p in cluster.pods() for c in (p.get("status") or {}).get("conditions") or ()
            ]
            return next((c["status"] for c in listed if c["type"] == "Ready"), "")

        await cluster.until(lambda: pod_ready() == "True")
        cluster.kubelets.paused.add("w1")
        fresh = await cluster.client.get("nodes", "w1")
        fresh["status"]["conditions"][0] |= {"status": "False", "reason": "KubeletNotReady"}
        await cluster.client.update("nodes", fresh, subresource="status")
        await cluster.until(lambda: pod_ready() == "False")
        keys = {"node.kubernetes.io/not-ready"}
        await cluster.until(
            lambda: (
                {
                    t["key"]
                    for t in (cluster.get("nodes", "w1", "") or {})["spec"].get("taints") or ()
                }
                == keys
            )
        )
