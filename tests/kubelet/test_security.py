import json

import pytest

from todoku.api.images import ImageConfig
from todoku.kubelet.environment import ConfigError
from todoku.kubelet.oci import Mount, Request, config
from todoku.kubelet.records import Sandbox
from todoku.kubelet.resources import container_limits, oom_score_adj, pod_limits, qos_class
from todoku.kubelet.security import (
    DEFAULT_CAPABILITIES,
    User,
    bounding_set,
    capabilities,
    no_new_privileges,
    seccomp,
    user,
)

PASSWD = "root:x:0:0::/root:/bin/sh\nweb:x:33:34::/var/www:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:34:\nextra:x:50:web,other\n"


def pod(**context):
    return {
        "metadata": {"name": "p", "namespace": "d", "uid": "u"},
        "spec": {"securityContext": context, "containers": []},
    }


def who(spec_context=None, pod_context=None, image=""):
    spec = {"name": "c", "securityContext": spec_context or {}}
    return user(
        spec, pod(**(pod_context or {})), ImageConfig(user=image), passwd=PASSWD, group=GROUP
    )


@pytest.mark.parametrize(("given", "expected"), [
    ({}, User(0, 0, (0,), "/root")),
    ({"image": "web"}, User(33, 34, (34, 50), "/var/www")),
    ({"image": "33"}, User(33, 34, (34, 50), "/var/www")),
    ({"image": "7:9"}, User(7, 9, (9,), "/")),
    ({"image": "web:extra"}, User(33, 50, (50,), "/var/www")),
    ({"spec_context": {"runAsUser": 1000}}, User(1000, 0, (0,), "/")),
    ({"spec_context": {"runAsUser": 33}, "image": "7"}, User(33, 34, (34, 50), "/var/www")),
    ({"pod_context": {"runAsUser": 5, "runAsGroup": 6, "fsGroup": 7, "supplementalGroups": [8]}}, User(5, 6, (6, 7, 8), "/")),
    ({"pod_context": {"runAsUser": 5}, "spec_context": {"runAsUser": 9}}, User(9, 0, (0,), "/")),
    ({"image": "web", "pod_context": {"supplementalGroupsPolicy": "Strict"}}, User(33, 34, (34,), "/var/www")),
])  # fmt: skip
def test_who_runs(given, expected):
    found = who(**given)
    assert (found.uid, found.gid, found.groups, found.home) == (
        expected.uid,
        expected.gid,
        expected.groups,
        expected.home,
    )


@pytest.mark.parametrize(("given", "problem"), [
    ({"pod_context": {"runAsNonRoot": True}}, "container has runAsNonRoot and image will run as root"),
    ({"pod_context": {"runAsNonRoot": True}, "image": "web"}, "image has non-numeric user"),
    ({"spec_context": {"runAsNonRoot": True, "runAsUser": 0}}, "runAsUser breaks non-root policy"),
    ({"image": "stranger"}, "unable to find user stranger"),
])  # fmt: skip
def test_who_may_not_run(given, problem):
    with pytest.raises(ConfigError, match=problem):
        who(**given)


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, set(DEFAULT_CAPABILITIES)),
    ({"drop": ["all"]}, set()),
    ({"drop": ["ALL"], "add": ["net_raw"]}, {"CAP_NET_RAW"}),
    ({"drop": ["CAP_CHOWN"]}, set(DEFAULT_CAPABILITIES) - {"CAP_CHOWN"}),
    ({"add": ["NET_ADMIN"]}, set(DEFAULT_CAPABILITIES) | {"CAP_NET_ADMIN"}),
])  # fmt: skip
def test_capabilities_by_any_name(changes, expected):
    assert set(capabilities({"securityContext": {"capabilities": changes}})) == expected


def test_nobody_gives_what_he_does_not_have():
    ours = bounding_set((1 << 41) - 1 & ~(1 << 24))  # as on a machine without CAP_SYS_RESOURCE
    assert len(ours) == 40 and "CAP_SYS_RESOURCE" not in ours
    assert capabilities({"securityContext": {"privileged": True}}, bounding=ours) == ours


