"""Real packets through compiled rules: a client, a node, two pods of the node and a pod elsewhere.

client 192.168.50.9 -- node 192.168.50.1 -- pod a 10.244.1.2, pod b 10.244.1.3; pod c 10.244.2.2 behind
another router.  Pods are on links of their own, so the node routes between them.
"""

import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.netns import Netns, Server, ask, connect, namespaces
from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import Object, key_of
from todoku.linux.nftables import IPV4, Elements, Nft
from todoku.proxy import (
    Backend,
    FrontendKey,
    Kernel,
    NodeView,
    Table,
    decide,
    frontends,
    owner_of,
    rules,
)

NODE = NodeView("n1", addresses=("192.168.50.1",))
CLUSTER_IP, LB_IP, EXTERNAL_IP = "10.96.0.20", "192.168.51.136", "192.168.51.77"
A, B, C = "10.244.1.2", "10.244.1.3", "10.244.2.2"
EVERYBODY = slice_of(endpoint(A), endpoint(B), endpoint(C, "n2"))
ELSEWHERE = slice_of(endpoint(C, "n2"))
BALANCED = {"type": "LoadBalancer", "ingress": ({"ip": LB_IP, "ipMode": "VIP"},)}
PORTS = ({"port": 8080, "name": "http", "nodePort": 30080},)


@dataclass
class Lab:
    node: Netns
    client: Netns
    pods: dict[str, Netns]
    kernel: Kernel
    table: Table = field(default_factory=lambda: Table("n1"))

    def program(self, *services: tuple[Object, Sequence[Object]]) -> None:
        for made, slices in services:
            self.table.update(key_of(made), frontends(made, slices, NODE))
        self.kernel.apply(self.table)

    def machine(self, name: str) -> tuple[Netns, str]:
        """A source and the address that it speaks from."""
        if name == "client":
            return self.client, "192.168.50.9"
        if name == "node":
            return self.node, "192.168.50.1"
        return self.pods[name], {"a": A, "b": B, "c": C}[name]


@pytest.fixture(scope="module")
def wires() -> Iterator[tuple[Netns, Netns, dict[str, Netns]]]:
    with namespaces("node", "client", "a", "b", "c") as (node, client, *pods):
        connect(node, client, a_name="eth0", b_name="eth0")
        node.ip("address add 192.168.50.1/24 dev eth0", "route add default via 192.168.50.9")
        client.ip("address add 192.168.50.9/24 dev eth0", "route add default via 192.168.50.1")
        for name, pod, address, gateway in zip(
            "abc", pods, (A, B, C), ("10.244.1.1", "10.244.1.1", "10.244.2.0"), strict=True
        ):
            connect(node, pod, a_name=f"v{name}", b_name="eth0")
            pod.ip(
                f"address add {address}/32 dev eth0",
                f"route add {gateway} dev eth0",
                f"route add default via {gateway} dev eth0",
            )
            node.ip(f"address add {gateway}/32 dev v{name}", f"route add {address} dev v{name}")
        node.sysctl("net.ipv4.ip_forward", "1")
        yield node, client, dict(zip("abc", pods, strict=True))


@pytest.fixture
def lab(wires: tuple[Netns, Netns, dict[str, Netns]]) -> Iterator[Lab]:
    node, client, pods = wires
    with Kernel(node.fd) as kernel:
        lab = Lab(node, client, pods, kernel)
        kernel.adopt(lab.table, NODE)
        yield lab
        kernel.remove()


@pytest.fixture(scope="module")
def servers(wires: tuple[Netns, Netns, dict[str, Netns]]) -> Iterator[None]:
    _, _, pods = wires
    running = [Server(pods[name], name, 80) for name in "abc"]
    running += [Server(pods[name], name, 53, kind=socket.SOCK_DGRAM) for name in "abc"]
    yield
    for server in running:
        server.close()


pytestmark = [pytest.mark.kernel, pytest.mark.usefixtures("servers")]


def answers(
    lab: Lab, source: str, address: str, port: int, *, times: int = 24, patience: float = 2.0
) -> Counter[str]:
    """What came back; `patience` is short where silence is expected."""
    where, _ = lab.machine(source)
    return Counter(ask(where, address, port, timeout=patience) for _ in range(times))


SILENCE = {"times": 1, "patience": 0.3}


def names(found: Counter[str]) -> set[str]:
    return {answer.partition(" ")[0] for answer in found}


def seen(found: Counter[str]) -> set[str]:
    return {answer.partition(" ")[2] for answer in found}


