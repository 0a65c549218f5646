"""The built-in admission plugins, seen through a whole server."""

import ssl

import aiohttp
import pytest

from tests.support.apiserver import running_api
from todoku.api.resources import registry
from todoku.apiserver.config import Attributes
from todoku.apiserver.request import User

POD = {"containers": [{"name": "c", "image": "httpd"}]}


@pytest.fixture
async def api():
    async with running_api() as running:
        await put(running, "serviceaccounts", "default", {})
        yield running


async def put(api, plural, name, body, namespace="default", base="/api/v1"):
    where = f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"
    body = {"metadata": {"name": name} | body.pop("metadata", {}), **body}
    code, answer = await api.request("POST", where, body)
    assert code == 201, answer
    return answer


async def pod(api, name="p", namespace="default", metadata=None, dry_run=False, **spec):
    body = {"metadata": {"name": name, **(metadata or {})}, "spec": POD | spec}
    query = "?dryRun=All" if dry_run else ""
    return await api.request("POST", f"/api/v1/namespaces/{namespace}/pods{query}", body)


async def test_nothing_is_written_into_a_namespace_that_is_missing(api):
    code, status = await pod(api, namespace="nowhere")
    assert (code, status["message"]) == (404, 'namespaces "nowhere" not found')


@pytest.mark.parametrize("name", ["default", "kube-system"])
async def test_some_namespaces_cannot_be_deleted(api, name):
    code, status = await api.request("DELETE", f"/api/v1/namespaces/{name}")
    assert code == 403
    assert (
        status["message"] == f'namespaces "{name}" is forbidden: this namespace may not be deleted'
    )


async def test_a_namespace_that_goes_away_takes_no_new_content(api):
    finalizer = {"finalizers": ["example.com/wait"]}
    await put(api, "namespaces", "going", {"metadata": finalizer}, namespace="")
    await put(api, "serviceaccounts", "default", {}, namespace="going")
    await api.request("DELETE", "/api/v1/namespaces/going")
    code, status = await pod(api, namespace="going")
    assert code == 403
    assert (
        "unable to create new content in namespace going because it is being terminated"
        in status["message"]
    )
    assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"


async def test_a_pod_gets_its_service_account_its_token_and_its_tolerations(api):
    code, got = await pod(api, initContainers=[{"name": "i", "image": "busybox"}])
    assert code == 201, got
    spec = got["spec"]
    assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
    volume = next(one for one in spec["volumes"] if one["name"].startswith("kube-api-access-"))
    assert len(volume["name"]) == len("kube-api-access-") + 5
    sources = volume["projected"]["sources"]
    assert sources[0] == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    assert sources[1]["configMap"]["name"] == "kube-root-ca.crt"
    for container in (*spec["containers"], *spec["initContainers"]):
        assert container["volumeMounts"] == [
            {"name": volume["name"], "readOnly": True,
             "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"},
        ]  # fmt: skip
    assert {one["key"] for one in spec["tolerations"]} == {
        "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable",
    }  # fmt: skip
    assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")


async def test_a_pod_or_account_may_do_without_a_token(api):
    _, got = await pod(api, automountServiceAccountToken=False)
    assert "volumes" not in got["spec"]
    await put(api, "serviceaccounts", "quiet", {"automountServiceAccountToken": False,
                                                "imagePullSecrets": [{"name": "pull"}]})  # fmt: skip
    _, got = await pod(api, name="q", serviceAccountName="quiet")
    assert "volumes" not in got["spec"]
    assert got["spec"]["imagePullSecrets"] == [{"name": "pull"}]


async def test_an_unknown_service_account_is_refused(api):
    code, status = await pod(api, serviceAccountName="ghost")
    assert code == 403
    assert status["message"] == (
        'pods "p" is forbidden: error looking up service account default/ghost: '
        'serviceaccount "ghost" not found'
    )


