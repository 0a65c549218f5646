"""What a host outside hears when it asks for an address that only the cluster knows, by the lab file's `gateway:`."""

import socket
from collections.abc import Callable, Iterator

import pytest

from todoku.lab import labfile, lifecycle
from todoku.lab.lab import Lab
from todoku.lab.lab import open as open_lab
from todoku.linux.links import Links
from todoku.linux.namespaces import socket_in

pytestmark = pytest.mark.kernel

LAB = """
gateway: {policy}
nodes: [{{name: master1, address: 192.168.11.131, role: control-plane}}]
hosts: [{{name: client, address: 192.168.11.201}}]
"""


@pytest.fixture(params=["reject", "none"])
def lab(request: pytest.FixtureRequest, lab_name: Callable[[str], str]) -> Iterator[Lab]:
    name = lab_name(request.param)
    topology = labfile.parse(LAB.format(policy=request.param), name=name)
    try:
        lifecycle.up(name, topology, wait=False)
        yield open_lab(name)
    finally:
        lifecycle.down(name)


def test_every_question_is_refused_at_once_not_only_the_first_few(lab: Lab) -> None:
    client = lab.host("client").namespaces
    assert client is not None
    for port in range(8000, 8040):
        with socket_in(client.net, socket.AF_INET, socket.SOCK_STREAM) as asking:
            asking.settimeout(2)
            with pytest.raises(OSError, match=r"unreachable|No route"):
                asking.connect(("10.244.0.2", port))


def test_a_node_has_a_default_route_all_the_same_because_a_cluster_ip_needs_one(lab: Lab) -> None:
    node = lab.host("master1").namespaces
    assert node is not None
    with Links(node.net) as links:
        assert any(route.destination == "0.0.0.0/0" for route in links.routes())
