"""What one node announces, and where."""

import ipaddress
import re

import pytest

from tests.loadbalancer.test_config import l2, node, pool
from todoku.linux.interfaces import Interface
from todoku.loadbalancer.announcing import Scene, decide
from todoku.loadbalancer.config import Resources, parse
from todoku.loadbalancer.election import Endpoints, Silent, winner
from todoku.loadbalancer.layer2 import DEFAULT_EXCLUDED, Claimed, eligible, listed_interfaces
from todoku.loadbalancer.metrics import Registry, metrics_handler

NODES = [node("n1", zone="a"), node("n2", zone="b")]
ADDRESS = "10.0.0.7"
FIRST = winner(["n1", "n2"], ADDRESS)
SECOND = "n2" if FIRST == "n1" else "n1"
SOMEWHERE = Endpoints(True, frozenset(["n1", "n2"]))


def service(*ingress, **spec):
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "LoadBalancer"} | spec,
        "status": {"loadBalancer": {"ingress": [{"ip": one} for one in ingress or (ADDRESS,)]}},
    }


def scene(me, *advertisements, **changes):
    listed = list(advertisements) or [l2()]
    resources = Resources(pools=[pool()], l2_advertisements=listed, nodes=NODES)
    facts = {
        "alive": frozenset(["n1", "n2"]),
        "nodes": {one["metadata"]["name"]: one for one in NODES},
    }
    return Scene(node=me, config=parse(resources), **(facts | changes))


@pytest.mark.parametrize(
    ("obj", "where", "expected"),
    [
        pytest.param(service(), scene(FIRST), None, id="winner"),
        pytest.param(service(), scene(SECOND), Silent.NOT_OWNER, id="other-node"),
        pytest.param(service(), scene(SECOND, alive={SECOND}), None, id="winner-is-dead"),
        pytest.param(service("10.9.9.9"), scene(FIRST), Silent.NO_POOL, id="address-of-no-pool"),
        pytest.param(
            service(type="ClusterIP"), scene(FIRST), Silent.NO_ADDRESS, id="not-a-balancer"
        ),
        pytest.param(
            service(loadBalancerClass="foo"), scene(FIRST), Silent.NO_ADDRESS, id="class-of-another"
        ),
        pytest.param(
            service(),
            scene(FIRST, l2(ipAddressPools=["x"])),
            Silent.NO_ADVERTISEMENT,
            id="no-advertisement",
        ),
    ],
)
def test_who_announces(obj, where, expected):
    decision = decide(obj, SOMEWHERE, where)
    wanted = Claimed((ipaddress.ip_address(ADDRESS),), None)
    assert decision == (wanted if expected is None else expected)


def test_two_services_on_one_address_agree_on_the_node():
    other = service()
    other["metadata"]["name"] = "other"
    assert isinstance(decide(service(), SOMEWHERE, scene(FIRST)), Claimed)
    assert isinstance(decide(other, SOMEWHERE, scene(FIRST)), Claimed)


@pytest.mark.parametrize(
    ("advertisements", "interfaces"),
    [
        ([l2("a", interfaces=["eth0"])], {"eth0"}),
        ([l2("a", interfaces=["eth0"]), l2("b", interfaces=["eth1"])], {"eth0", "eth1"}),
        ([l2("a", interfaces=["eth0"]), l2("b")], None),
    ],
)
def test_interfaces_are_the_union_over_advertisements(advertisements, interfaces):
    decision = decide(service(), SOMEWHERE, scene(FIRST, *advertisements))
    assert decision.interfaces == interfaces


def test_an_advertisement_for_other_nodes_adds_no_interface():
    zone = {"n1": "b", "n2": "a"}[FIRST]
    elsewhere = l2("b", interfaces=["eth9"], nodeSelectors=[{"matchLabels": {"zone": zone}}])
    decision = decide(service(), SOMEWHERE, scene(FIRST, l2("a", interfaces=["eth0"]), elsewhere))
    assert decision.interfaces == {"eth0"}


def test_no_list_means_every_interface():
    assert listed_interfaces([frozenset(["eth0"]), frozenset()]) is None


def interface(name="eth0", **changes):
    facts = {
        "index": 2, "mac": b"\x02\0\0\0\0\1", "up": True, "broadcast": True, "no_arp": False,
        "loopback": False, "enslaved": False, "ipv4": (ipaddress.IPv4Address("10.0.0.1"),),
        "ipv6": (ipaddress.IPv6Address("fe80::1"),),
    }  # fmt: skip
    return Interface(name, **(facts | changes))


@pytest.mark.parametrize(
    ("one", "answers"),
    [
        pytest.param(interface(), (True, True), id="uplink"),
        pytest.param(interface(up=False), (False, False), id="down"),
        pytest.param(interface(enslaved=True), (False, False), id="port-of-a-bridge"),
        pytest.param(interface(no_arp=True), (False, False), id="noarp"),
        pytest.param(interface(ipv4=()), (False, True), id="no-ipv4-address"),
        pytest.param(interface(broadcast=False), (False, True), id="point-to-point"),
        pytest.param(interface(ipv6=()), (True, False), id="ipv6-is-off"),
        pytest.param(
            interface(ipv6=(ipaddress.IPv6Address("2001:db8::1"),)),
            (True, False),
            id="no-link-local",
        ),
        *(
            pytest.param(interface(name), (False, False), id=name)
            for name in ("lo", "docker0", "veth1", "cni0", "flannel.1", "cali9", "dummy0")
        ),
        pytest.param(interface("lo1"), (True, True), id="lo-is-matched-whole"),
    ],
)
def test_which_interfaces_answer(one, answers):
    assert eligible(one, [re.compile(pattern) for pattern in DEFAULT_EXCLUDED]) == answers


async def test_metrics_are_text_and_forget_what_is_gone():
    from todoku.loadbalancer.http import Request

    registry = Registry()
    gauge = registry.gauge("metallb_speaker_announced", "Announced.")
    gauge.set(1, service="default/web", ip="10.0.0.1")
    gauge.set(1, service='quote"d', ip="10.0.0.2")
    gauge.remove(ip="10.0.0.1")
    reply = await metrics_handler(registry)(Request("GET", "/metrics", b""))
    text = reply.body.decode()
    assert "# TYPE metallb_speaker_announced gauge\n" in text
    assert 'metallb_speaker_announced{ip="10.0.0.2",service="quote\\"d"} 1\n' in text
    assert "10.0.0.1" not in text
    assert "process_resident_memory_bytes" in text
    assert (await metrics_handler(registry)(Request("GET", "/", b""))).status == 404
