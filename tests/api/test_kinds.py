"""What each kind adds: defaults, refusals in upstream's words, columns.  One table for all kinds."""

import pytest

from todoku.api.meta import copy
from todoku.api.resources import registry
from todoku.api.tables import table

TEMPLATE = {
    "metadata": {"labels": {"app": "a"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}
SELECTOR = {"matchLabels": {"app": "a"}}
JOB_TEMPLATE = {"spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}


def fresh(name, obj, *, version=None, stamp="1970-01-01T00:00:00Z"):
    resource = registry().find(name, version)
    obj = copy(obj)
    metadata = {"name": "a", "uid": "u", "creationTimestamp": stamp}
    if resource.namespaced:
        metadata["namespace"] = "default"
    obj["metadata"] = metadata | obj.get("metadata", {})
    obj |= {"apiVersion": resource.api_version, "kind": resource.kind}
    status = obj.pop("status", None)
    resource.strategy.default(obj)
    resource.strategy.prepare_create(obj)
    if status is not None:
        obj["status"] = status
    return resource, obj


def workload(**more):
    return {"spec": {"selector": SELECTOR, "template": TEMPLATE, **more}}


@pytest.mark.parametrize(
    ("name", "obj", "path", "expected"),
    [
        ("deployments.apps", workload(), "spec.replicas", 1),
        ("deployments.apps", workload(), "spec.strategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}),
        ("deployments.apps", workload(), "spec.revisionHistoryLimit", 10),
        ("deployments.apps", workload(), "spec.progressDeadlineSeconds", 600),
        ("daemonsets.apps", workload(), "spec.updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 0}}),
        ("statefulsets.apps", workload(), "spec.podManagementPolicy", "OrderedReady"),
        ("statefulsets.apps", workload(), "spec.persistentVolumeClaimRetentionPolicy", {"whenDeleted": "Retain", "whenScaled": "Retain"}),
        ("replicationcontrollers", {"spec": {"template": TEMPLATE}}, "spec.selector", {"app": "a"}),
        ("jobs.batch", {"spec": {"template": JOB_TEMPLATE}}, "spec.backoffLimit", 6),
        ("jobs.batch", {"spec": {"template": JOB_TEMPLATE}}, "spec.selector", {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}),
        ("cronjobs.batch", {"spec": {"schedule": "@daily"}}, "spec.concurrencyPolicy", "Allow"),
        ("namespaces", {}, "metadata.labels", {"kubernetes.io/metadata.name": "a"}),
        ("namespaces", {}, "spec.finalizers", ["kubernetes"]),
        ("namespaces", {}, "status.phase", "Active"),
        ("secrets", {"stringData": {"k": "v"}}, "data", {"k": "dg=="}),
        ("secrets", {}, "type", "Opaque"),
        ("nodes", {"spec": {"podCIDR": "10.244.1.0/24"}}, "spec.podCIDRs", ["10.244.1.0/24"]),
        ("networkpolicies.networking.k8s.io", {"spec": {"egress": [{}]}}, "spec.policyTypes", ["Ingress", "Egress"]),
        ("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}, "subjects", [{"kind": "User", "name": "u", "apiGroup": "rbac.authorization.k8s.io"}]),
        ("storageclasses.storage.k8s.io", {"provisioner": "x"}, "volumeBindingMode", "Immediate"),
        ("priorityclasses.scheduling.k8s.io", {"value": 1}, "preemptionPolicy", "PreemptLowerPriority"),
        ("limitranges", {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1000m"}}]}}, "spec.limits", [{"type": "Container", "max": {"cpu": "1"}, "default": {"cpu": "1"}, "defaultRequest": {"cpu": "1"}}]),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io", {"webhooks": [{"name": "a.b.c", "rules": [{}]}]}, "webhooks", [{"name": "a.b.c", "failurePolicy": "Fail", "matchPolicy": "Equivalent", "timeoutSeconds": 10, "namespaceSelector": {}, "objectSelector": {}, "rules": [{"scope": "*"}]}]),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"maxReplicas": 2}}, "spec.minReplicas", 1),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4", "ports": [{"port": 80}]}, "ports", [{"port": 80, "name": "", "protocol": "TCP"}]),
    ],
)  # fmt: skip
def test_defaults(name, obj, path, expected):
    _, found = fresh(name, obj)
    for part in path.split("."):
        found = found[part]
    assert found == expected


@pytest.mark.parametrize(
    ("name", "obj", "problem"),
    [
        ("deployments.apps", {"spec": {"template": TEMPLATE}}, "spec.selector: Required value"),
        ("deployments.apps", workload(selector={}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
        ("deployments.apps", workload(selector={"matchLabels": {"app": "b"}}), 'spec.template.metadata.labels: Invalid value: {"app":"a"}: `selector` does not match template `labels`'),
        ("deployments.apps", workload(replicas=-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
        ("deployments.apps", workload(template={**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}), 'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'),
        ("deployments.apps", workload(strategy={"type": "Recreate", "rollingUpdate": {}}), "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"),
        ("deployments.apps", workload(strategy={"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}), 'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'),
        ("jobs.batch", {"spec": {"template": TEMPLATE}}, 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'),
        ("cronjobs.batch", {"spec": {"schedule": "61 * * * *", "jobTemplate": {"spec": {"template": JOB_TEMPLATE}}}}, 'spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'),
        ("configmaps", {"data": {"a b": "x"}}, 'data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters'),
        ("secrets", {"type": "kubernetes.io/tls", "data": {}}, "data[tls.crt]: Required value"),
        ("nodes", {"spec": {"taints": [{"key": "a", "effect": "Never"}]}}, 'metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]}, 'endpoints[0].addresses[0]: Invalid value: "::1": must be a valid IPv4 address'),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPX"}, 'addressType: Unsupported value: "IPX": supported values: "FQDN", "IPv4", "IPv6"'),
        ("roles.rbac.authorization.k8s.io", {"rules": [{"resources": ["pods"]}]}, "rules[0].verbs: Required value: verbs must contain at least one value"),
        ("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Pod", "name": "x"}}, 'roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"'),
        ("networkpolicies.networking.k8s.io", {"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/8"]}}]}]}}, 'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict subset of `cidr`'),
        ("networkpolicies.networking.k8s.io", {"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}}, 'spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix length'),
        ("networkpolicies.networking.k8s.io", {"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.01.0.0/16"]}}]}]}}, 'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.01.0.0/16": must not have leading 0s in IP or prefix length'),
        ("servicecidrs.networking.k8s.io", {"spec": {"cidrs": ["10.96.0.1/12"]}}, 'spec.cidrs[0]: Invalid value: "10.96.0.1/12": must be in canonical form ("10.96.0.0/12")'),
        ("ingresses.networking.k8s.io", {"spec": {}}, "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"),
        ("poddisruptionbudgets.policy", {"spec": {"minAvailable": 1, "maxUnavailable": 1}}, "spec: Invalid value"),
        ("resourcequotas", {"spec": {"hard": {"pods": "-1"}}}, 'spec.hard[pods]: Invalid value: "-1": must be greater than or equal to 0'),
        ("resourcequotas", {"spec": {"hard": {"pods": "1500m"}}}, 'spec.hard[pods]: Invalid value: "1500m": must be an integer'),
        ("resourcequotas", {"spec": {"hard": {"apples": "1"}}}, 'spec.hard[apples]: Invalid value: "apples": must be a standard resource for quota'),
        ("resourcequotas", {"spec": {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}}, 'spec.scopes: Invalid value: ["BestEffort"]: unsupported scope applied to resource'),
        ("resourcequotas", {"spec": {"hard": {"pods": "1"}, "scopes": ["Terminating", "NotTerminating"]}}, 'spec.scopes: Invalid value: ["Terminating","NotTerminating"]: conflicting scopes'),
        ("resourcequotas", {"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In"}]}}}, "spec.scopeSelector.matchExpressions.values: Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"),
        ("resourcequotas", {"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "BestEffort", "operator": "DoesNotExist"}]}}}, "spec.scopeSelector.matchExpressions.operator: Invalid value: \"DoesNotExist\": must be 'Exist' when scope is any of"),
        ("priorityclasses.scheduling.k8s.io", {"value": 2_000_000_000}, "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"),
        ("leases.coordination.k8s.io", {"spec": {"leaseDurationSeconds": 0}}, "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"),
        ("persistentvolumeclaims", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}, "spec.accessModes: Required value: at least 1 access mode is required"),
        ("validatingwebhookconfigurations.admissionregistration.k8s.io", {"webhooks": [{"name": "a.b.c", "clientConfig": {"url": "http://x"}, "sideEffects": "Some"}]}, 'webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
        ("validatingadmissionpolicies.admissionregistration.k8s.io", {"spec": {"validations": [{"expression": "true"}]}}, "spec.matchConstraints: Required value"),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"minReplicas": 5, "maxReplicas": 2}}, "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"),
        ("flowschemas.flowcontrol.apiserver.k8s.io", {"spec": {"matchingPrecedence": 20000}}, "spec.matchingPrecedence: Invalid value: 20000: must not be greater than 10000"),
    ],
)  # fmt: skip
def test_refusals(name, obj, problem):
    resource, found = fresh(name, obj)
    problems = [str(one) for one in resource.strategy.validate(found, None)]
    assert any(one.startswith(problem) for one in problems), problems


