"""The other runtime, a privileged pod, and hooks: what the main module of pods does not cover."""

import pytest
import pytest_asyncio

from tests.support.node import prepared_node

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(image_cache, tmp_path_factory):
    async with prepared_node(image_cache, tmp_path_factory.mktemp("node"), runtime="runc") as node:
        yield node


async def test_pods_run_under_runc_as_well(node):
    text = await node.output("under-runc", "cat /etc/hostname; id -u", container={
        "resources": {"limits": {"memory": "32Mi", "cpu": "100m"}},
        "securityContext": {"runAsUser": 7, "capabilities": {"drop": ["ALL"]}}})  # fmt: skip
    assert text == "under-runc\n7\n"
    pod = await node.get("under-runc")
    assert pod["status"]["containerStatuses"][0]["containerID"].startswith("runc://")
    found = await node.client.get("nodes", node.name)
    assert found["status"]["nodeInfo"]["containerRuntimeVersion"].startswith("runc://1.")


async def test_exec_probes_work_under_runc(node):
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    await node.pod("probed", containers=[
        {"name": "main", "image": "busybox", "command": ["sleep", "1000"], "readinessProbe": probe}])  # fmt: skip
    await node.until("probed", lambda pod: any(
        one["type"] == "Ready" and one["status"] == "True" for one in pod.get("status", {}).get("conditions", [])))  # fmt: skip


async def test_a_privileged_container_may_mount(node):
    text = await node.output("mighty", "mount -t tmpfs x /mnt && mount | grep -c '/mnt '",
                             container={"securityContext": {"privileged": True}})  # fmt: skip
    assert text == "1\n"


async def test_the_post_start_hook_runs_before_the_pod_is_ready(node):
    hook = {"postStart": {"exec": {"command": ["sh", "-c", "echo hooked > /tmp/hook"]}}}
    text = await node.output("hooked", "sleep 0.5; cat /tmp/hook", container={"lifecycle": hook})
    assert text == "hooked\n"


async def test_a_failing_post_start_hook_kills_the_container(node):
    hook = {"postStart": {"exec": {"command": ["false"]}}}
    await node.pod("unhooked", containers=[
        {"name": "main", "image": "busybox", "command": ["sleep", "1000"], "lifecycle": hook}])  # fmt: skip
    await node.until("unhooked", lambda pod: any(
        one["restartCount"] >= 1 for one in pod.get("status", {}).get("containerStatuses", [])))  # fmt: skip
    reasons = {event["reason"] for event in await node.events("unhooked")}
    assert {"FailedPostStartHook", "Killing"} <= reasons
