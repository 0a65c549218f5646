"""What PersistentVolumes and their claims must look like and may become, in upstream's words and order."""

import pytest

from todoku.api.meta import copy
from todoku.api.resources import registry

VOLUMES, CLAIMS = registry().find("persistentvolumes"), registry().find("persistentvolumeclaims")
BETA = "volume.beta.kubernetes.io/storage-class"


def made(kind, spec, meta=None, status=None):
    obj = copy({"metadata": {"name": "v", **(meta or {})}, "spec": spec})
    kind.strategy.default(obj)
    kind.strategy.prepare_create(obj)
    return obj | ({"status": status} if status else {})


def problems(kind, new, old=None):
    return [str(one) for one in kind.strategy.validate(new, old)]


VOLUME = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}  # fmt: skip
ZONE = {"required": {"nodeSelectorTerms": [{"matchExpressions": [
    {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "In", "values": ["a"]}]}]}}  # fmt: skip
VOLUME_CASES = [
    ({}, []),
    (
        {"capacity": {}, "accessModes": [], "hostPath": None},
        [
            "spec.accessModes: Required value",
            "spec.capacity: Required value",
            'spec.capacity: Unsupported value: {}: supported values: "storage"',
            "spec: Required value: must specify a volume type",
        ],
    ),
    (
        {"capacity": {"storage": "-1"}, "persistentVolumeReclaimPolicy": "Recycle", "hostPath": {"path": "/"}},
        [
            "spec.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
            'spec.capacity[storage]: Invalid value: "-1": must be greater than zero',
            "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ],
    ),
    (
        {"volumeAttributesClassName": "", "nodeAffinity": {}, "volumeMode": "x"},
        [
            "spec.nodeAffinity.required: Required value: must specify required node constraints",
            'spec.volumeMode: Unsupported value: "x": supported values: "Block", "Filesystem"',
            "spec.volumeAttributesClassName: Required value: an empty string is disallowed",
            "spec.csi: Required value: has to be specified when using volumeAttributesClassName",
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "wanted"), VOLUME_CASES)
def test_a_volume_is_refused_in_upstreams_words(spec, wanted):
    assert problems(VOLUMES, made(VOLUMES, VOLUME | spec)) == wanted


def test_where_a_volume_is_stays():
    old = made(VOLUMES, VOLUME | {"nodeAffinity": ZONE})
    new = copy(old)
    new["spec"]["hostPath"]["path"] = "/y"
    new["spec"]["volumeMode"] = "Block"
    del new["spec"]["nodeAffinity"]
    assert problems(VOLUMES, new, old) == [
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
        'volumeMode: Invalid value: "Block": field is immutable',
        'nodeAffinity: Invalid value: "null": field is immutable, except for updating from beta label to GA',
    ]


def test_a_volume_may_take_the_new_label_and_learn_who_expands_it():
    csi = {"driver": "d.e", "volumeHandle": "h"}
    spec = {**VOLUME, "nodeAffinity": ZONE, "csi": csi}
    del spec["hostPath"]
    old = made(VOLUMES, spec)
    new = copy(old)
    term = new["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]
    term["matchExpressions"][0]["key"] = "topology.kubernetes.io/zone"
    new["spec"]["csi"]["controllerExpandSecretRef"] = {"name": "s", "namespace": "n"}
    assert problems(VOLUMES, new, old) == []


def test_warnings_of_volumes():
    spec = VOLUME | {"persistentVolumeReclaimPolicy": "Recycle", "nodeAffinity": ZONE}
    obj = made(VOLUMES, spec, {"annotations": {BETA: "x"}})
    assert VOLUMES.strategy.warnings(obj, None) == [
        f'metadata.annotations[{BETA}]: deprecated since v1.8; use "storageClassName" attribute instead',
        "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach"
        " is to use dynamic provisioning.",
        "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: failure-domain.beta.kubernetes.io/zone"
        ' is deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    ]


CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
BOUND = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
FIXED = (
    "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for"
    " bound claims"
)
SMALLER = "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"


def sized(amount):
    return {"resources": {"requests": {"storage": amount}}}


CLAIM_CHANGES = [
    ("bound once", {}, {"volumeName": "v"}, {}, []),
    ("bound elsewhere", {"volumeName": "v"}, {"volumeName": "w"}, {}, [FIXED]),
    ("grown while pending", {}, sized("3Gi"), {}, [FIXED]),
    ("grown", {}, sized("3Gi"), BOUND, []),
    ("shrunk above what is there", {}, sized("1500Mi"), BOUND, []),
    ("shrunk to what is there", {}, sized("1Gi"), BOUND, [SMALLER]),
    ("a class", {}, {"storageClassName": "c"}, {}, []),
    ("another class", {"storageClassName": "c"}, {"storageClassName": "d"}, {}, [FIXED]),
    ("no class for a class", {"storageClassName": "c"}, {"storageClassName": ""}, {}, [FIXED]),
    ("attributes", {"volumeAttributesClassName": "a"}, {"volumeAttributesClassName": "b"}, BOUND, []),
    (
        "no attributes", {"volumeAttributesClassName": "a"}, {"volumeAttributesClassName": None}, BOUND,
        [FIXED, "spec.volumeAttributesClassName: Forbidden: update from non-nil value to nil is forbidden"],
    ),
    (
        "empty attributes", {"volumeAttributesClassName": "a"}, {"volumeAttributesClassName": ""}, BOUND,
        ["spec.volumeAttributesClassName: Forbidden: update from non-nil value to an empty string is forbidden"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("before", "change", "status", "wanted"),
    [case[1:] for case in CLAIM_CHANGES],
    ids=[case[0] for case in CLAIM_CHANGES],
)
def test_changes_of_claims(before, change, status, wanted):
    old = made(CLAIMS, CLAIM | before, status=status)
    new = copy(old)
    new["spec"] |= change
    assert problems(CLAIMS, new, old) == wanted


SOURCES = [
    ({"dataSource": {"kind": "PersistentVolumeClaim", "name": "c"}}, True),
    ({"dataSource": {"apiGroup": "x.y", "kind": "Thing", "name": "c"}}, False),
    ({"dataSourceRef": {"apiGroup": "x.y", "kind": "Thing", "name": "c"}}, True),
    ({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "c", "namespace": "n"}}, False),
]


@pytest.mark.parametrize(("spec", "kept"), SOURCES)
def test_sources_of_claims_are_given_twice_or_dropped(spec, kept):
    got = made(CLAIMS, CLAIM | spec)["spec"]
    wanted = next(iter(spec.values())) if kept else None
    assert (got.get("dataSource"), got.get("dataSourceRef")) == (wanted, wanted)


def test_the_class_moves_from_the_annotation_to_the_field():
    old = made(CLAIMS, CLAIM, {"annotations": {BETA: "c"}})
    new = copy(old)
    new["metadata"]["annotations"], new["spec"]["storageClassName"] = {}, "c"
    assert problems(CLAIMS, new, old) == []
    new["spec"]["storageClassName"] = "d"
    assert problems(CLAIMS, new, old) == [
        f'metadata.annotations.{BETA}: Invalid value: "": field is immutable',
        FIXED,
    ]


def test_status_of_claims():
    old = made(CLAIMS, CLAIM)
    new = copy(old)
    new["status"] = {
        "capacity": {"storage": "-1"},
        "allocatedResourceStatuses": {"cpu": "Soon"},
        "allocatedResources": {"storage": "1500m"},
    }
    resizes = ", ".join(
        f'"{one}"'
        for one in (
            "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible",
            "NodeResizePending",
        )
    )  # fmt: skip
    found = [str(one) for one in CLAIMS.strategy.validate_status(new, old)]
    assert found[:2] == [
        "status.capacity[storage]: Invalid value: -1: must be a valid resource quantity",
        'status.allocatedResourceStatus: Unsupported value: "cpu": supported values: "storage"',
    ]
    assert sorted(resizes) == sorted(found[2].partition("supported values: ")[2])


def test_warnings_of_claims():
    spec = {"accessModes": ["ReadWriteOnce"], **sized("1500m")}
    assert CLAIMS.strategy.warnings(made(CLAIMS, spec), None) == [
        'spec.resources.requests[storage]: fractional byte value "1500m" is invalid, must be an integer'
    ]
