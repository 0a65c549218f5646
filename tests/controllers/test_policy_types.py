"""Policies are checked against the types of what they match; the warnings stand in their status."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.cluster import running_cluster
from todoku.api import schemas
from todoku.api.meta import GroupVersionKind, Object
from todoku.controllers.policy_types import matched_resources, warnings

POLICIES = "validatingadmissionpolicies.admissionregistration.k8s.io"
DEPLOYMENT = GroupVersionKind("apps", "v1", "Deployment")


def rule(resources: list[str], groups: list[str], versions: list[str]) -> Object:
    return {"operations": ["CREATE"], "apiGroups": groups, "apiVersions": versions, "resources": resources}  # fmt: skip


def policy(*validations: Object, rules: list[Object] | None = None, **spec: object) -> Object:
    constraints = {"resourceRules": rules or [rule(["deployments"], ["apps"], ["v1"])]}
    spec = {"matchConstraints": constraints, "validations": list(validations)} | spec
    return {"metadata": {"name": "p"}, "spec": spec}


@pytest.mark.parametrize(
    ("one", "matched"),
    [
        (rule(["pods", "pods/status", "*"], [""], ["v1"]), [("", "v1", "pods")]),
        (rule(["pods"], ["*"], ["v1"]), []),
        (rule(["b", "a"], ["y", "x"], ["v1"]), [("x", "v1", "a"), ("x", "v1", "b"), ("y", "v1", "a"), ("y", "v1", "b")]),
    ],
)  # fmt: skip
def test_wildcards_are_not_checked(one, matched):
    assert list(matched_resources(policy(rules=[one]))) == matched


EXPRESSIONS = {
    "object.spec.replicas > 1": "",
    "object.spec.replicas > '1'": "found no matching overload for '_>_' applied to '(int, string)'",
    "object.spec.replica > 1": "undefined field 'replica'",
    "object.spec.template.spec.containers.all(c, c.resources.limits['cpu'] == '1')": "",
    "object.metadata.labels['a'] == 1": "found no matching overload for '_==_' applied to '(string, int)'",
    "oldObject == null || oldObject.status.readyReplicas == variables.wanted": "",
    "variables.wanted == 'a'": "found no matching overload for '_==_' applied to '(int, string)'",
    "params.data['a'] == 1": "found no matching overload for '_==_' applied to '(string, int)'",
}  # fmt: skip


@pytest.mark.parametrize(("expression", "problem"), EXPRESSIONS.items(), ids=EXPRESSIONS)
def test_expressions_over_a_deployment(expression, problem):
    types = {DEPLOYMENT: schemas.type_of("io.k8s.api.apps.v1.Deployment")}
    params = schemas.type_of("io.k8s.api.core.v1.ConfigMap")
    checked = policy(
        {"expression": expression},
        variables=[{"name": "wanted", "expression": "object.spec.replicas"}],
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
    )
    found = warnings(checked, types, params)
    if not problem:
        assert found == []
        return
    assert [one["fieldRef"] for one in found] == ["spec.validations[0].expression"]
    assert found[0]["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:")
    assert problem in found[0]["warning"]


CRD = {
    "metadata": {"name": "crontabs.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"spec": {"type": "object", "properties": {
                "replicas": {"type": "integer"}}}}}}}],
    },
}  # fmt: skip


async def test_the_status_says_what_would_fail():
    definitions = "customresourcedefinitions.apiextensions.k8s.io"
    async with running_cluster(schedule=False) as cluster:
        crd = await cluster.client.create(definitions, CRD)
        await cluster.informers.informer(definitions).reached(crd["metadata"]["resourceVersion"])
        rules = [
            rule(["deployments"], ["apps"], ["v1"]),
            rule(["crontabs"], ["example.com"], ["v1"]),
        ]
        confused = policy(
            {
                "expression": "object.spec.replicas > '1'",
                "messageExpression": "'wants replicas > 1, got ' + object.spec.replicas",
            },
            rules=rules,
        )
        await cluster.client.create(POLICIES, confused)
        right = policy({"expression": "object.spec.replicas > 1"})
        right["metadata"]["name"] = "right"
        await cluster.client.create(POLICIES, right)
        async with asyncio.timeout(5):
            while True:
                statuses = {
                    one["metadata"]["name"]: one.get("status") or {}
                    for one in (await cluster.client.list(POLICIES)).items
                }
                if all("typeChecking" in one for one in statuses.values()):
                    break
                await asyncio.sleep(0.02)
    assert statuses["right"] == {"observedGeneration": 1, "typeChecking": {}}
    found = statuses["p"]["typeChecking"]["expressionWarnings"]
    assert [one["fieldRef"].rpartition(".")[2] for one in found] == [
        "expression",
        "messageExpression",
    ]
    for one in found:
        kinds = [line for line in one["warning"].split("\n") if "Kind=" in line]
        assert [line.partition(": ")[0] for line in kinds] == [
            "apps/v1, Kind=Deployment",
            "example.com/v1, Kind=CronTab",
        ]
    assert "'_+_' applied to '(string, int)'" in found[1]["warning"]
