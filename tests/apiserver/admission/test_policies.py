"""ValidatingAdmissionPolicy, MutatingAdmissionPolicy and match conditions: rules in CEL."""

import pytest

from tests.support.apiserver import running_api
from todoku.api.cel.literals import as_maps as literals

API = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
RULES = [{"operations": ["CREATE", "UPDATE"], "apiGroups": ["", "apps"], "apiVersions": ["v1"],
          "resources": ["configmaps", "deployments"]}]  # fmt: skip


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


async def post(api, path, body, code=201):
    got, answer = await api.request("POST", path, body)
    assert got == code, answer
    return answer


async def policy(api, *validations, binding=None, **spec):
    spec = {"matchConstraints": {"resourceRules": RULES}, "validations": list(validations)} | spec
    await post(api, f"{API}/validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
    bound = {"policyName": "p", "validationActions": ["Deny"]} | (binding or {})
    await post(
        api, f"{API}/validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": bound}
    )


async def create(api, name="c", **data):
    return await api.request("POST", CONFIGMAPS, {"metadata": {"name": name}, "data": data})


HEAD = (
    "configmaps \"c\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
)
DENIALS = {
    "the expression itself": ({"expression": "object.data.size == 'small'"}, "failed expression: object.data.size == 'small'"),
    "a message": ({"expression": "false", "message": "no"}, "no"),
    "a computed message": ({"expression": "false", "message": "no", "messageExpression": "'size ' + object.data.size"}, "size big"),
    "a computed message that fails": ({"expression": "false", "message": "no", "messageExpression": "string(object.data.none)"}, "no"),
    "an error in the expression": ({"expression": "object.data.none == 'x'"}, "expression 'object.data.none == 'x'' resulted in error: "),
}  # fmt: skip


@pytest.mark.parametrize(("validation", "message"), DENIALS.values(), ids=DENIALS)
async def test_a_policy_denies_with_its_words(api, validation, message):
    await policy(api, validation)
    code, status = await create(api, size="big")
    assert code == 422
    assert status["reason"] == "Invalid"
    assert status["message"].startswith(HEAD + message)


async def test_what_the_expressions_see(api):
    await policy(
        api,
        {"expression": "request.operation == 'UPDATE' ? oldObject.data.a == object.data.a : true", "message": "a is fixed"},
        {"expression": "namespaceObject.metadata.name == 'default'"},
        {"expression": "request.userInfo.username == 'kubernetes-admin'"},
        {"expression": "variables.total == 3"},
        variables=[{"name": "one", "expression": "1"}, {"name": "total", "expression": "variables.one + 2"}],
    )  # fmt: skip
    assert (await create(api, a="1"))[0] == 201
    body = {"metadata": {"name": "c"}, "data": {"a": "2"}}
    code, status = await api.request("PUT", f"{CONFIGMAPS}/c", body)
    assert (code, status["message"]) == (422, HEAD + "a is fixed")


async def test_a_policy_without_binding_does_nothing_and_a_bound_one_by_its_reason(api):
    await policy(
        api, {"expression": "false", "reason": "Forbidden"}, binding={"policyName": "other"}
    )
    assert (await create(api))[0] == 201
    bound = {"policyName": "p", "validationActions": ["Deny"]}
    await post(
        api,
        f"{API}/validatingadmissionpolicybindings",
        {"metadata": {"name": "real"}, "spec": bound},
    )
    code, status = await create(api, "d")
    assert (code, status["reason"]) == (403, "Forbidden")


async def test_warnings_only(api):
    await policy(
        api,
        {"expression": "false", "message": "hm"},
        binding={"validationActions": ["Warn", "Audit"]},
    )
    response, _ = await api.raw("POST", CONFIGMAPS, {"metadata": {"name": "c"}})
    assert response.status == 201
    assert (
        "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': hm"
        in response.headers["Warning"]
    )


async def test_parameters_come_from_an_object(api):
    await post(api, CONFIGMAPS, {"metadata": {"name": "limits"}, "data": {"max": "3"}})
    await policy(
        api, {"expression": "size(object.data.word) <= int(params.data.max)"},
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        binding={"paramRef": {"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"}},
    )  # fmt: skip
    assert (await create(api, word="abc"))[0] == 201
    assert (await create(api, "d", word="abcd"))[0] == 422
    await api.request("DELETE", f"{CONFIGMAPS}/limits")
    code, status = await create(api, "d", word="a")
    assert code == 422
    assert "failed to configure binding: no params found" in status["message"]


async def test_match_conditions_and_failure_policy(api):
    conditions = [{"name": "only-big", "expression": "object.metadata.name.startsWith('big')"}]
    await policy(
        api,
        {"expression": "object.none.x == 1"},
        matchConditions=conditions,
        failurePolicy="Ignore",
    )
    assert (await create(api, "small"))[0] == 201
    assert (await create(api, "big"))[0] == 201


