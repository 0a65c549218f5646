"""list: order, selectors, paging at one revision, expiry, resourceVersion and its match."""

import asyncio
import base64
import json

import pytest

from tests.support.apiserver import running_api
from todoku.api.resources import registry
from todoku.apiserver.config import Timings
from todoku.apiserver.reads import write_token

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def create(api, *names, path=CONFIG_MAPS, **labels):
    for name in names:
        body = {"metadata": {"name": name, "labels": labels}}
        status, obj = await api.request("POST", path, body)
        assert status == 201, obj
    return obj


def names(listed):
    return [one["metadata"]["name"] for one in listed["items"]]


async def test_a_list_is_in_order_of_names_and_says_its_revision(api):
    last = await create(api, "b", "c", "a")
    status, listed = await api.request("GET", CONFIG_MAPS)
    assert status == 200
    assert (listed["kind"], listed["apiVersion"]) == ("ConfigMapList", "v1")
    assert names(listed) == ["a", "b", "c"]
    assert listed["metadata"]["resourceVersion"] == last["metadata"]["resourceVersion"]


async def test_items_of_a_typed_list_carry_no_kind(api):
    await create(api, "a")
    _, listed = await api.request("GET", CONFIG_MAPS)
    assert "kind" not in listed["items"][0]
    assert listed["items"][0]["metadata"]["resourceVersion"]


async def test_an_empty_list_has_no_items(api):
    _, listed = await api.request("GET", CONFIG_MAPS)
    assert listed["items"] == []


SELECTIONS = {
    "labelSelector=app%3Dx": ["a", "b"],
    "labelSelector=app%3D%3Dx,tier%3D1": ["a"],
    "labelSelector=app!%3Dx": ["c", "d"],
    "labelSelector=app+in+(x,y)": ["a", "b", "c"],
    "labelSelector=app": ["a", "b", "c"],
    "labelSelector=!app": ["d"],
    "fieldSelector=metadata.name%3Db": ["b"],
    "fieldSelector=metadata.name!%3Db": ["a", "c", "d"],
    "fieldSelector=metadata.namespace%3Ddefault": ["a", "b", "c", "d"],
    "fieldSelector=metadata.namespace%3Dother": [],
    "labelSelector=app%3Dx&fieldSelector=metadata.name%3Da": ["a"],
}


@pytest.mark.parametrize(("query", "wanted"), SELECTIONS.items(), ids=SELECTIONS)
async def test_a_selection(api, query, wanted):
    await create(api, "a", app="x", tier="1")
    await create(api, "b", app="x", tier="2")
    await create(api, "c", app="y")
    await create(api, "d")
    _, listed = await api.request("GET", f"{CONFIG_MAPS}?{query}")
    assert names(listed) == wanted


async def test_an_index_follows_changes_of_labels(api):
    await create(api, "a", app="x")
    assert names((await api.request("GET", f"{CONFIG_MAPS}?labelSelector=app%3Dx"))[1]) == ["a"]
    body = {"metadata": {"name": "a", "labels": {"app": "y"}}}
    await api.request("PUT", f"{CONFIG_MAPS}/a", body)
    assert names((await api.request("GET", f"{CONFIG_MAPS}?labelSelector=app%3Dx"))[1]) == []
    assert names((await api.request("GET", f"{CONFIG_MAPS}?labelSelector=app%3Dy"))[1]) == ["a"]


BAD_SELECTIONS = {
    "labelSelector=a+b+c": "unable to parse requirement",
    "fieldSelector=nothing": "invalid selector",
    "fieldSelector=spec.x%3D1": '"spec.x" is not a known field selector: only "metadata.name"',
    "limit=x": "invalid syntax",
    "resourceVersion=x": 'invalid resource version: resourceVersion: Invalid value: "x"',
    "continue=x": "invalid continue token: continue key is not valid",
    "timeoutSeconds=x": "invalid syntax",
    "sendInitialEvents=false": "sendInitialEvents is forbidden for list",
    "resourceVersionMatch=Exact": "forbidden unless resourceVersion is provided",
    "resourceVersionMatch=Exact&resourceVersion=1&continue=x": "forbidden when continue is provided",
    "resourceVersionMatch=Exact&resourceVersion=0": 'is forbidden for resourceVersion "0"',
    "resourceVersion=1&resourceVersionMatch=Sometimes": "Unsupported value",
}


