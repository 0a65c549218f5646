"""Which configurations are refused, and in which words (upstream's e2e suite matches the quoted parts)."""

import pytest

from todoku.loadbalancer.config import Resources, parse
from todoku.loadbalancer.fields import BadConfig, Dangling


def named(name, spec, labels=None):
    return {
        "metadata": {"name": name, "namespace": "metallb-system", "labels": labels or {}},
        "spec": spec,
    }


def pool(name="first", *addresses, labels=None, **spec):
    return named(name, {"addresses": list(addresses or ["10.0.0.0/24"])} | spec, labels)


def node(name, **labels):
    return {"metadata": {"name": name, "labels": labels}}


def peer(name="router", **changes):
    spec = {"myASN": 64512, "peerASN": 64512, "peerAddress": "10.1.1.1"} | changes
    return named(name, {key: value for key, value in spec.items() if value is not None})


def l2(name="l2", **spec):
    return named(name, spec)


def bgp(name="bgp", **spec):
    return named(name, spec)


def community(name, **values):
    return named(name, {"communities": [{"name": k, "value": v} for k, v in values.items()]})


SELECTOR = {"matchLabels": {"zone": "a"}}
BAD_SELECTOR = {"matchExpressions": [{"key": "zone", "operator": "Near", "values": ["a"]}]}


