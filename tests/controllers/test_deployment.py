"""Deployments end to end in the control plane: create, scale, roll, roll back, restart."""

from __future__ import annotations

import pytest

from tests.support.cluster import Cluster, running, running_cluster, workload
from todoku.api import errors
from todoku.api.meta import Object, copy
from todoku.api.selectors import from_selector
from todoku.controllers import deployment_status, replicaset


@pytest.fixture
async def cluster():
    names = ("deployment", "replicaset", "garbage-collector", "serviceaccount", "namespace")
    async with running_cluster(nodes=("w1", "w2"), names=names) as made:
        yield made


def deployment(cluster: Cluster, name: str = "web") -> Object:
    found = cluster.get("deployments.apps", name)
    assert found is not None
    return found


def ready(cluster: Cluster, count: int, name: str = "web") -> bool:
    found = cluster.get("deployments.apps", name)
    status = (found or {}).get("status") or {}
    seen = status.get("observedGeneration") == (found or {"metadata": {}})["metadata"].get(
        "generation"
    )
    return bool(
        seen and status.get("availableReplicas") == count
        and status.get("updatedReplicas") == count and status.get("replicas") == count
    )  # fmt: skip


def sets(cluster: Cluster) -> list[Object]:
    return cluster.cached("replicasets.apps", "lab")


async def set_image(cluster: Cluster, image: str) -> None:
    body = {"spec": {"template": {"spec": {"containers": [{"name": "web", "image": image}]}}}}
    await cluster.client.patch("deployments.apps", "web", "lab", body, kind="strategic")


def images(cluster: Cluster) -> set[str]:
    return {pod["spec"]["containers"][0]["image"] for pod in cluster.pods()}


async def test_a_deployment_becomes_available_and_says_so(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    found = deployment(cluster)
    words = {c["type"]: (c["status"], c["reason"]) for c in found["status"]["conditions"]}
    assert words["Available"] == ("True", "MinimumReplicasAvailable")
    await cluster.until(
        lambda: (
            {c["reason"] for c in deployment(cluster)["status"]["conditions"]}
            == {"MinimumReplicasAvailable", "NewReplicaSetAvailable"}
        )
    )
    assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert "unavailableReplicas" not in deployment(cluster)["status"]
    pod, rs = cluster.pods()[0], sets(cluster)[0]
    assert rs["metadata"]["name"] == f"web-{rs['metadata']['labels']['pod-template-hash']}"
    assert pod["metadata"]["name"].startswith(rs["metadata"]["name"] + "-")
    assert len(pod["metadata"]["name"].rpartition("-")[2]) == 5


async def test_its_own_annotation_is_no_change_of_what_is_asked_for(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    meta = (await cluster.client.get("deployments.apps", "web", "lab"))["metadata"]
    assert meta["annotations"]["deployment.kubernetes.io/revision"] == "1"
    assert meta["generation"] == 1
    other = {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 7}}}}
    await cluster.client.patch("deployments.apps", "web", "lab", other)
    await cluster.until(lambda: ready(cluster, 3) and len(sets(cluster)) == 2)
    meta = (await cluster.client.get("deployments.apps", "web", "lab"))["metadata"]
    assert meta["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert meta["generation"] == 2


async def test_its_events_tell_what_it_did(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    name = sets(cluster)[0]["metadata"]["name"]
    text = f"ScalingReplicaSet: Scaled up replica set {name} from 0 to 3"

    async def told() -> bool:
        return text in await cluster.events()

    await cluster.eventually(told)


async def test_scaling_changes_the_one_replica_set(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    for count in (5, 1):
        await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"replicas": count}})
        await cluster.until(
            lambda count=count: ready(cluster, count) and len(cluster.pods()) == count
        )
    assert len(sets(cluster)) == 1


