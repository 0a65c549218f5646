"""What a Service must look like, in upstream's words and order."""

import pytest

from todoku.api.meta import copy
from todoku.api.resources.service import default, prepare_create
from todoku.api.resources.service_validation import validate, validate_status

PORT = {"port": 80, "protocol": "TCP", "targetPort": 80}


def service(annotations=None, **spec):
    made = {
        "metadata": {"name": "s", "annotations": annotations or {}},
        "spec": {"ports": [dict(PORT)], **spec},
    }
    default(made)
    prepare_create(made)
    return made


def said(problems):
    return [f"{one.path}: {one.message}" for one in problems]


ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
SOURCES = "service.beta.kubernetes.io/load-balancer-source-ranges"
HINTS, MODE = (
    "service.kubernetes.io/topology-aware-hints",
    "service.kubernetes.io/topology-mode",
)
CASES = [
    ({}, []),
    (
        {"ports": [PORT | {"name": "a"}, PORT | {"name": "b"}]},
        [
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,'
            '"TargetPort":0,"NodePort":0}'
        ],
    ),
    (
        {
            "ports": [
                PORT | {"name": "a", "nodePort": 30000},
                PORT | {"name": "b", "nodePort": 30000, "port": 81},
            ]
        },
        [
            "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
            "spec.ports[1].nodePort: Duplicate value: 30000",
        ],
    ),
    (
        {"clusterIPs": ["1.2.3.4"]},
        ['spec.clusterIPs: Invalid value: ["1.2.3.4"]: must be empty when `clusterIP` is not specified'],
    ),
    (
        {"clusterIP": "None", "clusterIPs": ["None", "1.2.3.4"]},
        ['spec.clusterIPs: Invalid value: ["None","1.2.3.4"]: \'None\' must be the first and only value'],
    ),
    (
        {"clusterIP": "01.2.3.4"},
        ['spec.clusterIPs[0]: Invalid value: "01.2.3.4": must not have leading 0s'],
    ),
    (
        {"clusterIP": "::ffff:1.2.3.4"},
        [
            'spec.clusterIPs[0]: Invalid value: "::ffff:1.2.3.4": must not be an IPv4-mapped IPv6 address'
        ],
    ),
    (
        {"clusterIP": "x", "ipFamilies": ["x", "x"]},
        [
            'spec.ipFamilies[0]: Unsupported value: "x": supported values: "IPv4", "IPv6"',
            'spec.ipFamilies[1]: Unsupported value: "x": supported values: "IPv4", "IPv6"',
            'spec.ipFamilies[1]: Duplicate value: "x"',
            f'spec.clusterIPs[0]: Invalid value: "x": {ADDRESS}',
        ],
    ),
    (
        {"loadBalancerSourceRanges": ["10.0.0.1/8 "]},
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the'
            " prefix length",
        ],
    ),
    (
        {"type": "LoadBalancer", "annotations": {SOURCES: "10.0.0.0/8, x"}},
        [
            f'metadata.annotations[{SOURCES}]: Invalid value: "x": must be a valid CIDR value,'
            " (e.g. 10.9.8.0/24 or 2001:db8::/64)"
        ],
    ),
    (
        {"type": "LoadBalancer", "externalTrafficPolicy": "Local"},
        ["spec.healthCheckNodePort: Required value"],
    ),
    (
        {"annotations": {HINTS: "auto", MODE: "Auto"}},
        [
            f'metadata.annotations[{MODE}]: Invalid value: "Auto": must match annotations[{HINTS}] when both are'
            " specified"
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), CASES)
def test_a_service_is_refused_in_upstreams_words_and_order(spec, wanted):
    assert said(validate(service(**spec), None)) == wanted


DUAL = {
    "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
    "ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack",
}  # fmt: skip
CHANGES = [
    ({"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack"}, []),
    (
        {"clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]},
        [
            'spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be set to \'SingleStack\' when releasing the'
            f" secondary {what}"
            for what in ("clusterIP", "ipFamily")
        ],
    ),
    (
        {"clusterIPs": ["10.0.0.1", "fd00::2"]},
        ['spec.clusterIPs[1]: Invalid value: ["10.0.0.1","fd00::2"]: may not change once set'],
    ),
    ({"clusterIP": "None", "clusterIPs": ["None"]}, [
        'spec.clusterIPs[0]: Invalid value: ["None"]: may not change once set',
        'spec.ipFamilyPolicy: Invalid value: "PreferDualStack": must be set to \'SingleStack\' when releasing the'
        " secondary clusterIP",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "wanted"), CHANGES)
def test_addresses_and_families_change_as_upstream_lets_them(change, wanted):
    old = service(**DUAL)
    new = copy(old)
    new["spec"] |= change
    assert said(validate(new, old)) == wanted


def test_addresses_of_before_stay_although_they_are_malformed():
    old = service(clusterIP="010.0.0.1")
    assert validate(copy(old), old) == []


def test_only_load_balancers_have_their_status():
    old = service()
    new = copy(old)
    new["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}
    assert said(validate_status(new, old)) == [
        "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    ]