@pytest.mark.parametrize(("context", "expected"), [
    ({}, False), ({"allowPrivilegeEscalation": False}, True), ({"allowPrivilegeEscalation": True}, False),
    ({"allowPrivilegeEscalation": False, "privileged": True}, False),
])  # fmt: skip
def test_escalation_is_refused_only_on_demand(context, expected):
    assert no_new_privileges({"securityContext": context}) is expected


def test_a_docker_profile_becomes_an_oci_one_for_these_capabilities():
    document = {
        "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["mount"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_ADMIN"]}},
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "excludes": {"caps": ["CAP_SYS_ADMIN"]}, "errnoRet": 1},
            {"names": ["arm_only"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
        ],
    }  # fmt: skip
    found = seccomp(document, ["CAP_CHOWN"], "x86_64")
    assert [(call["names"], call["action"]) for call in found["syscalls"]] == [
        (["read"], "SCMP_ACT_ALLOW"), (["mount"], "SCMP_ACT_ERRNO")]  # fmt: skip
    assert found["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]


def one(requests=None, limits=None, **more):
    return {"name": "c", "resources": {"requests": requests or {}, "limits": limits or {}}, **more}


QOS = {
    "nothing said": ([one()], "BestEffort"),
    "all limits": ([one(limits={"cpu": "1", "memory": "1Gi"})], "Guaranteed"),
    "equal requests": ([one({"cpu": "1000m", "memory": "1Gi"}, {"cpu": "1", "memory": "1024Mi"})], "Guaranteed"),
    "only a request": ([one({"cpu": "1"})], "Burstable"),
    "one of two": ([one(limits={"cpu": "1", "memory": "1Gi"}), one()], "Burstable"),
    "other resources": ([one({"example.com/x": "1"})], "BestEffort"),
}  # fmt: skip


@pytest.mark.parametrize(("containers", "expected"), QOS.values(), ids=QOS.keys())
def test_quality_of_service(containers, expected):
    assert qos_class({"spec": {"containers": containers}}) == expected


def test_limits_of_containers_and_pods():
    small, big = (
        one({"cpu": "100m"}, {"cpu": "200m", "memory": "1Mi"}),
        one({}, {"cpu": "1", "memory": "3Mi"}),
    )
    assert container_limits(small).cpu_shares == 102
    assert container_limits(small).cpu_quota_microseconds == 20000
    whole = pod_limits({"spec": {"containers": [small, big]}})
    assert (whole.cpu_quota_microseconds, whole.memory_bytes) == (120000, 4 << 20)
    assert pod_limits({"spec": {"containers": [small, one()]}}).memory_bytes == 0


@pytest.mark.parametrize(("spec", "expected"), [
    (one(), 1000), (one(limits={"cpu": "1", "memory": "1Gi"}), -997), (one({"memory": "512Mi"}), 500),
])  # fmt: skip
def test_who_dies_first(spec, expected):
    assert oom_score_adj({"spec": {"containers": [spec]}}, spec, 1 << 30) == expected


def request(**more):
    defaults = {
        "rootfs": "/r", "hostname": "h", "arguments": ["a"], "environment": [], "working_dir": "", "user": User(1, 2, (2,)),
        "capabilities": [], "mounts": [Mount("/x", "/a/b/c", True), Mount("/y", "/a")],
        "sandbox": Sandbox("s", 0, netns="/n", ipcns="/i", utsns="/u"), "shm": "/shm",
        "limits": container_limits(one({}, {"memory": "1Mi"})), "cgroup": "/g",
    }  # fmt: skip
    return Request(**(defaults | more))


def test_the_oci_document_joins_the_sandbox_and_mounts_parents_first():
    document = config(request())
    assert {"type": "network", "path": "/n"} in document["linux"]["namespaces"]
    assert [mount["destination"] for mount in document["mounts"]][-2:] == ["/a", "/a/b/c"]
    assert document["linux"]["resources"]["memory"]["limit"] == 1 << 20
    assert document["process"]["capabilities"]["bounding"] == []
    json.dumps(document)


def test_a_privileged_container_sees_all_and_a_shared_pid_namespace_is_joined():
    document = config(request(privileged=True, share_pid_of=77))
    assert "maskedPaths" not in document["linux"]
    assert {"type": "pid", "path": "/proc/77/ns/pid"} in document["linux"]["namespaces"]
