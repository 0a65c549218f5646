"""Facts into hops (pure): what each place did with the packet, in order, and where it ended.

A trace names rules but never the address that NAT chose: that is conntrack's reply tuple.  What nftables cannot see
(ARP silence, a missing route, a closed port) comes from the neighbour table, the route and the socket.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from todoku.linux.conntrack import Flow
from todoku.reach.outcome import Outcome
from todoku.reach.trace.facts import Evidence, Facts, Header, Hop, Lookup, Place, Rule, Step, Trace

_TELLING = (
    "dnat", "masquerade", "snat", "reject", "drop", "redirect",
    "@services", "@local-services", "@no-endpoints", "@firewall",
)  # fmt: skip
_DISPOSITIONS = {
    Outcome.OK: "DELIVERED",
    Outcome.REFUSED: "REFUSED",
    Outcome.RESET: "RESET",
    Outcome.NO_ROUTE: "NO_ROUTE",
    Outcome.DNS: "NAME_UNKNOWN",
}


def assemble(facts: Facts, *, target: str) -> Trace:
    """The hops of one connection, forward and back, and its disposition."""
    forward = [step for step in facts.steps if _is_forward(facts, step)]
    back = [step for step in facts.steps if not _is_forward(facts, step)]
    runs = list(_runs(forward))
    hops = [*_departure(facts, runs), *_crossing(facts, runs), *_arrival(facts, runs)]
    if facts.outcome in (Outcome.OK, Outcome.REFUSED) and back:
        hops += _reply(facts, list(_runs(back)))
    return Trace(
        facts.source.name, target, _packet(facts), _disposition(facts, forward), hops,
        facts.latency_ms, facts.code, facts.notes, facts.frames,
    )  # fmt: skip


def _packet(facts: Facts) -> str:
    sent = facts.sent
    to = f"{sent.destination}:{sent.destination_port} {sent.protocol}"
    return f"{sent.source}:{sent.source_port} -> {to}" if sent.source_port else f"(none) -> {to}"


@dataclass(frozen=True, slots=True)
class _Run:
    """Consecutive steps of the packet in one place."""

    place: Place
    steps: tuple[Step, ...]

    @property
    def header(self) -> Header | None:
        """The packet as it came in."""
        return next((step.header for step in self.steps if step.header), None)

    @property
    def entered_by(self) -> str:
        return next((step.in_interface for step in self.steps if step.in_interface), "")


def _runs(steps: Sequence[Step]) -> Iterator[tuple[str, tuple[Step, ...]]]:
    for place, group in groupby(steps, lambda step: step.place):
        yield place, tuple(group)


def _is_forward(facts: Facts, step: Step) -> bool:
    header = step.header
    if header is None:
        return True
    if facts.sent.protocol == "TCP":
        return header.is_syn
    backends = {flow.reply.source_port for flow in _own_flows(facts)}
    return header.destination_port in backends | {facts.sent.destination_port}


def _departure(facts: Facts, runs: Sequence[tuple[str, tuple[Step, ...]]]) -> Iterator[Hop]:
    """The name's address, the source's own route, and whom it found behind the next address."""
    source, sent = facts.source, facts.sent
    if facts.lookup is not None:
        yield _looked_up(source, facts.lookup)
        if not facts.lookup.address:
            return
    translated = _flow_at(facts, source.name)
    if translated is not None and translated.translated:
        return  # a node rewrites before it routes; the rules tell the story
    if facts.way is None:
        yield Hop(source.name, "ROUTE", f"no route to {sent.destination}", "route")
        return
    yield Hop(source.name, "ROUTE", facts.way.text, "route")
    if facts.way.interface == "lo":
        return
    asked = facts.way.next_hop or sent.destination
    if not facts.neighbour_mac:
        if not runs or all(place == source.name for place, _ in runs):
            yield Hop(source.name, "ARP", f"nobody answers for {asked}", "neigh")
        return
    owner = facts.macs.get(facts.neighbour_mac, "an unknown machine")
    if _forgotten(facts):
        text = f"{asked} was at {facts.neighbour_mac}; no machine that is on has it, nobody answers"
        yield Hop(source.name, "ARP", text, "neigh")
        return
    why = f" ({facts.why_announcer})" if facts.why_announcer and owner == facts.announcer else ""
    text = f"{asked} is at {facts.neighbour_mac} = {owner}{why}"
    yield Hop(source.name, "ARP", text, "neigh")


def _looked_up(source: Place, lookup: Lookup) -> Hop:
    if not lookup.server:
        text = f"{source.name} asks no name server of the cluster, so it knows no {lookup.name}"
        return Hop(source.name, "DNS", text, "inferred")
    said = f"{lookup.name} is {lookup.address}" if lookup.address else f"no {lookup.name}"
    return Hop(source.name, "DNS", f"{said}, says {lookup.server}", "dns")


def _crossing(facts: Facts, runs: Sequence[tuple[str, tuple[Step, ...]]]) -> Iterator[Hop]:
    """What each place's rules did: matches that tell something, then the translation that came of them."""
    here = [_Run(facts.places[name], steps) for name, steps in runs if name in facts.places]
    for previous, run, following in zip([None, *here], here, [*here[1:], None], strict=False):
        if previous is not None and previous.place.kind == run.place.kind == "node":
            yield _between(previous, run)
        if run.place.kind != "pod":
            yield from _rules(facts, run)
            yield from _translation(facts, run, following)


