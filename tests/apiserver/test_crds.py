"""CustomResourceDefinitions: from the definition to served, validated, published and removed objects."""

import asyncio
import json

import pytest

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
MERGE = "application/merge-patch+json"

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10},
        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"},
        "name": {"type": "string", "pattern": "^[a-z]+$", "maxLength": 5},
        "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
        "parts": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
            "items": {
                "type": "object",
                "required": ["id"],
                "properties": {"id": {"type": "string"}, "n": {"type": "integer"}},
            },
        },
        "port": {"x-kubernetes-int-or-string": True},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "replicas": {"type": "integer"},
    },
}
STATUS = {
    "type": "object",
    "properties": {"replicas": {"type": "integer"}, "selector": {"type": "string"}},
}


def version(name="v1", **fields):
    schema = {"type": "object", "properties": {"spec": SPEC, "status": STATUS}}
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        **fields,
    }


def definition(*versions, plural="widgets", kind="Widget", **names):
    return {
        "metadata": {"name": f"{plural}.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind, **names},
            "versions": list(versions) or [version()],
        },
    }


async def establish(api, crd=None):
    crd = crd or definition()
    status, made = await api.request("POST", CRDS, crd)
    assert status == 201, made
    return await until(api, crd["metadata"]["name"], "Established")


async def until(api, name, condition, wanted="True"):
    async with asyncio.timeout(5):
        while True:
            _, crd = await api.request("GET", f"{CRDS}/{name}")
            conditions = {one["type"]: one for one in crd["status"].get("conditions") or ()}
            if conditions.get(condition, {}).get("status") == wanted:
                return crd
            await asyncio.sleep(0.005)


def widget(name="a", **spec):
    body = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}}
    return body | {"spec": {"size": 1, **spec}}


async def test_a_definition_is_established_with_its_names_and_stored_version(api):
    crd = await establish(api)
    status = crd["status"]
    assert status["acceptedNames"] == {
        "plural": "widgets",
        "singular": "widget",
        "kind": "Widget",
        "listKind": "WidgetList",
    }
    assert status["storedVersions"] == ["v1"]
    assert [one["type"] for one in status["conditions"]] == ["NamesAccepted", "Established"]


async def test_objects_are_served_as_soon_as_the_definition_is_established(api):
    await establish(api)
    status, made = await api.request("POST", WIDGETS, widget())
    assert status == 201
    assert made["metadata"]["generation"] == 1
    _, listed = await api.request("GET", WIDGETS)
    assert listed["kind"] == "WidgetList"
    assert listed["items"] == [made]


async def test_discovery_names_the_new_group_and_resource(api):
    await establish(api, definition(shortNames=["wd"], categories=["all"]))
    _, groups = await api.request("GET", "/apis")
    assert "example.com" in [one["name"] for one in groups["groups"]]
    _, listed = await api.request("GET", "/apis/example.com/v1")
    assert listed["resources"][0]["shortNames"] == ["wd"]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, found = await api.request("GET", "/apis", accept=accept)
    group = next(one for one in found["items"] if one["metadata"]["name"] == "example.com")
    assert group["versions"][0]["resources"][0]["categories"] == ["all"]


async def test_openapi_publishes_the_schema(api):
    await establish(api)
    _, document = await api.request("GET", "/openapi/v2")
    found = document["definitions"]["com.example.v1.Widget"]
    assert found["properties"]["spec"]["properties"]["size"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 10,
    }
    kind = {"group": "example.com", "version": "v1", "kind": "Widget"}
    assert found["x-kubernetes-group-version-kind"] == [kind]
    _, document = await api.request("GET", "/openapi/v3/apis/example.com/v1")
    assert "com.example.v1.Widget" in document["components"]["schemas"]


