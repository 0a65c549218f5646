"""The four patches through the server; their own rules are specified in tests/api."""

import json

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
JSON, MERGE = "application/json-patch+json", "application/merge-patch+json"
STRATEGIC, APPLY = "application/strategic-merge-patch+json", "application/apply-patch+yaml"


def deployment(*images, **spec):
    containers = [{"name": f"c{n}", "image": image} for n, image in enumerate(images or ["a"])]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": containers}}
    selector = {"matchLabels": {"app": "web"}}
    return {
        "metadata": {"name": "web"},
        "spec": {"selector": selector, "template": template, **spec},
    }


async def create(api, path=CONFIG_MAPS, body=None):
    body = body or {"metadata": {"name": "web"}, "data": {"a": "1", "b": "2"}}
    status, obj = await api.request("POST", path, body)
    assert status == 201, obj
    return obj


async def patch(api, body, kind, path=f"{CONFIG_MAPS}/web"):
    return await api.request("PATCH", path, body, content_type=kind)


PATCHES = {
    "merge": ({"data": {"a": None, "c": "3"}}, MERGE),
    "strategic merge": ({"data": {"a": None, "c": "3"}}, STRATEGIC),
    "JSON": (
        [{"op": "remove", "path": "/data/a"}, {"op": "add", "path": "/data/c", "value": "3"}],
        JSON,
    ),
}


@pytest.mark.parametrize(("body", "kind"), PATCHES.values(), ids=PATCHES)
async def test_a_patch_changes_what_it_names(api, body, kind):
    await create(api)
    status, obj = await patch(api, body, kind)
    assert (status, obj["data"]) == (200, {"b": "2", "c": "3"})


async def test_a_strategic_merge_patch_merges_lists_by_key(api):
    await create(api, DEPLOYMENTS, deployment("a", "b"))
    change = {"spec": {"template": {"spec": {"containers": [{"name": "c1", "image": "new"}]}}}}
    _, obj = await patch(api, change, STRATEGIC, f"{DEPLOYMENTS}/web")
    containers = obj["spec"]["template"]["spec"]["containers"]
    assert {one["name"]: one["image"] for one in containers} == {"c0": "a", "c1": "new"}


async def test_a_patch_that_changes_nothing_keeps_the_resource_version(api):
    obj = await create(api)
    assert await patch(api, {"data": {"a": "1"}}, MERGE) == (200, obj)


REFUSED = {
    "an unknown media type": (b"x", "application/json", 415, "accepted media types include"),
    "broken JSON": (b"{", MERGE, 400, ""),
    "a list for an object": (b"[]", MERGE, 400, ""),
    "an object for a list": (b"{}", JSON, 400, ""),
    "a failing test": (
        [{"op": "test", "path": "/data/a", "value": "9"}],
        JSON,
        422,
        "",
    ),
    "a path that is not there": ([{"op": "remove", "path": "/data/none"}], JSON, 422, ""),
    "another name": (
        {"metadata": {"name": "other"}},
        MERGE,
        400,
        "name of the object (other) does not match",
    ),
    "another namespace": (
        {"metadata": {"namespace": "x"}},
        MERGE,
        400,
        "namespace of the provided object",
    ),
    "another kind": ({"kind": "Secret"}, MERGE, 422, "converting (v1.Secret) to (core.ConfigMap)"),
    "a kind nobody knows": (
        {"kind": "Foo"},
        MERGE,
        422,
        'no kind "Foo" is registered for version "v1"',
    ),
    "an old resourceVersion": ({"metadata": {"resourceVersion": "1"}}, MERGE, 409, "modified"),
    "another uid": ({"metadata": {"uid": "x"}}, MERGE, 422, "metadata.uid: Invalid value: "),
    "labels that are no map": (
        {"metadata": {"labels": ["x"]}},
        MERGE,
        422,
        "ObjectMeta.metadata.labels",
    ),
    "metadata that is text": ({"metadata": "x"}, MERGE, 422, "ConfigMap.metadata of type"),
    "a number for text": (
        {"data": {"n": 1}},
        STRATEGIC,
        422,
        '"" is invalid: patch: Invalid value: "map[data:map[n:1]]": cannot convert int64 to string',
    ),
}


@pytest.mark.parametrize(("body", "kind", "code", "text"), REFUSED.values(), ids=REFUSED)
async def test_a_patch_is_refused_for(api, body, kind, code, text):
    await create(api)
    status, refusal = await patch(api, body, kind)
    assert status == code, refusal
    assert text in refusal["message"]


