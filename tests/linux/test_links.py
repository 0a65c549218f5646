"""rtnetlink against the kernel: what is set can be read back, and packets flow."""

import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from todoku.linux import namespaces
from todoku.linux.links import Links, NetlinkError, Route
from todoku.linux.namespaces import socket_in
from todoku.linux.rtsocket import Monitor

pytestmark = pytest.mark.kernel


@pytest.fixture
def two(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two empty network namespaces."""
    paths = str(tmp_path / "a"), str(tmp_path / "b")
    for path in paths:
        namespaces.create_net(path)
    yield paths
    for path in paths:
        namespaces.unpin(path)


@pytest.fixture
def cable(two: tuple[str, str]) -> tuple[str, str]:
    """The two namespaces joined by eth0 (10.9.0.1) and eth0 (10.9.0.2)."""
    with Links(two[0]) as here, Links(two[1]) as there:
        here.add_veth(
            "eth0", "eth0", peer_netns=two[1], mac="02:00:00:00:00:01", peer_mac="02:00:00:00:00:02"
        )
        for links, last in ((here, 1), (there, 2)):
            links.add_address("eth0", f"10.9.0.{last}/24")
            links.add_address("eth0", f"fd00:9::{last}/64")
            links.up("lo", "eth0")
    return two


@pytest.mark.parametrize(
    ("family", "here", "there"),
    [
        pytest.param(socket.AF_INET, "10.9.0.1", "10.9.0.2", id="IPv4"),
        pytest.param(
            socket.AF_INET6, "fd00:9::1", "fd00:9::2", id="IPv6 without duplicate detection"
        ),
    ],
)
def test_a_packet_crosses_a_pair(
    cable: tuple[str, str], family: int, here: str, there: str
) -> None:
    with (
        socket_in(cable[1], family, socket.SOCK_DGRAM) as server,
        socket_in(cable[0], family, socket.SOCK_DGRAM) as client,
    ):
        server.bind((there, 7000))
        server.settimeout(5)
        client.bind((here, 0))
        client.sendto(b"hello", (there, 7000))
        assert server.recvfrom(10)[0] == b"hello"


def test_a_pair_has_the_given_addresses_and_carrier(cable: tuple[str, str]) -> None:
    with Links(cable[1]) as links:
        link = links.find("eth0")
        assert link is not None
        assert (link.kind, link.mac, link.up, link.carrier) == (
            "veth",
            "02:00:00:00:00:02",
            True,
            True,
        )
        assert {entry.address for entry in links.addresses("eth0")} >= {
            "10.9.0.2/24",
            "fd00:9::2/64",
        }


def test_a_bridge_forwards_between_its_ports_unless_they_are_isolated(
    two: tuple[str, str], tmp_path: Path
) -> None:
    lan = str(tmp_path / "lan")
    namespaces.create_net(lan)
    try:
        with Links(lan) as bridge:
            bridge.add_bridge("br0", mac="02:00:00:00:00:ff")
            for number, netns in enumerate(two, 1):
                bridge.add_veth(f"p{number}", "eth0", peer_netns=netns)
                bridge.set(f"p{number}", master="br0", up=True)
                with Links(netns) as links:
                    links.add_address("eth0", f"10.9.0.{number}/24")
                    links.up("eth0")
            bridge.up("br0")
            wait_until_forwarding(bridge, "p1", "p2")
            assert crosses(two)
            for port in ("p1", "p2"):
                bridge.set_port(port, isolated=True, hairpin=True)
            assert not crosses(two)
    finally:
        namespaces.unpin(lan)


def wait_until_forwarding(links: Links, *ports: str) -> None:
    deadline = time.monotonic() + 5
    while not all((link := links.find(port)) and link.forwarding for port in ports):
        assert time.monotonic() < deadline
        time.sleep(0.002)


def crosses(two: tuple[str, str]) -> bool:
    with (
        socket_in(two[1], socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket_in(two[0], socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("10.9.0.2", 7000))
        server.settimeout(0.3)
        for _ in range(2):
            client.sendto(b"x", ("10.9.0.2", 7000))
        try:
            return bool(server.recv(10))
        except TimeoutError:
            return False


def test_vxlan_with_static_entries_carries_packets(cable: tuple[str, str]) -> None:
    for number, netns in enumerate(cable, 1):
        other = 3 - number
        with Links(netns) as links:
            links.add_vxlan(
                "flannel.1",
                vni=1,
                local=f"10.9.0.{number}",
                device="eth0",
                mac=f"0a:00:00:00:00:0{number}",
                mtu=1450,
            )
            links.add_address("flannel.1", f"10.244.{number}.0/32")
            links.up("flannel.1")
            links.set_neighbour("flannel.1", f"10.244.{other}.0", f"0a:00:00:00:00:0{other}")
            links.set_fdb("flannel.1", f"0a:00:00:00:00:0{other}", f"10.9.0.{other}")
            links.set_route(
                f"10.244.{other}.0/24", via=f"10.244.{other}.0", device="flannel.1", onlink=True
            )
            link = links.find("flannel.1")
            assert link is not None
            assert (link.kind, link.mtu) == ("vxlan", 1450)
            assert [e.address for e in links.fdb("flannel.1")] == [f"10.9.0.{other}"]
            assert [
                e.mac
                for e in links.neighbours("flannel.1")
                if e.permanent and e.address.startswith("10")
            ]
    with (
        socket_in(cable[1], socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket_in(cable[0], socket.AF_INET, socket.SOCK_DGRAM) as client,
    ):
        server.bind(("10.244.2.0", 7000))
        server.settimeout(5)
        client.sendto(b"tunnelled", ("10.244.2.0", 7000))
        data, source = server.recvfrom(20)
        assert (data, source[0]) == (b"tunnelled", "10.244.1.0")


def test_routes_are_replaced_listed_and_deleted(cable: tuple[str, str]) -> None:
    with Links(cable[0]) as links:
        links.set_route("default", via="10.9.0.2")
        links.set_route("default", via="10.9.0.3")
        links.set_route("10.50.0.0/16", kind="unreachable")
        index = links.index("eth0")
        routes = [route for route in links.routes() if ":" not in route.destination]
        assert Route("0.0.0.0/0", via="10.9.0.3", index=index) in routes
        assert [r.kind for r in routes if r.destination == "10.50.0.0/16"] == ["unreachable"]
        assert len([r for r in routes if r.destination == "0.0.0.0/0"]) == 1
        links.delete_route("default")
        links.delete_route("default")
        links.delete_route("10.50.0.0/16", kind="unreachable")
        left = {r.destination for r in links.routes() if ":" not in r.destination}
        assert left == {"10.9.0.0/24"}


def test_deleting_what_is_not_there_is_fine(cable: tuple[str, str]) -> None:
    with Links(cable[0]) as links:
        links.delete("nothing")
        links.delete_address("eth0", "10.77.0.1/32")
        links.delete_neighbour("eth0", "10.9.0.77")
        links.delete_fdb("nothing", "02:00:00:00:00:09")


def test_a_refusal_says_what_the_kernel_said(cable: tuple[str, str]) -> None:
    with Links(cable[0]) as links:
        with pytest.raises(NetlinkError, match="File exists"):
            links.add_bridge("eth0")
        with pytest.raises(NetlinkError, match="invalid gateway"):
            links.set_route("default", via="172.31.0.1")
        with pytest.raises(NetlinkError, match="no interface 'eth7'"):
            links.up("eth7")


def test_moving_a_link_takes_it_to_the_other_namespace(two: tuple[str, str]) -> None:
    with Links(two[0]) as here, Links(two[1]) as there:
        here.add_veth("v7", "w7")
        here.set("v7", netns=two[1], rename="v8")
        assert here.find("v7") is None
        assert there.find("v8") is not None


def test_a_monitor_tells_what_appears_and_what_goes(two: tuple[str, str]) -> None:
    monitor = Monitor(two[0], groups=("link", "address4"))
    try:
        with Links(two[0]) as links:
            links.add_bridge("br7")
            links.add_address("br7", "10.8.0.1/24")
            links.delete("br7")
        poll = select.poll()
        poll.register(monitor.fileno(), select.POLLIN)
        assert poll.poll(2000)
        events = monitor.read()
        assert events is not None
        names = [
            (present, getattr(what, "name", None) or getattr(what, "address", ""))
            for present, what in events
        ]
        assert (
            names.index((True, "br7"))
            < names.index((True, "10.8.0.1/24"))
            < names.index((False, "br7"))
        )
    finally:
        monitor.close()


def test_the_host_has_none_of_it(cable: tuple[str, str]) -> None:
    assert os.path.exists(cable[0])
    with Links() as links:
        assert links.find("flannel.1") is None
