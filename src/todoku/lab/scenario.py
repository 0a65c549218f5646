"""The tutorial's chapters as data: what each applies, and the ReachSpec that must then hold.

`todoku demo` walks through them, `todoku check -f chapter-N` holds one.  Nothing here talks to a cluster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files

from todoku.reach.judge import Status, judge, matching_addresses, matching_sources
from todoku.reach.outcome import Outcome
from todoku.reach.report import Cell, Report
from todoku.reach.spec import Assertion, Spec, parse
from todoku.reach.targets import Address, At, shown

NAMESPACE = "service-test"
DEPLOYMENT = "httpd-deployment"
SERVICE = "httpd-service"


@dataclass(frozen=True, slots=True)
class Chapter:
    """One act: `deletes` and then `applies` name manifests; `teaches` is the point it makes."""

    number: int
    title: str
    teaches: str
    applies: tuple[str, ...]
    deletes: tuple[str, ...] = ()
    at: tuple[At, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)


CHAPTERS: tuple[Chapter, ...] = (
    Chapter(
        number=0,
        title="No Service: pods have addresses, but only the cluster knows them",
        teaches="A pod's address answers on every node, across nodes too; no host outside finds a way to it.",
        applies=("service-test-namespace.yaml", "httpd-deployment.yaml"),
        at=(At.POD,),
    ),
    Chapter(
        number=1,
        title="ClusterIP: one address for three pods, inside the cluster",
        teaches="A ClusterIP is a translation rule on every node. It spreads over the pods; outside, it is an address without a route.",
        applies=("clusterip-service.yaml",),
        at=(At.POD, At.CLUSTERIP),
    ),
    Chapter(
        number=2,
        title="NodePort: a door on every node, whether it has a pod or not",
        teaches="Every node's port 30080 leads to every pod, from anywhere that reaches the node. A stopped node's door is shut.",
        deletes=("clusterip-service.yaml",),
        applies=("nodeport-service.yaml",),
        at=(At.CLUSTERIP, At.NODEPORT),
    ),
    Chapter(
        number=3,
        title="LoadBalancer without a balancer: EXTERNAL-IP stays <pending>",
        teaches="Kubernetes hands out no load-balancer addresses by itself. The type still contains a node port, and that works.",
        deletes=("nodeport-service.yaml",),
        applies=("loadbalancer-service.yaml",),
        at=(At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER),
    ),
    Chapter(
        number=4,
        title="LoadBalancer with MetalLB: an address on the LAN that one node answers for",
        teaches="A speaker on one worker answers ARP for the address. When that node dies, another takes over; clients keep the address.",
        applies=("metallb.yaml", "ipaddresspool.yaml", "l2advertisement.yaml"),
        at=(At.CLUSTERIP, At.NODEPORT, At.LOADBALANCER),
        notes={
            At.LOADBALANCER: "From a node this proves nothing about ARP: a node translates the address before it would ask for it."
        },
    ),
)


@dataclass(frozen=True, slots=True)
class Check:
    """One assertion of the chapter against one cell; `problem` is "" when it held."""

    assertion: Assertion
    cell: Cell
    problem: str = ""


def spec(chapter: Chapter) -> Spec:
    """What the chapter promises, as the ReachSpec that ships with the package."""
    name = f"reach-chapter-{chapter.number}.yaml"
    text = files("todoku").joinpath("manifests", name).read_text("utf-8")
    return parse(text, name)


def check(chapter: Chapter, report: Report) -> list[Check]:
    """Hold a chapter's assertions against what was measured, cell by cell.

    Raises LookupError for an assertion that no cell answers: a table that shows nothing proves nothing.
    """
    answered = frozenset(one.address for one in report.cells if one.outcome is Outcome.OK)
    checks: list[Check] = []
    for assertion in spec(chapter).assertions:
        sources = matching_sources(assertion.source, report.sources)
        addresses = matching_addresses(assertion.target, assertion.namespace, report.addresses)
        if not sources or not addresses:
            raise LookupError(f"chapter {chapter.number}: nothing was asked for: {assertion.name}")
        cells = [report.cell(source, address) for source in sources for address in addresses]
        checks += [Check(assertion, cell, _problem(assertion, cell, answered)) for cell in cells]
    return checks


def failed(checks: Iterable[Check]) -> list[Check]:
    return [one for one in checks if one.problem]


def _problem(assertion: Assertion, cell: Cell, answered: frozenset[Address]) -> str:
    result = judge(assertion, [cell], answered)
    if result.status is not Status.PASSED:
        return result.message
    if result.flaky:
        return f"{shown(cell.source)} -> {cell.address.label}: not every request succeeded"
    return ""


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