async def test_a_new_image_rolls_and_never_drops_below_what_is_promised(cluster):
    await cluster.client.create("deployments.apps", workload("web", replicas=4))
    await cluster.until(lambda: ready(cluster, 4))
    lowest = 4

    def watch(event: object) -> None:
        nonlocal lowest
        lowest = min(lowest, deployment(cluster)["status"].get("availableReplicas", 0))

    cluster.informers.informer("deployments.apps").subscribe(watch)
    await set_image(cluster, "httpd:2")
    await cluster.until(lambda: ready(cluster, 4) and images(cluster) == {"httpd:2"})
    assert lowest >= 3  # 25 % of 4 may be unavailable
    sizes = sorted(
        (rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"], rs["spec"]["replicas"])
        for rs in sets(cluster)
    )
    assert sizes == [("1", 0), ("2", 4)]


async def test_rolling_back_reuses_the_old_replica_set_as_the_newest_revision(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    await set_image(cluster, "httpd:2")
    await cluster.until(lambda: ready(cluster, 3) and images(cluster) == {"httpd:2"})
    await set_image(cluster, "httpd")
    await cluster.until(lambda: ready(cluster, 3) and images(cluster) == {"httpd"})
    assert len(sets(cluster)) == 2
    notes = deployment(cluster)["metadata"]["annotations"]
    assert notes["deployment.kubernetes.io/revision"] == "3"
    live = next(rs for rs in sets(cluster) if rs["spec"]["replicas"])
    assert live["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"] == "1"


async def test_recreate_runs_no_old_pod_beside_a_new_one(cluster):
    await cluster.client.create("deployments.apps", workload("web", strategy={"type": "Recreate"}))
    await cluster.until(lambda: ready(cluster, 3))
    mixed: list[set[str]] = []
    cluster.informers.informer("pods").subscribe(lambda event: mixed.append(images(cluster)))
    await set_image(cluster, "httpd:2")
    await cluster.until(lambda: ready(cluster, 3) and images(cluster) == {"httpd:2"})
    assert all(len(one) <= 1 for one in mixed)


async def test_a_rollout_that_does_not_get_ready_keeps_the_old_pods(cluster):
    await cluster.client.create("deployments.apps", workload("web", progressDeadlineSeconds=1))
    await cluster.until(lambda: ready(cluster, 3))
    cluster.kubelets.behave = lambda pod: running(
        pod, ready=pod["spec"]["containers"][0]["image"] != "broken"
    )
    await set_image(cluster, "broken")
    await cluster.until(
        lambda: any(
            c["reason"] == "ProgressDeadlineExceeded"
            for c in deployment(cluster)["status"]["conditions"]
        )
    )
    assert deployment(cluster)["status"]["availableReplicas"] == 3
    progressing = next(
        c for c in deployment(cluster)["status"]["conditions"] if c["type"] == "Progressing"
    )
    assert progressing["message"].endswith("has timed out progressing.")


async def test_old_revisions_beyond_the_limit_go(cluster):
    await cluster.client.create("deployments.apps", workload("web", revisionHistoryLimit=1))
    await cluster.until(lambda: ready(cluster, 3))
    for number in range(1, 4):
        await set_image(cluster, f"httpd:{number}")
        await cluster.until(
            lambda n=number: ready(cluster, 3) and images(cluster) == {f"httpd:{n}"}
        )
    await cluster.until(lambda: len(sets(cluster)) == 2)


async def test_while_paused_nothing_rolls_but_scaling_works(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"paused": True}})
    await set_image(cluster, "httpd:2")
    await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"replicas": 4}})
    await cluster.until(
        lambda: (
            len([p for p in cluster.pods() if p.get("status", {}).get("phase") == "Running"]) == 4
        )
    )
    assert images(cluster) == {"httpd"}
    await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"paused": False}})
    await cluster.until(lambda: ready(cluster, 4) and images(cluster) == {"httpd:2"})


