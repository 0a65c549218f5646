"""The fixed chains, word for word, and what a frontend adds to the maps."""

from pathlib import Path

import pytest

from tests.support.services import endpoint, service, slice_of
from todoku.linux.nftables import Verdict
from todoku.proxy import FrontendKey, NodeView, frontends, rules
from todoku.proxy.rules import decode_key, encode_key

GOLDEN = Path(__file__).parent / "golden"
NODE = NodeView("n1", addresses=("192.168.11.132",))


def test_the_fixed_chains_are_the_golden_ones() -> None:
    """After a deliberate change: write the new text to the golden file and read the difference."""
    assert rules.base() + "\n" == (GOLDEN / "base.nft").read_text()


def test_the_chains_of_a_sticky_service_are_the_golden_ones() -> None:
    made = frontends(
        service(sessionAffinity="ClientIP", externalTrafficPolicy="Local", type="NodePort",
                ports=({"port": 8080, "name": "http", "nodePort": 30080},)),
        [slice_of(endpoint("10.244.1.2"), endpoint("10.244.2.2", "n2"))],
        NODE,
    )  # fmt: skip
    (affinity,) = rules.affinity(made).values()
    assert affinity.text() + "\n" == (GOLDEN / "affinity.nft").read_text()


def test_a_sticky_client_stays_on_its_node_under_internal_traffic_policy_local() -> None:
    """Although a node port of the same Service leads it, and its memory, to every endpoint."""
    made = frontends(
        service(sessionAffinity="ClientIP", internalTrafficPolicy="Local", type="NodePort",
                ports=({"port": 8080, "name": "http", "nodePort": 30080},)),
        [slice_of(endpoint("10.244.1.2"), endpoint("10.244.2.2", "n2"))],
        NODE,
    )  # fmt: skip
    (affinity,) = rules.affinity(made).values()
    chains = {
        frontend.at.value: element.value.chain.partition("affinity-")[0]
        for frontend in made
        for element in rules.elements(frontend)
        if element.set == "sticky" and isinstance(element.value, Verdict)
    }
    assert chains == {"clusterIP": "local-", "nodePort": ""}
    assert [one.address for one in affinity.local] == ["10.244.1.2"]
    assert [one.address for one in affinity.cluster] == ["10.244.1.2", "10.244.2.2"]


def test_the_layout_name_follows_the_fixed_text(monkeypatch: pytest.MonkeyPatch) -> None:
    before = rules.layout()
    monkeypatch.setattr(rules, "_BASE", rules._BASE + "#")
    assert rules.layout() != before


def test_only_small_maps_lead_to_chains() -> None:
    """Or the kernel would walk every Service of the table whenever one is added."""
    ends = [endpoint(f"10.244.1.{n}") for n in (2, 3, 4)]
    (frontend,) = frontends(service(), [slice_of(*ends)], NODE)
    assert not any(isinstance(element.value, Verdict) for element in rules.elements(frontend))


@pytest.mark.parametrize(
    "key",
    [FrontendKey("10.96.0.20", "TCP", 8080), FrontendKey("192.168.11.132", "UDP", 30053)],
    ids=str,
)
def test_an_elements_key_tells_its_frontend(key: FrontendKey) -> None:
    assert decode_key(encode_key(key)) == key


def test_a_service_of_three_endpoints_is_five_elements() -> None:
    ends = [endpoint(f"10.244.1.{n}") for n in (2, 3, 4)]
    (frontend,) = frontends(service(), [slice_of(*ends)], NODE)
    assert [element.set for element in rules.elements(frontend)] == [
        "services",
        "endpoints-3",
        "endpoints-3",
        "endpoints-3",
        "cluster-ips",
    ]


def test_every_rule_of_a_service_names_it() -> None:
    (frontend,) = frontends(service(), [slice_of(endpoint("10.244.1.2"))], NODE)
    found = {e.comment for e in rules.elements(frontend) if e.set == "services"}
    assert found == {"default/web:http"}
