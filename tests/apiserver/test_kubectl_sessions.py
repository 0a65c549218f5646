"""What people do with kubectl besides apply, with every kubectl from 1.27 to 1.33: the words they read back."""

import asyncio
import json
import os
import re
import ssl
import textwrap

import aiohttp
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.support.apiserver import running_api
from tests.support.kubectl import EVERY_VERSION, Kubectl, kubectls, require_kubectl

pytestmark = pytest.mark.e2e

POD = """
apiVersion: v1
kind: Pod
metadata: {name: solo, labels: {app: solo}}
spec: {containers: [{name: solo, image: httpd}]}
"""
NODES = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in ("n1", "n2")]


@pytest.fixture
async def api(tmp_path):
    """A server that signs tokens, with the service account that pods run as."""
    key = tmp_path / "sa.key"
    key.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
    )
    async with running_api(service_account_key_file=str(key)) as api:
        accounts = "/api/v1/namespaces/default/serviceaccounts"
        await api.request("POST", accounts, {"metadata": {"name": "default"}})
        yield api


def named(path):
    return (path or "none").rpartition("/")[2]


@pytest.fixture(params=kubectls(EVERY_VERSION) or [None], ids=named)
def kubectl(request, api, tmp_path):
    program = request.param or require_kubectl()
    return Kubectl(program, api.kubeconfig, str(tmp_path / "cache"))


@pytest.fixture(
    params=[*kubectls(EVERY_VERSION)[:1], *kubectls(EVERY_VERSION)[-1:]] or [None], ids=named
)
def oldest_and_newest(request, api, tmp_path):
    program = request.param or require_kubectl()
    return Kubectl(program, api.kubeconfig, str(tmp_path / "cache"))


async def test_a_day_at_the_keyboard(kubectl, monkeypatch, tmp_path):
    """Creating, changing in all ways, looking, and cleaning up: one session, as cheap as eight kubectls allow."""
    manifest = tmp_path / "pod.yaml"
    manifest.write_text(POD)
    assert await kubectl("create", "-f", str(manifest)) == "pod/solo created\n"
    again = await kubectl.run("create", "-f", str(manifest))
    assert again.err.endswith('pods "solo" already exists\n')
    assert "(AlreadyExists)" in again.err
    assert await kubectl("label", "pod", "solo", "tier=web") == "pod/solo labeled\n"
    refused = await kubectl.run("label", "pod", "solo", "tier=db")
    assert "already has a value (web), and --overwrite is false" in refused.err
    assert (await kubectl("annotate", "pod", "solo", "note=one")).startswith("pod/solo annotate")
    assert await kubectl("set", "image", "pod/solo", "solo=nginx") == "pod/solo image updated\n"
    wrong = await kubectl.run("patch", "pod", "solo", "-p", '{"spec":{"nodeName":"n1"}}')
    assert "pod updates may not change fields other than" in wrong.err
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/note: one/note: two/' \"$1\"\n")
    editor.chmod(0o755)
    monkeypatch.setenv("KUBE_EDITOR", str(editor))
    assert await kubectl("edit", "pod", "solo") == "pod/solo edited\n"
    path = (
        "jsonpath={.metadata.annotations.note} {.spec.containers[0].image} {.metadata.labels.tier}"
    )
    assert await kubectl("get", "pod", "solo", "-o", path) == "two nginx web"
    assert (
        await kubectl("delete", "pod", "solo", "--grace-period=0", "--force", "--wait=false") != ""
    )
    assert (await kubectl.run("get", "pod", "solo")).err == (
        'Error from server (NotFound): pods "solo" not found\n'
    )


async def test_going_over_to_server_side_apply(oldest_and_newest):
    """What was applied on the client side is the same person's: no conflicts, and one owner in the end."""
    kubectl = oldest_and_newest
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1', b: '1'}\n"
    await kubectl("apply", "-f", "-", stdin=body)
    changed = body.replace("{a: '1', b: '1'}", "{a: '2'}")
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=changed)
    assert out == "configmap/c serverside-applied\n"
    obj = json.loads(await kubectl("get", "cm", "c", "-o", "json", "--show-managed-fields"))
    assert obj["data"] == {"a": "2"}
    owners = [one["manager"] for one in obj["metadata"]["managedFields"]]
    assert "kubectl" in owners and "kubectl-client-side-apply" not in owners


