"""Answers ARP and NDP for the announced addresses, and tells the LAN when one has moved here.

The addresses are never put on an interface.  Which interfaces take part is `eligible`'s decision; they are
looked at again when the kernel reports a change, and now and then.
Source: MetalLB v0.14.9 layer 2; RFC 5227, RFC 4861.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from todoku.aio import log as logs
from todoku.linux import packets
from todoku.linux.interfaces import Interface, change_socket, interfaces
from todoku.loadbalancer.addresses import Address
from todoku.loadbalancer.metrics import Registry

log = logs.get(__name__)

REPEAT_SECONDS, ANNOUNCE_SECONDS = 1.1, 5.0
_RESCAN_SECONDS = 10.0
DEFAULT_EXCLUDED = (
    "^docker.*", "^cbr.*", "^dummy.*", "^virbr.*", "^lxcbr.*", "^veth.*", "^lo$", "^cali.*",
    "^tunl.*", "^flannel.*", "^kube-ipvs.*", "^cni.*", "^nodelocaldns.*",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Claimed:
    """What one Service announces; `interfaces` None means every eligible one."""

    addresses: tuple[Address, ...]
    interfaces: frozenset[str] | None


def eligible(interface: Interface, excluded: Sequence[re.Pattern[str]]) -> tuple[bool, bool]:
    """Whether an interface answers ARP, and whether it answers NDP."""
    if any(pattern.search(interface.name) for pattern in excluded):
        return False, False
    if not interface.up or interface.enslaved or interface.no_arp or len(interface.mac) != 6:
        return False, False
    arp = interface.broadcast and bool(interface.ipv4)
    return arp, any(address.is_link_local for address in interface.ipv6)


def listed_interfaces(advertisements: Iterable[frozenset[str]]) -> frozenset[str] | None:
    """The union over matching advertisements; one that lists none means all (None)."""
    union: set[str] = set()
    for names in advertisements:
        if not names:
            return None
        union |= names
    return frozenset(union)


@dataclass(slots=True)
class _Port:
    """The sockets on one interface."""

    interface: Interface
    arp: socket.socket | None = None
    ndp: socket.socket | None = None
    groups: set[ipaddress.IPv6Address] = field(default_factory=set)


class Layer2:
    """The responder of one node.  `may_speak` is asked before every packet."""

    def __init__(
        self, *, excluded: Sequence[str], may_speak: Callable[[], bool], registry: Registry
    ) -> None:
        self._excluded = [re.compile(pattern) for pattern in excluded]
        self._may_speak = may_speak
        self._claims: dict[str, Claimed] = {}
        self._ports: dict[str, _Port] = {}
        self._repeats: dict[Address, asyncio.TimerHandle] = {}
        prefix = "metallb_layer2"
        self._requests = registry.counter(
            f"{prefix}_requests_received", "Number of layer2 requests received for owned IPs."
        )
        self._responses = registry.counter(
            f"{prefix}_responses_sent", "Number of layer2 responses sent for owned IPs."
        )
        self._gratuitous = registry.counter(
            f"{prefix}_gratuitous_sent", "Number of gratuitous layer2 packets sent for owned IPs."
        )

    async def run(self) -> None:
        """Follow the node's interfaces until cancelled, then close everything."""
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        changes = change_socket()
        loop.add_reader(changes, _drain, changes, changed)
        try:
            while True:
                changed.clear()
                self.rescan()
                try:
                    async with asyncio.timeout(_RESCAN_SECONDS):
                        await changed.wait()
                except TimeoutError:
                    continue
        finally:
            loop.remove_reader(changes)
            changes.close()
            self.close()

    def claim(self, service: str, claimed: Claimed) -> bool:
        """Announce a Service's addresses; whether any interface can.  Addresses new to this node are told."""
        before = self._claims.get(service)
        self._claims[service] = claimed
        self._join_groups()
        if before != claimed:
            for address in claimed.addresses:
                self._tell(address)
            self._forget(before.addresses if before else ())
        return bool(self.used(claimed))

    def release(self, service: str) -> bool:
        """Stop announcing; nothing is sent.  Whether anything was announced."""
        before = self._claims.pop(service, None)
        if before is None:
            return False
        self._forget(before.addresses)
        self._join_groups()
        return True

    def resume(self) -> None:
        """Speak again after a silence: requests from before it are void, the LAN is told of every address."""
        for port in self._ports.values():
            for sock in (port.arp, port.ndp):
                if sock is not None:
                    _discard(sock)
        self._tell_all()

    def _tell_all(self) -> None:
        for address in {one for claimed in self._claims.values() for one in claimed.addresses}:
            self._tell(address)

    def claimed(self, service: str) -> Claimed | None:
        return self._claims.get(service)

    def services(self) -> list[str]:
        return list(self._claims)

    def used(self, claimed: Claimed) -> list[str]:
        """The interfaces on which these addresses are really answered."""
        return [
            name
            for name, port in sorted(self._ports.items())
            if (claimed.interfaces is None or name in claimed.interfaces)
            and any((port.arp if one.version == 4 else port.ndp) for one in claimed.addresses)
        ]

    def rescan(self) -> None:
        """Open and close sockets so that exactly the eligible interfaces have theirs."""
        found = {one.name: one for one in interfaces()}
        for name in [one for one in self._ports if self._ports[one].interface != found.get(one)]:
            self._close(self._ports.pop(name))
        opened = False
        for name, interface in found.items():
            arp, ndp = eligible(interface, self._excluded)
            if name not in self._ports and (arp or ndp):
                opened |= self._open(interface, arp=arp, ndp=ndp)
        self._join_groups()
        if opened:
            self._tell_all()

    def close(self) -> None:
        for handle in self._repeats.values():
            handle.cancel()
        self._repeats.clear()
        for port in self._ports.values():
            self._close(port)
        self._ports.clear()

    def _open(self, interface: Interface, *, arp: bool, ndp: bool) -> bool:
        port = _Port(interface)
        loop = asyncio.get_running_loop()
        try:
            if arp:
                port.arp = packets.arp_socket(interface.name)
                loop.add_reader(port.arp, self._read_arp, port)
            if ndp:
                port.ndp = packets.ndp_socket(interface.name)
                loop.add_reader(port.ndp, self._read_ndp, port)
        except OSError as problem:
            self._close(port)
            log.warning("Interface not usable", interface=interface.name, problem=problem)
            return False
        self._ports[interface.name] = port
        log.info("Interface answers", interface=interface.name, arp=arp, ndp=ndp)
        return True

    def _close(self, port: _Port) -> None:
        for sock in (port.arp, port.ndp):
            if sock is not None:
                asyncio.get_running_loop().remove_reader(sock)
                sock.close()
        port.arp = port.ndp = None

    def _owned(self, address: Address, interface: str) -> bool:
        return any(
            address in claimed.addresses
            and (claimed.interfaces is None or interface in claimed.interfaces)
            for claimed in self._claims.values()
        )

    def _read_arp(self, port: _Port) -> None:
        while port.arp is not None:
            try:
                frame = port.arp.recv(256)
            except BlockingIOError:
                return
            except OSError as problem:  # the interface went down: the next scan decides
                log.debug("Cannot read ARP", interface=port.interface.name, problem=problem)
                return
            request = packets.decode_arp(frame)
            if request is not None:
                self._answer_arp(port, request)

    def _answer_arp(self, port: _Port, request: packets.Arp) -> None:
        mac = port.interface.mac
        if request.operation != packets.REQUEST or request.sender == request.target:
            return  # an announcement asks nothing
        if request.frame_target not in (packets.BROADCAST, mac):
            return
        if not self._owned(request.target, port.interface.name):
            return
        self._requests.add(ip=str(request.target))
        if self._may_speak() and port.arp is not None:
            self._send(port.arp, packets.arp_reply(request, mac).encode())
            self._responses.add(ip=str(request.target))

    def _read_ndp(self, port: _Port) -> None:
        while port.ndp is not None:
            try:
                received = packets.receive_solicitation(port.ndp)
            except BlockingIOError:
                return
            except OSError as problem:
                log.debug("Cannot read NDP", interface=port.interface.name, problem=problem)
                return
            if received is not None:
                self._answer_ndp(port, *received)

    def _answer_ndp(
        self, port: _Port, asked: packets.Solicitation, sender: ipaddress.IPv6Address
    ) -> None:
        if asked.source_mac is None or not self._owned(asked.target, port.interface.name):
            return
        self._requests.add(ip=str(asked.target))
        if self._may_speak() and port.ndp is not None:
            answer = packets.neighbor_advertisement(
                asked.target, port.interface.mac, solicited=True, override=False
            )
            self._send(port.ndp, answer, (str(sender), 0, 0, port.interface.index))
            self._responses.add(ip=str(asked.target))

    def _tell(self, address: Address) -> None:
        """Announce an address now and again for a few seconds, in case a packet is lost."""
        loop = asyncio.get_running_loop()
        until = loop.time() + ANNOUNCE_SECONDS

        def once() -> None:
            self._announce(address)
            if loop.time() + REPEAT_SECONDS <= until:
                self._repeats[address] = loop.call_later(REPEAT_SECONDS, once)
            else:
                self._repeats.pop(address, None)

        waiting = self._repeats.pop(address, None)
        if waiting is not None:
            waiting.cancel()
        once()

    def _announce(self, address: Address) -> None:
        if not self._may_speak():
            return
        for name, port in self._ports.items():
            if not self._owned(address, name):
                continue
            mac = port.interface.mac
            if isinstance(address, ipaddress.IPv4Address):
                if port.arp is None:
                    continue
                for packet in packets.gratuitous_arp(address, mac):
                    self._send(port.arp, packet.encode())
            elif port.ndp is not None:
                message = packets.neighbor_advertisement(
                    address, mac, solicited=False, override=True
                )
                self._send(port.ndp, message, (str(packets.ALL_NODES), 0, 0, port.interface.index))
            else:
                continue
            self._gratuitous.add(ip=str(address))

    def _forget(self, addresses: Iterable[Address]) -> None:
        """Stop telling of addresses that nobody claims any longer, and drop their counters."""
        kept = {one for claimed in self._claims.values() for one in claimed.addresses}
        for address in set(addresses) - kept:
            waiting = self._repeats.pop(address, None)
            if waiting is not None:
                waiting.cancel()
            for metric in (self._requests, self._responses, self._gratuitous):
                metric.remove(ip=str(address))

    def _join_groups(self) -> None:
        for name, port in self._ports.items():
            if port.ndp is None:
                continue
            wanted = {
                packets.solicited_node(address)
                for claimed in self._claims.values()
                for address in claimed.addresses
                if isinstance(address, ipaddress.IPv6Address) and self._owned(address, name)
            }
            for group in wanted - port.groups:
                packets.join_group(port.ndp, group, port.interface.index)
            for group in port.groups - wanted:
                packets.leave_group(port.ndp, group, port.interface.index)
            port.groups = wanted

    def _send(
        self, sock: socket.socket, data: bytes, to: tuple[str, int, int, int] | None = None
    ) -> None:
        try:
            if to is None:
                sock.send(data)
            else:
                sock.sendto(data, to)
        except OSError as problem:  # no buffer, or the link just went away: the LAN asks again
            log.debug("Cannot send", problem=problem)


def _discard(sock: socket.socket) -> None:
    """Read and forget what waits in a socket."""
    try:
        while sock.recv(1):
            pass
    except OSError:  # nothing left, or the interface went down
        return


def _drain(changes: socket.socket, changed: asyncio.Event) -> None:
    try:
        while changes.recv(1 << 16):
            changed.set()
    except BlockingIOError:
        return
    except OSError:  # ENOBUFS: changes were lost, a scan finds them
        changed.set()
