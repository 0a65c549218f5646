"""The small kubectl and stock kubectl print the same about the same server.

It writes as kubectl 1.33 does; `_as_of` says what older ones write otherwise.
"""

import asyncio
import json
import re
import subprocess
import sys
from importlib.resources import files

import pytest

from tests.support.apiserver import running_api
from tests.support.cluster import running_cluster
from tests.support.kubectl import kubectls, require_kubectl
from todoku.cli.kubectl_lib import apply_file

MANIFESTS = files("todoku") / "manifests"
_OWN = (
    "import sys; from pathlib import Path; from todoku.cli.kubectl_lib.main import run; "
    "sys.exit(run(sys.argv[2:], kubeconfig=Path(sys.argv[1])))"
)


async def output(*argv):
    """(status, standard output, standard error)"""
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def newest_kubectl():
    require_kubectl()
    program = max(kubectls(), key=_version)
    if _version(program) < (1, 30):
        pytest.skip(f"{program} is older than 1.30: its words differ in too many places")
    return program


def _version(program):
    said = subprocess.run(
        [program, "version", "--client", "-o", "json"], capture_output=True, check=True
    )
    version = json.loads(said.stdout)["clientVersion"]["gitVersion"]
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _as_of(version, text):
    if version < (1, 33):
        text = re.sub(
            r"(ConfigMapName: .*\n)    Optional: {16}false",
            r"\1    ConfigMapOptional:       <nil>",
            text,
        )
    if version < (1, 31):
        text = text.replace("Internal Traffic Policy:  Cluster\n", "")
    return text


class Pair:
    def __init__(self, api, program):
        self._version = _version(program)
        self._own = (sys.executable, "-c", _OWN, api.kubeconfig)
        self._stock = (program, f"--kubeconfig={api.kubeconfig}", f"--cache-dir={api.folder}/cache")

    async def own(self, *words):
        status, out, err = await output(*self._own, *words)
        return status, _as_of(self._version, out), err

    async def stock(self, *words):
        return await output(*self._stock, *words)


@pytest.fixture
async def pair():
    program = newest_kubectl()
    async with running_api() as api:
        both = Pair(api, program)
        for name in ("service-test-namespace", "httpd-deployment", "nodeport-service"):
            status, out, err = await both.own("apply", "-f", str(MANIFESTS / f"{name}.yaml"))
            assert status == 0, err
            assert out.endswith(" created\n")
        yield both


IN = ("-n", "service-test")


async def test_they_agree(pair):
    """One server for all of them: starting it takes longer than asking."""
    await _agree(
        pair,
        ("get", "services", *IN),
        ("get", "all", *IN),
        ("get", "all", *IN, "-o", "wide"),
        ("get", "deploy,svc", "-A"),
        ("get", "svc", "httpd-service", *IN, "-o", "yaml"),
        ("get", "deployment", "httpd-deployment", *IN, "-o", "json"),
        ("get", "svc", *IN, "-o", "name"),
        ("get", "svc", "httpd-service", *IN, "-o", "jsonpath={.spec.ports[0].nodePort}"),
        ("get", "svc", *IN, "--show-labels", "--no-headers"),
        ("get", "pods", *IN),
        ("get", "pods", "-A"),
        ("get", "deployment", "nope", *IN),
        ("get", "gizmos"),
        ("get", "svc", "httpd-service", "nope", *IN),
        ("describe", "svc", "httpd-service", *IN),
        ("describe", "namespace", "service-test"),
        ("describe", "deployment", "httpd-deployment", *IN),
        ("wait", "--for=jsonpath={.spec.replicas}=3", "deploy/httpd-deployment", *IN),
        ("wait", "--for=condition=Available", "deploy/httpd-deployment", *IN, "--timeout=1s"),
        ("rollout", "status", "deploy/httpd-deployment", *IN, "--timeout=1s"),
        ("scale", "deploy/httpd-deployment", "--replicas=2", *IN),
        ("label", "svc", "httpd-service", *IN, "tier=web"),
        ("label", "svc", "httpd-service", *IN, "tier=db"),
        ("apply", "-f", "/does/not/exist.yaml"),
        ("delete", "svc", "nope", *IN),
    )


async def _agree(pair, *commands):
    for words in commands:
        for attempt in range(5):  # a second may pass between the two, and ages show it
            own = await pair.own(*words)
            if "tier=web" in words:
                await pair.own("label", "svc", "httpd-service", *IN, "tier-")
            stock = await pair.stock(*words)
            if own == stock or attempt == 4:
                break
        assert own == stock, f"kubectl {' '.join(words)}"


async def test_they_describe_running_workloads_alike():
    program = newest_kubectl()
    async with running_cluster(nodes=("w1", "w2")) as cluster:
        for name in ("service-test-namespace", "httpd-deployment", "loadbalancer-service"):
            await apply_file(cluster.client, str(MANIFESTS / f"{name}.yaml"))
        await cluster.until(lambda: len(cluster.pods("service-test")) == 3)
        pair = Pair(cluster.api, program)
        status, out, err = await pair.own(
            "wait", "--for=condition=Ready", "pods", "--all", *IN, "--timeout=30s"
        )
        assert (status, out.count("condition met")) == (0, 3), err
        await _agree(
            pair,
            ("get", "all", *IN, "-o", "wide"),
            ("get", "nodes", "-o", "wide"),
            ("describe", "pods", *IN),
            ("describe", "node", "w1"),
            ("describe", "svc", *IN),
            ("describe", "deployment,rs", *IN),
        )


async def test_applying_again_changes_nothing_and_another_manifest_changes_the_object(
    pair, tmp_path
):
    path = str(MANIFESTS / "nodeport-service.yaml")
    assert await pair.own("apply", "-f", path) == (0, "service/httpd-service unchanged\n", "")
    changed = (MANIFESTS / "nodeport-service.yaml").read_text().replace("30080", "30081")
    (tmp_path / "service.yaml").write_text(changed)
    applied = await pair.own("apply", "-f", str(tmp_path / "service.yaml"))
    assert applied == (0, "service/httpd-service configured\n", "")
    _, out, _ = await pair.stock("get", "svc", *IN)
    assert "8080:30081/TCP" in out


async def test_a_field_that_the_manifest_no_longer_has_is_removed(pair, tmp_path):
    path = tmp_path / "config.yaml"
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: service-test}\n"
    for data, shown in (("{a: one, b: two}", "map[a:one b:two]"), ("{a: one}", "map[a:one]")):
        path.write_text(head + f"data: {data}\n")
        assert (await pair.own("apply", "-f", str(path)))[0] == 0
        _, out, _ = await pair.stock("get", "cm", "c", *IN, "-o", "go-template={{.data}}")
        assert out == shown


async def test_delete_waits_until_the_object_is_gone(pair):
    path = str(MANIFESTS / "nodeport-service.yaml")
    assert await pair.own("delete", "-f", path) == (0, 'service "httpd-service" deleted\n', "")
    status, _, err = await pair.stock("get", "svc", "httpd-service", *IN)
    assert status == 1 and "NotFound" in err


async def test_an_invalid_object_is_refused_in_the_same_words(pair, tmp_path):
    path = tmp_path / "bad.yaml"
    text = (MANIFESTS / "nodeport-service.yaml").read_text()
    path.write_text(text.replace("httpd-service", "other").replace("30080", "70000"))
    own, stock = (
        await pair.own("apply", "-f", str(path)),
        await pair.stock("create", "-f", str(path)),
    )
    assert own[0] == 1
    assert own[2] == stock[2]