@pytest.mark.parametrize(
    ("kind", "patch", "wanted"),
    [
        ("strategic", '{"data":{"a":null,"c":"3"}}', {"b": "2", "c": "3"}),
        ("merge", '{"data":{"a":"9"}}', {"a": "9", "b": "2"}),
        ("json", '[{"op":"remove","path":"/data/b"}]', {"a": "1"}),
    ],
    ids=["strategic", "merge", "json"],
)
async def test_patch_types(oldest_and_newest, kind, patch, wanted):
    kubectl = oldest_and_newest
    await kubectl("create", "configmap", "c", "--from-literal=a=1", "--from-literal=b=2")
    out = await kubectl("patch", "configmap", "c", f"--type={kind}", "-p", patch)
    assert out == "configmap/c patched\n"
    assert json.loads(await kubectl("get", "cm", "c", "-o", "json"))["data"] == wanted


async def test_diff_replace_and_apply_set(oldest_and_newest, tmp_path):
    kubectl = oldest_and_newest
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {a: '1'}\n"
    await kubectl("apply", "-f", "-", stdin=body)
    assert 'a: "1"' in await kubectl("apply", "view-last-applied", "configmap/c")
    changed = await kubectl.run("diff", "-f", "-", stdin=body.replace("'1'", "'2'"))
    assert changed.code == 1 and '+  a: "2"' in changed.out
    assert (await kubectl.run("diff", "-f", "-", stdin=body)).code == 0
    out = await kubectl("replace", "-f", "-", stdin=body.replace("{a:", "{b:"))
    assert out == "configmap/c replaced\n"
    out = await kubectl("replace", "--force", "-f", "-", stdin=body)
    assert out.splitlines()[-1] == "configmap/c replaced"
    out = await kubectl("apply", "--prune", "-l", "ship=red", "-f", "-", "--prune-allowlist=core/v1/ConfigMap",
                        stdin=body.replace("{name: c}", "{name: d, labels: {ship: red}}"))  # fmt: skip
    assert "configmap/d created" in out


async def test_nodes_are_tainted_cordoned_and_drained(oldest_and_newest, api):
    kubectl = oldest_and_newest
    for node in NODES:
        await api.request("POST", "/api/v1/nodes", node)
    assert await kubectl("taint", "node", "n1", "a=b:NoSchedule") == "node/n1 tainted\n"
    assert await kubectl("taint", "node", "n1", "a-") == "node/n1 untainted\n"
    assert await kubectl("cordon", "n1") == "node/n1 cordoned\n"
    assert "SchedulingDisabled" in await kubectl("get", "node", "n1")
    assert await kubectl("uncordon", "n1") == "node/n1 uncordoned\n"
    pod = POD.replace("spec: {", "spec: {terminationGracePeriodSeconds: 0, nodeName: n1, ")
    await kubectl("create", "-f", "-", stdin=pod)
    refused = await kubectl.run("drain", "n1")
    assert "declare no controller (use --force to override): default/solo" in refused.err
    draining = asyncio.create_task(kubectl.run("drain", "n1", "--force", "--timeout=20s"))
    await evicted(api, "/api/v1/namespaces/default/pods/solo")
    done = await draining
    assert done.code == 0, done
    assert "pod/solo evicted" in done.out and "node/n1 drained" in done.out


async def evicted(api, path):
    """What the kubelet does with a pod that is told to go: end it, then delete it for good."""
    async with asyncio.timeout(20):
        while True:
            status, pod = await api.request("GET", path)
            if status == 404:
                return
            if pod["metadata"].get("deletionTimestamp"):
                await api.request("DELETE", path, {"gracePeriodSeconds": 0})
                return
            await asyncio.sleep(0.05)


