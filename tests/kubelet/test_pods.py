"""Pods on a throw-away node: real API server, real images, real containers."""

import pytest

from tests.support.netns import needs_root

pytestmark = [pytest.mark.kernel, needs_root]


def phase(wanted):
    return lambda pod: pod.get("status", {}).get("phase") == wanted


def ready(pod):
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


async def test_the_tutorial_s_pod_serves_the_page_its_init_container_wrote(node):
    fields = {"NODE_IP": "status.hostIP", "POD_IP": "status.podIP", "NODE_NAME": "spec.nodeName",
              "POD_NAME": "metadata.name"}  # fmt: skip
    page = "Node IP: $NODE_IP, Pod IP: $POD_IP, Node: $NODE_NAME, Pod: $POD_NAME"
    await node.pod(
        "web",
        initContainers=[{
            "name": "setup-html", "image": "busybox", "command": ["sh", "-c", f'echo "{page}" > /mnt/index.html'],
            "env": [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()],
            "volumeMounts": [{"name": "html", "mountPath": "/mnt"}],
        }],
        containers=[{
            "name": "httpd", "image": "busybox", "command": ["httpd", "-f", "-h", "/www"],
            "ports": [{"containerPort": 80, "name": "http"}],
            "readinessProbe": {"httpGet": {"port": "http"}, "periodSeconds": 1},
            "volumeMounts": [{"name": "html", "mountPath": "/www"}],
        }],
        volumes=[{"name": "html", "emptyDir": {}}],
    )  # fmt: skip
    pod = await node.until("web", ready)
    status = pod["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith("10.99.0.")
    assert status["initContainerStatuses"][0]["state"]["terminated"]["reason"] == "Completed"
    assert status["containerStatuses"][0]["containerID"].startswith(("crun://", "runc://"))
    reasons = [event["reason"] for event in await node.events("web")]
    assert reasons.count("Started") == 2
    await node.client.delete("pods", "web", "default")
    await node.gone("web")
