"""Pod Security Standards: what a level refuses, in the words clients know."""

import pytest

from todoku.apiserver.admission.pod_security import level_of, violations

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


def test_levels_come_from_the_namespaces_labels():
    labels = {
        "pod-security.kubernetes.io/enforce": "baseline",
        "pod-security.kubernetes.io/enforce-version": "v1.36",
    }
    assert level_of(labels, "enforce") == ("baseline", "v1.36")
    assert level_of(labels, "warn") == ("privileged", "latest")
    assert level_of({"pod-security.kubernetes.io/warn": "strict"}, "warn") == (
        "restricted",
        "latest",
    )
