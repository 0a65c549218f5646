"""A real connection followed through real rules: client - LAN - node (DNAT, masquerade) - pod."""

import asyncio
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.netns import Netns, Server, ask, connect, namespaces
from todoku.linux.nftables import Nft
from todoku.reach.probe import Question, Transport
from todoku.reach.trace import arming, pcapng
from todoku.reach.trace.assemble import assemble
from todoku.reach.trace.collect import Ground, NothingHeard, collect, overhear
from todoku.reach.trace.facts import Place, Trace
from todoku.reach.trace.render import full, one_line, to_json

pytestmark = pytest.mark.kernel

BACKENDS = [("10.1.0.2", port) for port in (80, 81, 53, 54)]
RULES = """
table ip services {
  chain prerouting {
    type nat hook prerouting priority -100; policy accept;
    tcp dport 30080 meta mark set 0x4000 dnat to 10.1.0.2:80
    tcp dport 30081 dnat to 10.1.0.2:81
    udp dport 30053 dnat to 10.1.0.2:53
    udp dport 30054 dnat to 10.1.0.2:54
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
    client: Netns
    node: Netns

    async def trace(
        self, host: str, port: int, protocol: Transport = "TCP", *, record: bool = False
    ) -> Trace:
        source = self.ground.places[0]
        question = Question(host, port, protocol, timeout_seconds=0.4)
        vantage = Vantage(source.name, source.netns)
        facts = await collect(self.ground, source, vantage, question, record=record)
        return assemble(facts, target=f"{host}:{port}")

    async def overhear(
        self, port: int, protocol: Transport = "TCP", *, wait_seconds: float = 3.0
    ) -> Trace:
        question = Question("192.0.2.2", port, protocol, timeout_seconds=0.4)
        facts = await overhear(
            self.ground, self.ground.places[0], question, BACKENDS, wait_seconds=wait_seconds
        )
        return assemble(facts, target=f"192.0.2.2:{port}")


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
        with Server(pod, "web", 80), Server(pod, "names", 53, kind=socket.SOCK_DGRAM):
            yield Lab(Ground(home.path, places), client, node)


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


@pytest.mark.parametrize(("port", "ends"), [(30053, "DELIVERED"), (30054, "REFUSED")])
async def test_a_datagram_is_followed_like_a_connection(lab, port, ends):
    trace = await lab.trace("192.0.2.2", port, "UDP")
    assert trace.disposition == ends
    assert trace.packet.endswith(f"192.0.2.2:{port} UDP")
    dnat = next(hop for hop in trace.hops if hop.component == "DNAT")
    assert dnat.after == f"10.1.0.2:{port - 30000}"


@pytest.mark.parametrize(
    ("port", "kind", "ends"),
    [
        (30080, socket.SOCK_STREAM, "DELIVERED"),
        (30081, socket.SOCK_STREAM, "REFUSED"),
        (30082, socket.SOCK_STREAM, "DROPPED"),
        (30053, socket.SOCK_DGRAM, "DELIVERED"),
        (30054, socket.SOCK_DGRAM, "REFUSED"),
    ],
)
async def test_somebody_elses_connection_tells_the_same_story(lab, port, kind, ends):
    protocol: Transport = "UDP" if kind == socket.SOCK_DGRAM else "TCP"
    listening = asyncio.create_task(lab.overhear(port, protocol))
    await _armed(lab, listening)
    await asyncio.to_thread(lambda: ask(lab.client, "192.0.2.2", port, kind=kind, timeout=0.6))
    trace = await listening
    assert trace.disposition == ends
    assert trace.latency_ms is None
    ours = await lab.trace("192.0.2.2", port, protocol)
    assert components(trace) == components(ours)


async def _armed(lab, listening: asyncio.Task[Trace]) -> None:
    """Wait until the trace listens; fail as it failed."""
    while arming.TABLE not in Nft(lab.client.path).show("tables"):
        if listening.done():
            await listening
        await asyncio.sleep(0.01)


async def test_among_many_connections_one_is_followed(lab):
    listening = asyncio.create_task(lab.overhear(30080))
    await _armed(lab, listening)
    asked = [asyncio.to_thread(ask, lab.client, "192.0.2.2", 30080) for _ in range(8)]
    await asyncio.gather(*asked)
    trace = await listening
    assert components(trace).count("DNAT") == 1
    assert components(trace).count("SOCKET") == 1


async def test_waiting_for_nobody_ends(lab):
    with pytest.raises(NothingHeard, match=r"nobody on client connected to 192\.0\.2\.2:30080"):
        await lab.overhear(30080, wait_seconds=0.05)


async def test_the_frames_of_the_connection_and_no_others_are_recorded(lab, tmp_path):
    noise = asyncio.create_task(asyncio.to_thread(ask, lab.client, "192.0.2.2", 30080))
    trace = await lab.trace("192.0.2.2", 30080, record=True)
    await noise
    seen = {(one.place, one.frame.interface) for one in trace.frames}
    assert seen == {("client", "eth0"), ("node", "eth0"), ("node", "veth1"), ("pod/web", "eth0")}
    port = int(trace.packet.split(" ")[0].rpartition(":")[2])
    firsts = {
        struct.unpack_from(">H", one.frame.data, 34)[0]
        for one in trace.frames
        if one.place == "client" and one.frame.outgoing and one.frame.data[12:14] == b"\x08\x00"
    }
    assert firsts == {port}
    file = tmp_path / "one.pcapng"
    file.write_bytes(pcapng.file(trace.frames))
    shown = lab.node.run("tcpdump", "-n", "-r", str(file), "tcp")
    assert "Flags [S]" in shown
    assert "10.1.0.2.80" in shown


async def test_lost_events_are_said(lab, monkeypatch):
    def overrun(self):
        raise OSError(105, "No buffer space available")

    monkeypatch.setattr("todoku.linux.nftrace.TraceSocket.read", overrun)
    trace = await lab.trace("192.0.2.2", 30080)
    assert trace.disposition == "DELIVERED"
    assert "hops may be missing" in full(trace)
    assert to_json(trace)["notes"]
