"""The lab file: what it means, and how it is refused."""

import pytest
import yaml

from todoku.lab import labfile
from todoku.lab.labfile import LabFileError, parse
from todoku.lab.topology import document


def test_the_default_is_the_articles_topology() -> None:
    lab = labfile.default()
    assert [(node.name, node.address, node.role) for node in lab.nodes] == [
        ("master1.internal", "192.168.11.131", "control-plane"),
        ("worker1.internal", "192.168.11.132", "worker"),
        ("worker2.internal", "192.168.11.133", "worker"),
    ]
    assert [(host.name, host.address) for host in lab.hosts] == [
        ("rhel8host", "192.168.11.201"),
        ("al9host", "192.168.11.202"),
    ]
    assert (lab.pod_cidr, lab.service_cidr, lab.gateway) == (
        "10.244.0.0/16",
        "10.96.0.0/12",
        "drop",
    )
    assert (lab.kubernetes_service, lab.dns_service) == ("10.96.0.1", "10.96.0.10")


def test_a_control_plane_node_has_what_kubeadm_gives_it() -> None:
    master = labfile.default().control_plane
    assert set(master.labels) == {
        "node-role.kubernetes.io/control-plane",
        "node.kubernetes.io/exclude-from-external-load-balancers",
    }
    assert [(taint.key, taint.effect) for taint in master.taints] == [
        ("node-role.kubernetes.io/control-plane", "NoSchedule")
    ]


def test_an_empty_file_is_the_default() -> None:
    assert parse("") == labfile.default()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(labfile.DEFAULT, id="default"),
        pytest.param(
            """
name: small
lan: {cidr: 10.1.0.0/24, gateway: 10.1.0.254}
gateway: reject
nodes:
  - {name: one, address: 10.1.0.1, role: control-plane, taints: [], labels: {disk: ssd}}
  - {name: two.example, address: 10.1.0.2, taints: [{key: k, value: v, effect: NoExecute}]}
hosts:
  - {name: far, address: 10.1.0.9, routes: {10.96.0.0/12: 10.1.0.1}}
timings: kubernetes
images: {order: [recipe, store]}
shares: [{path: /srv, at: /mnt/srv, readOnly: true}]
""",
            id="everything set",
        ),
    ],
)
def test_a_topology_written_out_reads_back_the_same(text: str) -> None:
    topology = parse(text)
    assert parse(yaml.safe_dump(document(topology))) == topology


def test_machines_are_found_by_full_and_by_short_name() -> None:
    lab = labfile.default()
    assert lab.find("master1") is lab.find("master1.internal") is lab.nodes[0]
    assert lab.find("al9host") is lab.hosts[1]
    assert lab.find("nowhere") is None


def test_the_same_machine_has_the_same_mac_and_another_lab_another() -> None:
    one, two = labfile.default(), labfile.default("second")
    assert one.mac("worker1.internal") == labfile.default().mac("worker1.internal")
    assert one.mac("worker1.internal") != two.mac("worker1.internal")
    first = int(one.mac("worker1.internal")[:2], 16)
    assert (first & 1, first & 2) == (0, 2)  # unicast, locally administered


