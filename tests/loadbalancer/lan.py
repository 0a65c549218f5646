"""A LAN of namespaces with speakers on it: real heartbeats, real ARP, no API server."""

from __future__ import annotations

import asyncio
import ipaddress
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.netns import Netns, namespaces
from todoku.linux import packets
from todoku.loadbalancer.addresses import parse_address
from todoku.loadbalancer.election import winner
from todoku.loadbalancer.heartbeat import PORT, Heartbeat
from todoku.loadbalancer.layer2 import DEFAULT_EXCLUDED, Claimed, Layer2
from todoku.loadbalancer.membership import PeerAddress, View
from todoku.loadbalancer.metrics import Registry

ADDRESS = ipaddress.IPv4Address("192.168.11.136")


class Speaker:
    """A heartbeat and a responder in a namespace of their own; announces what the election gives it."""

    def __init__(
        self,
        where: Netns,
        number: int,
        everybody: dict[str, PeerAddress],
        *,
        secret: bytes = b"key",
        address: str = str(ADDRESS),
    ) -> None:
        self.where, self.name = where, where.name
        self._bind = PeerAddress(f"192.168.11.{130 + number}", PORT)
        self._everybody, self._secret = everybody, secret
        self.address = address
        self.interfaces: frozenset[str] | None = None
        self.registry = Registry()
        self.view = View(frozenset(), may_announce=False)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._up = threading.Event()
        self._thread = threading.Thread(target=where.call, args=(asyncio.run, self._run()))
        self._thread.start()
        assert self._up.wait(5)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        heartbeat = Heartbeat(
            self.name, bind=self._bind, secret=self._secret, changed=self._changed
        )
        heartbeat.expect(self._everybody)
        self.layer2 = Layer2(
            excluded=DEFAULT_EXCLUDED, may_speak=heartbeat.may_speak, registry=self.registry
        )
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.run()) for part in (self.layer2, heartbeat)]
            self._up.set()
            await self._stop.wait()
            for task in running:
                task.cancel()

    def _changed(self, view: View) -> None:
        spoke, self.view = self.view.may_announce, view
        if winner(view.alive, self.address) == self.name and view.may_announce:
            claimed = parse_address(self.address)
            assert claimed is not None
            self.layer2.claim("default/web", Claimed((claimed,), self.interfaces))
        else:
            self.layer2.release("default/web")
        if view.may_announce and not spoke:
            self.layer2.resume()

    def freeze(self, seconds: float) -> None:
        """Its loop stands still, as a process that is stopped and goes on."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def stop(self) -> None:
        """Leave gracefully."""
        if self._thread.is_alive():
            assert self._loop is not None
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(5)

    def cut(self) -> None:
        self.where.ip("link set eth0 down")

    def heal(self) -> None:
        self.where.ip("link set eth0 up")


@dataclass(frozen=True)
class Heard:
    """An ARP packet that the host saw, and when (monotonic seconds)."""

    at: float
    packet: packets.Arp


class Host:
    """A host on the LAN that asks for addresses and listens to everything."""

    def __init__(self, where: Netns) -> None:
        self.where = where
        self._sock = where.call(packets.arp_socket, "eth0")
        self.mac = self._sock.getsockname()[4]
        self._own = ipaddress.IPv4Address("192.168.11.201")

    def close(self) -> None:
        self._sock.close()

    def ask(self, *, wait: float = 0.05) -> list[Heard]:
        """One broadcast request for ADDRESS; everything heard until `wait` has passed."""
        request = packets.Arp(
            packets.REQUEST, self.mac, self._own, b"\0" * 6, ADDRESS, frame_source=self.mac
        )
        self._sock.send(request.encode())
        return self.listen(wait)

    def listen(self, seconds: float) -> list[Heard]:
        heard, until = [], time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if not select.select([self._sock], [], [], left)[0]:
                break
            packet = packets.decode_arp(self._sock.recv(256))
            if packet is not None:
                heard.append(Heard(time.monotonic(), packet))
        return heard

    def answers(self, *, wait: float = 0.05) -> list[bytes]:
        """The MACs that answered one request."""
        heard = self.ask(wait=wait)
        return [
            one.packet.sender_mac for one in heard
            if one.packet.operation == packets.REPLY and one.packet.frame_target == self.mac
        ]  # fmt: skip

    def until_answered(self, by: bytes | None = None, *, limit: float = 5.0) -> float:
        """Ask again and again; seconds until somebody (that MAC) answers."""
        start = time.monotonic()
        while time.monotonic() - start < limit:
            found = self.answers(wait=0.02)
            if found and (by is None or by in found):
                return time.monotonic() - start
        raise AssertionError(f"nobody answered in {limit} s")


@contextmanager
def lan(*names: str) -> Iterator[tuple[dict[str, Netns], Host]]:
    """Nodes .131, .132, … and a host .201 on one bridge."""
    with namespaces("switch", "host", *names) as (switch, host_ns, *nodes):
        switch.ip("link add br0 type bridge forward_delay 0", "link set br0 up")
        for number, where in enumerate([*nodes, host_ns], 1):
            address = "192.168.11.201" if where is host_ns else f"192.168.11.{130 + number}"
            switch.ip(
                f"link add p{number} type veth peer name eth0 netns {where.path}",
                f"link set p{number} master br0 up",
            )
            where.sysctl("net.ipv6.conf.eth0.accept_dad", "0")
            where.ip(f"addr add {address}/24 dev eth0", "link set eth0 up")
        host = Host(host_ns)
        try:
            yield dict(zip(names, nodes, strict=True)), host
        finally:
            host.close()
