"""Carries the beats of `membership` over UDP, and finds the peers by listing the speaker pods."""

import asyncio
import socket
import time
from collections.abc import Callable

from todoku.aio import log as logs
from todoku.api.errors import ApiError
from todoku.api.meta import Object
from todoku.client import Client, Unreachable
from todoku.loadbalancer.membership import (
    Membership,
    PeerAddress,
    Timings,
    View,
    decode,
    encode,
    heartbeat_key,
)

log = logs.get(__name__)

PORT = 7946
_LIST_OFTEN_SECONDS, _LIST_RARELY_SECONDS, _YOUNG_SECONDS = 3.0, 30.0, 60.0


class Heartbeat:
    """The membership of this node's speaker; `changed(view)` is called whenever the view changes."""

    def __init__(
        self,
        node: str,
        *,
        bind: PeerAddress,
        secret: bytes,
        changed: Callable[[View], None],
        timings: Timings | None = None,
    ) -> None:
        self._timings = timings or Timings()
        self._key = heartbeat_key(secret)
        self._changed = changed
        # wall time grows from one life of a speaker to the next; beats of an earlier one are void
        self._members = Membership(node, self._timings, life=time.time_ns(), now=time.monotonic())
        self._view = self._members.view()
        self._sock = _bound(bind)

    @property
    def view(self) -> View:
        return self._view

    def may_speak(self) -> bool:
        """Whether this node may answer right now; asked before every packet."""
        return self._view.may_announce and not self._members.stale(time.monotonic())

    def expect(self, peers: dict[str, PeerAddress]) -> None:
        """Take the list of speakers by node name."""
        self._members.expect(peers, time.monotonic())

    async def run(self) -> None:
        """Beat and listen until cancelled; then tell the peers that this speaker leaves."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._read)
        try:
            while True:
                self._tick()
                await asyncio.sleep(self._timings.tick_seconds)
        finally:
            loop.remove_reader(self._sock)
            self._send(leaving=True)
            self._sock.close()

    async def follow_pods(self, client: Client, namespace: str, labels: str) -> None:
        """Keep the list of speakers until cancelled; often at first, while the others start too."""
        born = time.monotonic()
        while True:
            try:
                pods = (await client.list("pods", namespace, labels=labels)).items
                self.expect(peers_of(pods))
            except (ApiError, Unreachable, TimeoutError) as problem:
                log.debug("Cannot list the speakers", problem=problem)
            young = time.monotonic() - born < _YOUNG_SECONDS
            await asyncio.sleep(_LIST_OFTEN_SECONDS if young else _LIST_RARELY_SECONDS)

    def _tick(self) -> None:
        if self._members.tick(time.monotonic()):
            self._send()
        self._look()

    def _read(self) -> None:
        while True:
            try:
                datagram, sender = self._sock.recvfrom(4096)
            except BlockingIOError:
                break
            except OSError as problem:  # an ICMP error for an earlier beat: that peer is down
                log.debug("A peer cannot be reached", problem=problem)
                continue
            beat = decode(datagram, self._key)
            if beat is None:
                log.debug("Foreign datagram ignored", sender=sender[0])
                continue
            now = time.monotonic()
            if self._members.stale(now):
                self._members.tick(now)  # notice our own absence before believing anything old
            wants_answer = self._members.heard(beat, PeerAddress(*sender[:2]), now)
            self._look()  # give way before the echo allows the other to speak
            if wants_answer:
                self._send()

    def _send(self, *, leaving: bool = False) -> None:
        datagram = encode(self._members.beat(time.monotonic(), leaving=leaving), self._key)
        for address in self._members.addresses():
            try:
                self._sock.sendto(datagram, address)
            except OSError as problem:  # no route while the link is down: silence is the message
                log.debug("Cannot send a beat", peer=address.host, problem=problem)

    def _look(self) -> None:
        view = self._members.view()
        if view == self._view:
            return
        gone, come = self._view.alive - view.alive, view.alive - self._view.alive
        log.info(
            "Membership changed",
            alive=",".join(sorted(view.alive)), gone=",".join(sorted(gone)),
            come=",".join(sorted(come)), may_announce=view.may_announce,
        )  # fmt: skip
        self._view = view
        self._changed(view)


def peers_of(pods: list[Object]) -> dict[str, PeerAddress]:
    """Where the speakers listen, by node; pods without node or address, or at their end, do not count."""
    found = {}
    for pod in pods:
        status = pod.get("status") or {}
        node = (pod.get("spec") or {}).get("nodeName")
        if node and status.get("podIP") and status.get("phase") not in ("Succeeded", "Failed"):
            found[node] = PeerAddress(status["podIP"], PORT)
    return found


def _bound(bind: PeerAddress) -> socket.socket:
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(tuple(bind))
    except OSError:
        sock.close()
        raise
    return sock
