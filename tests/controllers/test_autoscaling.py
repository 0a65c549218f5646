"""Horizontal autoscaling: what a metric asks for, how fast, and what users are told."""

import time

import pytest

from tests.support.cluster import running_cluster, template, workload
from todoku.api import errors, times
from todoku.controllers import Timings
from todoku.controllers.autoscaling import (
    History,
    NoMetric,
    Sample,
    propose,
    requests,
    samples,
    step,
)

NOW = 10_000.0


def pod(name, *, phase="Running", ready="True", started=0.0, deleted=False, cpu="100m"):
    condition = {"type": "Ready", "status": ready, "lastTransitionTime": times.text(started)}
    return {
        "metadata": {"name": name} | ({"deletionTimestamp": "x"} if deleted else {}),
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase, "startTime": times.text(started), "conditions": [condition]},
    }


def used(**amounts):
    return {name: Sample(amount, NOW, 60.0) for name, amount in amounts.items()}


A, B, C = pod("a"), pod("b"), pod("c")
PENDING, FAILED = pod("p", phase="Pending"), pod("f", phase="Failed")
STARTING = pod("s", started=NOW - 100, ready="False")


@pytest.mark.parametrize(
    ("listed", "measured", "current", "replicas"),
    [
        pytest.param([A, B], used(a=50, b=50), 2, 2, id="on target"),
        pytest.param([A, B], used(a=54, b=54), 2, 2, id="within the tolerance"),
        pytest.param([A, B], used(a=100, b=100), 2, 4, id="twice the target"),
        pytest.param([A, B], used(a=10, b=10), 2, 1, id="a fifth of it"),
        pytest.param([A, B, C], used(a=60, b=60), 3, 3, id="a pod without a sample holds back"),
        pytest.param([A, B, C], used(a=20, b=20), 3, 3, id="in both directions"),
        pytest.param([A, PENDING], used(a=150), 2, 3, id="a pending pod uses nothing yet"),
        pytest.param([A, STARTING], used(a=100, s=900), 2, 2, id="a start is no load"),
        pytest.param([A, FAILED, pod("d", deleted=True)], used(a=100, f=500, d=500), 3, 2, id="pods that go do not count"),
    ],
)  # fmt: skip
def test_what_a_utilization_of_half_the_requests_asks_for(listed, measured, current, replicas):
    asked = requests(listed, "cpu")
    found = propose(
        listed, measured, resource="cpu", current=current, now=NOW, percent=50, requested=asked
    )
    assert found.replicas == replicas


def test_an_average_value_is_compared_per_pod():
    found = propose([A, B], used(a=300, b=100), resource="cpu", current=2, now=NOW, average=100)
    assert (found.replicas, found.usage.average, found.usage.percent) == (4, 200, None)


def test_what_cannot_be_known_is_said():
    bare = pod("a") | {"spec": {"containers": [{"name": "c"}]}}
    with pytest.raises(NoMetric, match="missing request for cpu in container c of Pod a"):
        requests([bare], "cpu")
    with pytest.raises(NoMetric, match="did not receive metrics for targeted pods"):
        propose([A], {}, resource="cpu", current=1, now=NOW, average=1)


def test_a_sample_is_the_sum_of_its_containers():
    usage = [
        {"name": "x", "usage": {"cpu": "100m", "memory": "1Ki"}},
        {"name": "y", "usage": {"cpu": "5m"}},
    ]
    one = {
        "metadata": {"name": "a"},
        "timestamp": times.text(NOW),
        "window": "30s",
        "containers": usage,
    }
    assert samples([one], "cpu") == {"a": Sample(105, NOW, 30.0)}
    assert samples([one], "memory") == {}
    assert samples([one], "memory", "x") == {"a": Sample(1024_000, NOW, 30.0)}


FAST = {"scaleUp": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}}
NEVER = {"scaleDown": {"selectPolicy": "Disabled"}}


