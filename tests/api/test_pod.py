"""Pods and templates: defaults, refusals, what may change, and how kubectl prints them."""

import pytest

from todoku.api.meta import copy
from todoku.api.podspec.defaults import pull_policy
from todoku.api.resources import registry
from todoku.api.tables import Ago, table

PODS = registry().find("pods")


def pod(*containers, **spec):
    containers = containers or ({"name": "web", "image": "httpd"},)
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [*containers], **spec},
    }


def created(*containers, **spec):
    obj = copy(pod(*containers, **spec))
    PODS.strategy.default(obj)
    PODS.strategy.prepare_create(obj)
    return obj


def problems(new, old=None):
    return [str(one) for one in PODS.strategy.validate(new, old)]


def test_defaults():
    spec = created({"name": "web", "image": "httpd", "ports": [{"containerPort": 80}]})["spec"]
    assert {key: value for key, value in spec.items() if key != "containers"} == {
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "schedulerName": "default-scheduler",
        "securityContext": {},
        "enableServiceLinks": True,
    }
    assert spec["containers"][0] == {
        "name": "web",
        "image": "httpd",
        "imagePullPolicy": "Always",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        "resources": {},
        "ports": [{"containerPort": 80, "protocol": "TCP"}],
    }


def test_probe_and_volume_defaults():
    probe = {"httpGet": {"port": 80}}
    volumes = [{"name": "e"}, {"name": "s", "secret": {"secretName": "x"}}]
    spec = created({"name": "a", "image": "b", "livenessProbe": probe}, volumes=volumes)["spec"]
    assert spec["containers"][0]["livenessProbe"] == {
        "httpGet": {"port": 80, "path": "/", "scheme": "HTTP"},
        "timeoutSeconds": 1,
        "periodSeconds": 10,
        "successThreshold": 1,
        "failureThreshold": 3,
    }
    assert spec["volumes"] == [
        {"name": "e", "emptyDir": {}},
        {"name": "s", "secret": {"secretName": "x", "defaultMode": 420}},
    ]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("httpd", "Always"), ("httpd:latest", "Always"), ("httpd:2.4", "IfNotPresent"),
        ("localhost:5000/httpd", "Always"), ("httpd@sha256:" + "0" * 64, "IfNotPresent"),
    ],
)  # fmt: skip
def test_pull_policy(image, policy):
    assert pull_policy(image) == policy


@pytest.mark.parametrize(
    ("resources", "qos"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}, "Burstable"),
    ],
)  # fmt: skip
def test_quality_of_service(resources, qos):
    assert created({"name": "a", "image": "b", "resources": resources})["status"]["qosClass"] == qos


@pytest.mark.parametrize(
    ("container", "problem"),
    [
        ({"name": "", "image": "x"}, "spec.containers[0].name: Required value"),
        ({"name": "a"}, "spec.containers[0].image: Required value"),
        ({"name": "a", "image": "x", "ports": [{"containerPort": 99999}]}, "spec.containers[0].ports[0].containerPort: Invalid value: 99999: must be between 1 and 65535, inclusive"),
        ({"name": "a", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, 'spec.containers[0].volumeMounts[0].name: Not found: "v"'),
        ({"name": "a", "image": "x", "env": [{"name": "E", "valueFrom": {}}]}, 'spec.containers[0].env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`'),
        ({"name": "a", "image": "x", "env": [{"name": "E", "valueFrom": {"fieldRef": {"fieldPath": "spec.bad"}}}]}, 'spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.bad": error converting fieldPath: field label not supported: spec.bad'),
        ({"name": "a", "image": "x", "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, 'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
        ({"name": "a", "image": "x", "livenessProbe": {}}, "spec.containers[0].livenessProbe: Required value: must specify a handler type"),
        ({"name": "a", "image": "x", "imagePullPolicy": "Sometimes"}, 'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"'),
    ],
)  # fmt: skip
def test_refused_containers(container, problem):
    assert problem in problems(created(container))


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"restartPolicy": "Maybe"}, 'spec.restartPolicy: Unsupported value: "Maybe": supported values: "Always", "OnFailure", "Never"'),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, 'spec.volumes[1].name: Duplicate value: "a"'),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"tolerations": [{"key": "a", "effect": "Never"}]}, 'spec.tolerations[0].effect: Unsupported value: "Never": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ({"nodeSelector": {"a/b/c": "x"}}, "spec.nodeSelector: Invalid value"),
        ({"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]}, "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"),
    ],
)  # fmt: skip
def test_refused_specs(spec, problem):
    obj = created()
    obj["spec"].update(copy(spec))
    PODS.strategy.default(obj)
    assert any(one.startswith(problem) for one in problems(obj)), problems(obj)


def test_only_few_fields_of_a_pod_may_change():
    old = created()
    new = copy(old)
    new["spec"]["containers"][0]["image"] = "httpd:2"
    new["spec"]["tolerations"] = [{"key": "x", "operator": "Exists"}]
    assert problems(new, old) == []
    new["spec"]["nodeName"] = "worker1"
    [problem] = problems(new, old)
    assert problem.startswith(
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
    )


