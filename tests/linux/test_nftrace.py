"""Traces of several namespaces on one socket, with real packets."""

import os
import socket

import pytest

from tests.support import netns
from todoku.linux.nftables import Nft
from todoku.linux.nftrace import TraceSocket, nsid

pytestmark = pytest.mark.kernel

RULES = """
table inet t { chain in {
  type filter hook input priority 0; policy accept;
  tcp dport 80 meta nftrace set 1
  tcp dport 80 counter reject with tcp reset
  }
}
"""


@pytest.fixture
def namespaces():
    with netns.namespaces(*(f"trace-{os.getpid()}-{side}" for side in ("home", "a"))) as made:
        yield [one.path for one in made]


def test_a_traced_packet_names_its_namespace_rule_and_verdict(namespaces):
    home, there = namespaces
    Nft(there).apply(RULES)
    number = nsid(home, there)
    assert nsid(home, there) == number, "an id, once given, stays"
    with TraceSocket(home) as trace:
        _connect(there)
        events = list(trace.read())
    assert {event.nsid for event in events} == {number}
    assert [(e.kind, e.table, e.chain, e.verdict) for e in events] == [
        ("rule", "t", "in", "continue"),
        ("rule", "t", "in", "drop"),
    ]
    assert events[0].handle < events[1].handle
    assert events[0].network[12:20] == socket.inet_aton("127.0.0.1") * 2
    assert int.from_bytes(events[0].transport[2:4], "big") == 80


def _connect(netns: str) -> None:
    from todoku.linux.namespaces import socket_in

    with (
        socket_in(netns, socket.AF_INET, socket.SOCK_STREAM) as sock,
        pytest.raises(ConnectionRefusedError),
    ):
        sock.connect(("127.0.0.1", 80))
