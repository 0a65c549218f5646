"""What nodes announce to each other, and the difference that follows."""

import pytest

from todoku.api.meta import Object
from todoku.network.peers import (
    Changes,
    Peer,
    announcement,
    changes,
    mac_from,
    peer_of,
    peers,
    pod_cidr,
    pod_mac,
)

MAC = "02:00:00:00:00:01"


def node(name: str = "n2", cidr: str = "10.244.2.0/24", **annotations: str) -> Object:
    return {
        "metadata": {"name": name, "annotations": annotations or announcement(MAC, "192.0.2.2")},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {},
    }


def test_a_node_is_read_as_it_announced_itself() -> None:
    assert peer_of(node()) == Peer("10.244.2.0/24", MAC, "192.0.2.2")


def test_the_announcement_is_flannels() -> None:
    assert announcement(MAC, "192.0.2.2") == {
        "flannel.alpha.coreos.com/backend-type": "vxlan",
        "flannel.alpha.coreos.com/backend-data": '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
        "flannel.alpha.coreos.com/public-ip": "192.0.2.2",
        "flannel.alpha.coreos.com/kube-subnet-manager": "true",
    }


@pytest.mark.parametrize(
    "half",
    [
        pytest.param(node(cidr=""), id="no pod range yet"),
        pytest.param(node(other="annotation"), id="not announced"),
        pytest.param(
            node(
                **{**announcement(MAC, "192.0.2.2"), "flannel.alpha.coreos.com/backend-data": "{"}
            ),
            id="backend data is not JSON",
        ),
    ],
)
def test_a_node_that_is_not_ready_is_no_peer(half: Object) -> None:
    assert peer_of(half) is None


def test_the_node_itself_is_no_peer() -> None:
    assert set(peers([node("n1", "10.244.1.0/24"), node()], "n1")) == {"10.244.2.0/24"}


def test_the_ipv4_range_of_a_dual_stack_node_counts() -> None:
    both = {"metadata": {}, "spec": {"podCIDRs": ["fd00:1::/64", "10.244.2.0/24"]}}
    assert pod_cidr(both) == "10.244.2.0/24"


A, B = Peer("10.244.1.0/24", MAC, "192.0.2.1"), Peer("10.244.2.0/24", MAC, "192.0.2.2")
MOVED = Peer("10.244.2.0/24", MAC, "192.0.2.9")


@pytest.mark.parametrize(
    ("wanted", "present", "expected"),
    [
        pytest.param([A, B], [A, B], Changes(), id="nothing to do"),
        pytest.param([A, B], [A], Changes(add=(B,)), id="a new node"),
        pytest.param([A], [A, B], Changes(remove=(B,)), id="a node is gone"),
        pytest.param([MOVED], [B], Changes(remove=(B,), add=(MOVED,)), id="a node moved"),
    ],
)
def test_only_differences_are_applied(
    wanted: list[Peer], present: list[Peer], expected: Changes
) -> None:
    assert changes({p.subnet: p for p in wanted}, {p.subnet: p for p in present}) == expected


def test_macs_are_stable_unicast_and_locally_administered() -> None:
    mac = mac_from("flannel.1/n1")
    assert mac == mac_from("flannel.1/n1") != mac_from("flannel.1/n2")
    assert int(mac[:2], 16) & 3 == 2
    assert pod_mac("10.244.1.5") == "0a:58:0a:f4:01:05"
