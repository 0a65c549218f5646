"""Admission policies, bindings and webhook configurations as they are written: what is refused, and its words."""

import pytest

from todoku.api.resources import registry

GROUP = "admissionregistration.k8s.io"
RULE = {"operations": ["CREATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"]}  # fmt: skip


def problems(plural, obj, old=None):
    """The problems of an object with its defaults, each as clients read it."""
    strategy = registry().find(f"{plural}.{GROUP}").strategy
    for one in (obj, old):
        if one is not None:
            strategy.default(one)
    return [str(one) for one in strategy.validate(obj, old)]


def policy(*validations, rules=(RULE,), **spec):
    constraints = {"resourceRules": list(rules)}
    return {
        "metadata": {"name": "p"},
        "spec": {"matchConstraints": constraints, "validations": list(validations)} | spec,
    }


COMPILE = 'spec.validations[0].expression: Invalid value: "{0}": compilation failed: ERROR: <input>:1:{1}: {2}\n | {0}\n | {3}^'


def refused(expression, column, why):
    return COMPILE.format(expression, column, why, "." * (column - 1))


EXPRESSIONS = {
    "object.spec.replicas > 1": None,
    "request.userInfo.groups.exists(g, g == 'a') && namespaceObject.metadata.labels['a'] == 'b'": None,
    "authorizer.group('').resource('pods').namespace('a').check('create').allowed()": None,
    "authorizer.requestResource.fieldSelector('a=b').check('list').reason() == ''": None,
    "authorizer.serviceAccount('a', 'b').path('/healthz').check('get').errored()": None,
    "quantity(object.a).isGreaterThan(quantity('1')) && semver('1.0.0').major() == 1": None,
    "format.dns1123Label().validate(request.name).orValue([]).size() == 0": None,
    "request.foo == 1": refused("request.foo == 1", 8, "undefined field 'foo'"),
    "params.a == 1": refused("params.a == 1", 1, "undeclared reference to 'params' (in container '')"),
    "variables.a": refused("variables.a", 1, "undeclared reference to 'variables' (in container '')"),
    "request.name == 1": refused("request.name == 1", 14, "found no matching overload for '_==_' applied to '(string, int)'"),
    "authorizer.group('').allowed()": refused(
        "authorizer.group('').allowed()", 29,
        "found no matching overload for 'allowed' applied to 'kubernetes.authorization.GroupCheck.()'",
    ),
    "authorizer.foo": refused("authorizer.foo", 11, "type 'kubernetes.authorization.Authorizer' does not support field selection"),
    "object.spec": 'spec.validations[0].expression: Invalid value: "object.spec": must evaluate to bool but got dyn',
    "[request.name]": 'spec.validations[0].expression: Invalid value: "[request.name]": must evaluate to bool but got list(string)',
}  # fmt: skip


@pytest.mark.parametrize(("expression", "problem"), EXPRESSIONS.items(), ids=EXPRESSIONS)
def test_expressions_are_checked_with_the_types_they_see(expression, problem):
    found = problems("validatingadmissionpolicies", policy({"expression": expression}))
    assert found == ([] if problem is None else [problem])


def test_variables_have_the_types_of_their_expressions():
    variables = [
        {"name": "count", "expression": "1 + 1"},
        {"name": "twice", "expression": "variables.count * 2"},
        {"name": "bad", "expression": "variables.count + 'a'"},
        {"name": "in", "expression": "1"},
    ]
    found = problems(
        "validatingadmissionpolicies",
        policy(
            {"expression": "variables.twice == 4 && variables.bad == 1"},
            {"expression": "variables.twice == 'a'"},
            {"expression": "has(variables.count) && variables.later"},
            variables=variables,
        ),
    )
    wanted = [
        ("spec.variables[2].expression", "applied to '(int, string)'"),
        ("spec.variables[3].name", "name is not a valid CEL identifier"),
        ("spec.validations[1].expression", "applied to '(int, string)'"),
        ("spec.validations[2].expression", "undefined field 'later'"),
    ]
    assert len(found) == len(wanted)
    for one, (path, text) in zip(found, wanted, strict=True):
        assert one.startswith(f"{path}: Invalid value: ")
        assert text in one