async def test_openapi_offers_the_patches_that_are_taken(api):
    """kubectl apply chooses by it: a strategic merge patch of a custom object would be refused."""
    await establish(api)
    _, document = await api.request("GET", "/openapi/v3/apis/example.com/v1")
    taken = {
        media
        for item in document["paths"].values()
        if "patch" in item
        for media in item["patch"]["requestBody"]["content"]
    }
    assert taken == {"application/json-patch+json", MERGE, "application/apply-patch+yaml"}
    _, builtin = await api.request("GET", "/openapi/v3/apis/apps/v1")
    item = builtin["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert "application/strategic-merge-patch+json" in item["patch"]["requestBody"]["content"]


async def test_unknown_fields_are_pruned_with_a_warning_and_defaults_filled_in(api):
    await establish(api)
    body = widget(nothing=1, free={"any": {"thing": 1}})
    response, data = await api.raw("POST", WIDGETS, body)
    assert response.status == 201
    assert json.loads(data)["spec"] == {"size": 1, "color": "red", "free": {"any": {"thing": 1}}}
    assert response.headers["Warning"] == '299 - "unknown field \\"spec.nothing\\""'


async def test_strict_validation_refuses_unknown_fields(api):
    await establish(api)
    status, refusal = await api.request("POST", f"{WIDGETS}?fieldValidation=Strict", widget(x=1))
    assert status == 400
    assert 'strict decoding error: unknown field "spec.x"' in refusal["message"]


INVALID = {
    "a missing field": ({}, "spec.size: Required value"),
    "a null": ({"size": None}, "spec.size: Required value"),
    "a wrong type": (
        {"size": "big"},
        'spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"',
    ),
    "too small": (
        {"size": 0},
        "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1",
    ),
    "too large": (
        {"size": 11},
        "spec.size: Invalid value: 11: spec.size in body should be less than or equal to 10",
    ),
    "not in the enumeration": (
        {"color": "green"},
        'spec.color: Unsupported value: "green": supported values: "red", "blue"',
    ),
    "a pattern": (
        {"name": "A"},
        "spec.name: Invalid value: \"A\": spec.name in body should match '^[a-z]+$'",
    ),
    "too long": ({"name": "abcdef"}, "spec.name: Too long: may not be more than 5 bytes"),
    "twice in a set": ({"tags": ["a", "a"]}, 'spec.tags[1]: Duplicate value: "a"'),
    "twice in a map": (
        {"parts": [{"id": "a"}, {"id": "a"}]},
        'spec.parts[1]: Duplicate value: {"id":"a"}',
    ),
    "neither integer nor string": (
        {"port": True},
        "spec.port in body must be of type integer,string",
    ),
}


@pytest.mark.parametrize(("spec", "text"), INVALID.values(), ids=INVALID)
async def test_a_value_is_refused_for(api, spec, text):
    await establish(api)
    spec = {"size": 1} | spec if spec else {}
    status, refusal = await api.request("POST", WIDGETS, widget() | {"spec": spec})
    assert (status, refusal["reason"]) == (422, "Invalid")
    assert text in refusal["message"]


async def test_all_problems_are_collected(api):
    await establish(api)
    spec = {"size": 0, "color": "x", "name": "A"}
    _, refusal = await api.request("POST", WIDGETS, widget() | {"spec": spec})
    assert len(refusal["details"]["causes"]) == 3


async def test_status_and_spec_are_written_apart(api):
    await establish(api, definition(version(subresources={"status": {}})))
    await api.request("POST", WIDGETS, widget() | {"status": {"replicas": 9}})
    change = {"spec": {"size": 2}, "status": {"replicas": 3}, "metadata": {"labels": {"a": "b"}}}
    _, obj = await api.request("PATCH", f"{WIDGETS}/a/status", change, content_type=MERGE)
    assert obj["status"] == {"replicas": 3}
    assert obj["spec"]["size"] == 1
    assert "labels" not in obj["metadata"]
    assert obj["metadata"]["generation"] == 1
    _, obj = await api.request("PATCH", f"{WIDGETS}/a", change, content_type=MERGE)
    assert (obj["spec"]["size"], obj["metadata"]["generation"]) == (2, 2)


async def test_scale_follows_the_paths_of_the_definition(api):
    paths = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    await establish(api, definition(version(subresources={"status": {}, "scale": paths})))
    await api.request("POST", WIDGETS, widget(replicas=2))
    status = {"status": {"replicas": 1, "selector": "a=b"}}
    await api.request("PATCH", f"{WIDGETS}/a/status", status, content_type=MERGE)
    _, scale = await api.request("GET", f"{WIDGETS}/a/scale")
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 1, "selector": "a=b"})
    scale["spec"]["replicas"] = 5
    await api.request("PUT", f"{WIDGETS}/a/scale", scale)
    _, obj = await api.request("GET", f"{WIDGETS}/a")
    assert obj["spec"]["replicas"] == 5


async def test_two_versions_show_the_same_object(api):
    await establish(api, definition(version("v1"), version("v2", storage=False)))
    await api.request("POST", WIDGETS, widget())
    path = WIDGETS.replace("/v1/", "/v2/")
    _, obj = await api.request("GET", f"{path}/a")
    assert (obj["apiVersion"], obj["spec"]["size"]) == ("example.com/v2", 1)
    _, listed = await api.request("GET", path)
    assert listed["items"][0]["apiVersion"] == "example.com/v2"
    obj["spec"]["size"] = 3
    status, _ = await api.request("PUT", f"{path}/a", obj)
    assert status == 200
    _, obj = await api.request("GET", f"{WIDGETS}/a")
    assert (obj["apiVersion"], obj["spec"]["size"]) == ("example.com/v1", 3)


