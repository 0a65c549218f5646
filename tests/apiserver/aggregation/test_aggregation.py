"""Aggregated API servers: availability, discovery, and requests that go on with the user's identity."""

import asyncio
import base64
import ssl

import pytest
from aiohttp import web

from tests.support.apiserver import loopback_socket, running_api
from tests.support.certificates import authority
from tests.support.kubectl import Kubectl, require_kubectl
from todoku.apiserver.extension_checks import cluster_ip_problem

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
RESOURCES = [
    {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": ["get", "list"], "shortNames": ["fl"]},
    {"name": "flunders/status", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]},
]  # fmt: skip


class Extension:
    """An extension API server of the group wardle.example.com."""

    def __init__(self, folder):
        self._folder = folder
        self.seen = []

    async def __aenter__(self):
        ca = authority()
        cert, key = ca.issue("extension", hosts=("wardle.default.svc",)).write(
            self._folder, "extension"
        )
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_verify_locations(cadata=ca.pair.certificate.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(cert, key)
        self.ca_bundle = base64.b64encode(ca.pair.certificate).decode()
        self._sock = loopback_socket()
        self.port = self._sock.getsockname()[1]
        app = web.Application()
        app.router.add_get("/apis/wardle.example.com/v1", self._discovery)
        app.router.add_get("/openapi/v2", self._swagger)
        app.router.add_get("/openapi/v3", self._schemas)
        app.router.add_get("/openapi/v3/{path:.*}", self._schema)
        app.router.add_get("/{rest:.*}/console", self._console)
        app.router.add_get("/{rest:.*}/elsewhere", self._elsewhere)
        app.router.add_route("*", "/{rest:.*}", self._any)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock, ssl_context=context).start()
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()
        self._sock.close()

    async def _discovery(self, request):
        body = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": "wardle.example.com/v1",
            "resources": RESOURCES,
        }
        return web.json_response(body)

    async def _swagger(self, request):
        kind = {"group": "wardle.example.com", "version": "v1", "kind": "Flunder"}
        get = {"responses": {"200": {"description": "OK"}}, "x-kubernetes-group-version-kind": kind}
        return web.json_response(
            {
                "swagger": "2.0",
                "paths": {"/apis/wardle.example.com/v1/flunders": {"get": get}, "/version": {}},
                "definitions": {"wardle.Flunder": {"type": "object", "description": "A fish."}},
            }
        )

    async def _schemas(self, request):
        path = "apis/wardle.example.com/v1"
        address = {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"}
        return web.json_response({"paths": {path: address, "apis/other/v1": address}})

    async def _schema(self, request):
        self.seen.append((request.method, request.path_qs, dict(request.headers), ""))
        return web.json_response({"openapi": "3.0.0"})

    async def _console(self, request):
        self.seen.append((request.method, request.path_qs, dict(request.headers), ""))
        socket = web.WebSocketResponse(protocols=("echo",))
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"heard {message.data}")
        return socket

    async def _elsewhere(self, request):
        return web.Response(status=302, headers={"Location": "https://example.com/"})

    async def _any(self, request):
        self.seen.append(
            (request.method, request.path_qs, dict(request.headers), await request.text())
        )
        item = {
            "metadata": {"name": "f", "namespace": "default"},
            "kind": "Flunder",
            "apiVersion": "wardle.example.com/v1",
        }
        return web.json_response(
            {
                "kind": "FlunderList",
                "apiVersion": "wardle.example.com/v1",
                "metadata": {},
                "items": [item],
            },
            status=200,
        )


def api_service(port, ca_bundle):
    return {
        "metadata": {"name": "v1.wardle.example.com"},
        "spec": {
            "group": "wardle.example.com", "version": "v1", "caBundle": ca_bundle,
            "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"name": "wardle", "namespace": "default", "port": port},
        },
    }  # fmt: skip


@pytest.fixture
async def api(tmp_path):
    cert, key = authority().issue("front-proxy-client").write(tmp_path, "front-proxy")
    async with running_api(proxy_client_cert_file=cert, proxy_client_key_file=key) as running:
        yield running


@pytest.fixture
async def extension(api):
    async with Extension(api.folder) as server:
        spec = {"type": "ExternalName", "externalName": "localhost"}
        body = {"metadata": {"name": "wardle"}, "spec": spec}
        assert (await api.request("POST", "/api/v1/namespaces/default/services", body))[0] == 201
        yield server


async def available(api, status):
    """Wait for the Available condition to have a status."""
    async with asyncio.timeout(10):
        while True:
            _, got = await api.request("GET", f"{SERVICES}/v1.wardle.example.com")
            for one in (got.get("status") or {}).get("conditions") or ():
                if (one["type"], one["status"]) == ("Available", status):
                    return one
            await asyncio.sleep(0.05)