@pytest.mark.parametrize("source", ["client", "node", "a", "b"])
@pytest.mark.parametrize(
    ("address", "port"),
    [(CLUSTER_IP, 8080), ("192.168.50.1", 30080), (LB_IP, 8080), (EXTERNAL_IP, 8080)],
    ids=["clusterIP", "nodePort", "loadBalancer", "externalIP"],
)
def test_every_address_is_spread_over_all_endpoints(
    lab: Lab, source: str, address: str, port: int
) -> None:
    made = service(ports=PORTS, externalIPs=[EXTERNAL_IP], **BALANCED)
    lab.program((made, [EVERYBODY]))
    found = answers(lab, source, address, port, times=60)
    assert names(found) == {"a", "b", "c"}
    assert min(Counter(a.partition(" ")[0] for a in found.elements()).values()) >= 3


@dataclass(frozen=True)
class Flow:
    """One row: who asks what, which pods may answer, and which client address they see."""

    source: str
    address: str
    port: int
    answers: str = ""
    sees: str = ""
    outcome: str = ""


def flow_id(flow: Flow) -> str:
    return f"{flow.source} to {flow.address}:{flow.port}"


INTERNAL = [
    Flow("a", CLUSTER_IP, 8080, answers="abc", sees=A),
    Flow("client", CLUSTER_IP, 8080, answers="abc", sees="10.244."),
    Flow("node", CLUSTER_IP, 8080, answers="abc", sees="10.244."),
    Flow("client", CLUSTER_IP, 9999, outcome="refused"),
    Flow("node", CLUSTER_IP, 9999, outcome="refused"),
    Flow("a", "10.96.0.99", 80, outcome="timeout"),
]


@pytest.mark.parametrize("flow", INTERNAL, ids=flow_id)
def test_cluster_ip(lab: Lab, flow: Flow) -> None:
    lab.program((service(), [EVERYBODY]))
    check(lab, flow)


ETP_LOCAL = [
    Flow("client", LB_IP, 8080, answers="ab", sees="192.168.50.9"),
    Flow("client", "192.168.50.1", 30080, answers="ab", sees="192.168.50.9"),
    Flow("node", LB_IP, 8080, answers="abc", sees="10.244."),
    Flow("a", LB_IP, 8080, answers="abc", sees=A),
    Flow("client", CLUSTER_IP, 8080, answers="abc", sees="10.244."),
]


@pytest.mark.parametrize("flow", ETP_LOCAL, ids=flow_id)
def test_external_traffic_policy_local_keeps_the_source_and_the_node(lab: Lab, flow: Flow) -> None:
    made = service(ports=PORTS, externalTrafficPolicy="Local", **BALANCED)
    lab.program((made, [EVERYBODY]))
    check(lab, flow)


ETP_LOCAL_ELSEWHERE = [
    Flow("client", LB_IP, 8080, outcome="timeout"),
    Flow("client", "192.168.50.1", 30080, outcome="timeout"),
    Flow("node", LB_IP, 8080, answers="c", sees="10.244."),
    Flow("a", "192.168.50.1", 30080, answers="c", sees=A),
]


@pytest.mark.parametrize("flow", ETP_LOCAL_ELSEWHERE, ids=flow_id)
def test_external_traffic_policy_local_without_a_local_endpoint(lab: Lab, flow: Flow) -> None:
    made = service(ports=PORTS, externalTrafficPolicy="Local", **BALANCED)
    lab.program((made, [ELSEWHERE]))
    check(lab, flow)


ITP_LOCAL = [
    Flow("a", CLUSTER_IP, 8080, answers="ab", sees=A),
    Flow("node", CLUSTER_IP, 8080, answers="ab", sees="10.244."),
]


@pytest.mark.parametrize("flow", ITP_LOCAL, ids=flow_id)
def test_internal_traffic_policy_local(lab: Lab, flow: Flow) -> None:
    lab.program((service(internalTrafficPolicy="Local"), [EVERYBODY]))
    check(lab, flow)


def test_internal_traffic_policy_local_drops_when_only_others_have_endpoints(lab: Lab) -> None:
    lab.program((service(internalTrafficPolicy="Local"), [ELSEWHERE]))
    check(lab, Flow("a", CLUSTER_IP, 8080, outcome="timeout"))


@pytest.mark.parametrize("source", ["client", "node", "a"])
@pytest.mark.parametrize(
    ("address", "port"), [(CLUSTER_IP, 8080), ("192.168.50.1", 30080), (LB_IP, 8080)]
)
def test_without_endpoints_every_address_refuses_at_once(
    lab: Lab, source: str, address: str, port: int
) -> None:
    lab.program((service(ports=PORTS, **BALANCED), [slice_of()]))
    check(lab, Flow(source, address, port, outcome="refused"))


def test_a_pod_that_reaches_itself_sees_an_address_of_the_node(lab: Lab) -> None:
    lab.program((service(), [slice_of(endpoint(A))]))
    found = answers(lab, "a", CLUSTER_IP, 8080, times=3)
    assert names(found) == {"a"} and seen(found) == {"10.244.1.1"}


