"""One armed connection, and what the kernel says about it: nft, conntrack, neigh, route, socket.

`collect` makes the connection itself; `overhear` waits for somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_network

from todoku.linux.conntrack import Tuple
from todoku.linux.links import Link, Links, Route
from todoku.linux.nftables import Nft, NftError
from todoku.linux.nftrace import TraceEvent, nsid
from todoku.reach.outcome import Outcome
from todoku.reach.probe import Attempt, Question, Tuple5, Vantage, attempt, resolve
from todoku.reach.trace import arming, decode
from todoku.reach.trace.ear import Ear
from todoku.reach.trace.facts import Facts, Header, Lookup, Place, Rule, Step, Way
from todoku.reach.trace.flows import all_tuples, only, own_flows
from todoku.reach.trace.listener import listener
from todoku.reach.trace.pcapng import Caught, concerns

_SETTLE_SECONDS = 0.02  # replies and events of the last hop arrive after connect() returns
_USABLE = 0x02 | 0x04 | 0x08 | 0x10 | 0x80  # NUD_REACHABLE, STALE, DELAY, PROBE, PERMANENT
_ICMP = 1
_PORT_UNREACHABLE = 3 << 8 | 3  # type and code (RFC 792)
_LOST = "the kernel reported more packets than could be read (ENOBUFS): hops may be missing"


class NothingHeard(RuntimeError):
    """Nobody made the connection that a live trace waited for."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a lab's packets can go: every node, host, gateway and pod; `home` hears all their traces."""

    home: str
    places: Sequence[Place]


async def collect(
    ground: Ground, source: Place, vantage: Vantage, question: Question, *, record: bool = False
) -> Facts:
    """Trace one connection from `source`; `record` keeps its frames.  Raises OSError if a namespace is gone."""
    lookup = await _look_up(vantage, question.host)
    if lookup is not None and not lookup.address:
        return _unresolved(ground, source, question, lookup)
    host = lookup.address if lookup else question.host
    tagged = replace(question, host=host, speak=False, type_of_service=arming.TYPE_OF_SERVICE)
    with _listening(ground, arming.TAGGED, record=record) as ear:
        result = await attempt(vantage, tagged)
        await asyncio.sleep(_SETTLE_SECONDS)
    sent = result.witness or Tuple5(question.protocol, "", 0, host, question.port)
    facts = await asyncio.to_thread(_facts, ground, source, sent, result, ear)
    return replace(facts, lookup=lookup)


async def overhear(
    ground: Ground,
    source: Place,
    question: Question,
    backends: Iterable[tuple[str, int]],
    *,
    wait_seconds: float,
    record: bool = False,
) -> Facts:
    """Trace the next connection that somebody at `source` makes to the address of `question`.

    `backends` are where it may be translated to.  Raises NothingHeard, OSError if a namespace is gone.
    """
    watch = arming.passing(question.host, question.port, question.protocol, backends)
    with _listening(ground, watch, record=record) as ear:
        sent = await _request(ear, source, question, wait_seconds)
        outcome = await _answer(ear, source, sent, question.timeout_seconds)
        await asyncio.sleep(_SETTLE_SECONDS)
    result = Attempt(outcome, 0.0, sent)
    facts = await asyncio.to_thread(_facts, ground, source, sent, result, ear, exclusive=False)
    return replace(facts, latency_ms=None)  # trace events carry no time


@contextlib.contextmanager
def _listening(ground: Ground, watch: arming.Watch, *, record: bool) -> Iterator[Ear]:
    """An ear in every place, armed for the block."""
    names = {nsid(ground.home, place.netns): place.name for place in ground.places}
    recorded = ground.places if record else ()
    with Ear(ground.home, names, recorded) as ear:
        ear.links |= {place.name: _links(place) for place in ground.places}
        with arming.armed([place.netns for place in ground.places], watch):
            yield ear


async def _request(ear: Ear, source: Place, question: Question, wait_seconds: float) -> Tuple5:
    """What the first packet of the awaited connection looked like."""
    wanted = (question.host, question.port)

    def found(event: TraceEvent, place: str, header: Header) -> bool:
        first = header.is_syn or question.protocol == "UDP"
        made_here = place == source.name and event.chain == arming.REQUEST_OUTPUT
        return made_here and first and (header.destination, header.destination_port) == wanted

    header = await ear.first(found, wait_seconds)
    if header is None:
        raise NothingHeard(
            f"nobody on {source.name} connected to {question.host}:{question.port} in {wait_seconds:g} s"
        )
    return Tuple5(
        question.protocol, header.source, header.source_port, header.destination,
        header.destination_port,
    )  # fmt: skip


