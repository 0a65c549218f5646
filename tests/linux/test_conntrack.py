"""Flows of a namespace: listing, the kernel's filter, deletion and events."""

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.support.netns import Netns, namespaces
from todoku.linux.conntrack import UDP, Conntrack, ConntrackEvents, Match
from todoku.linux.nftables import Nft

pytestmark = pytest.mark.kernel

RULES = """
table ip t {
    chain nat { type nat hook output priority -100; ip daddr 10.96.0.5 udp dport 53 dnat to 127.0.0.1:9999; }
    chain watch { type filter hook input priority 0; ct state new counter; }
}
"""


@pytest.fixture
def host() -> Iterator[Netns]:
    with namespaces("host") as (host,):
        host.ip("address add 10.96.0.5/32 dev lo")
        Nft(host.fd).apply(RULES)
        with host.socket(socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 9999))
            yield host


def send(host: Netns, address: str, port: int) -> None:
    with host.socket(socket.SOCK_DGRAM) as client:
        client.sendto(b"?", (address, port))


def test_the_reply_tuple_names_the_backend(host: Netns) -> None:
    send(host, "10.96.0.5", 53)
    with Conntrack(host.fd) as conntrack:
        (flow,) = conntrack.flows(Match(protocol=UDP, destination="10.96.0.5", destination_port=53))
    assert flow.translated and flow.backend == ("127.0.0.1", 9999)


@pytest.mark.parametrize(
    ("match", "count"),
    [
        pytest.param(Match(), 3, id="everything"),
        pytest.param(Match(destination="10.96.0.5"), 2, id="by destination"),
        pytest.param(Match(destination="10.96.0.6"), 0, id="by another destination"),
        pytest.param(Match(protocol=UDP, destination_port=9999), 1, id="by port"),
        pytest.param(Match(destination_port=9999), 1, id="by port of any protocol"),
        pytest.param(Match(protocol=6), 0, id="by another protocol"),
    ],
)
def test_only_matching_flows_are_listed(host: Netns, match: Match, count: int) -> None:
    for address, port in (("10.96.0.5", 53), ("10.96.0.5", 53), ("127.0.0.1", 9999)):
        send(host, address, port)
    with Conntrack(host.fd) as conntrack:
        assert len(conntrack.flows(match)) == count


def test_a_flow_is_found_by_its_first_tuple_only(host: Netns) -> None:
    send(host, "10.96.0.5", 53)
    with Conntrack(host.path) as conntrack:
        (flow,) = conntrack.flows(Match(destination="10.96.0.5"))
        found = conntrack.find(flow.original)
        assert found is not None
        assert (found.id, found.reply) == (flow.id, flow.reply)
        assert conntrack.find(flow.reply) is None
        assert conntrack.find(replace(flow.original, source_port=1)) is None


def test_deleting_forgets_one_flow_and_only_once(host: Netns) -> None:
    send(host, "10.96.0.5", 53)
    send(host, "127.0.0.1", 9999)
    with Conntrack(host.path) as conntrack:
        (flow,) = conntrack.flows(Match(destination="10.96.0.5"))
        assert conntrack.delete(flow)
        assert not conntrack.delete(flow)
        assert len(conntrack.flows()) == 1


def test_events_tell_of_new_and_destroyed_flows(host: Netns) -> None:
    with ConntrackEvents(host.fd) as events, Conntrack(host.fd) as conntrack:
        send(host, "10.96.0.5", 53)
        (flow,) = conntrack.flows()
        conntrack.delete(flow)
        kinds = [change.kind for change in events.read()]
    assert kinds[0] == "new" and kinds[-1] == "destroy"