@pytest.mark.parametrize(("query", "text"), BAD_SELECTIONS.items(), ids=BAD_SELECTIONS)
async def test_a_bad_query_is_a_400(api, query, text):
    status, refusal = await api.request("GET", f"{CONFIG_MAPS}?{query}")
    assert status == (422 if "ListOptions" in refusal["message"] else 400)
    assert text in refusal["message"]


_TARGET = ["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"]
SELECTABLE = {
    "certificatesigningrequests.certificates.k8s.io": {"spec.signerName"},
    "events": {f"involvedObject.{one}" for one in _TARGET}
    | {"reason", "reportingComponent", "source", "type"},
    "events.events.k8s.io": {f"regarding.{one}" for one in _TARGET}
    | {"reason", "reportingController", "type"},
    "jobs.batch": {"status.successful"},
    "namespaces": {"status.phase"},
    "nodes": {"spec.unschedulable"},
    "pods": {
        *(f"spec.{one}" for one in ("nodeName", "restartPolicy", "schedulerName")),
        *("spec.serviceAccountName", "spec.hostNetwork", "status.phase", "status.podIP"),
        *("status.podIPs", "status.nominatedNodeName"),
    },
    "replicasets.apps": {"status.replicas"},
    "replicationcontrollers": {"status.replicas"},
    "resourceslices.resource.k8s.io": {"spec.nodeName", "spec.driver"},
    "secrets": {"type"},
    "services": {"spec.clusterIP", "spec.type"},
}


def test_the_fields_that_selectors_may_name():
    found = {one.name: set(one.strategy.selectable_field_names) for one in registry()}
    assert {name: fields for name, fields in found.items() if fields} == SELECTABLE


UNSUPPORTED = {
    "/api/v1/pods": "field label not supported: spec.x",
    "/api/v1/configmaps": '"spec.x" is not a known field selector: only "metadata.name", "metadata.namespace"',
    "/apis/batch/v1/jobs": 'field label "spec.x" not supported for batchv1.Job',
    "/apis/resource.k8s.io/v1/resourceslices": (
        "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: spec.x"
    ),
}


@pytest.mark.parametrize(("path", "text"), UNSUPPORTED.items(), ids=UNSUPPORTED)
async def test_a_field_that_selects_nothing_is_refused(api, path, text):
    status, refusal = await api.request("GET", f"{path}?fieldSelector=spec.x%3D1")
    assert (status, refusal["message"]) == (400, text)


async def test_nodes_are_in_no_namespace_that_could_be_selected(api):
    status, refusal = await api.request("GET", "/api/v1/nodes?fieldSelector=metadata.namespace%3D1")
    assert (status, refusal["message"]) == (400, "field label not supported: metadata.namespace")


async def pages(api, query, path=CONFIG_MAPS):
    found, token = [], ""
    while True:
        more = f"&continue={token}" if token else ""
        status, page = await api.request("GET", f"{path}?{query}{more}")
        assert status == 200, page
        found.append(page)
        token = page["metadata"].get("continue", "")
        if not token:
            return found


async def test_pages_show_one_revision_and_count_what_remains(api):
    await create(api, *"abcdefg")
    found = await pages(api, "limit=3")
    assert [names(page) for page in found] == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert [page["metadata"].get("remainingItemCount") for page in found] == [4, 1, None]
    assert len({page["metadata"]["resourceVersion"] for page in found}) == 1


async def test_a_page_that_ends_exactly_is_the_last(api):
    await create(api, *"abcd")
    assert [names(page) for page in await pages(api, "limit=2")] == [["a", "b"], ["c", "d"]]