BAD = {
    "overlapping ranges": (
        "podCIDR: 10.96.0.0/16\n",
        "lab.yaml:1: serviceCIDR: 10.96.0.0/12 overlaps podCIDR 10.96.0.0/16; choose ranges apart",
    ),
    "unknown field": (
        "name: x\nnodez: []\n",
        "lab.yaml:2: nodez: unknown field; known are apiVersion, kind, name, lan, gateway, nodes, hosts,"
        " podCIDR, serviceCIDR, timings, images and shares",
    ),
    "unknown field of a node": (
        "nodes:\n  - name: a\n    address: 192.168.11.2\n    role: control-plane\n    adress: x\n",
        "lab.yaml:5: nodes[0].adress: unknown field; known are name, address, role, labels and taints",
    ),
    "duplicate address": (
        "nodes:\n  - {name: a, address: 192.168.11.2, role: control-plane}\n"
        "  - {name: b, address: 192.168.11.2}\n",
        'lab.yaml:3: nodes[1].address: "192.168.11.2" is already the address of a; use another',
    ),
    "the gateway's address": (
        "nodes:\n  - {name: a, address: 192.168.11.1, role: control-plane}\n",
        'lab.yaml:2: nodes[0].address: "192.168.11.1" is already the address of the gateway; use another',
    ),
    "address outside": (
        "nodes:\n  - {name: a, address: 10.0.0.1, role: control-plane}\n",
        'lab.yaml:2: nodes[0].address: "10.0.0.1" is outside lan.cidr 192.168.11.0/24',
    ),
    "broadcast address": (
        "nodes:\n  - {name: a, address: 192.168.11.255, role: control-plane}\n",
        'lab.yaml:2: nodes[0].address: "192.168.11.255" is the network or broadcast address of'
        " 192.168.11.0/24",
    ),
    "no address at all": (
        "nodes:\n  - {name: a, address: mars, role: control-plane}\n",
        'lab.yaml:2: nodes[0].address: "mars" is not an IPv4 address',
    ),
    "missing address": (
        "nodes:\n  - {name: a, role: control-plane}\n",
        "lab.yaml:2: nodes[0].address: is required",
    ),
    "same short name": (
        "nodes:\n  - {name: a.x, address: 192.168.11.2, role: control-plane}\n"
        "  - {name: a.y, address: 192.168.11.3}\n",
        'lab.yaml:3: nodes[1].name: "a.y" and "a.x" share the short name "a"; rename one',
    ),
    "upper-case name": (
        "nodes:\n  - {name: Master, address: 192.168.11.2, role: control-plane}\n",
        'lab.yaml:2: nodes[0].name: "Master" must be a DNS name of lower-case letters, digits and hyphens,'
        " its first part at most 11 characters and not gateway or lan",
    ),
    "no control plane": (
        "name: x\nnodes:\n  - {name: a, address: 192.168.11.2}\n",
        "lab.yaml:2: nodes: no node has role control-plane; give it to the one that shall carry the API server",
    ),
    "unknown role": (
        "nodes:\n  - {name: a, address: 192.168.11.2, role: master}\n  - {name: b, address: 192.168.11.3, role: control-plane}\n",
        'lab.yaml:2: nodes[0].role: "master" is unknown; use control-plane or worker',
    ),
    "unknown gateway": (
        "gateway: maybe\n",
        'lab.yaml:1: gateway: "maybe" is unknown; use drop, reject or none',
    ),
    "host bits": (
        "podCIDR: 10.244.0.1/16\n",
        'lab.yaml:1: podCIDR: "10.244.0.1/16" has bits outside its prefix; write "10.244.0.0/16"',
    ),
    "not a range": (
        "serviceCIDR: plenty\n",
        'lab.yaml:1: serviceCIDR: "plenty" is not an IPv4 range such as "10.96.0.0/12"',
    ),
    "not YAML": ("nodes: [\n", "lab.yaml:2: not YAML: did not find expected node content"),
    "a tab": ("a:\n\t- b\n", "lab.yaml:2: not YAML: found character that cannot start any token"),
    "not a mapping": (
        "- a\n",
        "lab.yaml:1: must be a mapping with apiVersion, kind, name, lan, gateway, nodes, hosts, podCIDR,"
        " serviceCIDR, timings, images and shares",
    ),
    "a field twice": ("name: a\nname: b\n", "lab.yaml:2: name: given twice; remove one"),
    "a bad lab name": (
        "name: My Lab\n",
        'lab.yaml:1: name: "My Lab" must be at most 32 lower-case letters, digits and hyphens',
    ),
    "a LAN of another range without nodes": (
        "lan: {cidr: 10.0.0.0/24}\n",
        "lab.yaml:1: nodes: a lab needs at least one node",
    ),
    "a share that leaves": (
        "shares: [{path: ../etc, at: /mnt}]\n",
        "lab.yaml:1: shares[0].path: must be an absolute path",
    ),
    "a bad taint effect": (
        "nodes:\n  - {name: a, address: 192.168.11.2, role: control-plane, taints: [{key: k, effect: Never}]}\n",
        'lab.yaml:2: nodes[0].taints[0].effect: "Never" is unknown;'
        " use NoSchedule, PreferNoSchedule or NoExecute",
    ),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD.keys())
def test_a_bad_lab_file_names_line_field_and_remedy(text: str, message: str) -> None:
    with pytest.raises(LabFileError) as refusal:
        parse(text)
    assert str(refusal.value) == message


def test_all_problems_are_told_at_once_in_the_order_of_the_file() -> None:
    with pytest.raises(LabFileError) as refusal:
        parse("gateway: maybe\nname: UP\nbogus: 1\n")
    assert [problem.line for problem in refusal.value.problems] == [1, 2, 3]
