"""One Service's way to its addresses: keep, move, give, take away."""

import pytest

from tests.loadbalancer.test_pools import allocator, ip, pool
from todoku.loadbalancer.assignment import (
    POOL_ANNOTATION,
    converge,
    deprecated_annotations,
    handles,
    updated,
)


def service(*ingress, annotations=None, labels=None, **spec):
    given = {
        "type": "LoadBalancer",
        "clusterIPs": ["10.96.0.7"],
        "ports": [{"protocol": "TCP", "port": 8080}],
    } | spec
    return {
        "metadata": {
            "namespace": "default",
            "name": "web",
            "annotations": annotations or {},
            "labels": labels or {},
        },
        "spec": given,
        "status": {
            "loadBalancer": {"ingress": [{"ip": one} for one in ingress]} if ingress else {}
        },
    }


def converged(obj, *pools, book=None):
    """The service as it would be written (or as it was), and the reasons of its Events."""
    outcome = converge(obj, book or allocator(*pools))
    result = updated(obj, outcome) or obj
    listed = result["status"]["loadBalancer"].get("ingress", [])
    return [one["ip"] for one in listed], result, outcome


def reasons(outcome):
    return [notice.reason for notice in outcome.notices]


POOL = pool("first-pool", "192.168.11.136-192.168.11.139")


def test_a_new_load_balancer_gets_the_first_address_the_annotation_and_an_event():
    shown, result, outcome = converged(service(), POOL)
    assert shown == ["192.168.11.136"]
    assert result["metadata"]["annotations"][POOL_ANNOTATION] == "first-pool"
    assert result["status"]["loadBalancer"]["ingress"] == [{"ip": "192.168.11.136"}]
    (notice,) = outcome.notices
    assert (notice.kind, notice.reason) == ("Normal", "IPAllocated")
    assert notice.message == 'Assigned IP ["192.168.11.136"]'


def test_a_converged_service_is_not_written_again():
    book = allocator(POOL)
    first = updated(service(), converge(service(), book))
    outcome = converge(first, book)
    assert updated(first, outcome) is None
    assert outcome.notices == ()


def test_a_server_that_adds_ip_mode_sets_off_no_write():
    book = allocator(POOL)
    first = updated(service(), converge(service(), book))
    first["status"]["loadBalancer"]["ingress"][0]["ipMode"] = "VIP"
    assert updated(first, converge(first, book)) is None


def test_after_a_restart_the_address_in_the_status_is_kept():
    shown, _, outcome = converged(service("192.168.11.138"), POOL)
    assert shown == ["192.168.11.138"]
    assert reasons(outcome) == []


@pytest.mark.parametrize(
    "obj",
    [
        pytest.param(service("192.168.11.136", type="ClusterIP"), id="not-a-load-balancer"),
        pytest.param(service("192.168.11.136", clusterIPs=[], clusterIP=""), id="no-cluster-ip"),
    ],
)
def test_what_is_no_load_balancer_loses_status_and_annotation(obj):
    obj["metadata"]["annotations"][POOL_ANNOTATION] = "first-pool"
    shown, result, _ = converged(obj, POOL)
    assert shown == []
    assert result["status"]["loadBalancer"] == {}
    assert POOL_ANNOTATION not in result["metadata"]["annotations"]


def test_without_any_pool_every_address_is_taken_away():
    shown, _, outcome = converged(service("192.168.11.136"))
    assert shown == []
    assert reasons(outcome) == []


@pytest.mark.parametrize(
    ("obj", "shown", "events"),
    [
        pytest.param(
            service("10.1.1.1"),
            ["192.168.11.136"],
            ["ClearAssignment", "IPAllocated"],
            id="address-no-pool-holds",
        ),
        pytest.param(
            service("fc00::1"), ["192.168.11.136"], ["IPAllocated"], id="family-no-longer-fits"
        ),
        pytest.param(
            service("192.168.11.136", annotations={"metallb.io/address-pool": "second"}),
            ["10.9.0.0"],
            ["IPAllocated"],
            id="another-pool-is-asked-for",
        ),
        pytest.param(
            service("192.168.11.136", loadBalancerIP="192.168.11.139"),
            ["192.168.11.139"],
            ["IPAllocated"],
            id="another-address-is-asked-for",
        ),
        pytest.param(
            service("192.168.11.136", annotations={"metallb.io/loadBalancerIPs": "bogus"}),
            ["192.168.11.136"],
            ["LoadBalancerFailed"],
            id="an-unreadable-request-leaves-the-status",
        ),
        pytest.param(
            service(loadBalancerIP="10.1.1.1"), [], ["AllocationFailed"], id="address-not-in-config"
        ),
        pytest.param(
            service(clusterIPs=["None"]), [], ["noclusterIPsIPFamily"], id="headless-has-no-family"
        ),
    ],
)
def test_changes(obj, shown, events):
    second = pool("second", "10.9.0.0/24", auto_assign=False)
    listed, _, outcome = converged(obj, POOL, second)
    assert listed == shown
    assert reasons(outcome) == events


