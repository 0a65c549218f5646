"""Every kind of way through a lab, and every kind of end, traced: the story must be the true one."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import pytest

import todoku.lab
from tests.e2e.conftest import MANIFESTS, RunningLab
from todoku.client import Client, ClientConfig

pytestmark = pytest.mark.e2e

NAMESPACE = "service-test"
SERVICES = f"""
apiVersion: v1
kind: Service
metadata: {{name: one, namespace: {NAMESPACE}}}
spec: {{type: NodePort, externalTrafficPolicy: Local, selector: {{one: "yes"}}, ports: [{{port: 8080, targetPort: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: none, namespace: {NAMESPACE}}}
spec: {{type: NodePort, selector: {{nothing: "matches"}}, ports: [{{port: 8080, targetPort: 80}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: guarded, namespace: {NAMESPACE}}}
spec:
  type: LoadBalancer
  selector: {{one: "yes"}}
  loadBalancerSourceRanges: [203.0.113.0/24]
  ports: [{{port: 8080, targetPort: 80}}]
"""
GUARDED = "192.168.11.199"


@dataclass(frozen=True)
class Pod:
    name: str
    ip: str
    node: str

    @property
    def source(self) -> str:
        return f"pod/{self.name}"


@dataclass(frozen=True)
class Scene:
    lab: RunningLab
    one: Pod
    """The pod behind the Services."""
    others: tuple[Pod, ...]

    def trace(self, source: str, target: str, *options: str) -> dict:
        done = self.lab.run("trace", "-n", NAMESPACE, "-o", "json", source, target, *options)
        assert done.out, done.err
        return json.loads(done.out)

    @property
    def bare_node(self) -> str:
        """A worker without the pod."""
        return next(name for name in ("worker1", "worker2") if not self.one.node.startswith(name))


@pytest.fixture(scope="module")
def scene(lab: RunningLab) -> Scene:
    for name in ("service-test-namespace.yaml", "httpd-deployment.yaml"):
        lab.todoku("kubectl", "apply", "-f", str(MANIFESTS / name))
    kubectl(
        lab, "wait", "deployment/httpd-deployment", "--for=condition=Available", "--timeout=60s"
    )
    pods = [
        Pod(pod["metadata"]["name"], pod["status"]["podIP"], pod["spec"]["nodeName"])
        for pod in json.loads(kubectl(lab, "get", "pods", "-o", "json"))["items"]
    ]
    one = next(pod for pod in pods if sum(p.node == pod.node for p in pods) == 2)
    pod = json.loads(kubectl(lab, "get", "pod", one.name, "-o", "json"))
    pod["metadata"]["labels"]["one"] = "yes"
    apply(lab, json.dumps(pod))
    apply(lab, SERVICES)
    until_open(lab, "svc/one@clusterip")
    return Scene(lab, one, tuple(pod for pod in pods if pod != one))


def kubectl(lab: RunningLab, *words: str) -> str:
    return lab.todoku("kubectl", *words, "-n", NAMESPACE)


def apply(lab: RunningLab, text: str) -> None:
    path = lab.cache / "applied.yaml"
    path.write_text(text)
    lab.todoku("kubectl", "apply", "-f", str(path))


def until_open(lab: RunningLab, target: str) -> None:
    """The rules follow the API within moments."""
    deadline = time.monotonic() + 20
    while lab.run("trace", "-n", NAMESPACE, "master1", target, "--timeout", "0.3").code:
        assert time.monotonic() < deadline, f"{target} does not open"


def hops(trace: dict, component: str) -> list[dict]:
    return [hop for hop in trace["observations"] if hop["component"] == component]


def rules(trace: dict) -> list[str]:
    return [f"{hop['node']} {hop['rule']['chain']}" for hop in hops(trace, "NFT")]


def test_a_node_translates_its_own_packets_as_it_sends_them(scene):
    found = scene.trace("master1", "svc/one@clusterip")
    assert found["disposition"] == "DELIVERED"
    assert "master1 output" in rules(found)
    assert not hops(found, "ARP")
    (dnat,) = hops(found, "DNAT")
    assert (dnat["after"], dnat["evidence"]) == (f"{scene.one.ip}:80", "conntrack")


def test_the_rule_names_the_service_and_the_endpoint_slice(scene):
    found = scene.trace("rhel8host", "svc/one@nodeport/" + scene.one.node.partition(".")[0])
    objects = [hop["rule"]["object"] for hop in hops(found, "NFT")]
    assert f"Service {NAMESPACE}/one" in objects
    assert any(one.startswith(f"EndpointSlice {NAMESPACE}/one-") for one in objects), objects


def test_the_same_node_needs_no_tunnel_another_node_does(scene):
    near = next(pod for pod in scene.others if pod.node == scene.one.node)
    far = next(pod for pod in scene.others if pod.node != scene.one.node)
    here = scene.trace(near.source, f"{scene.one.ip}:80")
    there = scene.trace(far.source, f"{scene.one.ip}:80")
    assert here["disposition"] == there["disposition"] == "DELIVERED"
    assert not hops(here, "VXLAN")
    (tunnel,) = hops(there, "VXLAN")
    short = [node.partition(".")[0] for node in (far.node, scene.one.node)]
    assert tunnel["node"] == f"{short[0]} -> {short[1]}"


def test_a_pod_that_reaches_itself_by_its_service_sees_another_address(scene):
    found = scene.trace(scene.one.source, "svc/one@clusterip")
    assert found["disposition"] == "DELIVERED"
    (masquerade,) = hops(found, "MASQ")
    assert masquerade["before"] == scene.one.ip
    assert masquerade["after"] != scene.one.ip
    (arrived,) = hops(found, "SOCKET")
    assert arrived["node"].endswith(scene.one.name.rpartition("-")[2])
    assert "apache2" in arrived["action"]


def test_a_pods_own_address_never_leaves_it(scene):
    found = scene.trace(scene.one.source, f"{scene.one.ip}:80")
    assert [hop["component"] for hop in found["observations"]] == ["ROUTE", "SOCKET", "REPLY"]


def test_a_name_shows_who_was_asked(scene):
    found = scene.trace(scene.one.source, "svc/one@dns")
    (lookup,) = hops(found, "DNS")
    assert lookup["evidence"] == "dns"
    assert lookup["action"].endswith("says 10.96.0.10")
    assert found["disposition"] == "DELIVERED"


def test_outside_nobody_knows_the_name(scene):
    found = scene.trace("rhel8host", "svc/one@dns")
    assert (found["disposition"], found["code"]) == ("NAME_UNKNOWN", "DNS_INSIDE_ONLY")


def test_a_datagram_is_followed_to_the_server_and_back(scene):
    found = scene.trace(scene.one.source, "svc/kube-system/kube-dns:53/udp@clusterip")
    assert found["disposition"] == "DELIVERED"
    assert found["packet"].endswith("10.96.0.10:53 UDP")
    assert hops(found, "REPLY")[0]["action"].startswith("pod/coredns")


def test_local_policy_drops_where_there_is_no_pod(scene):
    found = scene.trace("rhel8host", f"svc/one@nodeport/{scene.bare_node}")
    assert (found["disposition"], found["code"]) == ("DROPPED", "ETP_LOCAL_NO_ENDPOINT")
    last = hops(found, "NFT")[-1]
    assert last["node"] == scene.bare_node
    assert "@no-endpoints" in last["rule"]["text"]
    assert last["rule"]["object"] == f"Service {NAMESPACE}/one"


def test_without_endpoints_the_node_refuses(scene):
    found = scene.trace("rhel8host", "svc/none@nodeport/worker1")
    assert (found["disposition"], found["code"]) == ("REFUSED", "NO_ENDPOINTS")
    assert any("reject" in hop["rule"]["text"] for hop in hops(found, "NFT")), found
    assert not any("nothing listens" in hop["action"] for hop in found["observations"])


def test_a_source_outside_the_ranges_is_dropped_by_their_rule(scene):
    pending = scene.lab.run("trace", "-n", NAMESPACE, "rhel8host", "svc/guarded@lb")
    assert pending.code == 2
    assert "LB_PENDING" in pending.err
    assert "no address" in pending.err
    status = {"status": {"loadBalancer": {"ingress": [{"ip": GUARDED}]}}}
    kubectl_patch_status(scene.lab, "guarded", status)
    deadline = time.monotonic() + 10
    while (found := scene.trace("master1", "svc/guarded@lb", "--timeout", "0.3"))[
        "disposition"
    ] != ("DROPPED"):
        assert time.monotonic() < deadline, found
    assert found["code"] == "SOURCE_RANGE"
    last = hops(found, "NFT")[-1]
    assert (last["node"], last["rule"]["chain"]) == ("master1", "firewall-check")


def test_the_default_gateway_swallows_what_it_does_not_know(scene):
    found = scene.trace("rhel8host", "svc/one@clusterip", "--timeout", "0.5")
    assert (found["disposition"], found["code"]) == ("DROPPED", "CLUSTERIP_INSIDE_ONLY")
    last = found["observations"][-1]
    assert (last["node"], last["evidence"]) == ("gateway", "route")
    assert last["action"].startswith("blackhole default")


def test_somebody_elses_connection_is_traced_as_it_passes(scene, tmp_path):
    target = f"svc/one@nodeport/{scene.one.node.partition('.')[0]}"
    port = scene.trace("rhel8host", target)["packet"].split(":")[-1].split()[0]
    file = tmp_path / "live.pcapng"
    argv = [sys.executable, "-m", "todoku", "trace", "--lab", scene.lab.name, "-n", NAMESPACE]
    argv += ["--live", "--timeout", "20", "-o", "json", "--pcap", str(file), "rhel8host", target]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as waiting:
        try:
            while waiting.poll() is None:
                url = f"http://{scene.one.node}:{port}"
                scene.lab.run("exec", "rhel8host", "--", "curl", "-s", "-m", "2", url)
            assert waiting.stdout is not None
            found = json.loads(waiting.stdout.read())
        finally:
            waiting.kill()
    assert found["disposition"] == "DELIVERED"
    assert found["latencyMs"] is None
    components = [hop["component"] for hop in found["observations"]]
    assert components[:2] == ["ROUTE", "ARP"]
    assert components[-2:] == ["SOCKET", "REPLY"]
    assert file.read_bytes().startswith(b"\x0a\x0d\x0d\x0a")


def test_a_live_trace_of_nobody_says_so(scene):
    done = scene.lab.run(
        "trace",
        "-n",
        NAMESPACE,
        "--live",
        "--timeout",
        "0.3",
        "al9host",
        "svc/one@nodeport/worker1",
    )
    assert done.code == 3
    assert "nobody on al9host connected to" in done.err


@pytest.mark.parametrize("sweeper", ["up", "trace"])
def test_a_killed_trace_is_swept(scene, sweeper):
    argv = [sys.executable, "-m", "todoku", "trace", "--lab", scene.lab.name, "-n", NAMESPACE]
    waiting = subprocess.Popen([*argv, "--live", "al9host", "svc/one@nodeport/worker1"])
    try:
        deadline = time.monotonic() + 10
        while "todoku-trace" not in tables(scene.lab, "al9host"):
            assert time.monotonic() < deadline
    finally:
        waiting.send_signal(signal.SIGKILL)
        waiting.wait()
    assert "todoku-trace" in tables(scene.lab, "al9host")
    if sweeper == "up":
        scene.lab.todoku("up")
    else:
        scene.trace("rhel8host", "svc/one@clusterip", "--timeout", "0.2")
    assert "todoku-trace" not in tables(scene.lab, "al9host")


def test_a_stopped_node_answers_no_arp(scene):
    todoku.lab.open(scene.lab.name).ask("power-off", machine=f"{scene.bare_node}.internal")
    found = scene.trace("rhel8host", f"svc/none@nodeport/{scene.bare_node}", "--timeout", "1")
    assert (found["disposition"], found["code"]) == ("UNANSWERED", "NODE_DOWN")
    assert found["observations"][-1]["component"] == "ARP"
    assert "nobody answers" in found["observations"][-1]["action"]


def tables(lab: RunningLab, host: str) -> str:
    return lab.todoku("exec", host, "--", "nft", "list", "tables")


def kubectl_patch_status(lab: RunningLab, service: str, body: dict) -> None:
    """A load-balancer address as a balancer writes it."""

    async def patch() -> None:
        config = ClientConfig.from_kubeconfig(todoku.lab.open(lab.name).kubeconfig)
        async with Client(config) as client:
            await client.patch(
                "services", service, NAMESPACE, body, kind="merge", subresource="status"
            )

    asyncio.run(patch())