def _between(previous: _Run, run: _Run) -> Hop:
    where = f"{previous.place.name} -> {run.place.name}"
    if run.entered_by.startswith("flannel"):
        text = f"wrapped in UDP 8472 (VNI 1) from {_first(previous.place)} to {_first(run.place)}"
        return Hop(where, "VXLAN", text, "nft")
    return Hop(where, "LAN", f"over {run.entered_by or 'the LAN'}", "nft")


def _rules(facts: Facts, run: _Run) -> Iterator[Hop]:
    seen: set[tuple[str, int]] = set()
    for step in run.steps:
        if step.kind != "rule" or (step.chain, step.handle) in seen:
            continue
        rule = facts.rules.get((run.place.name, step.table, step.chain, step.handle))
        if not _tells(step, rule):
            continue
        seen.add((step.chain, step.handle))
        verdict = f"{step.verdict} {step.target}".strip()
        yield Hop(run.place.name, "NFT", f"{step.table} {step.chain}: {verdict}", "nft", rule=rule)


def _tells(step: Step, rule: Rule | None) -> bool:
    """Whether a match is worth a line: it decides or translates, not just leads to the next chain."""
    if step.verdict == "drop":
        return True
    if rule is None or step.target.startswith("masquerade"):
        return False
    return any(word in rule.text for word in _TELLING)


def _rewritten(facts: Facts, run: _Run, following: _Run | None) -> Iterator[Hop]:
    """A connection that was reset at once has left conntrack; the next place's headers still show the change."""
    here, there = run.header, following.header if following else None
    if here is None or there is None:
        return
    before = f"{here.destination}:{here.destination_port}"
    after = f"{there.destination}:{there.destination_port}"
    if before != after:
        yield Hop(run.place.name, "DNAT", f"{before} -> {after}", "nft", before=before, after=after)
    if here.source != there.source:
        text = f"{here.source} -> {there.source}: the pod sees {run.place.name}, not the client"
        yield Hop(run.place.name, "MASQ", text, "nft", before=here.source, after=there.source)


def _translation(facts: Facts, run: _Run, following: _Run | None) -> Iterator[Hop]:
    flow = _flow_at(facts, run.place.name)
    if flow is None:
        yield from _rewritten(facts, run, following)
        return
    original, reply = flow.original, flow.reply
    before = f"{original.destination}:{original.destination_port}"
    after = f"{reply.source}:{reply.source_port}"
    if before != after:
        chosen = facts.objects.get(reply.source, "")
        text = f"{before} -> {after}" + (f" ({chosen})" if chosen else "")
        yield Hop(run.place.name, "DNAT", text, "conntrack", before=before, after=after)
    if reply.destination != original.source:
        text = f"{original.source} -> {reply.destination}: the pod sees {run.place.name}, not the client"
        yield Hop(
            run.place.name,
            "MASQ",
            text,
            "conntrack",
            before=original.source,
            after=reply.destination,
        )