async def _answer(ear: Ear, source: Place, sent: Tuple5, wait_seconds: float) -> Outcome:
    """What came back to the source, as its own network saw it."""
    expected = (sent.destination, sent.destination_port, sent.source, sent.source_port)

    def found(_: TraceEvent, place: str, header: Header) -> bool:
        if place != source.name:
            return False
        if header.protocol == _ICMP:
            return header.destination == sent.source
        seen = (
            header.source, header.source_port, header.destination, header.destination_port,
        )  # fmt: skip
        return seen == expected

    header = await ear.first(found, wait_seconds)
    if header is None:
        return Outcome.TIMEOUT
    if header.protocol == _ICMP:
        # The first four bytes after the IP header, read as ports, are ICMP's type, code and checksum.
        refused = header.source_port == _PORT_UNREACHABLE
        return Outcome.REFUSED if refused else Outcome.NO_ROUTE
    return Outcome.OK if header.is_syn_ack or sent.protocol == "UDP" else Outcome.REFUSED


async def _look_up(vantage: Vantage, host: str) -> Lookup | None:
    """Who knows the name here, and what it is; None for an address."""
    with contextlib.suppress(ValueError):
        ip_address(host)
        return None
    for server in vantage.nameservers:
        alone = _One(vantage.name, vantage.netns, (server,), vantage.search)
        address = await resolve(alone, host)
        if address is not None:
            return Lookup(host, server, address)
    return Lookup(host, ", ".join(vantage.nameservers), "")


@dataclass(frozen=True, slots=True)
class _One:
    """A vantage that asks one name server."""

    name: str
    netns: str
    nameservers: tuple[str, ...]
    search: tuple[str, ...]


def _unresolved(ground: Ground, source: Place, question: Question, lookup: Lookup) -> Facts:
    return Facts(
        source=source,
        sent=Tuple5(question.protocol, "", 0, question.host, question.port),
        outcome=Outcome.DNS,
        latency_ms=None,
        places={place.name: place for place in ground.places},
        lookup=lookup,
    )


def _facts(
    ground: Ground,
    source: Place,
    sent: Tuple5,
    result: Attempt,
    ear: Ear,
    *,
    exclusive: bool = True,
) -> Facts:
    """Everything else, read while it is still warm.  `exclusive`: nobody else's packets were armed."""
    places = {place.name: place for place in ground.places}
    flows = own_flows(sent, ground.places)
    steps = decode.steps(ear.events, ear.names, ear.links)
    if not exclusive:
        steps = only(steps, sent, flows)
    way = _way(source, sent.destination, ear.links[source.name])
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
            for name, known in ear.links.items()
            for link in known.values()
            if link.mac and link.name != "lo" and places[name].kind != "pod"
        },
        listener=listener(places.values(), flows, sent),
        dead_end=_dead_end(places, steps),
        notes=(_LOST,) if ear.overrun else (),
        frames=_frames(ear, sent, all_tuples(sent, flows), way),
    )


def _frames(ear: Ear, sent: Tuple5, tuples: frozenset[Tuple], way: Way | None) -> list[Caught]:
    neighbours = {way.next_hop or sent.destination} if way is not None else {sent.destination}
    return [one for one in ear.frames if concerns(one.frame.data, tuples, neighbours)]


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
    if destination in source.addresses:
        return Way("its own address", "", "lo")
    best = _route(source, destination)
    if best is None or best.kind != "unicast":
        return None
    link = links.get(best.index)
    name = link.name if link else str(best.index)
    via = f" via {best.via}" if best.via else " on link"
    return Way(f"{_prefix(best)}{via} dev {name}", best.via, name)


def _dead_end(places: Mapping[str, Place], steps: Sequence[Step]) -> str:
    """The route of the last place on the way that swallows or refuses the packet; "" if it leads on."""
    last = next((step for step in reversed(steps) if step.header is not None), None)
    if last is None or last.header is None:
        return ""
    best = _route(places[last.place], last.header.destination)
    if best is None or best.kind == "unicast":
        return ""
    return f"{best.kind} {_prefix(best)}"


def _route(place: Place, destination: str) -> Route | None:
    with Links(place.netns) as kernel:
        return best_route(kernel.routes(), destination)


def _prefix(route: Route) -> str:
    return "default" if route.destination == "0.0.0.0/0" else route.destination


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
