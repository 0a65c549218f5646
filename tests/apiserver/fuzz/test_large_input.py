"""Bodies as large as they may be: answered in time that grows with their size, and bounded where upstream bounds it."""

import asyncio
import gc
import json
import time

import pytest

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


async def test_many_owners_are_compared_in_time(api):
    owners = [
        {"apiVersion": "v1", "kind": "Pod", "name": f"p{number}", "uid": f"u{number}"}
        for number in range(9_000)
    ]
    async with asyncio.timeout(20):
        body = {"metadata": {"name": "owned", "ownerReferences": [*owners, owners[7]]}}
        status, answer = await api.request("POST", CONFIG_MAPS, body)
    assert status == 201, answer
    assert answer["metadata"]["ownerReferences"] == owners


async def test_strict_decoding_tells_of_the_first_hundred_problems(api):
    body = {"metadata": {"name": "strict"}, **{f"x{number}": 1 for number in range(5000)}}
    path = f"{CONFIG_MAPS}?fieldValidation=Strict"
    status, answer = await api.request("POST", path, body)
    assert status == 400
    assert answer["message"].endswith('unknown field "x98", unknown field "x99"')


def large_pod(name):
    """400 KiB that take a second and more to be decoded, checked and described."""
    containers = [{"name": f"c{number}", "image": "i"} for number in range(12_000)]
    return {"metadata": {"name": name}, "spec": {"containers": containers}}


async def longest_turn(work):
    """The longest that the event loop's thread computed without serving others, in seconds of its own."""
    longest, last = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, last = max(longest, now - last), now
    return longest


@pytest.fixture
def no_collection():
    """A look through all that a long test run has left behind is no work of the request's."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collection")
async def test_a_large_object_keeps_no_other_client_waiting(api):
    await api.request("POST", "/api/v1/namespaces/default/serviceaccounts", ACCOUNT)
    bad = large_pod("bad")
    for container in bad["spec"]["containers"]:
        del container["image"]
    for pod, code in ((large_pod("good"), 201), (bad, 422)):
        body = json.dumps(pod).encode()
        began = time.process_time()
        work = asyncio.create_task(api.raw("POST", "/api/v1/namespaces/default/pods", body))
        turn = await longest_turn(work)
        response, _ = await work
        assert response.status == code
        assert turn < (time.process_time() - began) / 2


ACCOUNT = {"metadata": {"name": "default"}}


@pytest.mark.parametrize(
    "value",
    ["!!timestamp q", "!!timestamp 2001-01-01", "!!set {a}", "!!bool q", "!!binary YQ==", "0x" + "f" * 5000, "&x {a: *x}"],
)  # fmt: skip
async def test_yaml_values_that_no_json_has_are_refused(api, value):
    body = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: y}}\ndata: {{x: {value}}}"
    path = f"{CONFIG_MAPS}/y?fieldManager=me"
    kind = "application/apply-patch+yaml"
    status, answer = await api.request("PATCH", path, body.encode(), content_type=kind)
    assert (status, answer["reason"]) == (400, "BadRequest")
    assert answer["message"].startswith(
        "error decoding YAML: error converting YAML to JSON: yaml: "
    )


async def test_a_null_in_a_map_is_applied_as_the_empty_text_that_go_reads(api):
    body = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": None}}).encode()
    kind = "application/apply-patch+yaml"
    for code in (201, 200):
        path = f"{CONFIG_MAPS}/nothing?fieldManager=me"
        status, made = await api.request("PATCH", path, body, content_type=kind)
        assert (status, made["data"]) == (code, {"x": ""})
