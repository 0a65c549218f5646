"""In-place resize of containers that run: the limits as the container itself reads them."""

import asyncio
import time

import pytest

from todoku.api.errors import Forbidden

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

# Prints the container's memory limit, of either version of control groups, whenever it has changed.
SCRIPT = """
cd /sys/fs/cgroup; old=
while :; do
  new=$(cat memory/memory.limit_in_bytes memory.max 2>/dev/null)
  [ "$new" = "$old" ] || echo "limit $new"
  old=$new; sleep 0.1
done
"""
SMALL = {"requests": {"cpu": "50m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"}}
LARGE = {"requests": {"cpu": "80m", "memory": "48Mi"}, "limits": {"cpu": "200m", "memory": "96Mi"}}


def with_resources(name, wanted, restarts=0):
    def holds(pod):
        found = {one["name"]: one for one in pod.get("status", {}).get("containerStatuses", [])}
        one = found.get(name, {})
        settled = not any("Resize" in c["type"] for c in pod["status"].get("conditions", []))
        return one.get("resources") == wanted and one["restartCount"] == restarts and settled

    return holds


async def resize(node, **wanted):
    changes = [{"name": name, "resources": one} for name, one in wanted.items()]
    body = {"spec": {"containers": changes}}
    await node.client.patch(
        "pods", "resized", "default", body, kind="strategic", subresource="resize"
    )


async def shows(node, pod, line):
    deadline = time.monotonic() + 5
    while line not in await node.logs(pod, "main"):
        assert time.monotonic() < deadline, await node.logs(pod, "main")
        await asyncio.sleep(0.05)


async def test_limits_change_while_a_container_runs_or_by_its_restart_if_it_says_so(node):
    main = {"name": "main", "image": "busybox", "command": ["sh", "-c", SCRIPT], "resources": SMALL}
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    beside = main | {"name": "beside", "command": ["sleep", "1000"], "resizePolicy": policy}
    await node.pod("resized", terminationGracePeriodSeconds=0, containers=[main, beside])
    pod = await node.until("resized", with_resources("main", SMALL))
    await shows(node, pod, f"limit {64 << 20}\n")

    await resize(node, main=LARGE, beside=LARGE)
    await node.until("resized", with_resources("beside", LARGE, restarts=1))
    pod = await node.until("resized", with_resources("main", LARGE))
    await shows(node, pod, f"limit {96 << 20}\n")
    assert pod["status"]["containerStatuses"][0]["allocatedResources"] == LARGE["requests"]

    await node.stop_agent()
    await node.start_agent()
    await resize(node, main=SMALL)
    pod = await node.until("resized", with_resources("main", SMALL))
    await shows(node, pod, f"limit {64 << 20}\nlimit {96 << 20}\nlimit {64 << 20}\n")

    much = {"requests": {"cpu": "1000"}, "limits": {"cpu": "1000"}}
    with pytest.raises(Forbidden, match="didn't have enough allocatable resources: cpu"):
        await resize(node, main=much)
    pod = await node.until("resized", with_resources("main", SMALL))
    assert pod["status"]["observedGeneration"] == pod["metadata"]["generation"] == 3
