"""The name server on loopback, against our API server; clients speak raw DNS."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import dnslib
import pytest

from tests.support.apiserver import RunningApi, running_api
from tests.support.services import endpoint, service, slice_of
from todoku.api import errors
from todoku.api.meta import Object
from todoku.client import Client, ClientConfig
from todoku.dns import manifest
from todoku.dns.forward import upstreams_of
from todoku.dns.main import DnsServer, Settings

NAME = "web.default.svc.cluster.local"


@dataclass
class Running:
    api: RunningApi
    client: Client
    server: DnsServer

    async def ask(
        self, name: str, kind: str = "A", *, tcp: bool = False, **options: Any
    ) -> dnslib.DNSRecord:
        query = dnslib.DNSRecord.question(name, kind)
        if options.get("edns"):
            query.add_ar(dnslib.EDNS0(udp_len=options["edns"]))
        return dnslib.DNSRecord.parse(await self.raw(query.pack(), tcp=tcp))

    async def raw(self, data: bytes, *, tcp: bool = False) -> bytes:
        async with asyncio.timeout(3):
            if tcp:
                return (await self.tcp(data))[0]
            return await udp(self.server.port, data)

    async def tcp(self, *queries: bytes) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.server.port)
        for query in queries:
            writer.write(len(query).to_bytes(2, "big") + query)
        answers = []
        for _ in queries:
            size = int.from_bytes(await reader.readexactly(2), "big")
            answers.append(await reader.readexactly(size))
        writer.close()
        await writer.wait_closed()
        return answers

    async def until(self, name: str, code: str) -> dnslib.DNSRecord:
        async with asyncio.timeout(5):
            while True:
                reply = await self.ask(name)
                if dnslib.RCODE.get(reply.header.rcode) == code:
                    return reply
                await asyncio.sleep(0.005)


async def udp(port: int, data: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.setblocking(False)
        await loop.sock_connect(client, ("127.0.0.1", port))
        await loop.sock_sendall(client, data)
        return await loop.sock_recv(client, 65_535)


def code(reply: dnslib.DNSRecord) -> str:
    return str(dnslib.RCODE.get(reply.header.rcode))


def data(reply: dnslib.DNSRecord) -> list[str]:
    return [str(rr.rdata) for rr in reply.rr]


class FakeUpstream(asyncio.DatagramProtocol):
    """Answers every A question with one address; silent when told so."""

    def __init__(self) -> None:
        self.silent = False
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self.silent:
            return
        query = dnslib.DNSRecord.parse(data)
        reply = query.reply()
        reply.add_answer(*dnslib.RR.fromZone(f"{query.q.qname} 60 A 192.0.2.80"))
        assert self.transport is not None
        self.transport.sendto(reply.pack(), addr)


async def start(api: RunningApi, client: Client, **settings: Any) -> AsyncIterator[Running]:
    config = Settings(
        host="127.0.0.1", port=0, health_port=0, ready_port=0, metrics_port=0, lameduck_seconds=0,
        **settings,
    )  # fmt: skip
    server, stop = DnsServer(client, config), asyncio.Event()
    task = asyncio.create_task(server.run(stop))
    async with asyncio.timeout(5):
        while not (server.ready and server.port):
            await asyncio.sleep(0.005)
    yield Running(api, client, server)
    stop.set()
    await task


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    async with running_api() as api, Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client:
        await client.create("services", stored("web", "10.96.0.20"))
        async for server in start(api, client):
            yield server


def stored(name: str, address: str, **spec: Any) -> Object:
    made = service(name, cluster_ip=address, **spec)
    del made["status"]
    return made


@pytest.mark.parametrize("tcp", [False, True], ids=["UDP", "TCP"])
async def test_a_service_has_its_address(running: Running, tcp: bool) -> None:
    reply = await running.ask(NAME, tcp=tcp)
    assert data(reply) == ["10.96.0.20"]
    assert reply.header.aa and reply.header.ra and reply.header.qr


async def test_names_are_not_case_sensitive_and_come_back_as_asked(running: Running) -> None:
    reply = await running.ask("WEB.Default.svc.CLUSTER.local")
    assert data(reply) == ["10.96.0.20"]
    assert str(reply.q.qname) == "WEB.Default.svc.CLUSTER.local."


async def test_denials_carry_the_soa(running: Running) -> None:
    for name, kind, expected in ((NAME, "AAAA", "NOERROR"), ("no." + NAME, "A", "NXDOMAIN")):
        reply = await running.ask(name, kind)
        assert code(reply) == expected
        assert not reply.rr and reply.auth[0].rtype == dnslib.QTYPE.SOA


async def test_the_search_path_of_a_pod_finds_a_service_of_another_namespace(
    running: Running,
) -> None:
    """ndots:5, so every candidate is asked until one exists; none may stall."""
    search = ("other.svc.cluster.local", "svc.cluster.local", "cluster.local")
    codes = [code(await running.ask(f"web.default.{suffix}")) for suffix in search]
    assert codes == ["NXDOMAIN", "NOERROR", "NXDOMAIN"]


async def test_answers_follow_the_cluster_at_once(running: Running) -> None:
    name = "late.default.svc.cluster.local"
    assert code(await running.ask(name)) == "NXDOMAIN"
    await running.client.create("services", stored("late", "10.96.0.30"))
    assert data(await running.until(name, "NOERROR")) == ["10.96.0.30"]
    await running.client.delete("services", "late", "default")
    await running.until(name, "NXDOMAIN")


async def test_the_addresses_of_a_headless_service_take_turns(running: Running) -> None:
    await running.client.create("services", stored("db", "None", ports=()))
    ends = [endpoint(f"10.244.1.{number}") for number in (2, 3, 4)]
    await running.client.create("endpointslices.discovery.k8s.io", slice_of(*ends, name="db"))
    await running.until("db.default.svc.cluster.local", "NOERROR")
    first = {data(await running.ask("db.default.svc.cluster.local"))[0] for _ in range(6)}
    assert first == {"10.244.1.2", "10.244.1.3", "10.244.1.4"}


async def test_an_answer_too_big_for_udp_is_cut_off_and_whole_over_tcp(running: Running) -> None:
    await running.client.create("services", stored("big", "None"))
    ends = [endpoint(f"10.244.1.{number}") for number in range(2, 102)]
    await running.client.create("endpointslices.discovery.k8s.io", slice_of(*ends, name="big"))
    name = "big.default.svc.cluster.local"
    short = await running.until(name, "NOERROR")
    assert short.header.tc and not short.rr
    assert len((await running.ask(name, tcp=True)).rr) == 100


async def test_edns_is_answered_and_widens_the_packet(running: Running) -> None:
    reply = await running.ask(NAME, edns=4096)
    assert [rr.rtype for rr in reply.ar] == [dnslib.QTYPE.OPT]
    assert not (await running.ask(NAME)).ar


async def test_a_remembered_answer_carries_the_new_identifier(running: Running) -> None:
    identifiers = set()
    for number in (7, 8, 9):
        query = dnslib.DNSRecord.question(NAME)
        query.header.id = number
        identifiers.add(dnslib.DNSRecord.parse(await running.raw(query.pack())).header.id)
    assert identifiers == {7, 8, 9}
    assert running.server.resolver.metrics.hits.value() == 2


async def test_one_tcp_connection_answers_several_questions(running: Running) -> None:
    queries = [dnslib.DNSRecord.question(NAME, kind).pack() for kind in ("A", "AAAA", "A")]
    replies = await running.tcp(*(bytes(query) for query in queries))
    assert [len(dnslib.DNSRecord.parse(reply).rr) for reply in replies] == [1, 0, 1]


BAD = [
    pytest.param(b"\x12\x34" + bytes(10), "FORMERR", id="no question"),
    pytest.param(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\xc0", "FORMERR", id="garbage"),
    pytest.param(b"\x12\x34\x20\x00\x00\x01" + bytes(6) + b"\x00\x00\x01\x00\x01", "NOTIMP", id="notify"),
    pytest.param(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"\x00\x00\x01\x00\x03", "REFUSED", id="chaos"),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), BAD)
async def test_bad_queries_get_a_code(running: Running, query: bytes, expected: str) -> None:
    reply = await running.raw(query)
    assert reply[:2] == query[:2]
    assert dnslib.RCODE.get(reply[3] & 15) == expected


async def test_datagrams_that_are_no_queries_get_nothing(running: Running) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await udp(running.server.port, b"short")
    assert data(await running.ask(NAME)) == ["10.96.0.20"]


async def test_names_outside_are_refused_at_once_without_an_upstream(running: Running) -> None:
    started = asyncio.get_running_loop().time()
    assert code(await running.ask("example.com")) == "REFUSED"
    assert code(await running.ask("9.9.168.192.in-addr.arpa", "PTR")) == "NXDOMAIN"
    assert asyncio.get_running_loop().time() - started < 0.5


async def test_an_upstream_is_used_while_it_answers_and_put_aside_when_not() -> None:
    loop = asyncio.get_running_loop()
    upstream = FakeUpstream()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: upstream, local_addr=("127.0.0.1", 0)
    )
    port = transport.get_extra_info("sockname")[1]
    async with running_api() as api, Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client:
        out = {"type": "ExternalName", "externalName": "example.com"}
        made = stored("out", "", **out)
        del made["spec"]["clusterIP"], made["spec"]["clusterIPs"]
        await client.create("services", made)
        async for server in start(api, client, upstreams=("127.0.0.1",), upstream_port=port):
            assert data(await server.until("example.com", "NOERROR")) == ["192.0.2.80"]
            external = await server.ask("out.default.svc.cluster.local")
            assert data(external) == ["example.com.", "192.0.2.80"]
            upstream.silent = True
            assert code(await server.ask("example.org")) == "REFUSED"
            started = loop.time()
            assert code(await server.ask("example.net")) == "REFUSED"
            assert loop.time() - started < 0.5
    transport.close()


RESOLV = [
    pytest.param("nameserver 192.0.2.1\nsearch x\n", ("192.0.2.1",), id="one"),
    pytest.param("nameserver 127.0.0.53\nnameserver 10.96.0.10\n", (), id="those that lead to us"),
    pytest.param(
        "# nameserver 192.0.2.1\nnameserver\nnameserver nonsense\n", (), id="nothing usable"
    ),
]


@pytest.mark.parametrize(("text", "expected"), RESOLV)
def test_upstreams_come_from_resolv_conf(text: str, expected: tuple[str, ...]) -> None:
    assert upstreams_of(text, own=frozenset({"10.96.0.10"})) == expected


async def test_the_manifest_is_what_the_api_server_accepts() -> None:
    async with running_api() as api, Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client:
        for obj in manifest(address="10.96.0.10", domain="cluster.local"):
            group = obj["apiVersion"].rpartition("/")[0]
            plural = obj["kind"].lower() + "s"
            with suppress(errors.AlreadyExists):  # the server brings some of the roles itself
                await client.create(f"{plural}.{group}" if group else plural, obj)
        made = await client.get("services", "kube-dns", "kube-system")
        assert made["spec"]["clusterIP"] == "10.96.0.10"
