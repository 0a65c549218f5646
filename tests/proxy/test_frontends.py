"""Which addresses a Service answers on and where they lead: tables over the API's fields."""

from typing import Any

import pytest

from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import Object
from todoku.proxy import Backend, Drop, FrontendKey, NodeView, decide, frontends
from todoku.proxy.decide import unallocated
from todoku.proxy.endpoints import choose, endpoints_of
from todoku.proxy.frontends import Frontend, local_ready_endpoints

NODE = NodeView("n1", addresses=("192.168.11.132",), zone="east")
A, B, C = "10.244.1.2", "10.244.1.3", "10.244.2.2"
PORTS = ({"port": 8080, "name": "http", "nodePort": 30080},)


def made(slices: list[Object], **spec: Any) -> dict[str, Frontend]:
    spec.setdefault("ports", PORTS)
    return {f.at.value: f for f in frontends(service(**spec), slices, NODE)}


def addresses(*endpoints: Any) -> list[str]:
    return [endpoint.backend.address for endpoint in endpoints]


NOT_PROXIED = [
    pytest.param({"clusterIP": "None", "cluster_ip": "None"}, id="headless"),
    pytest.param({"type": "ExternalName", "externalName": "example.com"}, id="ExternalName"),
    pytest.param({"labels": {"service.kubernetes.io/service-proxy-name": "x"}}, id="other proxy"),
]


@pytest.mark.parametrize("spec", NOT_PROXIED)
def test_some_services_are_not_for_this_proxy(spec: dict[str, Any]) -> None:
    spec = {key: value for key, value in spec.items() if key != "clusterIP"}
    assert frontends(service(**spec), [slice_of(endpoint(A))], NODE) == []


def test_every_kind_of_address_becomes_a_frontend() -> None:
    keys = {
        str(f.key)
        for f in frontends(
            service(
                ports=PORTS, type="LoadBalancer", externalIPs=["203.0.113.7"],
                ingress=({"ip": "192.168.11.136", "ipMode": "VIP"},),
            ),
            [slice_of(endpoint(A))],
            NODE,
        )
    }  # fmt: skip
    assert keys == {
        "10.96.0.20:8080/TCP",
        "203.0.113.7:8080/TCP",
        "192.168.11.136:8080/TCP",
        "192.168.11.132:30080/TCP",
    }


def test_a_node_without_a_known_address_has_no_node_ports() -> None:
    found = frontends(service(ports=PORTS), [slice_of(endpoint(A))], NodeView("n1"))
    assert [f.at.value for f in found] == ["clusterIP"]


USABLE = [
    pytest.param([endpoint(A), endpoint(B, ready=False)], [A], id="only the ready"),
    pytest.param([endpoint(A, ready=None, serving=None)], [A], id="no conditions mean ready"),
    pytest.param(
        [endpoint(A, ready=False, serving=True, terminating=True), endpoint(B, ready=False)],
        [A],
        id="terminating ones that still serve, when nothing is ready",
    ),
    pytest.param(
        [endpoint(A, ready=False, serving=True, terminating=True), endpoint(B)],
        [B],
        id="no terminating one beside a ready one",
    ),
    pytest.param(
        [endpoint(A, ready=True, serving=True, terminating=True)],
        [A],
        id="publishNotReadyAddresses keeps a terminating one ready",
    ),
    pytest.param([endpoint(A, ready=False)], [], id="nothing"),
]


@pytest.mark.parametrize(("ends", "expected"), USABLE)
def test_usable_endpoints(ends: list[Object], expected: list[str]) -> None:
    assert addresses(*made([slice_of(*ends)])["clusterIP"].cluster) == expected


HINTS = [
    pytest.param([("", ("east",), ()), ("", ("west",), ())], [A], id="our zone"),
    pytest.param([("", ("west",), ()), ("", ("west",), ())], [A, B], id="nobody for our zone"),
    pytest.param(
        [("", ("east",), ()), ("", (), ())], [A, B], id="incomplete hints count for nothing"
    ),
    pytest.param(
        [("", ("east",), ("n9",)), ("", ("east",), ("n1",))], [B], id="our node before our zone"
    ),
    pytest.param(
        [("", ("east",), ("n9",)), ("", ("west",), ("n8",))],
        [A],
        id="our zone when no node is ours",
    ),
]


@pytest.mark.parametrize(("hints", "expected"), HINTS)
def test_topology_hints(
    hints: list[tuple[str, tuple[str, ...], tuple[str, ...]]], expected: list[str]
) -> None:
    ends = [
        endpoint(address, zones=zones, nodes=nodes)
        for address, (_, zones, nodes) in zip((A, B), hints, strict=True)
    ]
    assert addresses(*made([slice_of(*ends)])["clusterIP"].cluster) == expected


def test_hints_do_not_apply_to_local_traffic() -> None:
    ends = [endpoint(A, zones=("west",)), endpoint(C, "n2", zones=("east",))]
    found = made([slice_of(*ends)], internalTrafficPolicy="Local")
    assert addresses(*found["clusterIP"].cluster) == [A]


def test_a_duplicate_that_is_not_terminating_wins() -> None:
    going = slice_of(endpoint(A, ready=False, serving=True, terminating=True), suffix="1")
    staying = slice_of(endpoint(A), suffix="2")
    for order in ([going, staying], [staying, going]):
        (found,) = endpoints_of(order, port_name="http", protocol="TCP", family="IPv4")
        assert found.ready and not found.terminating


IGNORED = [
    pytest.param(
        slice_of(endpoint(A), labels={"service.kubernetes.io/headless": ""}), id="headless"
    ),
    pytest.param(slice_of(endpoint(A), port_name="other"), id="another port's name"),
    pytest.param(slice_of(endpoint(A), protocol="UDP"), id="another protocol"),
    pytest.param({**slice_of(endpoint("fd00::1")), "addressType": "IPv6"}, id="another family"),
]


