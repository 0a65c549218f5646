"""Trace events into steps: headers parsed, indexes named; and rule listings into `Rule`s (pure)."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterable, Mapping
from typing import Any

from todoku.linux.links import Link
from todoku.linux.nftrace import TraceEvent
from todoku.reach.trace.arming import TABLE
from todoku.reach.trace.facts import Header, Rule, Step, named

_HANDLE = re.compile(r"^(?P<text>.*?)\s*# handle (?P<handle>\d+)$")
_TABLE = re.compile(r"^table (?P<family>\w+) (?P<name>\S+) \{")
_CHAIN = re.compile(r"^\tchain (?P<name>\S+) \{")


def header(network: bytes, transport: bytes) -> Header | None:
    """Parse the first header bytes (RFC 791, RFC 9293); None when the trace carried none."""
    if len(network) < 20 or network[0] >> 4 != 4:
        return None
    identification, ttl, protocol = struct.unpack_from(">HxxBB", network, 4)
    source, destination = (socket.inet_ntoa(network[at : at + 4]) for at in (12, 16))
    ports = struct.unpack_from(">HH", transport) if len(transport) >= 4 else (0, 0)
    flags = transport[13] if protocol == socket.IPPROTO_TCP and len(transport) > 13 else 0
    return Header(source, destination, protocol, identification, ttl, ports[0], ports[1], flags)


def steps(
    events: Iterable[TraceEvent],
    names: Mapping[int, str],
    links: Mapping[str, Mapping[int, Link]],
) -> list[Step]:
    """Events in their order, our own rules as `seen`; headers are sent once per chain and carried on within a packet.

    `names` gives the place of an nsid, `links` the interfaces of a place by index.
    """
    found: list[Step] = []
    carried: dict[tuple[int, int, str], Header] = {}
    for event in events:
        place = names.get(event.nsid)
        if place is None:
            continue
        run = (event.nsid, event.packet, f"{event.table}/{event.chain}")
        parsed = header(event.network, event.transport)
        if parsed is not None:
            carried[run] = parsed
        ours = event.table == TABLE
        if ours and event.kind != "rule":
            continue
        known = links.get(place, {})
        found.append(
            Step(
                place=place,
                kind="seen" if ours else event.kind,
                family=event.family,
                table=event.table,
                chain=event.chain,
                handle=event.handle,
                verdict=event.verdict,
                target=event.target,
                header=parsed or carried.get(run),
                in_interface=named(known, event.in_index),
                out_interface=named(known, event.out_index),
            )
        )
    return found


def rules(listing: str) -> dict[tuple[str, str, int], Rule]:
    """The rules of `nft -a list ruleset`, by (table, chain, handle)."""
    found: dict[tuple[str, str, int], Rule] = {}
    family = table = chain = ""
    for line in listing.splitlines():
        if match := _TABLE.match(line):
            family, table, chain = match["family"], match["name"], ""
        elif match := _CHAIN.match(line):
            chain = match["name"]
        elif chain and (match := _HANDLE.match(line)):
            text = match["text"].strip()
            handle = int(match["handle"])
            if text and not text.startswith("type "):
                found[(table, chain, handle)] = Rule(family, table, chain, handle, text)
    return found


def as_json(rule: Rule | None) -> dict[str, Any] | None:
    """A rule for the report."""
    if rule is None:
        return None
    return {
        "table": f"{rule.family} {rule.table}",
        "chain": rule.chain,
        "handle": rule.handle,
        "text": rule.text,
        "object": rule.object,
    }
