"""Which of several fitting nodes is chosen."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scheduler.builders import lab, node, pod, world
from todoku.api.selectors import from_map
from todoku.scheduler.cycle import Fit, schedule
from todoku.scheduler.framework import Pod, World

WEB = {"app": "web"}


def chosen(one: Pod, here: World) -> str:
    found = schedule(one, here)
    assert isinstance(found, Fit)
    return found.node


def place(count: int, here: World, **about: object) -> Counter[str]:
    """Schedule so many equal pods one after the other."""
    for _ in range(count):
        one = pod(labels=WEB, **about)
        name = chosen(one, here)
        next(node for node in here.nodes if node.name == name).add(one)
    return Counter(
        node.name for node in here.nodes for one in node.pods.values() if one.labels == WEB
    )


def siblings(one: Pod):
    return from_map(WEB)


def test_three_replicas_land_two_and_one_on_the_two_workers():
    assert sorted(place(3, lab(selectors=siblings)).values()) == [1, 2]


def test_replicas_spread_even_if_one_worker_is_a_little_busier():
    busy = lab(on1=[pod(requests={"cpu": "500m", "memory": "1Gi"})], selectors=siblings)
    assert sorted(place(3, busy).values()) == [1, 2]


def test_without_siblings_the_emptier_node_is_chosen():
    here = lab(on1=[pod(requests={"cpu": "2"})])
    assert chosen(pod(requests={"cpu": "100m"}), here) == "worker2"


def test_equal_nodes_are_taken_by_name_so_that_runs_repeat():
    assert chosen(pod(), lab()) == "worker1"


def preferred(key: str, value: str, weight: int = 1) -> dict[str, object]:
    term = {"matchExpressions": [{"key": key, "operator": "In", "values": [value]}]}
    one = {"weight": weight, "preference": term}
    return {
        "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [one]}}
    }


def wish(kind: str, weight: int = 100) -> dict[str, object]:
    term = {"labelSelector": {"matchLabels": WEB}, "topologyKey": "kubernetes.io/hostname"}
    one = {"weight": weight, "podAffinityTerm": term}
    return {"affinity": {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [one]}}}


@pytest.mark.parametrize(
    ("one", "here", "node_name"),
    [
        pytest.param(
            pod(**preferred("disk", "ssd")), world(node("w1"), node("w2", labels={"disk": "ssd"})), "w2",
            id="preferred node affinity",
        ),
        pytest.param(
            pod(), world(node("w1", taints=[{"key": "k", "effect": "PreferNoSchedule"}]), node("w2")), "w2",
            id="a taint that is only a preference",
        ),
        pytest.param(pod(**wish("podAffinity")), world(node("w1"), node("w2", pod(labels=WEB))), "w2", id="near by preference"),
        pytest.param(pod(**wish("podAntiAffinity")), world(node("w1", pod(labels=WEB)), node("w2")), "w2", id="away by preference"),
        pytest.param(
            pod(requests={"cpu": "1", "memory": "100Mi"}),
            world(node("w1", pod(requests={"cpu": "2", "memory": "100Mi"})), node("w2", pod(requests={"cpu": "100m", "memory": "4Gi"}))),
            "w2", id="balance of cpu and memory",
        ),
    ],
)  # fmt: skip
def test_preferences_decide_between_fitting_nodes(one, here, node_name):
    assert chosen(one, here) == node_name
