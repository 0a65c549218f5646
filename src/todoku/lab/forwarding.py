"""A local port whose connections start on a machine of the lab; and which address of a Service to use from where."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from todoku.api.meta import Object
from todoku.lab.lab import Lab
from todoku.linux.namespaces import socket_in
from todoku.reach.outcome import Code
from todoku.reach.predict import predict
from todoku.reach.targets import Address, At, Source, addresses, machine_sources
from todoku.reach.world import World

_CONNECT_SECONDS = 5.0
_CHUNK_BYTES = 1 << 16
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: the client sees a reset, not an empty answer
_WIDEST_FIRST = (At.LOADBALANCER, At.NODEPORT, At.EXTERNAL, At.CLUSTERIP, At.POD)


@dataclass(frozen=True, slots=True)
class Way:
    """From where a Service is asked, and by which address."""

    source: Source
    address: Address


@dataclass(slots=True)
class Forwarder:
    """Relays connections of `listener` to `host:port`, each made by a socket of the machine `via`.

    The machine is looked up for each connection: it may have been off and on.  `tell` hears of failures.
    """

    lab: Lab
    via: str
    host: str
    port: int
    tell: Callable[[str], None]

    async def serve(self, listener: socket.socket) -> None:
        """Accept until cancelled; connections that are open then are closed."""
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            while True:
                client, peer = await loop.sock_accept(listener)
                tasks.create_task(self._relay(client), name=f"forward-{peer[1]}")

    async def _relay(self, client: socket.socket) -> None:
        with client:
            client.setblocking(False)
            try:
                server = await self._connect()
            except (OSError, LookupError) as error:
                self.tell(f"{self.via} -> {self.host}:{self.port}: {_said(error)}")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            with server, contextlib.suppress(ConnectionError):
                async with asyncio.TaskGroup() as both:
                    both.create_task(_pump(client, server), name="forward-out")
                    both.create_task(_pump(server, client), name="forward-back")

    async def _connect(self) -> socket.socket:
        """Raises OSError, or LookupError if the machine is off."""
        machine = self.lab.host(self.via)
        if machine.namespaces is None or machine.paused:
            raise LookupError(f"{machine.short} is off")
        server = socket_in(machine.namespaces.net, socket.AF_INET, socket.SOCK_STREAM)
        try:
            server.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(_CONNECT_SECONDS):
                await loop.sock_connect(server, (self.host, self.port))
        except BaseException:
            server.close()
            raise
        return server


async def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Copy until the end of the stream, and pass the end on.  Swallows what a peer that left causes."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while data := await loop.sock_recv(source, _CHUNK_BYTES):
            await loop.sock_sendall(sink, data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def _said(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer in {_CONNECT_SECONDS:g} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)  # asyncio's own words show the address again
    return str(error)


def listen(port: int) -> socket.socket:
    """A listener on 127.0.0.1; port 0 takes a free one.  Raises OSError."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def choose(world: World, service: Object) -> Way | Code:
    """The widest address of a Service that should answer, asked from outside if outsiders can; else why none does."""
    refusal = Code.NO_ENDPOINTS
    for way in _ways(world, service):
        prediction = predict(world, way.source, way.address)
        if prediction.open:
            return way
        refusal = prediction.code
    return refusal


def _ways(world: World, service: Object) -> Iterator[Way]:
    sources = machine_sources(world)
    outsiders_first = sorted(sources, key=lambda one: one.kind != "outside")
    for kind in _WIDEST_FIRST:
        for address in addresses(world, service, (kind,)):
            if address.protocol == "TCP" and address.missing is None:
                yield from (Way(source, address) for source in outsiders_first)


def url(service: Object, way: Way, port: int) -> str:
    """What a browser opens: https where the Service's port says so (appProtocol, name or number)."""
    ports = service["spec"].get("ports") or ()
    meant: Object = next((one for one in ports if int(one["port"]) == way.address.service_port), {})
    words = (meant.get("appProtocol") or "", meant.get("name") or "")
    secure = any(word.startswith("https") for word in words) or meant.get("port") in (443, 6443)
    return f"{'https' if secure else 'http'}://127.0.0.1:{port}/"
