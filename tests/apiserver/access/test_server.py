"""Access control of a whole server: over TLS, with certificates and tokens, and with kubectl."""

import asyncio
import ssl

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.apiserver import running_api
from todoku.apiserver import wellknown
from todoku.apiserver.config import Timings
from todoku.apiserver.objects import EngineObjects


@pytest.fixture
async def api(tmp_path):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "sa.key").write_bytes(pem)
    async with running_api(
        service_account_key_file=str(tmp_path / "sa.key"), advertise_address="192.168.11.131"
    ) as running:
        yield running


async def as_user(api, method, path, body=None, *, cert=None, token=None, headers=None):
    context = ssl.create_default_context(cafile=api.ca_file)
    if cert:
        context.load_cert_chain(*cert)
    headers = dict(headers or {})
    if token:
        headers["Authorization"] = f"Bearer {token}"
    connector = aiohttp.TCPConnector(ssl=context)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, api.url + path, json=body, headers=headers) as response,
    ):
        return response.status, await response.json(content_type=None)


def certificate(api, name, *groups):
    return api.authority.issue(name, groups=groups).write(api.folder, name)


async def test_strangers_see_the_version_and_nothing_else(api):
    assert (await as_user(api, "GET", "/version"))[0] == 200
    code, status = await as_user(api, "GET", "/api/v1/pods")
    assert code == 403
    assert status["message"] == (
        'pods is forbidden: User "system:anonymous" cannot list resource "pods" in API group "" '
        "at the cluster scope"
    )
    assert (await as_user(api, "GET", "/api/v1/pods", token="nonsense"))[0] == 401


async def test_a_service_account_token_from_request_to_use(api):
    account = {"metadata": {"name": "robot"}}
    await api.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    path = "/api/v1/namespaces/default/serviceaccounts/robot/token"
    code, answer = await api.request("POST", path, {"spec": {"expirationSeconds": 600}})
    assert code == 201
    token = answer["status"]["token"]
    pods = "/api/v1/namespaces/default/pods"
    code, status = await as_user(api, "GET", pods, token=token)
    assert code == 403
    assert 'User "system:serviceaccount:default:robot" cannot list' in status["message"]
    binding = {
        "metadata": {"name": "robots"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "robot", "namespace": "default"}],
    }
    where = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    assert (await api.request("POST", where, binding))[0] == 201
    assert (await as_user(api, "GET", pods, token=token))[0] == 200
    review = {"spec": {"token": token}}
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    code, answer = await api.request("POST", reviews, review)
    assert answer["status"]["user"]["username"] == "system:serviceaccount:default:robot"
    await api.request("DELETE", "/api/v1/namespaces/default/serviceaccounts/robot")
    assert (await as_user(api, "GET", pods, token=token))[0] == 401
    assert (await as_user(api, "GET", "/openid/v1/jwks"))[0] == 403
    assert (await api.request("GET", "/openid/v1/jwks"))[1]["keys"][0]["alg"] == "RS256"


async def test_reviews_tell_what_requests_would_get(api):
    bob = certificate(api, "bob", "dev")
    code, answer = await as_user(
        api, "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, cert=bob
    )
    assert code == 201
    assert answer["status"]["userInfo"]["groups"] == ["dev", "system:authenticated"]
    ask = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "a"}}}
    own = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await as_user(api, "POST", own, ask, cert=bob))[1]["status"] == {"allowed": False}
    assert (await api.request("POST", own, ask))[1]["status"]["allowed"] is True
    ask["spec"] |= {"user": "x", "groups": ["kubeadm:cluster-admins"]}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = (await api.request("POST", path, ask))[1]["status"]
    assert answer["allowed"] is True
    assert (
        'ClusterRoleBinding "kubeadm:cluster-admins" of ClusterRole "cluster-admin"'
        in answer["reason"]
    )
    code, refusal = await api.request("POST", path, {"spec": {"user": "x"}})
    assert (code, refusal["reason"]) == (422, "Invalid")
    assert refusal["message"] == (
        '.authorization.k8s.io "" is invalid: spec.resourceAttributes: Invalid value: "null": '
        "exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )
    assert "kind" not in refusal["details"]
    local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    code, refusal = await api.request("POST", local, ask)
    assert refusal["message"].endswith(
        'spec.resourceAttributes.namespace: Invalid value: "a": must match metadata.namespace'
    )
    ask["spec"]["resourceAttributes"]["namespace"] = "default"
    assert (await api.request("POST", local, ask))[0] == 201


async def test_impersonation_through_the_server(api):
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    headers = {"Impersonate-User": "ann", "Impersonate-Group": "ops"}
    code, answer = await api.request("POST", path, {}, headers=headers)
    assert answer["status"]["userInfo"]["username"] == "ann"
    bob = certificate(api, "bob")
    code, status = await as_user(api, "POST", path, {}, cert=bob, headers=headers)
    assert code == 403
    assert 'cannot impersonate resource "users"' in status["message"]


async def test_a_fresh_cluster_has_its_service_and_ranges(api):
    service = (await api.request("GET", "/api/v1/namespaces/default/services/kubernetes"))[1]
    assert service["spec"]["clusterIP"] == "10.96.0.1"
    assert service["spec"]["ports"][0]["targetPort"] == 6443
    address = (await api.request("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.96.0.1"))[1]
    assert address["spec"]["parentRef"]["name"] == "kubernetes"
    slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
    assert (await api.request("GET", slices))[1]["endpoints"][0]["addresses"] == ["192.168.11.131"]
    classes = (await api.request("GET", "/apis/scheduling.k8s.io/v1/priorityclasses"))[1]["items"]
    assert {one["value"] for one in classes} == {2_000_000_000, 2_000_001_000}


async def test_the_service_of_the_server_comes_back_when_somebody_deletes_it():
    timings = Timings(publish_every=0.02)
    async with running_api(advertise_address="192.168.11.131", timings=timings) as api:
        paths = [
            f"/api/v1/namespaces/default/{kind}/kubernetes" for kind in ("services", "endpoints")
        ]
        for path in paths:
            old = (await api.request("GET", path))[1]["metadata"]["uid"]
            assert (await api.request("DELETE", path))[0] == 200
            async with asyncio.timeout(5):
                while (found := await api.request("GET", path))[0] != 200:
                    await asyncio.sleep(0.02)
            assert found[1]["metadata"]["uid"] != old


async def test_what_is_there_of_the_servers_service_is_left_alone(api):
    engine = api.server.engine
    before = engine.store.revision
    await wellknown.publish(api.config, EngineObjects.of(engine))
    assert engine.store.revision == before


async def test_services_get_and_give_back_addresses_through_the_api(api):
    services = "/api/v1/namespaces/default/services"
    body = {
        "metadata": {"name": "web"},
        "spec": {"type": "NodePort", "ports": [{"port": 80}], "selector": {"app": "web"}},
    }
    code, web = await api.request("POST", services, body)
    assert code == 201, web
    address = f"/apis/networking.k8s.io/v1/ipaddresses/{web['spec']['clusterIP']}"
    assert (await api.request("GET", address))[0] == 200
    assert 30000 <= web["spec"]["ports"][0]["nodePort"] <= 32767
    body["metadata"]["name"], body["spec"]["clusterIP"] = "other", web["spec"]["clusterIP"]
    code, status = await api.request("POST", services, body)
    assert code == 422
    assert "provided IP is already allocated" in status["message"]
    assert (await api.request("DELETE", f"{services}/web"))[0] == 200
    assert (await api.request("GET", address))[0] == 404
    assert (await api.request("POST", services, body))[0] == 201
