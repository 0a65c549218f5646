"""Which nodes a pod may go to, and the words for why not."""

from __future__ import annotations

import pytest

from tests.scheduler.builders import lab, node, pod, world
from todoku.scheduler.cycle import Fit, Unfit, schedule

ZONE = "topology.kubernetes.io/zone"


def affinity(kind: str, app: str, key: str = "kubernetes.io/hostname") -> dict[str, object]:
    term = {"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}}


def node_affinity(*terms: dict[str, object]) -> dict[str, object]:
    required = {"nodeSelectorTerms": list(terms)}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    }


def expression(key: str, operator: str, *values: str) -> dict[str, object]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


def spread(skew: int, **more: object) -> dict[str, object]:
    one = {
        "maxSkew": skew, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}},
    }  # fmt: skip
    return {"topologySpreadConstraints": [one | more]}


A = {"app": "a"}

CASES = [
    pytest.param(pod(nodeName="w2"), [node("w1"), node("w2")], {"w2"}, "node(s) didn't match the requested node name", id="node name"),
    pytest.param(pod(), [node("w1", unschedulable=True), node("w2")], {"w2"}, "node(s) were unschedulable", id="cordoned"),
    pytest.param(
        pod(tolerations=[{"operator": "Exists"}]), [node("w1", unschedulable=True)], {"w1"}, "", id="cordoned, tolerated"
    ),
    pytest.param(
        pod(), [node("w1", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]), node("w2")], {"w2"},
        "node(s) had untolerated taint(s)", id="taint",
    ),
    pytest.param(
        pod(tolerations=[{"key": "k", "value": "other", "effect": "NoSchedule"}]),
        [node("w1", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])], set(),
        "node(s) had untolerated taint(s)", id="toleration of another value",
    ),
    pytest.param(
        pod(), [node("w1", taints=[{"key": "k", "effect": "PreferNoSchedule"}])], {"w1"}, "", id="a preference forbids nothing"
    ),
    pytest.param(
        pod(nodeSelector={"disk": "ssd"}), [node("w1"), node("w2", labels={"disk": "ssd"})], {"w2"},
        "node(s) didn't match Pod's node affinity/selector", id="node selector",
    ),
    pytest.param(
        pod(**node_affinity({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["w2"]}]})),
        [node("w1"), node("w2")], {"w2"}, "node(s) didn't match Pod's node affinity/selector", id="match fields",
    ),
    pytest.param(
        pod(**node_affinity(expression("n", "Gt", "5"))),
        [node("w1", labels={"n": "5"}), node("w2", labels={"n": "6"}), node("w3")], {"w2"},
        "node(s) didn't match Pod's node affinity/selector", id="greater than",
    ),
    pytest.param(
        pod(**node_affinity(expression("n", "NotIn", "5"), {})), [node("w1", labels={"n": "5"}), node("w2")], {"w2"},
        "node(s) didn't match Pod's node affinity/selector", id="not in; an empty term matches nothing",
    ),
    pytest.param(
        pod(requests={"cpu": "2"}), [node("w1", pod(requests={"cpu": "3"})), node("w2")], {"w2"}, "Insufficient cpu", id="cpu"
    ),
    pytest.param(
        pod(requests={"example.com/gpu": "1"}), [node("w1"), node("w2", **{"example.com/gpu": "1"})], {"w2"},
        "Insufficient example.com/gpu", id="extended resource",
    ),
    pytest.param(pod(), [node("w1", pod(), max_pods=1), node("w2")], {"w2"}, "Too many pods", id="number of pods"),
    pytest.param(
        pod(ports=[{"hostPort": 80, "containerPort": 80}]),
        [node("w1", pod(ports=[{"hostPort": 80, "containerPort": 80, "hostIP": "127.0.0.1"}])), node("w2")], {"w2"},
        "node(s) didn't have free ports for the requested pod ports", id="host port on all addresses",
    ),
    pytest.param(
        pod(ports=[{"hostPort": 80, "containerPort": 80, "hostIP": "10.0.0.1"}]),
        [node("w1", pod(ports=[{"hostPort": 80, "containerPort": 80, "hostIP": "127.0.0.1"}]))], {"w1"}, "",
        id="host port on another address",
    ),
    pytest.param(
        pod(ports=[{"hostPort": 80, "containerPort": 80, "protocol": "UDP"}]),
        [node("w1", pod(ports=[{"hostPort": 80, "containerPort": 80}]))], {"w1"}, "", id="host port of another protocol",
    ),
    pytest.param(
        pod(**affinity("podAffinity", "a")), [node("w1", pod(labels=A)), node("w2")], {"w1"},
        "node(s) didn't match pod affinity rules", id="near another pod",
    ),
    pytest.param(
        pod(labels=A, **affinity("podAffinity", "a")), [node("w1"), node("w2")], {"w1", "w2"}, "", id="the first of a group",
    ),
    pytest.param(
        pod(**affinity("podAntiAffinity", "a")), [node("w1", pod(labels=A)), node("w2")], {"w2"},
        "node(s) didn't match pod anti-affinity rules", id="away from another pod",
    ),
    pytest.param(
        pod(**affinity("podAntiAffinity", "a", ZONE)),
        [node("w1", pod(labels=A), labels={ZONE: "z"}), node("w2", labels={ZONE: "z"}), node("w3", labels={ZONE: "y"})],
        {"w3"}, "node(s) didn't match pod anti-affinity rules", id="away from another pod's zone",
    ),
    pytest.param(
        pod(labels=A), [node("w1", pod(**affinity("podAntiAffinity", "a"))), node("w2")], {"w2"},
        "node(s) didn't satisfy existing pods anti-affinity rules", id="others keep away from us",
    ),
    pytest.param(
        pod(namespace="other", labels=A), [node("w1", pod(**affinity("podAntiAffinity", "a")))], {"w1"}, "",
        id="affinity means the own namespace",
    ),
    pytest.param(
        pod(labels=A, **spread(1)), [node("w1", pod(labels=A)), node("w2")], {"w2"},
        "node(s) didn't match pod topology spread constraints", id="spread",
    ),
    pytest.param(
        pod(labels=A, **spread(2)), [node("w1", pod(labels=A)), node("w2")], {"w1", "w2"}, "", id="spread, more skew allowed",
    ),
    pytest.param(
        pod(labels=A, **spread(1, topologyKey=ZONE)), [node("w1"), node("w2", labels={ZONE: "z"})], {"w2"},
        "node(s) didn't match pod topology spread constraints (missing required label)", id="spread, label missing",
    ),
    pytest.param(
        pod(labels=A, **spread(1, minDomains=3)), [node("w1", pod(labels=A)), node("w2", pod(labels=A))], set(),
        "node(s) didn't match pod topology spread constraints", id="spread, fewer domains than asked for",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("one", "nodes", "allowed", "reason"), CASES)