@pytest.mark.parametrize("piece", IGNORED)
def test_slices_that_do_not_count(piece: Object) -> None:
    assert made([piece])["clusterIP"].refusal is Drop.NO_ENDPOINTS


HERE, THERE = endpoint(A), endpoint(C, "n2")
LEAVING = endpoint(B, ready=False, serving=True, terminating=True)
POLICIES = [
    pytest.param("Cluster", [THERE], "clusterIP", None, id="internal Cluster, elsewhere"),
    pytest.param("Cluster", [], "clusterIP", Drop.NO_ENDPOINTS, id="internal Cluster, none"),
    pytest.param("Local", [THERE], "clusterIP", Drop.ITP_LOCAL_NO_ENDPOINT, id="internal Local"),
    pytest.param("Local", [], "clusterIP", Drop.NO_ENDPOINTS, id="internal Local, none at all"),
    pytest.param("Local", [THERE], "nodePort", Drop.ETP_LOCAL_NO_ENDPOINT, id="external Local"),
    pytest.param("Local", [], "nodePort", Drop.NO_ENDPOINTS, id="external Local, none at all"),
    pytest.param("Local", [HERE], "nodePort", None, id="external Local, here"),
    pytest.param("Local", [LEAVING, THERE], "nodePort", None, id="external Local, leaving here"),
]


@pytest.mark.parametrize(("policy", "ends", "at", "refusal"), POLICIES)
def test_refusals(policy: str, ends: list[Object], at: str, refusal: Drop | None) -> None:
    found = made(
        [slice_of(*ends)],
        type="NodePort",
        externalTrafficPolicy=policy,
        internalTrafficPolicy=policy,
    )
    assert found[at].refusal is refusal


SOURCES = [
    pytest.param(["10.0.0.0/8"], ("10.0.0.0/8",), id="one range"),
    pytest.param([" 10.0.0.0/8 "], ("10.0.0.0/8",), id="blanks"),
    pytest.param(["0.0.0.0/0", "10.0.0.0/8"], None, id="everybody"),
    pytest.param(["fd00::/8"], None, id="only the other family: unrestricted"),
    pytest.param(["fd00::/8", "10.0.0.0/8"], ("10.0.0.0/8",), id="the other family is left out"),
    pytest.param(["10.0.0.0/8", "10.1.0.0/16"], ("10.0.0.0/8",), id="overlapping ranges"),
    pytest.param(["192.168.11.0/24"], ("192.168.11.0/24",), id="the address is inside anyway"),
    pytest.param(
        ["192.168.11.132"],
        ("192.168.11.132/32", "192.168.11.136/32"),
        id="a node that is allowed may use the address as its own",
    ),
]


@pytest.mark.parametrize(("ranges", "allowed"), SOURCES)
def test_source_ranges(ranges: list[str], allowed: tuple[str, ...] | None) -> None:
    found = made(
        [slice_of(HERE)], type="LoadBalancer", loadBalancerSourceRanges=ranges,
        ingress=({"ip": "192.168.11.136"},),
    )  # fmt: skip
    assert found["loadBalancer"].sources == allowed
    assert found["nodePort"].sources is None


def test_affinity_has_a_default_timeout() -> None:
    found = made([slice_of(HERE)], sessionAffinity="ClientIP")
    assert found["clusterIP"].affinity_seconds == 10_800


def test_the_health_check_counts_ready_local_addresses_once() -> None:
    both = ({"port": 80, "name": "http"}, {"port": 443, "name": "https"})
    slices = [
        slice_of(HERE, THERE, LEAVING),
        slice_of(HERE, port_name="https", port=443, suffix="s"),
    ]
    assert local_ready_endpoints(service(ports=both), slices, NODE) == {A}


def test_a_named_target_port_may_differ_between_slices() -> None:
    slices = [slice_of(HERE, port=8080), slice_of(THERE, port=9090, suffix="new")]
    found = made(slices)["clusterIP"]
    assert {e.backend for e in found.cluster} == {Backend(A, 8080), Backend(C, 9090)}


def test_choose_of_nothing_is_nothing() -> None:
    assert not choose([], NODE).anywhere


def key(address: str, port: int) -> FrontendKey:
    return FrontendKey(address, "TCP", port)


DECISIONS = [
    pytest.param("10.244.9.9", key("10.96.0.20", 8080), None, False, id="a pod keeps its address"),
    pytest.param(
        "192.168.11.201", key("10.96.0.20", 8080), None, True, id="others are masqueraded"
    ),
    pytest.param(
        "192.168.11.201", key("10.96.0.20", 1), Drop.UNKNOWN_PORT, False, id="no such port"
    ),
]


@pytest.mark.parametrize(("source", "address", "drop", "masquerade"), DECISIONS)
def test_decisions(source: str, address: FrontendKey, drop: Drop | None, masquerade: bool) -> None:
    verdict = decide(service(), [slice_of(HERE)], NODE, source=source, address=address)
    assert (verdict.drop, verdict.masquerade) == (drop, masquerade)


def test_an_address_that_is_not_the_services_does_not_concern_it() -> None:
    verdict = decide(service(), [], NODE, source=A, address=key("10.96.0.99", 80))
    assert not verdict.concerned


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.96.0.99", Drop.UNALLOCATED), ("10.96.0.20", None), ("192.168.11.9", None)],
)
def test_unallocated_addresses(address: str, expected: Drop | None) -> None:
    assert unallocated(address, [service()], NODE) is expected
