"""Cells of tables with odd inputs, one row of a table each: kind, object, some of its cells at second 60."""

import pytest

from todoku.api.resources import registry
from todoku.api.tables import columns_of, table

AT_0, AT_30, AT_50 = (f"1970-01-01T00:00:{second}Z" for second in ("00", "30", "50"))


def shown(name, obj):
    resource = registry().find(name)
    columns, row = columns_of(resource)
    metadata = {"name": "x", "creationTimestamp": AT_0} | obj.get("metadata", {})
    [found] = table(columns, row, [{"spec": {}, **obj, "metadata": metadata}], now=60)["rows"]
    return dict(zip([one.name for one in columns], found["cells"], strict=True)), found


def _metric(kind, target, current=None, name="m"):
    field = kind[0].lower() + kind[1:]
    part = (
        {"target": target, "name": name}
        if "Resource" in kind
        else {"target": target, "metric": {"name": name}}
    )
    return {"type": kind, field: part}, None if current is None else {
        "type": kind,
        field: {"current": current},
    }


def _autoscaler(*metrics):
    known = [now for _, now in metrics if now is not None]
    return {
        "spec": {"maxReplicas": 3, "metrics": [one for one, _ in metrics]},
        "status": {"currentMetrics": known},
    }


def _slice(**spec):
    return {"addressType": "IPv4", **spec}


def _service(spec, **status):
    return {
        "spec": {"type": "LoadBalancer", "clusterIPs": ["10.96.0.1"], **spec},
        "status": {"loadBalancer": status},
    }


