"""What expressions of policies and match conditions can ask the server, and what becomes of their answers."""

import asyncio

import pytest

from tests.apiserver.admission.test_webhooks import HookServer, allow, configure, patched
from tests.support.apiserver import running_api

API = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
RULE = {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


@pytest.fixture
async def hooks(api):
    async with HookServer(api.folder) as server:
        yield server


async def post(api, path, body, code=201):
    got, answer = await api.request("POST", path, body)
    assert got == code, answer
    return answer


async def policy(api, kind="Validating", name="p", binding=None, **spec):
    spec.setdefault("matchConstraints", {"resourceRules": [RULE]})
    plural = f"{kind.lower()}admissionpolicies"
    await post(api, f"{API}/{plural}", {"metadata": {"name": name}, "spec": spec})
    bound = {"policyName": name} | (binding or {})
    if kind == "Validating":
        bound.setdefault("validationActions", ["Deny"])
    plural = f"{kind.lower()}admissionpolicybindings"
    await post(api, f"{API}/{plural}", {"metadata": {"name": name}, "spec": bound})


async def create(api, name="c", user="", **body):
    headers = {"Impersonate-User": user} if user else None
    body = {"metadata": {"name": name}, **body}
    return await api.request("POST", CONFIGMAPS, body, headers=headers)


async def _may_write(api, *users):
    rules = [{"verbs": ["*"], "apiGroups": [""], "resources": ["configmaps"]}]
    roles = "/apis/rbac.authorization.k8s.io/v1"
    await post(api, f"{roles}/clusterroles", {"metadata": {"name": "writer"}, "rules": rules})
    subjects = [
        {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"} for user in users
    ]
    ref = {"kind": "ClusterRole", "name": "writer", "apiGroup": "rbac.authorization.k8s.io"}
    body = {"metadata": {"name": "writers"}, "subjects": subjects, "roleRef": ref}
    await post(api, f"{roles}/namespaces/default/rolebindings", body)


AUTHORIZED = {
    "the sender may": "authorizer.group('').resource('configmaps').namespace('default').check('delete').allowed()",
    "elsewhere not": "!authorizer.group('').resource('configmaps').namespace('other').check('delete').allowed()",
    "other resources not": "!authorizer.group('').resource('secrets').namespace('default').name('a').check('get').allowed()",
    "a subresource not": "!authorizer.group('').resource('pods').subresource('exec').namespace('default').check('create').allowed()",
    "what is requested": "authorizer.requestResource.check('patch').allowed()",
    "somebody else not": "!authorizer.serviceAccount('default', 'default').group('').resource('configmaps').namespace('default').check('get').allowed()",
    "a path": "authorizer.path('/healthz').check('get').allowed() || !authorizer.path('/healthz').check('get').errored()",
    "with selectors": "authorizer.group('').resource('configmaps').namespace('default').fieldSelector('metadata.name=a').labelSelector('a=b').check('list').allowed()",
    "with a reason": "authorizer.requestResource.check('get').error() == ''",
}  # fmt: skip


async def test_expressions_ask_what_the_sender_may_do(api):
    await _may_write(api, "ann")
    validations = [{"expression": one, "message": name} for name, one in AUTHORIZED.items()]
    await policy(api, validations=validations)
    code, answer = await create(api, user="ann")
    assert code == 201, answer["message"]


async def test_match_conditions_ask_it_too(api, hooks):
    await _may_write(api, "ann")
    expression = "!authorizer.group('').resource('secrets').check('get').allowed()"
    hooks.answers["v"] = lambda request: {"allowed": False, "status": {"message": "no"}}
    condition = {"name": "not-an-admin", "expression": expression}
    await configure(api, "Validating", "v", hooks.hook("v", matchConditions=[condition]))
    assert (await create(api))[0] == 201
    assert (await create(api, "d", user="ann"))[0] == 400


async def test_a_failing_match_condition_is_worded_with_its_expression(api, hooks):
    condition = {"name": "c", "expression": "object.data.none == 'x'"}
    await configure(api, "Mutating", "m", hooks.hook("m", matchConditions=[condition]))
    code, status = await create(api, data={"a": "b"})
    assert code == 403
    assert status["message"] == (
        "configmaps \"c\" is forbidden: expression 'object.data.none == 'x'' resulted in error: no such key: none"
    )


async def test_every_policy_warns_but_the_first_refusal_is_the_answer(api):
    await policy(api, name="a", validations=[{"expression": "false", "message": "first"}])
    await policy(
        api,
        name="b",
        validations=[{"expression": "1 / (size(object.data) - 1) == 1", "reason": "Forbidden"}],
        binding={"validationActions": ["Warn"]},
    )
    response, _ = await api.raw("POST", CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"a": "b"}})
    assert response.status == 422
    assert (
        "Validation failed for ValidatingAdmissionPolicy 'b' with binding 'b': expression "
        "'1 / (size(object.data) - 1) == 1' resulted in error: division by zero"
    ) in response.headers["Warning"]