@pytest.mark.parametrize(
    ("spec", "history", "current", "desired", "replicas", "reasons"),
    [
        pytest.param({}, [], 2, 4, 4, ("ReadyForNewScale", "DesiredWithinRange"), id="as wished"),
        pytest.param({}, [], 2, 9, 4, ("ReadyForNewScale", "ScaleUpLimit"), id="at most twice, or four"),
        pytest.param({}, [], 6, 20, 10, ("ReadyForNewScale", "TooManyReplicas"), id="at most the maximum"),
        pytest.param({"minReplicas": 3}, [], 4, 1, 3, ("ReadyForNewScale", "TooFewReplicas"), id="at least the minimum"),
        pytest.param({}, [(NOW - 100, 5)], 5, 2, 5, ("ScaleDownStabilized", "DesiredWithinRange"), id="not down so soon"),
        pytest.param({}, [(NOW - 400, 5)], 5, 2, 2, ("ReadyForNewScale", "DesiredWithinRange"), id="down after five minutes"),
        pytest.param({"behavior": FAST}, [], 2, 6, 3, ("ReadyForNewScale", "ScaleUpLimit"), id="one pod a minute"),
        pytest.param({"behavior": NEVER}, [], 4, 1, 4, ("ReadyForNewScale", "ScaleDownLimit"), id="never down"),
    ],
)  # fmt: skip
def test_how_far_one_step_goes(spec, history, current, desired, replicas, reasons):
    known = History(recommended=list(history))
    taken = step({"maxReplicas": 10} | spec, known, current=current, desired=desired, now=NOW)
    assert taken.replicas == replicas
    assert tuple(one["reason"] for one in taken.conditions) == reasons


AUTOSCALER = {
    "apiVersion": "autoscaling/v2",
    "metadata": {"name": "web", "namespace": "lab"},
    "spec": {
        "minReplicas": 1,
        "maxReplicas": 5,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50},
                },
            }
        ],
    },
}
NAMES = ("horizontal-pod-autoscaler", "deployment", "replicaset")
# What a metrics server serves, as a custom resource.
METRICS = {
    "metadata": {
        "name": "pods.metrics.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "unapproved, stands for a metrics server"},
    },
    "spec": {
        "group": "metrics.k8s.io",
        "scope": "Namespaced",
        "names": {"plural": "pods", "singular": "pod", "kind": "PodMetrics"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}


def told(cluster):
    found = (cluster.get("horizontalpodautoscalers.autoscaling", "web") or {}).get("status") or {}
    return {c["type"]: c for c in found.get("conditions") or ()}


async def measure(cluster, amount):
    for one in cluster.pods():
        body = {
            "apiVersion": "metrics.k8s.io/v1beta1",
            "kind": "PodMetrics",
            "metadata": {
                "name": one["metadata"]["name"],
                "namespace": "lab",
                "labels": one["metadata"]["labels"],
            },
            "timestamp": times.text(time.time() + 100),
            "window": "1s",
            "containers": [{"name": "web", "usage": {"cpu": amount, "memory": "1Mi"}}],
        }
        try:
            await cluster.client.create("pods.metrics.k8s.io", body)
        except errors.AlreadyExists:
            continue


async def test_without_metrics_nothing_is_scaled_and_that_is_said_then_load_scales_up():
    timings = Timings(node_startup_grace=600, node_grace=600, autoscale_every=0.1)
    async with running_cluster(nodes=("w1",), names=NAMES, timings=timings) as cluster:
        await cluster.client.create("horizontalpodautoscalers.autoscaling", AUTOSCALER)
        await cluster.until(
            lambda: told(cluster).get("AbleToScale", {}).get("reason") == "FailedGetScale"
        )
        containers = [{"name": "web", "image": "httpd", "resources": {"requests": {"cpu": "100m"}}}]
        made = template({"app": "web"}, containers=containers)
        await cluster.client.create("deployments.apps", workload("web", replicas=1, template=made))
        missing = (
            "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from "
            "resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
        )
        text = f"the HPA was unable to compute the replica count: {missing}"
        await cluster.until(lambda: told(cluster).get("ScalingActive", {}).get("message") == text)
        assert told(cluster)["ScalingActive"]["reason"] == "FailedGetResourceMetric"
        assert told(cluster)["AbleToScale"]["reason"] == "SucceededGetScale"

        async def events():
            wanted = (
                "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: "
                f"failed to get cpu resource metric value: {missing}"
            )
            return {wanted, f"FailedGetResourceMetric: {missing}"} <= set(await cluster.events())

        await cluster.eventually(events)

        await cluster.client.create("customresourcedefinitions.apiextensions.k8s.io", METRICS)

        async def served():
            try:
                await cluster.client.list("pods.metrics.k8s.io", "lab")
            except errors.ApiError:
                return False
            return True

        await cluster.eventually(served)
        await measure(cluster, "150m")
        await cluster.until(lambda: len(cluster.pods()) == 3)
        found = cluster.get("horizontalpodautoscalers.autoscaling", "web")["status"]
        assert told(cluster)["ScalingActive"]["reason"] == "ValidMetricFound"
        reason = "cpu resource utilization (percentage of request) above target"

        async def rescaled():
            return f"SuccessfulRescale: New size: 3; reason: {reason}" in await cluster.events()

        await cluster.eventually(rescaled)
        assert found["lastScaleTime"]