async def test_priority_classes(api):
    base = "/apis/scheduling.k8s.io/v1"
    await put(api, "priorityclasses", "high", {"value": 7}, namespace="", base=base)
    _, got = await pod(api, priorityClassName="high")
    assert got["spec"]["priority"] == 7
    code, status = await pod(api, name="q", priorityClassName="higher")
    assert (code, status["message"]) == (
        403, 'pods "q" is forbidden: no PriorityClass with name higher was found',
    )  # fmt: skip
    await put(
        api,
        "priorityclasses",
        "usual",
        {"value": 3, "globalDefault": True},
        namespace="",
        base=base,
    )
    _, got = await pod(api, name="r")
    assert (got["spec"]["priority"], got["spec"]["priorityClassName"]) == (3, "usual")
    code, status = await api.request("DELETE", f"{base}/priorityclasses/system-node-critical")
    assert (code, status["message"]) == (
        403,
        'priorityclasses.scheduling.k8s.io "system-node-critical" is forbidden: '
        "this is a system priority class and cannot be deleted",
    )
    assert (await api.request("DELETE", f"{base}/priorityclasses/usual"))[0] == 200


LIMITS = {
    "spec": {
        "limits": [
            {"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"},
             "max": {"cpu": "1"}, "min": {"cpu": "50m"}},
            {"type": "Pod", "max": {"cpu": "1500m"}},
        ]
    }
}  # fmt: skip


