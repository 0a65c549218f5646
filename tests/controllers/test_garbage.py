"""Owners and what they own: background, foreground, orphans, circles, custom resources; and namespaces."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cluster import Cluster, running_cluster, workload
from todoku.api import errors
from todoku.api.meta import Object
from todoku.controllers.ownership import Graph, Node, OwnerState, Reference, judge

SOLID, WAITING, ABSENT = OwnerState.SOLID, OwnerState.WAITING, OwnerState.ABSENT
UNREACHABLE = OwnerState.UNREACHABLE
FOREGROUND_DEPENDENT = Node(
    Reference("x", "", "d", "d"), deleting=True, finalizers=("foregroundDeletion",)
)
PLAIN_DEPENDENT = Node(Reference("x", "", "d", "d"))


@pytest.mark.parametrize(
    ("states", "finalizers", "dependents", "expected"),
    [
        pytest.param([], (), [], ("", (), False), id="owned by nobody"),
        pytest.param([SOLID], (), [], ("", (), False), id="its owner is there"),
        pytest.param([ABSENT], (), [], ("Background", (), False), id="its owner is gone"),
        pytest.param([SOLID, ABSENT], (), [], ("", ("o1",), False), id="one of two is gone"),
        pytest.param([SOLID, WAITING], (), [], ("", ("o1",), False), id="one of two waits"),
        pytest.param([WAITING], (), [], ("Background", (), False), id="its owner waits for it"),
        pytest.param([WAITING], (), [PLAIN_DEPENDENT], ("Foreground", (), False), id="its owner waits, and it has dependents"),
        pytest.param([WAITING], (), [FOREGROUND_DEPENDENT], ("Foreground", (), True), id="a circle"),
        pytest.param([ABSENT], ("orphan",), [], ("Orphan", (), False), id="it asked for its dependents to stay"),
        pytest.param([ABSENT, UNREACHABLE], (), [], ("", (), False), id="an owner that cannot be one"),
        pytest.param([ABSENT], ("foregroundDeletion",), [], ("Foreground", (), False), id="it asked for foreground"),
    ],
)  # fmt: skip
def test_an_object_is_judged_by_its_owners(states, finalizers, dependents, expected):
    owners = [{"uid": f"o{i}"} for i in range(len(states))]
    found = judge(owners, lambda owner: states[int(owner["uid"][1:])], finalizers, dependents)
    assert (found.delete, found.drop_owners, found.unblock) == expected


def test_a_dependent_seen_before_its_owner_is_known_to_it_afterwards():
    graph = Graph()
    child = {"metadata": {"ownerReferences": [{"uid": "o", "blockOwnerDeletion": True}]}}
    graph.put(Reference("pods", "ns", "c", "c"), child)
    graph.put(Reference("sets", "ns", "o", "o"), {"metadata": {}})
    assert [one.at.uid for one in graph.blocking("o")] == ["c"]
    assert graph.remove("o") == {"c"}
    graph.put(Reference("pods", "ns", "c", "c"), {"metadata": {}})
    assert not graph.dependents("o") and not graph.waiting


@pytest.fixture
async def cluster():
    names = ("garbage-collector", "namespace", "serviceaccount", "root-ca-certificate-publisher")
    async with running_cluster(names=names, schedule=False) as made:
        yield made


async def put(
    cluster: Cluster, name: str, *owners: Object, resource: str = "configmaps", **more: object
) -> Object:
    meta: Object = {"name": name, "namespace": "lab", "ownerReferences": list(owners)} | more
    return await cluster.client.create(resource, {"metadata": meta})


def owned_by(obj: Object, *, block: bool = True) -> Object:
    meta = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"], "kind": obj["kind"], "name": meta["name"], "uid": meta["uid"],
        "blockOwnerDeletion": block,
    }  # fmt: skip


async def settled(cluster: Cluster) -> None:
    """Long enough for the collector to have done what it should not do."""
    await asyncio.sleep(0.3)


async def test_what_is_owned_goes_with_its_owner(cluster):
    owner = await put(cluster, "owner")
    child = await put(cluster, "child", owned_by(owner))
    await put(cluster, "grandchild", owned_by(child), resource="secrets")
    await put(cluster, "free")
    await cluster.client.delete("configmaps", "owner", "lab")
    await cluster.gone("secrets", "grandchild")
    await cluster.gone("configmaps", "child")
    assert await cluster.client.get("configmaps", "free", "lab")


async def test_an_owner_that_never_was_is_absent_too(cluster):
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "name": "ghost", "uid": "no-such-uid"}
    await put(cluster, "child", ghost)
    await cluster.gone("configmaps", "child")


async def test_a_living_second_owner_keeps_it_and_the_dead_reference_goes(cluster):
    one, two = await put(cluster, "one"), await put(cluster, "two")
    await put(cluster, "child", owned_by(one), owned_by(two))
    await cluster.client.delete("configmaps", "one", "lab")

    async def alone() -> bool:
        child = await cluster.client.get("configmaps", "child", "lab")
        return [o["name"] for o in child["metadata"]["ownerReferences"]] == ["two"]

    await cluster.eventually(alone)


async def test_orphaned_dependents_stay_and_lose_the_reference(cluster):
    owner = await put(cluster, "owner")
    await put(cluster, "child", owned_by(owner))
    await settled(cluster)
    await cluster.client.delete("configmaps", "owner", "lab", propagation="Orphan")
    await cluster.gone("configmaps", "owner")
    child = await cluster.client.get("configmaps", "child", "lab")
    assert not child["metadata"].get("ownerReferences")


async def test_in_the_foreground_the_owner_goes_after_what_blocks_it(cluster):
    owner = await put(cluster, "owner")
    await put(cluster, "child", owned_by(owner), finalizers=["example.com/hold"])
    await settled(cluster)
    await cluster.client.delete("configmaps", "owner", "lab", propagation="Foreground")
    await settled(cluster)
    assert (await cluster.client.get("configmaps", "owner", "lab"))["metadata"]["finalizers"] == [
        "foregroundDeletion"
    ]
    await cluster.client.patch("configmaps", "child", "lab", {"metadata": {"finalizers": None}})
    await cluster.gone("configmaps", "owner")
    await cluster.gone("configmaps", "child")


async def test_a_circle_of_owners_can_be_deleted_in_the_foreground(cluster):
    one = await put(cluster, "one")
    two = await put(cluster, "two", owned_by(one))
    body = {"metadata": {"ownerReferences": [owned_by(two)]}}
    await cluster.client.patch("configmaps", "one", "lab", body)
    await settled(cluster)
    await cluster.client.delete("configmaps", "one", "lab", propagation="Foreground")
    await cluster.gone("configmaps", "one")
    await cluster.gone("configmaps", "two")


async def test_an_owner_in_another_namespace_owns_nothing_and_an_event_says_so(cluster):
    await cluster.client.create("namespaces", {"metadata": {"name": "elsewhere"}})
    stranger = {"metadata": {"name": "stranger", "namespace": "elsewhere"}}
    owner = owned_by(await cluster.client.create("configmaps", stranger))
    await cluster.until(lambda: cluster.get("configmaps", "stranger", "elsewhere"))
    await put(cluster, "child", owner)
    await cluster.gone("configmaps", "child")
    where = f"namespace: lab, name: stranger, uid: {owner['uid']}"
    wanted = f'OwnerRefInvalidNamespace: ownerRef [v1/ConfigMap, {where}] does not exist in namespace "lab"'

    async def told() -> bool:
        return wanted in await cluster.events()

    await cluster.eventually(told)
    assert await cluster.client.get("configmaps", "stranger", "elsewhere")


async def test_a_namespaced_owner_of_a_cluster_wide_object_is_a_mistake_without_effect(cluster):
    owner = await put(cluster, "owner")
    meta = {"name": "wide", "ownerReferences": [owned_by(owner)]}
    body = {"metadata": meta, "value": 7}
    await cluster.client.create("priorityclasses.scheduling.k8s.io", body)
    await put(cluster, "child", owned_by(owner))
    await cluster.client.delete("configmaps", "owner", "lab")
    await cluster.gone("configmaps", "child")
    await settled(cluster)
    found = await cluster.client.get("priorityclasses.scheduling.k8s.io", "wide")
    assert not found["metadata"].get("deletionTimestamp")


async def test_a_reference_that_names_another_object_than_its_uid_does_is_to_nobody(cluster):
    owner = await put(cluster, "owner")
    await put(cluster, "child", owned_by(owner) | {"name": "somebody-else"})
    await cluster.gone("configmaps", "child")


@pytest.mark.parametrize(
    ("resource", "owned_stay"),
    [("replicationcontrollers", True), ("jobs.batch", True), ("replicasets.apps", False)],
)
async def test_without_a_policy_each_kind_has_its_own(cluster, resource, owned_stay):
    labels = {"app": "x"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    spec: Object = {"template": template}
    if resource == "jobs.batch":
        template["spec"]["restartPolicy"] = "Never"
    else:
        plain = resource == "replicationcontrollers"
        spec["selector"] = labels if plain else {"matchLabels": labels}
    body = {"metadata": {"name": "owner", "namespace": "lab"}, "spec": spec}
    await put(cluster, "child", owned_by(await cluster.client.create(resource, body)))
    await settled(cluster)
    await cluster.client.delete(resource, "owner", "lab")
    await cluster.gone(resource, "owner")
    if not owned_stay:
        return await cluster.gone("configmaps", "child")
    child = await cluster.client.get("configmaps", "child", "lab")
    assert not child["metadata"].get("ownerReferences")
    return None


async def test_a_namespace_takes_its_content_along(cluster):
    await cluster.client.create("namespaces", {"metadata": {"name": "doomed"}})
    for name in ("a", "b"):
        await cluster.client.create(
            "configmaps", {"metadata": {"name": name, "namespace": "doomed"}}
        )
    await cluster.client.create(
        "services",
        {"metadata": {"name": "s", "namespace": "doomed"}, "spec": {"ports": [{"port": 80}]}},
    )
    await cluster.client.delete("namespaces", "doomed")
    await cluster.gone("namespaces", "doomed", "")
    with pytest.raises(errors.NotFound):
        await cluster.client.get("configmaps", "a", "doomed")


async def test_a_namespace_says_what_it_waits_for(cluster):
    await cluster.client.create("namespaces", {"metadata": {"name": "doomed"}})
    held = {"metadata": {"name": "held", "namespace": "doomed", "finalizers": ["example.com/hold"]}}
    await cluster.client.create("configmaps", held)
    await cluster.client.delete("namespaces", "doomed")

    async def told() -> dict[str, str] | None:
        found = await cluster.client.get("namespaces", "doomed")
        listed = {c["type"]: c for c in found["status"].get("conditions") or ()}
        return (
            listed if listed.get("NamespaceContentRemaining", {}).get("status") == "True" else None
        )

    listed = await cluster.eventually(told)
    assert "configmaps. has 1 resource instances" in listed["NamespaceContentRemaining"]["message"]
    assert listed["NamespaceFinalizersRemaining"]["message"].endswith(
        "example.com/hold in 1 resource instances"
    )
    await cluster.client.patch("configmaps", "held", "doomed", {"metadata": {"finalizers": None}})
    await cluster.gone("namespaces", "doomed", "")


async def test_pods_that_outstay_their_grace_are_told_as_a_failure():
    async with running_cluster(nodes=("w1",), names=("namespace",)) as cluster:
        cluster.kubelets.keep_terminating = True
        spec = {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 1}
        body = {"metadata": {"name": "slow", "namespace": "lab"}, "spec": spec}
        await cluster.client.create("pods", body)
        await cluster.until(
            lambda: any((p.get("status") or {}).get("phase") == "Running" for p in cluster.pods())
        )
        await cluster.client.delete("namespaces", "lab")

        def failure() -> Object:
            found = (cluster.get("namespaces", "lab", "") or {}).get("status") or {}
            listed = {c["type"]: c for c in found.get("conditions") or ()}
            return listed.get("NamespaceDeletionContentFailure") or {}

        await cluster.until(lambda: failure().get("status") == "False")
        await cluster.until(lambda: failure().get("reason") == "ContentDeletionFailed")
        text = "unexpected items still remain in namespace: lab for gvr: /v1, Resource=pods"
        assert failure()["message"] == f"Failed to delete all resource types, 1 remaining: {text}"


async def test_a_namespace_waits_for_an_extension_server_that_does_not_answer():
    """What it holds there is unknown; what is known goes all the same."""
    async with running_cluster() as cluster:
        service = {"namespace": "lab", "name": "nobody", "port": 443}
        spec = {"group": "g.example.com", "version": "v1", "service": service, "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 1, "versionPriority": 1}  # fmt: skip
        await cluster.client.create(
            "apiservices.apiregistration.k8s.io",
            {"metadata": {"name": "v1.g.example.com"}, "spec": spec},
        )
        await cluster.client.create("namespaces", {"metadata": {"name": "stuck"}})
        await cluster.client.create("configmaps", {"metadata": {"name": "c", "namespace": "stuck"}})
        await cluster.client.delete("namespaces", "stuck")

        def failure() -> Object:
            found = (cluster.get("namespaces", "stuck", "") or {}).get("status") or {}
            listed = {c["type"]: c for c in found.get("conditions") or ()}
            return listed.get("NamespaceDeletionDiscoveryFailure") or {}

        await cluster.until(lambda: failure().get("status") == "True")
        assert (failure()["reason"], failure()["message"]) == (
            "DiscoveryFailed",
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
            "g.example.com/v1: stale GroupVersion discovery: g.example.com/v1",
        )
        assert (await cluster.client.list("configmaps", "stuck")).items == []
        await cluster.client.delete("apiservices.apiregistration.k8s.io", "v1.g.example.com")
        await cluster.gone("namespaces", "stuck", "")


async def test_every_namespace_has_its_account_and_the_root_certificate(cluster):
    await cluster.client.create("namespaces", {"metadata": {"name": "fresh"}})

    async def there() -> bool:
        try:
            await cluster.client.get("serviceaccounts", "default", "fresh")
            found = await cluster.client.get("configmaps", "kube-root-ca.crt", "fresh")
        except errors.NotFound:
            return False
        return found["data"] == {"ca.crt": "CA"}

    await cluster.eventually(there)
    await cluster.client.delete("serviceaccounts", "default", "fresh")
    await cluster.client.patch(
        "configmaps", "kube-root-ca.crt", "fresh", {"data": {"ca.crt": "tampered"}}
    )
    await cluster.eventually(there)


async def test_pods_go_before_everything_else():
    names = ("namespace", "replicaset")
    async with running_cluster(nodes=("w1",), names=names) as cluster:
        await cluster.client.create(
            "configmaps", {"metadata": {"name": "needed", "namespace": "lab"}}
        )
        await cluster.client.create("replicasets.apps", workload("web", replicas=1))
        await cluster.until(
            lambda: any((p.get("status") or {}).get("phase") == "Running" for p in cluster.pods())
        )
        cluster.kubelets.keep_terminating = True
        await cluster.client.delete("namespaces", "lab")
        await cluster.until(
            lambda: all(p["metadata"].get("deletionTimestamp") for p in cluster.pods())
        )
        await asyncio.sleep(0.3)
        assert await cluster.client.get("configmaps", "needed", "lab")
        cluster.kubelets.keep_terminating = False
        for pod in cluster.pods():
            await cluster.client.delete(
                "pods", pod["metadata"]["name"], "lab", grace_period_seconds=0
            )
        await cluster.gone("namespaces", "lab", "")
