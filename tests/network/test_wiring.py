"""Two nodes on a LAN with an outside host; pods on both; Services across them.  Real packets.

outside .201 -- LAN 192.168.60.0/24 -- n1 .131 (pods a, b), n2 .132 (pod c).
"""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.support.netns import Netns, Server, ask, connect, namespaces
from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import key_of
from todoku.api.podnetwork import HostPort
from todoku.network import peers as announced
from todoku.network.ipam import Lease
from todoku.network.wiring import Site, Wiring, host_interface, parse_subnet
from todoku.proxy import Kernel, NodeView, Table, frontends

CLUSTER = parse_subnet("10.244.0.0/16")
PODS = {"a": ("n1", "10.244.1.2"), "b": ("n1", "10.244.1.3"), "c": ("n2", "10.244.2.2")}
CLUSTER_IP = "10.96.0.20"


def site(number: int) -> Site:
    return Site(
        node_name=f"n{number}",
        address=f"192.168.60.13{number}",
        interface="eth0",
        subnet=parse_subnet(f"10.244.{number}.0/24"),
        cluster=CLUSTER,
        vtep_mac=announced.mac_from(f"flannel.1/n{number}"),
    )


def peer(number: int) -> announced.Peer:
    there = site(number)
    return announced.Peer(str(there.subnet), there.vtep_mac, there.address)


@dataclass
class Node:
    netns: Netns
    site: Site
    wiring: Wiring


@dataclass
class Lab:
    nodes: dict[str, Node]
    pods: dict[str, Netns]
    outside: Netns

    def source(self, name: str) -> Netns:
        if name == "outside":
            return self.outside
        return self.pods[name] if name in self.pods else self.nodes[name].netns


def lease(name: str, *ports: HostPort) -> Lease:
    return Lease(PODS[name][1], f"uid-{name}", "default", name, ports)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with namespaces("lan", "outside", "n1", "n2", "a", "b", "c") as made:
        lan, outside, *rest = made
        lan.ip("link add br0 type bridge", "link set br0 up")
        for index, host in enumerate((outside, *rest[:2])):
            connect(lan, host, a_name=f"p{index}", b_name="eth0")
            lan.ip(f"link set p{index} master br0")
        outside.ip("address add 192.168.60.201/24 dev eth0", "route add default via 192.168.60.1")
        nodes = {}
        for number, netns in enumerate(rest[:2], 1):
            where = site(number)
            netns.ip(
                f"address add {where.address}/24 dev eth0", "route add default via 192.168.60.1"
            )
            wiring = Wiring(netns.fd)
            wiring.prepare(where)
            wiring.apply(announced.changes({"": peer(3 - number)}, {}))
            nodes[where.node_name] = Node(netns, where, wiring)
        pods = dict(zip("abc", rest[2:], strict=True))
        for name, pod in pods.items():
            node = nodes[PODS[name][0]]
            host = node.wiring.attach(lease(name), node.site.subnet, pod.path)
            wait_until_forwarding(node.wiring, host)
        servers = [Server(pod, name, 80) for name, pod in pods.items()]
        yield Lab(nodes, pods, outside)
        for server in servers:
            server.close()
        for node in nodes.values():
            node.wiring.close()


def wait_until_forwarding(wiring: Wiring, host: str) -> None:
    deadline = time.monotonic() + 2
    while not wiring.forwarding(host):
        assert time.monotonic() < deadline, f"{host} does not forward"
        time.sleep(0.001)


pytestmark = pytest.mark.kernel


@pytest.mark.parametrize("source", ["a", "b", "c"])
@pytest.mark.parametrize("target", ["a", "b", "c"])
def test_pods_reach_each_other_and_keep_their_address(lab: Lab, source: str, target: str) -> None:
    answer = ask(lab.pods[source], PODS[target][1], 80)
    assert answer == f"{target} {PODS[source][1]}"


REACH = [
    pytest.param("n1", "a", "10.244.1.1", id="node to its own pod"),
    pytest.param("n1", "c", "10.244.1.0", id="node to a remote pod, from the tunnel's address"),
    pytest.param("n2", "a", "10.244.2.0", id="the other way"),
]


@pytest.mark.parametrize(("source", "target", "sees"), REACH)
def test_nodes_reach_every_pod(lab: Lab, source: str, target: str, sees: str) -> None:
    assert ask(lab.source(source), PODS[target][1], 80) == f"{target} {sees}"


def test_an_outside_host_has_no_way_to_a_pod(lab: Lab) -> None:
    assert ask(lab.outside, PODS["a"][1], 80, timeout=0.2) in ("timeout", "no-route")


def test_a_pod_leaves_the_cluster_with_its_nodes_address(lab: Lab) -> None:
    with Server(lab.outside, "outside", 8000):
        assert ask(lab.pods["a"], "192.168.60.201", 8000) == "outside 192.168.60.131"
        assert ask(lab.pods["a"], "192.168.60.132", 81) == "refused"


def test_large_segments_cross_the_tunnel(lab: Lab) -> None:
    with lab.pods["c"].socket() as listener, lab.pods["a"].socket() as client:
        listener.bind(("", 9000))
        listener.listen()
        client.connect((PODS["c"][1], 9000))
        server, _ = listener.accept()
        with server:
            server.settimeout(2)
            client.settimeout(2)
            client.sendall(bytes(60_000))
            received = 0
            while received < 60_000:
                received += len(server.recv(65_536))
    assert received == 60_000


