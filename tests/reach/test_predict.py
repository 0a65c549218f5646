"""Prediction as a table: who, which address, in which world, and what must be said."""

from dataclasses import replace

import pytest

from tests.reach.article import (
    LB_IP,
    PODS,
    advertisement,
    endpoint_slice,
    machine,
    service,
    with_ingress,
    world,
)
from todoku.reach.outcome import Code, Outcome
from todoku.reach.predict import announcer, predict
from todoku.reach.targets import Address, At, Source, addresses, machine_sources, pod_sources
from todoku.reach.world import Route, World

ALL = ("master1", "worker1", "worker2", "rhel8host", "al9host")
CLOSED = {Outcome.TIMEOUT, Outcome.NO_ROUTE}


def source(here: World, name: str) -> Source:
    found = [one for one in [*machine_sources(here), *pod_sources(here.pods)] if one.name == name]
    return found[0]


def address(here: World, at: At, on: str = "") -> Address:
    found = [one for one in addresses(here, here.services[0]) if one.at is at]
    return next(one for one in found if one.node.startswith(on))


def verdict(here: World, who: str, at: At, on: str = "") -> tuple[Code, set[Outcome]]:
    prediction = predict(here, source(here, who), address(here, at, on))
    return prediction.code, set(prediction.outcomes)


CLUSTER_IP, NODE_PORT = service(), service("NodePort")
BALANCED = with_ingress(service("LoadBalancer"))
LOCAL = with_ingress(service("LoadBalancer", externalTrafficPolicy="Local"))
ONE_POD = {"httpd-deployment-c": PODS["httpd-deployment-c"]}
OK = {Outcome.OK}

ROWS = [
    ("a node reaches a pod on another node", world(CLUSTER_IP), "master1", At.POD, "worker1", Code.OPEN, OK),
    ("outside knows no pod network", world(CLUSTER_IP), "rhel8host", At.POD, "", Code.POD_NETWORK_INSIDE_ONLY, {Outcome.TIMEOUT}),
    ("a rejecting gateway says so", world(CLUSTER_IP, gateway="reject"), "rhel8host", At.POD, "", Code.POD_NETWORK_INSIDE_ONLY, {Outcome.NO_ROUTE}),
    ("a node reaches the ClusterIP", world(CLUSTER_IP), "master1", At.CLUSTERIP, "", Code.OPEN, OK),
    ("a pod reaches the ClusterIP that leads to itself too", world(CLUSTER_IP), "pod/httpd-deployment-a", At.CLUSTERIP, "", Code.OPEN, OK),
    ("outside knows no ClusterIP", world(CLUSTER_IP), "al9host", At.CLUSTERIP, "", Code.CLUSTERIP_INSIDE_ONLY, {Outcome.TIMEOUT}),
    ("a route through a node opens it",
     world(CLUSTER_IP, machines=[*map(machine, ALL[:4]), machine("al9host", routes=(Route("10.96.0.0/12", "192.168.11.132"),))]),
     "al9host", At.CLUSTERIP, "", Code.CLUSTERIP_ROUTED, OK),
    ("no endpoints are refused", world(CLUSTER_IP, slices=[]), "master1", At.CLUSTERIP, "", Code.NO_ENDPOINTS, {Outcome.REFUSED}),
    ("terminating pods that serve are used last", world(CLUSTER_IP, slices=[endpoint_slice(ready=False, serving=True, terminating=True)]),
     "master1", At.CLUSTERIP, "", Code.OPEN, OK),
    ("internal policy Local without a pod here drops", world(service(internalTrafficPolicy="Local")), "master1", At.CLUSTERIP, "", Code.ITP_LOCAL_NO_ENDPOINT, {Outcome.TIMEOUT}),
    ("a node port of a node without pods answers", world(NODE_PORT), "rhel8host", At.NODEPORT, "master1", Code.OPEN, OK),
    ("a stopped node's does not",
     world(NODE_PORT, machines=[machine("master1", powered=False), *map(machine, ALL[1:])]), "rhel8host", At.NODEPORT, "master1", Code.NODE_DOWN, CLOSED),
    ("external policy Local without a pod there drops", world(service("NodePort", externalTrafficPolicy="Local")), "rhel8host", At.NODEPORT, "master1", Code.ETP_LOCAL_NO_ENDPOINT, {Outcome.TIMEOUT}),
    ("but the node itself is short-circuited", world(service("NodePort", externalTrafficPolicy="Local")), "master1", At.NODEPORT, "master1", Code.OPEN, OK),
    ("another node is not", world(service("NodePort", externalTrafficPolicy="Local")), "worker1", At.NODEPORT, "master1", Code.ETP_LOCAL_NO_ENDPOINT, {Outcome.TIMEOUT}),
    ("a pending balancer has no address", world(service("LoadBalancer")), "rhel8host", At.LOADBALANCER, "", Code.LB_PENDING, {Outcome.NOT_APPLICABLE}),
    ("an announced address answers outside", world(BALANCED), "rhel8host", At.LOADBALANCER, "", Code.OPEN, OK),
    ("and inside without ARP", world(BALANCED, l2_advertisements=[]), "master1", At.LOADBALANCER, "", Code.OPEN, OK),
    ("an unannounced one does not answer outside", world(BALANCED, l2_advertisements=[]), "rhel8host", At.LOADBALANCER, "", Code.ARP_UNANSWERED, CLOSED),
    ("source ranges shut out", world(with_ingress(service("LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"]))), "rhel8host", At.LOADBALANCER, "", Code.SOURCE_RANGE, {Outcome.TIMEOUT}),
    ("but never at the node port", world(with_ingress(service("LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8"]))), "rhel8host", At.NODEPORT, "worker1", Code.OPEN, OK),
    ("names are for pods", world(CLUSTER_IP), "master1", At.DNS, "", Code.DNS_INSIDE_ONLY, {Outcome.DNS}),
    ("a source without power is not probed",
     world(CLUSTER_IP, machines=[machine("master1", powered=False), *map(machine, ALL[1:])]), "master1", At.CLUSTERIP, "", Code.SOURCE_DOWN, {Outcome.UNKNOWN}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("here", "who", "at", "on", "code", "outcomes"),
    [row[1:] for row in ROWS],
    ids=[row[0] for row in ROWS],
)
def test_a_cell_is_predicted(here, who, at, on, code, outcomes):
    assert verdict(here, who, at, on) == (code, outcomes)


