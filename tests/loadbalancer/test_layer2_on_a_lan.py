"""Speakers on a real bridge: who answers ARP, and how soon another one does."""

import ipaddress
import socket
import time

import pytest

from tests.loadbalancer.lan import ADDRESS, Speaker, lan
from todoku.linux import packets
from todoku.linux.interfaces import interfaces
from todoku.loadbalancer.election import winner
from todoku.loadbalancer.heartbeat import PORT
from todoku.loadbalancer.membership import PeerAddress

pytestmark = pytest.mark.kernel


@pytest.fixture
def town():
    """Two nodes' speakers, the winner of ADDRESS first, and a host."""
    with lan("n1", "n2") as (nodes, host):
        everybody = {
            name: PeerAddress(f"192.168.11.{131 + i}", PORT) for i, name in enumerate(nodes)
        }
        speakers = {
            name: Speaker(where, i + 1, everybody) for i, (name, where) in enumerate(nodes.items())
        }
        first = winner(nodes, str(ADDRESS))
        ordered = sorted(speakers.values(), key=lambda one: one.name != first)
        macs = [_mac(one) for one in ordered]
        try:
            yield ordered, macs, host
        finally:
            for speaker in speakers.values():
                speaker.stop()


def _mac(speaker):
    text = speaker.where.run("ip", "-o", "link", "show", "eth0")
    return bytes.fromhex(text.split("link/ether ")[1].split()[0].replace(":", ""))


def test_the_winner_answers_and_only_the_winner(town):
    (_, _), (first, _), host = town
    host.until_answered(first)
    for _ in range(20):
        assert host.answers(wait=0.02) == [first]


def test_taking_an_address_is_told_to_the_lan_by_request_and_reply(town):
    (_, _), (first, _), host = town
    told = [
        one.packet for one in host.listen(2.5)
        if one.packet.sender == one.packet.target == ADDRESS and one.packet.sender_mac == first
    ]  # fmt: skip
    assert {one.operation for one in told} == {packets.REQUEST, packets.REPLY}
    assert all(one.frame_target == packets.BROADCAST for one in told)
    assert len(told) >= 4, "it is repeated"


def test_another_speaker_takes_over_when_the_announcing_node_is_cut_off(town, record_property):
    (winner_, _), (first, second), host = town
    host.until_answered(first)
    time.sleep(0.5)
    winner_.cut()
    took = host.until_answered(second)
    record_property("failover_ms", round(took * 1000))
    print(f"failover after a cut: {took * 1000:.0f} ms")
    assert took < 2.0


def test_a_graceful_stop_hands_over_at_once(town):
    (winner_, _), (first, second), host = town
    host.until_answered(first)
    time.sleep(0.5)
    winner_.stop()
    took = host.until_answered(second)
    print(f"failover after a stop: {took * 1000:.0f} ms")
    assert took < 0.5


def test_the_old_winner_gets_the_address_back_without_double_answers(town):
    (winner_, other), (first, second), host = town
    host.until_answered(first)
    time.sleep(0.5)
    winner_.freeze(1.5)
    host.until_answered(second)
    seen = []
    until = time.monotonic() + 3
    while time.monotonic() < until:
        answered = host.answers(wait=0.02)
        assert len(answered) <= 1, f"two answers: {answered}"
        seen += answered
    assert seen[-1] == first
    assert other.view.alive == {"n1", "n2"}


def test_a_mended_cable_brings_the_address_back_without_double_answers(town):
    (winner_, _), (first, second), host = town
    host.until_answered(first)
    time.sleep(0.5)
    winner_.cut()
    host.until_answered(second)
    time.sleep(1)
    winner_.heal()
    took = host.until_answered(first)
    time.sleep(0.3)  # the first beat after the cable tells both sides
    for _ in range(50):
        assert host.answers(wait=0.02) == [first]
    print(f"back after the cable was mended: {took * 1000:.0f} ms")


def test_requests_that_waited_while_the_speaker_stood_still_are_not_answered(town):
    (winner_, _), (first, _), host = town
    host.until_answered(first)
    time.sleep(0.5)
    winner_.freeze(1.2)
    time.sleep(0.9)
    for _ in range(5):
        assert first not in host.answers(wait=0.01)
    until = time.monotonic() + 0.6
    while time.monotonic() < until:
        assert len(set(host.answers(wait=0.02))) <= 1


def test_an_excluded_or_enslaved_interface_does_not_answer(town):
    (winner_, _), (first, _), host = town
    host.until_answered(first)
    winner_.where.ip("link set eth0 down", "link set eth0 name veth9", "link set veth9 up")
    time.sleep(0.3)
    assert first not in host.answers(wait=0.2)


def _ask_ndp(where, target, mac, *, wait=1.0):
    """The neighbour advertisements that answer a solicitation: (flags, MAC)."""
    sock = where.call(socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    with sock:
        index = where.call(socket.if_nametoindex, "eth0")
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.settimeout(wait)
        group = str(packets.solicited_node(target))
        sock.sendto(packets.neighbor_solicitation(target, mac), (group, 0, 0, index))
        until, found = time.monotonic() + wait, []
        while time.monotonic() < until:
            try:
                data = sock.recv(256)
            except TimeoutError:
                break
            if data[0] == packets.NEIGHBOR_ADVERTISEMENT and data[8:24] == target.packed:
                found.append((int.from_bytes(data[4:8], "big"), data[26:32]))
        return found


def test_an_ipv6_address_is_answered_by_ndp_for_its_group():
    target = ipaddress.IPv6Address("fc00:f853::136")
    with lan("n1") as (nodes, host):
        speaker = Speaker(nodes["n1"], 1, {}, address=str(target))
        try:
            mac = _mac(speaker)
            deadline = time.monotonic() + 5
            while not (found := _ask_ndp(host.where, target, host.mac)):
                assert time.monotonic() < deadline
            assert (packets.SOLICITED, mac) in found
            assert (
                _ask_ndp(host.where, ipaddress.IPv6Address("fc00:f853::137"), host.mac, wait=0.2)
                == []
            )
        finally:
            speaker.stop()


def test_interfaces_are_listed_with_addresses_and_flags():
    with lan("n1") as (nodes, _):
        nodes["n1"].ip(
            "link add br1 type bridge",
            "link add d1 type veth peer name d2",
            "link set d1 master br1",
        )
        found = {one.name: one for one in nodes["n1"].call(interfaces)}
    assert [str(one) for one in found["eth0"].ipv4] == ["192.168.11.131"]
    assert found["eth0"].up and found["eth0"].broadcast and not found["eth0"].enslaved
    assert found["d1"].enslaved and not found["d1"].up
    assert found["lo"].loopback


def test_a_speaker_with_another_key_counts_for_nothing():
    with lan("n1", "n2") as (nodes, host):
        everybody = {
            name: PeerAddress(f"192.168.11.{131 + i}", PORT) for i, name in enumerate(nodes)
        }
        speakers = [
            Speaker(nodes["n1"], 1, everybody),
            Speaker(nodes["n2"], 2, everybody, secret=b"another"),
        ]
        try:
            host.until_answered()
            time.sleep(0.5)
            assert [one.view.alive for one in speakers] == [{"n1"}, {"n2"}]
        finally:
            for one in speakers:
                one.stop()