async def test_an_extension_server_becomes_available_and_is_discovered(api, extension):
    body = api_service(extension.port, extension.ca_bundle)
    assert (await api.request("POST", SERVICES, body))[0] == 201
    condition = await available(api, "True")
    assert (condition["reason"], condition["message"]) == ("Passed", "all checks passed")
    groups = (await api.request("GET", "/apis"))[1]["groups"]
    assert "wardle.example.com" in [one["name"] for one in groups]
    group = (await api.request("GET", "/apis/wardle.example.com"))[1]
    assert group["preferredVersion"]["groupVersion"] == "wardle.example.com/v1"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = (await api.request("GET", "/apis", accept=accept))[1]["items"]
    found = next(one for one in items if one["metadata"]["name"] == "wardle.example.com")
    resource = found["versions"][0]["resources"][0]
    assert (resource["resource"], resource["scope"]) == ("flunders", "Namespaced")
    assert resource["subresources"][0]["subresource"] == "status"
    assert (await api.request("DELETE", f"{SERVICES}/v1.wardle.example.com"))[0] == 200
    async with asyncio.timeout(10):
        while (await api.request("GET", "/apis/wardle.example.com"))[0] != 404:
            await asyncio.sleep(0.05)


async def test_requests_go_on_with_the_user_in_headers(api, extension):
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    path = "/apis/wardle.example.com/v1/namespaces/default/flunders?limit=5"
    code, answer = await api.request(
        "POST", path, {"spec": 1}, headers={"X-Remote-User": "mallory", "Impersonate-User": "ann", "Impersonate-Group": "system:masters"}
    )  # fmt: skip
    assert (code, answer["kind"]) == (200, "FlunderList")
    method, seen, headers, body = extension.seen[-1]
    assert (method, seen, body) == ("POST", path, '{"spec": 1}')
    assert headers["X-Remote-User"] == "ann"
    assert headers["X-Remote-Group"] in ("system:masters", "system:authenticated")
    assert not any(name.lower().startswith("impersonate") for name in headers)
    assert headers["X-Forwarded-For"] == "127.0.0.1"
    assert headers["X-Forwarded-Uri"] == path.partition("?")[0]


async def test_an_extension_server_sends_nobody_elsewhere(api, extension):
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    path = "/apis/wardle.example.com/v1/namespaces/default/flunders/elsewhere"
    async with api.session.get(api.url + path, allow_redirects=False) as response:
        assert (response.status, "Location" in response.headers) == (502, False)
        assert "attempted to redirect this request" in await response.text()


async def test_authorization_comes_first(api, extension):
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    path = "/apis/wardle.example.com/v1/namespaces/default/flunders"
    code, status = await api.request("GET", path, headers={"Impersonate-User": "nobody"})
    assert code == 403
    assert 'cannot list resource "flunders" in API group "wardle.example.com"' in status["message"]
    assert extension.seen == []


async def test_a_service_that_is_missing_or_silent_makes_it_unavailable(api):
    assert (await api.request("POST", SERVICES, api_service(1, "")))[0] == 201
    condition = await available(api, "False")
    assert condition["reason"] == "ServiceNotFound"
    assert condition["message"] == 'service/wardle in "default" is not present'
    response, text = await api.raw("GET", "/apis/wardle.example.com/v1/flunders")
    assert (response.status, text) == (503, b"service unavailable\n")
    assert "wardle.example.com" in [
        one["name"] for one in (await api.request("GET", "/apis"))[1]["groups"]
    ]
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    items = (await api.request("GET", "/apis", accept=accept))[1]["items"]
    found = next(one for one in items if one["metadata"]["name"] == "wardle.example.com")
    assert found["versions"] == [{"version": "v1", "resources": [], "freshness": "Stale"}]
    body = {"metadata": {"name": "wardle"}, "spec": {"ports": [{"port": 1}]}}
    await api.request("POST", "/api/v1/namespaces/default/services", body)
    async with asyncio.timeout(10):
        while (await available(api, "False"))["reason"] != "EndpointsNotFound":
            await asyncio.sleep(0.05)


async def test_kubectl_lists_an_aggregated_resource(api, extension, tmp_path):
    kubectl = Kubectl(require_kubectl(), api.kubeconfig, str(tmp_path / "cache"))
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    assert await kubectl("get", "fl", "-o", "name") == "flunder.wardle.example.com/f\n"
    assert "flunders" in await kubectl("api-resources", "--api-group=wardle.example.com")


WANTED = {"name": "s", "namespace": "n", "port": 443}
PORTS = [{"port": 443, "name": "https"}]
SLICES = {
    "nobody": ([{"ports": [{"name": "https", "port": 8443}], "endpoints": []}], "MissingEndpoints"),
    "another port": ([{"ports": [{"name": "x", "port": 1}], "endpoints": [{"addresses": ["10.0.0.1"]}]}], "MissingEndpoints"),
    "none": ([], "EndpointsNotFound"),
    "not ready": ([{"ports": [{"name": "https", "port": 8443}], "endpoints": [{"conditions": {"ready": False}}]}], "MissingEndpoints"),
    "one": ([{"ports": [{"name": "https", "port": 8443}], "endpoints": [{"addresses": ["10.0.0.1"]}]}], ""),
}  # fmt: skip