async def test_a_policy_that_does_not_compile_is_refused(api):
    spec = {
        "matchConstraints": {"resourceRules": RULES},
        "validations": [{"expression": "object.("}],
    }
    body = {"metadata": {"name": "p"}, "spec": spec}
    status = await post(api, f"{API}/validatingadmissionpolicies", body, 422)
    assert "spec.validations[0].expression" in status["message"]
    assert "compilation failed" in status["message"]


async def test_webhook_match_conditions_that_do_not_compile_are_refused(api):
    hook = {
        "name": "a.b.c", "clientConfig": {"url": "https://localhost:1/"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": RULES,
        "matchConditions": [{"name": "bad", "expression": "... [] bad expression"}],
    }  # fmt: skip
    for kind in ("validating", "mutating"):
        body = {"metadata": {"name": "w"}, "webhooks": [hook]}
        status = await post(api, f"{API}/{kind}webhookconfigurations", body, 422)
        assert "compilation failed" in status["message"]


async def test_webhook_match_conditions_choose_requests(api):
    hook = {
        "name": "a.b.c", "clientConfig": {"url": "https://localhost:1/"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "rules": RULES, "timeoutSeconds": 1,
        "matchConditions": [{"name": "c", "expression": "object.metadata.name != 'skipped'"}],
    }  # fmt: skip
    await post(
        api,
        f"{API}/validatingwebhookconfigurations",
        {"metadata": {"name": "w"}, "webhooks": [hook]},
    )
    assert (await create(api, "skipped"))[0] == 201
    assert (await create(api, "asked"))[0] == 500


# -- mutation

LITERALS = {
    "Object{spec: Object.spec{replicas: 1337}}": 'dyn({"spec": dyn({"replicas": 1337})})',
    'Object{metadata: Object.metadata{annotations: {"a.b/c": "d"}}}': 'dyn({"metadata": dyn({"annotations": {"a.b/c": "d"}})})',
    '[JSONPatch{op: "add", path: "/data/x", value: object.a ? 1 : 2}]': '[dyn({"op": "add", "path": "/data/x", "value": object.a ? 1 : 2})]',
    '{"Object{a: 1}": b}': '{"Object{a: 1}": b}',
    "Object{ `a-b`: x, ?c: y }": 'dyn({ "a-b": x, ?"c": y })',
    "myObject.x": "myObject.x",
}


@pytest.mark.parametrize(("written", "compiled"), LITERALS.items(), ids=LITERALS)
def test_message_literals_become_maps(written, compiled):
    assert literals(written) == compiled


async def mutating(api, *mutations, **spec):
    base = "/apis/admissionregistration.k8s.io/v1"
    spec = {
        "matchConstraints": {"resourceRules": RULES}, "mutations": list(mutations),
        "failurePolicy": "Fail", "reinvocationPolicy": "Never",
    } | spec  # fmt: skip
    await post(api, f"{base}/mutatingadmissionpolicies", {"metadata": {"name": "m"}, "spec": spec})
    await post(
        api,
        f"{base}/mutatingadmissionpolicybindings",
        {"metadata": {"name": "m"}, "spec": {"policyName": "m"}},
    )


def applying(expression):
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


async def test_a_mutation_is_merged_by_the_types_of_the_fields(api):
    await mutating(
        api, applying("Object{metadata: Object.metadata{annotations: {'by': 'policy'}}}"),
        applying("Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
                 "containers: [Object.spec.template.spec.containers{name: 'c', image: 'other'}]}}}}"),
    )  # fmt: skip
    pod = {"containers": [{"name": "b", "image": "b"}, {"name": "c", "image": "c"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod}
    body = {"metadata": {"name": "d", "annotations": {"own": "1"}},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}  # fmt: skip
    got = await post(api, "/apis/apps/v1/namespaces/default/deployments", body)
    assert got["metadata"]["annotations"]["by"] == "policy"
    assert got["metadata"]["annotations"]["own"] == "1"
    images = [one["image"] for one in got["spec"]["template"]["spec"]["containers"]]
    assert images == ["b", "other"]


async def test_a_mutation_by_json_patch(api):
    expression = '[JSONPatch{op: "add", path: "/data/size", value: string(size(object.data))}]'
    await mutating(api, {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
    _, got = await create(api, a="b")
    assert got["data"] == {"a": "b", "size": "1"}


async def test_a_failing_mutation_refuses_or_is_ignored_by_its_policy(api):
    await mutating(api, applying("Object{data: {'x': object.none}}"))
    code, status = await create(api)
    assert (code, status["reason"]) == (422, "Invalid")
    assert status["message"] == (
        "configmaps \"c\" is forbidden: policy 'm' with binding 'm' denied request: expression "
        "'Object{data: {'x': object.none}}' resulted in error: no such key: none"
    )
