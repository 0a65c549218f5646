"""Validation of the other kinds outside the core group: every problem, in order, in kube-apiserver's wording."""

from __future__ import annotations

import base64
import json

import pytest

from tests.support.kinds import (
    change_problems,
    creation_problems,
    known,
    made_of,
    status_problems,
)
from todoku.api.meta import Object, copy
from todoku.api.resources.hpa_conversion import from_v2, to_v2

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    " an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
GROUP = "rbac.authorization.k8s.io"
TARGET = {"kind": "Deployment", "name": "web"}


def backend(**service: object) -> Object:
    return {"service": {"name": "web", "port": {"number": 80}} | service}


def ingress(**path: object) -> Object:
    one = {"path": "/", "pathType": "Prefix", "backend": backend()} | path
    return {"spec": {"rules": [{"host": "a.example", "http": {"paths": [one]}}]}}


def webhook(**fields: object) -> Object:
    found = {
        "name": "a.b.c",
        "clientConfig": {"url": "https://x"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "rules": [
            {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}
        ],
    }
    return {"webhooks": [found | fields]}


def metric(kind: str, **source: object) -> Object:
    return {"type": kind, kind[0].lower() + kind[1:]: source}


def scaler(**spec: object) -> Object:
    return {"spec": {"maxReplicas": 3, "scaleTargetRef": TARGET} | spec}


def policy(**rule: object) -> Object:
    return {"spec": {"ingress": [rule]}}


CASES = [
    ("horizontalpodautoscalers.autoscaling", scaler(), []),
    ("horizontalpodautoscalers.autoscaling", {"spec": {"minReplicas": 0}}, [
        "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
        "spec.maxReplicas: Invalid value: 0: must be greater than 0",
        "spec.scaleTargetRef.kind: Required value",
        "spec.scaleTargetRef.name: Required value",
        "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero"
        " replicas",
    ]),
    ("horizontalpodautoscalers.autoscaling", scaler(metrics=[
        {"type": "Node"}, metric("Resource", name="cpu", target={"type": "Utilization", "averageUtilization": 0}),
        metric("Pods", metric={}, target={"type": "Some", "value": "-1"}),
        {"type": "External"} | metric("Resource", target={}),
    ]), [
        'spec.metrics[0].type: Unsupported value: "Node": supported values: "ContainerResource", "External", "Object",'
        ' "Pods", "Resource"',
        'spec.metrics[0].type: Unsupported value: "Node": supported values: "ContainerResource", "External", "Object",'
        ' "Pods", "Resource"',
        "spec.metrics[1].resource.target.averageUtilization: Invalid value: 0: must be greater than 0",
        "spec.metrics[2].pods.metric.name: Required value: must specify a metric name",
        'spec.metrics[2].pods.target.type: Invalid value: "Some": must be either Utilization, Value, or AverageValue',
        'spec.metrics[2].pods.target.value: Invalid value: "-1": must be positive',
        "spec.metrics[2].pods.target.averageValue: Required value: must specify a positive target averageValue",
        "spec.metrics[3].resource.name: Required value: must specify a resource name",
        "spec.metrics[3].resource.target.type: Required value: must specify a metric target type",
        'spec.metrics[3].resource.target.type: Invalid value: "": must be either Utilization, Value, or AverageValue',
        "spec.metrics[3].resource.target.averageUtilization: Required value: must set either a target raw value or a"
        " target utilization",
    ]),
    ("horizontalpodautoscalers.autoscaling", scaler(behavior={"scaleUp": {
        "stabilizationWindowSeconds": 3601, "selectPolicy": "x",
        "policies": [{"type": "y", "value": 0, "periodSeconds": 1801}]}}), [
        "spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 3601: must be less than or equal to 3600",
        'spec.behavior.scaleUp.selectPolicy: Unsupported value: "x": supported values: "Disabled", "Max", "Min"',
        'spec.behavior.scaleUp.policies[0].type: Unsupported value: "y": supported values: "Percent", "Pods"',
        "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
        "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
    ]),
    ("poddisruptionbudgets.policy", {"spec": {"minAvailable": 1, "maxUnavailable": "200%"}}, [
        'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":"200%",'
        '"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set',
        'spec.maxUnavailable: Invalid value: "200%": must not be greater than 100%',
    ]),
    ("ingresses.networking.k8s.io", ingress(), []),
    ("ingresses.networking.k8s.io", ingress(path="a//b/..", backend=backend(name="A", port={})), [
        'spec.rules[0].http.paths[0].path: Invalid value: "a//b/..": must be an absolute path',
        "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": must not contain '//'",
        "spec.rules[0].http.paths[0].path: Invalid value: \"a//b/..\": cannot end with '/..'",
        f'spec.rules[0].http.paths[0].backend.service.name: Invalid value: "A": {LABEL}',
        "spec.rules[0].http.paths[0].backend: Required value: port name or number is required",
    ]),
    ("ingresses.networking.k8s.io", ingress(pathType="Regex", backend={}), [
        'spec.rules[0].http.paths[0].pathType: Unsupported value: "Regex": supported values: "Exact",'
        ' "ImplementationSpecific", "Prefix"',
        'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required',
    ]),
    ("ingresses.networking.k8s.io", {"spec": {"rules": [{"host": "*.*.a", "http": {}}, {"host": "10.0.0.1"}]}}, [
        "spec.rules[0].host: Invalid value: \"*.*.a\": a wildcard DNS-1123 subdomain must start with '*.', followed by"
        " a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an"
        " alphanumeric character (e.g. '*.example.com', regex used for validation is"
        " '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        "spec.rules[0].http.paths: Required value",
        'spec.rules[1].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
    ]),
    ("ingressclasses.networking.k8s.io", {"spec": {"controller": "x", "parameters": {"scope": "Namespace"}}}, [
        'spec.controller: Invalid value: "x": must be a domain-prefixed path (such as "acme.io/foo")',
        "spec.parameters.kind: Required value",
        "spec.parameters.name: Required value",
        "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
    ]),
    ("networkpolicies.networking.k8s.io", policy(ports=[{"protocol": "ICMP", "port": "web", "endPort": 1}],
                                                 **{"from": [{}, {"ipBlock": {"cidr": "x"}, "podSelector": {}}]}), [
        'spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported values: "TCP", "UDP", "SCTP"',
        "spec.ingress[0].ports[0].endPort: Invalid value: 1: may not be specified when `port` is non-numeric",
        "spec.ingress[0].from[0]: Required value: must specify a peer",
        'spec.ingress[0].from[1].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or'
        " 2001:db8::/64)",
        "spec.ingress[0].from[1]: Forbidden: may not specify both ipBlock and another peer",
    ]),
    ("networkpolicies.networking.k8s.io", {"spec": {"policyTypes": ["Both"]}}, [
        'spec.policyTypes[0]: Unsupported value: "Both": supported values: "Ingress", "Egress"',
    ]),
    ("servicecidrs.networking.k8s.io", {"spec": {"cidrs": ["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]}}, [
        'spec.cidrs: Invalid value: {"CIDRs":["10.0.0.0/8","11.0.0.0/8","12.0.0.0/8"]}: may only hold up to 2 values',
    ]),
    ("ipaddresses.networking.k8s.io", {"spec": {"parentRef": {"group": "A"}}}, [
        "spec.parentRef.group: Invalid value: \"A\": a lowercase RFC 1123 subdomain must consist of lower case"
        " alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g."
        " 'example.com', regex used for validation is"
        " '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        "spec.parentRef.resource: Required value",
        "spec.parentRef.name: Required value",
    ]),
    ("endpointslices.discovery.k8s.io", {"addressType": "FQDN", "endpoints": [{"addresses": ["web"]}],
                                         "ports": [{"appProtocol": "a b"}, {}]}, [
        'endpoints[0].addresses[0]: Invalid value: "web": should be a domain with at least two segments separated by'
        " dots",
        "ports[0].appProtocol: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or"
        " '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc',"
        " regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        'ports[1].name: Duplicate value: ""',
    ]),
    (f"clusterroles.{GROUP}", {"rules": [{}, {"verbs": ["get"], "nonResourceURLs": ["/"], "resources": ["x"]}],
                               "aggregationRule": {}}, [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[0].resources: Required value: resource rules must supply at least one resource",
        'rules[1].nonResourceURLs: Invalid value: ["/"]: rules cannot apply to both regular resources and non-resource'
        " URLs",
        "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if"
        " aggregationRule is non-nil",
    ]),
    (f"rolebindings.{GROUP}", {"roleRef": {"kind": "Pod"}, "subjects": [{"kind": "User"}, {"kind": "x", "name": "a"}]}, [
        'roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"',
        "roleRef.name: Required value",
        "subjects[0].name: Required value",
        'subjects[1].kind: Unsupported value: "x": supported values: "ServiceAccount", "User", "Group"',
    ]),
    ("priorityclasses.scheduling.k8s.io", {"value": 1_000_000_001, "preemptionPolicy": "x"}, [
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
        'preemptionPolicy: Unsupported value: "x": supported values: "PreemptLowerPriority", "Never"',
    ]),
    ("runtimeclasses.node.k8s.io", {"handler": "A", "scheduling": {"tolerations": [{"operator": "Exists"}] * 2}}, [
        f'handler: Invalid value: "A": {LABEL}',
        'scheduling.tolerations[1]: Duplicate value: {"operator":"Exists"}',
    ]),
    ("leases.coordination.k8s.io", {"spec": {"leaseDurationSeconds": 0}}, [
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ]),
    ("certificatesigningrequests.certificates.k8s.io", {"spec": {"signerName": "x", "expirationSeconds": 1}}, [
        "spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST",
        "spec.usages: Required value",
        "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form"
        " 'example.com/signer-name'",
        "spec.expirationSeconds: Invalid value: 1: may not specify a duration less than 600 seconds (10 minutes)",
    ]),
    ("flowschemas.flowcontrol.apiserver.k8s.io", {"spec": {"matchingPrecedence": 1, "rules": [
        {"subjects": [{"kind": "User", "group": {"name": "a"}}], "nonResourceRules": [{"verbs": ["fly"]}]}]}}, [
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
        "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
        "spec.rules[0].subjects[0].user: Required value: user is required when subject kind is 'User'",
        "spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        'spec.rules[0].nonResourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete",'
        ' "deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
        "spec.rules[0].nonResourceRules[0].nonResourceURLs: Required value: nonResourceURLs must contain at least one"
        " value",
    ]),
    ("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", {"spec": {"type": "Limited", "limited": {
        "limitResponse": {"type": "Queue", "queuing": {"queues": 4, "handSize": 5}}}}}, [
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 5: should not be greater than queues (4)",
    ]),
    ("events.events.k8s.io", {"type": "Odd", "deprecatedCount": 2, "regarding": {"namespace": "x"}}, [
        'involvedObject.namespace: Invalid value: "x": does not match event.namespace',
        "eventTime: Required value",
        'type: Invalid value: "": has invalid value: Odd',
        'count: Invalid value: "": needs to be unset',
    ]),
    ("events", {"eventTime": "2026-01-01T00:00:00Z", "reportingComponent": "a b"}, [
        "reportingController: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' or"
        " '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc',"
        " regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
        "reportingInstance: Required value",
        "action: Required value",
        "reason: Required value",
    ]),
    ("apiservices.apiregistration.k8s.io", {"spec": {"version": "v2", "groupPriorityMinimum": 1, "versionPriority": 1}}, [
        'metadata.name: Invalid value: "web": must be `spec.version+"."+spec.group`: "v2."',
        "spec.group: Required value: only v1 may have an empty group and it better be legacy kube",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields", "problems"), CASES)
def test_a_new_object_is_told_all_its_problems(
    name: str, fields: Object, problems: list[str]
) -> None:
    assert creation_problems(known(name), fields) == problems


BINDING = {"roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"}}


@pytest.mark.parametrize(
    ("name", "fields", "changed", "problems"),
    [
        (f"clusterrolebindings.{GROUP}", BINDING, {"roleRef": BINDING["roleRef"] | {"name": "edit"}}, [
            'roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"edit"}:'
            " cannot change roleRef",
        ]),
        ("servicecidrs.networking.k8s.io", {"spec": {"cidrs": ["10.0.0.0/8"]}},
         {"spec": {"cidrs": ["10.0.0.0/8", "fd00::/64"]}}, []),
        ("servicecidrs.networking.k8s.io", {"spec": {"cidrs": ["10.0.0.0/8"]}}, {"spec": {"cidrs": []}}, [
            "spec.cidrs: Invalid value: []: field is immutable",
        ]),
        ("ipaddresses.networking.k8s.io", {"spec": {"parentRef": {"resource": "services", "name": "a"}}},
         {"spec": {"parentRef": {"resource": "services", "name": "b"}}}, [
            'spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"","Name":"b"}: field is'
            " immutable",
        ]),
        ("priorityclasses.scheduling.k8s.io", {"value": 1}, {"value": 2}, [
            "value: Forbidden: may not be changed in an update.",
        ]),
        ("ingressclasses.networking.k8s.io", {"spec": {"controller": "a.b/c"}}, {"spec": {"controller": "a.b/d"}}, [
            'spec.controller: Invalid value: "a.b/d": field is immutable',
        ]),
    ],
)  # fmt: skip
def test_a_change_is_told_what_it_may_not_change(
    name: str, fields: Object, changed: Object, problems: list[str]
) -> None:
    assert change_problems(known(name), fields, changed) == problems


@pytest.mark.parametrize(
    ("name", "before", "after", "problems"),
    [
        ("poddisruptionbudgets.policy", {}, {"expectedPods": -1, "conditions": [{"type": "a b", "status": "Yes"}]}, [
            "status.conditions[0].type: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-',"
            " '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or"
            " '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
            'status.conditions[0].status: Unsupported value: "Yes": supported values: "False", "True", "Unknown"',
            "status.conditions[0].lastTransitionTime: Required value: must be set",
            "status.conditions[0].reason: Required value: must be set",
            "status.expectedPods: Invalid value: -1: must be greater than or equal to 0",
        ]),
        ("ingresses.networking.k8s.io", {}, {"loadBalancer": {"ingress": [{"ip": "x", "hostname": "10.0.0.1"}]}}, [
            'status.loadBalancer.ingress[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or'
            " 2001:db8::ffff)",
            'status.loadBalancer.ingress[0].hostname: Invalid value: "10.0.0.1": must be a DNS name, not an IP address',
        ]),
        ("flowschemas.flowcontrol.apiserver.k8s.io", {}, {"conditions": [{"type": "A"}, {"type": "A"}]}, [
            'status.conditions[1].type: Duplicate value: "A"',
        ]),
    ],
)  # fmt: skip
def test_a_status_is_told_its_problems(
    name: str, before: Object, after: Object, problems: list[str]
) -> None:
    assert status_problems(known(name), {}, before, after) == problems


def decided(*kinds: str) -> Object:
    return {"conditions": [{"type": kind, "status": "True", "reason": "r"} for kind in kinds]}


@pytest.mark.parametrize(
    ("write", "before", "after", "problems"),
    [
        ("approval", {}, decided("Approved"), []),
        ("approval", {}, decided("Approved", "Denied"), [
            'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive',
        ]),
        ("approval", decided("Approved"), {}, [
            'status.conditions: Forbidden: updates may not remove a condition of type "Approved"',
        ]),
        ("approval", {}, {"certificate": "eA=="}, [
            'status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block',
            "status.certificate: Forbidden: updates may not set certificate content",
        ]),
        ("status", {}, decided("Approved"), [
            'status.conditions: Forbidden: updates may not add a condition of type "Approved"',
        ]),
        ("status", {}, decided("Failed"), []),
    ],
)  # fmt: skip
def test_only_approval_decides_on_certificate_requests(
    write: str, before: Object, after: Object, problems: list[str]
) -> None:
    from todoku.api.resources.certificates import validate_approval

    resource = known("certificatesigningrequests.certificates.k8s.io")
    fields = {"spec": {"signerName": "a.b/c", "usages": ["client auth"]}}
    old = made_of(resource, fields, status=before)
    judge = validate_approval if write == "approval" else resource.strategy.validate_status
    found = judge(copy(old) | {"status": after}, old)
    assert [str(one) for one in found] == problems


@pytest.mark.parametrize(
    ("kind", "name", "change", "problems"),
    [
        ("flowschemas", "catch-all", {}, []),
        ("flowschemas", "catch-all", {"distinguisherMethod": None, "rules": []}, [
            'spec: Invalid value: {"PriorityLevelConfiguration":{"Name":"catch-all"},"MatchingPrecedence":10000,'
            '"DistinguisherMethod":null,"Rules":[]}: spec of \'catch-all\' must equal the fixed value',
        ]),
        ("flowschemas", "other", {}, []),
        ("prioritylevelconfigurations", "exempt", {"exempt": {"nominalConcurrencyShares": 9}}, []),
        ("prioritylevelconfigurations", "exempt", {"limited": {}}, [
            "spec.limited: Forbidden: must be nil if the type is not Limited",
            'spec: Invalid value: {"Type":"Exempt","Limited":{"NominalConcurrencyShares":0,"LimitResponse":'
            '{"Type":"","Queuing":null},"LendablePercent":null,"BorrowingLimitPercent":null},"Exempt":'
            '{"NominalConcurrencyShares":0,"LendablePercent":0}}: '
            "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value",
        ]),
    ],
)  # fmt: skip
def test_the_flow_control_that_must_be_there_is_as_it_is(
    kind: str, name: str, change: Object, problems: list[str]
) -> None:
    from todoku.api.resources.flowcontrol_validation import (
        MANDATORY_LEVELS,
        MANDATORY_SCHEMAS,
        level_problems,
        schema_problems,
    )

    specs = MANDATORY_SCHEMAS if kind == "flowschemas" else MANDATORY_LEVELS
    judge = schema_problems if kind == "flowschemas" else level_problems
    spec = copy(specs.get(name) or specs["catch-all"]) | change
    found = judge({"metadata": {"name": name}, "spec": spec})
    assert [str(one) for one in found] == problems


def test_a_status_update_keeps_decisions_as_they_were() -> None:
    resource = known("certificatesigningrequests.certificates.k8s.io")
    fields = {"spec": {"signerName": "a.b/c", "usages": ["client auth"]}}
    old = made_of(resource, fields, status=decided("Approved"))
    changed = decided("Failed", "Approved")
    changed["conditions"][1]["reason"] = "other"
    new = copy(old) | {"status": changed}
    resource.strategy.prepare_status(new, old)
    assert [one["reason"] for one in new["status"]["conditions"]] == ["r", "r"]
    new = copy(old) | {"status": {}}
    resource.strategy.prepare_status(new, old)
    assert [str(one) for one in resource.strategy.validate_status(new, old)] == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]


def test_a_certificate_request_needs_a_sound_signature() -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(key, hashes.SHA256())
    pem = request.public_bytes(serialization.Encoding.PEM)
    fields = {"spec": {"signerName": "a.b/c", "usages": ["client auth"]}}
    resource = known("certificatesigningrequests.certificates.k8s.io")
    fields["spec"]["request"] = base64.b64encode(pem).decode()
    assert creation_problems(resource, fields) == []
    fields["spec"]["request"] = base64.b64encode(pem.replace(b"A", b"B", 1)).decode()
    [problem] = creation_problems(resource, fields)
    assert problem.startswith("spec.request: Invalid value: ")


def test_autoscaling_v1_carries_in_annotations_what_it_cannot_say() -> None:
    cpu = metric("Resource", name="cpu", target={"type": "Utilization", "averageUtilization": 50})
    pods = metric(
        "Pods", metric={"name": "m"}, target={"type": "AverageValue", "averageValue": "5"}
    )
    rules = {"selectPolicy": "Max", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 15}]}
    current = metric(
        "Resource", name="cpu", current={"averageUtilization": 10, "averageValue": "5m"}
    )
    stored = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "web"},
        **scaler(metrics=[pods, cpu], behavior={"scaleUp": rules}),
        "status": {
            "currentReplicas": 1,
            "desiredReplicas": 2,
            "currentMetrics": [current],
            "conditions": [{"type": "AbleToScale", "status": "True"}],
        },
    }
    shown = from_v2(stored)
    assert shown["spec"]["targetCPUUtilizationPercentage"] == 50
    assert shown["status"]["currentCPUUtilizationPercentage"] == 10
    prefix = "autoscaling.alpha.kubernetes.io/"
    annotations = {
        key.removeprefix(prefix): json.loads(value)
        for key, value in shown["metadata"]["annotations"].items()
    }
    assert annotations == {
        "metrics": [{"type": "Pods", "pods": {"metricName": "m", "targetAverageValue": "5"}}],
        "behavior": {
            "ScaleUp": {
                "StabilizationWindowSeconds": None,
                "SelectPolicy": "Max",
                "Policies": [{"Type": "Pods", "Value": 4, "PeriodSeconds": 15}],
                "Tolerance": None,
            },
            "ScaleDown": None,
        },
        "current-metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "currentAverageUtilization": 10,
                    "currentAverageValue": "5m",
                },
            }
        ],
        "conditions": [{"type": "AbleToScale", "status": "True"}],
    }
    assert to_v2(shown) == stored


