"""Validation of storage classes, CSI kinds and dynamic resource allocation: problems in kube-apiserver's wording."""

from __future__ import annotations

import pytest

from tests.support.kinds import change_problems, creation_problems, known, made_of, status_problems
from todoku.api.meta import Object

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    " end with an alphanumeric character (e.g. 'example.com', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
C_NAME = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters"
    " or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
STORAGE, DEVICES = "storage.k8s.io", "resource.k8s.io"


def claim(exactly: Object | None = None, /, **devices: object) -> Object:
    request = {"name": "gpu", "exactly": {"deviceClassName": "gpu", **(exactly or {})}}
    return {"spec": {"devices": {"requests": [request]} | devices}}


def slices(device: Object | None = None, /, **spec: object) -> Object:
    base = {"driver": "a.b", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}}
    return {
        "spec": base | ({"devices": [{"name": "d"} | device]} if device is not None else {}) | spec
    }


def shared(policy: Object) -> Object:
    return {
        "allowMultipleAllocations": True,
        "capacity": {"mem": {"value": "10", "requestPolicy": policy}},
    }


@pytest.mark.parametrize(
    ("name", "fields", "problems"),
    [
        (f"storageclasses.{STORAGE}", {"reclaimPolicy": "Recycle", "volumeBindingMode": "x", "allowedTopologies": [
            {"matchLabelExpressions": [{"key": "zone"}, {"key": "zone", "values": ["a", "a"]}]}]}, [
            "provisioner: Required value",
            'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
            'volumeBindingMode: Unsupported value: "x": supported values: "Immediate", "WaitForFirstConsumer"',
            "allowedTopologies[0].matchLabelExpressions[0].values: Required value",
            'allowedTopologies[0].matchLabelExpressions[1].values[1]: Duplicate value: "a"',
            'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "zone"',
        ]),
        (f"volumeattributesclasses.{STORAGE}", {}, [
            "driverName: Required value",
            "parameters: Required value: must contain at least one key/value pair",
        ]),
        (f"csistoragecapacities.{STORAGE}", {"storageClassName": "A", "capacity": "-1"}, [
            f'storageClassName: Invalid value: "A": {SUBDOMAIN}',
            'capacity: Invalid value: "-1": must be greater than or equal to 0',
        ]),
        (f"csidrivers.{STORAGE}", {"spec": {"fsGroupPolicy": "x", "volumeLifecycleModes": ["y"], "tokenRequests": [
            {"audience": "a", "expirationSeconds": 1}, {"audience": "a"}], "nodeAllocatableUpdatePeriodSeconds": 9}}, [
            'spec.fsGroupPolicy: Unsupported value: "x": supported values: "File", "None", "ReadWriteOnceWithFSType"',
            "spec.tokenRequests[0].expirationSeconds: Invalid value: 1: may not specify a duration less than 10 minutes",
            'spec.tokenRequests[1].audience: Duplicate value: "a"',
            'spec.volumeLifecycleModes: Unsupported value: "y": supported values: "Persistent", "Ephemeral"',
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
        ]),
        (f"csinodes.{STORAGE}", {"spec": {"drivers": [{"name": "a", "nodeID": "n"}, {"name": "a",
                                                                                  "allocatable": {"count": -1}}]}}, [
            "spec.drivers[1].nodeID: Required value",
            "spec.drivers[1].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            'spec.drivers[1].name: Duplicate value: "a"',
        ]),
        (f"volumeattachments.{STORAGE}", {"spec": {"source": {"persistentVolumeName": ""}}}, [
            "spec.attacher: Required value",
            "spec.source.persistentVolumeName: Required value: must specify non empty persistentVolumeName",
            f'spec.nodeName: Invalid value: "": {SUBDOMAIN}',
            "spec.attacher: Required value",
            f'spec.source.persistentVolumeName: Invalid value: "": {SUBDOMAIN}',
        ]),
        (f"resourceclaims.{DEVICES}", claim(), []),
        (f"resourceclaims.{DEVICES}", claim({"selectors": [{"cel": {"expression": 'device.driver == "x"'}}]}), []),
        (f"resourceclaims.{DEVICES}", claim(
            {"deviceClassName": "", "selectors": [{}], "allocationMode": "All", "count": 2,
             "tolerations": [{"operator": "Exists", "value": "x", "effect": "None"}]},
            constraints=[{"requests": ["gpu", "other"]}, {"matchAttribute": "model"}],
            config=[{"requests": ["gpu"]}]), [
            "spec.devices.requests[0].exactly.deviceClassName: Required value",
            "spec.devices.requests[0].exactly.selectors[0].cel: Required value",
            "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is"
            " 'All'",
            'spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: "x": must be empty for operator'
            " `Exists`",
            'spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: "None": supported values:'
            ' "NoExecute", "NoSchedule"',
            f'spec.devices.constraints[0].requests[1]: Invalid value: "other": {NO_REQUEST}',
            'spec.devices.constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is'
            " required, but multiple fields are set",
            'spec.devices.constraints[1].matchAttribute: Invalid value: "model": must include a domain',
            "spec.devices.config[0].opaque: Required value",
        ]),
        (f"resourceclaims.{DEVICES}", {"spec": {"devices": {"requests": [{"name": "a"}, {"name": "a", "exactly": {
            "deviceClassName": "x"}, "firstAvailable": [{"name": "b", "deviceClassName": "x"}]}]}}}, [
            "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
            'spec.devices.requests[1]: Invalid value: "null": exactly one of `exactly` or `firstAvailable` is required,'
            " but multiple fields are set",
            'spec.devices.requests[1].name: Duplicate value: "a"',
        ]),
        (f"resourceclaimtemplates.{DEVICES}", {"spec": {"spec": claim({"deviceClassName": "A"})["spec"]}}, [
            f'spec.spec.devices.requests[0].exactly.deviceClassName: Invalid value: "A": {SUBDOMAIN}',
        ]),
        (f"deviceclasses.{DEVICES}", {"spec": {"extendedResourceName": "gpu", "config": [
            {"opaque": {"driver": "a.b", "parameters": [1]}}]}}, [
            'spec.config[0].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object',
            'spec.extendedResourceName: Invalid value: "gpu": must be a valid extended resource name',
        ]),
        (f"resourceslices.{DEVICES}", slices({"attributes": {"a.b/model": {"string": "x"}}}), []),
        (f"resourceslices.{DEVICES}", {"spec": {"allNodes": False}}, [
            "spec.driver: Required value",
            "spec.pool.name: Required value",
            "spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
            "spec.allNodes: Invalid value: false: must be either unset or set to true",
            "spec: Required value: exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is"
            " required",
        ]),
        (f"resourceslices.{DEVICES}", slices({
            "attributes": {"1x": {}, "v": {"version": "1", "int": 2}}, "nodeName": "n",
            "capacity": {"mem": {"value": "1", "requestPolicy": {}}}, "taints": [{"key": "a", "effect": "PreferNoSchedule"}],
            "consumesCounters": [{"counterSet": "s"}], "bindingConditions": ["ok"]}), [
            f'spec.devices[0].attributes[1x]: Invalid value: "1x": {C_NAME}',
            "spec.devices[0].attributes[1x]: Required value: exactly one value must be specified",
            'spec.devices[0].attributes[v].version: Invalid value: "1": must be a string compatible with semver.org spec'
            " 2.0.0",
            'spec.devices[0].attributes[v]: Invalid value: {"IntValue":2,"BoolValue":null,"StringValue":null,'
            '"VersionValue":"1"}: exactly one value must be specified',
            "spec.devices[0].capacity[mem].requestPolicy: Forbidden: allowMultipleAllocations must be true",
            'spec.devices[0].taints[0].effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute",'
            ' "NoSchedule", "None"',
            "spec.devices[0].consumesCounters[0].counters: Required value",
            "spec.devices[0].bindingFailureConditions: Invalid value: []: bindingFailureConditions are required to use"
            " bindingConditions",
            'spec.devices[0]: Invalid value: "null": `nodeName`, `nodeSelector` and `allNodes` can only be set if'
            " `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
        ]),
        (f"resourceslices.{DEVICES}", slices(shared({"validValues": ["2", "1", "20"], "default": "3"})), [
            'spec.devices[0].capacity[mem].requestPolicy.validValues[1]: Invalid value: "1": values must be sorted in'
            " ascending order",
            'spec.devices[0].capacity[mem].requestPolicy.validValues[2]: Invalid value: "20": option is larger than'
            " capacity value: 10",
            'spec.devices[0].capacity[mem].requestPolicy.validValues: Invalid value: "3": default value is not valid'
            " according to the requestPolicy",
        ]),
        (f"resourceslices.{DEVICES}", slices(shared({"validRange": {"min": "2", "step": "2"}, "default": "3"})), [
            'spec.devices[0].capacity[mem].requestPolicy.validRange.step: Invalid value: "3": value is not a multiple of'
            " a given step (2) from (2)",
        ]),
        (f"resourceslices.{DEVICES}", slices({}, sharedCounters=[{"name": "s", "counters": {"A": {"value": "1"}}}]), [
            'spec: Invalid value: "{`sharedCounters`, `devices`}": only one of `sharedCounters` or `devices` is allowed',
            "spec.sharedCounters[0].counters[A]: Invalid value: \"A\": a lowercase RFC 1123 label must consist of lower"
            " case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g."
            " 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ]),
    ],
)  # fmt: skip
def test_a_new_object_is_told_all_its_problems(
    name: str, fields: Object, problems: list[str]
) -> None:
    assert creation_problems(known(name), fields) == problems


def test_a_selector_of_devices_is_compiled() -> None:
    resource = known(f"resourceclaims.{DEVICES}")
    broken = claim({"selectors": [{"cel": {"expression": "device.driver =="}}]})
    [problem] = creation_problems(resource, broken)
    path = "spec.devices.requests[0].exactly.selectors[0].cel.expression"
    assert problem.startswith(
        f'{path}: Invalid value: "device.driver ==": compilation failed: ERROR'
    )


@pytest.mark.parametrize(
    ("name", "fields", "changed", "problems"),
    [
        (f"storageclasses.{STORAGE}", {"provisioner": "a"}, {"provisioner": "b", "parameters": {"a": "b"},
                                                             "volumeBindingMode": "WaitForFirstConsumer"}, [
            "parameters: Forbidden: updates to parameters are forbidden.",
            "provisioner: Forbidden: updates to provisioner are forbidden.",
            'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable',
        ]),
        (f"csidrivers.{STORAGE}", {"spec": {}}, {"spec": {"attachRequired": False}}, [
            "spec.attachedRequired: Invalid value: false: field is immutable",
        ]),
        (f"csinodes.{STORAGE}", {"spec": {"drivers": [{"name": "a", "nodeID": "n"}]}},
         {"spec": {"drivers": [{"name": "a", "nodeID": "m", "allocatable": {"count": 1}}]}}, [
            'spec.drivers: Invalid value: {"Name":"a","NodeID":"m","TopologyKeys":null,"Allocatable":null}: field is'
            " immutable",
        ]),
        (f"resourceclaims.{DEVICES}", claim(), claim({"count": 2}), [
            'spec: Invalid value: {"Devices":{"Requests":[{"Name":"gpu","Exactly":{"DeviceClassName":"gpu",'
            '"Selectors":null,"AllocationMode":"ExactCount","Count":2,"AdminAccess":null,"Tolerations":null,'
            '"Capacity":null},"FirstAvailable":null}],"Constraints":null,"Config":null}}: field is immutable',
        ]),
        (f"resourceslices.{DEVICES}", slices(), slices(driver="b.c"), [
            'spec.driver: Invalid value: "b.c": field is immutable',
        ]),
    ],
)  # fmt: skip
def test_a_change_is_told_what_it_may_not_change(
    name: str, fields: Object, changed: Object, problems: list[str]
) -> None:
    assert change_problems(known(name), fields, changed) == problems


RESULT = {"request": "gpu", "driver": "a.b", "pool": "p", "device": "d"}


@pytest.mark.parametrize(
    ("before", "after", "problems"),
    [
        ({}, {"allocation": {"devices": {"results": [RESULT]}}, "devices": [
            {"driver": "a.b", "pool": "p", "device": "d", "data": {}}]}, []),
        ({}, {"reservedFor": [{"resource": "pods", "name": "a"}]}, [
            "status.reservedFor[0].uid: Required value",
            "status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
        ]),
        ({}, {"allocation": {"devices": {"results": [RESULT | {"request": "x"}], "config": [{"source": "y"}]}},
              "devices": [{"driver": "a.b", "pool": "p", "device": "e", "networkData": {"ips": ["10.0.0.1"]}}]}, [
            'status.devices[0]: Invalid value: "a.b/p/e": must be an allocated device in the claim',
            'status.devices[0].networkData.ips[0]: Invalid value: "10.0.0.1": must be a valid address in CIDR form, (e.g.'
            " 10.9.8.7/24 or 2001:db8::1/64)",
            f'status.allocation.devices.results[0].request: Invalid value: "x": {NO_REQUEST}',
            'status.allocation.devices.config[0].source: Unsupported value: "y": supported values: "FromClaim",'
            ' "FromClass"',
            "status.allocation.devices.config[0].opaque: Required value",
        ]),
    ],
)  # fmt: skip
def test_the_status_of_a_claim_is_told_its_problems(
    before: Object, after: Object, problems: list[str]
) -> None:
    resource = known(f"resourceclaims.{DEVICES}")
    assert status_problems(resource, claim(), before, after) == problems


def test_a_status_write_leaves_metadata_alone_where_upstream_does() -> None:
    resource = known(f"resourceclaims.{DEVICES}")
    old = made_of(resource, claim(), {"labels": {"a": "b"}})
    new = old | {"metadata": {"name": "web", "labels": {"c": "d"}, "annotations": {"e": "f"}}}
    resource.strategy.prepare_status(new, old)
    assert new["metadata"] == {"name": "web", "labels": {"a": "b"}}


def test_deprecated_labels_of_topologies_are_warned_of() -> None:
    resource = known(f"storageclasses.{STORAGE}")
    term = {"matchLabelExpressions": [{"key": "failure-domain.beta.kubernetes.io/zone"}]}
    found = made_of(resource, {"allowedTopologies": [term]})
    assert resource.strategy.warnings(found, None) == [
        "allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.17; use"
        ' "topology.kubernetes.io/zone" instead'
    ]
