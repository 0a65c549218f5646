"""What admission refuses, seen from the API server: AdmissionReview in, AdmissionReview out."""

import json

import pytest

from tests.loadbalancer.test_config import bgp, community, l2, named, node, peer, pool
from todoku.loadbalancer.http import Request
from todoku.loadbalancer.webhooks import RULES, handler

NAMESPACE = "metallb-system"
PATHS = {rule.resource: path for path, rule in RULES.items()}


async def review(resource, obj, *, operation="CREATE", namespace=NAMESPACE, **present):
    """The verdict on one object while `present` (plural names) are in the cluster."""
    lists = {
        "nodes" if name == "nodes" else f"{name}.metallb.io": objs for name, objs in present.items()
    }

    async def listed(name):
        return lists.get(name, [])

    body = {
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "42",
            "operation": operation,
            "namespace": namespace,
            "name": obj["metadata"]["name"],
            "object": None if operation == "DELETE" else obj,
            "oldObject": obj if operation == "DELETE" else None,
        },
    }
    request = Request("POST", PATHS[f"{resource}.metallb.io"], json.dumps(body).encode())
    reply = await handler(listed, NAMESPACE)(request)
    assert reply.status == 200
    answer = json.loads(reply.body)
    assert (answer["kind"], answer["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    assert answer["response"]["uid"] == "42"
    return answer["response"]


def assert_denied(response, words):
    assert response["allowed"] is False
    assert response["status"]["code"] == 403
    assert words in response["status"]["message"]


@pytest.mark.parametrize("resource", [name.partition(".")[0] for name in PATHS])
async def test_nothing_may_be_created_in_another_namespace(resource):
    response = await review(resource, named("x", {}), namespace="default")
    assert_denied(response, "resource must be created in metallb-system namespace")


async def test_a_good_pool_is_admitted():
    response = await review("ipaddresspools", pool("one"), ipaddresspools=[])
    assert response == {"uid": "42", "allowed": True}


async def test_a_pool_is_compared_with_those_in_the_cluster():
    present = [pool("old", "10.0.0.0/24")]
    response = await review("ipaddresspools", pool("new", "10.0.0.9/32"), ipaddresspools=present)
    assert_denied(response, 'in pool "new" overlaps with already defined CIDR "10.0.0.0/24"')


async def test_an_updated_pool_is_not_compared_with_its_former_self():
    present = [pool("one", "10.0.0.0/24")]
    changed = pool("one", "10.0.0.0/25")
    response = await review("ipaddresspools", changed, operation="UPDATE", ipaddresspools=present)
    assert response["allowed"] is True


@pytest.mark.parametrize(
    ("resource", "obj", "present", "words"),
    [
        pytest.param(
            "bgpadvertisements",
            bgp("adv", aggregationLength=26),
            {"ipaddresspools": [pool("p", "1.1.1.0/28")]},
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the "
            "aggregation length for addresses 1.1.1.0/28",
            id="aggregation",
        ),
        pytest.param(
            "bgppeers", peer(peerAddress="nope"), {}, "invalid BGPPeer address", id="peer"
        ),
        pytest.param(
            "communities",
            community("new", alias="1:1"),
            {"communities": [community("old", alias="2:2")]},
            "duplicate definition of community",
            id="alias-twice",
        ),
        pytest.param(
            "communities",
            community("new", alias="99999999:1"),
            {},
            "invalid community value: invalid section",
            id="bad-section",
        ),
        pytest.param(
            "bgpadvertisements",
            bgp("adv", communities=["65536:1"]),
            {},
            "invalid section",
            id="community",
        ),
        pytest.param(
            "bgpadvertisements",
            bgp("two", localPref=200),
            {
                "bgpadvertisements": [bgp("one", localPref=100)],
                "ipaddresspools": [pool()],
                "nodes": [node("n")],
            },
            "invalid local preference 200",
            id="local-preference",
        ),
        pytest.param(
            "l2advertisements", l2(ipAddressPools=["a", "a"]), {}, "duplicate definition", id="l2"
        ),
    ],
)
async def test_refusals(resource, obj, present, words):
    assert_denied(await review(resource, obj, **present), words)


@pytest.mark.parametrize(
    ("resource", "obj"),
    [
        ("bgppeers", peer(passwordSecret={"name": "later"})),
        ("bgppeers", peer(bfdProfile="later")),
        ("bgpadvertisements", bgp("adv", communities=["alias-of-later"])),
        ("l2advertisements", l2(ipAddressPools=["pool-of-later"])),
    ],
)
async def test_references_to_what_may_come_later_are_admitted(resource, obj):
    assert (await review(resource, obj))["allowed"] is True


async def test_a_bfd_profile_in_use_cannot_be_deleted():
    users = [peer(bfdProfile="fast")]
    response = await review("bfdprofiles", named("fast", {}), operation="DELETE", bgppeers=users)
    assert_denied(response, "failed to delete BFDProfile")
    free = await review("bfdprofiles", named("slow", {}), operation="DELETE", bgppeers=users)
    assert free["allowed"] is True


async def convert(version, wanted, spec, *, review_version="v1"):
    async def listed(name):
        raise AssertionError("conversion asks nobody")

    obj = named("router", spec) | {"apiVersion": f"metallb.io/{version}", "kind": "BGPPeer"}
    body = {
        "kind": "ConversionReview",
        "apiVersion": f"apiextensions.k8s.io/{review_version}",
        "request": {"uid": "7", "desiredAPIVersion": f"metallb.io/{wanted}", "objects": [obj]},
    }
    reply = await handler(listed, NAMESPACE)(Request("POST", "/convert", json.dumps(body).encode()))
    answer = json.loads(reply.body)
    assert answer["apiVersion"] == body["apiVersion"], "the reply echoes the version asked in"
    return answer["response"]


SPEC = {"myASN": 1, "peerASN": 2, "peerAddress": "10.0.0.1", "peerPort": 179}


async def test_an_older_peer_becomes_a_newer_one_with_explicit_times():
    response = await convert("v1beta1", "v1beta2", SPEC, review_version="v1beta1")
    assert response["result"]["status"] == "Success"
    (converted,) = response["convertedObjects"]
    assert converted["apiVersion"] == "metallb.io/v1beta2"
    assert converted["spec"] == SPEC | {"holdTime": "0s", "keepaliveTime": "0s"}
    assert converted["metadata"]["name"] == "router"


async def test_a_newer_peer_loses_what_the_older_version_does_not_know():
    newer = SPEC | {
        "vrf": "red",
        "holdTime": "90s",
        "nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists"}]}],
    }
    response = await convert("v1beta2", "v1beta1", newer)
    (converted,) = response["convertedObjects"]
    assert converted["spec"] == SPEC | {
        "holdTime": "90s",
        "nodeSelectors": [{"matchExpressions": [{"key": "a", "operator": "Exists", "values": []}]}],
    }


async def test_an_unknown_version_is_a_failed_conversion():
    response = await convert("v1beta1", "v1", SPEC)
    assert response["result"]["status"] == "Failed"
    assert "cannot convert metallb.io/v1beta1 to metallb.io/v1" in response["result"]["message"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (Request("GET", "/convert", b""), 405),
        (Request("POST", "/convert", b"no json"), 400),
        (Request("POST", "/nope", b'{"request": {}}'), 404),
    ],
)
async def test_what_is_no_review_is_refused(request_, status):
    async def listed(name):
        return []

    assert (await handler(listed, NAMESPACE)(request_)).status == status
