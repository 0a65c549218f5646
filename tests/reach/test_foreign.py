"""A cluster that is not a lab: what its API tells, what nobody can predict, and which Jobs ask."""

from dataclasses import replace

import pytest

from tests.reach.article import node, service, with_ingress, world
from todoku.reach.foreign import LOCAL, Local, sources, topology
from todoku.reach.judge import matching_sources
from todoku.reach.outcome import Code, Outcome
from todoku.reach.predict import predict
from todoku.reach.targets import addresses


def foreign_node(name: str, address: str, ready: str = "True"):
    status = {
        "addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": address}],
        "conditions": [{"type": "Ready", "status": ready}],
    }  # fmt: skip
    return node(name) | {"status": status, "metadata": {"name": f"{name}.internal", "labels": {}}}


NODES = [
    foreign_node("master1", "127.0.0.2"),
    foreign_node("worker1", "127.0.0.3"),
    foreign_node("worker2", "127.0.0.4", "Unknown"),
]
TOPOLOGY = topology(NODES)


def foreign_world(*services):
    return replace(
        world(*services, pools=[], l2_advertisements=[], nodes=NODES),
        machines=TOPOLOGY.machines,
        gateway="unknown",
    )


def test_nodes_are_machines_and_this_machine_is_outside():
    shown = [(one.name, one.kind, one.powered) for one in TOPOLOGY.machines]
    assert shown == [
        ("master1.internal", "node", True),
        ("worker1.internal", "node", True),
        ("worker2.internal", "node", False),
        (LOCAL, "outside", True),
    ]


def test_nodes_are_sources_only_when_asked_for():
    here = foreign_world(service())
    pods = ["pod@master1", "pod@worker1", "pod@worker2"]
    assert [one.name for one in sources(here, nodes=False)] == [*pods, LOCAL]
    assert [one.name for one in matching_sources("pod@*", sources(here, nodes=True))] == pods
    (found,) = matching_sources("node/worker1", sources(here, nodes=True))
    assert (found.kind, found.machine) == ("node", "worker1.internal")


PREDICTED = [
    ("a pod", LOCAL, "10.244.1.2:80", {"timeout", "no-route", "refused"}, Code.POD_NETWORK_INSIDE_ONLY),
    ("the ClusterIP", LOCAL, "ClusterIP:8080", {"timeout", "no-route", "refused"}, Code.CLUSTERIP_INSIDE_ONLY),
    ("a node port", LOCAL, "master1:30080", {"ok", "timeout", "no-route"}, Code.OPEN),
    ("a node that is not Ready", LOCAL, "worker2:30080", {"timeout", "no-route"}, Code.NODE_DOWN),
    ("the ClusterIP from a pod", "pod@master1", "ClusterIP:8080", {"ok", "timeout", "no-route"}, Code.OPEN),
]  # fmt: skip


@pytest.mark.parametrize(("name", "to", "words", "code"), [r[1:] for r in PREDICTED], ids=[r[0] for r in PREDICTED])  # fmt: skip
def test_a_prediction_holds_what_the_api_tells(name, to, words, code):
    here = foreign_world(with_ingress(service("LoadBalancer")))
    source = next(one for one in sources(here, nodes=False) if one.name == name)
    address = next(one for one in addresses(here, here.services[0]) if one.label == to)
    found = predict(here, source, address)
    assert ({str(one) for one in found.outcomes}, found.code) == (words, code)


BALANCERS = [("an address of somebody's balancer", {"ip": "203.0.113.9"}), ("a name", {"hostname": "lb.example.com"})]  # fmt: skip


@pytest.mark.parametrize("ingress", [r[1] for r in BALANCERS], ids=[r[0] for r in BALANCERS])
def test_a_balancer_that_the_api_does_not_know_is_not_predicted(ingress):
    balanced = service("LoadBalancer") | {"status": {"loadBalancer": {"ingress": [ingress]}}}
    here = foreign_world(balanced)
    local = sources(here, nodes=False)[-1]
    (address,) = [one for one in addresses(here, balanced) if one.at == "lb"]
    prediction = predict(here, local, address)
    assert prediction.code is Code.NOT_PREDICTED
    assert {Outcome.OK, Outcome.TIMEOUT} <= prediction.outcomes
    assert not prediction.open


def test_local_asks_the_machine_s_own_name_servers(tmp_path):
    file = tmp_path / "resolv.conf"
    file.write_text("# x\nnameserver 192.0.2.1\nsearch a.example b.example\nnameserver 192.0.2.2\n")
    found = Local.here(file)
    assert found.nameservers == ("192.0.2.1", "192.0.2.2")
    assert found.search == ("a.example", "b.example")
    assert Local.here(tmp_path / "none") == Local()
