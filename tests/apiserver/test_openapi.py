"""OpenAPI as kubectl and other clients fetch it."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import pytest

PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


async def test_the_v3_index_names_every_group_and_version(api):
    _, index = await api.request("GET", "/openapi/v3")
    assert {"api/v1", "apis/apps/v1", "apis/batch/v1"} <= set(index["paths"])
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    assert url.startswith("/openapi/v3/apis/apps/v1?hash=")


async def test_a_group_document_says_which_parameters_a_patch_takes(api):
    _, document = await api.request("GET", "/openapi/v3/apis/apps/v1")
    path = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    names = {one["name"] for one in path["patch"]["parameters"]}
    assert {"fieldValidation", "dryRun", "fieldManager", "force"} <= names
    kind = {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert path["patch"]["x-kubernetes-group-version-kind"] == kind


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for child in value.values():
            yield from references(child)
    elif isinstance(value, list):
        for child in value:
            yield from references(child)


async def test_every_reference_of_every_document_leads_somewhere(api):
    _, index = await api.request("GET", "/openapi/v3")
    for entry in index["paths"].values():
        _, document = await api.request("GET", entry["serverRelativeURL"])
        known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
        assert set(references(document)) <= known
    _, document = await api.request("GET", "/openapi/v2")
    assert set(references(document)) <= {
        f"#/definitions/{name}" for name in document["definitions"]
    }


@pytest.mark.parametrize("path", ["/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1"])
async def test_an_etag_saves_the_download(api, path):
    response, data = await api.raw("GET", path)
    assert data
    etag = response.headers["ETag"]
    response, data = await api.raw("GET", path, headers={"If-None-Match": etag})
    assert (response.status, data) == (304, b"")


async def test_a_hashed_address_may_be_kept_for_ever(api):
    _, index = await api.request("GET", "/openapi/v3")
    response, _ = await api.raw("GET", index["paths"]["api/v1"]["serverRelativeURL"])
    assert "immutable" in response.headers["Cache-Control"]
    expires = parsedate_to_datetime(response.headers["Expires"])
    assert expires - datetime.now(UTC) > timedelta(days=364)


async def test_version_3_tells_defaults(api):
    _, document = await api.request("GET", "/openapi/v3/api/v1")
    schemas = document["components"]["schemas"]

    def default(kind, field):
        return schemas[f"io.k8s.api.core.v1.{kind}"]["properties"][field].get("default")

    assert default("ServicePort", "protocol") == "TCP"
    assert default("ISCSIVolumeSource", "iscsiInterface") == "default"
    assert default("ScaleIOVolumeSource", "fsType") == "xfs"
    _, document = await api.request("GET", "/openapi/v2")
    kind = document["definitions"]["io.k8s.api.core.v1.ISCSIVolumeSource"]
    assert "default" not in kind["properties"]["iscsiInterface"]


async def test_an_address_with_an_old_hash_leads_to_the_new_one(api):
    _, index = await api.request("GET", "/openapi/v3")
    async with api.session.get(
        f"{api.url}/openapi/v3/api/v1?hash=OLD", allow_redirects=False
    ) as response:
        assert response.status == 301
        assert response.headers["Location"] == index["paths"]["api/v1"]["serverRelativeURL"]


async def test_kubectl_gets_the_v2_document_in_protobuf(api):
    response, data = await api.raw("GET", "/openapi/v2", accept=PROTOBUF)
    assert response.headers["Content-Type"] == PROTOBUF.replace("@", ".")
    assert data.startswith(b"\x0a\x032.0")
    assert b"io.k8s.api.core.v1.Pod" in data


async def test_an_unknown_document_is_a_404(api):
    response, data = await api.raw("GET", "/openapi/v3/apis/none/v1")
    assert response.status == 404
    assert json.loads(data)["kind"] == "Status"


async def test_documents_are_the_same_at_every_reading(api):
    digests = set()
    for _ in range(3):
        _, data = await api.raw("GET", "/openapi/v2")
        digests.add(hashlib.sha256(data).hexdigest())
    assert len(digests) == 1


async def test_discovery_says_in_which_version_a_kind_is_stored(api):
    _, core = await api.request("GET", "/api/v1")
    found = {one["name"]: one.get("storageVersionHash") for one in core["resources"]}
    assert found["pods"] == "xPOwRZ+Yhw8="
    assert found["pods/log"] is None
    assert found["bindings"] is None
    _, newer = await api.request("GET", "/apis/events.k8s.io/v1")
    assert newer["resources"][0]["storageVersionHash"] == found["events"]


async def test_nothing_in_aggregated_discovery_is_null(api):
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    for path, groups in (("/api", [{}]), ("/apis", None)):
        response, data = await api.raw("GET", path, accept=accept)
        assert response.headers["Content-Type"] == accept
        assert b":null" not in data
        found = [one["metadata"] for one in json.loads(data)["items"]]
        assert found == groups or all(one["name"] for one in found)
