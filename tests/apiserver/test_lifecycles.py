"""Every kind's life through the server: created, read, written in each way, watched and deleted."""

import asyncio

import pytest
import pytest_asyncio

from tests.support.apiserver import running_api
from tests.support.minimal import minimal
from todoku.api.resources import registry
from todoku.api.resources.updates import CREATED_BY_UPDATE

pytestmark = pytest.mark.asyncio(loop_scope="module")

MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
PATCHES = {
    MERGE: {"metadata": {"annotations": {"merge": "1"}}},
    "application/strategic-merge-patch+json": {"metadata": {"annotations": {"strategic": "1"}}},
    "application/json-patch+json": [
        {"op": "add", "path": "/metadata/annotations/json", "value": "1"}
    ],
}
# Whose delete answers with the object; the others' with a Status.
SHOWN = {
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourcequotas",
    "serviceaccounts",
    "services",
    "deviceclasses.resource.k8s.io",
    "resourceclaims.resource.k8s.io",
    "resourceclaimtemplates.resource.k8s.io",
    "resourceslices.resource.k8s.io",
    "csidrivers.storage.k8s.io",
    "csinodes.storage.k8s.io",
    "storageclasses.storage.k8s.io",
    "volumeattachments.storage.k8s.io",
    "volumeattributesclasses.storage.k8s.io",
}
# The server writes these itself too.
BUSY = {
    "customresourcedefinitions.apiextensions.k8s.io",
    "apiservices.apiregistration.k8s.io",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
}
# Whose status is written without any metadata.
PLAIN_STATUS = {
    "apiservices.apiregistration.k8s.io",
    "flowschemas.flowcontrol.apiserver.k8s.io",
    "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io",
    "validatingadmissionpolicies.admissionregistration.k8s.io",
    "resourceclaims.resource.k8s.io",
    "volumeattachments.storage.k8s.io",
}
# Whose plain delete orphans what they own, by a finalizer.
ORPHANING = {"replicationcontrollers", "jobs.batch"}
# Annotations of a Deployment are part of what its controller copies.
RAISED = {"deployments.apps"}
STORED = [one for one in registry() if {"create", "list", "watch"} <= set(one.verbs)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api():
    async with running_api() as api:
        await api.request(
            "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
        )
        yield api


def collection(resource):
    root = f"/apis/{resource.group}" if resource.group else "/api"
    middle = "/namespaces/default" if resource.namespaced else ""
    return f"{root}/{resource.version}{middle}/{resource.plural}"


async def good(api, method, path, body=None, *, code=200, kind="application/json"):
    status, answer = await api.request(method, path, body, content_type=kind)
    assert status == code, (method, path, answer)
    return answer


async def written_in_each_way(api, path, obj):
    """Update and patch; what changes nothing leaves the resourceVersion; returns the object at last."""
    obj["metadata"].setdefault("annotations", {})["put"] = "1"
    put = await good(api, "PUT", path, obj)
    again = await good(api, "PUT", path, put)
    assert again["metadata"]["resourceVersion"] == put["metadata"]["resourceVersion"]
    for kind, patch in PATCHES.items():
        await good(api, "PATCH", path, patch, kind=kind)
    applied = {key: obj[key] for key in ("apiVersion", "kind")}
    applied["metadata"] = {"annotations": {"apply": "1"}}
    once = await good(api, "PATCH", f"{path}?fieldManager=m", applied, kind=APPLY)
    twice = await good(api, "PATCH", f"{path}?fieldManager=m", applied, kind=APPLY)
    assert twice["metadata"]["resourceVersion"] == once["metadata"]["resourceVersion"]
    assert set(twice["metadata"]["annotations"]) >= {"put", "merge", "strategic", "json", "apply"}
    return twice


async def status_written(api, resource, path):
    """Metadata is written through /status too, for most kinds; spec never."""
    before = await good(api, "GET", f"{path}/status")
    patch = {"metadata": {"annotations": {"status": "1"}}, "spec": {}}
    obj = await good(api, "PATCH", f"{path}/status", patch, kind=MERGE)
    annotations = obj["metadata"]["annotations"]
    assert annotations.get("status") == (None if resource.name in PLAIN_STATUS else "1")
    assert obj.get("spec") == before.get("spec")
    if resource.name in PLAIN_STATUS:
        return
    annotations["status"] = "2"
    obj = await good(api, "PUT", f"{path}/status", obj)
    assert obj["metadata"]["annotations"]["status"] == "2"


async def deleted(api, resource, path, obj):
    """Delete, let go what holds it, and see that it is gone."""
    answer = await good(api, "DELETE", path)
    if obj["metadata"].get("finalizers") or resource.name in ORPHANING:
        assert answer["metadata"]["deletionTimestamp"]
        patch = {"metadata": {"finalizers": None}}
        await good(api, "PATCH", path, patch, kind=MERGE)
    elif resource.name == "namespaces":
        assert answer["status"] == {"phase": "Terminating"}
        answer["spec"]["finalizers"] = []
        await good(api, "PUT", f"{path}/finalize", answer)
    elif resource.name not in BUSY:
        assert answer["kind"] == (resource.kind if resource.name in SHOWN else "Status")
    async with asyncio.timeout(5):
        while (await api.request("GET", path))[0] != 404:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    "resource", [pytest.param(one, id=f"{one.name}.{one.version}") for one in STORED]
)
async def test_a_life(api, resource):
    base, wanted = collection(resource), minimal(resource)
    wanted["metadata"]["labels"] = {"life": resource.kind.lower()}
    path = f"{base}/{wanted['metadata']['name']}"
    created = await good(api, "POST", base, wanted, code=201)
    if resource.name not in BUSY:
        assert await good(api, "GET", path) == created
    selected = f"labelSelector=life%3D{resource.kind.lower()}"
    listed = await good(api, "GET", f"{base}?{selected}")
    assert [one["metadata"]["uid"] for one in listed["items"]] == [created["metadata"]["uid"]]
    start = created["metadata"]["resourceVersion"]
    last = await written_in_each_way(api, path, await good(api, "GET", path))
    if resource.name not in RAISED:
        assert last["metadata"].get("generation") == created["metadata"].get("generation")
    if any(one.name == "status" for one in resource.subresources):
        await status_written(api, resource, path)
    await deleted(api, resource, path, created)
    events = []
    async with asyncio.timeout(5), api.watch(f"{base}?watch=1&resourceVersion={start}") as stream:
        async for event in stream:
            if event["object"]["metadata"]["uid"] == created["metadata"]["uid"]:
                events.append(event)
            if event["type"] == "DELETED":
                break
    assert {one["type"] for one in events[:-1]} == {"MODIFIED"}
    revisions = [int(one["object"]["metadata"]["resourceVersion"]) for one in events]
    assert revisions == sorted(set(revisions))


