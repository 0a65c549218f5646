"""Who announces: the same answer on every node."""

from dataclasses import replace
from hashlib import sha256

import pytest

from todoku.loadbalancer.election import (
    EXCLUDE_LABEL,
    Endpoints,
    Silent,
    Situation,
    elect,
    endpoints,
    may_announce,
    winner,
)


def node(name, *, labels=None, unschedulable=False, network_unavailable="False"):
    return {
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"unschedulable": unschedulable},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "False"},
                {"type": "NetworkUnavailable", "status": network_unavailable},
            ]
        },
    }


MASTER = node("master1.internal", labels={EXCLUDE_LABEL: ""})
NODES = {
    one["metadata"]["name"]: one
    for one in (MASTER, node("worker1.internal"), node("worker2.internal"))
}
EVERYWHERE = Endpoints(True, frozenset(["worker1.internal", "worker2.internal"]))
SITUATION = Situation("192.168.11.136", NODES, NODES.keys(), NODES.keys(), EVERYWHERE)


def test_the_winner_has_the_smallest_hash_of_node_and_address():
    names = ["worker1.internal", "worker2.internal"]
    expected = min(names, key=lambda name: sha256(f"{name}#192.168.11.136".encode()).hexdigest())
    assert elect(SITUATION) == expected == winner(names, "192.168.11.136")


def test_addresses_spread_over_the_nodes():
    names = ["worker1.internal", "worker2.internal"]
    chosen = {winner(names, f"192.168.11.{last}") for last in range(136, 160)}
    assert chosen == set(names)


def test_when_the_winner_dies_the_other_candidate_takes_over():
    first = elect(SITUATION)
    second = elect(replace(SITUATION, alive=NODES.keys() - {first}))
    assert second in {"worker1.internal", "worker2.internal"} - {first}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"endpoints": Endpoints(False, frozenset())}, Silent.NO_ENDPOINTS, id="no-endpoint"
        ),
        pytest.param({"advertised": ()}, Silent.NO_ADVERTISEMENT, id="no-advertisement"),
        pytest.param(
            {"alive": {"master1.internal"}}, Silent.NODE_NOT_ELIGIBLE, id="only-excluded-live"
        ),
        pytest.param({"nodes": {}}, Silent.NODE_NOT_ELIGIBLE, id="unknown-nodes"),
        pytest.param({"advertised": {"worker2.internal"}}, "worker2.internal", id="node-selector"),
        pytest.param(
            {"local": True, "endpoints": Endpoints(True, frozenset(["worker2.internal"]))},
            "worker2.internal",
            id="local-needs-an-endpoint-here",
        ),
        pytest.param(
            {"local": True, "endpoints": Endpoints(True, frozenset(["master1.internal"]))},
            Silent.NO_LOCAL_ENDPOINTS,
            id="local-endpoint-only-on-an-excluded-node",
        ),
        pytest.param(
            {"alive": {"master1.internal"}, "ignore_exclude_label": True},
            "master1.internal",
            id="exclude-label-ignored",
        ),
    ],
)
def test_who_is_elected(changes, expected):
    assert elect(replace(SITUATION, **changes)) == expected


@pytest.mark.parametrize(
    ("one", "allowed"),
    [
        pytest.param(node("n"), True, id="not-ready-does-not-matter"),
        pytest.param(node("n", unschedulable=True), False, id="cordoned"),
        pytest.param(node("n", network_unavailable="True"), False, id="network-unavailable"),
        pytest.param(node("n", network_unavailable="Unknown"), True, id="network-unknown"),
        pytest.param(node("n", labels={EXCLUDE_LABEL: "false"}), False, id="excluded-by-any-value"),
    ],
)
def test_which_nodes_may_announce(one, allowed):
    assert may_announce(one) is allowed


@pytest.mark.parametrize(
    ("conditions", "serves"),
    [
        ({}, True),
        ({"ready": None}, True),
        ({"ready": True}, True),
        ({"ready": False}, False),
        ({"ready": False, "serving": True, "terminating": True}, True),
        ({"ready": False, "serving": False}, False),
    ],
)
def test_which_endpoints_serve(conditions, serves):
    found = endpoints([{"endpoints": [{"nodeName": "n", "conditions": conditions}]}])
    assert found == Endpoints(serves, frozenset(["n"] if serves else []))


def test_a_slice_without_endpoints_counts_for_nothing():
    assert endpoints([{"endpoints": None}, {}]) == Endpoints(False, frozenset())
