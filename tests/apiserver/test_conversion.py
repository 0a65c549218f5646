"""Versions of a custom resource that differ in shape, converted by a webhook that really listens."""

import asyncio
import base64
import ssl
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from aiohttp import web

from tests.support.apiserver import loopback_socket
from tests.support.certificates import authority
from todoku.apiserver import conversion

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1 = "/apis/example.com/v1/namespaces/default/boxes"
V2 = "/apis/example.com/v2/namespaces/default/boxes"


def converted(obj, wanted):
    """v1 says `spec.size: "2x3"`, v2 `spec.width` and `spec.height`."""
    spec = dict(obj["spec"])
    if wanted.endswith("/v2"):
        width, _, height = spec.pop("size").partition("x")
        spec |= {"width": int(width), "height": int(height)}
    else:
        spec["size"] = f"{spec.pop('width')}x{spec.pop('height')}"
    return obj | {"apiVersion": wanted, "spec": spec}


@asynccontextmanager
async def webhook(tmp_path, answer=converted):
    calls = []

    async def handle(request):
        review = await request.json()
        wanted = review["request"]["desiredAPIVersion"]
        calls.append(wanted)
        objects = [answer(one, wanted) for one in review["request"]["objects"]]
        response = {
            "uid": review["request"]["uid"],
            "convertedObjects": objects,
            "result": {"status": "Success"},
        }
        return web.json_response(
            {"kind": "ConversionReview", "apiVersion": review["apiVersion"], "response": response}
        )

    ca = authority()
    cert, key = ca.issue("hook", hosts=("127.0.0.1",)).write(tmp_path, "hook")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    sock = loopback_socket()
    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.SockSite(runner, sock, ssl_context=context).start()
    bundle = base64.b64encode(ca.pair.certificate).decode()
    try:
        yield {"url": f"https://127.0.0.1:{sock.getsockname()[1]}/", "caBundle": bundle}, calls
    finally:
        await runner.cleanup()
        sock.close()


def definition(client):
    def version(name, storage, **properties):
        spec = {"type": "object", "properties": properties}
        schema = {"type": "object", "properties": {"spec": spec}}
        return {
            "name": name,
            "served": True,
            "storage": storage,
            "schema": {"openAPIV3Schema": schema},
        }

    integer, string = {"type": "integer"}, {"type": "string"}
    return {
        "metadata": {"name": "boxes.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "boxes", "kind": "Box"},
            "versions": [
                version("v1", True, size=string),
                version("v2", False, width=integer, height=integer),
            ],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]},
            },
        },
    }


async def establish(api, client):
    status, answer = await api.request("POST", CRDS, definition(client))
    assert status == 201, answer
    async with asyncio.timeout(5):
        while (await api.request("GET", V1))[0] == 404:
            await asyncio.sleep(0.005)


def box(name="a", version="v1", **spec):
    return {
        "apiVersion": f"example.com/{version}",
        "kind": "Box",
        "metadata": {"name": name},
        "spec": spec or {"size": "2x3"},
    }


@pytest.fixture
async def hook(api, tmp_path):
    async with webhook(tmp_path) as (client, calls):
        await establish(api, client)
        yield calls


async def test_an_object_is_read_in_the_other_version(api, hook):
    await api.request("POST", V1, box())
    status, obj = await api.request("GET", f"{V2}/a")
    assert (status, obj["apiVersion"]) == (200, "example.com/v2")
    assert obj["spec"] == {"width": 2, "height": 3}
    _, listed = await api.request("GET", V2)
    assert listed["items"] == [obj]


async def test_an_object_written_in_the_other_version_is_stored_in_the_stored_one(api, hook):
    status, made = await api.request("POST", V2, box(version="v2", width=4, height=5))
    assert (status, made["spec"]) == (201, {"width": 4, "height": 5})
    _, obj = await api.request("GET", f"{V1}/a")
    assert obj["spec"] == {"size": "4x5"}
    made["spec"]["width"] = 6
    status, updated = await api.request("PUT", f"{V2}/a", made)
    assert (status, updated["spec"]["width"]) == (200, 6)
    _, obj = await api.request("GET", f"{V1}/a")
    assert obj["spec"] == {"size": "6x5"}


async def test_an_object_is_converted_once_for_all_readers(api, hook):
    await api.request("POST", V1, box())
    hook.clear()
    for _ in range(3):
        await api.request("GET", f"{V2}/a")
        await api.request("GET", V2)
    assert hook == ["example.com/v2"]


async def test_the_stored_version_needs_no_webhook(api, hook):
    await api.request("POST", V1, box())
    await api.request("GET", f"{V1}/a")
    assert hook == []