def test_autoscaling_v1_gets_the_default_of_the_stored_version() -> None:
    resource = known("horizontalpodautoscalers.autoscaling", "v1")
    found = made_of(resource, scaler())
    assert found["spec"]["targetCPUUtilizationPercentage"] == 80
    assert creation_problems(resource, scaler(targetCPUUtilizationPercentage=0)) == [
        "spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0"
    ]


@pytest.mark.parametrize(
    ("name", "fields", "metadata", "warning"),
    [
        ("ingresses.networking.k8s.io", ingress(), {"annotations": {"kubernetes.io/ingress.class": "x"}},
         'annotation "kubernetes.io/ingress.class" is deprecated, please use \'spec.ingressClassName\' instead'),
        ("endpointslices.discovery.k8s.io", {"addressType": "FQDN"}, {},
         "spec.addressType: FQDN endpoints are deprecated"),
        ("runtimeclasses.node.k8s.io", {"handler": "a", "scheduling": {"nodeSelector": {"beta.kubernetes.io/os": "x"}}},
         {}, 'scheduling.nodeSelector: deprecated since v1.14; use "kubernetes.io/os" instead'),
        ("networkpolicies.networking.k8s.io", policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}), {},
         'spec.ingress[0].from[0].ipBlock.cidr: CIDR value "10.0.0.1/8" is ambiguous in this context (should be'
         ' "10.0.0.0/8" or "10.0.0.1/32"?)'),
    ],
)  # fmt: skip
def test_doubtful_fields_are_warned_of(
    name: str, fields: Object, metadata: Object, warning: str
) -> None:
    resource = known(name)
    assert resource.strategy.warnings(made_of(resource, fields, metadata), None) == [warning]


def test_a_policy_keeps_networks_as_they_were_written():
    old = {"metadata": {"name": "a"}} | policy(**{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]})
    more = {"metadata": {"name": "a"}} | policy(
        **{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}, {"ipBlock": {"cidr": "10.0.0.2/8"}}]}
    )
    validate = known("networkpolicies.networking.k8s.io").strategy.validate
    assert validate(old, old) == []
    (problem,) = validate(more, old)
    assert str(problem.path) == "spec.ingress[0].from[1].ipBlock.cidr"