@pytest.mark.parametrize(
    ("resources", "problem"),
    [
        pytest.param(
            Resources(pools=[named("first", {"addresses": []})]),
            "parsing address pool first: pool has no prefixes defined",
            id="no-addresses",
        ),
        pytest.param(
            Resources(pools=[pool("first", "bogus")]),
            'invalid CIDR "bogus" in pool "first"',
            id="bad-address",
        ),
        pytest.param(
            Resources(pools=[pool("first", "10.0.0.9-10.0.0.1")]),
            'start IP "10.0.0.9" is after the end IP "10.0.0.1"',
            id="range-backwards",
        ),
        pytest.param(
            Resources(pools=[pool("first", "10.0.0.0/24", "10.0.0.5-10.0.0.9")]),
            'CIDR "10.0.0.5/32" in pool "first" overlaps with already defined CIDR "10.0.0.0/24"',
            id="overlap-inside-a-pool",
        ),
        pytest.param(
            Resources(pools=[pool("first"), pool("second", "10.0.0.0/16")]),
            'CIDR "10.0.0.0/16" in pool "second" overlaps with already defined CIDR "10.0.0.0/24"',
            id="overlap-across-pools",
        ),
        pytest.param(
            Resources(pools=[pool(serviceAllocation={"namespaces": ["a", "a"]})]),
            "duplicate definition in namespaces field",
            id="namespace-twice",
        ),
        pytest.param(
            Resources(pools=[pool(serviceAllocation={"namespaceSelectors": [SELECTOR, SELECTOR]})]),
            "duplicate definition of namespaceSelectors",
            id="namespace-selector-twice",
        ),
        pytest.param(
            Resources(pools=[pool(serviceAllocation={"serviceSelectors": [BAD_SELECTOR]})]),
            "not a valid selector operator",
            id="bad-service-selector",
        ),
        pytest.param(
            Resources(l2_advertisements=[l2(ipAddressPools=["a", "a"])]),
            'duplicate definition of ipAddressPools "a"',
            id="l2-pool-twice",
        ),
        pytest.param(
            Resources(l2_advertisements=[l2(nodeSelectors=[SELECTOR, SELECTOR])]),
            "duplicate definition of nodeSelectors",
            id="l2-node-selector-twice",
        ),
        pytest.param(
            Resources(l2_advertisements=[l2(ipAddressPoolSelectors=[BAD_SELECTOR])]),
            "invalid label selector",
            id="l2-bad-selector",
        ),
        pytest.param(
            Resources(pools=[pool("first", "1.1.1.0/28")], bgp_advertisements=[bgp(aggregationLength=26)]),
            "invalid aggregation length 26: prefix 28 in this pool is more specific than the "
            "aggregation length for addresses 1.1.1.0/28",
            id="aggregation-too-short",
        ),
        pytest.param(
            Resources(bgp_advertisements=[bgp(aggregationLength=33)]),
            "invalid aggregation length 33 for IPv4",
            id="aggregation-beyond-an-address",
        ),
        pytest.param(
            Resources(bgp_advertisements=[bgp(peers=["a", "a"])]),
            'duplicate definition of peers "a"',
            id="bgp-peer-twice",
        ),
        pytest.param(
            Resources(bgp_advertisements=[bgp(communities=["1:65536"])]),
            "invalid community value: invalid section",
            id="community-section-too-big",
        ),
        pytest.param(
            Resources(
                pools=[pool()],
                bgp_advertisements=[bgp("one", localPref=100), bgp("two", localPref=200)],
                nodes=[node("n")],
            ),
            "invalid local preference 200",
            id="two-local-preferences",
        ),
        pytest.param(
            Resources(pools=[pool("six", "fc00::/120")], bgp_advertisements=[bgp()]),
            'pool "six" has ipv6 CIDR fc00::/120, native bgp mode does not support ipv6',
            id="ipv6-by-bgp",
        ),
        pytest.param(
            Resources(bgp_advertisements=[bgp(communities=["large:1:2:3"])]),
            "native BGP mode only supports legacy communities",
            id="large-community",
        ),
        pytest.param(
            Resources(communities=[community("one", a="1:2"), community("two", a="3:4")]),
            'duplicate definition of community "a"',
            id="alias-twice",
        ),
        pytest.param(
            Resources(communities=[community("one", a="99999999:1")]),
            "invalid community value: invalid section",
            id="alias-with-a-bad-section",
        ),
        pytest.param(
            Resources(communities=[community("one", a="large:1:2")]),
            "expected community to be of format large",
            id="alias-of-a-bad-large-community",
        ),
        pytest.param(
            Resources(bfd_profiles=[named("fast", {})]), "bfd profiles section set", id="bfd-needs-frr"
        ),
        pytest.param(Resources(peers=[peer(myASN=0)]), "missing local ASN", id="no-own-asn"),
        pytest.param(Resources(peers=[peer(peerASN=None)]), "missing peer ASN", id="no-peer-asn"),
        pytest.param(
            Resources(peers=[peer(ebgpMultiHop=True)]),
            "invalid ebgp-multihop parameter set for an ibgp peer",
            id="multi-hop-to-the-same-as",
        ),
        pytest.param(
            Resources(peers=[peer(peerAddress="10.1")]), 'invalid BGPPeer address "10.1"', id="address"
        ),
        pytest.param(Resources(peers=[peer(routerID="x")]), 'invalid router ID "x"', id="router-id"),
        pytest.param(
            Resources(peers=[peer(sourceAddress="x")]), 'invalid source IP "x"', id="source-address"
        ),
        pytest.param(Resources(peers=[peer(holdTime="2s")]), "must be 0 or >=3s", id="hold-time"),
        pytest.param(
            Resources(peers=[peer(keepaliveTime="10s")]), "has keepalive-time set", id="keepalive"
        ),
        pytest.param(Resources(peers=[peer(vrf="red")]), "has vrf set on native bgp mode", id="vrf"),
        pytest.param(
            Resources(peers=[peer(peerASN=None, dynamicASN="external")]), "has dynamicASN set", id="dynamic"
        ),
        pytest.param(
            Resources(peers=[peer(nodeSelectors=[SELECTOR, SELECTOR])]),
            "duplicate definition of nodeSelectors",
            id="peer-selector-twice",
        ),
    ],
)  # fmt: skip
def test_bad_configurations(resources, problem):
    with pytest.raises(BadConfig) as refusal:
        parse(resources)
    assert problem in str(refusal.value)


@pytest.mark.parametrize(
    "resources",
    [
        pytest.param(
            Resources(bgp_advertisements=[bgp(communities=["alias"])]), id="alias-not-defined-yet"
        ),
        pytest.param(
            Resources(peers=[peer(passwordSecret={"name": "s"})]), id="password-not-there-yet"
        ),
    ],
)
def test_what_may_still_appear_is_dangling(resources):
    with pytest.raises(Dangling):
        parse(resources)