SOURCE_RANGES = [
    pytest.param(["192.168.50.9/32"], True, id="the client alone"),
    pytest.param([" 192.168.50.0/24 "], True, id="its network, with blanks"),
    pytest.param(["10.0.0.0/8", "172.16.0.0/12"], False, id="others"),
    pytest.param(["10.0.0.0/8", "0.0.0.0/0"], True, id="everybody"),
    pytest.param(["fd00::/8"], True, id="only the other family"),
]


@pytest.mark.parametrize(("ranges", "open_"), SOURCE_RANGES)
def test_source_ranges_guard_the_load_balancer_address_only(
    lab: Lab, ranges: list[str], open_: bool
) -> None:
    made = service(ports=PORTS, loadBalancerSourceRanges=ranges, **BALANCED)
    lab.program((made, [EVERYBODY]))
    balanced = answers(lab, "client", LB_IP, 8080, **({} if open_ else SILENCE))
    assert (balanced.keys() == {"timeout"}) is not open_
    assert names(answers(lab, "client", "192.168.50.1", 30080, times=2)) <= {"a", "b", "c"}


def test_ip_mode_proxy_leaves_the_address_alone(lab: Lab) -> None:
    ingress = ({"ip": LB_IP, "ipMode": "Proxy"},)
    lab.program((service(ports=PORTS, type="LoadBalancer", ingress=ingress), [EVERYBODY]))
    assert answers(lab, "node", LB_IP, 8080, **SILENCE).keys() <= {"timeout", "no-route"}


@pytest.mark.parametrize(
    ("address", "port"),
    [(CLUSTER_IP, 8080), ("192.168.50.1", 30080)],
    ids=["clusterIP", "nodePort"],
)
def test_session_affinity_keeps_a_client_on_one_endpoint(lab: Lab, address: str, port: int) -> None:
    made = service(ports=PORTS, type="NodePort", sessionAffinity="ClientIP")
    lab.program((made, [EVERYBODY]))
    for source in ("client", "a", "b"):
        assert len(names(answers(lab, source, address, port, times=10))) == 1


def test_affinity_is_shared_by_the_addresses_of_a_port_and_can_be_switched(lab: Lab) -> None:
    sticky = service(ports=PORTS, type="NodePort", sessionAffinity="ClientIP")
    lab.program((sticky, [EVERYBODY]))
    by_cluster_ip = names(answers(lab, "client", CLUSTER_IP, 8080, times=4))
    assert names(answers(lab, "client", "192.168.50.1", 30080, times=4)) == by_cluster_ip
    lab.program((service(ports=PORTS, type="NodePort"), [EVERYBODY]))
    assert names(answers(lab, "client", CLUSTER_IP, 8080, times=40)) == {"a", "b", "c"}
    lab.program((sticky, [EVERYBODY]))
    assert len(names(answers(lab, "client", CLUSTER_IP, 8080, times=8))) == 1


def test_affinity_moves_on_when_its_endpoint_goes(lab: Lab) -> None:
    sticky = service(sessionAffinity="ClientIP")
    lab.program((sticky, [EVERYBODY]))
    (first,) = names(answers(lab, "client", CLUSTER_IP, 8080, times=3))
    others = {"a": A, "b": B, "c": C}
    del others[first]
    lab.program((sticky, [slice_of(*(endpoint(address) for address in others.values()))]))
    (second,) = names(answers(lab, "client", CLUSTER_IP, 8080, times=6))
    assert second in others


def test_affinity_ends_with_its_timeout(lab: Lab) -> None:
    config = {"clientIP": {"timeoutSeconds": 1}}
    lab.program((service(sessionAffinity="ClientIP", sessionAffinityConfig=config), [EVERYBODY]))
    answers(lab, "client", CLUSTER_IP, 8080, times=1)
    assert remembered(lab) == 1
    time.sleep(1.2)  # the kernel's own timer; nothing else can pass it
    assert remembered(lab) == 0


def remembered(lab: Lab) -> int:
    """How many clients the table remembers."""
    sets = [entry["set"] for entry in Nft(lab.node.fd).objects("sets ip") if "set" in entry]
    names = [entry["name"] for entry in sets if entry["name"].startswith("client-")]
    with Elements(IPV4, rules.TABLE, lab.node.fd) as elements:
        return sum(len(elements.dump(name)) for name in names)


def test_udp_clients_follow_when_their_endpoint_goes(lab: Lab) -> None:
    dns = service("dns", ports=({"port": 53, "name": "dns", "protocol": "UDP"},))

    def ends(*addresses: str) -> Object:
        made = (endpoint(address) for address in addresses)
        return slice_of(*made, name="dns", port=53, port_name="dns", protocol="UDP")

    lab.program((dns, [ends(A)]))
    with lab.client.socket(socket.SOCK_DGRAM) as client:
        client.connect((CLUSTER_IP, 53))
        client.send(b"?")
        assert client.recv(100).startswith(b"a ")
        lab.program((dns, [ends(B)]))
        client.send(b"?")
        assert client.recv(100).startswith(b"b ")