HPA, JOBS = "horizontalpodautoscalers.autoscaling", "jobs.batch"
TEMPLATE = {"spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}}


def _job(*conditions, **spec):
    return {
        "spec": {"template": TEMPLATE, **spec},
        "status": {"conditions": [{"type": one, "status": "True"} for one in conditions]},
    }


@pytest.mark.parametrize(
    ("name", "obj", "cells"),
    [
        pytest.param(HPA, _autoscaler(), {"Targets": "<none>", "MinPods": "<unset>"}, id="no metrics"),
        pytest.param(HPA, _autoscaler(_metric("Resource", {"averageUtilization": 80}, {"averageUtilization": 5}, "cpu")), {"Targets": "cpu: 5%/80%"}, id="utilization"),
        pytest.param(HPA, _autoscaler(_metric("ContainerResource", {"averageValue": "1Gi"}, {"averageValue": "5Mi"}, "memory")), {"Targets": "memory: 5Mi/1Gi"}, id="container value"),
        pytest.param(HPA, _autoscaler(_metric("Resource", {"type": "Utilization"}, name="cpu")), {"Targets": "cpu: <unknown>/<auto>"}, id="auto"),
        pytest.param(HPA, _autoscaler(_metric("External", {"averageValue": "30"}, {"averageValue": "10"})), {"Targets": "10/30 (avg)"}, id="external average"),
        pytest.param(HPA, _autoscaler(_metric("Object", {"value": "2k"}), ), {"Targets": "<unknown>/2k"}, id="object value"),
        pytest.param(HPA, _autoscaler(_metric("Pods", {"averageValue": "1"}, {"averageValue": "500m"})), {"Targets": "500m/1"}, id="pods"),
        pytest.param(HPA, _autoscaler(*[_metric("Pods", {"averageValue": str(n)}) for n in range(4)]), {"Targets": "<unknown>/0, <unknown>/1 + 2 more..."}, id="many metrics"),
        pytest.param(HPA, _autoscaler(({"type": "Moon"}, None)), {"Targets": "<unknown type>"}, id="unknown metric"),
        pytest.param(JOBS, _job("Complete", "Failed", completions=3), {"Status": "Complete", "Completions": "0/3", "Duration": "", "Containers": "a,b", "Images": "i,j", "Selector": "<none>"}, id="job"),
        pytest.param(JOBS, _job("SuccessCriteriaMet", parallelism=2), {"Status": "Running", "Completions": "0/1 of 2"}, id="job that is not complete yet"),
        pytest.param(JOBS, _job("Suspended", "FailureTarget"), {"Status": "Suspended"}, id="suspended"),
        pytest.param(JOBS, _job("Suspended") | {"metadata": {"deletionTimestamp": AT_30}}, {"Status": "Terminating"}, id="deleted job"),
        pytest.param("cronjobs.batch", {"spec": {"schedule": "@daily", "timeZone": "Asia/Tokyo", "suspend": True, "jobTemplate": {"spec": {"template": TEMPLATE, "selector": {"matchLabels": {"a": "b"}}}}}, "status": {"lastScheduleTime": AT_30, "active": [{}]}}, {"Timezone": "Asia/Tokyo", "Suspend": "True", "Active": 1, "Last Schedule": "30s", "Selector": "a=b"}, id="cronjob"),
        pytest.param("endpoints", {}, {"Endpoints": "<none>"}, id="no subsets"),
        pytest.param("endpoints", {"subsets": [{"notReadyAddresses": [{"ip": "1.1.1.1"}], "ports": [{"port": 80}]}]}, {"Endpoints": ""}, id="none ready"),
        pytest.param("endpoints", {"subsets": [{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 80}]}, {"addresses": [{"ip": "1.1.1.1"}]}]}, {"Endpoints": "[fd00::1]:80,1.1.1.1"}, id="v6 and no ports"),
        pytest.param("endpointslices.discovery.k8s.io", _slice(), {"Ports": "<unset>", "Endpoints": "<unset>"}, id="empty slice"),
        pytest.param("endpointslices.discovery.k8s.io", _slice(ports=[{"name": "", "port": 1}, {"name": "web"}, {}, {"port": 4}], endpoints=[{"addresses": [str(n)]} for n in range(5)]), {"Ports": "1,web,* + 1 more...", "Endpoints": "0,1,2 + 2 more..."}, id="odd slice"),
        pytest.param("services", _service({"externalIPs": ["9.9.9.9"]}, ingress=[{"ip": "2.2.2.2"}, {"hostname": "lb.example.com"}, {"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}]), {"External-IP": "1.1.1.1,2.2.2.2,lb.example.com,9.9.9.9", "Port(s)": "<none>"}, id="balancer"),
        pytest.param("services", _service({}), {"External-IP": "<pending>", "Selector": "<none>"}, id="pending"),
        pytest.param("services", {"spec": {"type": "ExternalName", "externalName": "x.io"}}, {"Cluster-IP": "<none>", "External-IP": "x.io", "Port(s)": "<none>"}, id="external name"),
        pytest.param("ingresses.networking.k8s.io", {"spec": {"ingressClassName": "c", "rules": [{"host": h} for h in "abc"] + [{}, {}]}, "status": {"loadBalancer": {"ingress": [{"ip": "2.2.2.2"}, {"ip": "1.1.1.1"}]}}}, {"Class": "c", "Hosts": "a,b,c + 2 more...", "Address": "1.1.1.1,2.2.2.2", "Ports": "80"}, id="hosts"),
        pytest.param("ingresses.networking.k8s.io", {"spec": {"rules": [{}]}}, {"Hosts": "*", "Address": ""}, id="no host"),
        pytest.param("ipaddresses.networking.k8s.io", {}, {"ParentRef": "<none>"}, id="no parent"),
        pytest.param("events", {"involvedObject": {"kind": "Node"}, "eventTime": "1970-01-01T00:00:30.000000Z", "reportingComponent": "c", "reportingInstance": "i"}, {"Last Seen": "30s", "First Seen": "30s", "Object": "node", "Source": "c, i", "Count": 1}, id="new event"),
        pytest.param("events", {"involvedObject": {}, "source": {"component": "kubelet"}, "reportingInstance": "w1", "firstTimestamp": AT_0, "lastTimestamp": AT_30, "series": {"count": 7, "lastObservedTime": "1970-01-01T00:00:50.000000Z"}, "message": " m\n"}, {"Last Seen": "10s", "First Seen": "60s", "Source": "kubelet, w1", "Count": 7, "Message": "m"}, id="series"),
        pytest.param("events", {"involvedObject": {"kind": "Pod", "name": "p"}}, {"Last Seen": "<unknown>", "Object": "pod/p"}, id="event without a time"),
        pytest.param("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io", {"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0}}}, {"Type": "Exempt", "NominalConcurrencyShares": "<none>", "Queues": "<none>"}, id="exempt"),
        pytest.param("flowschemas.flowcontrol.apiserver.k8s.io", {}, {"DistinguisherMethod": "<none>", "MissingPL": "?"}, id="flow schema"),
        pytest.param("resourceclaims.resource.k8s.io", {"metadata": {"deletionTimestamp": AT_30}}, {"State": "deleted"}, id="claim that goes"),
        pytest.param("resourceclaims.resource.k8s.io", {"status": {"allocation": {}, "reservedFor": [{}]}}, {"State": "allocated,reserved"}, id="claim in use"),
        pytest.param("resourceclaims.resource.k8s.io", {"status": {"reservedFor": [{}]}}, {"State": "pending"}, id="claim"),
        pytest.param("persistentvolumes", {"spec": {"accessModes": ["ReadOnlyMany", "ReadWriteOnce"], "claimRef": {"namespace": "n", "name": "c"}}, "status": {"phase": "Bound"}, "metadata": {"deletionTimestamp": AT_30}}, {"Capacity": "0", "Access Modes": "RWO,ROX", "Status": "Terminating", "Claim": "n/c", "VolumeMode": "<unset>"}, id="volume"),
        pytest.param("persistentvolumeclaims", {"spec": {"volumeName": "v"}, "status": {"phase": "Bound"}}, {"Capacity": "0", "Access Modes": "", "VolumeAttributesClass": "<unset>"}, id="bound claim without a status"),
        pytest.param("storageclasses.storage.k8s.io", {"provisioner": "p"}, {"ReclaimPolicy": "Delete", "VolumeBindingMode": "Immediate", "AllowVolumeExpansion": False}, id="class"),
        pytest.param("storageclasses.storage.k8s.io", {"metadata": {"annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}, {"Name": "x (default)"}, id="default class"),
        pytest.param("csidrivers.storage.k8s.io", {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "b"}]}}, {"AttachRequired": True, "TokenRequests": "a,b", "Modes": "<none>"}, id="driver"),
        pytest.param("certificatesigningrequests.certificates.k8s.io", {"spec": {"expirationSeconds": 3600}, "status": {"conditions": [{"type": "Approved"}, {"type": "Failed"}]}}, {"SignerName": "<none>", "Requestor": "", "RequestedDuration": "60m", "Condition": "Approved,Failed"}, id="csr"),
        pytest.param("nodes", {"metadata": {"labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a", "node-role.kubernetes.io/": ""}}}, {"Status": "Unknown", "Roles": "a,b", "OS-Image": "<unknown>", "Internal-IP": "<none>"}, id="node"),
        pytest.param("resourcequotas", {"status": {"hard": {"limits.cpu": "2", "pods": "4", "cpu": "1"}, "used": {"pods": "1"}}}, {"Request": "cpu: 0/1, pods: 1/4", "Limit": "limits.cpu: 0/2"}, id="quota"),
        pytest.param("rolebindings.rbac.authorization.k8s.io", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "Group", "name": "g"}]}, {"Role": "Role/r", "Users": "u, v", "Groups": "g", "ServiceAccounts": ""}, id="binding"),
        pytest.param("apiservices.apiregistration.k8s.io", {"spec": {"service": {"namespace": "n", "name": "s"}}, "status": {"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]}}, {"Service": "n/s", "Available": "False (MissingEndpoints)"}, id="api service"),
        pytest.param("controllerrevisions.apps", {"metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "controller": True}]}, "revision": 2}, {"Controller": "daemonset.apps/d", "Revision": 2}, id="revision"),
        pytest.param("validatingadmissionpolicybindings.admissionregistration.k8s.io", {"spec": {"paramRef": {"selector": {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v", "w"]}]}}}}, {"ParamRef": "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[v w],},},}"}, id="parameters by selector"),
        pytest.param("networkpolicies.networking.k8s.io", {"spec": {"podSelector": {"matchExpressions": [{"key": "b", "operator": "Exists"}], "matchLabels": {"a": "1"}}}}, {"Pod-Selector": "a=1,b"}, id="selector"),
        pytest.param("podtemplates", {"template": {"metadata": {"labels": {"b": "1", "a": "2"}}, **TEMPLATE}}, {"Pod Labels": "a=2,b=1"}, id="pod template"),
        pytest.param("configmaps", {"data": {"a": ""}, "binaryData": {"b": ""}}, {"Data": 2}, id="config map"),
        pytest.param("limitranges", {}, {"Created At": AT_0}, id="created at"),
        pytest.param("secrets", {"metadata": {"creationTimestamp": None}}, {"Age": "<unknown>"}, id="no age"),
    ],
)  # fmt: skip
def test_a_row_shows_what_the_real_server_prints(name, obj, cells):
    found, _ = shown(name, obj)
    assert {key: found[key] for key in cells} == cells


def _init(name="i", *, restarts=0, ended=None, last=None, **state):
    status = {"name": name, "restartCount": restarts, "state": state}
    if ended is not None:
        status["state"] = {"terminated": {"exitCode": ended}}
    if last:
        status["lastState"] = {"terminated": {"finishedAt": last}}
    return status


SIDECAR = {"initContainers": [{"name": "s", "restartPolicy": "Always"}, {"name": "i"}]}
UP = {"name": "s", "started": True, "ready": True, "state": {"running": {}}, "restartCount": 1}


@pytest.mark.parametrize(
    ("spec", "status", "cells"),
    [
        pytest.param({}, {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}, ("0/1", "SchedulingGated", "0"), id="gated"),
        pytest.param({"initContainers": [{"name": "i"}]}, {"phase": "Pending", "initContainerStatuses": [_init(terminated={"exitCode": 1, "reason": "Error"})]}, ("0/1", "Init:Error", "0"), id="init error"),
        pytest.param({"initContainers": [{"name": "i"}]}, {"phase": "Pending", "initContainerStatuses": [_init(terminated={"exitCode": 137, "signal": 9})]}, ("0/1", "Init:Signal:9", "0"), id="init signal"),
        pytest.param({"initContainers": [{"name": "i"}, {"name": "j"}]}, {"phase": "Pending", "initContainerStatuses": [_init(restarts=2, ended=0, last=AT_30), _init("j", restarts=1, last=AT_50, waiting={"reason": "CrashLoopBackOff"})]}, ("0/1", "Init:CrashLoopBackOff", "3 (10s ago)"), id="init restarts"),
        pytest.param({"initContainers": [{"name": "i"}]}, {"phase": "Running", "initContainerStatuses": [_init(restarts=2, ended=0, last=AT_50)], "containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]}, ("1/1", "Running", "0"), id="restarts of init containers are forgotten"),
        pytest.param(SIDECAR, {"phase": "Pending", "initContainerStatuses": [UP, _init(running={})]}, ("1/2", "Init:1/2", "1"), id="sidecar up"),
        pytest.param(SIDECAR, {"phase": "Running", "initContainerStatuses": [UP, _init(ended=0)], "containerStatuses": [{"name": "c", "ready": True, "restartCount": 2, "state": {"running": {}}, "lastState": {"terminated": {"finishedAt": AT_30}}}]}, ("2/2", "Running", "3 (30s ago)"), id="sidecar and container"),
        pytest.param(SIDECAR, {"phase": "Running", "conditions": [{"type": "Initialized", "status": "True"}], "initContainerStatuses": [_init("s", restarts=4, waiting={"reason": "CrashLoopBackOff"})], "containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]}, ("1/2", "Init:CrashLoopBackOff", "4"), id="sidecar fails later"),
        pytest.param({"initContainers": [{"name": "i"}]}, {"phase": "Pending", "initContainerStatuses": [_init(running={})], "containerStatuses": [{"name": "c", "ready": True, "state": {"running": {}}}]}, ("0/1", "Init:0/1", "0"), id="not initialized"),
        pytest.param({}, {"phase": "Pending", "containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ErrImagePull"}}}, {"name": "d", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, ("0/1", "ErrImagePull", "0"), id="the first container names the state"),
        pytest.param({}, {"phase": "Running", "containerStatuses": [{"name": "d", "state": {"terminated": {"reason": "Completed"}}}, {"name": "c", "ready": True, "state": {"running": {}}}]}, ("1/1", "NotReady", "0"), id="one of two has completed"),
        pytest.param({}, {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 139, "signal": 11}}}]}, ("0/1", "Signal:11", "0"), id="signal"),
    ],
)  # fmt: skip
def test_a_pod_shows_what_its_containers_do(spec, status, cells):
    found, _ = shown("pods", {"spec": {"containers": [{"name": "c"}], **spec}, "status": status})
    assert (found["Ready"], found["Status"], found["Restarts"]) == cells


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Running"}, "Terminating"),
        ({"phase": "Running", "reason": "NodeLost"}, "Unknown"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"phase": "Succeeded"}, "Succeeded"),
    ],
)
def test_pods_that_go(status, state):
    found, _ = shown("pods", {"metadata": {"deletionTimestamp": AT_30}, "status": status})
    assert found["Status"] == state


def test_a_row_says_that_its_pod_is_done():
    _, row = shown("pods", {"status": {"phase": "Succeeded"}})
    assert row["conditions"] == [
        {
            "type": "Completed",
            "status": "True",
            "reason": "Succeeded",
            "message": "The pod has completed successfully.",
        }
    ]
    _, row = shown("pods", {"status": {"phase": "Running"}})
    assert "conditions" not in row
