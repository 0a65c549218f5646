"""ReplicaSets, DaemonSets and StatefulSets in the control plane."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cluster import (
    Cluster,
    add_node,
    node,
    running,
    running_cluster,
    template,
    workload,
)
from todoku.api.meta import Object
from todoku.controllers.pods import slow_start
from todoku.controllers.replicaset import plan

NAMES = ("replicaset", "replicationcontroller", "daemonset", "statefulset", "garbage-collector",
         "persistentvolumeclaim-protection")  # fmt: skip
CONTROL_PLANE = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}


@pytest.fixture
async def cluster():
    async with running_cluster(
        nodes=(node("m1", taints=[CONTROL_PLANE]), "w1", "w2"), names=NAMES
    ) as made:
        yield made


def live(cluster: Cluster) -> list[Object]:
    return [p for p in cluster.pods() if not p["metadata"].get("deletionTimestamp")]


def status(cluster: Cluster, resource: str, name: str = "web") -> Object:
    found: Object = (cluster.get(resource, name) or {}).get("status") or {}
    return found


# -- decisions


def pod(
    name: str,
    *,
    ready: bool = True,
    node_name: str = "w1",
    cost: str = "",
    restarts: int = 0,
    phase: str = "Running",
    age: int = 0,
) -> Object:
    stamp = f"2026-01-01T00:{age:02d}:00Z"
    notes = {"controller.kubernetes.io/pod-deletion-cost": cost} if cost else {}
    return {
        "metadata": {"name": name, "uid": name, "annotations": notes, "creationTimestamp": stamp},
        "spec": {"nodeName": node_name} if node_name else {},
        "status": {
            "phase": phase, "containerStatuses": [{"restartCount": restarts}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": stamp}],
        },
    }  # fmt: skip


NOW = 1767226200.0  # 2026-01-01T00:10:00Z


@pytest.mark.parametrize(
    ("spared", "doomed"),
    [
        pytest.param(pod("a"), pod("b", node_name=""), id="not yet placed"),
        pytest.param(pod("a"), pod("b", phase="Pending"), id="pending"),
        pytest.param(pod("a"), pod("b", ready=False), id="not ready"),
        pytest.param(pod("a", cost="5"), pod("b"), id="cheaper to delete"),
        pytest.param(pod("a", age=1), pod("b", age=9), id="ready for less time"),
        pytest.param(pod("a"), pod("b", restarts=3), id="restarted more often"),
    ],
)
def test_scaling_down_takes_the_pod_whose_loss_costs_least(spared, doomed):
    assert plan(1, [spared, doomed], [spared, doomed], NOW).delete == (doomed,)


def test_scaling_down_evens_out_the_nodes():
    crowd = [pod("a", node_name="w1"), pod("b", node_name="w1"), pod("c", node_name="w2")]
    assert plan(2, crowd, crowd, NOW).delete[0]["spec"]["nodeName"] == "w1"


async def test_a_doomed_creation_is_tried_once_not_a_thousand_times():
    tries = 0

    async def refuse(number: int) -> None:
        nonlocal tries
        tries += 1
        raise ValueError("no")

    done, failure = await slow_start(1000, refuse)
    assert (tries, done, str(failure)) == (1, [], "no")


# -- ReplicaSets


@pytest.mark.parametrize("resource", ["replicasets.apps", "replicationcontrollers"])
async def test_lost_pods_are_replaced_strangers_adopted_and_relabelled_ones_released(
    cluster, resource
):
    wanted = workload("web", replicas=2)
    if resource == "replicationcontrollers":
        wanted["spec"]["selector"] = {"app": "web"}
    stranger = template({"app": "web"})
    stranger["metadata"] |= {"name": "stranger", "namespace": "lab"}
    await cluster.client.create("pods", stranger)
    await cluster.client.create(resource, wanted)
    await cluster.until(lambda: status(cluster, resource).get("availableReplicas") == 2)
    assert len(live(cluster)) == 2
    adopted = cluster.get("pods", "stranger")
    assert adopted["metadata"]["ownerReferences"][0]["controller"] is True
    await cluster.client.patch(
        "pods", "stranger", "lab", {"metadata": {"labels": {"app": "other"}}}
    )
    await cluster.until(
        lambda: (
            len(live(cluster)) == 3
            and not cluster.get("pods", "stranger")["metadata"].get("ownerReferences")
        )
    )
    victim = next(p for p in live(cluster) if p["metadata"]["name"] != "stranger")["metadata"][
        "name"
    ]
    await cluster.client.delete("pods", victim, "lab")
    await cluster.until(lambda: cluster.get("pods", victim) is None and len(live(cluster)) == 3)


# -- DaemonSets


def daemons(**spec: object) -> Object:
    made = workload("web", **spec)
    del made["spec"]["replicas"]
    return made


async def test_one_daemon_pod_on_each_node_that_lets_it(cluster):
    await cluster.client.create("daemonsets.apps", daemons())
    await cluster.until(lambda: status(cluster, "daemonsets.apps").get("numberAvailable") == 2)
    assert {p["spec"]["nodeName"] for p in live(cluster)} == {"w1", "w2"}
    await add_node(cluster.client, node("w3"))
    await cluster.until(lambda: status(cluster, "daemonsets.apps").get("numberReady") == 3)
    found = status(cluster, "daemonsets.apps")
    assert (
        found["desiredNumberScheduled"],
        found["currentNumberScheduled"],
        found["numberMisscheduled"],
    ) == (3, 3, 0)


async def test_a_daemon_that_tolerates_the_control_plane_runs_there_too(cluster):
    spec = template({"app": "web"}, tolerations=[{"operator": "Exists"}])
    await cluster.client.create("daemonsets.apps", daemons(template=spec))
    await cluster.until(
        lambda: {p["spec"].get("nodeName") for p in live(cluster)} == {"m1", "w1", "w2"}
    )


async def test_daemons_are_updated_one_node_at_a_time(cluster):
    await cluster.client.create("daemonsets.apps", daemons())
    await cluster.until(lambda: status(cluster, "daemonsets.apps").get("numberAvailable") == 2)
    lowest = 2

    def watch(event: object) -> None:
        nonlocal lowest
        lowest = min(
            lowest, sum((p.get("status") or {}).get("phase") == "Running" for p in live(cluster))
        )

    cluster.informers.informer("pods").subscribe(watch)
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "httpd:2"}]}}}}
    await cluster.client.patch("daemonsets.apps", "web", "lab", body, kind="strategic")
    await cluster.until(
        lambda: (
            {p["spec"]["containers"][0]["image"] for p in live(cluster)} == {"httpd:2"}
            and status(cluster, "daemonsets.apps").get("updatedNumberScheduled") == 2
            and status(cluster, "daemonsets.apps").get("numberAvailable") == 2
        )
    )
    assert lowest >= 1
    assert len(cluster.cached("controllerrevisions.apps", "lab")) == 2


async def test_a_failed_daemon_pod_is_replaced(cluster):
    await cluster.client.create("daemonsets.apps", daemons())
    await cluster.until(lambda: status(cluster, "daemonsets.apps").get("numberAvailable") == 2)
    victim = live(cluster)[0]["metadata"]
    cluster.kubelets.behave = lambda p: (
        None if p["metadata"]["uid"] == victim["uid"] else running(p)
    )
    await cluster.client.patch(
        "pods", victim["name"], "lab", {"status": {"phase": "Failed"}}, subresource="status"
    )
    await cluster.until(
        lambda: (
            victim["uid"] not in {p["metadata"]["uid"] for p in cluster.pods()}
            and len(live(cluster)) == 2
        )
    )


# -- StatefulSets


def stateful(**spec: object) -> Object:
    return workload("web", **({"serviceName": "web"} | spec))


def numbered(cluster: Cluster) -> list[str]:
    return sorted(p["metadata"]["name"] for p in live(cluster))


async def test_stateful_pods_come_in_order_each_after_the_one_before_is_ready(cluster):
    order: list[str] = []
    cluster.informers.informer("pods").subscribe(
        lambda e: order.append(e.object["metadata"]["name"]) if e.type == "ADDED" else None
    )
    cluster.kubelets.behave = lambda p: running(p, ready=p["metadata"]["name"] != "web-1")
    await cluster.client.create("statefulsets.apps", stateful())
    await cluster.until(
        lambda: status(cluster, "statefulsets.apps").get("readyReplicas") == 1 and len(order) == 2
    )
    await asyncio.sleep(0.2)
    assert numbered(cluster) == ["web-0", "web-1"]
    cluster.kubelets.behave = running
    await cluster.client.patch(
        "pods", "web-1", "lab", {"metadata": {"annotations": {"touch": "1"}}}
    )
    await cluster.until(lambda: status(cluster, "statefulsets.apps").get("availableReplicas") == 3)
    assert order == ["web-0", "web-1", "web-2"]
    found = cluster.get("pods", "web-2")
    assert (found["spec"]["hostname"], found["spec"]["subdomain"]) == ("web-2", "web")
    assert found["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
    revision = status(cluster, "statefulsets.apps")["updateRevision"]
    assert revision.startswith("web-")
    assert found["metadata"]["labels"]["controller-revision-hash"] == revision


async def test_stateful_pods_go_highest_first(cluster):
    await cluster.client.create("statefulsets.apps", stateful())
    await cluster.until(lambda: status(cluster, "statefulsets.apps").get("availableReplicas") == 3)
    gone: list[str] = []
    cluster.informers.informer("pods").subscribe(
        lambda e: gone.append(e.object["metadata"]["name"]) if e.type == "DELETED" else None
    )
    await cluster.client.patch("statefulsets.apps", "web", "lab", {"spec": {"replicas": 1}})
    await cluster.until(lambda: numbered(cluster) == ["web-0"] and len(cluster.pods()) == 1)
    assert gone == ["web-2", "web-1"]


async def test_scaling_down_halts_while_pods_before_it_are_ill(cluster):
    cluster.kubelets.behave = lambda p: running(p, ready="sick" not in p["metadata"]["annotations"])
    more = {"metadata": {"labels": {"app": "web"}, "annotations": {"x": "y"}}}
    more["spec"] = template({"app": "web"})["spec"]
    await cluster.client.create("statefulsets.apps", stateful(template=more))
    await cluster.until(lambda: status(cluster, "statefulsets.apps").get("availableReplicas") == 3)

    async def note(value: str | None) -> None:
        for name in numbered(cluster):
            body = {"metadata": {"annotations": {"sick": value}}}
            await cluster.client.patch("pods", name, "lab", body)

    await note("yes")
    await cluster.until(lambda: not status(cluster, "statefulsets.apps").get("readyReplicas"))
    await cluster.client.patch("statefulsets.apps", "web", "lab", {"spec": {"replicas": 0}})
    await cluster.until(lambda: status(cluster, "statefulsets.apps")["observedGeneration"] == 2)
    await asyncio.sleep(0.2)
    assert numbered(cluster) == ["web-0", "web-1", "web-2"]
    await note(None)
    await cluster.until(lambda: not cluster.pods())


async def test_a_stateful_update_keeps_the_pods_below_the_partition(cluster):
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    await cluster.client.create("statefulsets.apps", stateful(updateStrategy=strategy))
    await cluster.until(lambda: status(cluster, "statefulsets.apps").get("availableReplicas") == 3)

    async def image(value: str) -> None:
        body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": value}]}}}}
        await cluster.client.patch("statefulsets.apps", "web", "lab", body, kind="strategic")

    def images() -> list[str]:
        return [
            p["spec"]["containers"][0]["image"]
            for p in sorted(live(cluster), key=lambda p: p["metadata"]["name"])
        ]

    await image("httpd:2")
    await cluster.until(
        lambda: (
            images() == ["httpd", "httpd", "httpd:2"]
            and status(cluster, "statefulsets.apps").get("readyReplicas") == 3
        )
    )
    await cluster.client.delete("pods", "web-0", "lab")
    await cluster.until(
        lambda: (
            images() == ["httpd", "httpd", "httpd:2"]
            and status(cluster, "statefulsets.apps").get("readyReplicas") == 3
        )
    )
    body = {"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}
    await cluster.client.patch("statefulsets.apps", "web", "lab", body)
    await cluster.until(lambda: images() == ["httpd:2"] * 3)
    await cluster.until(
        lambda: (
            status(cluster, "statefulsets.apps").get("currentRevision")
            == status(cluster, "statefulsets.apps").get("updateRevision")
        )
    )


async def test_each_stateful_pod_has_its_claim_which_outlives_it(cluster):
    claim = {
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    await cluster.client.create(
        "statefulsets.apps",
        stateful(replicas=2, volumeClaimTemplates=[claim], podManagementPolicy="Parallel"),
    )
    await cluster.until(lambda: len(live(cluster)) == 2)
    assert sorted(
        c["metadata"]["name"] for c in cluster.cached("persistentvolumeclaims", "lab")
    ) == ["data-web-0", "data-web-1"]
    assert {
        v["persistentVolumeClaim"]["claimName"]
        for p in live(cluster)
        for v in p["spec"]["volumes"]
        if v.get("persistentVolumeClaim")
    } == {"data-web-0", "data-web-1"}
    await cluster.client.patch("statefulsets.apps", "web", "lab", {"spec": {"replicas": 0}})
    await cluster.until(lambda: not cluster.pods())
    assert len(cluster.cached("persistentvolumeclaims", "lab")) == 2
