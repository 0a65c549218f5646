"""What becomes of fields that a kind does not have, or that were sent twice."""

import json

import pytest

from tests.apiserver.test_crds import WIDGETS, definition, establish, version

APPLY = "application/apply-patch+yaml"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
TEMPLATE = '{"metadata":{"labels":{"app":"x"}},"spec":{"containers":[{"name":"c","image":"i"}]}}'


def deployment(start):
    return (
        f'{{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web"}},"spec":{{{start},'
        f'"selector":{{"matchLabels":{{"app":"x"}}}},"template":{TEMPLATE}}}}}'
    ).encode()


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ('"no":1,"replicas":2,"replicas":3', 'unknown field "spec.no", duplicate field "spec.replicas"'),
        ('"replicas":2,"replicas":3,"no":1', 'duplicate field "spec.replicas", unknown field "spec.no"'),
    ],
    ids=["unknown first", "duplicate first"],
)  # fmt: skip
async def test_strict_problems_are_told_in_the_order_of_the_document(api, start, told):
    path = f"{DEPLOYMENTS}?fieldValidation=Strict"
    status, refusal = await api.request("POST", path, deployment(start))
    assert status == 400
    assert refusal["message"].endswith(f"strict decoding error: {told}")


async def applied(api, text, query="fieldManager=me", path=f"{WIDGETS}/a"):
    head = "\napiVersion: example.com/v1\nkind: Widget\nmetadata:\n  name: a\n"
    return await api.request("PATCH", f"{path}?{query}", (head + text).encode(), content_type=APPLY)


async def test_undeclared_fields_of_metadata_and_keyed_items_are_all_named(api):
    await establish(api)
    text = "  odd: 1\nspec:\n  size: 1\n  parts:\n  - id: x\n    other: 1\n"
    status, refusal = await applied(api, text)
    assert status == 400
    assert refusal["message"].partition("errors:")[2] == (
        "\n  .metadata.odd: field not declared in schema"
        '\n  .spec.parts[id="x"].other: field not declared in schema'
    )


async def test_a_key_set_twice_in_an_applied_configuration_is_named_with_its_line(api):
    await establish(api)
    text = "spec:\n  size: 1\n  size: 2\n"
    status, refusal = await applied(api, text, "fieldManager=me&fieldValidation=Strict")
    assert status == 400
    assert 'line 8: key "size" already set in map' in refusal["message"]
    status, obj = await applied(api, text)
    assert (status, obj["spec"]["size"]) == (201, 2)


async def test_what_keeps_unknown_fields_takes_them_from_apply(api):
    keeps = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    await establish(api, definition(version(schema=keeps)))
    status, obj = await applied(
        api, "spec:\n  any: [1]\n", "fieldManager=me&fieldValidation=Strict"
    )
    assert (status, obj["spec"]) == (201, {"any": [1]})


async def test_finalizers_of_custom_objects_need_no_domain_but_a_warning_says_so(api):
    await establish(api)
    body = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "finalizers": ["plain"]},
        "spec": {"size": 1},
    }
    response, data = await api.raw("POST", WIDGETS, body)
    assert response.status == 201, data
    assert (
        'metadata.finalizers: \\"plain\\": prefer a domain-qualified' in response.headers["Warning"]
    )
    made = json.loads(data)
    made["spec"]["size"] = 2
    response, _ = await api.raw("PUT", f"{WIDGETS}/a", made)
    assert (response.status, "Warning" in response.headers) == (200, False)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "finalizers": ["x"]},
    }
    status, refusal = await api.request("POST", "/api/v1/namespaces/default/configmaps", config)
    assert status == 422
    assert "neither a standard finalizer name nor is it fully qualified" in refusal["message"]


WIDGET = {
    "apiVersion": "example.com/v1",
    "kind": "Widget",
    "metadata": {"name": "a"},
    "spec": {"size": 1},
}
UNREADABLE = 'Widget in version "v1" cannot be handled as a Widget: json: cannot unmarshal'


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ({"kind": "Other"}, 422, 'Widget.example.com "a" is invalid: kind: Invalid value: "Other": must be Widget'),
        (
            {"apiVersion": "example.com/v2"}, 400,
            "the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)",
        ),
        ({"metadata": "x"}, 400, f"{UNREADABLE} string into Go value of type v1.ObjectMeta"),
        (
            {"metadata": {"name": "a", "labels": {"a": 1}}}, 400,
            f"{UNREADABLE} number into Go struct field ObjectMeta.labels of type string",
        ),
    ],
    ids=["kind", "version", "metadata", "labels"],
)  # fmt: skip
async def test_a_custom_object_of_another_form_is_refused(api, change, code, told):
    await establish(api)
    status, refusal = await api.request("POST", WIDGETS, WIDGET | change)
    assert (status, refusal["message"]) == (code, told)


async def test_custom_objects_do_not_travel_as_protobuf(api):
    await establish(api)
    kind = "application/vnd.kubernetes.protobuf"
    status, refusal = await api.request("POST", WIDGETS, b"k8s\0", content_type=kind)
    assert status == 415
    assert refusal["message"].endswith(
        "accepted media types include: application/json, application/yaml"
    )
