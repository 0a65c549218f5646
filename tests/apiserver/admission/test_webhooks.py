"""Admission webhooks: who is asked, what an answer does, and what happens when none comes."""

import asyncio
import base64
import json
import ssl

import pytest
from aiohttp import web

from tests.apiserver.objects import FakeObjects
from tests.support.apiserver import loopback_socket, running_api
from tests.support.certificates import authority
from todoku.api.errors import InternalError
from todoku.apiserver.admission.figures import Figures
from todoku.apiserver.admission.hooks import Caller, CallFailed, Hook, url_of, verdict_of
from todoku.apiserver.admission.matching import Selectors, rule_matches
from todoku.apiserver.config import Attributes
from todoku.apiserver.outbound import Outbound
from todoku.apiserver.request import User

API = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


class HookServer:
    """An HTTPS server; `answers` maps a path to a function of the request that gives the response."""

    def __init__(self, folder, host="localhost"):
        self._folder, self._host = folder, host
        self.answers, self.seen = {}, []

    async def __aenter__(self):
        ca = authority()
        cert, key = ca.issue("hook", hosts=(self._host,)).write(self._folder, "hook")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        self.ca_bundle = base64.b64encode(ca.pair.certificate).decode()
        self._sock = loopback_socket()
        self.port = self._sock.getsockname()[1]
        app = web.Application()
        app.router.add_post("/{name}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.SockSite(self._runner, self._sock, ssl_context=context).start()
        return self

    async def __aexit__(self, *error):
        await self._runner.cleanup()
        self._sock.close()

    async def _serve(self, request):
        review = await request.json()
        name = request.match_info["name"]
        self.seen.append((name, review["request"]))
        answer = self.answers[name](review["request"])
        if asyncio.iscoroutine(answer):
            answer = await answer
        if isinstance(answer, web.Response):
            return answer
        response = {"uid": review["request"]["uid"], **answer}
        return web.json_response(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )

    def hook(self, name, **fields):
        return {
            "name": f"{name}.example.com",
            "clientConfig": {"url": f"https://localhost:{self.port}/{name}", "caBundle": self.ca_bundle},
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 1,
            **fields,
        }  # fmt: skip


@pytest.fixture
async def api():
    async with running_api() as running:
        yield running


@pytest.fixture
async def hooks(api):
    async with HookServer(api.folder) as server:
        yield server


async def configure(api, kind, name, *webhooks):
    plural = f"{kind.lower()}webhookconfigurations"
    code, answer = await api.request(
        "POST", f"{API}/{plural}", {"metadata": {"name": name}, "webhooks": list(webhooks)}
    )
    assert code == 201, answer


async def create(api, name="c", query="", **body):
    return await api.request("POST", CONFIGMAPS + query, {"metadata": {"name": name}, **body})


def allow(request):
    return {"allowed": True}


def patched(*operations):
    encoded = base64.b64encode(json.dumps(operations).encode()).decode()
    return {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


async def test_a_validating_webhook_sees_the_request_and_allows_it(api, hooks):
    hooks.answers["v"] = lambda request: {"allowed": True, "warnings": ["careful"]}
    await configure(api, "Validating", "v", hooks.hook("v"))
    response, _ = await api.raw("POST", CONFIGMAPS, {"metadata": {"name": "c"}, "data": {"a": "b"}})
    assert response.status == 201
    assert "careful" in response.headers["Warning"]
    (_, request), = hooks.seen  # fmt: skip
    assert request["operation"] == "CREATE"
    assert request["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert request["resource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (request["namespace"], request["name"]) == ("default", "c")
    assert request["object"]["data"] == {"a": "b"}
    assert request["object"]["kind"] == "ConfigMap"
    assert request["oldObject"] is None
    assert request["userInfo"]["username"] == "kubernetes-admin"
    assert request["dryRun"] is False


DENIALS = {
    "a message and code": ({"message": "no such luck", "code": 403}, 403, 'admission webhook "v.example.com" denied the request: no such luck'),
    "only a reason": ({"reason": "Because"}, 400, 'admission webhook "v.example.com" denied the request: Because'),
    "a code that HTTP has not": ({"message": "no", "code": 99999}, 400, 'admission webhook "v.example.com" denied the request: no'),
    "nothing": (None, 400, 'admission webhook "v.example.com" denied the request without explanation'),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "message"), DENIALS.values(), ids=DENIALS)
async def test_a_denial_carries_the_webhooks_words(api, hooks, status, code, message):
    hooks.answers["v"] = lambda request: {"allowed": False} | ({"status": status} if status else {})
    await configure(api, "Validating", "v", hooks.hook("v"))
    got, answer = await create(api)
    assert (got, answer["message"]) == (code, message)
    assert (await api.request("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_deletes_and_updates_are_shown_with_the_old_object(api, hooks):
    hooks.answers["v"] = allow
    await create(api, data={"a": "1"})
    await configure(api, "Validating", "v", hooks.hook("v"))
    await api.request("PUT", f"{CONFIGMAPS}/c", {"metadata": {"name": "c"}, "data": {"a": "2"}})
    await api.request("DELETE", f"{CONFIGMAPS}/c")
    update, delete = (request for _, request in hooks.seen)
    assert (update["operation"], update["oldObject"]["data"]) == ("UPDATE", {"a": "1"})
    assert (delete["operation"], delete["object"]) == ("DELETE", None)
    assert delete["oldObject"]["data"] == {"a": "2"}


async def test_a_mutating_webhook_changes_what_is_stored(api, hooks):
    hooks.answers["m"] = lambda request: patched({"op": "add", "path": "/data/by", "value": "hook"})
    await configure(api, "Mutating", "m", hooks.hook("m"))
    code, answer = await create(api, data={"a": "b"})
    assert (code, answer["data"]) == (201, {"a": "b", "by": "hook"})


async def test_a_mutating_webhook_cannot_do_what_an_update_cannot(api, hooks):
    url = "/api/v1/namespaces/default/services"
    spec = {"ports": [{"port": 80}], "type": "LoadBalancer"}
    _, made = await api.request("POST", url, {"metadata": {"name": "s"}, "spec": spec})
    hooks.answers["m"] = lambda request: patched(
        {"op": "add", "path": "/status", "value": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}},
        {"op": "add", "path": "/metadata/uid", "value": "other"},
        {"op": "add", "path": "/spec/clusterIP", "value": ""},
        {"op": "add", "path": "/metadata/labels", "value": {"a": "b"}},
    )  # fmt: skip
    rules = [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["services"]}]  # fmt: skip
    await configure(api, "Mutating", "m", hooks.hook("m", rules=rules))
    code, got = await api.request("PUT", f"{url}/s", made)
    assert (code, got["metadata"]["labels"]) == (200, {"a": "b"})
    assert (got["status"], got["spec"], got["metadata"]["uid"]) == (
        made["status"],
        made["spec"],
        made["metadata"]["uid"],
    )


async def test_mutating_webhooks_run_in_order_and_are_reinvoked_on_request(api, hooks):
    def append(letter):
        def answer(request):
            word = request["object"]["data"]["word"]
            if letter in word:
                return allow(request)
            return patched({"op": "replace", "path": "/data/word", "value": word + letter})

        return answer

    hooks.answers |= {"one": append("1"), "two": append("2")}
    await configure(api, "Mutating", "a", hooks.hook("one", reinvocationPolicy="IfNeeded"))
    await configure(api, "Mutating", "b", hooks.hook("two"))
    _, answer = await create(api, data={"word": ""})
    assert answer["data"]["word"] == "12"
    assert [name for name, _ in hooks.seen] == ["one", "two", "one"]


async def test_a_validating_webhook_sees_what_the_mutating_ones_made(api, hooks):
    hooks.answers["m"] = lambda request: patched(
        {"op": "add", "path": "/data", "value": {"x": "y"}}
    )
    hooks.answers["v"] = allow
    await configure(api, "Mutating", "m", hooks.hook("m"))
    await configure(api, "Validating", "v", hooks.hook("v"))
    await create(api)
    assert hooks.seen[-1][1]["object"]["data"] == {"x": "y"}


CRD = {
    "metadata": {"name": "foos.example.com"},
    "spec": {
        "group": "example.com", "scope": "Namespaced",
        "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
            "type": "object", "properties": {"data": {"type": "object", "properties": {
                "a": {"type": "string"}, "b": {"type": "string", "default": "filled"}}}}}}}],
    },
}  # fmt: skip


