"""Who answered a probe, and as whom the backend saw the client: read from conntrack, never from a page.

A translated flow carries both in its reply tuple: the source is the endpoint chosen, the destination the client
address after masquerading.  The flow is tracked in the namespace whose rules translated it, and again, plain,
wherever it is forwarded; so every node is asked and a translated entry wins over a plain one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from todoku.linux import conntrack
from todoku.linux.conntrack import Conntrack, Flow
from todoku.reach.probe import Tuple5

_MOST_TRANSLATIONS = 4
_PROTOCOLS = {"TCP": conntrack.TCP, "UDP": conntrack.UDP}


@dataclass(frozen=True, slots=True)
class Answer:
    """`backend` and `port` answered; `client` is the source address that the backend saw."""

    backend: str
    port: int
    client: str
    translated: bool


class Witnesses(Protocol):
    """Finds the answer to each attempt; attempts without evidence are left out."""

    async def look(self, attempts: Sequence[Tuple5]) -> Mapping[Tuple5, Answer]: ...


class NodeConntrack:
    """The flows of every node of a lab; `netns` are paths of the nodes' network namespaces."""

    def __init__(self, netns: Iterable[str]) -> None:
        self._netns = tuple(netns)

    async def look(self, attempts: Sequence[Tuple5]) -> Mapping[Tuple5, Answer]:
        """Ask all nodes in parallel, one dump each."""
        if not attempts:
            return {}
        tables = await asyncio.gather(*(asyncio.to_thread(_flows, path) for path in self._netns))
        return match(attempts, [flow for table in tables for flow in table])


def match(attempts: Sequence[Tuple5], flows: Iterable[Flow]) -> dict[Tuple5, Answer]:
    """Join attempts and flows by what the source sent, and follow each through every node's translation (pure).

    A pod's own node may masquerade it before another node translates the destination; so the reply tuple of one
    flow, turned round, is looked up again until nobody changed it any more.
    """
    known: dict[conntrack.Tuple, Flow] = {}
    for flow in flows:
        if flow.original not in known or _forward(flow) != flow.original:
            known[flow.original] = flow
    return {attempt: _follow(attempt, known) for attempt in attempts}


def _follow(attempt: Tuple5, known: Mapping[conntrack.Tuple, Flow]) -> Answer:
    here, translated = _original(attempt), False
    for _ in range(_MOST_TRANSLATIONS):
        flow = known.get(here)
        if flow is None or _forward(flow) == here:
            break
        here, translated = _forward(flow), translated or flow.translated
    return Answer(here.destination, here.destination_port, here.source, translated)


def _forward(flow: Flow) -> conntrack.Tuple:
    """The packet as it leaves the node: the reply tuple turned round."""
    reply = flow.reply
    return conntrack.Tuple(
        source=reply.destination,
        destination=reply.source,
        protocol=reply.protocol,
        source_port=reply.destination_port,
        destination_port=reply.source_port,
    )


def _original(attempt: Tuple5) -> conntrack.Tuple:
    return conntrack.Tuple(
        source=attempt.source,
        destination=attempt.destination,
        protocol=_PROTOCOLS[attempt.protocol],
        source_port=attempt.source_port,
        destination_port=attempt.destination_port,
    )


def _flows(path: str) -> list[Flow]:
    with Conntrack(path) as table:
        return table.flows()