async def test_later_pages_do_not_see_later_writes(api):
    await create(api, *"abcdef")
    _, first = await api.request("GET", f"{CONFIG_MAPS}?limit=2")
    await create(api, "cc")
    await api.request("DELETE", f"{CONFIG_MAPS}/d")
    token = first["metadata"]["continue"]
    _, second = await api.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert names(second) == ["c", "d"]
    token = second["metadata"]["continue"]
    _, third = await api.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert names(third) == ["e", "f"]
    assert third["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_pages_of_a_selection_give_no_count(api):
    await create(api, *"abcd", app="x")
    found = await pages(api, "limit=3&labelSelector=app%3Dx")
    assert [names(page) for page in found] == [["a", "b", "c"], ["d"]]
    assert "remainingItemCount" not in found[0]["metadata"]


async def test_an_expired_page_offers_an_inconsistent_token():
    async with running_api(timings=Timings(compact_every=0.02, keep_history=0.02)) as api:
        await create(api, *"abcd")
        _, first = await api.request("GET", f"{CONFIG_MAPS}?limit=2")
        token = first["metadata"]["continue"]
        refusal = await _until_expired(api, token)
        assert refusal["reason"] == "Expired"
        assert "The provided continue parameter is too old" in refusal["message"]
        token = refusal["metadata"]["continue"]
        status, rest = await api.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
        assert status == 200
        assert names(rest) == ["c", "d"]
        assert rest["metadata"]["resourceVersion"] != first["metadata"]["resourceVersion"]


async def test_pages_behind_an_inconsistent_one_show_one_revision_again(api):
    await create(api, *"abcd")
    token = write_token(-1, b"/registry/core/configmaps/default/b")
    _, second = await api.request("GET", f"{CONFIG_MAPS}?limit=1&continue={token}")
    await create(api, "e")
    token = second["metadata"]["continue"]
    _, third = await api.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
    assert names(second) + names(third) == ["b", "c", "d"]
    assert "continue" not in third["metadata"]
    assert third["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


async def _until_expired(api, token):
    for n in range(200):
        await create(api, f"zz-{n:03}")
        status, page = await api.request("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
        if status == 410:
            await api.request(
                "DELETE",
                f"{CONFIG_MAPS}?fieldSelector=metadata.name!%3Da,metadata.name!%3Db,metadata.name!%3Dc,metadata.name!%3Dd",
            )
            return page
        assert status == 200
    raise AssertionError("the page never expired")


async def test_an_exact_revision_is_listed_as_it_was(api):
    old = await create(api, "a", "b")
    revision = old["metadata"]["resourceVersion"]
    await create(api, "c")
    await api.request("DELETE", f"{CONFIG_MAPS}/a")
    query = f"resourceVersion={revision}&resourceVersionMatch=Exact"
    _, listed = await api.request("GET", f"{CONFIG_MAPS}?{query}")
    assert names(listed) == ["a", "b"]
    assert listed["metadata"]["resourceVersion"] == revision


@pytest.mark.parametrize("path", [CONFIG_MAPS, f"{CONFIG_MAPS}/a"])
async def test_a_revision_of_the_future_is_too_large(path):
    async with running_api(timings=Timings(fresh_within=0.01)) as api:
        response, data = await api.raw("GET", f"{path}?resourceVersion=999999")
    refusal = json.loads(data)
    assert (response.status, response.headers["Retry-After"]) == (504, "1")
    assert refusal["message"].startswith("Too large resource version: 999999, current: ")
    assert refusal["details"] == {
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    }


async def test_a_revision_that_is_about_to_come_is_waited_for(api):
    _, listed = await api.request("GET", CONFIG_MAPS)
    soon = int(listed["metadata"]["resourceVersion"]) + 1
    async with asyncio.TaskGroup() as tasks:
        asked = tasks.create_task(
            api.request("GET", f"{CONFIG_MAPS}?resourceVersion={soon}"), name="list"
        )
        await create(api, "a")
    status, listed = asked.result()
    assert (status, names(listed)) == (200, ["a"])


async def test_a_token_cannot_leave_its_namespace(api):
    await create(api, "secret-of-another", path="/api/v1/namespaces/kube-system/configmaps")
    body = {"v": "meta.k8s.io/v1", "rv": -1, "start": "/registry/core/configmaps/kube-system/"}
    token = base64.urlsafe_b64encode(json.dumps(body).encode()).decode().rstrip("=")
    _, listed = await api.request("GET", f"{CONFIG_MAPS}?continue={token}")
    assert names(listed) == []


async def test_a_list_across_namespaces(api):
    await create(api, "a")
    await create(api, "a", path="/api/v1/namespaces/kube-public/configmaps")
    _, listed = await api.request("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Da")
    found = [one["metadata"]["namespace"] for one in listed["items"]]
    assert found == ["default", "kube-public"]


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def test_a_table_has_columns_and_cells(api):
    await create(api, "a")
    _, table = await api.request("GET", CONFIG_MAPS, accept=TABLE)
    assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
    assert table["columnDefinitions"][0]["name"] == "Name"
    assert table["rows"][0]["cells"][0] == "a"
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"


async def test_a_scale_has_a_table_of_its_own(api):
    controllers = "/api/v1/namespaces/default/replicationcontrollers"
    pod = {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    await api.request(
        "POST", controllers, {"metadata": {"name": "a"}, "spec": {"replicas": 3, "template": pod}}
    )
    _, table = await api.request("GET", f"{controllers}/a/scale", accept=TABLE)
    names = [one["name"] for one in table["columnDefinitions"]]
    assert names == ["Name", "Desired", "Available", "Age"]
    [row] = table["rows"]
    assert row["cells"][:3] == ["a", 3, 0]


async def test_rows_of_flow_schemas_come_by_precedence(api):
    schemas = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
    for name, precedence in (("a", 200), ("b", 100)):
        spec = {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": "exempt"}}
        await api.request("POST", schemas, {"metadata": {"name": name}, "spec": spec})
    _, table = await api.request("GET", schemas, accept=TABLE)
    mine = [row["cells"][0] for row in table["rows"] if row["cells"][0] in ("a", "b")]
    assert mine == ["b", "a"]


async def test_rows_without_their_objects(api):
    await create(api, "a")
    _, table = await api.request("GET", f"{CONFIG_MAPS}?includeObject=None", accept=TABLE)
    assert table["rows"][0]["object"] is None


async def test_metadata_only(api):
    await create(api, "a")
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    _, listed = await api.request("GET", CONFIG_MAPS, accept=accept)
    assert listed["kind"] == "PartialObjectMetadataList"
    assert set(listed["items"][0]) == {"kind", "apiVersion", "metadata"}
    accept = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    _, one = await api.request("GET", f"{CONFIG_MAPS}/a", accept=accept)
    assert one["kind"] == "PartialObjectMetadata"
    status, refusal = await api.request("GET", CONFIG_MAPS, accept=accept)
    assert (status, refusal["message"]) == (
        406,
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)",
    )
    accept = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
    status, refusal = await api.request("GET", f"{CONFIG_MAPS}/a", accept=accept)
    assert (status, refusal["message"]) == (
        406,
        "you requested PartialObjectMetadataList, but the requested object is not a list (*core.ConfigMap)",
    )


async def test_an_unknown_form_is_a_406(api):
    response, data = await api.raw("GET", CONFIG_MAPS, accept="text/html")
    assert response.status == 406
    assert json.loads(data)["reason"] == "NotAcceptable"


async def test_a_large_answer_is_compressed_for_who_asks(api):
    body = {"metadata": {"name": "big"}, "data": {"a": "x" * 300_000}}
    await api.request("POST", CONFIG_MAPS, body)
    headers = {"Accept-Encoding": "gzip"}
    async with api.session.get(api.url + CONFIG_MAPS, headers=headers) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert (await response.json())["items"][0]["data"] == body["data"]