@pytest.mark.parametrize(
    "resource", [pytest.param(one, id=f"{one.name}.{one.version}") for one in STORED]
)
async def test_a_replacement_of_nothing_creates_what_may_be_created_so(api, resource):
    wanted = minimal(resource)
    path = f"{collection(resource)}/{wanted['metadata']['name']}"
    status, _ = await api.request("PUT", f"{path}?dryRun=All", wanted)
    assert status == (201 if resource.name in CREATED_BY_UPDATE else 404)


async def test_some_kinds_are_replaced_only_in_a_version_that_was_read(api):
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    budget = minimal(registry().find("poddisruptionbudgets.policy"), "versioned")
    await good(api, "POST", path, budget, code=201)
    status, refusal = await api.request("PUT", f"{path}/versioned", budget)
    assert status == 422
    assert "metadata.resourceVersion: Invalid value: 0" in refusal["message"]


@pytest.mark.parametrize(
    "resource",
    [
        pytest.param(one, id=f"{one.name}.{one.version}")
        for one in STORED
        if "deletecollection" in one.verbs and one.name not in BUSY
    ],
)
async def test_a_collection_is_deleted(api, resource):
    base, wanted = collection(resource), minimal(resource)
    wanted["metadata"]["labels"] = {"many": resource.kind.lower()}
    await good(api, "POST", base, wanted, code=201)
    selected = f"{base}?labelSelector=many%3D{resource.kind.lower()}"
    answer = await good(api, "DELETE", selected)
    assert answer["kind"] == f"{resource.kind}List"
    assert len(answer["items"]) == 1
    left = (await good(api, "GET", selected))["items"]
    if left:  # protected: it goes when its finalizers are gone
        path = f"{base}/{left[0]['metadata']['name']}"
        assert left[0]["metadata"]["deletionTimestamp"]
        await good(api, "PATCH", path, {"metadata": {"finalizers": None}}, kind=MERGE)
    assert (await good(api, "GET", selected))["items"] == []