POLICIES = {
    "nothing to check": ({"validations": []}, [
        "spec.validations: Required value: validations or auditAnnotations must contain at least one item",
        "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item",
    ]),
    "a message without authorizer": (
        {"validations": [{"expression": "true", "messageExpression": "string(authorizer == null)"}]},
        ["undeclared reference to 'authorizer'"],
    ),
    "a message that is no text": (
        {"validations": [{"expression": "true", "messageExpression": "1"}]},
        ["spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int"],
    ),
    "an unknown reason": (
        {"validations": [{"expression": "true", "reason": "Because"}]},
        ['spec.validations[0].reason: Unsupported value: "Because": supported values: "Forbidden", "Invalid", "RequestEntityTooLarge"'],
    ),
    "an audit annotation": (
        {"auditAnnotations": [{"key": "a b", "valueExpression": "1"}], "validations": []},
        ["spec.auditAnnotations[0].key: Invalid value: \"p/a b\"", "must evaluate to one of [string null_type] but got int"],
    ),
    "a condition twice": (
        {"matchConditions": [{"name": "a", "expression": "true"}, {"name": "a", "expression": ""}]},
        ["spec.matchConditions[1].expression: Required value", 'spec.matchConditions[1].name: Duplicate value: "a"'],
    ),
    "bad parameters": (
        {"paramKind": {"apiVersion": "a/b/c", "kind": "1x"}},
        ['spec.paramKind.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c',
         'spec.paramKind.kind: Invalid value: "1x": may have mixed case, but should otherwise match: '],
    ),
    "resources that a wildcard covers": (
        {"rules": [RULE | {"resources": ["pods/*", "pods/status", "*", "a"]}]},
        ["spec.matchConstraints.resourceRules[0].resources[1]: Invalid value: \"pods/status\": if 'pods/*' is present, must not specify pods/status",
         "if '*' is present, must not specify other resources without subresources"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), POLICIES.values(), ids=POLICIES)
def test_policies_that_are_refused(spec, wanted):
    rules = spec.pop("rules", (RULE,))
    found = problems(
        "validatingadmissionpolicies", policy({"expression": "true"}, rules=rules, **spec)
    )
    assert len(found) == len(wanted), found
    for one, text in zip(found, wanted, strict=True):
        assert text in one


def mutation(**fields):
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "mutations": [fields]}
    return {"metadata": {"name": "m"}, "spec": spec}


MUTATIONS = {
    "an object": ({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{spec: Object.spec{replicas: 1}}"}}, ""),
    "operations": ({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: 1}]"}}, ""),
    "no object": ({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "1"}},
                  'spec.mutations[0].applyConfiguration.expression: Invalid value: "1": must evaluate to Object but got int'),
    "no list": ({"patchType": "JSONPatch", "jsonPatch": {"expression": "'a'"}}, "must evaluate to list(JSONPatch) but got string"),
    "no type": ({}, "spec.mutations[0].patchType: Required value"),
    "another type": ({"patchType": "Merge"}, 'Unsupported value: "Merge": supported values: "ApplyConfiguration", "JSONPatch"'),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "wanted"), MUTATIONS.values(), ids=MUTATIONS)
def test_a_mutation_that_cannot_be_made_is_refused(fields, wanted):
    found = problems("mutatingadmissionpolicies", mutation(**fields))
    assert len(found) == (1 if wanted else 0), found
    assert all(wanted in one for one in found)


BINDINGS = {
    "both of name and selector": (
        {"paramRef": {"name": "a", "selector": {}, "parameterNotFoundAction": "Deny"}},
        ["spec.paramRef.name: Forbidden: name and selector are mutually exclusive",
         "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive"],
    ),
    "no action": ({"validationActions": []}, ["spec.validationActions: Required value: at least one validation action is required"]),
    "a warning beside a refusal": ({"validationActions": ["Deny", "Warn"]}, ["must not contain both Deny and Warn"]),
    "no policy": ({"policyName": ""}, ["spec.policyName: Required value"]),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), BINDINGS.values(), ids=BINDINGS)
def test_bindings_that_are_refused(spec, wanted):
    spec = {"policyName": "p", "validationActions": ["Deny"]} | spec
    found = problems("validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": spec})
    assert len(found) == len(wanted), found
    for one, text in zip(found, wanted, strict=True):
        assert text in one


def hooks(*conditions):
    hook = {
        "name": "a.b.c", "clientConfig": {"url": "https://localhost/"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": [RULE], "matchConditions": list(conditions),
    }  # fmt: skip
    return {"metadata": {"name": "w"}, "webhooks": [hook]}


def test_match_conditions_of_webhooks():
    bad = {"name": "a/b/c", "expression": "params.x == 1"}
    found = problems("validatingwebhookconfigurations", hooks(bad))
    assert [one.partition(": ")[0] for one in found] == [
        "webhooks[0].matchConditions[0].expression",
        "webhooks[0].matchConditions[0].name",
    ]
    assert problems("mutatingwebhookconfigurations", hooks(bad), hooks(bad)) == []
    many = [{"name": f"c{number}", "expression": "true"} for number in range(65)]
    assert problems("mutatingwebhookconfigurations", hooks(*many)) == [
        "webhooks[0].matchConditions: Too many: 65: must have at most 64 items"
    ]
