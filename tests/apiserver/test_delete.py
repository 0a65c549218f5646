"""delete: preconditions, finalizers, propagation, grace."""

import pytest

from todoku.api.resources import registry
from todoku.apiserver.catalog import Served
from todoku.apiserver.deletes import Options, decide

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def create(api, **metadata):
    body = {"metadata": {"name": "web", **metadata}}
    status, obj = await api.request("POST", CONFIG_MAPS, body)
    assert status == 201, obj
    return obj


async def test_a_delete_answers_success_with_the_uid(api):
    obj = await create(api)
    status, answer = await api.request("DELETE", f"{CONFIG_MAPS}/web")
    assert status == 200
    assert answer["status"] == "Success"
    uid = obj["metadata"]["uid"]
    assert answer["details"] == {"name": "web", "kind": "configmaps", "uid": uid}
    assert (await api.request("GET", f"{CONFIG_MAPS}/web"))[0] == 404


async def test_a_finalizer_keeps_the_object_until_it_is_removed(api):
    await create(api, finalizers=["example.com/wait"])
    status, kept = await api.request("DELETE", f"{CONFIG_MAPS}/web")
    assert status == 200
    assert kept["metadata"]["deletionTimestamp"]
    assert kept["metadata"]["deletionGracePeriodSeconds"] == 0
    kept["metadata"]["finalizers"] = []
    status, _ = await api.request("PUT", f"{CONFIG_MAPS}/web", kept)
    assert status == 200
    assert (await api.request("GET", f"{CONFIG_MAPS}/web"))[0] == 404


async def test_a_deletion_cannot_be_taken_back(api):
    await create(api, finalizers=["example.com/wait"])
    _, kept = await api.request("DELETE", f"{CONFIG_MAPS}/web")
    del kept["metadata"]["deletionTimestamp"]
    _, updated = await api.request("PUT", f"{CONFIG_MAPS}/web", kept)
    assert updated["metadata"]["deletionTimestamp"]


PRECONDITIONS = {
    "uid": {"uid": "other"},
    "resourceVersion": {"resourceVersion": "1"},
}


@pytest.mark.parametrize("wanted", PRECONDITIONS.values(), ids=PRECONDITIONS)
async def test_a_precondition_that_does_not_hold_conflicts(api, wanted):
    await create(api)
    status, refusal = await api.request("DELETE", f"{CONFIG_MAPS}/web", {"preconditions": wanted})
    assert (status, refusal["reason"]) == (409, "Conflict")
    [word] = wanted
    assert f"in the precondition ({wanted[word]}) does not match" in refusal["message"]
    assert refusal["details"]["kind"] == "ConfigMap"
    assert (await api.request("GET", f"{CONFIG_MAPS}/web"))[0] == 200


async def test_foreground_and_orphan_leave_a_finalizer_for_the_garbage_collector(api):
    await create(api)
    body = {"propagationPolicy": "Foreground"}
    _, kept = await api.request("DELETE", f"{CONFIG_MAPS}/web", body)
    assert kept["metadata"]["finalizers"] == ["foregroundDeletion"]
    _, kept = await api.request("DELETE", f"{CONFIG_MAPS}/web?propagationPolicy=Orphan")
    assert kept["metadata"]["finalizers"] == ["orphan"]


async def test_bad_options_are_all_named(api):
    await create(api)
    body = {"propagationPolicy": "Sideways", "dryRun": ["Some"]}
    status, refusal = await api.request("DELETE", f"{CONFIG_MAPS}/web", body)
    assert status == 422
    fields = [cause["field"] for cause in refusal["details"]["causes"]]
    assert fields == ["propagationPolicy", "dryRun"]


async def test_deletecollection_deletes_what_the_selector_matches(api):
    for name, app in (("a", "x"), ("b", "x"), ("c", "y")):
        body = {"metadata": {"name": name, "labels": {"app": app}}}
        await api.request("POST", CONFIG_MAPS, body)
    status, gone = await api.request("DELETE", f"{CONFIG_MAPS}?labelSelector=app%3Dx")
    assert status == 200
    assert [one["metadata"]["name"] for one in gone["items"]] == ["a", "b"]
    _, left = await api.request("GET", f"{CONFIG_MAPS}?labelSelector=app")
    assert [one["metadata"]["name"] for one in left["items"]] == ["c"]


async def test_a_namespace_is_terminating_until_it_is_finalized(api):
    body = {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}
    _, namespace = await api.request("POST", "/api/v1/namespaces", body)
    assert namespace["spec"]["finalizers"] == ["kubernetes"]
    _, kept = await api.request("DELETE", "/api/v1/namespaces/n")
    assert kept["status"]["phase"] == "Terminating"
    kept["spec"]["finalizers"] = []
    status, _ = await api.request("PUT", "/api/v1/namespaces/n/finalize", kept)
    assert status == 200
    assert (await api.request("GET", "/api/v1/namespaces/n"))[0] == 404


PODS = Served(registry().find("pods"), registry().find("pods"))
RUNNING = {
    "metadata": {"name": "web", "generation": 1},
    "spec": {"nodeName": "n1", "terminationGracePeriodSeconds": 30},
    "status": {"phase": "Running"},
}


def deleted(pod, seconds=30, stamp="1970-01-01T00:02:10Z"):
    metadata = pod["metadata"] | {
        "deletionTimestamp": stamp,
        "deletionGracePeriodSeconds": seconds,
    }
    return pod | {"metadata": metadata}


@pytest.mark.parametrize(
    ("pod", "options", "grace"),
    [
        pytest.param(RUNNING, Options(), 30, id="a running pod gets its own grace"),
        pytest.param(RUNNING, Options(grace_seconds=5), 5, id="the client may give less"),
        pytest.param(RUNNING, Options(grace_seconds=0), None, id="zero removes it at once"),
        pytest.param(RUNNING | {"spec": {}}, Options(), None, id="a pod on no node needs no grace"),
        pytest.param(
            RUNNING | {"status": {"phase": "Succeeded"}}, Options(), None, id="nor one that is over"
        ),
        pytest.param(deleted(RUNNING), Options(), 30, id="a second delete changes nothing"),
        pytest.param(deleted(RUNNING), Options(grace_seconds=3), 3, id="but may shorten the wait"),
        pytest.param(deleted(RUNNING, 5), Options(grace_seconds=60), 5, id="never lengthen it"),
        pytest.param(deleted(RUNNING), Options(grace_seconds=0), None, id="and may end it"),
    ],
)
def test_the_grace_of_a_pod(pod, options, grace):
    kept = decide(PODS, pod, options, 100.0).keep
    assert (kept and kept["metadata"]["deletionGracePeriodSeconds"]) == grace
