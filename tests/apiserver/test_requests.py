"""What holds for every request: paths, health, version, limits, malformed input."""

import asyncio
import json
import ssl

import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.request import read_path

PATHS = {
    ("GET", "/api/v1/pods"): ("list", "pods", "", "", ""),
    ("GET", "/api/v1/pods?watch=1"): ("watch", "pods", "", "", ""),
    ("GET", "/api/v1/pods?watch=false"): ("list", "pods", "", "", ""),
    ("GET", "/api/v1/namespaces/n/pods/p"): ("get", "pods", "", "n", "p"),
    ("GET", "/api/v1/namespaces/n/pods/p/log"): ("get", "pods", "log", "n", "p"),
    ("PUT", "/api/v1/namespaces/n"): ("update", "namespaces", "", "n", "n"),
    ("PUT", "/api/v1/namespaces/n/finalize"): ("update", "namespaces", "finalize", "n", "n"),
    ("GET", "/api/v1/namespaces"): ("list", "namespaces", "", "", ""),
    ("DELETE", "/apis/apps/v1/namespaces/n/deployments"): (
        "deletecollection",
        "deployments",
        "",
        "n",
        "",
    ),
    ("PATCH", "/apis/apps/v1/namespaces/n/deployments/d/scale"): (
        "patch",
        "deployments",
        "scale",
        "n",
        "d",
    ),
    ("POST", "/api/v1/namespaces/n/pods/p/binding"): ("create", "pods", "binding", "n", "p"),
}


@pytest.mark.parametrize(("line", "wanted"), PATHS.items(), ids=[" ".join(line) for line in PATHS])
def test_a_path_is_read_as(line, wanted):
    method, url = line
    path, _, query = url.partition("?")
    values = dict(part.split("=") for part in query.split("&") if part)
    info = read_path(method, path, values)
    assert (info.verb, info.resource, info.subresource, info.namespace, info.name) == wanted


def test_the_rest_of_a_proxy_path_is_kept():
    info = read_path("GET", "/api/v1/namespaces/n/services/s/proxy/a/b", {})
    assert (info.subresource, info.parts) == ("proxy", ("a", "b"))


@pytest.mark.parametrize("path", ["/healthz", "/livez", "/readyz"])
async def test_health(api, path):
    response, data = await api.raw("GET", path)
    assert (response.status, data) == (200, b"ok")


async def test_the_version_is_that_of_kubernetes(api):
    _, version = await api.request("GET", "/version")
    assert (version["major"], version["minor"]) == ("1", "36")


MALFORMED = {
    "a bad request line": b"GARBAGE\r\n\r\n",
    "a bad header": b"GET /version HTTP/1.1\r\nbad header\r\n\r\n",
    "a bad length": b"POST /api/v1/namespaces HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    "an endless line": b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
async def test_malformed_http_is_answered_with_a_400_and_disturbs_nobody(api, data):
    context = ssl.create_default_context(cafile=api.ca_file)
    port = int(api.url.rpartition(":")[2])
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(data)
        answer = await reader.read(4096)
        writer.close()
    assert answer.startswith(b"HTTP/1.") and b" 400 " in answer[:20]
    assert (await api.request("GET", "/version"))[0] == 200


BODIES = {
    "deep nesting": (b'{"metadata":' + b"[" * 100_000, "application/json"),
    "deep YAML": (b"a: " + b"[" * 5_000, "application/yaml"),
    "a YAML bomb": (
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            b"%c: &%c [%b]\n" % (98 + n, 98 + n, b",".join([b"*%c" % (97 + n)] * 9))
            for n in range(9)
        ),
        "application/yaml",
    ),
    "not UTF-8": (b'{"metadata":{"name":"\xff\xfe"}}', "application/json"),
    "a bad protobuf": (b"k8s\x00\xff\xff\xff", "application/vnd.kubernetes.protobuf"),
    "no protobuf": (b"{}", "application/vnd.kubernetes.protobuf"),
    "null": (b"null", "application/json"),
    "a number for a name": (b'{"metadata":{"name":5}}', "application/json"),
    "a list for labels": (b'{"metadata":{"name":"a","labels":["x"]}}', "application/json"),
    "a number for a label": (b'{"metadata":{"name":"a","labels":{"x":5}}}', "application/json"),
    "an object for data": (b'{"metadata":{"name":"a"},"data":{"x":{}}}', "application/json"),
    "text for finalizers": (b'{"metadata":{"name":"a","finalizers":"x"}}', "application/json"),
    "text for owners": (b'{"metadata":{"name":"a","ownerReferences":["x"]}}', "application/json"),
}


@pytest.mark.parametrize(("body", "kind"), BODIES.values(), ids=BODIES)
async def test_a_bad_body_is_refused_with_a_reason(api, body, kind):
    response, data = await api.raw(
        "POST", "/api/v1/namespaces/default/configmaps", body, content_type=kind
    )
    refusal = json.loads(data)
    assert response.status in (400, 413, 422), refusal
    assert refusal["kind"] == "Status"
    assert refusal["message"]


async def test_the_store_survives_a_restart_of_the_server(tmp_path):
    path = str(tmp_path / "todoku.db")
    body = {"metadata": {"name": "kept"}, "data": {"a": "1"}}
    async with running_api(path) as api:
        _, before = await api.request("POST", "/api/v1/namespaces/default/configmaps", body)
    async with running_api(path) as api:
        kept = "/api/v1/namespaces/default/configmaps/kept"
        assert await api.request("GET", kept) == (200, before)


YAML = {
    "a colon too many": (b"a: b: c", "mapping values are not allowed in this context"),
    "on a later line": (
        b"a: 1\nb: c: d\n",
        "line 2: mapping values are not allowed in this context",
    ),
    "another indentation": (b"a:\n  - x\n b: 1\n", "line 2: did not find expected key"),
    "an open bracket": (b"a: [1,2\nb: 3\n", "line 1: did not find expected ',' or ']'"),
}


@pytest.mark.parametrize(("body", "problem"), YAML.values(), ids=YAML)
async def test_what_is_no_yaml_is_told_as_goyaml_does(api, body, problem):
    path = "/api/v1/namespaces/default/configmaps"
    kinds = {"POST": "application/yaml", "PATCH": "application/apply-patch+yaml"}
    code, created = await api.request("POST", path, body, content_type=kinds["POST"])
    assert code == 400
    assert f"(must be of type ConfigMap): yaml: {problem} (" in created["message"]
    where = f"{path}/a?fieldManager=me"
    code, applied = await api.request("PATCH", where, body, content_type=kinds["PATCH"])
    assert code == 400
    assert applied["message"] == (
        f"error decoding YAML: error converting YAML to JSON: yaml: {problem}"
    )
