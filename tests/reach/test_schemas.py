"""What the reports look like as JSON is promised by schemas that ship with the package."""

import json
from typing import get_args

import jsonschema_rs
import pytest

from tests.reach.article import endpoint_slice, report, service, with_ingress, world
from todoku.reach import judge, schemas
from todoku.reach import report as reports
from todoku.reach.outcome import Code, Outcome
from todoku.reach.spec import parse
from todoku.reach.targets import At
from todoku.reach.trace import render
from todoku.reach.trace.facts import Evidence, Hop, Rule, Trace

WORLDS = {
    "ClusterIP": world(service()),
    "NodePort": world(service("NodePort")),
    "pending": world(service("LoadBalancer")),
    "LoadBalancer": world(with_ingress(service("LoadBalancer"))),
    "no endpoints": world(service("NodePort"), slices=[endpoint_slice({})]),
}
TRACE = Trace(
    "rhel8host",
    "svc/web",
    "192.168.11.201:4000 -> 192.168.11.136:8080 TCP",
    "DELIVERED",
    [
        Hop("rhel8host", "ROUTE", "on link", "route"),
        Hop("worker1", "NFT", "accept", "nft", rule=Rule("ip", "t", "c", 7, "accept", "Service a/b")),
        Hop("pod/a", "REPLY", "back", "conntrack", direction="reply"),
    ],
    0.5,
    "OPEN",
)  # fmt: skip


def validator(name: str):
    return jsonschema_rs.Draft202012Validator(schemas.schema(name))


@pytest.mark.parametrize("here", WORLDS.values(), ids=WORLDS)
def test_a_reach_report_is_as_its_schema_says(here):
    validator("reach").validate(report(here).to_json())


def test_several_reports_are_one_document():
    shown = [report(here) for here in WORLDS.values()]
    document = reports.document(shown)
    assert document["kind"] == "ReachReportList"
    validator("reach").validate(document)
    assert reports.document(shown[:1]) == shown[0].to_json()


def test_a_trace_is_as_its_schema_says():
    validator("trace").validate(render.to_json(TRACE))


def test_the_results_of_a_check_are_as_their_schema_says():
    text = (
        "apiVersion: todoku/v1alpha1\nkind: ReachSpec\nexpect:\n"
        "- {from: node/*, to: svc/web, verdict: allowed, given: {stop: n1}}"
    )
    (assertion,) = parse(text, "f").assertions
    results = [judge.Result(assertion, status, "why", trace="hop\nhop") for status in judge.Status]
    validator("check").validate(judge.to_json(results, name="f", seconds=1.23456))


def enum(name: str, *path: str):
    here = schemas.schema(name)
    for key in path:
        here = here[key]
    return set(here["enum"])


def test_the_schemas_know_every_word():
    assert enum("reach", "$defs", "code") == set(map(str, Code))
    assert enum("reach", "$defs", "outcome") == set(map(str, Outcome))
    report_ = ("$defs", "report", "properties", "targets", "items", "properties", "at")
    assert enum("reach", *report_) == set(map(str, At))
    hop = ("properties", "observations", "items", "properties")
    assert enum("trace", *hop, "evidence") == set(get_args(Evidence))
    result = ("properties", "results", "items", "properties", "status")
    assert enum("check", *result) == set(map(str, judge.Status))


SPOILT = [
    ("unknown field", lambda body: body | {"extra": 1}),
    ("another version", lambda body: body | {"schema": "todoku.dev/reach/v2"}),
    ("no cells", lambda body: {k: v for k, v in body.items() if k != "cells"}),
    ("a word that is none", lambda body: body | {"cells": [body["cells"][0] | {"outcome": "fine"}]}),
]  # fmt: skip


@pytest.mark.parametrize("spoil", [row[1] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_schema_refuses_what_is_none(spoil):
    body = json.loads(json.dumps(report(WORLDS["NodePort"]).to_json()))
    assert not validator("reach").is_valid(spoil(body))