async def test_run_expose_autoscale_set_and_rollout(oldest_and_newest):
    kubectl = oldest_and_newest
    assert (
        await kubectl("run", "once", "--image=httpd", "--labels=app=once") == "pod/once created\n"
    )
    out = await kubectl("expose", "pod", "once", "--port=80", "--name=front")
    assert out == "service/front exposed\n"
    await kubectl("create", "deployment", "web", "--image=httpd", "--port=80")
    out = await kubectl("autoscale", "deployment", "web", "--min=1", "--max=3")
    assert out == "horizontalpodautoscaler.autoscaling/web autoscaled\n"
    assert "1         3" in await kubectl("get", "hpa", "web")
    assert (
        await kubectl("set", "image", "deploy/web", "httpd=nginx")
        == "deployment.apps/web image updated\n"
    )
    assert "env updated" in await kubectl("set", "env", "deploy/web", "A=b")
    await kubectl("set", "resources", "deploy/web", "--limits=cpu=100m")
    assert await kubectl("rollout", "restart", "deploy/web") == "deployment.apps/web restarted\n"
    assert await kubectl("rollout", "pause", "deploy/web") == "deployment.apps/web paused\n"
    assert await kubectl("rollout", "resume", "deploy/web") == "deployment.apps/web resumed\n"
    waiting = await kubectl.run("rollout", "status", "deploy/web", "--timeout=1s")
    assert "Waiting for deployment" in waiting.out
    made = json.loads(await kubectl("get", "deploy", "web", "-o", "json"))
    container = made["spec"]["template"]["spec"]["containers"][0]
    assert (container["image"], container["resources"]) == ("nginx", {"limits": {"cpu": "100m"}})
    assert container["env"] == [{"name": "A", "value": "b"}]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
        (
            "create rolebinding r --role=r --user=bob",
            "rolebinding.rbac.authorization.k8s.io/r created",
        ),
        ("create serviceaccount s", "serviceaccount/s created"),
        ("create secret tls t --cert=CERT --key=KEY", "secret/t created"),
        ("create quota q --hard=pods=2", "resourcequota/q created"),
        ("create pdb p --selector=a=b --min-available=1", "poddisruptionbudget.policy/p created"),
        ("create priorityclass pc --value=10", "priorityclass.scheduling.k8s.io/pc created"),
        ("create ingress i --rule=a.example/=web:80", "ingress.networking.k8s.io/i created"),
        ("create job j --image=busybox", "job.batch/j created"),
        ("create cronjob c --image=busybox --schedule=*/1_*_*_*_*", "cronjob.batch/c created"),
        ("create service nodeport n --tcp=80:80", "service/n created"),
    ],
    ids=lambda value: " ".join(value.split()[:2]) if value.startswith("create") else "",
)
async def test_what_create_makes(api, tmp_path, line, said):
    program = (kubectls(EVERY_VERSION) or [require_kubectl()])[-1]
    kubectl = Kubectl(program, api.kubeconfig, str(tmp_path / "cache"))
    line = line.replace("CERT", api.cert_file).replace("KEY", api.key_file)
    args = [part.replace("_", " ") if "*" in part else part for part in line.split()]
    assert await kubectl(*args) == said + "\n"


async def test_who_may_do_what(oldest_and_newest):
    kubectl = oldest_and_newest
    await kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods")
    await kubectl("create", "rolebinding", "reader", "--role=reader", "--user=bob")
    assert await kubectl("auth", "can-i", "list", "pods", "--as=bob") == "yes\n"
    denied = await kubectl.run("auth", "can-i", "delete", "pods", "--as=bob")
    assert (denied.code, denied.out) == (1, "no\n")
    listed = await kubectl("auth", "can-i", "--list", "--as=bob")
    assert re.search(r"^pods +\[\] +\[\] +\[get list\]$", listed, re.M)
    if "1.27" not in kubectl.program:  # which asks for a version of the API that has gone
        assert "kubernetes-admin" in await kubectl("auth", "whoami")
    refused = await kubectl.run("get", "secrets", "--as=bob")
    assert refused.err == (
        'Error from server (Forbidden): secrets is forbidden: User "bob" cannot list resource '
        '"secrets" in API group "" in the namespace "default"\n'
    )


async def test_a_token_of_a_service_account_is_accepted(oldest_and_newest, api):
    kubectl = oldest_and_newest
    await kubectl("create", "serviceaccount", "robot")
    token = (await kubectl("create", "token", "robot", "--duration=10m")).strip()
    # A connection without the admin's certificate: the token alone says who asks.
    context = ssl.create_default_context(cafile=api.ca_file)
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session,
        session.get(
            f"{api.url}/api/v1/pods", headers={"Authorization": f"Bearer {token}"}
        ) as answer,
    ):
        said = await answer.json()
    assert answer.status == 403
    assert 'User "system:serviceaccount:default:robot" cannot list' in said["message"]