async def test_a_patch_of_nothing_is_a_404(api):
    assert (await patch(api, {}, MERGE))[0] == 404


def owners(obj):
    return [(one["manager"], one["operation"]) for one in obj["metadata"]["managedFields"]]


def applied(**data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": data}


async def apply(api, body, manager, query=""):
    path = f"{CONFIG_MAPS}/web?fieldManager={manager}{query}"
    return await patch(api, body, APPLY, path)


async def test_an_apply_creates_then_changes_and_removes_what_it_no_longer_names(api):
    status, obj = await apply(api, applied(a="1", b="2"), "me")
    assert (status, obj["data"]) == (201, {"a": "1", "b": "2"})
    assert owners(obj) == [("me", "Apply")]
    status, obj = await apply(api, applied(a="3"), "me")
    assert (status, obj["data"]) == (200, {"a": "3"})


async def test_an_applier_that_names_nothing_owns_nothing(api):
    nothing = {key: value for key, value in applied().items() if key != "data"}
    await apply(api, applied(a="1"), "me")
    status, obj = await apply(api, nothing, "me")
    assert (status, "data" in obj, "managedFields" in obj["metadata"]) == (200, False, False)
    await apply(api, applied(a="1"), "me")
    await apply(api, applied(b="1"), "other")
    _, obj = await apply(api, nothing, "me")
    assert (obj["data"], owners(obj)) == ({"b": "1"}, [("other", "Apply")])


async def test_an_apply_twice_changes_nothing(api):
    _, first = await apply(api, applied(a="1"), "me")
    _, second = await apply(api, applied(a="1"), "me")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_an_apply_against_another_owner_conflicts_unless_forced(api):
    await apply(api, applied(a="1"), "one")
    status, refusal = await apply(api, applied(a="2"), "two")
    assert (status, refusal["reason"]) == (409, "Conflict")
    assert refusal["details"]["causes"][0]["field"] == ".data.a"
    status, obj = await apply(api, applied(a="2"), "two", "&force=true")
    assert (status, obj["data"]) == (200, {"a": "2"})


async def test_an_update_takes_over_the_fields_it_changes(api):
    await apply(api, applied(a="1"), "one")
    status, obj = await patch(
        api, {"data": {"a": "2"}}, MERGE, f"{CONFIG_MAPS}/web?fieldManager=two"
    )
    assert status == 200
    assert ("two", "Update") in owners(obj)
    status, refusal = await apply(api, applied(a="3"), "one")
    assert status == 409
    assert 'conflict with "two"' in refusal["message"]


async def test_an_apply_needs_a_manager(api):
    status, refusal = await patch(api, applied(a="1"), APPLY)
    assert status == 422
    assert refusal["details"]["causes"][0]["field"] == "fieldManager"


async def test_force_is_for_apply_only(api):
    await create(api)
    status, _ = await patch(api, {}, MERGE, f"{CONFIG_MAPS}/web?force=true")
    assert status == 422


async def test_an_apply_in_yaml(api):
    body = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: web\ndata:\n  a: '1'\n"
    status, obj = await apply(api, body, "me")
    assert (status, obj["data"]) == (201, {"a": "1"})


async def test_the_client_program_is_the_manager_of_a_plain_write(api):
    headers = {"User-Agent": "kubectl/v1.33.0 (linux/amd64)"}
    body = {"metadata": {"name": "web"}, "data": {"a": "1"}}
    _, obj = await api.request("POST", CONFIG_MAPS, body, headers=headers)
    assert owners(obj) == [("kubectl", "Update")]
    assert obj["metadata"]["managedFields"][0]["fieldsV1"] == {"f:data": {".": {}, "f:a": {}}}


async def test_status_is_patched_apart_from_spec(api):
    await create(api, DEPLOYMENTS, deployment(replicas=1))
    change = {"spec": {"replicas": 9}, "status": {"replicas": 4}}
    _, obj = await patch(api, change, MERGE, f"{DEPLOYMENTS}/web/status")
    assert (obj["spec"]["replicas"], obj["status"]["replicas"]) == (1, 4)
    assert obj["metadata"]["generation"] == 1
    _, obj = await patch(api, change | {"status": {"replicas": 7}}, MERGE, f"{DEPLOYMENTS}/web")
    assert (obj["spec"]["replicas"], obj["status"]["replicas"]) == (9, 4)
    assert obj["metadata"]["generation"] == 2


async def test_scale_is_read_replaced_and_patched(api):
    await create(api, DEPLOYMENTS, deployment(replicas=1))
    path = f"{DEPLOYMENTS}/web/scale"
    _, scale = await api.request("GET", path)
    assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
    assert scale["spec"] == {"replicas": 1}
    assert scale["status"]["selector"] == "app=web"
    scale["spec"]["replicas"] = 3
    status, scale = await api.request("PUT", path, scale)
    assert (status, scale["spec"]) == (200, {"replicas": 3})
    status, scale = await patch(api, {"spec": {"replicas": 5}}, MERGE, path)
    assert (status, scale["spec"]) == (200, {"replicas": 5})
    _, obj = await api.request("GET", f"{DEPLOYMENTS}/web")
    assert (obj["spec"]["replicas"], obj["metadata"]["generation"]) == (5, 3)
    status, _ = await patch(api, {"spec": {"replicas": -1}}, MERGE, path)
    assert status == 422


OWNED = [("status", "spec", {"replicas": 7}), ("", "status", {"replicas": 7})]


@pytest.mark.parametrize(("part", "foreign", "value"), OWNED, ids=["status", "main"])
async def test_an_apply_neither_sets_nor_owns_the_other_endpoints_half(api, part, foreign, value):
    await create(api, DEPLOYMENTS, deployment())
    own = {"status": {"observedGeneration": 1}} if part else {"spec": {"paused": True}}
    body = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        foreign: value,
        **own,
    }
    path = f"{DEPLOYMENTS}/web" + (f"/{part}" if part else "")
    status, obj = await patch(api, body, APPLY, f"{path}?fieldManager=me")
    assert status == 200, obj
    assert obj.get(foreign, {}).get("replicas") != 7
    [mine] = [one for one in obj["metadata"]["managedFields"] if one["manager"] == "me"]
    assert set(mine["fieldsV1"]) == {f"f:{next(iter(own))}"}
    assert mine.get("subresource", "") == part


