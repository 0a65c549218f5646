"""However Services and endpoints change, the kernel holds what their present state asks for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.netns import namespaces
from tests.support.services import endpoint, service, slice_of
from todoku.api.meta import Key, Object, key_of
from todoku.linux.nftables import Element
from todoku.proxy import FrontendKey, Kernel, NodeView, Table, frontends, rules

pytestmark = pytest.mark.kernel

NODE = NodeView("n1", addresses=("192.168.11.132",), zone="east")
POLICY = st.sampled_from(["Cluster", "Local"])
RANGES = st.lists(
    st.sampled_from(["10.0.0.0/8", "192.168.11.0/24", "203.0.113.9/32", "fd00::/8"]),
    max_size=2,
    unique=True,
)
ENDPOINT = st.builds(
    endpoint,
    st.integers(2, 9).map(lambda n: f"10.244.1.{n}"),
    st.sampled_from(["n1", "n2"]),
    ready=st.booleans(),
    serving=st.booleans(),
    terminating=st.booleans(),
    zones=st.sampled_from([(), ("east",), ("west",)]),
)


@dataclass(frozen=True)
class Change:
    """One Service as it is from now on; None when it is deleted."""

    number: int
    spec: dict[str, Any] | None
    endpoints: tuple[Object, ...] = ()

    @property
    def key(self) -> Key:
        return Key("default", f"svc-{self.number}")

    def objects(self) -> tuple[Object, list[Object]]:
        assert self.spec is not None
        protocol = "UDP" if self.number % 2 else "TCP"
        port = {"port": 80, "name": "p", "protocol": protocol, "nodePort": 30000 + self.number}
        made = service(
            self.key.name, ports=(port,), cluster_ip=f"10.96.0.{10 + self.number}", **self.spec
        )
        piece = slice_of(*self.endpoints, name=self.key.name, port_name="p", protocol=protocol)
        return made, [piece]


SPEC = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["ClusterIP", "NodePort", "LoadBalancer"]),
        "externalTrafficPolicy": POLICY,
        "internalTrafficPolicy": POLICY,
        "sessionAffinity": st.sampled_from(["None", "None", "ClientIP"]),
        "loadBalancerSourceRanges": RANGES,
        "ingress": st.sampled_from([(), ({"ip": "192.168.11.136"},), ({"ip": "192.168.11.137"},)]),
    }
)
CHANGES = st.lists(
    st.builds(
        Change,
        st.integers(0, 5),
        st.none() | SPEC,
        st.lists(ENDPOINT, max_size=7, unique_by=lambda e: e["addresses"][0]).map(tuple),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
def kernel() -> Iterator[Kernel]:
    with namespaces("n1") as (netns,), Kernel(netns.fd) as kernel:
        yield kernel


def wanted(state: dict[Key, Change]) -> set[Element]:
    """The elements for a state, made from scratch; of two claims the first name wins."""
    claimed: dict[FrontendKey, Any] = {}
    for key in sorted(state):
        made, slices = state[key].objects()
        for frontend in frontends(made, slices, NODE):
            claimed.setdefault(frontend.key, frontend)
    return {
        element
        for frontend in claimed.values()
        for element in (*rules.elements(frontend), *rules.hairpins(frontend, "n1"))
    }


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, cut=st.integers(0, 12))
def test_any_history_ends_in_the_state_of_its_last_objects(
    kernel: Kernel, changes: list[Change], cut: int
) -> None:
    """`cut` is where the proxy is restarted: a new one adopts what the old one left."""
    table = Table("n1")
    kernel.adopt(table, NODE)
    state: dict[Key, Change] = {}
    for number, change in enumerate(changes):
        if number == cut:
            table = Table("n1")
            kernel.adopt(table, NODE)
            for key in state:
                update(table, state[key])
        if change.spec is None:
            state.pop(change.key, None)
            table.update(change.key, [])
        else:
            state[change.key] = change
            update(table, change)
        kernel.apply(table)
        assert set(kernel.dump()) == wanted(state) == set(table.desired())
    for key in list(state):
        table.update(key, [])
    kernel.apply(table)
    assert kernel.dump() == [] and table.plan().empty


def update(table: Table, change: Change) -> None:
    made, slices = change.objects()
    table.update(key_of(made), frontends(made, slices, NODE))
