"""Pod Security Standards: what a level refuses, in the words clients know."""

import pytest

from todoku.apiserver.admission.pod_security import Policy, label_problems
from todoku.apiserver.admission.pod_standards import violations

GOOD = {
    "name": "c",
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}

BASELINE = {
    "plain": ({"containers": [{"name": "c"}]}, []),
    "host network and PIDs": ({"hostNetwork": True, "hostPID": True}, ["host namespaces (hostNetwork=true, hostPID=true)"]),
    "privileged": ({"containers": [{"name": "a", "securityContext": {"privileged": True}}, {"name": "b", "securityContext": {"privileged": True}}]},
                   ['privileged (containers "a", "b" must not set securityContext.privileged=true)']),
    "capabilities": ({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "CHOWN", "NET_ADMIN"]}}}]},
                     ['non-default capabilities (container "c" must not include "NET_ADMIN", "SYS_ADMIN" in securityContext.capabilities.add)']),
    "a host path": ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, ['hostPath volumes (volume "v")']),
    "a host port": ({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}, ['hostPort (container "c" uses hostPort 80)']),
    "a sysctl": ({"securityContext": {"sysctls": [{"name": "kernel.msgmax"}]}}, ["forbidden sysctls (kernel.msgmax)"]),
    "no seccomp": ({"containers": [{"name": "c", "securityContext": {"seccompProfile": {"type": "Unconfined"}}}]},
                   ['seccompProfile (container "c" must not set securityContext.seccompProfile.type to "Unconfined")']),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "problems"), BASELINE.values(), ids=BASELINE)
def test_baseline(spec, problems):
    assert violations("baseline", {}, spec) == problems
    assert violations("privileged", {}, spec) == []


RESTRICTED = {
    "all that is asked": ({"containers": [GOOD]}, []),
    "nothing said": (
        {"containers": [{"name": "c"}]},
        [
            'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
            'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])',
            'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
            'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
        ],
    ),
    "root": ({"containers": [GOOD], "securityContext": {"runAsUser": 0}}, ["runAsUser=0 (pod must not set runAsUser=0)"]),
    "a volume type": ({"containers": [GOOD], "volumes": [{"name": "v", "hostPath": {}}]},
                      ['restricted volume types (volume "v" uses restricted volume type "hostPath")']),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "problems"), RESTRICTED.values(), ids=RESTRICTED)
def test_restricted(spec, problems):
    assert violations("restricted", {}, spec) == problems


def container(name="c", **context):
    return {"name": name, "securityContext": context}


WORDS = {
    "several of one thing": (
        {"containers": [{"name": "a", "ports": [{"hostPort": 90}, {"hostPort": 80}]}, {"name": "b", "ports": [{"hostPort": 80}]}]},
        'hostPort (containers "a", "b" use hostPorts 80, 90)',
    ),
    "a profile of the pod and an annotation": (
        {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}, "containers": []},
        'forbidden AppArmor profiles (pod and annotation must not set AppArmor profile type to "Unconfined", '
        '"container.apparmor.security.beta.kubernetes.io/c="unconfined"")',
    ),
    "SELinux": (
        {"securityContext": {"seLinuxOptions": {"type": "foo"}}, "containers": [container(seLinuxOptions={"user": "u", "role": "r"})]},
        'seLinuxOptions (pod and container "c" set forbidden securityContext.seLinuxOptions: type "foo"; user may not be set; role may not be set)',
    ),
    "a proc mount": (
        {"containers": [container(procMount="Unmasked")]},
        'procMount (container "c" must not set securityContext.procMount to "Unmasked")',
    ),
    "a probe of another host": (
        {"containers": [{"name": "c", "livenessProbe": {"tcpSocket": {"host": "10.0.0.1"}}, "lifecycle": {"preStop": {"httpGet": {"host": "x"}}}}]},
        'probe or lifecycle host (container "c" uses probe or lifecycle hosts "10.0.0.1", "x")',
    ),
    "a host process": (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}, "containers": []},
        "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
    ),
    "seccomp of the pod and a container": (
        {"securityContext": {"seccompProfile": {"type": "Unconfined"}}, "containers": [container(seccompProfile={"type": "Unconfined"})]},
        'seccompProfile (pod and container "c" must not set securityContext.seccompProfile.type to "Unconfined")',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spec", "problem"), WORDS.values(), ids=WORDS)
def test_the_words_of_baseline(spec, problem):
    key = "container.apparmor.security.beta.kubernetes.io/c"
    annotations = {key: "unconfined"} if "annotation" in problem else {}
    assert violations("baseline", {"annotations": annotations}, spec) == [problem]


def test_problems_are_listed_baseline_first():
    spec = {
        "hostNetwork": True,
        "containers": [container(privileged=True, runAsNonRoot=False)],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    }
    assert [one.partition(" (")[0] for one in violations("restricted", {}, spec)] == [
        "host namespaces",
        "privileged",
        "allowPrivilegeEscalation != false",
        "unrestricted capabilities",
        "restricted volume types",
        "runAsNonRoot != true",
        "seccompProfile",
    ]


def test_a_pod_with_users_of_its_own_may_run_as_root():
    spec = {"hostUsers": False, "containers": [container(runAsUser=0, procMount="Unmasked")]}
    reasons = [one.partition(" (")[0] for one in violations("restricted", {}, spec)]
    assert "runAsUser=0" not in reasons
    assert "runAsNonRoot != true" not in reasons
    assert "procMount" in reasons
    assert violations("baseline", {}, spec) == []
    assert "runAsUser=0" in [
        one.partition(" (")[0] for one in violations("restricted", {}, spec, 34)
    ]


@pytest.mark.parametrize(("minor", "refused"), [(26, True), (27, False), (36, False)])
def test_older_versions_know_fewer_safe_sysctls(minor, refused):
    sysctls = [{"name": "net.ipv4.ip_local_reserved_ports"}]
    spec = {"securityContext": {"sysctls": sysctls}, "containers": []}
    assert bool(violations("baseline", {}, spec, minor)) is refused


def test_levels_come_from_the_namespaces_labels():
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.36",
    }
    policy = Policy.of(labels)
    assert (str(policy.enforce), str(policy.audit)) == ("baseline:v1.36", "privileged:latest")
    assert str(policy.warn) == "baseline:v1.36"
    later = labels | {"pod-security.kubernetes.io/warn-version": "latest"}
    assert str(Policy.of(later).warn) == "baseline:latest"
    labels |= {"pod-security.kubernetes.io/warn": "restricted"}
    assert str(Policy.of(labels).warn) == "restricted:latest"


def test_labels_that_cannot_be_read_enforce_the_strictest_level():
    labels = {
        "pod-security.kubernetes.io/enforce": "strict",
        "pod-security.kubernetes.io/warn": "strict",
        "pod-security.kubernetes.io/audit-version": "1.2",
    }
    assert str(Policy.of(labels).enforce) == "restricted:latest"
    assert str(Policy.of(labels).warn) == "privileged:latest"
    assert [str(one) for one in label_problems(labels)] == [
        'metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: "strict": must be one of privileged, baseline, restricted',
        'metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: "1.2": must be "latest" or "v1.x"',
        'metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: "strict": must be one of privileged, baseline, restricted',
    ]