async def test_nobody_owns_what_allocation_and_admission_add(api):
    service = {"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}}
    made = await create(api, "/api/v1/namespaces/default/services", service)
    assert made["spec"]["clusterIP"]
    [entry] = made["metadata"]["managedFields"]
    assert set(entry["fieldsV1"]["f:spec"]) == {
        "f:internalTrafficPolicy",
        "f:ports",
        "f:sessionAffinity",
        "f:type",
    }


async def test_owners_that_are_there_twice_count_once(api):
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "u"}
    body = {"metadata": {"name": "web", "ownerReferences": [owner, owner]}}
    response, data = await api.raw("POST", CONFIG_MAPS, body)
    assert json.loads(data)["metadata"]["ownerReferences"] == [owner]
    [warning] = response.headers.getall("Warning")
    assert ".metadata.ownerReferences contains duplicate entries; API server dedups" in warning
    assert "observed: u" in warning


async def test_a_scale_is_applied_and_its_applier_owns_the_replicas(api):
    path = f"{DEPLOYMENTS}/web"
    body = deployment("a", replicas=1) | {"apiVersion": "apps/v1", "kind": "Deployment"}
    await api.request("PATCH", f"{path}?fieldManager=one", body, content_type=APPLY)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 3}}
    status, refusal = await patch(api, scale, APPLY, f"{path}/scale?fieldManager=two")
    assert status == 409
    assert refusal["message"] == (
        'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    )
    status, scaled = await patch(api, scale, APPLY, f"{path}/scale?fieldManager=two&force=true")
    assert (status, scaled["kind"], scaled["spec"]) == (200, "Scale", {"replicas": 3})
    _, obj = await api.request("GET", path)
    owners = {one["manager"]: one for one in obj["metadata"]["managedFields"]}
    assert "f:replicas" not in owners["one"]["fieldsV1"]["f:spec"]
    assert owners["two"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert (owners["two"]["apiVersion"], owners["two"]["subresource"]) == ("apps/v1", "scale")
    again = await patch(api, scale, APPLY, f"{path}/scale?fieldManager=two")
    assert again == (200, scaled)


async def test_a_creation_that_was_only_tried_has_no_version(api):
    _, obj = await api.request("POST", f"{CONFIG_MAPS}?dryRun=All", {"metadata": {"name": "a"}})
    assert "resourceVersion" not in obj["metadata"]
    assert obj["metadata"]["uid"]
