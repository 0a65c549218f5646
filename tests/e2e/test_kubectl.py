"""Stock kubectl, old and new, with the tutorial's unchanged files: what a user types, and what a real cluster prints."""

import re
import subprocess
import time

import pytest

from tests.e2e.conftest import MANIFESTS

pytestmark = pytest.mark.e2e
NAMESPACE = ("-n", "kubectl-test")


@pytest.fixture
def run(lab, kubectl):
    """kubectl in a namespace of its own, with the tutorial's Deployment at 3/3; removed afterwards."""

    def run(*words: str, stdin: str = "", code: int = 0) -> str:
        done = lab.kubectl(kubectl, *words, stdin=stdin)
        assert done.code == code, f"kubectl {' '.join(words)}: {done.out}{done.err}"
        return done.out if code == 0 else done.out + done.err

    run("create", "namespace", "kubectl-test")
    manifest = (MANIFESTS / "httpd-deployment.yaml").read_text()
    run("apply", "-f", "-", stdin=manifest.replace("service-test", "kubectl-test"))
    run("rollout", "status", "deployment/httpd-deployment", *NAMESPACE, "--timeout=60s")
    yield run
    run("delete", "namespace", "kubectl-test")


def service(kind: str) -> str:
    return (MANIFESTS / f"{kind}-service.yaml").read_text().replace("service-test", "kubectl-test")


def columns(table: str) -> list[str]:
    return re.split(r"\s{2,}", table.splitlines()[0].strip())


def test_a_session_of_the_tutorial(run):
    pods = run("get", "pods", *NAMESPACE, "-o", "wide")
    assert columns(pods) == [
        "NAME", "READY", "STATUS", "RESTARTS", "AGE", "IP", "NODE", "NOMINATED NODE", "READINESS GATES",
    ]  # fmt: skip
    names = re.findall(r"^httpd-deployment-[a-z0-9]{6,10}-[a-z0-9]{5} ", pods, re.MULTILINE)
    assert len(names) == 3
    assert sorted(re.findall(r"worker[12]", pods)) in (
        ["worker1", "worker1", "worker2"],
        ["worker1", "worker2", "worker2"],
    )
    run("apply", "-f", "-", stdin=service("nodeport"))
    services = run("get", "service", *NAMESPACE, "-o", "wide")
    assert columns(services) == [
        "NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE", "SELECTOR",
    ]  # fmt: skip
    assert "8080:30080/TCP" in services
    assert "app=httpd" in services
    run("delete", "-f", "-", stdin=service("nodeport"))
    run("apply", "-f", "-", stdin=service("loadbalancer"))
    assert "<pending>" in run("get", "service", *NAMESPACE)
    everything = run("get", "all", *NAMESPACE)
    for prefix in ("pod/", "service/", "deployment.apps/", "replicaset.apps/"):
        assert prefix in everything


def test_the_output_formats(run):
    assert "kind: Deployment" in run("get", "deploy", "httpd-deployment", *NAMESPACE, "-o", "yaml")
    assert '"kind": "Deployment"' in run(
        "get", "deploy", "httpd-deployment", *NAMESPACE, "-o", "json"
    )
    path = "jsonpath={.spec.replicas}"
    assert run("get", "deploy", "httpd-deployment", *NAMESPACE, "-o", path) == "3"
    table = run(
        "get", "pods", *NAMESPACE, "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName"
    )
    assert columns(table) == ["NAME", "NODE"]