def test_the_backends_are_the_usable_endpoints():
    here = world(CLUSTER_IP)
    prediction = predict(here, source(here, "master1"), address(here, At.CLUSTERIP))
    assert prediction.backends == {f"{ip}:80" for ip, _ in PODS.values()}


def test_external_policy_local_is_announced_by_a_node_with_a_pod():
    here = world(LOCAL, slices=[endpoint_slice(ONE_POD)])
    assert announcer(here, LOCAL, LB_IP) == "worker2.internal"


def test_the_control_plane_never_announces():
    here = world(BALANCED, speakers=frozenset({"master1.internal"}))
    assert announcer(here, BALANCED, LB_IP) is None


def test_a_powered_off_announcer_is_replaced():
    here = world(BALANCED)
    first = announcer(here, BALANCED, LB_IP)
    assert first is not None
    stopped = first.partition(".")[0]
    off = [machine(name, powered=name != stopped) for name in ALL]
    second = announcer(world(BALANCED, machines=off), BALANCED, LB_IP)
    assert second not in (None, first)


def test_an_advertisement_for_other_nodes_does_not_count():
    chosen = advertisement(
        nodeSelectors=[{"matchLabels": {"kubernetes.io/hostname": "worker2.internal"}}]
    )
    here = world(BALANCED, l2_advertisements=[chosen])
    assert announcer(here, BALANCED, LB_IP) == "worker2.internal"


UDP_REJECTED = [
    ("a node rejects its own", "master1", "ClusterIP:8080/udp", {"refused"}),
    ("a node's rejection crosses the wire", "rhel8host", "master1:30080", {"refused", "timeout"}),
]


@pytest.mark.parametrize(("name", "to", "words"), [r[1:] for r in UDP_REJECTED], ids=[r[0] for r in UDP_REJECTED])  # fmt: skip
def test_a_rejection_over_udp_may_be_silence_because_icmp_is_limited(name, to, words):
    nothing = service("NodePort", ports=[{"port": 8080, "targetPort": 80, "protocol": "UDP", "nodePort": 30080}])  # fmt: skip
    here = world(nothing, slices=[endpoint_slice({})])
    source = next(one for one in machine_sources(here) if one.name == name)
    address = next(one for one in addresses(here, nothing) if one.label == to)
    assert {str(one) for one in predict(here, source, address).outcomes} == words


def test_a_headless_service_s_slices_count_although_proxies_pass_them_over():
    headless = service(clusterIP="None", clusterIPs=["None"])
    labelled = endpoint_slice()
    labelled["metadata"]["labels"]["service.kubernetes.io/headless"] = ""
    port = headless["spec"]["ports"][0]
    assert len(world(headless, slices=[labelled]).endpoints(headless, port)) == 3
    assert not world(service(), slices=[labelled]).endpoints(service(), port)


HEADLESS = [
    ("ready", {}, {"ok"}),
    ("not ready", {"ready": False, "serving": False}, {"dns"}),
]


@pytest.mark.parametrize(("conditions", "words"), [r[1:] for r in HEADLESS], ids=[r[0] for r in HEADLESS])  # fmt: skip
def test_a_headless_name_means_its_ready_pods(conditions, words):
    headless = service(clusterIP="None", clusterIPs=["None"])
    here = world(headless, slices=[endpoint_slice(**conditions)])
    dns = {"metadata": {"name": "dns", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
           "spec": {"nodeName": "master1.internal"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}  # fmt: skip
    here = replace(here, pods=[*here.pods, dns])
    source = pod_sources(here.pods)[0]
    (address,) = [one for one in addresses(here, headless) if one.at is At.DNS]
    assert {str(one) for one in predict(here, source, address).outcomes} == words


def test_an_external_ip_that_a_dead_node_owns_is_silent():
    owned = service("NodePort", externalIPs=["192.168.11.132"])
    machines = [machine(name, powered=name != "worker1") for name in ALL]
    here = world(owned, machines=machines)
    source = next(one for one in machine_sources(here) if one.name == "rhel8host")
    (address,) = [one for one in addresses(here, owned) if one.at is At.EXTERNAL]
    assert predict(here, source, address).code is Code.NODE_DOWN
    assert not predict(here, source, address).open