def test_host_network_ports_must_agree():
    obj = created({"name": "a", "image": "b", "ports": [{"containerPort": 80}]}, hostNetwork=True)
    assert obj["spec"]["containers"][0]["ports"][0]["hostPort"] == 80
    obj["spec"]["containers"][0]["ports"][0]["hostPort"] = 81
    assert problems(obj) == [
        "spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"
    ]


def shown(status, *, deleted=False, spec=None):
    obj = pod(**(spec or {}))
    obj["status"] = status
    obj["metadata"]["creationTimestamp"] = "1970-01-01T00:00:00Z"
    if deleted:
        obj["metadata"]["deletionTimestamp"] = "1970-01-01T00:00:30Z"
    [row] = table(PODS.columns, PODS.row, [obj], now=60)["rows"]
    return row["cells"][1:5]


RUNNING = {"name": "web", "ready": True, "restartCount": 0, "state": {"running": {}}}
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]
ONE_INIT = {"initContainers": [{"name": "i", "image": "busybox"}]}


@pytest.mark.parametrize(
    ("status", "deleted", "spec", "cells"),
    [
        pytest.param({"phase": "Pending"}, False, None, ["0/1", "Pending", "0", "60s"], id="new"),
        pytest.param(
            {"phase": "Running", "containerStatuses": [RUNNING], "conditions": READY}, False, None,
            ["1/1", "Running", "0", "60s"], id="running",
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": [RUNNING]}, True, None, ["1/1", "Terminating", "0", "60s"],
            id="terminating",
        ),
        pytest.param(
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}, False, ONE_INIT,
            ["0/1", "Init:0/1", "0", "60s"], id="init",
        ),
        pytest.param(
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {"reason": "ErrImagePull"}}}]},
            False, ONE_INIT, ["0/1", "Init:ErrImagePull", "0", "60s"], id="init waiting",
        ),
        pytest.param(
            {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
             "containerStatuses": [{"name": "web", "state": {"waiting": {"reason": "PodInitializing"}}}]},
            False, ONE_INIT, ["0/1", "PodInitializing", "0", "60s"], id="initializing",
        ),
        pytest.param(
            {"phase": "Running", "containerStatuses": [
                {"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "1970-01-01T00:00:50Z"}}}]},
            False, None, ["0/1", "CrashLoopBackOff", "3 (10s ago)", "60s"], id="crash loop",
        ),
        pytest.param(
            {"phase": "Succeeded", "containerStatuses": [{"name": "web", "state": {"terminated": {"reason": "Completed"}}}]},
            False, None, ["0/1", "Completed", "0", "60s"], id="completed",
        ),
        pytest.param(
            {"phase": "Failed", "containerStatuses": [{"name": "web", "state": {"terminated": {"exitCode": 2}}}]},
            False, None, ["0/1", "ExitCode:2", "0", "60s"], id="exit code",
        ),
        pytest.param({"phase": "Failed", "reason": "Evicted"}, False, None, ["0/1", "Evicted", "0", "60s"], id="reason"),
    ],
)  # fmt: skip
def test_columns(status, deleted, spec, cells):
    assert shown(status, deleted=deleted, spec=spec) == cells


def test_wide_columns():
    obj = pod(nodeName="worker1", readinessGates=[{"conditionType": "a/b"}])
    obj["status"] = {"podIP": "10.244.1.2", "podIPs": [{"ip": "10.244.1.2"}]}
    assert PODS.row(obj)[5:] == ["10.244.1.2", "worker1", "<none>", "0/1"]
    assert [column.name for column in PODS.columns if column.priority] == [
        "IP",
        "Node",
        "Nominated Node",
        "Readiness Gates",
    ]


@pytest.mark.parametrize(
    ("spec", "status", "seconds"),
    [
        ({}, {}, 0),
        ({"nodeName": "n"}, {"phase": "Running"}, 30),
        ({"nodeName": "n", "terminationGracePeriodSeconds": 5}, {"phase": "Running"}, 5),
        ({"nodeName": "n"}, {"phase": "Succeeded"}, 0),
    ],
)
def test_grace(spec, status, seconds):
    assert PODS.strategy.graceful(pod(**spec) | {"status": status}) == seconds


def test_warnings():
    twice = {
        "name": "a",
        "image": "b",
        "env": [{"name": "X", "value": "1"}, {"name": "X", "value": "2"}],
    }
    assert PODS.strategy.warnings(pod(twice), None) == [
        'spec.containers[0].env[1]: hides previous definition of "X", which may be dropped when using apply'
    ]


def test_ago_cells_are_values():
    assert Ago("{} ago", "x") == Ago("{} ago", "x")


@pytest.mark.parametrize(
    ("ips", "problem"),
    [
        (["10.244.1.256"], 'status.podIPs[0]: Invalid value: "10.244.1.256": must be a valid IP address'),
        (["10.244.1.2", "10.244.1.3"], "may specify no more than one IP for each IP family"),
        (["10.244.1.2", "fd00::2"], ""),
    ],
)  # fmt: skip
def test_the_addresses_of_a_pod_are_addresses(ips, problem):
    new = {"metadata": {}, "spec": {}, "status": {"podIPs": [{"ip": ip} for ip in ips]}}
    found = [str(one) for one in PODS.strategy.validate_status(new, {"metadata": {}, "spec": {}})]
    assert bool(found) is bool(problem)
    assert problem in "".join(found)
