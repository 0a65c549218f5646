"""Address leases in a folder."""

from ipaddress import IPv4Network
from pathlib import Path

import pytest

from todoku.api.podnetwork import HostPort
from todoku.network.ipam import Exhausted, Ipam

SUBNET = IPv4Network("10.244.1.0/24")


@pytest.fixture
def ipam(tmp_path: Path) -> Ipam:
    return Ipam(tmp_path, SUBNET)


def test_the_gateway_and_the_ends_of_the_range_are_never_given_out(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, IPv4Network("10.244.1.0/29"))
    given = [ipam.reserve(f"pod-{n}").address for n in range(5)]
    assert given == [f"10.244.1.{n}" for n in range(2, 7)]
    with pytest.raises(Exhausted, match=r"no address is free in 10\.244\.1\.0/29"):
        ipam.reserve("one-too-many")


def test_a_pod_that_asks_again_gets_the_same_address(ipam: Ipam) -> None:
    assert ipam.reserve("a") == ipam.reserve("a")


def test_an_address_rests_before_somebody_else_gets_it(ipam: Ipam) -> None:
    first = ipam.reserve("a").address
    ipam.release("a")
    assert ipam.reserve("b").address != first


def test_the_last_address_is_followed_by_the_first_free_one(tmp_path: Path) -> None:
    ipam = Ipam(tmp_path, IPv4Network("10.244.1.0/29"))
    for n in range(5):
        ipam.reserve(f"pod-{n}")
    ipam.release("pod-2")
    assert ipam.reserve("next").address == "10.244.1.4"


def test_a_restarted_agent_adopts_every_lease(tmp_path: Path, ipam: Ipam) -> None:
    ports = (HostPort("TCP", 8080, 80),)
    lease = ipam.reserve("a", namespace="default", name="web", host_ports=ports)
    again = Ipam(tmp_path, SUBNET)
    assert again.find("a") == lease
    assert again.reserve("b").address != lease.address


def test_release_is_repeatable_and_survives_a_restart(tmp_path: Path, ipam: Ipam) -> None:
    lease = ipam.reserve("a")
    assert ipam.release("a") == lease
    assert ipam.release("a") is None
    assert Ipam(tmp_path, SUBNET).find("a") is None


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("10.244.1.9", "", id="empty, cut off by a power failure"),
        pytest.param(
            "10.244.1.9", '{"address": "10.244.1.8", "uid": "x"}', id="of another address"
        ),
        pytest.param("10.9.9.9", '{"address": "10.9.9.9", "uid": "x"}', id="of an older range"),
        pytest.param(".10.244.1.9.123", '{"address', id="a draft of an agent that died"),
    ],
)
def test_broken_files_are_swept_at_start(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert not Ipam(tmp_path, SUBNET).leases()
    assert not (tmp_path / name).exists()


def test_two_agents_never_give_out_one_address_twice(tmp_path: Path) -> None:
    one, other = Ipam(tmp_path, SUBNET), Ipam(tmp_path, SUBNET)
    given = [ipam.reserve(f"{n}-{id(ipam)}").address for n in range(20) for ipam in (one, other)]
    assert len(set(given)) == len(given)
