"""What may change in a pod, through each of its doors: itself, status, resize, ephemeral containers; and warnings."""

import pytest

from todoku.api.meta import copy
from todoku.api.resources import registry
from todoku.api.resources.pod_subresources import (
    ephemeral_problems,
    keep_all_but_resources,
    resize_problems,
)

PODS = registry().find("pods")


def made(spec=None, container=None, **metadata):
    first = {"name": "a", "image": "b", **(container or {})}
    given = {"containers": [first], **(spec or {})}
    pod = {"metadata": {"name": "web", "namespace": "default", **metadata}, "spec": given}
    pod = copy(pod)
    PODS.strategy.default(pod)
    PODS.strategy.prepare_create(pod)
    return pod


def with_status(pod, **status):
    pod = copy(pod)
    pod["status"] = {**pod["status"], **status}
    return pod


def texts(problems):
    return [str(one) for one in problems]


# -- itself

_GATED = {"schedulingGates": [{"name": "x"}], "nodeSelector": {"a": "b"}}
_TERM = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
_NARROWED = {"matchExpressions": [*_TERM["matchExpressions"], {"key": "b", "operator": "Exists"}]}


def node_affinity(*terms):
    needed = {"nodeSelectorTerms": list(terms)}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": needed}}
    }


_SHOWN = '{"MatchExpressions":[{"Key":"a","Operator":"Exists","Values":null}],"MatchFields":null}'
AT = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
CHANGES = {
    "an image": ({}, {"containers": [{"name": "a", "image": "c"}]}, []),
    "an image of spaces": (
        {},
        {"containers": [{"name": "a", "image": "c "}]},
        ['spec.containers[0].image: Invalid value: "c ": must not have leading or trailing whitespace'],
    ),
    "a container more": (
        {},
        {"containers": [{"name": "a", "image": "b"}, {"name": "c", "image": "d"}]},
        ["spec.containers: Forbidden: pod updates may not add or remove containers"],
    ),
    "a shorter deadline": ({"activeDeadlineSeconds": 9}, {"activeDeadlineSeconds": 5}, []),
    "a longer deadline": (
        {"activeDeadlineSeconds": 5},
        {"activeDeadlineSeconds": 9},
        ["spec.activeDeadlineSeconds: Invalid value: 9: must be less than or equal to previous value"],
    ),
    "no deadline any more": (
        {"activeDeadlineSeconds": 5},
        {"activeDeadlineSeconds": None},
        ['spec.activeDeadlineSeconds: Invalid value: "null": must not update from a positive integer to nil value'],
    ),
    "a toleration more": ({}, {"tolerations": [{"operator": "Exists"}]}, []),
    "a toleration less": (
        {"tolerations": [{"operator": "Exists"}]},
        {"tolerations": []},
        ["spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"],
    ),
    "a bad grace made good": (
        {"terminationGracePeriodSeconds": -5},
        {"terminationGracePeriodSeconds": 1},
        [],
    ),
    "a gate less": (_GATED, {"schedulingGates": []}, []),
    "a gate more": (
        _GATED,
        {"schedulingGates": [{"name": "x"}, {"name": "y"}]},
        ["spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'y'"],
    ),
    "a gated selector narrowed": (_GATED, {"nodeSelector": {"a": "b", "c": "d"}}, []),
    "a gated selector changed": (
        _GATED,
        {"nodeSelector": {"a": "c"}},
        ['spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no mutations or deletions)'],
    ),
    "a gated affinity given": (_GATED, node_affinity(_TERM), []),
    "a gated affinity narrowed": ({**_GATED, **node_affinity(_TERM)}, node_affinity(_NARROWED), []),
    "a gated affinity widened": (
        {**_GATED, **node_affinity(_TERM)},
        node_affinity(_TERM, _TERM),
        [f"{AT}: Invalid value: [{_SHOWN},{_SHOWN}]: no additions/deletions to non-empty NodeSelectorTerms list are allowed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("before", "change", "refused"), CHANGES.values(), ids=CHANGES)
def test_only_what_may_change_of_a_pod_changes(before, change, refused):
    old = made(before)
    new = copy(old)
    new["spec"].update(copy(change))
    PODS.strategy.default(new)
    new["spec"] = {key: value for key, value in new["spec"].items() if value is not None}
    if refused and "nil value" in refused[0]:
        found = [one for one in texts(PODS.strategy.validate(new, old)) if "may not" not in one]
        assert found == refused
        return
    assert texts(PODS.strategy.validate(new, old)) == refused


def test_everything_else_is_fixed():
    old = made()
    new = copy(old)
    new["spec"]["hostname"] = "x"
    [problem] = texts(PODS.strategy.validate(new, old))
    assert problem == (
        "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
        "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing"
        " tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
        "\nspec.hostname"
    )


def test_annotations_of_the_system_are_fixed():
    mirror = "kubernetes.io/config.mirror"
    old = made({"nodeName": "n"}, annotations={mirror: "1"})
    new = copy(old)
    new["metadata"]["annotations"] = {"container.apparmor.security.beta.kubernetes.io/a": ""}
    assert texts(PODS.strategy.validate(new, old)) == [
        f"metadata.annotations[{mirror}]: Forbidden: may not remove or update mirror pod annotation",
        "metadata.annotations[container.apparmor.security.beta.kubernetes.io/a]: Forbidden: may not add AppArmor annotations",
    ]


# -- creation


def test_a_gated_pod_says_so():
    pod = made(_GATED, creationTimestamp="2026-01-01T00:00:00Z")
    assert pod["status"]["conditions"] == [
        {
            "type": "PodScheduled",
            "status": "False",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "lastProbeTime": None,
            "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
        }
    ]


def test_label_keys_become_expressions():
    term = {"topologyKey": "z", "labelSelector": {}, "matchLabelKeys": ["a", "none"]}
    term |= {"mismatchLabelKeys": ["b"]}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    pod = made({"affinity": affinity}, labels={"a": "1", "b": "2"})
    [found] = pod["spec"]["affinity"]["podAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    assert found["labelSelector"]["matchExpressions"] == [
        {"key": "a", "operator": "In", "values": ["1"]},
        {"key": "b", "operator": "NotIn", "values": ["2"]},
    ]
    assert PODS.strategy.validate(pod, None) == []


def test_an_apparmor_annotation_becomes_the_field():
    key = "container.apparmor.security.beta.kubernetes.io/a"
    pod = made(annotations={key: "localhost/x"})
    assert pod["spec"]["containers"][0]["securityContext"] == {
        "appArmorProfile": {"type": "Localhost", "localhostProfile": "x"}
    }


def test_amounts_of_the_pod_are_completed_from_its_containers():
    asked = {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}
    pod = made({"resources": {"limits": {"cpu": "4", "memory": "4Gi"}}}, {"resources": asked})
    assert pod["spec"]["resources"] == {
        "limits": {"cpu": "4", "memory": "4Gi"},
        "requests": {"cpu": "1", "memory": "1Gi"},
    }


def test_fields_behind_closed_gates_are_dropped():
    sources = [{"clusterTrustBundle": {"path": "x"}}, {"podCertificate": {}}]
    volume = {"name": "v", "projected": {"sources": sources}}
    lifecycle = {"stopSignal": "SIGTERM", "preStop": {"sleep": {"seconds": 1}}}
    pod = made({"volumes": [volume], "schedulingGroup": {}}, {"lifecycle": lifecycle})
    assert pod["spec"]["volumes"][0]["projected"]["sources"] == [{}, {}]
    assert pod["spec"]["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 1}}}
    assert "schedulingGroup" not in pod["spec"]


# -- status

_ENDED = [{"name": "a", "state": {"terminated": {"exitCode": 1}}}]
_RUNS = [{"name": "a", "state": {"running": {}}}]
STATUSES = {
    "nominated": ({}, {"nominatedNodeName": "n"}, []),
    "nominated when bound": (
        {"nodeName": "n"},
        {"nominatedNodeName": "m"},
        ["status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node"],
    ),
    "conditions": (
        {},
        {"conditions": [{"type": "a b", "observedGeneration": -1}, {"type": "Ready"}]},
        [
            "status.conditions[0].observedGeneration: Invalid value: -1: must be a non-negative integer",
            'status.conditions[0].Type: Invalid value: "a b": name part must',
        ],
    ),
    "another quality": ({}, {"qosClass": "Guaranteed"}, ['status.qosClass: Invalid value: "Guaranteed": field is immutable']),
    "back from the dead": (
        {"restartPolicy": "Never"},
        {"containerStatuses": _RUNS},
        ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"],
    ),
    "restarted": ({"restartPolicy": "OnFailure"}, {"containerStatuses": _RUNS}, []),
    "addresses": (
        {},
        {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.01"}]},
        [
            'status.podIPs[1]: Invalid value: "10.0.0.01": must not have leading 0s',
            'status.podIPs: Invalid value: [{"IP":"10.0.0.1"},{"IP":"10.0.0.01"}]: may specify no more than one IP for each IP family',
        ],
    ),
    "host addresses": (
        {},
        {"hostIP": "10.0.0.1", "hostIPs": [{"ip": "10.0.0.2"}]},
        ['status.hostIPs[0].ip: Invalid value: "10.0.0.2": must be equal to `hostIP`'],
    ),
    "an unknown claim": (
        {},
        {"resourceClaimStatuses": [{"name": "x"}]},
        ['status.resourceClaimStatuses[0].name: Invalid value: "x": must match the name of an entry in `spec.resourceClaims`'],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "status", "refused"), STATUSES.values(), ids=STATUSES)
def test_a_status_may_not_go_back(spec, status, refused):
    old = with_status(made(spec), containerStatuses=_ENDED)
    new = with_status(old, **{"containerStatuses": _ENDED, **status})
    found = texts(PODS.strategy.validate_status(new, old))
    assert len(found) == len(refused)
    assert all(one.startswith(start) for one, start in zip(found, refused, strict=True)), found


def test_an_old_client_keeps_observed_generations():
    condition = {"type": "Ready", "status": "True", "observedGeneration": 3}
    old = with_status(made(), observedGeneration=4, conditions=[condition])
    new = copy(old)
    new["status"] = {"conditions": [{"type": "Ready", "status": "False"}]}
    PODS.strategy.prepare_status(new, old)
    assert new["status"] == {
        "conditions": [{"type": "Ready", "status": "False", "observedGeneration": 3}],
        "observedGeneration": 4,
        "qosClass": "BestEffort",
    }


# -- resize


def amounts(cpu, memory="64Mi", **limits):
    return {
        "resources": {"requests": {"cpu": cpu, "memory": memory}, **({"limits": limits} if limits else {})}
    }  # fmt: skip


def resized(old, change):
    new = copy(old)
    change(new["spec"])
    PODS.strategy.default(new)
    keep_all_but_resources(new, old)
    return texts(resize_problems(new, old)), new


def test_a_resize_changes_cpu_and_memory_only():
    old = made(container=amounts("1"))

    def change(spec):
        spec["containers"][0] |= {**amounts("2", "32Mi"), "image": "other"}
        spec["hostname"] = "x"

    found, new = resized(old, change)
    assert found == []
    assert new["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2", "memory": "32Mi"}
    assert new["spec"]["containers"][0]["image"] == "b"
    assert "hostname" not in new["spec"]


RESIZES = {
    "less than before": (
        {"requests": {"cpu": "1"}},
        ["spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed"],
    ),
    "another quality": (
        {"limits": {"cpu": "1", "memory": "64Mi"}, "requests": {"cpu": "1", "memory": "64Mi"}},
        ['spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'],
    ),
    "another resource": (
        {"requests": {"cpu": "1", "memory": "64Mi", "ephemeral-storage": "1Gi"}},
        ["spec: Forbidden: only cpu and memory resources are mutable"],
    ),
}


@pytest.mark.parametrize(("resources", "refused"), RESIZES.values(), ids=RESIZES)
def test_a_resize_that_may_not_be_is_refused(resources, refused):
    old = made(container=amounts("1"))
    found, _ = resized(old, lambda spec: spec["containers"][0].update(resources=copy(resources)))
    assert found == refused


def test_containers_stay_as_they_are_in_a_resize():
    old = made(container=amounts("1"))
    found, _ = resized(
        old, lambda spec: spec.update(containers=[{"name": "z", "image": "b", **amounts("1")}])
    )
    assert found == [
        "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize"
    ]


def test_a_static_pod_cannot_be_resized():
    annotations = {"kubernetes.io/config.mirror": "x"}
    old = made({"nodeName": "n"}, amounts("1"), annotations=annotations)
    assert resized(old, lambda spec: None)[0] == ["[]: Forbidden: static pods cannot be resized"]


# -- ephemeral containers


def test_ephemeral_containers_are_only_added():
    old = made()
    new = copy(old)
    new["spec"]["ephemeralContainers"] = [{"name": "d", "image": "x"}, {"name": "e", "image": "x"}]
    PODS.strategy.default(new)
    assert ephemeral_problems(new, old) == []
    later = copy(new)
    later["spec"]["ephemeralContainers"] = [
        {**later["spec"]["ephemeralContainers"][1], "image": "y"}
    ]
    assert texts(ephemeral_problems(later, new)) == [
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be removed\n',
        'spec.ephemeralContainers: Forbidden: existing ephemeral containers "e" may not be changed\n'
        "spec.ephemeralContainers.image",
    ]


def test_what_ephemeral_containers_cannot_have():
    new = made()
    extra = {
        "name": "a",
        "image": " x",
        "ports": [{"containerPort": 1}],
        "targetContainerName": "z",
    }
    extra |= {"resources": {"limits": {"cpu": "1"}}, "livenessProbe": {"exec": {"command": ["x"]}}}
    new["spec"]["ephemeralContainers"] = [extra]
    PODS.strategy.default(new)
    at = "spec.ephemeralContainers[0]"
    assert texts(ephemeral_problems(new, made())) == [
        f'{at}.image: Invalid value: " x": must not have leading or trailing whitespace',
        f'{at}.name: Duplicate value: "a"',
        f'{at}.targetContainerName: Not found: "z"',
        f"{at}.ports: Forbidden: cannot be set for an Ephemeral Container",
        f"{at}.resources: Forbidden: cannot be set for an Ephemeral Container",
        f"{at}.livenessProbe: Forbidden: cannot be set for an Ephemeral Container",
    ]  # fmt: skip


# -- warnings

_SOME = {"labelSelector": {}, "topologyKey": "z"}
WARNED = {
    "old labels": (
        {"nodeSelector": {"beta.kubernetes.io/os": "linux"}},
        {},
        ['spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use "kubernetes.io/os" instead'],
    ),
    "spreading nothing": (
        {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "beta.kubernetes.io/arch", "whenUnsatisfiable": "ScheduleAnyway"}]},
        {},
        [
            'spec.topologySpreadConstraints[0].topologyKey: beta.kubernetes.io/arch is deprecated since v1.14; use "kubernetes.io/arch" instead',
            "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        ],
    ),
    "affinity to nothing": (
        {"affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": {"topologyKey": "z"}}]}}},
        {},
        ["spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod"],
    ),
    "volumes of old": (
        {"volumes": [{"name": "v", "gitRepo": {"repository": "x"}}, {"name": "w", "storageos": {"volumeName": "x"}}]},
        {},
        [
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
            "spec.volumes[1].storageOS: deprecated in v1.22, non-functional in v1.25+",
        ],
    ),
    "twice": (
        {"hostAliases": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.1"}], "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}]},
        {},
        [
            'spec.hostAliases[1].ip: duplicate ip "1.1.1.1"',
            'spec.imagePullSecrets[1].name: duplicate name "a"',
            'spec.imagePullSecrets[2].name: invalid empty name ""',
        ],
    ),
    "parts of bytes": (
        {},
        {"resources": {"limits": {"memory": "1500m"}}},
        [
            'spec.containers[0].resources.limits[memory]: fractional byte value "1500m" is invalid, must be an integer',
            'spec.containers[0].resources.requests[memory]: fractional byte value "1500m" is invalid, must be an integer',
        ],
    ),
    "hidden variables": (
        {},
        {"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "3"}]},
        ['spec.containers[0].env[2]: hides previous definition of "A", which may be dropped when using apply'],
    ),
    "ports": (
        {},
        {"ports": [{"containerPort": 80}, {"containerPort": 80, "name": "b"}, {"containerPort": 80, "hostPort": 80, "hostIP": "1.1.1.1"}, {"containerPort": 81, "hostIP": "1.1.1.1"}]},
        [
            "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
            "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[1]",
            "spec.containers[0].ports[3]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:TCP HostIP:1.1.1.1}",
        ],
    ),
    "grace": (
        {"terminationGracePeriodSeconds": -1},
        {},
        ["spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "container", "warned"), WARNED.values(), ids=WARNED)
def test_what_means_nothing_is_warned_about(spec, container, warned):
    assert PODS.strategy.warnings(made(spec, container), None) == warned


def test_a_name_that_is_no_label_is_warned_about():
    pod = made()
    pod["metadata"]["name"] = "a.b"
    assert PODS.strategy.warnings(pod, None) == [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior;"
        " a DNS label is recommended: [must not contain dots]"
    ]


def test_updates_warn_nobody():
    pod = made({"terminationGracePeriodSeconds": -1})
    assert PODS.strategy.warnings(pod, pod) == []
