"""The tutorial's chapters as data: what each applies, and what must then be true from a node and from outside.

`todoku demo` walks through them; the e2e tests assert them.  Nothing here talks to a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell, Report
from todoku.reach.targets import At

NAMESPACE = "service-test"
DEPLOYMENT = "httpd-deployment"
SERVICE = "httpd-service"

Kind = Literal["node", "outside"]


@dataclass(frozen=True, slots=True)
class Expectation:
    """From every source of `kind`, every address of kind `at` is open, closed or absent.

    `spread` asks that all three pods answered over the cell's requests.
    """

    kind: Kind
    at: At
    verdict: Literal["open", "closed", "absent"]
    spread: bool = False


@dataclass(frozen=True, slots=True)
class Chapter:
    """One act: `deletes` and then `applies` name manifests; `teaches` is the point it makes."""

    number: int
    title: str
    teaches: str
    applies: tuple[str, ...]
    deletes: tuple[str, ...] = ()
    expects: tuple[Expectation, ...] = ()
    at: tuple[At, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


def _open(kind: Kind, *kinds: At, spread: bool = False) -> tuple[Expectation, ...]:
    return tuple(Expectation(kind, at, "open", spread) for at in kinds)


def _closed(kind: Kind, *kinds: At) -> tuple[Expectation, ...]:
    return tuple(Expectation(kind, at, "closed") for at in kinds)


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        number=0,
        title="No Service: pods have addresses, but only the cluster knows them",
        teaches="A pod's address answers on every node, across nodes too; no host outside finds a way to it.",
        applies=("service-test-namespace.yaml", "httpd-deployment.yaml"),
        expects=(*_open("node", At.POD), *_closed("outside", At.POD)),
        at=(At.POD,),
    ),
    Chapter(
        number=1,
        title="ClusterIP: one address for three pods, inside the cluster",
        teaches="A ClusterIP is a translation rule on every node. It spreads over the pods; outside, it is an address without a route.",
        applies=("clusterip-service.yaml",),
        expects=(
            *_open("node", At.CLUSTERIP, spread=True),
            *_closed("outside", At.CLUSTERIP, At.POD),
        ),
        at=(At.POD, At.CLUSTERIP),
    ),
    Chapter(
        number=2,
        title="NodePort: a door on every node, whether it has a pod or not",
        teaches="Every node's port 30080 leads to every pod, from anywhere that reaches the node. A stopped node's door is shut.",
        deletes=("clusterip-service.yaml",),
        applies=("nodeport-service.yaml",),
        expects=(
            *_open("node", At.CLUSTERIP, At.NODEPORT, spread=True),
            *_open("outside", At.NODEPORT, spread=True),
            *_closed("outside", At.CLUSTERIP),
        ),
        at=(At.CLUSTERIP, At.NODEPORT),
    ),
    Chapter(
        number=3,
        title="LoadBalancer without a balancer: EXTERNAL-IP stays <pending>",
        teaches="Kubernetes hands out no load-balancer addresses by itself. The type still contains a node port, and that works.",
        deletes=("nodeport-service.yaml",),
        applies=("loadbalancer-service.yaml",),
        expects=(
            *_open("node", At.CLUSTERIP, At.NODEPORT, spread=True),
            *_open("outside", At.NODEPORT, spread=True),
            *_closed("outside", At.CLUSTERIP),
            Expectation("node", At.LOADBALANCER, "absent"),
            Expectation("outside", At.LOADBALANCER, "absent"),
        ),
        at=(At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER),
    ),
    Chapter(
        number=4,
        title="LoadBalancer with MetalLB: an address on the LAN that one node answers for",
        teaches="A speaker on one worker answers ARP for the address. When that node dies, another takes over; clients keep the address.",
        applies=("metallb.yaml", "ipaddresspool.yaml", "l2advertisement.yaml"),
        expects=(
            *_open("node", At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER, spread=True),
            *_open("outside", At.NODEPORT, At.LOADBALANCER, spread=True),
            *_closed("outside", At.CLUSTERIP),
        ),
        at=(At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER),
        notes={
            At.LOADBALANCER: "From a node this proves nothing about ARP: a node translates the address before it would ask for it."
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation against one cell; `problem` is "" when it held."""

    expectation: Expectation
    cell: Cell
    problem: str = ""


def check(chapter: Chapter, report: Report) -> list[Check]:
    """Hold a chapter's expectations against what was measured.

    An expectation that no cell answers is itself a failure: a table that shows nothing proves nothing.
    """
    checks: list[Check] = []
    for expectation in chapter.expects:
        cells = [
            cell
            for cell in report.cells
            if cell.source.kind == expectation.kind and cell.address.at is expectation.at
        ]
        if not cells:
            text = f"nothing was asked: {expectation.kind} -> {expectation.at}"
            raise LookupError(f"chapter {chapter.number}: {text}")
        checks += [Check(expectation, cell, _problem(expectation, cell)) for cell in cells]
    return checks


def failed(checks: Iterable[Check]) -> list[Check]:
    return [one for one in checks if one.problem]


def _problem(expectation: Expectation, cell: Cell) -> str:
    outcome = cell.outcome
    said = f"{cell.source.name} -> {cell.address.label}: {outcome}"
    if expectation.verdict == "absent":
        return "" if outcome is Outcome.NOT_APPLICABLE else f"{said}, expected no such address"
    if outcome in (Outcome.UNKNOWN, Outcome.NOT_APPLICABLE):
        return f"{said}, expected an answer ({expectation.verdict})"
    opened = outcome is Outcome.OK
    if opened != (expectation.verdict == "open"):
        return f"{said}, expected {expectation.verdict}"
    if opened and cell.flaky:
        return f"{said}, but not every request succeeded"
    if expectation.spread and len(cell.backends) < _PODS:
        return f"{said}, but only {len(cell.backends)} of {_PODS} pods answered"
    return ""


_PODS = 3


def summary(chapters: Sequence[tuple[Chapter, Report]]) -> Report:
    """All chapters as one matrix: each address labelled with its chapter."""
    sources = chapters[-1][1].sources if chapters else ()
    addresses, cells = [], []
    for chapter, report in chapters:
        renamed = {
            address: replace(address, label=f"{chapter.number} {address.label}")
            for address in report.addresses
        }
        addresses += list(renamed.values())
        cells += [replace(cell, address=renamed[cell.address]) for cell in report.cells]
    seconds = sum(report.seconds for _, report in chapters)
    return Report("", sources, addresses, cells, seconds)
