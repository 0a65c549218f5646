"""Packing endpoints into slices: as few writes as possible."""

from __future__ import annotations

from typing import Any

import pytest

from todoku.api.meta import Object, copy
from todoku.controllers import endpoints_of, slices

NODES = {"w1": {"metadata": {"name": "w1", "labels": {"topology.kubernetes.io/zone": "z1"}}}}
PORT = {"port": 8080, "targetPort": 80, "protocol": "TCP"}


def service(*ports: Object, **spec: Any) -> Object:
    meta = {
        "name": "web",
        "namespace": "lab",
        "uid": "s1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    base: Object = {
        "selector": {"app": "web"},
        "ports": list(ports or [PORT]),
        "clusterIP": "10.96.0.9",
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": base | spec}


def pod(
    number: int, *, ready: bool = True, container_port: int = 80, node: str = "w1", **spec: Any
) -> Object:
    ip = f"10.244.{number // 250}.{number % 250 + 1}"
    return {
        "metadata": {"name": f"p{number}", "namespace": "lab", "uid": f"u{number}"},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": container_port}]}],
        } | spec,
        "status": {
            "phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        },
    }  # fmt: skip


def named(made: list[Object]) -> list[Object]:
    """As the server would store them."""
    return [
        copy(one) | {"metadata": one["metadata"] | {"name": f"s-{i}", "uid": f"x{i}"}}
        for i, one in enumerate(made)
    ]


def decide(members: list[Object], existing: list[Object], one: Object | None = None) -> slices.Plan:
    return slices.plan(one or service(), members, existing, NODES)


def size(one: Object) -> int:
    return len(one["endpoints"])


def test_what_is_right_is_not_written():
    members = [pod(n) for n in range(5)]
    existing = named(decide(members, []).create)
    again = decide(members, existing)
    assert (again.create, again.update, again.delete) == ([], [], [])


def test_more_than_a_hundred_endpoints_take_more_slices():
    assert sorted(size(one) for one in decide([pod(n) for n in range(230)], []).create) == [
        30,
        100,
        100,
    ]


def test_one_more_endpoint_changes_one_slice():
    members = [pod(n) for n in range(230)]
    existing = named(decide(members, []).create)
    again = decide([*members, pod(230)], existing)
    assert not again.create and not again.delete
    assert [size(one) for one in again.update] == [31]


def test_a_replaced_pod_takes_the_place_of_the_old_one():
    members = [pod(n) for n in range(100)]
    existing = named(decide(members, []).create)
    again = decide([*members[1:], pod(500)], existing)
    assert not again.create and [size(one) for one in again.update] == [100]


def test_the_last_endpoint_gone_leaves_the_placeholder_by_update():
    existing = named(decide([pod(1)], []).create)
    again = decide([], existing)
    assert not again.create and not again.delete
    assert [(one["endpoints"], one["ports"]) for one in again.update] == [([], [])]


def test_pods_that_resolve_a_named_port_differently_go_to_different_slices():
    one = service({"port": 80, "targetPort": "http", "protocol": "TCP"})
    made = decide([pod(1, container_port=80), pod(2, container_port=8080)], [], one).create
    assert sorted(entry["ports"][0]["port"] for entry in made) == [80, 8080]


def test_a_changed_service_label_rewrites_every_slice_once():
    members = [pod(1)]
    existing = named(decide(members, []).create)
    relabelled = service()
    relabelled["metadata"]["labels"] = {"new": "1"}
    assert len(decide(members, existing, relabelled).update) == 1


def test_pods_of_unknown_nodes_are_left_out():
    made = decide([pod(1, node="ghost"), pod(2)], []).create
    assert [e["targetRef"]["name"] for e in made[0]["endpoints"]] == ["p2"]


def test_two_families_have_slices_of_their_own():
    one = service(ipFamilies=["IPv4", "IPv6"])
    both = pod(1)
    both["status"]["podIPs"].append({"ip": "fd00::1"})
    made = decide([both], [], one).create
    assert {(entry["addressType"], entry["endpoints"][0]["addresses"][0]) for entry in made} == {
        ("IPv4", "10.244.0.2"),
        ("IPv6", "fd00::1"),
    }


def test_headless_services_are_labelled_and_name_their_pods():
    one = service(clusterIP="None")
    made = decide([pod(1, hostname="web-0", subdomain="web")], [], one).create[0]
    assert made["metadata"]["labels"]["service.kubernetes.io/headless"] == ""
    assert made["endpoints"][0]["hostname"] == "web-0"


DELETED = {"deletionTimestamp": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("ready", "deleted", "always", "conditions"),
    [
        pytest.param(True, False, False, (True, True, False), id="ready"),
        pytest.param(False, False, False, (False, False, False), id="not ready"),
        pytest.param(True, True, False, (False, True, True), id="going, still serving"),
        pytest.param(False, True, False, (False, False, True), id="going, not serving"),
        pytest.param(False, False, True, (True, False, False), id="published although not ready"),
        pytest.param(True, True, True, (True, True, True), id="published although going"),
    ],
)
def test_conditions_of_an_endpoint(ready, deleted, always, conditions):
    one = pod(1, ready=ready)
    if deleted:
        one["metadata"] |= DELETED
    found = endpoints_of.endpoint(service(publishNotReadyAddresses=always), one, "IPv4", NODES)[
        "conditions"
    ]
    assert (found["ready"], found["serving"], found["terminating"]) == conditions


@pytest.mark.parametrize(
    ("wish", "hints"),
    [
        (None, None),
        ("PreferClose", {"forZones": [{"name": "z1"}]}),
        ("PreferSameNode", {"forZones": [{"name": "z1"}], "forNodes": [{"name": "w1"}]}),
    ],
)
def test_traffic_distribution_hints(wish, hints):
    spec = {"trafficDistribution": wish} if wish else {}
    assert endpoints_of.endpoint(service(**spec), pod(1), "IPv4", NODES).get("hints") == hints
