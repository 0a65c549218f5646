"""EndpointSlices, Endpoints and mirroring: pods behind a Service, as objects."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cluster import Cluster, running, running_cluster, workload
from todoku.api.meta import Object

NAMES = ("endpointslice", "endpoint", "endpointslice-mirroring", "deployment", "replicaset")


@pytest.fixture
async def cluster():
    async with running_cluster(nodes=("w1", "w2"), names=NAMES) as made:
        yield made


def service(name: str = "web", **spec: object) -> Object:
    base: Object = {"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]}
    return {
        "metadata": {"name": name, "namespace": "lab", "labels": {"tier": "front"}},
        "spec": base | spec,
    }


def slices(cluster: Cluster) -> list[Object]:
    return cluster.cached("endpointslices.discovery.k8s.io", "lab")


def states(cluster: Cluster) -> list[tuple[bool, bool, bool]]:
    found = [e["conditions"] for one in slices(cluster) for e in one.get("endpoints") or ()]
    return sorted((c["ready"], c["serving"], c["terminating"]) for c in found)


def addresses(cluster: Cluster) -> set[str]:
    return {
        a for one in slices(cluster) for e in one.get("endpoints") or () for a in e["addresses"]
    }


def pod_ips(cluster: Cluster) -> set[str]:
    return {
        pod["status"]["podIP"] for pod in cluster.pods() if (pod.get("status") or {}).get("podIP")
    }


async def test_ready_pods_stand_behind_their_service(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: states(cluster) == [(True, True, False)] * 3)
    (one,) = slices(cluster)
    assert addresses(cluster) == pod_ips(cluster)
    assert one["metadata"]["labels"] == {
        "tier": "front",
        "kubernetes.io/service-name": "web",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert one["ports"] == [{"name": "", "port": 80, "protocol": "TCP"}]
    assert {e["nodeName"] for e in one["endpoints"]} == {"w1", "w2"}
    endpoints = cluster.get("endpoints", "web")
    await cluster.until(
        lambda: (
            len(
                ((cluster.get("endpoints", "web") or {}).get("subsets") or [{}])[0].get(
                    "addresses", []
                )
            )
            == 3
        )
    )
    assert endpoints is not None
    assert (
        cluster.get("endpoints", "web")["metadata"]["labels"]["endpoints.kubernetes.io/managed-by"]
        == "endpoint-controller"
    )


async def test_a_service_without_pods_has_one_empty_slice(cluster):
    await cluster.client.create("services", service())
    await cluster.until(lambda: len(slices(cluster)) == 1)
    assert not slices(cluster)[0].get("endpoints") and not slices(cluster)[0].get("ports")


async def test_a_pod_that_stops_being_ready_is_withdrawn_and_one_that_goes_is_terminating(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web", replicas=1))
    await cluster.until(lambda: states(cluster) == [(True, True, False)])
    cluster.kubelets.behave = lambda pod: running(pod, ready=False)
    name = cluster.pods()[0]["metadata"]["name"]
    await cluster.client.patch("pods", name, "lab", {"metadata": {"annotations": {"touch": "1"}}})
    await cluster.until(lambda: states(cluster) == [(False, False, False)])
    cluster.kubelets.keep_terminating = True
    cluster.kubelets.behave = running
    await cluster.client.patch("pods", name, "lab", {"metadata": {"annotations": {"touch": "2"}}})
    await cluster.until(lambda: states(cluster) == [(True, True, False)])
    await cluster.client.delete("pods", name, "lab")
    await cluster.until(lambda: (False, True, True) in states(cluster))


async def test_scaling_updates_the_slice_in_place(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: len(addresses(cluster)) == 3)
    before = slices(cluster)[0]["metadata"]["name"]
    await cluster.client.patch("deployments.apps", "web", "lab", {"spec": {"replicas": 1}})
    await cluster.until(lambda: len(addresses(cluster)) == 1)
    assert [one["metadata"]["name"] for one in slices(cluster)] == [before]


async def test_a_changed_selector_changes_the_members(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web", replicas=1))
    await cluster.client.create("deployments.apps", workload("other", replicas=2))
    await cluster.until(lambda: len(addresses(cluster)) == 1 and len(pod_ips(cluster)) == 3)
    await cluster.client.patch("services", "web", "lab", {"spec": {"selector": {"app": "other"}}})
    await cluster.until(lambda: len(addresses(cluster)) == 2)


async def test_what_a_stranger_changes_in_a_slice_is_put_right(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web", replicas=1))
    await cluster.until(lambda: len(addresses(cluster)) == 1)
    one = slices(cluster)[0]
    await cluster.client.update("endpointslices.discovery.k8s.io", one | {"endpoints": []})
    await cluster.until(lambda: len(addresses(cluster)) == 1)
    await cluster.client.delete("endpointslices.discovery.k8s.io", one["metadata"]["name"], "lab")
    await cluster.until(
        lambda: (
            len(addresses(cluster)) == 1
            and slices(cluster)[0]["metadata"]["uid"] != one["metadata"]["uid"]
        )
    )


async def test_deleting_the_service_deletes_its_endpoints(cluster):
    await cluster.client.create("services", service())
    await cluster.until(lambda: cluster.get("endpoints", "web") is not None)
    await cluster.client.delete("services", "web", "lab")
    await cluster.until(lambda: cluster.get("endpoints", "web") is None)


async def test_endpoints_that_never_had_a_service_are_left_alone(cluster):
    meta = {"name": "own", "namespace": "lab"}
    subsets = [{"addresses": [{"ip": "10.0.0.24"}], "ports": [{"port": 80}]}]
    await cluster.client.create("endpoints", {"metadata": meta, "subsets": subsets})
    service = {"metadata": meta | {"name": "plain"}, "spec": {"ports": [{"port": 80}]}}
    await cluster.client.create("services", service)
    await cluster.client.create(
        "endpoints", {"metadata": meta | {"name": "plain"}, "subsets": subsets}
    )
    await cluster.until(lambda: cluster.get("endpoints", "plain"))
    await cluster.client.delete("services", "plain", "lab")
    await cluster.gone("endpoints", "plain")
    assert await cluster.client.get("endpoints", "own", "lab")


async def test_in_the_end_nothing_is_written_any_more(cluster):
    await cluster.client.create("services", service())
    await cluster.client.create("deployments.apps", workload("web"))
    await cluster.until(lambda: states(cluster) == [(True, True, False)] * 3)
    await asyncio.sleep(0.2)
    before = cluster.informers.informer("endpointslices.discovery.k8s.io").resource_version
    versions = [one["metadata"]["resourceVersion"] for one in slices(cluster)]
    await asyncio.sleep(0.3)
    assert [one["metadata"]["resourceVersion"] for one in slices(cluster)] == versions
    assert before


async def test_endpoints_kept_by_hand_are_mirrored(cluster):
    by_hand = service("hand")
    del by_hand["spec"]["selector"]
    await cluster.client.create("services", by_hand)
    subset = {
        "addresses": [{"ip": "192.168.11.250"}],
        "notReadyAddresses": [{"ip": "192.168.11.251"}],
        "ports": [{"port": 80}],
    }
    await cluster.client.create(
        "endpoints", {"metadata": {"name": "hand", "namespace": "lab"}, "subsets": [subset]}
    )
    await cluster.until(lambda: len(addresses(cluster)) == 2)
    (one,) = slices(cluster)
    assert (
        one["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
        == "endpointslicemirroring-controller.k8s.io"
    )
    assert sorted(e["conditions"]["ready"] for e in one["endpoints"]) == [False, True]
    await cluster.client.delete("endpoints", "hand", "lab")
    await cluster.until(lambda: not slices(cluster))