def test_attaching_again_changes_nothing(lab: Lab) -> None:
    node = lab.nodes["n1"]
    before = node.netns.run("ip", "-o", "link", "show", host_interface("uid-a"))
    node.wiring.attach(lease("a"), node.site.subnet, lab.pods["a"].path)
    assert node.netns.run("ip", "-o", "link", "show", host_interface("uid-a")) == before


def test_preparing_again_changes_nothing(lab: Lab) -> None:
    node = lab.nodes["n1"]
    before = node.netns.run("ip", "-d", "-o", "address")
    node.wiring.prepare(node.site)
    assert node.netns.run("ip", "-d", "-o", "address") == before


def test_the_kernel_tells_which_peers_it_has(lab: Lab) -> None:
    assert lab.nodes["n1"].wiring.peers() == {"10.244.2.0/24": peer(2)}


def test_a_peer_that_leaves_takes_its_entries_with_it(lab: Lab) -> None:
    wiring, netns = lab.nodes["n1"].wiring, lab.nodes["n1"].netns
    wiring.apply(announced.Changes(add=(peer(3),)))
    assert "10.244.3.0/24" in netns.run("ip", "route")
    wiring.apply(announced.changes({"10.244.2.0/24": peer(2)}, wiring.peers()))
    assert "10.244.3.0" not in netns.run("ip", "route") + netns.run("ip", "neigh")
    assert peer(3).mac not in netns.run("bridge", "fdb")


def test_a_bridge_made_anew_gets_its_pods_back(lab: Lab) -> None:
    node = lab.nodes["n1"]
    node.netns.ip("link delete cni0")
    node.wiring.prepare(node.site)
    node.wiring.rejoin([lease("a"), lease("b")])
    for name in "ab":
        wait_until_forwarding(node.wiring, host_interface(f"uid-{name}"))
    assert ask(lab.pods["a"], PODS["b"][1], 80).startswith("b ")
    assert ask(lab.pods["c"], PODS["a"][1], 80).startswith("a ")


@pytest.fixture
def services(lab: Lab) -> Iterator[None]:
    """One Service with all three pods, programmed on both nodes."""
    made = service(ports=({"port": 8080, "name": "http", "nodePort": 30080},), type="NodePort")
    ends = [endpoint(address, node) for node, address in PODS.values()]
    kernels = []
    for node in lab.nodes.values():
        view = NodeView(node.site.node_name, addresses=(node.site.address,))
        table, kernel = Table(view.name), Kernel(node.netns.fd)
        kernel.adopt(table, view)
        table.update(key_of(made), frontends(made, [slice_of(*ends)], view))
        kernel.apply(table)
        kernels.append(kernel)
    yield
    for kernel in kernels:
        kernel.remove()
        kernel.close()


@pytest.mark.usefixtures("services")
@pytest.mark.parametrize(
    ("source", "address", "port"),
    [
        ("a", CLUSTER_IP, 8080),
        ("c", CLUSTER_IP, 8080),
        ("n1", CLUSTER_IP, 8080),
        ("n2", CLUSTER_IP, 8080),
        ("a", "192.168.60.132", 30080),
        ("n1", "192.168.60.131", 30080),
        ("n1", "192.168.60.132", 30080),
        ("outside", "192.168.60.131", 30080),
        ("outside", "192.168.60.132", 30080),
    ],
)
def test_services_answer_from_every_pod_of_both_nodes(
    lab: Lab, source: str, address: str, port: int
) -> None:
    """Pods of one node, too: without br_netfilter a bridged reply would miss its translation."""
    where = lab.source(source)
    found = Counter(ask(where, address, port).partition(" ")[0] for _ in range(40))
    assert found.keys() == {"a", "b", "c"}


@pytest.mark.usefixtures("services")
def test_a_cluster_ip_answers_an_outside_host_that_has_a_route(lab: Lab) -> None:
    assert ask(lab.outside, CLUSTER_IP, 8080, timeout=0.2) in ("timeout", "no-route")
    lab.outside.ip("route add 10.96.0.0/12 via 192.168.60.131")
    try:
        found = {ask(lab.outside, CLUSTER_IP, 8080).partition(" ")[0] for _ in range(40)}
    finally:
        lab.outside.ip("route delete 10.96.0.0/12 via 192.168.60.131")
    assert found == {"a", "b", "c"}


def test_host_ports_lead_to_their_pods(lab: Lab) -> None:
    wiring = lab.nodes["n1"].wiring
    wiring.set_host_ports(
        [
            lease("a", HostPort("TCP", 8081, 80)),
            lease("b", HostPort("TCP", 8082, 80, "192.168.60.131")),
        ]
    )
    sources = ("outside", "n1", "n2", "a", "c")
    for name in sources:
        assert ask(lab.source(name), "192.168.60.131", 8081).startswith("a "), name
        assert ask(lab.source(name), "192.168.60.131", 8082).startswith("b "), name
    assert ask(lab.nodes["n1"].netns, "127.0.0.1", 8081).startswith("a ")
    assert ask(lab.nodes["n1"].netns, "127.0.0.1", 8082) == "refused"
    wiring.set_host_ports([lease("a")])
    assert ask(lab.outside, "192.168.60.131", 8081) == "refused"


def test_twenty_pods_come_and_go_without_a_trace(lab: Lab) -> None:
    node = lab.nodes["n2"]
    before = node.wiring.attached()
    with namespaces(*(f"pod{number}" for number in range(20))) as pods:
        for number, pod in enumerate(pods):
            made = Lease(f"10.244.2.{100 + number}", f"many-{number}")
            node.wiring.attach(made, node.site.subnet, pod.path)
        assert len(node.wiring.attached()) == len(before) + 20
        for number in range(20):
            node.wiring.detach(f"many-{number}")
    assert node.wiring.attached() == before