async def test_what_a_webhook_makes_of_a_custom_resource_is_defaulted_and_pruned(api, hooks):
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await api.request("POST", crds, CRD))[0] == 201
    path = "/apis/example.com/v1/namespaces/default/foos"
    async with asyncio.timeout(5):
        while (await api.request("GET", path))[0] != 200:
            await asyncio.sleep(0.02)
    value = {"a": "hook", "unknown": "x"}
    hooks.answers["m"] = lambda request: patched({"op": "add", "path": "/data", "value": value})
    rule = {
        "operations": ["CREATE"],
        "apiGroups": ["example.com"],
        "apiVersions": ["v1"],
        "resources": ["foos"],
    }
    await configure(api, "Mutating", "m", hooks.hook("m", rules=[rule]))
    code, got = await api.request(
        "POST", path, {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "f"}}
    )
    assert (code, got["data"]) == (201, {"a": "hook", "b": "filled"})


async def test_a_webhook_that_makes_nonsense_of_an_object_is_the_webhooks_fault(api, hooks):
    hooks.answers["m"] = lambda request: patched({"op": "add", "path": "/data", "value": 5})
    await configure(api, "Mutating", "m", hooks.hook("m"))
    code, status = await create(api)
    assert code == 500
    assert "cannot unmarshal number" in status["message"]


