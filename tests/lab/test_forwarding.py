"""A local port that leads into the lab: which address it takes, and that bytes pass whole both ways."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import cast

import pytest

from tests.reach.article import LB_IP, endpoint_slice, service, with_ingress, world
from tests.support.netns import Netns, Server, connect, namespaces
from todoku.lab.forwarding import Forwarder, Way, choose, listen, url
from todoku.lab.lab import Lab, Machine
from todoku.linux.namespaces import Namespaces
from todoku.reach.outcome import Code

CHOSEN = {
    "a load balancer, from outside": (with_ingress(service("LoadBalancer")), "rhel8host", LB_IP, 8080),
    "a pending one, by its node port": (service("LoadBalancer"), "rhel8host", "192.168.11.131", 30080),
    "a node port, from outside": (service("NodePort"), "rhel8host", "192.168.11.131", 30080),
    "a ClusterIP, from a node": (service(), "master1", "10.96.7.7", 8080),
    "a headless one, by a pod": (service(clusterIP="None", clusterIPs=["None"]), "master1", "10.244.1.2", 80),
}  # fmt: skip


@pytest.mark.parametrize(("obj", "source", "host", "port"), CHOSEN.values(), ids=CHOSEN)
def test_the_widest_address_that_answers_is_chosen(obj, source, host, port):
    found = choose(world(obj), obj)
    assert isinstance(found, Way)
    assert (found.source.name, found.address.host, found.address.port) == (source, host, port)


def test_a_service_that_answers_nowhere_says_why():
    obj = service("NodePort")
    assert choose(world(obj, slices=[endpoint_slice({})]), obj) is Code.NO_ENDPOINTS


@pytest.mark.parametrize(
    ("port", "scheme"),
    [({}, "http"), ({"appProtocol": "https"}, "https"), ({"name": "https-web"}, "https")],
)
def test_the_url_is_https_where_the_service_says_so(port, scheme):
    obj = service("NodePort")
    obj["spec"]["ports"][0].update(port)
    published = endpoint_slice() | {"ports": [{"name": port.get("name", ""), "port": 80}]}
    way = choose(world(obj, slices=[published]), obj)
    assert isinstance(way, Way)
    assert url(obj, way, 4000) == f"{scheme}://127.0.0.1:4000/"


@dataclass(frozen=True)
class OneMachine:
    """A lab with one machine."""

    machine: Machine

    def host(self, name: str) -> Machine:
        assert name == self.machine.name
        return self.machine


@dataclass(frozen=True)
class Forwarded:
    port: int
    said: list[str]


@pytest.fixture(scope="module")
def net() -> Iterator[tuple[Netns, Netns]]:
    with namespaces("host", "server") as (host, server):
        connect(host, server, a_name="eth0", b_name="eth0")
        host.ip("addr add 192.0.2.1/24 dev eth0")
        server.ip("addr add 192.0.2.2/24 dev eth0")
        with Server(server, "web", 80):
            yield host, server


@contextlib.asynccontextmanager
async def forwarded(host: Netns | None, port: int) -> AsyncIterator[Forwarded]:
    place = Namespaces(net=host.path) if host else None
    lab = cast(Lab, OneMachine(Machine("a", "host", "192.0.2.1", place)))
    said: list[str] = []
    with listen(0) as listener:
        serving = asyncio.create_task(
            Forwarder(lab, "a", "192.0.2.2", port, said.append).serve(listener)
        )
        try:
            yield Forwarded(listener.getsockname()[1], said)
        finally:
            serving.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await serving


@pytest.mark.kernel
async def test_connections_start_on_the_machine(net):
    async with forwarded(net[0], 80) as found:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            assert await reader.read() == b"web 192.0.2.1"
            writer.close()
            await writer.wait_closed()
    assert found.said == []


@pytest.mark.kernel
async def test_a_megabyte_comes_back_whole_after_the_senders_end(net):
    sent = bytes(range(256)) * 4096
    echo = net[1].socket()
    echo.bind(("", 7))
    echo.listen()
    answering = asyncio.create_task(asyncio.to_thread(_echo, echo))
    async with forwarded(net[0], 7) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent
        writer.close()
        await writer.wait_closed()
    await answering


def _echo(listener: socket.socket) -> None:
    with listener:
        connection, _ = listener.accept()
        with connection:
            received = bytearray()
            while data := connection.recv(65536):
                received += data
            connection.sendall(received)


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("on", "reason"), [(True, "a -> 192.0.2.2:81: Connection refused"), (False, "a is off")]
)
async def test_a_failure_is_a_reset_and_a_line(net, on, reason):
    async with forwarded(net[0] if on else None, 81) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        with pytest.raises(ConnectionResetError):
            await reader.readexactly(1)
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
    assert len(found.said) == 1
    assert reason in found.said[0]
