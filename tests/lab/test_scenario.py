"""The chapters are checked against what was measured; a table that shows nothing proves nothing."""

from dataclasses import replace

import pytest

from tests.reach.article import endpoint_slice, report, service, with_ingress, world
from todoku.lab.scenario import CHAPTERS, Chapter, check, failed, summary
from todoku.reach.report import Report
from todoku.reach.targets import At

NODE_PORT = service("NodePort")
SERVICES = {
    0: service(),
    1: service(),
    2: NODE_PORT,
    3: service("LoadBalancer"),
    4: with_ingress(service("LoadBalancer")),
}


def measured(chapter: Chapter) -> Report:
    return report(world(SERVICES[chapter.number]), at=chapter.at, title=chapter.title)


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[f"chapter {c.number}" for c in CHAPTERS])
def test_a_true_lab_holds_every_expectation(chapter):
    assert failed(check(chapter, measured(chapter))) == []


def test_a_service_without_endpoints_fails_its_chapter():
    broken = report(world(NODE_PORT, slices=[]), at=CHAPTERS[2].at)
    problems = [one.problem for one in failed(check(CHAPTERS[2], broken))]
    assert "rhel8host -> worker1:30080: refused, expected ok" in problems


def test_one_backend_is_not_a_spread():
    single = world(
        service(),
        slices=[endpoint_slice({"httpd-deployment-a": ("10.244.1.2", "worker1.internal")})],
    )
    problems = [
        one.problem for one in failed(check(CHAPTERS[1], report(single, at=CHAPTERS[1].at)))
    ]
    assert problems == ["master1 -> ClusterIP:8080: ok: 1 pods answered, expected at least 3"]


def test_an_expectation_that_nothing_answers_is_an_error():
    empty = replace(measured(CHAPTERS[1]), addresses=(), cells=())
    with pytest.raises(LookupError, match="nothing was asked"):
        check(CHAPTERS[1], empty)


def test_the_summary_numbers_addresses_by_chapter():
    joined = summary([(chapter, measured(chapter)) for chapter in CHAPTERS])
    labels = [address.label for address in joined.addresses]
    assert labels[0].startswith("0 10.244.")
    assert "4 192.168.11.136:8080" in labels
    assert len(joined.cells) == len(joined.sources) * len(joined.addresses)
    assert {address.at for address in joined.addresses} >= {At.POD, At.LOADBALANCER}