NONSENSE = {
    "no kind": ({"op": "remove", "path": "/kind"}, "Object 'Kind' is missing in '{"),
    "no metadata": ({"op": "remove", "path": "/metadata"}, ""),
    "metadata of a text": ({"op": "replace", "path": "/metadata", "value": "x"}, "cannot unmarshal string into Go struct field ConfigMap.metadata"),
    "an empty object": ({"op": "replace", "path": "", "value": {}}, "Object 'Kind' is missing in '{}'"),
    "labels in a list": ({"op": "add", "path": "/metadata/labels", "value": [1]}, "cannot unmarshal array into Go struct field ObjectMeta.metadata.labels"),
}  # fmt: skip


@pytest.mark.parametrize(("operation", "why"), NONSENSE.values(), ids=NONSENSE)
async def test_an_object_that_is_none_any_more_is_told_apart(api, hooks, operation, why):
    hooks.answers["m"] = lambda request: patched(operation)
    await configure(api, "Mutating", "m", hooks.hook("m"))
    code, status = await create(api)
    assert code == (500 if why else 422)
    assert why in status["message"]


async def test_an_answer_may_come_in_many_pieces(api, hooks):
    value = "x" * 300_000
    hooks.answers["m"] = lambda request: patched(
        {"op": "add", "path": "/data", "value": {"a": value}}
    )
    await configure(api, "Mutating", "m", hooks.hook("m", timeoutSeconds=10))
    code, made = await create(api)
    assert (code, made["data"]) == (201, {"a": value})


async def _late(request):
    await asyncio.sleep(3)
    return {"allowed": True}