@pytest.mark.parametrize(
    ("annotations", "spec", "problem"),
    [
        pytest.param(
            {"metallb.io/loadBalancerIPs": "192.168.11.137"},
            {"loadBalancerIP": "192.168.11.137"},
            "service can not have both metallb.io/loadBalancerIPs and svc.Spec.LoadBalancerIP",
            id="both-ways-at-once",
        ),
        pytest.param(
            {"metallb.io/loadBalancerIPs": "192.168.11.137,x"},
            {},
            'invalid metallb.io/loadBalancerIPs: "192.168.11.137,x"',
            id="unreadable-annotation",
        ),
        pytest.param(
            {}, {"loadBalancerIP": "x"}, 'invalid spec.loadBalancerIP "x"', id="unreadable"
        ),
        pytest.param(
            {"metallb.io/loadBalancerIPs": "fc00::7"},
            {},
            'requested loadBalancer IP(s) ["fc00::7"] does not match the ipFamily of the service',
            id="wrong-family",
        ),
        pytest.param(
            {"metallb.io/loadBalancerIPs": "192.168.11.137", "metallb.io/address-pool": "other"},
            {},
            'requested loadBalancer IP(s) ["192.168.11.137"] is not compatible with requested '
            "address pool other",
            id="address-and-pool-disagree",
        ),
    ],
)
def test_a_bad_request_is_explained(annotations, spec, problem):
    _, _, outcome = converged(service(annotations=annotations, **spec), POOL)
    assert problem in outcome.notices[-1].message
    assert outcome.notices[-1].kind == "Warning"


def test_a_full_pool_says_so():
    book = allocator(pool("a", "10.0.0.1/32"))
    other = service()
    other["metadata"]["name"] = "other"
    converge(other, book)
    _, _, outcome = converged(service(), book=book)
    (notice,) = outcome.notices
    assert notice.reason == "AllocationFailed"
    assert notice.message == 'Failed to allocate IP for "default/web": no available IPs'


def test_the_old_prefix_works_and_the_new_one_wins():
    old = {"metallb.universe.tf/loadBalancerIPs": "192.168.11.137"}
    assert converged(service(annotations=dict(old)), POOL)[0] == ["192.168.11.137"]
    both = old | {"metallb.io/loadBalancerIPs": "192.168.11.139"}
    assert converged(service(annotations=both), POOL)[0] == ["192.168.11.139"]
    assert deprecated_annotations(service(annotations=both)) == list(old)


DUAL = {"clusterIPs": ["10.96.0.7", "fd00::7"], "ipFamilies": ["IPv4", "IPv6"]}
DUAL_POOL = pool("dual", "10.0.0.0/24", "fc00::/120")


@pytest.mark.parametrize(
    ("obj", "pools", "shown", "events"),
    [
        pytest.param(
            service(**DUAL, ipFamilyPolicy="RequireDualStack"),
            [DUAL_POOL],
            ["10.0.0.0", "fc00::"],
            ["IPAllocated"],
            id="require",
        ),
        pytest.param(
            service(**DUAL, ipFamilyPolicy="RequireDualStack"),
            [POOL],
            [],
            ["AllocationFailed"],
            id="require-without-a-dual-pool",
        ),
        pytest.param(
            service(**DUAL, ipFamilyPolicy="PreferDualStack"),
            [POOL],
            ["192.168.11.136"],
            ["IPAllocated"],
            id="prefer-falls-back",
        ),
        pytest.param(
            service("10.0.0.9", **DUAL, ipFamilyPolicy="PreferDualStack"),
            [DUAL_POOL],
            ["10.0.0.9", "fc00::"],
            ["IPAllocated"],
            id="prefer-adds-the-second",
        ),
        pytest.param(
            service("10.0.0.9", **DUAL, ipFamilyPolicy="RequireDualStack"),
            [DUAL_POOL],
            ["10.0.0.0", "fc00::"],
            ["IPAllocated"],
            id="require-does-not-keep-one",
        ),
        pytest.param(
            service("10.0.0.9", "fc00::9"),
            [DUAL_POOL],
            ["10.0.0.0"],
            ["IPAllocated"],
            id="now-single",
        ),
    ],
)
def test_dual_stack(obj, pools, shown, events):
    listed, _, outcome = converged(obj, *pools)
    assert listed == shown
    assert reasons(outcome) == events


@pytest.mark.parametrize(
    ("service_class", "flag", "handled"),
    [(None, "", True), ("foo", "", False), ("foo", "foo", True), (None, "foo", False)],
)
def test_only_the_own_load_balancer_class_is_handled(service_class, flag, handled):
    spec = {"loadBalancerClass": service_class} if service_class else {}
    assert handles(service(**spec), flag) is handled


def test_two_services_share_only_what_their_policy_allows():
    shared = {"metallb.io/allow-shared-ip": "key"}
    book = allocator(pool("a", "10.0.0.1/32"))
    cluster = service(annotations=dict(shared))
    local = service(
        annotations=dict(shared),
        externalTrafficPolicy="Local",
        selector={"app": "web"},
        ports=[{"protocol": "TCP", "port": 443}],
    )
    local["metadata"]["name"] = "local"
    converge(cluster, book)
    outcome = converge(local, book)
    assert reasons(outcome) == ["AllocationFailed"]
    assert book.holding("default/web").addresses == (ip("10.0.0.1"),)