async def test_a_watch_shows_the_other_version(api, hook):
    async with asyncio.timeout(5), api.watch(f"{V2}?watch=1") as stream:
        await api.request("POST", V1, box())
        event = await anext(stream)
        assert (event["type"], event["object"]["spec"]) == ("ADDED", {"width": 2, "height": 3})
        await api.request("DELETE", f"{V1}/a")
        event = await anext(stream)
        assert (event["type"], event["object"]["spec"]) == ("DELETED", {"width": 2, "height": 3})


BROKEN = {
    "another version": (
        lambda obj, wanted: obj,
        "invalid converted object: invalid groupVersion (expected example.com/v2, received example.com/v1)",
    ),
    "another kind": (
        lambda obj, wanted: converted(obj, wanted) | {"kind": "Crate"},
        "invalid object: must have the same kind: Box != Crate",
    ),
    "another name": (
        lambda obj, wanted: converted(obj, wanted) | {"metadata": obj["metadata"] | {"name": "x"}},
        "invalid object: must have the same name: a != x",
    ),
}


@pytest.mark.parametrize(("answer", "told"), BROKEN.values(), ids=BROKEN)
async def test_a_webhook_that_breaks_the_rules_fails_the_read(api, tmp_path, answer, told):
    async with webhook(tmp_path, answer) as (client, _):
        await establish(api, client)
        await api.request("POST", V1, box())
        status, refusal = await api.request("GET", f"{V2}/a")
        assert status == 500
        about = "conversion webhook for example.com/v1, Kind=Box returned"
        assert refusal["message"].endswith(f"{about} {told}")


ANSWERS = {
    "no response": ({}, "no response provided"),
    "another request": ({"response": {"uid": "x"}}, 'expected response.uid="u", got "x"'),
    "a failure": ({"response": {"uid": "u", "result": {"status": "Failed", "message": "no"}}}, "no"),
    "no success": ({"response": {"uid": "u"}}, "response.result.status was '', not 'Success'"),
    "another version": (
        {"apiVersion": "apiextensions.k8s.io/v1beta1"},
        "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview,"
        " got apiextensions.k8s.io/v1beta1, Kind=ConversionReview",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "told"), ANSWERS.values(), ids=ANSWERS)
async def test_an_answer_that_is_none_is_told(answer, told):
    crd = definition({"url": "https://x"})

    async def post(client, review):
        head = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1"}
        review["request"]["uid"] = "u"
        return head | answer

    served = SimpleNamespace(crd=crd)
    with pytest.raises(conversion.Unconverted) as failure:
        await conversion.convert(post, served, [box()], "example.com/v2")
    assert "reason" not in failure.value.status()
    assert str(failure.value).endswith(
        f"conversion webhook for example.com/v1, Kind=Box failed: {told}"
    )


async def test_a_webhook_is_asked_in_the_first_version_of_reviews_that_it_names():
    crd = definition({"url": "https://x"})
    crd["spec"]["conversion"]["webhook"]["conversionReviewVersions"] = ["v2", "v1beta1", "v1"]
    asked = []

    async def post(client, review):
        asked.append(review["apiVersion"])
        raise conversion.ConversionFailed("later")

    with pytest.raises(conversion.Unconverted):
        await conversion.convert(post, SimpleNamespace(crd=crd), [box()], "example.com/v2")
    assert asked == ["apiextensions.k8s.io/v1beta1"]


async def test_labels_and_annotations_are_all_a_webhook_may_change_of_metadata(api, tmp_path):
    def answer(obj, wanted):
        metadata = obj["metadata"] | {"labels": {"made": "so"}, "generation": 99}
        return converted(obj, wanted) | {"metadata": metadata}

    async with webhook(tmp_path, answer) as (client, _):
        await establish(api, client)
        await api.request("POST", V1, box())
        _, obj = await api.request("GET", f"{V2}/a")
        metadata = obj["metadata"]
        assert (metadata["labels"], metadata["generation"]) == ({"made": "so"}, 1)


@pytest.fixture
async def selectable(api, tmp_path):
    async with webhook(tmp_path) as (client, _):
        crd = definition(client)
        v1, v2 = crd["spec"]["versions"]
        v1["selectableFields"] = [{"jsonPath": ".spec.size"}]
        v2["selectableFields"] = [{"jsonPath": ".spec.width"}, {"jsonPath": ".spec.height"}]
        status, answer = await api.request("POST", CRDS, crd)
        assert status == 201, answer
        async with asyncio.timeout(5):
            while (await api.request("GET", V1))[0] == 404:
                await asyncio.sleep(0.005)
        yield