async def test_printer_columns_make_the_table(api):
    columns = [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]
    await establish(api, definition(version(additionalPrinterColumns=columns)))
    await api.request("POST", WIDGETS, widget(size=7))
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    _, table = await api.request("GET", WIDGETS, accept=accept)
    assert [one["name"] for one in table["columnDefinitions"]] == ["Name", "Size"]
    assert table["rows"][0]["cells"] == ["a", 7]


async def test_selectable_fields_select(api):
    selectable = [{"jsonPath": ".spec.color"}]
    await establish(api, definition(version(selectableFields=selectable)))
    await api.request("POST", WIDGETS, widget("a", color="red"))
    await api.request("POST", WIDGETS, widget("b", color="blue"))
    _, listed = await api.request("GET", f"{WIDGETS}?fieldSelector=spec.color%3Dblue")
    assert [one["metadata"]["name"] for one in listed["items"]] == ["b"]


async def test_a_new_default_shows_in_objects_stored_before_it(api):
    crd = await establish(api, definition(version()))
    await api.request("POST", WIDGETS, widget())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["spec"]["properties"]["shape"] = {"type": "string", "default": "round"}
    status, crd = await api.request("PUT", f"{CRDS}/widgets.example.com", crd)
    assert status == 200, crd
    async with asyncio.timeout(5):
        while True:
            _, obj = await api.request("GET", f"{WIDGETS}/a")
            if obj["spec"].get("shape") == "round":
                break
            await asyncio.sleep(0.005)
    status, written = await api.request(
        "PUT", f"{WIDGETS}/a", obj
    )  # and is stored by the next write
    before, after = (int(one["metadata"]["resourceVersion"]) for one in (obj, written))
    assert (status, after > before) == (200, True)
    _, again = await api.request("PUT", f"{WIDGETS}/a", written)
    assert again["metadata"]["resourceVersion"] == written["metadata"]["resourceVersion"]


