"""Runs one armed connection and collects what the kernel says about it: nft, conntrack, neigh, route, socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from todoku.linux import conntrack
from todoku.linux.conntrack import Conntrack, Flow
from todoku.linux.links import Link, Links, Route
from todoku.linux.nftables import Nft, NftError
from todoku.linux.nftrace import TraceSocket, nsid
from todoku.linux.process import pids_in
from todoku.reach.probe import Attempt, Question, Tuple5, Vantage, attempt
from todoku.reach.trace import arming, decode
from todoku.reach.trace.facts import Facts, Place, Rule, Step, Way

_SETTLE_SECONDS = 0.02  # replies and events of the last hop arrive after connect() returns
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a lab's packets can go: every node, host, gateway and pod; `home` hears all their traces."""

    home: str
    places: Sequence[Place]


async def collect(ground: Ground, source: Place, vantage: Vantage, question: Question) -> Facts:
    """Trace one connection from `source`.  Raises OSError if a namespace is gone."""
    tagged = replace(question, speak=False, type_of_service=arming.TYPE_OF_SERVICE)
    names = {nsid(ground.home, place.netns): place.name for place in ground.places}
    links = {place.name: _links(place) for place in ground.places}
    with TraceSocket(ground.home) as trace:
        with arming.armed([place.netns for place in ground.places]):
            result = await attempt(vantage, tagged)
            await asyncio.sleep(_SETTLE_SECONDS)
            events = list(trace.read())
        steps = decode.steps(events, names, links)
    sent = result.witness or Tuple5(question.protocol, "", 0, question.host, question.port)
    return await asyncio.to_thread(_facts, ground, source, sent, result, steps, links)


def _facts(
    ground: Ground,
    source: Place,
    sent: Tuple5,
    result: Attempt,
    steps: Sequence[Step],
    links: Mapping[str, Mapping[int, Link]],
) -> Facts:
    places = {place.name: place for place in ground.places}
    flows = own_flows(sent, {place.name: _flows(place) for place in ground.places})
    way = _way(source, sent.destination, links[source.name])
    return Facts(
        source=source,
        sent=sent,
        outcome=result.outcome,
        latency_ms=result.latency_ms,
        places=places,
        steps=steps,
        flows=flows,
        rules=_rules(places, steps),
        way=way,
        neighbour_mac=_neighbour(source, way, sent.destination),
        macs={
            link.mac: name
            for name, known in links.items()
            for link in known.values()
            if link.mac and link.name != "lo" and places[name].kind != "pod"
        },
        listener=_listener(places.values(), flows, sent),
    )


def own_flows(sent: Tuple5, tables: Mapping[str, Sequence[Flow]]) -> dict[str, tuple[Flow, ...]]:
    """The flows of one connection in every place, followed through translation (pure)."""
    protocol = conntrack.UDP if sent.protocol == "UDP" else conntrack.TCP
    wanted = {
        conntrack.Tuple(
            sent.source, sent.destination, protocol, sent.source_port, sent.destination_port
        )
    }
    found: dict[str, set[Flow]] = {}
    grown = True
    while grown:
        grown = False
        for place, flows in tables.items():
            for flow in flows:
                known = found.setdefault(place, set())
                if flow.original not in wanted or flow in known:
                    continue
                known.add(flow)
                reply = flow.reply
                wanted.add(
                    conntrack.Tuple(
                        reply.destination, reply.source, protocol, reply.destination_port, reply.source_port,
                    )
                )  # fmt: skip
                grown = True
    return {place: tuple(flows) for place, flows in found.items() if flows}


def _flows(place: Place) -> list[Flow]:
    with Conntrack(place.netns) as table:
        return table.flows()


def _links(place: Place) -> dict[int, Link]:
    with Links(place.netns) as links:
        return {link.index: link for link in links.links()}


def _rules(
    places: Mapping[str, Place], steps: Iterable[Step]
) -> dict[tuple[str, str, str, int], Rule]:
    """The text of every rule that a step names; only those chains are listed, never a whole table."""
    chains = dict.fromkeys(
        (step.place, step.family, step.table, step.chain) for step in steps if step.kind != "seen"
    )
    found: dict[tuple[str, str, str, int], Rule] = {}
    for place, family, table, chain in chains:
        with contextlib.suppress(NftError):  # the chain is gone since
            listing = Nft(places[place].netns).show(f"chain {family} {table} {chain}", handles=True)
            for (_, _, handle), rule in decode.rules(listing).items():
                found[(place, table, chain, handle)] = rule
    return found


def _way(source: Place, destination: str, links: Mapping[int, Link]) -> Way | None:
    with Links(source.netns) as kernel:
        routes = kernel.routes()
    if destination in source.addresses:
        return Way("its own address", "", "lo")
    best = best_route(routes, destination)
    if best is None or best.kind != "unicast":
        return None
    link = links.get(best.index)
    name = link.name if link else str(best.index)
    shown = "default" if best.destination == "0.0.0.0/0" else best.destination
    via = f" via {best.via}" if best.via else " on link"
    return Way(f"{shown}{via} dev {name}", best.via, name)


def best_route(routes: Iterable[Route], destination: str) -> Route | None:
    """The longest matching prefix, then the lowest metric (pure; RFC 1812 5.2.4.3)."""
    ip = ip_address(destination)
    matching = [
        route
        for route in routes
        if route.destination
        and (network := ip_network(route.destination)).version == ip.version
        and ip in network
    ]
    return min(
        matching, key=lambda r: (-ip_network(r.destination).prefixlen, r.metric), default=None
    )


def _neighbour(source: Place, way: Way | None, destination: str) -> str:
    if way is None or way.interface == "lo":
        return ""
    with Links(source.netns) as kernel:
        entries = kernel.neighbours(way.interface)
    asked = way.next_hop or destination
    usable = (one for one in entries if one.address == asked and one.state & _USABLE)
    return next((one.mac for one in usable), "")


def _listener(places: Iterable[Place], flows: Mapping[str, Sequence[Flow]], sent: Tuple5) -> str:
    """The process that listens where the connection arrived: `httpd (pid 77)`; "" if it is not found."""
    backends = {
        (flow.reply.source, flow.reply.source_port)
        for known in flows.values()
        for flow in known
        if flow.translated
    } or {(sent.destination, sent.destination_port)}
    for place in places:
        for address, port in backends:
            if address in place.addresses:
                return _process(place, port, udp=sent.protocol == "UDP")
    return ""


def _process(place: Place, port: int, *, udp: bool) -> str:
    pids = pids_in("net", os.stat(place.netns).st_ino)
    if not pids:
        return ""
    sockets = _listening(pids[0], port, udp=udp)
    for pid in sorted(pids):
        if _holds(pid, sockets):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm") as file:
                return f"{file.read().strip()} (pid {pid})"
    return ""


def _listening(pid: int, port: int, *, udp: bool) -> frozenset[str]:
    """Inodes of the sockets bound to a port in a process's network namespace (proc(5) net/tcp)."""
    wanted = f":{port:04X}"
    found = set()
    for name in ("udp", "udp6") if udp else ("tcp", "tcp6"):
        with contextlib.suppress(OSError), open(f"/proc/{pid}/net/{name}") as file:
            for line in file.readlines()[1:]:
                words = line.split()
                if words[1].endswith(wanted) and (udp or words[3] == "0A"):
                    found.add(f"socket:[{words[9]}]")
    return frozenset(found)


def _holds(pid: int, sockets: frozenset[str]) -> bool:
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{pid}/fd/{name}") in sockets:
                    return True
    return False