async def test_quality_of_service_counts_what_limit_ranges_gave(api):
    limits = {"limits": [{"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}}]}
    await put(api, "limitranges", "l", {"spec": limits})
    _, got = await pod(api)
    assert got["status"]["qosClass"] == "Guaranteed"


async def test_nobody_owns_the_status_of_a_new_object(api):
    body = {"metadata": {"name": "p"}, "spec": POD, "status": {"phase": "Running"}}
    _, got = await api.request("POST", "/api/v1/namespaces/default/pods", body)
    assert got["status"]["phase"] == "Pending"
    [entry] = got["metadata"]["managedFields"]
    assert set(entry["fieldsV1"]) == {"f:spec"}


async def test_limit_ranges_fill_in_and_bound(api):
    await put(api, "limitranges", "l", LIMITS)
    _, got = await pod(api)
    assert got["spec"]["containers"][0]["resources"] == {
        "limits": {"cpu": "500m"}, "requests": {"cpu": "100m"},
    }  # fmt: skip
    assert got["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
        "LimitRanger plugin set: cpu request for container c; cpu limit for container c"
    )

    def sized(**resources):
        return [{"name": "c", "image": "i", "resources": resources}]

    refused = {
        "maximum cpu usage per Container is 1, but limit is 1200m": sized(limits={"cpu": "1200m"}),
        "minimum cpu usage per Container is 50m, but request is 10m": sized(
            requests={"cpu": "10m"}
        ),
        "maximum cpu usage per Pod is 1500m, but limit is 2": [
            {"name": name, "image": "i", "resources": {"limits": {"cpu": "1"}}} for name in "ab"
        ],
    }
    for message, containers in refused.items():
        code, status = await pod(api, name="q", containers=containers)
        assert code == 403
        assert message in status["message"]


async def test_pod_security_by_namespace_label(api):
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    await put(api, "namespaces", "safe", {"metadata": {"labels": labels}}, namespace="")
    await put(api, "serviceaccounts", "default", {}, namespace="safe")
    code, status = await pod(api, namespace="safe", hostNetwork=True)
    assert code == 403
    assert status["message"] == (
        'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    )
    response, _ = await api.raw(
        "POST", "/api/v1/namespaces/safe/pods", {"metadata": {"name": "p"}, "spec": POD}
    )
    assert response.status == 201
    assert 'would violate PodSecurity \\"restricted:latest\\"' in response.headers["Warning"]
    patch = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    response, _ = await api.raw(
        "PATCH", "/api/v1/namespaces/safe", patch, content_type="application/merge-patch+json"
    )
    warnings = " ".join(response.headers.getall("Warning"))
    assert (
        'existing pods in namespace \\"safe\\" violate the new PodSecurity enforce level'
        in warnings
    )


# -- quota


async def quota(api, hard, used=None, name="q", **spec):
    await put(api, "resourcequotas", name, {"spec": {"hard": hard} | spec})
    status = {"hard": hard, "used": used or dict.fromkeys(hard, "0")}
    path = f"/api/v1/namespaces/default/resourcequotas/{name}/status"
    body = {"status": status}
    code, _ = await api.request("PATCH", path, body, content_type="application/merge-patch+json")
    assert code == 200


async def used(api, name="q"):
    path = f"/api/v1/namespaces/default/resourcequotas/{name}"
    return (await api.request("GET", path))[1]["status"]["used"]


def asking(cpu):
    return [{"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}}]


async def test_a_quota_is_charged_at_once_and_refuses_what_exceeds_it(api):
    await quota(api, {"pods": "2", "requests.cpu": "1"})
    assert (await pod(api, "a", containers=asking("600m")))[0] == 201
    assert await used(api) == {"pods": "1", "requests.cpu": "600m"}
    code, status = await pod(api, "b", containers=asking("500m"))
    assert code == 403
    assert status["message"] == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, '
        "used: requests.cpu=600m, limited: requests.cpu=1"
    )
    code, status = await pod(api, "b")
    assert (
        status["message"]
        == 'pods "b" is forbidden: failed quota: q: must specify requests.cpu for: c'
    )
    assert (await pod(api, "b", containers=asking("400m"), dry_run=True))[0] == 201
    assert (await pod(api, "b", containers=asking("400m")))[0] == 201
    assert await used(api) == {"pods": "2", "requests.cpu": "1"}


async def test_a_write_that_fails_takes_its_charge_back(api):
    await quota(api, {"pods": "5"})
    assert (await pod(api, "a"))[0] == 201
    assert (await pod(api, "a"))[0] == 409
    assert await used(api) == {"pods": "1"}


async def test_parallel_writes_never_exceed_a_quota(api):
    import asyncio

    await quota(api, {"count/configmaps": "3"})
    path = "/api/v1/namespaces/default/configmaps"
    codes = await asyncio.gather(
        *(api.request("POST", path, {"metadata": {"name": f"c{index}"}}) for index in range(8))
    )
    assert sorted(code for code, _ in codes) == [201] * 3 + [403] * 5
    assert await used(api) == {"count/configmaps": "3"}


async def test_amounts_are_not_written_over_a_charge_whose_object_is_still_on_its_way(api):
    await quota(api, {"count/configmaps": "3"})
    path = "/api/v1/namespaces/default/resourcequotas/q"
    _, before = await api.request("GET", path)
    plugin = next(p for p in api.server.engine.components.admission if p.name == "ResourceQuota")
    body = {"metadata": {"name": "c", "namespace": "default"}}
    resource = registry().find("configmaps")
    assert resource is not None
    under_way = Attributes(
        operation="CREATE", user=User("u"), resource=resource, subresource="", kind=resource.gvk,
        namespace="default", name="c", object=body, old=None, options={},
    )  # fmt: skip
    await plugin.validate(under_way)
    _, charged = await api.request("GET", path)
    assert charged["status"]["used"] != before["status"]["used"]
    recounted = charged | {"status": before["status"]}
    code, _ = await api.request("PUT", path + "/status", recounted)
    assert code == 409
    for settle in under_way.settled:
        settle()
    code, _ = await api.request("PUT", path + "/status", recounted)
    assert code == 200


async def test_scopes_choose_the_pods_a_quota_speaks_about(api):
    await quota(api, {"pods": "0"}, scopes=["BestEffort"])
    assert (await pod(api, "a"))[0] == 403
    assert (await pod(api, "a", containers=asking("1m")))[0] == 201


async def test_a_quota_without_status_is_not_guessed(api):
    await put(api, "resourcequotas", "new", {"spec": {"hard": {"pods": "1"}}})
    code, status = await pod(api)
    assert code == 403
    assert "status unknown for quota: new, resources: pods" in status["message"]


async def test_services_count_their_node_ports(api):
    await quota(api, {"services": "5", "services.nodeports": "1"})
    spec = {"type": "NodePort", "ports": [{"name": "a", "port": 1}, {"name": "b", "port": 2}]}
    body = {"metadata": {"name": "s"}, "spec": spec}
    code, status = await api.request("POST", "/api/v1/namespaces/default/services", body)
    assert code == 403
    assert (
        "requested: services.nodeports=2, used: services.nodeports=0, limited: services.nodeports=1"
        in status["message"]
    )


# -- rights


async def as_bob(api, path, body):
    cert = api.authority.issue("bob").write(api.folder, "bob")
    context = ssl.create_default_context(cafile=api.ca_file)
    context.load_cert_chain(*cert)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.post(api.url + path, json=body) as response,
    ):
        return response.status, await response.json()


RBAC = "/apis/rbac.authorization.k8s.io/v1"


async def test_nobody_gives_away_rights_they_do_not_hold(api):
    rules = [
        {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
    ]  # fmt: skip
    await put(api, "roles", "own", {"rules": rules}, base=RBAC)
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "own"}
    bob = {"kind": "User", "name": "bob", "apiGroup": "rbac.authorization.k8s.io"}
    await put(api, "rolebindings", "own", {"roleRef": reference, "subjects": [bob]}, base=RBAC)
    where = f"{RBAC}/namespaces/default"
    less = {"metadata": {"name": "less"}, "rules": rules[1:]}
    assert (await as_bob(api, f"{where}/roles", less))[0] == 201
    more = {
        "metadata": {"name": "more"},
        "rules": [rules[1] | {"verbs": ["get", "delete", "list"]}],
    }
    code, status = await as_bob(api, f"{where}/roles", more)
    assert code == 403
    assert status["message"] == (
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "bob" (groups=["system:authenticated"]) '
        "is attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["delete" "list"]}'
    )
    binding = {
        "metadata": {"name": "b"},
        "roleRef": reference | {"kind": "ClusterRole", "name": "admin"},
        "subjects": [bob],
    }
    code, status = await as_bob(api, f"{where}/rolebindings", binding)
    assert code == 403
    assert "is attempting to grant RBAC permissions not currently held" in status["message"]
    binding["roleRef"] = reference
    assert (await as_bob(api, f"{where}/rolebindings", binding))[0] == 201


async def test_a_new_node_is_tainted_until_it_is_ready(api):
    node = await put(api, "nodes", "n1", {}, namespace="")
    assert {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"} in node["spec"]["taints"]


@pytest.mark.parametrize("body", [{}, {"spec": None}, {"spec": {}}, {"spec": {"containers": None}},
                                  {"spec": {"containers": [{}]}}], ids=str)  # fmt: skip
async def test_incomplete_pods_are_invalid_never_an_internal_error(api, body):
    body = {"metadata": {"name": "p"}, **body}
    code, status = await api.request("POST", "/api/v1/namespaces/default/pods", body)
    assert code == 422, status


async def test_a_bound_pod_takes_over_the_topology_of_its_node(api):
    zone, region = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
    labels = {zone: "z", region: "r", "topology.kubernetes.io/rack": "k"}
    await put(api, "nodes", "n", {"metadata": {"labels": labels}}, namespace="")
    await pod(api, metadata={"labels": {"a": "b", zone: "mine"}})
    pods = "/api/v1/namespaces/default/pods"
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert (await api.request("POST", f"{pods}/p/binding", binding))[0] == 201
    _, got = await api.request("GET", f"{pods}/p")
    assert got["metadata"]["labels"] == {"a": "b", zone: "z", region: "r"}
    _, got = await pod(api, "q", nodeName="n")
    assert got["metadata"]["labels"] == {zone: "z", region: "r"}


async def test_a_refusal_names_what_has_no_name_yet_by_its_beginning(api):
    body = {"metadata": {"generateName": "web-"}, "spec": POD | {"priorityClassName": "none"}}
    code, status = await api.request("POST", "/api/v1/namespaces/default/pods", body)
    assert (code, status["message"]) == (403, 'pods "web-" is forbidden: no PriorityClass with name none was found')  # fmt: skip