def test_a_pod_goes_only_where_every_filter_lets_it(one, nodes, allowed, reason):
    from todoku.scheduler.cycle import feasible

    passing, unfit = feasible(one, world(*nodes), {})
    assert {node.name for node in passing} == allowed
    assert {r for rejected in unfit.rejections.values() for r in rejected.reasons} == (
        {reason} if reason else set()
    )


def test_a_refusal_counts_the_nodes_by_reason():
    full = pod(requests={"cpu": "4"})
    found = schedule(pod(requests={"cpu": "1"}), lab(on1=[full], on2=[pod(requests={"cpu": "4"})]))
    assert isinstance(found, Unfit)
    assert (
        found.text(3)
        == "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu."
    )


def test_without_nodes_the_refusal_says_so():
    found = schedule(pod(), world())
    assert isinstance(found, Unfit)
    assert found.text(0) == "no nodes available to schedule pods"


def test_room_promised_to_a_more_important_pod_is_not_taken():
    important = pod("vip", requests={"cpu": "3"}, priority=10)
    small = pod(requests={"cpu": "2"})
    found = schedule(small, world(node("w1")), {"w1": [important]})
    assert isinstance(found, Unfit)
    assert isinstance(
        schedule(pod(requests={"cpu": "2"}, priority=20), world(node("w1")), {"w1": [important]}),
        Fit,
    )


CLAIM = {
    "metadata": {"name": "data", "namespace": "default"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
USES_CLAIM = {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        pytest.param({}, '0/1 nodes are available: persistentvolumeclaim "data" not found.', id="missing"),
        pytest.param(
            {("default", "data"): CLAIM},
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.", id="unbound",
        ),
    ],
)  # fmt: skip
def test_claims_must_be_there_and_bound(claims, text):
    found = schedule(pod(**USES_CLAIM), world(node("w1"), claims=claims))
    assert isinstance(found, Unfit)
    assert found.text(1) == text


def test_a_bound_volume_draws_the_pod_to_its_node():
    claim = CLAIM | {"spec": CLAIM["spec"] | {"volumeName": "pv"}, "status": {"phase": "Bound"}}
    required = {"nodeSelectorTerms": [expression("kubernetes.io/hostname", "In", "w2")]}
    volume = {"metadata": {"name": "pv"}, "spec": {"nodeAffinity": {"required": required}}}
    found = schedule(
        pod(**USES_CLAIM),
        world(node("w1"), node("w2"), claims={("default", "data"): claim}, volumes={"pv": volume}),
    )
    assert isinstance(found, Fit) and found.node == "w2"
