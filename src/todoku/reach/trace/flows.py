"""One connection in the conntrack tables of every place it crosses, followed through translation."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping, Sequence

from todoku.linux import conntrack
from todoku.linux.conntrack import Conntrack, Flow
from todoku.reach.probe import Tuple5
from todoku.reach.trace.facts import Header, Place, Step

Find = Callable[[conntrack.Tuple], Flow | None]
"""Looks a flow up in one place by its original tuple."""


def own_flows(sent: Tuple5, places: Sequence[Place]) -> dict[str, tuple[Flow, ...]]:
    """The flows of one connection by place.  Raises OSError if a namespace is gone."""
    with contextlib.ExitStack() as opened:
        tables = {place.name: opened.enter_context(Conntrack(place.netns)).find for place in places}
        return follow(first_tuple(sent), tables)


def follow(first: conntrack.Tuple, tables: Mapping[str, Find]) -> dict[str, tuple[Flow, ...]]:
    """Look the tuple up everywhere, and what translation made of it, until nothing new comes (pure)."""
    found: dict[str, list[Flow]] = {}
    known, waiting = {first}, [first]
    while waiting:
        wanted = waiting.pop()
        for place, find in tables.items():
            flow = find(wanted)
            if flow is None:
                continue
            found.setdefault(place, []).append(flow)
            onward = turned(flow.reply)
            if onward not in known:
                known.add(onward)
                waiting.append(onward)
    return {place: tuple(flows) for place, flows in found.items()}


def first_tuple(sent: Tuple5) -> conntrack.Tuple:
    """What the source sent, as conntrack writes it."""
    protocol = conntrack.UDP if sent.protocol == "UDP" else conntrack.TCP
    return conntrack.Tuple(
        sent.source, sent.destination, protocol, sent.source_port, sent.destination_port
    )


def turned(one: conntrack.Tuple) -> conntrack.Tuple:
    """The same packet in the other direction."""
    return conntrack.Tuple(
        one.destination, one.source, one.protocol, one.destination_port, one.source_port
    )


def all_tuples(sent: Tuple5, flows: Mapping[str, Sequence[Flow]]) -> frozenset[conntrack.Tuple]:
    """Every form that the connection's packets take on their way, both directions."""
    first = first_tuple(sent)
    found = {first, turned(first)}
    for known in flows.values():
        for flow in known:
            found |= {flow.original, flow.reply, turned(flow.original), turned(flow.reply)}
    return frozenset(found)


def only(steps: Sequence[Step], sent: Tuple5, flows: Mapping[str, Sequence[Flow]]) -> list[Step]:
    """The steps of this connection among those of others.

    A connection that was reset at once has left conntrack; its request is still told by the IPv4 ID, which no
    translation changes.  An ICMP error is taken by whom it is sent to: the kernel traces too little of it to show
    the ports that it quotes.
    """
    known = all_tuples(sent, flows)
    request = first_tuple(sent)
    askers = {request.source, *(flow.reply.destination for kept in flows.values() for flow in kept)}
    ids = {
        step.header.identification
        for step in steps
        if step.header is not None and _tuple(step.header) == request
    } - {0}

    def ours(header: Header | None) -> bool:
        if header is None:
            return False
        if header.protocol == socket.IPPROTO_ICMP:
            return header.destination in askers
        by_id = header.identification in ids and header.protocol == request.protocol
        return _tuple(header) in known or by_id

    return [step for step in steps if ours(step.header)]


def _tuple(header: Header) -> conntrack.Tuple:
    return conntrack.Tuple(
        header.source, header.destination, header.protocol, header.source_port,
        header.destination_port,
    )  # fmt: skip