FAILURES = {
    "too late": (_late, "context deadline exceeded"),
    "an error": (
        lambda request: web.Response(status=500, text="broken"),
        'an error on the server ("broken") has prevented the request from succeeding',
    ),
    "no such path": (
        lambda request: web.Response(status=404, text="x"),
        "the server could not find the requested resource",
    ),
    "another uid": (lambda request: {"allowed": True, "uid": "x"}, "expected response.uid"),
    "no JSON": (
        lambda request: web.Response(text="hi"),
        "couldn't get version/kind; json parse error: invalid character 'h' looking for beginning of value",
    ),
    "no review": (
        lambda request: web.json_response({}),
        "received invalid webhook response: webhook response was absent",
    ),
    "nested without end": (
        lambda request: web.Response(text="[" * 100_000),
        "failed to call webhook: exceeded max depth",
    ),
    "a yes that is no boolean": (
        lambda request: {"allowed": "yes"},
        "json: cannot unmarshal string into Go struct field AdmissionResponse.response.allowed of type bool",
    ),
    "a status that is a text": (
        lambda request: {"allowed": False, "status": "no"},
        "json: cannot unmarshal string into Go struct field AdmissionResponse.response.status of type v1.Status",
    ),
    "a reason that is an object": (
        lambda request: {"allowed": False, "status": {"reason": {"a": 1}}},
        "json: cannot unmarshal object into Go struct field Status.response.status.reason of type v1.StatusReason",
    ),
    "annotations in a list": (
        lambda request: {"allowed": True, "auditAnnotations": [1]},
        "json: cannot unmarshal array into Go struct field AdmissionResponse.response.auditAnnotations",
    ),
    "warnings that are numbers": (
        lambda request: {"allowed": True, "warnings": [1]},
        "json: cannot unmarshal number into Go value of type string",
    ),
    "a patch": (
        lambda request: {"allowed": True, "patch": "W10="},
        "received invalid webhook response: validating webhook may not return response.patch",
    ),
}


@pytest.mark.parametrize(("answer", "reason"), FAILURES.values(), ids=FAILURES)
async def test_a_failing_webhook_counts_by_its_failure_policy(api, hooks, answer, reason):
    hooks.answers["v"] = answer
    await configure(api, "Validating", "v", hooks.hook("v"))
    code, status = await create(api)
    assert code == 500
    assert 'failed calling webhook "v.example.com": ' in status["message"]
    assert reason in status["message"]
    await api.request("DELETE", f"{API}/validatingwebhookconfigurations/v")
    await configure(api, "Validating", "w", hooks.hook("v", failurePolicy="Ignore"))
    assert (await create(api))[0] == 201