def test_changes(run):
    run("scale", "deployment/httpd-deployment", *NAMESPACE, "--replicas=2")
    run(
        "wait",
        *NAMESPACE,
        "--for=jsonpath={.status.readyReplicas}=2",
        "deploy/httpd-deployment",
        "--timeout=30s",
    )
    run("label", "deployment/httpd-deployment", *NAMESPACE, "tier=web")
    run("annotate", "deployment/httpd-deployment", *NAMESPACE, "note=here")
    run(
        "patch",
        "deployment/httpd-deployment",
        *NAMESPACE,
        "-p",
        '{"spec":{"template":{"metadata":{"labels":{"v":"2"}}}}}',
    )
    run("rollout", "status", "deployment/httpd-deployment", *NAMESPACE, "--timeout=60s")
    history = run("rollout", "history", "deployment/httpd-deployment", *NAMESPACE)
    assert "2" in history
    run("rollout", "undo", "deployment/httpd-deployment", *NAMESPACE)
    run("rollout", "status", "deployment/httpd-deployment", *NAMESPACE, "--timeout=60s")
    labels = run("get", "deploy", *NAMESPACE, "--show-labels")
    assert "tier=web" in labels


def test_looking_inside(run, lab, kubectl):
    pod = run("get", "pods", *NAMESPACE, "-o", "name").split()[0]
    assert (
        "httpd"
        in run("logs", *NAMESPACE, pod).lower()
        + run("logs", *NAMESPACE, pod, "--all-containers").lower()
    )
    page = run(
        "exec", *NAMESPACE, pod, "-c", "httpd", "--", "cat", "/usr/local/apache2/htdocs/index.html"
    )
    assert f"Pod Name: {pod.removeprefix('pod/')}" in page
    assert lab.kubectl(kubectl, "exec", *NAMESPACE, pod, "--", "sh", "-c", "exit 7").code == 7
    echoed = run("exec", "-i", *NAMESPACE, pod, "--", "cat", stdin="through\n")
    assert echoed == "through\n"
    description = run("describe", *NAMESPACE, pod)
    for word in (
        "Successfully assigned",
        "Init Containers:",
        "QoS Class:",
        "html-volume",
        "Started",
    ):
        assert word in description, word
    for kind in ("deployment/httpd-deployment", "namespace/kubectl-test", "nodes"):
        run("describe", *(() if kind == "nodes" else NAMESPACE), kind)


def test_port_forward(run, lab, kubectl):
    forward = subprocess.Popen(
        [kubectl, "--kubeconfig", lab.kubeconfig, "port-forward", *NAMESPACE, "deployment/httpd-deployment", ":80"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        assert forward.stdout is not None
        line = forward.stdout.readline()
        port = re.search(r"127\.0\.0\.1:(\d+) ->", line)
        assert port, line
        import urllib.request

        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/", timeout=10) as page:
                assert "Pod Name: httpd-deployment-" in page.read().decode()
    finally:
        forward.terminate()
        forward.wait()
        assert forward.stdout is not None
        forward.stdout.close()


def test_watching(run, lab, kubectl):
    watch = subprocess.Popen(
        [kubectl, "--kubeconfig", lab.kubeconfig, "get", "configmaps", *NAMESPACE, "-w"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        time.sleep(1)
        run("create", "configmap", "seen", *NAMESPACE, "--from-literal=a=b")
        assert watch.stdout is not None
        lines = [watch.stdout.readline() for _ in range(3)]
        assert any(line.startswith("seen ") for line in lines), lines
    finally:
        watch.terminate()
        watch.wait()
        assert watch.stdout is not None
        watch.stdout.close()


def test_questions_about_the_api(run):
    assert "ipFamilyPolicy" in run("explain", "service.spec")
    resources = run("api-resources")
    for word in ("deployments", "endpointslices", "validatingwebhookconfigurations"):
        assert word in resources
    assert "Server Version: v1.36" in run("version")


def test_refusals_name_the_field(run):
    bad = service("nodeport").replace("port: 8080", "port: 70000")
    said = run("apply", "-f", "-", stdin=bad, code=1)
    assert (
        'The Service "httpd-service" is invalid: spec.ports[0].port: Invalid value: 70000: must be between 1 and 65535, inclusive'
        in said
    )
    unknown = service("nodeport").replace("selector:", "selektor:")
    assert 'unknown field "spec.selektor"' in run("apply", "-f", "-", stdin=unknown, code=1)
    assert "not found" in run("get", "pod", "nobody", *NAMESPACE, code=1)
