"""What every drawing shows, before any format: sources, addresses, pods, and the lines between them (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from todoku.reach.outcome import Code, Outcome
from todoku.reach.report import Report
from todoku.reach.targets import Address, At, short, shown

TITLES = {
    At.POD: "pod IP",
    At.CLUSTERIP: "ClusterIP",
    At.NODEPORT: "node port",
    At.LOADBALANCER: "load balancer",
    At.EXTERNAL: "external IP",
    At.DNS: "DNS name",
}


@dataclass(frozen=True, slots=True)
class Node:
    """One box.  `group` is the column's heading; `detail` its second line."""

    id: str
    label: str
    detail: str
    group: str


@dataclass(frozen=True, slots=True)
class Line:
    """From a source to an address (with its outcome), or from an address to a pod (`count` answers)."""

    start: str
    end: str
    outcome: Outcome
    code: Code
    count: int = 0
    surprising: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    title: str
    sources: Sequence[Node]
    addresses: Sequence[Node]
    backends: Sequence[Node]
    asks: Sequence[Line]
    answers: Sequence[Line]


def picture(report: Report, *, title: str = "") -> Picture:
    """The picture of a report.  Ids are short and stable: s0…, a0…, b0…"""
    sources = {
        source: Node(f"s{i}", shown(source), source.address, _place(source.kind))
        for i, source in enumerate(report.sources)
    }
    addresses = {
        address: Node(
            f"a{i}",
            f"{address.host}:{address.port}" if address.host else "<pending>",
            _detail(report, address),
            "addresses",
        )
        for i, address in enumerate(report.addresses)
    }
    names = sorted({name for cell in report.cells for name in cell.backends})
    backends = {name: Node(f"b{i}", short(name), "", "pods") for i, name in enumerate(names)}
    asks = [
        Line(
            sources[cell.source].id, addresses[cell.address].id, cell.outcome,
            cell.predicted.code, sum(cell.backends.values()), cell.surprising,
        )
        for cell in report.cells
    ]  # fmt: skip
    counted: Counter[tuple[str, str]] = Counter()
    for cell in report.cells:
        for name, count in cell.backends.items():
            counted[(addresses[cell.address].id, backends[name].id)] += count
    answers = [
        Line(start, end, Outcome.OK, Code.OPEN, count) for (start, end), count in counted.items()
    ]
    return Picture(
        title or report.title, list(sources.values()), list(addresses.values()),
        list(backends.values()), asks, answers,
    )  # fmt: skip


def _detail(report: Report, address: Address) -> str:
    """`node port of worker1`; for a load balancer, the node that answers for the address outside."""
    kind = TITLES[address.at]
    if address.node:
        return f"{kind} of {address.node.partition('.')[0]}"
    if address.at is At.LOADBALANCER:
        asked = (c for c in report.cells if c.address == address and c.source.kind == "outside")
        via = next((cell.predicted.via for cell in asked if cell.predicted.via), "")
        return f"{kind}: {via.partition('.')[0]} answers ARP" if via else kind
    return kind


def _place(kind: str) -> str:
    return "outside the cluster" if kind == "outside" else "inside the cluster"