async def test_deleting_it_takes_replica_sets_and_pods_along(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    await cluster.client.delete("deployments.apps", "web", "lab")
    await cluster.until(lambda: not sets(cluster) and not cluster.pods())


async def test_orphaning_leaves_its_replica_set_which_another_deployment_adopts(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    names = {pod["metadata"]["name"] for pod in cluster.pods()}
    await cluster.client.delete("deployments.apps", "web", "lab", propagation="Orphan")
    await cluster.gone("deployments.apps", "web")
    assert len(sets(cluster)) == 1
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    assert {pod["metadata"]["name"] for pod in cluster.pods()} == names


async def test_restarted_controllers_change_nothing(cluster):
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: ready(cluster, 3))
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    await cluster.until(
        lambda: any(
            c["reason"] == "NewReplicaSetAvailable"
            for c in deployment(cluster)["status"]["conditions"]
        )
    )
    version = deployment(cluster)["metadata"]["resourceVersion"]
    await cluster.restart_controllers(names=("deployment", "replicaset"))
    await cluster.client.create("deployments.apps", workload("other", replicas=1))
    await cluster.until(lambda: ready(cluster, 1, "other"))
    assert {
        p["metadata"]["uid"] for p in cluster.pods() if p["metadata"]["labels"]["app"] == "web"
    } == before
    assert deployment(cluster)["metadata"]["resourceVersion"] == version


async def test_a_foreign_replica_set_of_the_wanted_name_leads_to_another_hash(cluster):
    await cluster.client.create("deployments.apps", workload("probe", replicas=0))
    await cluster.until(lambda: sets(cluster))
    digest = sets(cluster)[0]["metadata"]["labels"]["pod-template-hash"]
    taken = workload(f"web-{digest}", replicas=0)
    same = copy(sets(cluster)[0]["spec"]["template"])
    same["metadata"]["labels"].pop("pod-template-hash")
    await cluster.client.create("replicasets.apps", taken)
    wanted = workload("web", replicas=1, selector={"matchLabels": {"app": "probe"}}, template=same)
    await cluster.client.create("deployments.apps", wanted)
    await cluster.until(
        lambda: (
            (cluster.get("deployments.apps", "web") or {}).get("status", {}).get("collisionCount")
            == 1
        )
    )
    await cluster.until(
        lambda: any(
            rs["metadata"]["name"].startswith("web-") and rs["spec"]["replicas"] == 1
            for rs in sets(cluster)
        )
    )


async def test_a_quota_that_forbids_pods_is_told_as_replica_failure(cluster):
    quota = {"metadata": {"name": "q", "namespace": "lab"}, "spec": {"hard": {"pods": "1"}}}
    await cluster.client.create("resourcequotas", quota)
    status = {"hard": {"pods": "1"}, "used": {"pods": "0"}}
    fresh = await cluster.client.get("resourcequotas", "q", "lab")
    try:
        await cluster.client.update(
            "resourcequotas", fresh | {"status": status}, subresource="status"
        )
    except errors.Conflict:
        pass
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(
        lambda: any(
            c["type"] == "ReplicaFailure"
            for c in (cluster.get("deployments.apps", "web") or {})
            .get("status", {})
            .get("conditions", [])
        )
    )
    found = next(
        c for c in deployment(cluster)["status"]["conditions"] if c["type"] == "ReplicaFailure"
    )
    assert found["reason"] == "FailedCreate" and "exceeded quota" in found["message"]


def test_further_refusals_change_nothing_though_each_names_another_pod():
    rs = {"metadata": {"name": "web-1"}, "spec": {"replicas": 1, "template": {}}}
    first = replicaset.status(rs, [], errors.Forbidden("pod a"), replicaset.Plan(create=1), 1.0)
    again = replicaset.status(
        rs | {"status": first}, [], errors.Forbidden("pod b"), replicaset.Plan(create=1), 2.0
    )
    assert again == first
    assert "conditions" not in replicaset.status(
        rs | {"status": first}, [], None, replicaset.Plan(), 3.0
    )


def leaving(name: str, *, owner: str = "1", phase: str = "Running") -> dict[str, object]:
    return {
        "metadata": {
            "name": name, "labels": {"app": "web"}, "deletionTimestamp": "2026-01-01T00:00:00Z",
            "ownerReferences": [{"uid": owner, "controller": True}],
        },
        "spec": {},
        "status": {"phase": phase},
    }  # fmt: skip


async def test_pods_on_their_way_out_are_counted_by_the_set_and_its_deployment(cluster):
    def told(resource: str) -> list[object]:
        return [
            (one.get("status") or {}).get("terminatingReplicas")
            for one in cluster.cached(resource, "lab")
        ]

    body = workload("web", replicas=1)
    body["spec"]["template"]["metadata"]["finalizers"] = ["example.com/held"]
    await cluster.client.create("deployments.apps", body)
    await cluster.until(lambda: ready(cluster, 1))
    await cluster.until(lambda: told("deployments.apps") == [0])
    await cluster.client.patch(
        "deployments.apps", "web", "lab", {"spec": {"replicas": 0}}, subresource="scale"
    )
    await cluster.until(lambda: told("replicasets.apps") == told("deployments.apps") == [1])
    held = cluster.pods()[0]["metadata"]["name"]
    await cluster.client.patch("pods", held, "lab", {"metadata": {"finalizers": None}})
    await cluster.until(lambda: told("replicasets.apps") == told("deployments.apps") == [0])


def test_pods_of_others_and_pods_that_ended_are_not_on_their_way_out():
    rs = {"metadata": {"uid": "1"}, "spec": {"selector": {"matchLabels": {"app": "web"}}}}
    seen = [
        leaving("mine"), leaving("theirs", owner="2"), leaving("ended", phase="Succeeded"),
        leaving("loose") | {"metadata": {"name": "loose", "labels": {}}},
    ]  # fmt: skip
    assert replicaset.terminating(rs, from_selector(rs["spec"]["selector"]), seen) == 1


def test_a_set_that_has_not_told_yet_leaves_the_deployments_sum_unknown():
    def counted(*told: int | None) -> object:
        sets = [
            {"spec": {}, "status": {} if one is None else {"terminatingReplicas": one}}
            for one in told
        ]
        return deployment_status.counts({"metadata": {}}, None, sets).get("terminatingReplicas")

    assert (counted(1, 2), counted(1, None), counted()) == (3, None, 0)