async def test_top_says_that_there_are_no_metrics(oldest_and_newest):
    for what in ("pods", "nodes"):
        result = await oldest_and_newest.run("top", what)
        assert (result.code, result.err) == (1, "error: Metrics API not available\n")


async def test_looking_around(oldest_and_newest):
    kubectl = oldest_and_newest
    wide = await kubectl("api-resources", "-o", "wide", "--verbs=list,get")
    assert re.search(r"^deployments +deploy +apps/v1 +true +Deployment +", wide, re.M)
    assert len(wide.splitlines()) > 50
    names = await kubectl("api-resources", "--categories=all", "-o", "name")
    assert {"pods", "services", "deployments.apps"} <= set(names.split())
    assert "FIELDS:" in await kubectl("explain", "ingress.spec.rules")
    deep = await kubectl("explain", "pods", "--recursive")
    assert "terminationGracePeriodSeconds" in deep
    missing = await kubectl.run("explain", "pods.spec.nothing")
    assert 'field "nothing" does not exist' in missing.err
    unknown = await kubectl.run("get", "nothings")
    assert 'the server doesn\'t have a resource type "nothings"' in unknown.err
    assert "is running at" in await kubectl("cluster-info")
    told = json.loads(await kubectl("version", "-o", "json"))
    assert told["serverVersion"]["gitVersion"].startswith("v1.36")
    assert json.loads(await kubectl("get", "--raw", "/apis/apps/v1"))["groupVersion"] == "apps/v1"


async def test_a_proxy_passes_requests_on(oldest_and_newest):
    kubectl = oldest_and_newest
    process = await asyncio.create_subprocess_exec(
        kubectl.program, f"--kubeconfig={kubectl.kubeconfig}", "proxy", "--port=0",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"HOME": "/nonexistent"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
            address = line.rpartition(" ")[2].strip()
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{address}/api/v1/namespaces/default") as answer,
            ):
                assert (await answer.json())["metadata"]["name"] == "default"
    finally:
        process.terminate()
        await process.communicate()


async def test_waiting_for_a_value(oldest_and_newest):
    kubectl = oldest_and_newest
    await kubectl("create", "configmap", "w", "--from-literal=a=1")
    async with asyncio.TaskGroup() as tasks:
        line = ("wait", "--for=jsonpath={.data.a}=2", "configmap/w", "--timeout=20s")
        waiting = tasks.create_task(kubectl(*line))
        await kubectl("patch", "configmap", "w", "-p", '{"data":{"a":"2"}}')
    assert waiting.result() == "configmap/w condition met\n"


CRD = textwrap.dedent("""
    apiVersion: apiextensions.k8s.io/v1
    kind: CustomResourceDefinition
    metadata: {name: boats.sea.example.com}
    spec:
      group: sea.example.com
      scope: Namespaced
      names: {plural: boats, singular: boat, kind: Boat, shortNames: [bo]}
      versions:
      - name: v1
        served: true
        storage: true
        additionalPrinterColumns:
        - {name: Masts, type: integer, jsonPath: .spec.masts}
        schema:
          openAPIV3Schema:
            type: object
            description: A boat on the sea.
            properties:
              spec:
                type: object
                properties: {masts: {type: integer, minimum: 1, description: How many masts it has.}}
""")


async def test_a_kind_of_ones_own(oldest_and_newest):
    kubectl = oldest_and_newest
    await kubectl("apply", "-f", "-", stdin=CRD)
    await kubectl(
        "wait", "--for=condition=Established", "crd/boats.sea.example.com", "--timeout=10s"
    )
    boat = "apiVersion: sea.example.com/v1\nkind: Boat\nmetadata: {name: b}\nspec: {masts: 2}\n"
    assert await kubectl("apply", "-f", "-", stdin=boat) == "boat.sea.example.com/b created\n"
    listed = await kubectl("get", "bo")
    assert listed.split()[:2] + listed.split()[-2:] == ["NAME", "MASTS", "b", "2"]
    bad = await kubectl.run("apply", "-f", "-", stdin=boat.replace("masts: 2", "masts: 0"))
    assert (
        "spec.masts: Invalid value: 0: spec.masts in body should be greater than or equal to 1"
        in bad.err
    )
    odd = await kubectl.run("apply", "-f", "-", stdin=boat.replace("masts: 2", "sails: 2"))
    assert 'unknown field "spec.sails"' in odd.err
    assert "How many masts it has." in await kubectl("explain", "boat.spec.masts")
