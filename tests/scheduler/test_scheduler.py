"""The scheduler against the API server: bindings, refusals, and when a refused pod is tried again."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, add_node, node, running_cluster, template, workload
from todoku.api.meta import Object

CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


@pytest.fixture
async def cluster():
    nodes = (node("master1", taints=[CONTROL_PLANE]), "worker1", "worker2")
    async with running_cluster(nodes=nodes, names=("deployment", "replicaset")) as made:
        yield made


def pod(name: str, **spec: object) -> Object:
    made = template({"app": name}, **spec)
    made["metadata"] |= {"name": name, "namespace": "lab"}
    return made


def asking(cpu: str) -> dict[str, object]:
    return {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]}


def node_of(cluster: Cluster, name: str) -> str:
    found = cluster.get("pods", name) or {"spec": {}}
    return str(found["spec"].get("nodeName") or "")


def scheduled(cluster: Cluster, name: str) -> Object:
    listed = ((cluster.get("pods", name) or {}).get("status") or {}).get("conditions") or ()
    return next((c for c in listed if c["type"] == "PodScheduled"), {})


async def test_three_replicas_land_two_and_one_and_the_event_says_where(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: sum(bool(p["spec"].get("nodeName")) for p in cluster.pods()) == 3)
    places = sorted(p["spec"]["nodeName"] for p in cluster.pods())
    assert places in (["worker1", "worker1", "worker2"], ["worker1", "worker2", "worker2"])
    one = cluster.pods()[0]
    text = f"Scheduled: Successfully assigned lab/{one['metadata']['name']} to {one['spec']['nodeName']}"

    async def told() -> bool:
        return text in await cluster.events()

    await cluster.eventually(told)
    assert scheduled(cluster, one["metadata"]["name"])["status"] == "True"


async def test_a_pod_that_fits_nowhere_says_why_in_its_condition_and_an_event(cluster):
    await cluster.client.create("pods", pod("big", **asking("100")))
    await cluster.until(lambda: scheduled(cluster, "big").get("reason") == "Unschedulable")
    text = scheduled(cluster, "big")["message"]
    assert text == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. "
        "no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )

    async def told() -> bool:
        return f"FailedScheduling: {text}" in await cluster.events()

    await cluster.eventually(told)


async def test_a_pod_whose_claim_is_missing_is_told_so_in_upstreams_words(cluster):
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    await cluster.client.create("pods", pod("early", volumes=[volume]))
    await cluster.until(lambda: scheduled(cluster, "early").get("reason") == "Unschedulable")
    assert scheduled(cluster, "early")["message"] == (
        '0/3 nodes are available: persistentvolumeclaim "data" not found. not found'
    )


async def test_a_new_node_is_used_at_once_by_the_pod_that_waits_for_it(cluster):
    await cluster.client.create("pods", pod("choosy", nodeSelector={"disk": "ssd"}))
    await cluster.until(lambda: scheduled(cluster, "choosy").get("status") == "False")
    await add_node(cluster.client, node("worker3", labels={"disk": "ssd"}))
    await cluster.until(lambda: node_of(cluster, "choosy") == "worker3", seconds=3)


async def test_a_pod_that_goes_makes_room(cluster):
    for name in ("one", "two"):
        await cluster.client.create("pods", pod(name, **asking("3")))
    await cluster.until(lambda: node_of(cluster, "one") and node_of(cluster, "two"))
    await cluster.client.create("pods", pod("three", **asking("3")))
    await cluster.until(lambda: scheduled(cluster, "three").get("status") == "False")
    await cluster.client.delete("pods", "one", "lab")
    await cluster.until(lambda: node_of(cluster, "three"), seconds=3)


async def test_gates_hold_a_pod_until_they_are_removed(cluster):
    await cluster.client.create(
        "pods", pod("gated", schedulingGates=[{"name": "example.com/wait"}])
    )
    await cluster.client.create("pods", pod("other"))
    await cluster.until(lambda: node_of(cluster, "other"))
    assert not node_of(cluster, "gated")
    await cluster.client.patch("pods", "gated", "lab", {"spec": {"schedulingGates": None}})
    await cluster.until(lambda: node_of(cluster, "gated"))


async def test_pods_of_other_schedulers_are_left_alone(cluster):
    await cluster.client.create("pods", pod("theirs", schedulerName="theirs"))
    await cluster.client.create("pods", pod("ours"))
    await cluster.until(lambda: node_of(cluster, "ours"))
    assert not node_of(cluster, "theirs")


async def test_a_more_important_pod_takes_the_place_of_a_lesser_one(cluster):
    await cluster.client.create(
        "priorityclasses.scheduling.k8s.io", {"metadata": {"name": "high"}, "value": 1000}
    )
    for name in ("one", "two"):
        await cluster.client.create("pods", pod(name, **asking("3")))
    await cluster.until(lambda: node_of(cluster, "one") and node_of(cluster, "two"))
    seen: list[Object] = []
    cluster.informers.informer("pods").subscribe(lambda event: seen.append(event.object))
    await cluster.client.create("pods", pod("vip", priorityClassName="high", **asking("3")))
    await cluster.until(lambda: node_of(cluster, "vip"))
    assert len(cluster.pods()) == 2
    nominated = {
        (p.get("status") or {}).get("nominatedNodeName")
        for p in seen
        if p["metadata"]["name"] == "vip"
    }
    assert node_of(cluster, "vip") in nominated
    victims = [p for p in seen if p["metadata"]["name"] in ("one", "two")]
    assert any(
        c["type"] == "DisruptionTarget" and c["reason"] == "PreemptionByScheduler"
        for p in victims
        for c in p["status"].get("conditions") or ()
    )

    async def told() -> bool:
        return any(
            text.startswith("Preempted: Preempted by pod ") for text in await cluster.events()
        )

    await cluster.eventually(told)


async def test_many_pods_never_overfill_a_node(cluster):
    await cluster.client.create(
        "deployments.apps",
        workload("web", replicas=12, template=template({"app": "web"}, **asking("1"))),
    )
    await cluster.until(lambda: sum(bool(p["spec"].get("nodeName")) for p in cluster.pods()) == 8)
    places = [p["spec"].get("nodeName") for p in cluster.pods()]
    assert (places.count("worker1"), places.count("worker2"), places.count(None)) == (4, 4, 4)
