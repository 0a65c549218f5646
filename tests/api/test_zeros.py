"""What typed objects show of fields that nobody set, and what they lose."""

from __future__ import annotations

import pytest

from todoku.api import schemas
from todoku.api.meta import Object
from todoku.api.resources import registry
from todoku.api.zeros import GATED, ZEROS

NODE_INFO = dict.fromkeys(ZEROS["io.k8s.api.core.v1.NodeSystemInfo"], "")

SHOWN: dict[str, tuple[str, Object, Object]] = {
    "a lease without a spec": ("leases.coordination.k8s.io", {}, {"spec": {}}),
    "an event of the core group": (
        "events",
        {"reportingComponent": "kubelet"},
        {
            "reportingComponent": "kubelet", "reportingInstance": "", "source": {}, "eventTime": None,
            "firstTimestamp": None, "lastTimestamp": None,
        },
    ),
    "a node that nobody described": (
        "nodes",
        {},
        {
            "spec": {},
            "status": {"daemonEndpoints": {"kubeletEndpoint": {"Port": 0}}, "nodeInfo": NODE_INFO},
        },
    ),
    "lists that are empty": (
        "endpointslices.discovery.k8s.io",
        {"endpoints": [], "ports": []},
        {"endpoints": None, "ports": None},
    ),
    "structs within lists": (
        "endpointslices.discovery.k8s.io",
        {"endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "", "protocol": "TCP"}]},
        {
            "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {}}],
            "ports": [{"name": "", "protocol": "TCP"}],
        },
    ),
    "structs within structs": (
        "resourceclaimtemplates.resource.k8s.io",
        {},
        {"spec": {"metadata": {}, "spec": {"devices": {}}}},
    ),
    "a limit range without limits": ("limitranges", {}, {"spec": {"limits": None}}),
    "a gate that is off": (
        "leases.coordination.k8s.io",
        {"spec": {"strategy": "OldestEmulationVersion", "leaseTransitions": 1}},
        {"spec": {"leaseTransitions": 1}},
    ),
    "a driver that nobody registered": ("csinodes.storage.k8s.io", {}, {"spec": {"drivers": None}}),
}  # fmt: skip


@pytest.mark.parametrize(("resource", "obj", "shown"), SHOWN.values(), ids=SHOWN)
def test_an_object_shows_what_go_shows(resource, obj, shown):
    found = registry().find(resource)
    found.strategy.default(obj)
    assert obj == shown
    found.strategy.default(obj)
    assert obj == shown


def test_zero_values_of_two_objects_are_not_shared():
    one, other = {}, {}
    for obj in (one, other):
        registry().find("leases.coordination.k8s.io").strategy.default(obj)
    one["spec"]["holderIdentity"] = "me"
    assert other == {"spec": {}}


@pytest.mark.parametrize("definition", sorted({*ZEROS, *GATED}))
def test_every_row_names_fields_of_its_definition(definition):
    named = {*ZEROS.get(definition, ()), *GATED.get(definition, ())}
    assert named <= set(schemas.definition(definition)["properties"])
