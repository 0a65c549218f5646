"""A real connection followed through real rules: client - LAN - node (DNAT, masquerade) - pod."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.netns import Netns, Server, connect, namespaces
from todoku.linux.nftables import Nft
from todoku.reach.probe import Question
from todoku.reach.trace import arming
from todoku.reach.trace.assemble import assemble
from todoku.reach.trace.collect import Ground, collect
from todoku.reach.trace.facts import Place, Trace
from todoku.reach.trace.render import full, one_line, to_json

pytestmark = pytest.mark.kernel

RULES = """
table ip services {
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    tcp dport 30080 meta mark set 0x4000 dnat to 10.1.0.2:80
    tcp dport 30081 dnat to 10.1.0.2:81
  }
  chain postrouting {
    type nat hook postrouting priority 100; policy accept;
    meta mark 0x4000 masquerade
  }
  chain filter {
    type filter hook prerouting priority -150; policy accept;
    tcp dport 30082 drop
  }
}
"""


@dataclass(frozen=True)
class Vantage:
    name: str
    netns: str
    nameservers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lab:
    ground: Ground
    node: Netns

    async def trace(self, host: str, port: int) -> Trace:
        source = self.ground.places[0]
        question = Question(host, port, timeout_seconds=0.4)
        facts = await collect(self.ground, source, Vantage(source.name, source.netns), question)
        return assemble(facts, target=f"{host}:{port}")


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with namespaces("home", "client", "node", "pod") as (home, client, node, pod):
        connect(client, node, a_name="eth0", b_name="eth0")
        connect(node, pod, a_name="veth1", b_name="eth0")
        client.ip("addr add 192.0.2.1/24 dev eth0", "route add default via 192.0.2.2")
        node.ip("addr add 192.0.2.2/24 dev eth0", "addr add 10.1.0.1/24 dev veth1")
        pod.ip("addr add 10.1.0.2/24 dev eth0", "route add default via 10.1.0.1")
        node.sysctl("net.ipv4.ip_forward", "1")
        Nft(node.path).apply(RULES)
        places = (
            Place("client", "outside", client.path, ("192.0.2.1",)),
            Place("node", "node", node.path, ("192.0.2.2", "10.1.0.1")),
            Place("pod/web", "pod", pod.path, ("10.1.0.2",), "node"),
        )
        with Server(pod, "web", 80):
            yield Lab(Ground(home.path, places), node)


def components(trace: Trace) -> list[str]:
    return [hop.component for hop in trace.hops]


async def test_a_translated_connection_shows_every_hop_with_its_evidence(lab):
    trace = await lab.trace("192.0.2.2", 30080)
    assert trace.disposition == "DELIVERED"
    assert components(trace) == ["ROUTE", "ARP", "NFT", "DNAT", "MASQ", "SOCKET", "REPLY"] or (
        components(trace) == ["ROUTE", "ARP", "NFT", "NFT", "DNAT", "MASQ", "SOCKET", "REPLY"]
    )
    hops = {hop.component: hop for hop in trace.hops}
    assert hops["ARP"].action.endswith("= node")
    assert hops["DNAT"].action == "192.0.2.2:30080 -> 10.1.0.2:80"
    assert hops["MASQ"].after == "10.1.0.1"
    assert {hops[name].evidence for name in ("ARP", "DNAT", "SOCKET")} == {
        "neigh",
        "conntrack",
        "socket",
    }
    assert hops["REPLY"].action == "pod/web -> node (un-NAT) -> client"
    first_rule = next(hop.rule for hop in trace.hops if hop.component == "NFT")
    assert first_rule is not None
    assert "dnat to 10.1.0.2:80" in first_rule.text
    assert first_rule.handle > 0


async def test_a_drop_names_the_rule(lab):
    trace = await lab.trace("192.0.2.2", 30082)
    assert trace.disposition == "DROPPED"
    last = trace.hops[-1]
    assert (last.component, last.action) == ("NFT", "services filter: drop")
    assert last.rule is not None
    assert last.rule.text == "tcp dport 30082 drop"


async def test_a_closed_port_is_refused_by_the_pod(lab):
    trace = await lab.trace("192.0.2.2", 30081)
    assert trace.disposition == "REFUSED"
    assert trace.hops[-2].where == "pod/web"


async def test_an_unanswered_arp_ends_at_the_source(lab):
    trace = await lab.trace("192.0.2.77", 80)
    assert trace.disposition == "UNANSWERED"
    assert trace.hops[-1].action == "nobody answers for 192.0.2.77"


async def test_a_trace_leaves_no_table_behind(lab):
    await lab.trace("192.0.2.2", 30080)
    for place in lab.ground.places:
        assert arming.TABLE not in Nft(place.netns).show("tables")


async def test_a_killed_trace_is_swept(lab):
    Nft(lab.node.path).apply(arming.text())
    assert arming.sweep([place.netns for place in lab.ground.places]) == [lab.node.path]


async def test_the_views_and_the_json_tell_the_same(lab):
    trace = await lab.trace("192.0.2.2", 30080)
    assert one_line(trace).startswith("client -> 192.0.2.2:30080  DELIVERED to pod/web")
    assert "dnat to 10.1.0.2:80" in full(trace)
    body = to_json(trace)
    assert [one["component"] for one in body["observations"]] == components(trace)
    assert body["disposition"] == "DELIVERED"