async def test_an_untrusted_certificate_is_a_failure(api, hooks):
    hook = hooks.hook("v")
    hook["clientConfig"]["caBundle"] = base64.b64encode(
        authority("other").pair.certificate
    ).decode()
    await configure(api, "Validating", "v", hook)
    code, status = await create(api)
    assert code == 500
    assert status["message"].endswith(
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert hooks.seen == []


UNREACHABLE = {
    "nobody listens": ({"url": "https://localhost:1/x"}, "dial tcp 127.0.0.1:1: connect: connection refused"),
    "no such service": ({"service": {"name": "x", "namespace": "default", "path": "/x"}}, 'Post "https://x.default.svc:443/x?timeout=1s": service "x" not found'),
    "no certificate": ({"url": "https://localhost:1/x", "caBundle": "bm9wZQ=="}, "unable to load root certificates: unable to parse bytes as PEM block"),
}  # fmt: skip


@pytest.mark.parametrize(("client", "why"), UNREACHABLE.values(), ids=UNREACHABLE)
async def test_why_a_webhook_is_not_reached(api, hooks, client, why):
    await configure(api, "Validating", "v", hooks.hook("v", clientConfig=client))
    code, status = await create(api)
    assert (code, status["reason"]) == (500, "InternalError")
    assert status["message"].endswith(why)


async def test_a_dry_run_asks_only_webhooks_without_side_effects(api, hooks):
    hooks.answers |= {"v": allow}
    await configure(api, "Validating", "v", hooks.hook("v"))
    assert (await create(api, query="?dryRun=All"))[0] == 201
    assert hooks.seen[0][1]["dryRun"] is True


async def test_validating_webhooks_run_at_the_same_time(api, hooks):
    together = asyncio.Barrier(2)

    async def meet(request):
        async with together:
            return {"allowed": True}

    hooks.answers |= {"a": meet, "b": meet}
    await configure(api, "Validating", "v", hooks.hook("a"), hooks.hook("b"))
    assert (await create(api))[0] == 201


async def test_configurations_themselves_are_exempt(api, hooks):
    rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
    hooks.answers["v"] = lambda request: {"allowed": False}
    await configure(api, "Validating", "v", hooks.hook("v", rules=[rule]))
    assert (await create(api))[0] == 400
    assert (await api.request("DELETE", f"{API}/validatingwebhookconfigurations/v"))[0] == 200
    assert (await create(api))[0] == 201


async def test_selectors_choose_by_labels_of_namespace_and_object(api, hooks):
    hooks.answers["v"] = lambda request: {"allowed": False}
    await configure(
        api, "Validating", "v",
        hooks.hook(
            "v", namespaceSelector={"matchLabels": {"kubernetes.io/metadata.name": "default"}},
            objectSelector={"matchLabels": {"judge": "me"}},
        ),
    )  # fmt: skip
    assert (await create(api, "plain"))[0] == 201
    labelled = {"metadata": {"name": "c", "labels": {"judge": "me"}}}
    assert (await api.request("POST", CONFIGMAPS, labelled))[0] == 400
    elsewhere = "/api/v1/namespaces/kube-system/configmaps"
    assert (await api.request("POST", elsewhere, labelled))[0] == 201


# -- a Service behind the webhook, and the pure parts


def service_objects(port):
    objects = FakeObjects()
    objects.add(
        "services",
        {
            "metadata": {"name": "hook", "namespace": "sys"},
            "spec": {"ports": [{"port": 443, "targetPort": port}]},
        },
    )
    objects.add(
        "endpointslices.discovery.k8s.io",
        {"metadata": {"name": "hook-1", "namespace": "sys", "labels": {"kubernetes.io/service-name": "hook"}},
         "ports": [{"port": port, "protocol": "TCP"}],
         "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}]},
    )  # fmt: skip
    return objects


def attributes(**fields):
    from todoku.api.resources import registry

    resource = registry().find("pods")
    values = {
        "operation": "CREATE", "user": User("u"), "resource": resource, "subresource": "", "kind": resource.gvk,
        "namespace": "default", "name": "p", "object": {"metadata": {"name": "p"}}, "old": None, "options": {},
    }  # fmt: skip
    return Attributes(**values | fields)


async def test_a_service_is_resolved_to_its_ready_endpoints_and_verified_by_its_name(tmp_path):
    async with HookServer(tmp_path, host="hook.sys.svc") as server:
        server.answers["v"] = allow
        objects = service_objects(server.port)
        outbound = Outbound(None, objects)
        client = {
            "service": {"name": "hook", "namespace": "sys", "path": "/v"},
            "caBundle": server.ca_bundle,
        }
        hook = Hook.of(
            "c",
            {
                "name": "v",
                "clientConfig": client,
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
            },
        )
        assert url_of(hook) == "https://hook.sys.svc:443/v?timeout=10s"
        try:
            verdict = await Caller(outbound, Figures()).ask(hook, attributes())
            assert verdict.allowed
            slice_ = objects.get("endpointslices.discovery.k8s.io", "hook-1", "sys")
            slice_["endpoints"][0]["conditions"]["ready"] = False
            await outbound.close()
            outbound = Outbound(None, objects)
            with pytest.raises(InternalError, match='no endpoints available for service "hook"'):
                await Caller(outbound, Figures()).ask(hook, attributes())
        finally:
            await outbound.close()


RULES = {
    "the resource": ({"resources": ["pods"]}, {}, True),
    "not its subresource": ({"resources": ["pods"]}, {"subresource": "exec"}, False),
    "the subresource": ({"resources": ["pods/exec"]}, {"subresource": "exec"}, True),
    "any resource": ({"resources": ["*"]}, {}, True),
    "any resource is no subresource": ({"resources": ["*"]}, {"subresource": "exec"}, False),
    "everything": ({"resources": ["*/*"]}, {"subresource": "exec"}, True),
    "all of pods": ({"resources": ["pods/*"]}, {"subresource": "exec"}, True),
    "another group": ({"apiGroups": ["apps"]}, {}, False),
    "another operation": ({"operations": ["DELETE"]}, {}, False),
    "cluster scope": ({"scope": "Cluster"}, {}, False),
    "namespaced": ({"scope": "Namespaced"}, {}, True),
}  # fmt: skip


@pytest.mark.parametrize(("rule", "request_", "matches"), RULES.values(), ids=RULES)
def test_rules(rule, request_, matches):
    base = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    assert rule_matches(base | rule, attributes(**request_)) is matches


def test_an_object_matches_by_its_old_labels_too():
    selectors = Selectors(None, {"matchLabels": {"a": "b"}})
    old = {"metadata": {"labels": {"a": "b"}}}
    assert selectors.matches(attributes(old=old, operation="UPDATE"), FakeObjects())
    assert not selectors.matches(attributes(), FakeObjects())


def test_answers_in_v1beta1_need_no_uid():
    answer = {"kind": "AdmissionReview", "response": {"allowed": True}}
    assert verdict_of(answer, "x", "v1beta1").allowed


async def test_a_webhook_for_scales_sees_and_changes_scales(api, hooks):
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    await api.request("POST", path, {"metadata": {"name": "d"}, "spec": spec})
    hooks.answers["m"] = lambda request: patched(
        {"op": "replace", "path": "/spec/replicas", "value": request["object"]["spec"]["replicas"] + 1}
    )  # fmt: skip
    rule = {"operations": ["UPDATE"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]}  # fmt: skip
    await configure(api, "Mutating", "m", hooks.hook("m", rules=[rule]))
    patch = {"spec": {"replicas": 3}}
    merge = "application/merge-patch+json"
    code, got = await api.request(
        "PATCH", f"{path}/d/scale?fieldManager=me", patch, content_type=merge
    )
    assert (code, got["spec"]["replicas"]) == (200, 4)
    request = hooks.seen[-1][1]
    assert [request[one]["kind"] for one in ("kind", "object", "oldObject")] == ["Scale"] * 3
    assert request["options"] == {
        "kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me",
    }  # fmt: skip
    assert (await api.request("GET", f"{path}/d"))[1]["spec"]["replicas"] == 4


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_webhook_denies_attaching(api, hooks, method):
    await api.request(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    pods = "/api/v1/namespaces/default/pods"
    spec = {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}
    assert (await api.request("POST", pods, {"metadata": {"name": "p"}, "spec": spec}))[0] == 201
    hooks.answers["v"] = lambda request: {"allowed": False, "status": {"message": "not allowed"}}
    rule = {"operations": ["CONNECT"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/attach"]}  # fmt: skip
    await configure(api, "Validating", "v", hooks.hook("v", rules=[rule]))
    upgrade = {
        "GET": {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol": "v5.channel.k8s.io"},
        "POST": {"Connection": "Upgrade", "Upgrade": "SPDY/3.1", "X-Stream-Protocol-Version": "v4.channel.k8s.io"},
    }  # fmt: skip
    query = "?container=c&stdin=true&stdout=true"
    code, status = await api.request(method, f"{pods}/p/attach{query}", headers=upgrade[method])
    assert (code, status["kind"]) == (400, "Status")
    assert status["message"] == 'admission webhook "v.example.com" denied the request: not allowed'
    request = hooks.seen[-1][1]
    assert (request["operation"], request["subResource"]) == ("CONNECT", "attach")
    assert request["object"]["kind"] == "PodAttachOptions"
    assert request["options"] is None


async def test_reviews_are_admitted_like_what_is_stored(api, hooks):
    hooks.answers["v"] = lambda request: {"allowed": False}
    rule = {
        "operations": ["CREATE"], "apiGroups": ["authorization.k8s.io"], "apiVersions": ["v1"],
        "resources": ["subjectaccessreviews"],
    }  # fmt: skip
    await configure(api, "Validating", "v", hooks.hook("v", rules=[rule]))
    review = {"spec": {"user": "ann", "nonResourceAttributes": {"path": "/", "verb": "get"}}}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    assert (await api.request("POST", path, review))[0] == 400
    assert [request["kind"]["kind"] for _, request in hooks.seen] == ["SubjectAccessReview"]


async def test_what_somebody_may_do_can_be_asked_of_a_namespace_that_is_not_there(api):
    attributes = {"namespace": "none", "verb": "get", "resource": "pods"}
    path = "/apis/authorization.k8s.io/v1/namespaces/none/localsubjectaccessreviews"
    body = {
        "metadata": {"namespace": "none"},
        "spec": {"user": "a", "resourceAttributes": attributes},
    }
    assert (await api.request("POST", path, body))[0] == 201


async def test_what_admission_and_allocation_add_belongs_to_no_manager(api, hooks):
    await api.request(
        "POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    hooks.answers["m"] = lambda request: patched(
        {"op": "add", "path": "/data", "value": {"hook": "x"}}
    )
    await configure(api, "Mutating", "m", hooks.hook("m"))
    _, got = await create(api, data={"own": "x"})
    (entry,) = got["metadata"]["managedFields"]
    assert entry["fieldsV1"]["f:data"] == {".": {}, "f:own": {}}
    spec = {"containers": [{"name": "c", "image": "i"}]}
    _, pod = await api.request(
        "POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": spec}
    )
    assert pod["spec"]["volumes"]
    owned = pod["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]
    assert {"f:volumes", "f:tolerations", "f:serviceAccountName", "f:priority"}.isdisjoint(owned)
    assert "f:restartPolicy" in owned
    _, service = await api.request(
        "POST", "/api/v1/namespaces/default/services",
        {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
    )  # fmt: skip
    assert service["spec"]["clusterIP"]
    assert "f:clusterIP" not in service["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]


VERDICTS = {
    "another version": ({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v2", "response": {"uid": "x"}}, "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got admission.k8s.io/v2, Kind=AdmissionReview"),
    "a patch of no kind": ({"patch": "W10="}, "received invalid webhook response: webhook returned response.patch but not response.patchType"),
    "a kind without patch": ({"patchType": "JSONPatch"}, "received invalid webhook response: webhook returned response.patchType but not response.patch"),
    "no JSON": ({"patchType": "JSONPatch", "patch": "aGk="}, "received undecodable patch in webhook response: invalid character 'h' looking for beginning of value"),
    "no base64": ({"patchType": "JSONPatch", "patch": "!"}, "failed to call webhook: illegal base64 data"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "why"), VERDICTS.values(), ids=VERDICTS)
def test_answers_that_are_not_usable(answer, why):
    if "response" not in answer:
        response = {"uid": "x", "allowed": True, **answer}
        answer = {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}  # fmt: skip
    with pytest.raises(CallFailed) as failed:
        verdict_of(answer, "x", "v1")
    assert why in str(failed.value)


async def test_a_name_is_generated_between_mutation_and_validation(api, hooks):
    hooks.answers |= {"m": allow, "v": lambda request: {"allowed": "no" not in request["object"].get("data", {})}}  # fmt: skip
    await configure(api, "Mutating", "m", hooks.hook("m"))
    await configure(api, "Validating", "v", hooks.hook("v"))
    body = {"metadata": {"generateName": "web-"}}
    code, got = await api.request("POST", CONFIGMAPS, body)
    assert (code, got["metadata"]["name"][:4]) == (201, "web-")
    (_, mutating), (_, validating) = hooks.seen
    assert "name" not in mutating
    assert "name" not in mutating["object"]["metadata"]
    assert "name" not in validating
    assert validating["object"]["metadata"]["name"] == got["metadata"]["name"]
