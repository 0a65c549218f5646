"""Small kinds of the core group, in upstream's words and order."""

import pytest

from todoku.api import validation
from todoku.api.meta import copy
from todoku.api.resources import registry
from todoku.api.resources.namespace import finalize_problems

LABEL = validation.dns1123_label("_")[0]
BARE = "name is neither a standard finalizer name nor is it fully qualified"
ADDRESS = {"ip": "10.0.0.1"}


def made(plural, fields):
    kind = registry().find(plural)
    obj = copy({"metadata": {"name": "x"}, **fields})
    kind.strategy.default(obj)
    kind.strategy.prepare_create(obj)
    return kind, obj


def subsets(*addresses, **port):
    return {"subsets": [{"addresses": list(addresses), "ports": [{"port": 80, **port}]}]}


def docker(text):
    return {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": text}}


CASES = [
    ("configmaps", {"data": {"a": "x" * 1024 * 1025}}, ["[]: Too long: may not be more than 1048576 bytes"]),
    (
        "configmaps",
        {"data": {"a": ""}, "binaryData": {"a": ""}},
        [
            'data[a]: Invalid value: "a": duplicate of key present in binaryData',
            'binaryData[a]: Invalid value: "a": duplicate of key present in data',
        ],
    ),
    (
        "secrets", {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}},
        ["data[ssh-privatekey]: Required value"],
    ),
    ("secrets", docker("{}"), []),
    (
        "secrets", docker("[]"),
        [
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into Go'
            " value of type map[string]interface {}",
        ],
    ),
    (
        "secrets", docker("{"),
        [
            'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input',
        ],
    ),
    ("namespaces", {"spec": {"finalizers": ["mine"]}}, [f'spec.finalizers: Invalid value: "mine": {BARE}']),
    (
        "endpoints", {"subsets": [{}]},
        ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"],
    ),
    (
        "endpoints", subsets({"ip": "127.0.0.1", "hostname": "_", "nodeName": "a"}, protocol="x", appProtocol="a/b"),
        [
            f'subsets[0].addresses[0].hostname: Invalid value: "_": {LABEL}',
            'subsets[0].addresses[0].ip: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8,'
            " ::1/128)",
            'subsets[0].ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"',
        ],
    ),
    (
        "replicationcontrollers", {"spec": {"replicas": -1, "minReadySeconds": -1}},
        [
            "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Required value",
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.template: Required value",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("plural", "fields", "wanted"), CASES)
def test_small_kinds_are_refused_in_upstreams_words(plural, fields, wanted):
    kind, obj = made(plural, fields)
    assert [str(one) for one in kind.strategy.validate(obj, None)] == wanted


def test_finalizing_says_which():
    _, old = made("namespaces", {})
    new = copy(old)
    new["spec"]["finalizers"] = ["kubernetes", "mine"]
    found = [str(one) for one in finalize_problems(new, old)]
    assert found == [f'spec.finalizers[1]: Invalid value: "mine": {BARE}']


def test_endpoints_stay_as_they_were():
    kind, old = made("endpoints", subsets({"ip": "010.0.0.1"}))
    assert kind.strategy.validate(copy(old), old) == []
    assert kind.strategy.warnings(old, None) == [
        'subsets[0].addresses[0].ip: non-standard IP address "010.0.0.1" will be considered invalid in a future'
        ' Kubernetes release: use "10.0.0.1"'
    ]
    new = copy(old)
    new["subsets"][0]["addresses"].append({"ip": "010.0.0.2"})
    assert [str(one) for one in kind.strategy.validate(new, old)] == [
        'subsets[0].addresses[1].ip: Invalid value: "010.0.0.2": must not have leading 0s'
    ]


def test_what_is_immutable_comes_first():
    kind, old = made("secrets", {"data": {"a": "eA=="}, "immutable": True})
    new = {**copy(old), "data": {"!": "eA=="}, "type": "x"}
    found = [str(one).partition(":")[0] for one in kind.strategy.validate(new, old)]
    assert found == ["type", "data", "data[!]"]
