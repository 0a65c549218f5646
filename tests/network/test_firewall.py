"""The fixed rules, word for word, and the elements of host ports."""

from pathlib import Path

from todoku.api.podnetwork import HostPort
from todoku.network import firewall
from todoku.network.ipam import Lease

GOLDEN = Path(__file__).parent / "golden" / "rules.nft"


def test_the_rules_are_the_golden_ones() -> None:
    """After a deliberate change: write the new text to the golden file and read the difference."""
    made = firewall.load(cluster="10.244.0.0/16", node="10.244.1.0/24", bridge="cni0")
    assert made == GOLDEN.read_text()


def lease(address: str, *ports: HostPort) -> Lease:
    return Lease(address, f"uid-{address}", "default", f"pod-{address}", ports)


def test_a_host_port_is_one_element_with_its_owner() -> None:
    made = firewall.host_port_elements([lease("10.244.1.2", HostPort("TCP", 8080, 80))])
    assert [(e.set, e.comment) for e in made] == [
        ("host-ports", "default/pod-10.244.1.2 uid-10.244.1.2"),
        ("hairpin", ""),
    ]


def test_ports_on_different_host_addresses_and_protocols_do_not_collide() -> None:
    """The conformance suite runs three such pods on one node."""
    made = firewall.host_port_elements(
        [
            lease("10.244.1.2", HostPort("TCP", 54323, 80, "127.0.0.1")),
            lease("10.244.1.3", HostPort("TCP", 54323, 80, "192.168.11.132")),
            lease("10.244.1.4", HostPort("UDP", 54323, 80, "192.168.11.132")),
        ]
    )
    assert len({e.identity for e in made if e.set == "host-ip-ports"}) == 3


def test_of_two_pods_that_want_one_port_the_first_address_wins() -> None:
    both = [lease(a, HostPort("TCP", 80, 80)) for a in ("10.244.1.10", "10.244.1.9")]
    (element,) = (e for e in firewall.host_port_elements(both) if e.set == "host-ports")
    assert "10.244.1.9" in element.comment