def _arrival(facts: Facts, runs: Sequence[tuple[str, tuple[Step, ...]]]) -> Iterator[Hop]:
    """The last hop forward: a socket took it, something refused it, or it was never seen again."""
    beyond = [name for name, _ in runs if name != facts.source.name]
    last = beyond[-1] if beyond else ""
    pod = _pod(facts)
    where = pod.name if pod else last or facts.sent.destination
    if facts.outcome is Outcome.OK:
        by = f" by {facts.listener}" if facts.listener else ""
        yield Hop(where, "SOCKET", f"accepted{by}", "socket")
    elif _dropped(runs):
        return
    elif facts.outcome is Outcome.REFUSED:
        yield Hop(
            where, "SOCKET", "refused: nothing listens on the port", "socket" if pod else "inferred"
        )
    elif facts.dead_end and facts.outcome in (Outcome.TIMEOUT, Outcome.NO_ROUTE):
        way = f"{facts.dead_end}: it knows no way to {facts.sent.destination}"
        yield Hop(last, "ROUTE", way, "route")
    elif facts.outcome is Outcome.TIMEOUT and last:
        yield Hop(last, "SILENCE", "last seen here; no answer came back", "inferred")
    elif facts.outcome is Outcome.TIMEOUT and facts.neighbour_mac and not _forgotten(facts):
        owner = facts.macs.get(facts.neighbour_mac, "the next hop")
        text = "never saw the packet: it, or a cable on the way, is off"
        yield Hop(owner, "SILENCE", text, "inferred")


def _reply(facts: Facts, runs: Sequence[tuple[str, tuple[Step, ...]]]) -> Iterator[Hop]:
    """The way back: each place once, and where conntrack undid the translation (no rule is consulted)."""
    names = list(dict.fromkeys(place for place, _ in runs))
    undone = {
        name for name in names if (flow := _flow_at(facts, name)) is not None and _changes(flow)
    }
    pod = _pod(facts)
    parts = [pod.name] if pod and pod.name not in names else []
    parts += [f"{name} (un-NAT)" if name in undone else name for name in names]
    if facts.source.name not in names:
        parts.append(facts.source.name)
    evidence: Evidence = "conntrack" if undone else "nft"
    yield Hop(parts[0].partition(" ")[0], "REPLY", " -> ".join(parts), evidence, direction="reply")


def _changes(flow: Flow) -> bool:
    one, other = flow.original, flow.reply
    return (one.destination, one.source) != (other.source, other.destination)


def _dropped(runs: Iterable[tuple[str, tuple[Step, ...]]]) -> bool:
    return any(step.verdict == "drop" for _, steps in runs for step in steps)


def _disposition(facts: Facts, forward: Sequence[Step]) -> str:
    if facts.outcome is Outcome.TIMEOUT:
        if _dropped(_runs(forward)) or facts.dead_end:
            return "DROPPED"
        unanswered = not facts.neighbour_mac or _forgotten(facts)
        return "UNANSWERED" if unanswered and facts.way is not None else "LOST"
    return _DISPOSITIONS.get(facts.outcome, "UNKNOWN")


def _forgotten(facts: Facts) -> bool:
    """Whether the source sent to a remembered neighbour (STALE, RFC 4861 7.3.2) that is gone."""
    elsewhere = any(step.place != facts.source.name for step in facts.steps)
    return bool(facts.neighbour_mac) and facts.neighbour_mac not in facts.macs and not elsewhere


def _own_flows(facts: Facts) -> Iterator[Flow]:
    for flows in facts.flows.values():
        yield from flows


def _flow_at(facts: Facts, place: str) -> Flow | None:
    """The connection as a place tracks it; a translated entry wins over a plain one."""
    flows = facts.flows.get(place, ())
    return next((flow for flow in flows if flow.translated), flows[0] if flows else None)


def _pod(facts: Facts) -> Place | None:
    """The pod that the connection reached: by conntrack or its address (the source itself, too), or seen there."""
    seen = {step.place for step in facts.steps if _is_forward(facts, step)}
    backends = {flow.reply.source for flow in _own_flows(facts) if flow.translated}
    wanted = backends or {facts.sent.destination}
    pods = [place for place in facts.places.values() if place.kind == "pod"]
    addressed = [place for place in pods if wanted & set(place.addresses)]
    reached = [place for place in pods if place.name in seen and place != facts.source]
    return next(iter([*addressed, *reached]), None)


def _first(place: Place) -> str:
    return place.addresses[0] if place.addresses else place.name
