"""create, get, update, delete as clients see them, on ConfigMaps: no kind's own rules interfere."""

import asyncio
import base64
import io
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name="web", **fields):
    return {"metadata": {"name": name, **fields.pop("metadata", {})}, **fields}


async def create(api, **fields):
    status, obj = await api.request("POST", CONFIG_MAPS, config_map(**fields))
    assert status == 201, obj
    return obj


async def test_a_created_object_carries_what_the_server_gives(api):
    obj = await create(api, data={"a": "1"})
    metadata = obj["metadata"]
    assert (obj["kind"], obj["apiVersion"]) == ("ConfigMap", "v1")
    assert metadata["namespace"] == "default"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0


async def test_a_get_gives_what_the_create_answered(api):
    created = await create(api, data={"a": "1"})
    assert await api.request("GET", f"{CONFIG_MAPS}/web") == (200, created)


async def test_generate_name_appends_five_characters(api):
    status, obj = await api.request("POST", CONFIG_MAPS, {"metadata": {"generateName": "web-"}})
    assert status == 201
    name = obj["metadata"]["name"]
    assert name.startswith("web-")
    assert len(name) == 9


async def test_what_only_the_server_may_set_is_ignored_on_create(api):
    metadata = {"uid": "mine", "creationTimestamp": "2001-01-01T00:00:00Z", "generation": 7}
    obj = await create(api, metadata={"deletionTimestamp": "2001-01-01T00:00:00Z", **metadata})
    assert "deletionTimestamp" not in obj["metadata"]
    assert obj["metadata"]["uid"] != "mine"
    assert not obj["metadata"]["creationTimestamp"].startswith("2001")


CREATE_REFUSALS = {
    "a second one of the name": (
        config_map(),
        409,
        "AlreadyExists",
        'configmaps "web" already exists',
    ),
    "a resourceVersion": (
        config_map("b", metadata={"resourceVersion": "1"}),
        400,
        "",
        "resourceVersion should not be set on objects to be created",
    ),
    "another namespace": (
        config_map("b", metadata={"namespace": "kube-system"}),
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    "no name": (
        {"metadata": {}},
        422,
        "Invalid",
        "metadata.name: Required value: name or generateName is required",
    ),
    "a bad name": (
        config_map("Bad_Name"),
        422,
        "Invalid",
        'metadata.name: Invalid value: "Bad_Name"',
    ),
    "another kind": (
        {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "b"}},
        400,
        "BadRequest",
        'Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap)',
    ),
    "a kind nobody knows": (
        {"kind": "ConfigMap", "apiVersion": "v2"},
        400,
        "BadRequest",
        'cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" in scheme',
    ),
    "broken JSON": (
        b'{"metadata":',
        400,
        "BadRequest",
        "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error:"
        ' unexpected end of JSON input ({"metadata":)',
    ),
    "no body": (b"", 400, "BadRequest", "json parse error: unexpected end of JSON input (<empty>)"),
    "a truth for an object": (b"true", 400, "BadRequest", "cannot unmarshal bool into Go value"),
    "nothing for an object": (
        b"null",
        422,
        "Invalid",
        'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required',
    ),
    "a list for an object": (b"[]", 400, "BadRequest", "cannot unmarshal array"),
    "long nonsense": (b"x" * 40, 400, "BadRequest", f"({'78' * 30} ...)"),
    "metadata that is no object": (
        b'{"metadata":"x"}',
        400,
        "BadRequest",
        "cannot unmarshal string",
    ),
}


@pytest.mark.parametrize(
    ("body", "code", "reason", "text"), CREATE_REFUSALS.values(), ids=CREATE_REFUSALS
)
async def test_a_create_is_refused_for(api, body, code, reason, text):
    await create(api)
    status, refusal = await api.request("POST", CONFIG_MAPS, body)
    assert (status, refusal.get("reason", "")) == (code, reason)
    assert (refusal["kind"], refusal["status"], refusal["code"]) == ("Status", "Failure", code)
    assert text in refusal["message"]