async def test_each_version_is_selected_by_fields_of_its_own(api, selectable):
    async with asyncio.timeout(5), api.watch(f"{V2}?watch=1&fieldSelector=spec.width=2") as stream:
        for name, size in (("a", "2x3"), ("b", "2x4"), ("c", "5x3")):
            await api.request("POST", V1, box(name, size=size))

        async def names(path, selector):
            _, listed = await api.request("GET", f"{path}?fieldSelector={selector}")
            return [one["metadata"]["name"] for one in listed["items"]]

        assert await names(V2, "spec.width=2") == ["a", "b"]
        assert await names(V2, "spec.width=2,spec.height=4") == ["b"]
        assert await names(V1, "spec.size=5x3") == ["c"]
        status, refusal = await api.request("GET", f"{V2}?fieldSelector=spec.size=5x3")
        assert (status, refusal["message"]) == (400, "field label not supported: spec.size")
        await api.request("DELETE", f"{V2}?fieldSelector=spec.height=4")
        patch = {"spec": {"size": "6x3"}}
        kind = "application/merge-patch+json"
        await api.request("PATCH", f"{V1}/a", patch, content_type=kind)
        events = [await anext(stream) for _ in range(4)]
        seen = [(one["type"], one["object"]["metadata"]["name"]) for one in events]
        assert seen == [("ADDED", "a"), ("ADDED", "b"), ("DELETED", "b"), ("DELETED", "a")]
        assert await names(V2, "spec.width=2") == []


async def test_objects_of_both_stored_versions_are_listed_in_either(api, tmp_path):
    async with webhook(tmp_path) as (client, _):
        await establish(api, client)
        await api.request("POST", V1, box("a"))
        _, crd = await api.request("GET", f"{CRDS}/boxes.example.com")
        for one in crd["spec"]["versions"]:
            one["storage"] = one["name"] == "v2"
        status, crd = await api.request("PUT", f"{CRDS}/boxes.example.com", crd)
        assert (status, crd["status"]["storedVersions"]) == (200, ["v1", "v2"])
        await api.request("POST", V1, box("b", size="4x5"))
        _, listed = await api.request("GET", V2)
        assert [one["spec"]["width"] for one in listed["items"]] == [2, 4]
        _, listed = await api.request("GET", V1)
        assert [one["spec"]["size"] for one in listed["items"]] == ["2x3", "4x5"]


async def test_objects_move_to_a_new_stored_version_by_being_written_as_they_are(api, hook):
    await api.request("POST", V1, box())
    path = f"{CRDS}/boxes.example.com"
    _, crd = await api.request("GET", path)
    for one in crd["spec"]["versions"]:
        one["storage"] = one["name"] == "v2"
    status, answer = await api.request("PUT", path, crd)
    assert status == 200, answer
    _, obj = await api.request("GET", f"{V2}/a")
    _, moved = await api.request("PUT", f"{V2}/a", obj)
    assert moved["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]
    _, crd = await api.request("GET", path)
    crd["spec"]["versions"] = [one for one in crd["spec"]["versions"] if one["name"] == "v2"]
    crd["spec"]["conversion"] = {"strategy": "None"}
    status, answer = await api.request("PUT", path, crd)
    assert (status, answer["reason"]) == (422, "Invalid")  # v1 may still be stored
    stored = {"status": {"storedVersions": ["v2"]}}
    merge = {"content_type": "application/merge-patch+json"}
    _, answer = await api.request("PATCH", f"{path}/status", stored, **merge)
    crd["metadata"] = answer["metadata"]
    status, answer = await api.request("PUT", path, crd)
    assert status == 200, answer
    calls = len(hook)
    assert (await api.request("GET", f"{V2}/a"))[1]["spec"] == {"width": 2, "height": 3}
    assert len(hook) == calls


async def test_parameters_of_policies_are_in_the_version_that_the_policy_names(api, hook):
    await api.request("POST", V1, box(size="2x3"))
    group = "/apis/admissionregistration.k8s.io/v1"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "operations": ["CREATE"],
        "resources": ["configmaps"],
    }
    spec = {
        "paramKind": {"apiVersion": "example.com/v2", "kind": "Box"},
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "int(object.data.width) <= params.spec.width"}],
    }
    policy = {"metadata": {"name": "narrow"}, "spec": spec}
    status, answer = await api.request("POST", f"{group}/validatingadmissionpolicies", policy)
    assert status == 201, answer
    reference = {"name": "a", "namespace": "default", "parameterNotFoundAction": "Deny"}
    bound = {"policyName": "narrow", "paramRef": reference, "validationActions": ["Deny"]}
    binding = {"metadata": {"name": "narrow"}, "spec": bound}
    await api.request("POST", f"{group}/validatingadmissionpolicybindings", binding)
    for width, code in (("2", 201), ("3", 422)):
        body = {"metadata": {"name": f"w{width}"}, "data": {"width": width}}
        status, answer = await api.request("POST", "/api/v1/namespaces/default/configmaps", body)
        assert status == code, answer