async def test_a_variable_that_fails_fails_only_what_uses_it(api):
    await policy(
        api,
        variables=[{"name": "size", "expression": "size(object.data.none)"}],
        validations=[
            {"expression": "request.operation == 'CREATE' || variables.size > 1"},
            {"expression": "variables.size > 1"},
        ],
    )
    code, status = await create(api, data={"a": "b"})
    assert code == 422
    assert status["message"].endswith(
        "denied request: expression 'variables.size > 1' resulted in error: "
        'composited variable "size" fails to evaluate: no such key: none'
    )


PARAMS = {
    "a kind that is not served": (
        {"apiVersion": "example.com/v1", "kind": "Foo"}, {"name": "x"},
        "ValidatingAdmissionPolicy 'p' denied request: failed to configure policy: failed to find resource referenced by paramKind: 'example.com/v1, Kind=Foo'",
    ),
    "a namespace for what has none": (
        {"apiVersion": "v1", "kind": "Node"}, {"name": "x", "namespace": "default"},
        "failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
    ),
    "none with the labels": (
        {"apiVersion": "v1", "kind": "Secret"}, {"selector": {"matchLabels": {"a": "b"}}},
        "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "reference", "why"), PARAMS.values(), ids=PARAMS)
async def test_parameters_that_cannot_be_given(api, kind, reference, why):
    reference = reference | {"parameterNotFoundAction": "Deny"}
    await policy(
        api,
        paramKind=kind,
        validations=[{"expression": "params == null"}],
        binding={"paramRef": reference},
    )
    code, status = await create(api)
    assert (code, status["reason"]) == (422, "Invalid")
    assert why in status["message"]


async def test_a_policy_without_reference_to_parameters_sees_null(api):
    await policy(
        api,
        paramKind={"apiVersion": "v1", "kind": "Secret"},
        validations=[{"expression": "params == null"}],
    )
    assert (await create(api))[0] == 201


# -- versions

FOO = {
    "metadata": {"name": "foos.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
        "versions": [
            {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}
            for name in ("v1", "v2")
        ],
    },
}  # fmt: skip
V1_RULE = {"operations": ["*"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["foos"]}  # fmt: skip


@pytest.fixture
async def foos(api):
    await post(api, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", FOO)
    path = "/apis/example.com/v2/namespaces/default/foos"
    async with asyncio.timeout(5):
        while (await api.request("GET", path))[0] != 200:
            await asyncio.sleep(0.02)
    return path


async def test_a_webhook_for_one_version_is_asked_about_the_others(api, hooks, foos):
    add = {"op": "add", "path": "/metadata/labels", "value": {"seen": "v1"}}
    hooks.answers |= {"m": lambda request: patched(add), "v": allow}
    await configure(api, "Mutating", "m", hooks.hook("m", rules=[V1_RULE]))
    await configure(api, "Validating", "v", hooks.hook("v", rules=[V1_RULE], matchPolicy="Exact"))
    body = {"apiVersion": "example.com/v2", "kind": "Foo", "metadata": {"name": "f"}}
    got = await post(api, foos, body)
    assert (got["apiVersion"], got["metadata"]["labels"]) == ("example.com/v2", {"seen": "v1"})
    assert [name for name, _ in hooks.seen] == ["m"]
    request = hooks.seen[0][1]
    assert request["object"]["apiVersion"] == "example.com/v1"
    assert (request["resource"]["version"], request["kind"]["version"]) == ("v1", "v1")
    assert (request["requestResource"]["version"], request["requestKind"]["version"]) == (
        "v2",
        "v2",
    )


async def test_a_policy_for_one_version_judges_the_others(api, foos):
    seen = "object.apiVersion == 'example.com/v1' && request.requestResource.version == 'v2'"
    await policy(
        api,
        validations=[{"expression": seen}, {"expression": "false", "message": "asked"}],
        matchConstraints={"resourceRules": [V1_RULE]},
    )
    body = {"apiVersion": "example.com/v2", "kind": "Foo", "metadata": {"name": "f"}}
    assert "denied request: asked" in (await post(api, foos, body, 422))["message"]
    await api.request("DELETE", f"{API}/validatingadmissionpolicies/p")
    assert (await api.request("POST", foos, body))[0] == 201


async def test_a_policy_for_autoscalers_sees_the_other_version(api):
    rule = {"operations": ["CREATE"], "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}  # fmt: skip
    expression = "Object{spec: Object.spec{targetCPUUtilizationPercentage: 42}}"
    await policy(
        api,
        "Mutating",
        matchConstraints={"resourceRules": [rule]},
        failurePolicy="Fail",
        reinvocationPolicy="Never",
        mutations=[
            {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}
        ],
    )
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    body = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    metric = (await post(api, path, body))["spec"]["metrics"][0]
    assert metric["resource"]["target"]["averageUtilization"] == 42


# -- mutations


def applying(expression):
    return {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}


def patching(expression):
    return {"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}


COUNT = patching(
    "[JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey(variables.key), "
    "value: string(int(object.data[?variables.key].orValue('0')) + 1)}]"
)


@pytest.mark.parametrize(("again", "count"), [("Never", "1"), ("IfNeeded", "2")])
async def test_a_policy_is_reinvoked_when_a_webhook_changed_what_it_saw(api, hooks, again, count):
    add = {"op": "add", "path": "/data/hook", "value": "was here"}
    hooks.answers["m"] = lambda request: patched(add)
    await configure(api, "Mutating", "m", hooks.hook("m"))
    await policy(
        api, "Mutating", mutations=[COUNT], failurePolicy="Fail", reinvocationPolicy=again,
        variables=[{"name": "key", "expression": "'count'"}],
    )  # fmt: skip
    _, got = await create(api, data={"a": "b"})
    assert got["data"] == {"a": "b", "count": count, "hook": "was here"}
    assert len(hooks.seen) == 1


async def test_mutations_of_a_policy_build_on_each_other(api):
    more = applying("Object{data: {'both': object.data.count + '!'}}")
    variables = [{"name": "key", "expression": "'count'"}]
    await policy(
        api, "Mutating", mutations=[COUNT, more], failurePolicy="Fail", reinvocationPolicy="Never",
        variables=variables,
    )  # fmt: skip
    _, got = await create(api, data={"a": "b"})
    assert got["data"] == {"a": "b", "count": "1", "both": "1!"}


async def test_a_mutation_that_fails_and_is_ignored_leaves_the_others(api):
    mutations = [
        applying("Object{data: {'first': '1'}}"),
        applying("Object{data: {'second': object.none}}"),
        applying("Object{data: {'third': object.data.first + '3'}}"),
    ]
    await policy(
        api, "Mutating", mutations=mutations, failurePolicy="Ignore", reinvocationPolicy="Never"
    )
    _, got = await create(api, data={"a": "b"})
    assert got["data"] == {"a": "b", "first": "1", "third": "13"}


async def test_what_can_only_be_replaced_is_not_applied(api):
    rule = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"]}  # fmt: skip
    await policy(
        api, "Mutating", matchConstraints={"resourceRules": [rule]}, failurePolicy="Fail",
        reinvocationPolicy="Never", mutations=[applying("Object{spec: Object.spec{selector: {'a': 'b'}}}")],
    )  # fmt: skip
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    status = await post(api, "/api/v1/namespaces/default/services", body, 422)
    assert "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector" in (
        status["message"]
    )  # fmt: skip


async def test_who_writes_a_policy_can_read_its_parameters(api):
    roles = "/apis/rbac.authorization.k8s.io/v1"
    group = "rbac.authorization.k8s.io"
    names = [f"{kind}admission{what}" for kind in ("validating",) for what in ("policies", "policybindings")]  # fmt: skip
    rules = [
        {"verbs": ["*"], "apiGroups": ["admissionregistration.k8s.io"], "resources": names},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"]},
    ]
    await post(api, f"{roles}/clusterroles", {"metadata": {"name": "ann"}, "rules": rules})
    body = {
        "metadata": {"name": "ann"},
        "subjects": [{"kind": "User", "name": "ann", "apiGroup": group}],
        "roleRef": {"kind": "ClusterRole", "name": "ann", "apiGroup": group},
    }
    await post(api, f"{roles}/clusterrolebindings", body)

    async def write(plural, spec, name):
        body = {"metadata": {"name": name}, "spec": spec}
        headers = {"Impersonate-User": "ann"}
        return await api.request("POST", f"{API}/{plural}", body, headers=headers)

    def judging(kind):
        return {
            "paramKind": {"apiVersion": "v1", "kind": kind},
            "matchConstraints": {"resourceRules": [RULE]},
            "validations": [{"expression": "true"}],
        }

    code, status = await write("validatingadmissionpolicies", judging("Secret"), "s")
    assert (code, status["reason"]) == (422, "Invalid")
    assert (
        'spec.paramKind: Forbidden: user &{ann  [system:authenticated] map[]} must have "get" permission on all '
        "objects of the referenced paramKind (kind=Secret, apiVersion=v1)"
    ) in status["message"]
    assert (await write("validatingadmissionpolicies", judging("ConfigMap"), "c"))[0] == 201
    await post(
        api,
        f"{API}/validatingadmissionpolicies",
        {"metadata": {"name": "s"}, "spec": judging("Secret")},
    )
    reference = {"name": "x", "namespace": "default", "parameterNotFoundAction": "Allow"}
    for policy_name, code in (("c", 201), ("s", 422)):
        spec = {"policyName": policy_name, "validationActions": ["Warn"], "paramRef": reference}
        got, status = await write("validatingadmissionpolicybindings", spec, policy_name)
        assert got == code, status
    assert (
        'does not have "get" permission on the object referenced by paramRef' in (status["message"])
    )


MUTATIONS = {
    "a test that does not hold": (patching("[JSONPatch{op: 'test', path: '/data/a', value: 'x'}, JSONPatch{op: 'remove', path: '/data'}]"), None),
    "a path that is not there": (patching("[JSONPatch{op: 'replace', path: '/none/x', value: 'y'}]"), "JSONPath: replace operation does not apply: doc is missing path: /none/x: missing value"),
    "a key that is not there": (patching("[JSONPatch{op: 'remove', path: '/data/x'}]"), "JSONPath: error in remove for path: '/data/x': Unable to remove nonexistent key: x: missing value"),
    "an unknown field": (applying("Object{spec: Object.spec{replicas: 1}}"), "error applying patch: failed to convert patch object to typed object: .spec: field not declared in schema"),
}  # fmt: skip


@pytest.mark.parametrize(("mutation", "why"), MUTATIONS.values(), ids=MUTATIONS)
async def test_mutations_that_do_not_fit(api, mutation, why):
    await policy(
        api, "Mutating", mutations=[mutation], failurePolicy="Fail", reinvocationPolicy="Never"
    )
    code, got = await create(api, data={"a": "b"})
    if why is None:
        assert (code, got["data"]) == (201, {"a": "b"})
        return
    assert (code, got["reason"]) == (422, "Invalid")
    assert got["message"].endswith(f"denied request: {why}")


async def test_a_patch_of_a_webhook_that_does_not_apply(api, hooks):
    hooks.answers["m"] = lambda request: patched({"op": "add", "path": "/none/x", "value": 1})
    await configure(api, "Mutating", "m", hooks.hook("m"))
    code, status = await create(api)
    assert (code, status["message"]) == (
        500,
        'Internal error occurred: add operation does not apply: doc is missing path: "/none/x": missing value',
    )