def test_a_udp_flow_that_began_before_the_service_is_not_lost(lab: Lab) -> None:
    dns = service(
        "dns", type="NodePort",
        ports=({"port": 53, "name": "dns", "protocol": "UDP", "nodePort": 30053},),
    )  # fmt: skip
    slices = [slice_of(endpoint(A), name="dns", port=53, port_name="dns", protocol="UDP")]
    with lab.client.socket(socket.SOCK_DGRAM) as client:
        client.connect(("192.168.50.1", 30053))
        client.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            client.recv(100)
        lab.program((dns, slices))
        client.send(b"?")
        assert client.recv(100).startswith(b"a ")


def test_one_address_serves_tcp_and_udp_independently(lab: Lab) -> None:
    ports = ({"port": 53, "name": "tcp"}, {"port": 53, "name": "udp", "protocol": "UDP"})
    slices = [
        slice_of(endpoint(A), port_name="tcp"),
        slice_of(endpoint(B), port=53, port_name="udp", protocol="UDP", suffix="udp"),
    ]
    lab.program((service(ports=ports), slices))
    assert ask(lab.client, CLUSTER_IP, 53).startswith("a ")
    assert ask(lab.client, CLUSTER_IP, 53, kind=socket.SOCK_DGRAM).startswith("b ")


def test_the_table_itself_tells_which_service_an_address_belongs_to(lab: Lab) -> None:
    lab.program((service(ports=PORTS), [EVERYBODY]), (service("idle", cluster_ip="10.96.0.21"), []))
    for address, port, owner in (
        (CLUSTER_IP, 8080, "default/web:http"),
        ("192.168.50.1", 30080, "default/web:http"),
        ("10.96.0.21", 8080, "default/idle:http"),
        (CLUSTER_IP, 1, ""),
    ):
        assert owner_of(FrontendKey(address, "TCP", port), lab.node.path) == owner


def test_a_deleted_service_leaves_nothing(lab: Lab) -> None:
    before = set(lab.kernel.dump())
    made = service(ports=PORTS, sessionAffinity="ClientIP", **BALANCED)
    lab.program((made, [EVERYBODY]))
    assert set(lab.kernel.dump()) != before
    lab.table.update(key_of(made), [])
    lab.kernel.apply(lab.table)
    assert set(lab.kernel.dump()) == before
    assert "client-" not in lab.node.run("nft", "list", "ruleset")


def check(lab: Lab, flow: Flow) -> None:
    effort = SILENCE if flow.outcome else {"times": 45}
    found = answers(lab, flow.source, flow.address, flow.port, **effort)
    if flow.outcome:
        assert found.keys() == {flow.outcome}
        return
    assert names(found) == set(flow.answers)
    for answer in found:
        pod, _, client = answer.partition(" ")
        itself = pod == flow.source  # a hairpin is always masqueraded
        assert client.startswith("10.244.1.1" if itself else flow.sees)


@pytest.mark.parametrize("policy", ["Cluster", "Local"])
@pytest.mark.parametrize(
    "slices", [[EVERYBODY], [ELSEWHERE], []], ids=["both", "elsewhere", "none"]
)
@pytest.mark.parametrize("source", ["client", "node", "a"])
def test_the_prediction_is_what_happens(
    lab: Lab, policy: str, slices: list[Object], source: str
) -> None:
    made = service(
        ports=PORTS, externalTrafficPolicy=policy, internalTrafficPolicy=policy, **BALANCED
    )
    lab.program((made, slices))
    _, address = lab.machine(source)
    pods = {"a": Backend(A, 80), "b": Backend(B, 80), "c": Backend(C, 80)}
    for key in (
        FrontendKey(CLUSTER_IP, "TCP", 8080),
        FrontendKey("192.168.50.1", "TCP", 30080),
        FrontendKey(LB_IP, "TCP", 8080),
        FrontendKey(CLUSTER_IP, "TCP", 1),
    ):
        verdict = decide(made, slices, NODE, source=address, address=key)
        effort = {"times": 45} if verdict.backends else SILENCE
        found = answers(lab, source, key.address, key.port, **effort)
        if verdict.drop is not None:
            assert found.keys() == {"refused" if verdict.drop.rejects else "timeout"}, key
        else:
            assert {pods[name] for name in names(found)} == verdict.backends, key
            others = {answer for answer in found if not answer.startswith(f"{source} ")}
            kept = {answer for answer in others if answer.endswith(f" {address}")}
            assert kept == (set() if verdict.masquerade else others), key
