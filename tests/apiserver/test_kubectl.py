"""Stock kubectl against the server, without nodes or controllers: what a person types and reads."""

import json
import textwrap

import pytest

from tests.support.kubectl import Kubectl, kubectls, require_kubectl

pytestmark = pytest.mark.e2e

MANIFEST = textwrap.dedent("""
    apiVersion: v1
    kind: Namespace
    metadata:
      name: shop
    ---
    apiVersion: apps/v1
    kind: Deployment
    metadata:
      name: web
      namespace: shop
    spec:
      replicas: 3
      selector:
        matchLabels: {app: web}
      template:
        metadata:
          labels: {app: web}
        spec:
          containers:
          - name: web
            image: httpd
    ---
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      namespace: shop
    spec:
      type: NodePort
      selector: {app: web}
      ports:
      - port: 8080
        targetPort: 80
        nodePort: 30080
""")


@pytest.fixture(params=kubectls() or [None], ids=lambda path: (path or "none").rpartition("/")[2])
def kubectl(request, api, tmp_path):
    program = request.param or require_kubectl()
    return Kubectl(program, api.kubeconfig, str(tmp_path / "cache"))


async def test_a_manifest_is_applied_shown_and_deleted(kubectl):
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert out.splitlines() == [
        "namespace/shop created",
        "deployment.apps/web created",
        "service/web created",
    ]
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert all(line.endswith("unchanged") for line in out.splitlines())
    out = await kubectl("get", "service,deployment", "-n", "shop")
    assert "8080:30080/TCP" in out
    assert "0/3" in out
    out = await kubectl("delete", "-n", "shop", "service/web", "deployment/web")
    assert out.splitlines() == ['service "web" deleted', 'deployment.apps "web" deleted'] or (
        "from shop namespace" in out
    )


async def test_a_change_is_applied(kubectl):
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    out = await kubectl("apply", "-f", "-", stdin=MANIFEST.replace("replicas: 3", "replicas: 5"))
    assert "deployment.apps/web configured" in out
    path = "jsonpath={.spec.replicas} {.metadata.generation}"
    assert await kubectl("get", "deployment", "web", "-n", "shop", "-o", path) == "5 2"


DEFINITION = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.sea.example.com}
spec:
  group: sea.example.com
  scope: Namespaced
  names: {plural: ships, singular: ship, kind: Ship}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {crew: {type: integer}}}}
"""
SHIP = """
apiVersion: sea.example.com/v1
kind: Ship
metadata: {name: vasa, namespace: default}
spec: {crew: 3}
"""


async def test_a_custom_object_is_applied_and_applied_again(kubectl):
    await kubectl("apply", "-f", "-", stdin=DEFINITION)
    await kubectl("wait", "--for=condition=Established", "crd/ships.sea.example.com")
    assert "created" in await kubectl("apply", "-f", "-", stdin=SHIP)
    assert "unchanged" in await kubectl("apply", "-f", "-", stdin=SHIP)
    assert "configured" in await kubectl("apply", "-f", "-", stdin=SHIP.replace("3", "5"))
    assert await kubectl("get", "ship", "vasa", "-o", "jsonpath={.spec.crew}") == "5"


async def test_server_side_apply(kubectl):
    out = await kubectl("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert "deployment.apps/web serverside-applied" in out
    await kubectl("scale", "deployment", "web", "-n", "shop", "--replicas=4")
    result = await kubectl.run("apply", "--server-side", "-f", "-", stdin=MANIFEST)
    assert result.code == 1
    assert "conflict" in result.err
    await kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=MANIFEST)


async def test_an_invalid_manifest_names_the_field(kubectl):
    bad = MANIFEST.replace("port: 8080", "port: 70000")
    result = await kubectl.run("apply", "-f", "-", stdin=bad)
    assert result.code == 1
    assert (
        'The Service "web" is invalid: spec.ports[0].port: Invalid value: 70000: '
        "must be between 1 and 65535, inclusive" in result.err
    )


async def test_an_unknown_field_is_refused(kubectl):
    bad = MANIFEST.replace("replicas: 3", "replicaz: 3")
    result = await kubectl.run("apply", "-f", "-", stdin=bad)
    assert result.code == 1
    assert 'unknown field "spec.replicaz"' in result.err


async def test_labels_annotations_patches_and_scale(kubectl):
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert "labeled" in await kubectl("label", "namespace", "shop", "team=red")
    assert "annotate" in await kubectl("annotate", "namespace", "shop", "note=hello")
    patch = '{"spec":{"template":{"spec":{"containers":[{"name":"web","image":"nginx"}]}}}}'
    await kubectl("patch", "deployment", "web", "-n", "shop", "-p", patch)
    await kubectl("scale", "deployment", "web", "-n", "shop", "--replicas=2")
    out = await kubectl("get", "deployment", "web", "-n", "shop", "-o", "json")
    spec = json.loads(out)["spec"]
    assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (2, "nginx")


async def test_create_sends_protobuf(kubectl):
    await kubectl("create", "deployment", "made", "--image=httpd", "--replicas=2")
    await kubectl("create", "secret", "generic", "hidden", "--from-literal=a=b")
    out = await kubectl("get", "secret", "hidden", "-o", "jsonpath={.data.a}")
    assert out == "Yg=="
    await kubectl("expose", "deployment", "made", "--port=80")
    assert "80/TCP" in await kubectl("get", "service", "made")


async def test_explain_api_resources_and_versions(kubectl):
    out = await kubectl("explain", "deployment.spec.replicas")
    assert "Number of desired pods" in out
    out = await kubectl("api-resources", "--api-group=apps")
    assert "deployments" in out and "deploy" in out
    assert "apps/v1" in (await kubectl("api-versions")).splitlines()


async def test_describe_auth_and_diff(kubectl):
    await kubectl("apply", "-f", "-", stdin=MANIFEST)
    assert "app=web" in await kubectl("describe", "service", "web", "-n", "shop")
    assert "yes" in await kubectl("auth", "can-i", "create", "pods")
    denied = await kubectl.run("auth", "can-i", "create", "pods", "--as=nobody")
    assert (denied.code, denied.out.strip()) == (1, "no")
    result = await kubectl.run(
        "diff", "-f", "-", stdin=MANIFEST.replace("replicas: 3", "replicas: 9")
    )
    assert result.code == 1
    assert "+  replicas: 9" in result.out


async def test_wait_and_dry_run(kubectl):
    out = await kubectl("create", "namespace", "other", "--dry-run=server")
    assert "created (server dry run)" in out
    assert (await kubectl.run("get", "namespace", "other")).code == 1
    await kubectl("create", "configmap", "gone", "--from-literal=a=b")
    await kubectl("delete", "configmap", "gone", "--wait=true")
    await kubectl("wait", "--for=delete", "configmap/gone", "--timeout=5s")
