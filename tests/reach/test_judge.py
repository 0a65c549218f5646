"""Assertions against cells: what passes, what fails, and what proves nothing."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from tests.reach.article import endpoint_slice, report, service, with_ingress, world
from todoku.reach.judge import (
    Result,
    Status,
    judge,
    junit,
    matching_addresses,
    matching_sources,
    table,
    tap,
)
from todoku.reach.outcome import Outcome
from todoku.reach.report import Report
from todoku.reach.spec import parse

NODE_PORT = report(world(service("NodePort")))
PENDING = report(world(service("LoadBalancer")))
BALANCED = report(world(with_ingress(service("LoadBalancer"))))
DOWN = report(world(service("NodePort"), slices=[endpoint_slice({})]))


def held(line: str, shown: Report) -> Result:
    text = f"apiVersion: todoku/v1alpha1\nkind: ReachSpec\ndefaults: {{namespace: service-test}}\nexpect: [{{{line}}}]"
    assertion = parse(text, "t").assertions[0]
    sources = matching_sources(assertion.source, shown.sources)
    targets = matching_addresses(assertion.target, assertion.namespace, shown.addresses)
    assert sources
    assert targets
    cells = [shown.cell(source, target) for source in sources for target in targets]
    answered = frozenset(c.address for c in shown.cells if c.outcome is Outcome.OK)
    return judge(assertion, cells, answered)


OUTSIDE = 'from: "outside/*", to: "svc/httpd-service:8080@{at}"'
ROWS = [
    ("open and spread", OUTSIDE.format(at="nodeport") + ", verdict: allowed, backends: {min: 3}", NODE_PORT, Status.PASSED),
    ("too many backends", OUTSIDE.format(at="nodeport") + ", verdict: allowed, backends: 1", NODE_PORT, Status.FAILED),
    ("denied holds", OUTSIDE.format(at="clusterip") + ", verdict: denied", NODE_PORT, Status.PASSED),
    ("denied with the wrong word", OUTSIDE.format(at="clusterip") + ", verdict: denied, outcome: refused", NODE_PORT, Status.FAILED),
    ("allowed fails", OUTSIDE.format(at="clusterip") + ", verdict: allowed", NODE_PORT, Status.FAILED),
    ("denied fails", OUTSIDE.format(at="lb") + ", verdict: denied", BALANCED, Status.FAILED),
    ("nobody got in: vacuous", OUTSIDE.format(at="nodeport") + ", verdict: denied", DOWN, Status.VACUOUS),
    ("absent holds while it is pending", OUTSIDE.format(at="lb") + ", verdict: absent", PENDING, Status.PASSED),
    ("absent fails once there is an address", OUTSIDE.format(at="lb") + ", verdict: absent", BALANCED, Status.FAILED),
    ("pending is skipped, never denied", OUTSIDE.format(at="lb") + ", verdict: denied", PENDING, Status.SKIPPED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "shown", "status"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_an_assertion_is_judged(line, shown, status):
    assert held(line, shown).status is status


PATTERNS = [
    ("outside/*", ["rhel8host", "al9host"]),
    ("node/master1", ["master1"]),
    ("*", ["master1", "rhel8host", "al9host"]),
    ("rhel8host", ["rhel8host"]),
    ("nobody", []),
]


@pytest.mark.parametrize(("pattern", "names"), PATTERNS, ids=[row[0] for row in PATTERNS])
def test_sources_match_by_kind_and_name(pattern, names):
    assert [one.name for one in matching_sources(pattern, NODE_PORT.sources)] == names


def test_tap_and_junit_tell_the_same():
    results = [held(row[1], row[2]) for row in ROWS]
    assert tap(results).splitlines()[2] == "ok 1 - outside/* -> svc/httpd-service:8080@nodeport"
    assert tap(results).count("\nnot ok") == 5
    suite = ElementTree.fromstring(junit(results, suite="reach.yaml"))
    assert (suite.get("failures"), suite.get("skipped")) == ("5", "1")


def test_a_counter_example_s_trace_goes_into_every_output():
    traced = replace(held(ROWS[4][1], NODE_PORT), trace="1 rhel8host ROUTE <none>")
    assert "#   1 rhel8host ROUTE <none>" in tap([traced])
    suite = ElementTree.fromstring(junit([traced], suite="reach.yaml"))
    assert "1 rhel8host ROUTE <none>" in (suite.findtext("testcase/failure") or "")
    assert "           1 rhel8host ROUTE <none>\n" in table([traced], seconds=1)