@pytest.mark.parametrize(("slices", "reason"), SLICES.values(), ids=SLICES)
def test_a_service_needs_a_ready_endpoint_with_its_port(slices, reason):
    problem = cluster_ip_problem(WANTED, PORTS, slices)
    assert (problem.reason if problem else "") == reason


def test_a_service_needs_the_port():
    problem = cluster_ip_problem(WANTED | {"port": 80}, PORTS, [])
    assert (problem.reason, str(problem)) == ("ServicePortError", 'service/s in "n" is not listening on port 80')  # fmt: skip


async def test_an_upgrade_reaches_the_extension_server(api, extension):
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    path = "/apis/wardle.example.com/v1/namespaces/default/flunders/f/console?x=1"
    headers = {"Impersonate-User": "ann", "Impersonate-Group": "system:masters"}
    protocols = ("base64url.bearer.authorization.k8s.io.c2VjcmV0", "echo")
    async with api.session.ws_connect(api.url + path, protocols=protocols, headers=headers) as socket:  # fmt: skip
        await socket.send_str("hello")
        assert await socket.receive_str() == "heard hello"
        assert socket.protocol == "echo"
    _, seen, headers, _ = extension.seen[-1]
    assert seen == path
    assert headers["X-Remote-User"] == "ann"
    assert headers["Sec-WebSocket-Protocol"] == "echo"


async def test_schemas_of_an_extension_server_are_merged(api, extension):
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    await available(api, "True")
    path = "apis/wardle.example.com/v1"
    async with asyncio.timeout(10):
        while path not in (index := (await api.request("GET", "/openapi/v3"))[1]["paths"]):
            await asyncio.sleep(0.05)
    assert "apis/other/v1" not in index
    address = index[path]["serverRelativeURL"]
    assert (await api.request("GET", address))[1] == {"openapi": "3.0.0"}
    assert extension.seen[-1][1] == address
    assert extension.seen[-1][2]["X-Remote-User"] == "system:aggregator"
    async with asyncio.timeout(10):
        while True:
            swagger = (await api.request("GET", "/openapi/v2"))[1]
            if "/apis/wardle.example.com/v1/flunders" in swagger["paths"]:
                break
            await asyncio.sleep(0.05)
    assert swagger["definitions"]["wardle.Flunder"]["description"] == "A fish."
    assert "io.k8s.api.core.v1.Pod" in swagger["definitions"]


async def test_a_local_api_service_is_available_at_once(api):
    body = {
        "metadata": {"name": "v1.local.example.com"},
        "spec": {"group": "local.example.com", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10},
    }  # fmt: skip
    assert (await api.request("POST", SERVICES, body))[0] == 201
    async with asyncio.timeout(10):
        while True:
            _, got = await api.request("GET", f"{SERVICES}/v1.local.example.com")
            if conditions := (got.get("status") or {}).get("conditions"):
                break
            await asyncio.sleep(0.02)
    assert (conditions[0]["status"], conditions[0]["reason"]) == ("True", "Local")


async def test_groups_are_listed_by_their_priority(api, extension):
    crd = {
        "metadata": {"name": "foos.a.example.com"},
        "spec": {
            "group": "a.example.com", "scope": "Namespaced", "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    }  # fmt: skip
    await api.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    await api.request("POST", SERVICES, api_service(extension.port, extension.ca_bundle))
    async with asyncio.timeout(10):
        while True:
            groups = [one["name"] for one in (await api.request("GET", "/apis"))[1]["groups"]]
            if {"a.example.com", "wardle.example.com"} <= set(groups):
                break
            await asyncio.sleep(0.02)
    assert groups[0] == "apiregistration.k8s.io"
    assert groups[-2:] == ["wardle.example.com", "a.example.com"]


async def test_versions_of_definitions_have_api_services(api):
    names = {"plural": "foos", "kind": "Foo"}
    versions = [
        {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": {"type": "object"}}}
        for name in ("v1", "v2")
    ]  # fmt: skip
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions}
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    body = {"metadata": {"name": "foos.example.com"}, "spec": spec}
    assert (await api.request("POST", crds, body))[0] == 201
    async with asyncio.timeout(10):
        while (await api.request("GET", f"{SERVICES}/v2.example.com"))[0] != 200:
            await asyncio.sleep(0.02)
    _, got = await api.request("GET", f"{SERVICES}/v1.example.com")
    assert got["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}
    assert (got["spec"]["groupPriorityMinimum"], got["spec"]["versionPriority"]) == (1000, 100)
    assert (await api.request("DELETE", f"{crds}/foos.example.com"))[0] == 200
    async with asyncio.timeout(10):
        while (await api.request("GET", f"{SERVICES}/v1.example.com"))[0] != 404:
            await asyncio.sleep(0.02)