async def test_strict_decoding_names_problems_as_they_appear(api):
    body = b'{"metadata":{"name":"a","x":1},"unknown":1,"data":{"k":"1","k":"2"},"late":1}'
    status, refusal = await api.request("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    assert status == 400
    assert refusal["message"] == (
        'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field'
        ' "metadata.x", unknown field "unknown", duplicate field "data.k", unknown field "late"'
    )


async def test_strict_decoding_of_yaml_names_duplicates_by_their_line(api):
    response, data = await api.raw(
        "POST",
        f"{CONFIG_MAPS}?fieldValidation=Strict",
        b"metadata:\n  name: a\nextra: 1\ndata:\n  k: one\n  k: two\n",
        content_type="application/yaml",
    )
    assert response.status == 400
    assert json.loads(data)["message"].endswith(
        'strict decoding error: yaml: unmarshal errors:\n  line 6: key "k" already set in map, unknown field "extra"'
    )


BAD_OPTIONS = {
    "POST ?dryRun=Some": 'CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]',
    "PUT /web?fieldValidation=x": 'UpdateOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "x"',
    f"PUT /web?fieldManager={'m' * 129}": "fieldManager: Too long: may not be more than 128 bytes",
    "PUT /web?fieldManager=%C3%A9%00": "invalid character U+0000 (at position 2)",
    "DELETE /web?dryRun=Some": 'DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]',
}


@pytest.mark.parametrize(("request_", "text"), BAD_OPTIONS.items(), ids=BAD_OPTIONS)
async def test_options_that_mean_nothing_are_refused(api, request_, text):
    await create(api)
    method, _, path = request_.partition(" ")
    body = None if method == "DELETE" else {"metadata": {"name": "web"}}
    status, refusal = await api.request(method, CONFIG_MAPS + path, body)
    assert status == 422
    assert text in refusal["message"]


async def test_only_lists_and_watches_go_across_namespaces(api):
    for method in ("POST", "DELETE"):
        body = {"metadata": {"name": "a", "namespace": "default"}} if method == "POST" else None
        status, refusal = await api.request(method, "/api/v1/configmaps", body)
        assert (status, refusal["reason"]) == (405, "MethodNotAllowed")


async def test_a_replacement_names_the_object_and_is_of_it(api):
    await create(api)
    path = f"{CONFIG_MAPS}/web"
    status, refusal = await api.request("PUT", path, {"metadata": {}})
    assert status == 400
    assert "(web based on URL) was undeterminable: name must be provided" in refusal["message"]
    body = {"metadata": {"name": "web", "uid": "another"}}
    status, refusal = await api.request("PUT", path, body)
    assert status == 409
    assert "Key: /registry/configmaps/default/web, ResourceVersion: 0" in refusal["message"]
    assert "Precondition failed: UID in precondition: another" in refusal["message"]


async def test_an_unknown_media_type_is_a_415(api):
    response, data = await api.raw("POST", CONFIG_MAPS, b"x", content_type="text/plain")
    assert response.status == 415
    assert json.loads(data)["reason"] == "UnsupportedMediaType"


async def test_a_body_beyond_three_mebibytes_is_a_413(api):
    body = io.BytesIO(b"x" * (3 * 1024 * 1024 + 1))
    async with api.session.post(api.url + CONFIG_MAPS, data=body) as response:
        assert response.status == 413
        assert (await response.json())["reason"] == "RequestEntityTooLarge"


async def test_yaml_bodies_and_answers(api):
    body = b"metadata:\n  name: web\ndata:\n  a: '1'\n"
    response, data = await api.raw(
        "POST", CONFIG_MAPS, body, content_type="application/yaml", accept="application/yaml"
    )
    assert response.status == 201
    assert response.content_type == "application/yaml"
    assert b"name: web" in data


async def test_an_update_replaces_and_raises_the_resource_version(api):
    obj = await create(api, data={"a": "1"})
    obj["data"] = {"b": "2"}
    status, updated = await api.request("PUT", f"{CONFIG_MAPS}/web", obj)
    assert status == 200
    assert updated["data"] == {"b": "2"}
    assert int(updated["metadata"]["resourceVersion"]) > int(obj["metadata"]["resourceVersion"])
    assert updated["metadata"]["uid"] == obj["metadata"]["uid"]


async def test_an_update_that_changes_nothing_keeps_the_resource_version(api):
    obj = await create(api, data={"a": "1"})
    assert await api.request("PUT", f"{CONFIG_MAPS}/web", obj) == (200, obj)


async def test_an_update_without_a_resource_version_overwrites(api):
    await create(api, data={"a": "1"})
    status, updated = await api.request("PUT", f"{CONFIG_MAPS}/web", config_map(data={"a": "2"}))
    assert (status, updated["data"]) == (200, {"a": "2"})


async def test_an_update_of_an_older_version_conflicts(api):
    old = await create(api, data={"a": "1"})
    await api.request("PUT", f"{CONFIG_MAPS}/web", config_map(data={"a": "2"}))
    status, refusal = await api.request("PUT", f"{CONFIG_MAPS}/web", old | {"data": {"a": "3"}})
    assert (status, refusal["reason"]) == (409, "Conflict")
    assert refusal["message"] == (
        'Operation cannot be fulfilled on configmaps "web": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )


async def test_an_update_under_another_name_is_refused(api):
    await create(api)
    status, refusal = await api.request("PUT", f"{CONFIG_MAPS}/web", config_map("other"))
    assert status == 400
    assert "does not match the name on the URL (web)" in refusal["message"]


async def test_an_update_of_nothing_is_a_404(api):
    status, refusal = await api.request("PUT", f"{CONFIG_MAPS}/none", config_map("none"))
    assert (status, refusal["reason"]) == (404, "NotFound")
    assert refusal["message"] == 'configmaps "none" not found'
    assert refusal["details"] == {"name": "none", "kind": "configmaps"}


async def test_a_dry_run_answers_like_the_write_and_changes_nothing(api):
    status, obj = await api.request("POST", f"{CONFIG_MAPS}?dryRun=All", config_map())
    assert status == 201
    assert obj["metadata"]["uid"]
    assert (await api.request("GET", f"{CONFIG_MAPS}/web"))[0] == 404


PATHS = {
    "an unknown resource": "/api/v1/namespaces/default/nothings",
    "a cluster-scoped resource in a namespace": "/api/v1/namespaces/default/nodes",
    "an unknown subresource": "/api/v1/namespaces/default/configmaps/web/status",
    "an unknown version of a built-in group": "/apis/apps/v9/deployments",
}


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
async def test_not_found_is_a_status_for(api, path):
    status, refusal = await api.request("GET", path)
    assert (status, refusal["kind"], refusal["reason"]) == (404, "Status", "NotFound")


@pytest.mark.parametrize(
    "path",
    ["/nonsense", "/apis/none.example.com/v1/things", "/apis/none.example.com/v1", "/api2/v1"],
)
async def test_not_found_is_text_for_a_path_that_nobody_serves(api, path):
    assert await api.request("GET", path) == (404, "404 page not found\n")


async def test_a_verb_the_resource_does_not_have_is_a_405(api):
    status, refusal = await api.request("DELETE", "/api/v1/componentstatuses/x")
    assert (status, refusal["reason"]) == (405, "MethodNotAllowed")


async def test_writers_that_race_without_a_resource_version_all_succeed(api):
    await create(api, data={"n": "0"})
    answers = await asyncio.gather(
        *(
            api.request("PUT", f"{CONFIG_MAPS}/web", config_map(data={"n": str(n)}))
            for n in range(1, 21)
        )
    )
    assert {status for status, _ in answers} == {200}


async def test_a_certificate_request_keeps_who_asked_not_who_it_says(api):
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jane")])
    signed = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    spec = {
        "request": base64.b64encode(signed.public_bytes(serialization.Encoding.PEM)).decode(),
        "signerName": "example.com/mine",
        "usages": ["client auth"],
        "username": "somebody else",
        "extra": {"a": ["b"]},
    }
    status, made = await api.request("POST", requests, {"metadata": {"name": "j"}, "spec": spec})
    assert status == 201
    _, review = await api.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"kind": "SelfSubjectReview"}
    )
    me = review["status"]["userInfo"]
    assert {key: made["spec"].get(key) for key in ("username", "groups", "extra")} == {
        key: me.get(key) for key in ("username", "groups", "extra")
    }


async def test_a_namespace_is_labelled_with_its_name_even_if_the_server_gives_it(api):
    code, made = await api.request(
        "POST", "/api/v1/namespaces", {"metadata": {"generateName": "ns-"}}
    )
    assert code == 201
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": made["metadata"]["name"]}