@pytest.mark.parametrize(
    "advertisements",
    [
        pytest.param([bgp("a", localPref=1), bgp("b", localPref=1)], id="equal-preferences"),
        pytest.param(
            [bgp("a", localPref=1, aggregationLength=24), bgp("b", localPref=2)],
            id="different-aggregation",
        ),
        pytest.param(
            [bgp("a", localPref=1, peers=["x"]), bgp("b", localPref=2, peers=["y"])],
            id="different-peers",
        ),
        pytest.param(
            [
                bgp("a", localPref=1, nodeSelectors=[{"matchLabels": {"zone": "a"}}]),
                bgp("b", localPref=2, nodeSelectors=[{"matchLabels": {"zone": "b"}}]),
            ],
            id="different-nodes",
        ),
    ],
)
def test_local_preferences_may_differ_where_advertisements_never_meet(advertisements):
    nodes = [node("n1", zone="a"), node("n2", zone="b")]
    parse(Resources(pools=[pool()], bgp_advertisements=advertisements, nodes=nodes))


def test_pools_carry_their_settings():
    spec = {
        "autoAssign": False,
        "avoidBuggyIPs": True,
        "serviceAllocation": {
            "priority": 7,
            "namespaces": ["red"],
            "namespaceSelectors": [SELECTOR],
            "serviceSelectors": [{"matchLabels": {"app": "web"}}],
        },
    }
    namespaces = [node("blue", zone="a"), node("green", zone="b")]
    found = parse(Resources(pools=[pool(**spec)], namespaces=namespaces)).pools["first"]
    assert (found.auto_assign, found.avoid_buggy_ips) == (False, True)
    assert found.allocation.priority == 7
    assert found.allocation.namespaces == {"red", "blue"}
    (selector,) = found.allocation.service_selectors
    assert selector.matches({"app": "web"}) and not selector.matches({"app": "db"})


@pytest.mark.parametrize(
    ("spec", "covered"),
    [
        ({}, {"a", "b"}),
        ({"ipAddressPools": ["a", "missing"]}, {"a"}),
        ({"ipAddressPoolSelectors": [SELECTOR]}, {"b"}),
        ({"ipAddressPools": ["a"], "ipAddressPoolSelectors": [SELECTOR]}, {"a", "b"}),
    ],
)
def test_an_advertisement_covers_named_and_selected_pools_or_all(spec, covered):
    pools = [pool("a", "10.0.0.0/24"), pool("b", "10.0.1.0/24", labels={"zone": "a"})]
    config = parse(Resources(pools=pools, l2_advertisements=[l2(**spec)]))
    assert set(config.l2) == covered


@pytest.mark.parametrize(
    ("selectors", "nodes"),
    [
        ([], {"n1", "n2", "n3"}),
        ([SELECTOR], {"n1"}),
        ([SELECTOR, {"matchLabels": {"zone": "b"}}], {"n1", "n2"}),
        ([{"matchLabels": {"zone": "c"}}], set()),
    ],
)
def test_node_selectors_are_alternatives(selectors, nodes):
    known = [node("n1", zone="a"), node("n2", zone="b"), node("n3")]
    advertisement = l2(nodeSelectors=selectors, interfaces=["eth0"])
    config = parse(Resources(pools=[pool()], l2_advertisements=[advertisement], nodes=known))
    (found,) = config.l2["first"]
    assert found.nodes == nodes
    assert found.interfaces == {"eth0"}


def test_a_password_comes_from_a_basic_auth_secret():
    secret = {
        "metadata": {"name": "s"},
        "type": "kubernetes.io/basic-auth",
        "data": {"password": "aHVudGVyMg=="},
    }
    config = parse(Resources(peers=[peer(passwordSecret={"name": "s"})], secrets=[secret]))
    assert config.peers["router"].password == "hunter2"


def test_a_password_of_another_secret_type_is_refused():
    secret = {"metadata": {"name": "s"}, "type": "Opaque", "data": {"password": "aHVudGVyMg=="}}
    with pytest.raises(BadConfig, match="secret type mismatch"):
        parse(Resources(peers=[peer(passwordSecret={"name": "s"})], secrets=[secret]))


def test_equal_resources_make_equal_configurations():
    spec = {"serviceAllocation": {"serviceSelectors": [SELECTOR]}}
    assert parse(Resources(pools=[pool(**spec)])) == parse(Resources(pools=[pool(**spec)]))