async def test_an_object_moves_to_a_new_stored_version_when_it_is_written_as_it_is(api):
    crd = await establish(api, definition(version("v1"), version("v2", storage=False)))
    _, obj = await api.request("POST", WIDGETS, widget())
    crd["spec"]["versions"][0]["storage"], crd["spec"]["versions"][1]["storage"] = False, True
    status, crd = await api.request("PUT", f"{CRDS}/widgets.example.com", crd)
    assert (status, crd["status"]["storedVersions"]) == (200, ["v1", "v2"])
    patch = {"content_type": "application/merge-patch+json"}
    _, moved = await api.request("PATCH", f"{WIDGETS}/a", {}, **patch)
    assert moved["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]
    assert moved["metadata"]["generation"] == 1
    _, again = await api.request("PATCH", f"{WIDGETS}/a", {}, **patch)
    assert again["metadata"]["resourceVersion"] == moved["metadata"]["resourceVersion"]


async def test_a_second_holder_of_a_name_waits_until_the_first_is_gone(api):
    await establish(api, definition(shortNames=["wd"]))
    second = definition(plural="gadgets", kind="Gadget", shortNames=["wd"])
    await api.request("POST", CRDS, second)
    crd = await until(api, "gadgets.example.com", "NamesAccepted", "False")
    assert crd["status"]["conditions"][0]["message"] == '"wd" is already in use'
    assert (await api.request("GET", "/apis/example.com/v1/gadgets"))[0] == 404
    await api.request("DELETE", f"{CRDS}/widgets.example.com")
    await until(api, "gadgets.example.com", "Established")


async def test_deleting_a_definition_deletes_its_objects_first(api):
    await establish(api)
    await api.request("POST", WIDGETS, widget("a"))
    body = widget("b")
    body["metadata"]["finalizers"] = ["example.com/wait"]
    await api.request("POST", WIDGETS, body)
    _, crd = await api.request("DELETE", f"{CRDS}/widgets.example.com")
    assert crd["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    async with asyncio.timeout(5):
        while (await api.request("GET", f"{WIDGETS}/a"))[0] != 404:
            await asyncio.sleep(0.005)
    assert (await api.request("POST", WIDGETS, widget("c")))[0] == 405
    assert (await api.request("GET", f"{CRDS}/widgets.example.com"))[0] == 200
    none = {"metadata": {"finalizers": None}}
    await api.request("PATCH", f"{WIDGETS}/b", none, content_type=MERGE)
    async with asyncio.timeout(5):
        while (await api.request("GET", f"{CRDS}/widgets.example.com"))[0] != 404:
            await asyncio.sleep(0.005)
    assert (await api.request("GET", WIDGETS))[0] == 404


async def test_objects_of_a_definition_that_serves_no_version_go_with_it(api):
    await establish(api)
    assert (await api.request("POST", WIDGETS, widget("a")))[0] == 201
    unserved = {"spec": {"versions": [version(served=False)]}}
    path = f"{CRDS}/widgets.example.com"
    assert (await api.request("PATCH", path, unserved, content_type=MERGE))[0] == 200
    async with asyncio.timeout(5):
        while (await api.request("GET", WIDGETS))[0] != 404:
            await asyncio.sleep(0.005)
    await api.request("DELETE", path)
    async with asyncio.timeout(5):
        while (await api.request("GET", path))[0] != 404:
            await asyncio.sleep(0.005)
    await establish(api)
    assert (await api.request("GET", WIDGETS))[1]["items"] == []


async def test_server_side_apply_to_a_custom_resource(api):
    await establish(api)
    path = f"{WIDGETS}/a?fieldManager=me"
    kind = "application/apply-patch+yaml"
    body = widget(parts=[{"id": "x", "n": 1}])
    status, obj = await api.request("PATCH", path, body, content_type=kind)
    assert status == 201, obj
    body = widget(parts=[{"id": "y", "n": 2}])
    path = f"{WIDGETS}/a?fieldManager=you"
    status, obj = await api.request("PATCH", path, body, content_type=kind)
    assert status == 200, obj
    assert [one["id"] for one in obj["spec"]["parts"]] == ["x", "y"]


APPLIED = {
    "an unknown field": ({"other": 1}, ".spec.other: field not declared in schema"),
    "another type": ({"size": "big"}, ".spec.size: expected numeric (int or float), got string"),
}


@pytest.mark.parametrize(("spec", "text"), APPLIED.values(), ids=APPLIED)
async def test_an_applied_custom_resource_fits_its_schema(api, spec, text):
    await establish(api)
    path, kind = (
        f"{WIDGETS}/a?fieldManager=me&fieldValidation=Strict",
        "application/apply-patch+yaml",
    )
    status, refusal = await api.request("PATCH", path, widget(**spec), content_type=kind)
    assert status == 400
    assert refusal["message"] == (
        f"failed to create typed patch object (default/a; example.com/v1, Kind=Widget): {text}"
    )


async def test_duplicate_keys_of_an_applied_custom_resource_are_named(api):
    await establish(api)
    path, kind = (
        f"{WIDGETS}/a?fieldManager=me&fieldValidation=Strict",
        "application/apply-patch+yaml",
    )
    head = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n"
    body = f"{head}spec:\n  size: 1\n  size: 2\n".encode()
    response, data = await api.raw("PATCH", path, body, content_type=kind)
    assert response.status == 400
    assert (
        b"error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors" in data
    )
    assert rb"line 6: key \"size\" already set in map" in data


async def test_finalizers_of_custom_resources_need_no_domain(api):
    await establish(api)
    body = widget()
    body["metadata"]["finalizers"] = ["plain"]
    assert (await api.request("POST", WIDGETS, body))[0] == 201
    body["metadata"]["name"], body["metadata"]["finalizers"] = "b", ["not plain"]
    assert (await api.request("POST", WIDGETS, body))[0] == 422


BAD_DEFINITIONS = {
    "a name that is not plural.group": (
        definition() | {"metadata": {"name": "other.example.com"}},
        "metadata.name",
    ),
    "no versions": (
        {**definition(), "spec": {**definition()["spec"], "versions": []}},
        "spec.versions",
    ),
    "two storage versions": (definition(version("v1"), version("v2")), "spec.versions"),
    "no schema": (
        definition({"name": "v1", "served": True, "storage": True}),
        "spec.versions[0].schema.openAPIV3Schema",
    ),
    "a field without a type": (
        definition(
            version(
                schema={
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"properties": {}}},
                    }
                }
            )
        ),
        "spec.validation.openAPIV3Schema.properties[spec].type",
    ),
}


@pytest.mark.parametrize(("crd", "field"), BAD_DEFINITIONS.values(), ids=BAD_DEFINITIONS)
async def test_a_definition_is_refused_for(api, crd, field):
    status, refusal = await api.request("POST", CRDS, crd)
    assert status == 422, refusal
    assert field in [cause["field"] for cause in refusal["details"]["causes"]]


async def test_a_definition_that_was_stored_is_served_after_a_restart(tmp_path):
    from tests.support.apiserver import running_api

    path = str(tmp_path / "todoku.db")
    async with running_api(path) as api:
        await establish(api)
        _, made = await api.request("POST", WIDGETS, widget())
    async with running_api(path) as api:
        assert await api.request("GET", f"{WIDGETS}/a") == (200, made)