READY = {"conditions": [{"type": "Ready", "status": "True"}]}


@pytest.mark.parametrize(
    ("name", "obj", "columns"),
    [
        ("deployments.apps", workload(replicas=3) | {"status": {"readyReplicas": 2, "updatedReplicas": 3, "availableReplicas": 2}}, {"Ready": "2/3", "Up-to-date": 3, "Available": 2, "Age": "60s", "Containers": "c", "Images": "i", "Selector": "app=a"}),
        ("replicasets.apps", workload(replicas=3) | {"status": {"replicas": 3, "readyReplicas": 1}}, {"Desired": 3, "Current": 3, "Ready": 1}),
        ("daemonsets.apps", workload() | {"status": {"desiredNumberScheduled": 2, "numberReady": 1}}, {"Desired": 2, "Ready": 1, "Node Selector": "<none>"}),
        ("nodes", {"metadata": {"labels": {"node-role.kubernetes.io/control-plane": ""}}, "spec": {"unschedulable": True}, "status": {**READY, "addresses": [{"type": "InternalIP", "address": "192.168.11.131"}], "nodeInfo": {"kubeletVersion": "v1.36.0"}}}, {"Status": "Ready,SchedulingDisabled", "Roles": "control-plane", "Version": "v1.36.0", "Internal-IP": "192.168.11.131", "External-IP": "<none>"}),
        ("jobs.batch", {"spec": {"template": JOB_TEMPLATE}, "status": {"succeeded": 1, "startTime": "1970-01-01T00:00:00Z", "completionTime": "1970-01-01T00:00:05Z", "conditions": [{"type": "Complete", "status": "True"}]}}, {"Status": "Complete", "Completions": "1/1", "Duration": "5s"}),
        ("cronjobs.batch", {"spec": {"schedule": "@daily"}}, {"Schedule": "@daily", "Timezone": "<none>", "Suspend": "False", "Active": 0, "Last Schedule": "<none>"}),
        ("endpoints", {"subsets": [{"addresses": [{"ip": f"10.0.0.{n}"} for n in range(1, 5)], "ports": [{"port": 80}]}]}, {"Endpoints": "10.0.0.1:80,10.0.0.2:80,10.0.0.3:80 + 1 more..."}),
        ("endpointslices.discovery.k8s.io", {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}, {"AddressType": "IPv4", "Ports": "80", "Endpoints": "10.0.0.1"}),
        ("ingresses.networking.k8s.io", {"spec": {"rules": [{"host": "x.io"}], "tls": [{}]}}, {"Class": "<none>", "Hosts": "x.io", "Ports": "80, 443"}),
        ("ipaddresses.networking.k8s.io", {"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "web"}}}, {"ParentRef": "services/default/web"}),
        ("servicecidrs.networking.k8s.io", {"spec": {"cidrs": ["10.96.0.0/12"]}}, {"CIDRs": "10.96.0.0/12"}),
        ("persistentvolumeclaims", {"spec": {"volumeName": "v", "accessModes": ["ReadWriteOnce"]}, "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}, {"Status": "Bound", "Volume": "v", "Capacity": "1Gi", "Access Modes": "RWO"}),
        ("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "ClusterRole", "name": "view"}, "subjects": [{"kind": "ServiceAccount", "name": "s", "namespace": "n"}]}, {"Role": "ClusterRole/view", "ServiceAccounts": "n/s"}),
        ("apiservices.apiregistration.k8s.io", {"spec": {}, "status": {"conditions": [{"type": "Available", "status": "True"}]}}, {"Service": "Local", "Available": "True"}),
        ("events", {"type": "Normal", "reason": "Pulled", "message": "m", "count": 3, "involvedObject": {"kind": "Pod", "name": "p"}, "lastTimestamp": "1970-01-01T00:00:30Z", "firstTimestamp": "1970-01-01T00:00:00Z", "source": {"component": "kubelet", "host": "n"}}, {"Last Seen": "30s", "Object": "pod/p", "Source": "kubelet, n", "First Seen": "60s", "Count": 3, "Message": "m"}),
        ("horizontalpodautoscalers.autoscaling", {"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}}, {"Reference": "Deployment/d", "Targets": "cpu: <unknown>/80%", "MinPods": "1", "MaxPods": 3}),
    ],
)  # fmt: skip
def test_columns(name, obj, columns):
    resource, found = fresh(name, obj)
    [shown] = table(resource.columns, resource.row, [found], now=60)["rows"]
    cells = dict(zip([one.name for one in resource.columns], shown["cells"], strict=True))
    assert {key: cells[key] for key in columns} == columns


def test_events_are_two_views_of_one_object():
    new = registry().find("events.events.k8s.io")
    stored = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "message": "m",
        "involvedObject": {"name": "p"},
        "count": 2,
    }
    shown = new.from_storage(stored)
    assert shown["note"] == "m"
    assert shown["regarding"] == {"name": "p"}
    assert shown["deprecatedCount"] == 2
    assert new.to_storage(shown) == stored
    assert new.storage == ("", "v1")


def test_autoscalers_are_two_views_of_one_object():
    old = registry().find("horizontalpodautoscalers.autoscaling", "v1")
    first = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 2, "targetCPUUtilizationPercentage": 50},
    }
    stored = old.to_storage(first)
    assert stored["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert old.from_storage(stored) == first


def test_immutable_config_maps_do_not_change():
    resource, old = fresh("configmaps", {"data": {"a": "1"}, "immutable": True})
    new = copy(old)
    new["data"] = {"a": "2"}
    assert [str(one) for one in resource.strategy.validate(new, old)] == [
        "data: Forbidden: field is immutable when `immutable` is set"
    ]


def test_selectors_of_workloads_do_not_change():
    resource, old = fresh("deployments.apps", workload())
    new = copy(old)
    new["spec"]["selector"] = {"matchLabels": {"app": "a", "b": "c"}}
    new["spec"]["template"]["metadata"]["labels"]["b"] = "c"
    assert [str(one) for one in resource.strategy.validate(new, old)] == [
        'spec.selector: Invalid value: {"matchLabels":{"app":"a","b":"c"}}: field is immutable'
    ]


def test_a_spec_write_keeps_the_status_and_a_status_write_the_spec():
    resource, old = fresh("deployments.apps", workload() | {"status": {"replicas": 1}})
    new = copy(old)
    new["status"], new["spec"]["replicas"] = {"replicas": 9}, 5
    written = copy(new)
    resource.strategy.prepare_update(written, old)
    assert (written["spec"]["replicas"], written["status"]) == (5, {"replicas": 1})
    written = copy(new)
    resource.strategy.prepare_status(written, old)
    assert (written["spec"]["replicas"], written["status"]) == (1, {"replicas": 9})
