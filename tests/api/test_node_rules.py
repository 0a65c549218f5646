"""What Nodes and LimitRanges must look like, in upstream's words and order."""

import pytest

from todoku.api import validation
from todoku.api.meta import copy
from todoku.api.resources import registry

NODES, LIMITS = registry().find("nodes"), registry().find("limitranges")
VALUE = validation.label_value_problems("_")[0]
NODE_CASES = [
    ({"spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.1.0/24"]}}, []),
    (
        {"spec": {"podCIDRs": ["10.0.0.1/24", "10.0.0.1/24"]}},
        [
            'spec.podCIDRs[0]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length',
            'spec.podCIDRs[1]: Invalid value: "10.0.0.1/24": must not have bits set beyond the prefix length',
            'spec.podCIDRs: Invalid value: ["10.0.0.1/24","10.0.0.1/24"]: may specify no more than one CIDR for each'
            " IP family",
            'spec.podCIDRs[1]: Duplicate value: "10.0.0.1/24"',
        ],
    ),
    (
        {"spec": {"taints": [{"key": "a", "value": "_", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}},
        [
            f'metadata.taints[0].value: Invalid value: "_": {VALUE}',
            'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoExecute","TimeAdded":null}:'
            " taints must be unique by key and effect pair",
        ],
    ),
    (
        {"status": {"capacity": {"cpu": "-1", "pods": "1500m"}, "allocatable": {}}},
        [
            'status.capacity.cpu: Invalid value: "-1": must be greater than or equal to 0',
            "status.capacity.pods: Invalid value: 1500m: must be an integer",
        ],
    ),
]  # fmt: skip


def node(**fields):
    made = {"metadata": {"name": "n"}, **copy(fields)}
    NODES.strategy.default(made)
    return made


@pytest.mark.parametrize(("fields", "wanted"), NODE_CASES)
def test_a_node_is_told_what_is_wrong_with_it(fields, wanted):
    assert [str(one) for one in NODES.strategy.validate(node(**fields), None)] == wanted


def test_what_a_node_has_can_be_used_and_its_first_network_has_two_names():
    made = node(spec={"podCIDR": "10.0.0.0/24"}, status={"capacity": {"cpu": "1"}})
    assert made["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    assert made["status"]["allocatable"] == {"cpu": "1"}
    assert node(spec={"podCIDRs": ["10.0.0.0/24"]})["spec"]["podCIDR"] == "10.0.0.0/24"


def test_changes_of_a_node():
    old = node(spec={"podCIDR": "10.0.0.0/24", "providerID": "a", "externalID": "x"})
    new = node(
        spec={"podCIDR": "10.0.1.0/24", "configSource": {}},
        status={"addresses": [{"type": "Hostname", "address": "n"}] * 2},
    )
    assert [str(one) for one in NODES.strategy.validate(new, old)] == [
        'status.addresses[1]: Duplicate value: {"Type":"Hostname","Address":"n"}',
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
        'spec.configSource: Invalid value: {"ConfigMap":null}: exactly one reference subfield must be non-nil',
        "spec.externalID: Forbidden: may not be updated",
    ]
    assert NODES.strategy.warnings(new, old) == ["spec.configSource: the feature is removed"]


LIMIT_CASES = [
    ({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}}, []),
    (
        {"type": "Thing", "max": {"cpus": "1"}},
        [
            'type: Invalid value: "Thing": must be a standard limit type or fully qualified',
            'max[cpus]: Invalid value: "cpus": must be a standard resource type or fully qualified',
        ],
    ),
    (
        {"type": "Pod", "max": {"cpu": "1"}, "min": {"cpu": "2"}, "default": {"cpu": "1"}},
        [
            "default: Forbidden: may not be specified when `type` is 'Pod'",
            "min[cpu]: Invalid value: 2: min value 2 is greater than max value 1",
        ],
    ),
    (
        {"type": "Pod", "max": {"cpu": "2"}, "min": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2500m", "memory": "500m"}},
        [
            "maxLimitRequestRatio[cpu]: Invalid value: 2500m: ratio 2500m is greater than max/min = 2.000000",
            "maxLimitRequestRatio[memory]: Invalid value: 500m: ratio 500m is less than 1",
        ],
    ),
    (
        {"type": "Container", "default": {"a.b/gpu": "2"}, "defaultRequest": {"a.b/gpu": "1"}},
        [
            "defaultRequest[a.b/gpu]: Invalid value: 1: default value 2 must equal to defaultRequest value 1 in a.b/gpu",
        ],
    ),
    (
        {"type": "PersistentVolumeClaim", "max": {"x.y/z": "1"}},
        [
            "limits: Required value: either minimum or maximum storage value is required, but neither was provided",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("limit", "wanted"), LIMIT_CASES)
def test_a_limit_is_told_what_is_wrong_with_it(limit, wanted):
    made = {"metadata": {"name": "l"}, "spec": {"limits": [copy(limit)]}}
    LIMITS.strategy.default(made)
    found = [str(one) for one in LIMITS.strategy.validate(made, None)]
    assert found == [f"spec.limits[0].{text}" for text in wanted]
