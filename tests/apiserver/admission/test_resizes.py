"""PodResizeValidator: what a node that a pod runs on can give."""

import pytest

from tests.support.apiserver import running_api
from todoku.apiserver.admission.resizes import lacking

PODS = "/api/v1/namespaces/default/pods"
ALLOCATABLE = {"cpu": "2", "memory": "1Gi", "pods": "10"}

AMOUNTS = {
    "what fits": ({"cpu": "2", "memory": "1Gi"}, ""),
    "too much cpu": ({"cpu": "2001m"}, "cpu, requested: 2001, allocatable: 2000"),
    "too much of both": (
        {"cpu": "3", "memory": "2Gi"},
        "cpu, requested: 3000, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824",
    ),
    "what nobody asks a node for": ({"example.com/gpu": "5"}, ""),
}


@pytest.mark.parametrize(("requests", "text"), AMOUNTS.values(), ids=AMOUNTS)
def test_what_is_more_than_the_node_has(requests, text):
    spec = {"containers": [{"name": "c", "resources": {"requests": requests}}]}
    assert lacking(spec, ALLOCATABLE) == text


async def resized(api, **requests):
    body = {"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}}
    kind = "application/strategic-merge-patch+json"
    return await api.request("PATCH", f"{PODS}/web/resize", body, content_type=kind)


async def test_a_resize_beyond_its_node_is_refused():
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    node = {"metadata": {"name": "n"}, "status": {"allocatable": ALLOCATABLE, "capacity": ALLOCATABLE}}  # fmt: skip
    async with running_api() as api:
        account = {"metadata": {"name": "default"}}
        await api.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
        await api.request("POST", "/api/v1/nodes", node)
        spec = {"containers": [container], "nodeName": "n"}
        code, pod = await api.request("POST", PODS, {"metadata": {"name": "web"}, "spec": spec})
        assert code == 201, pod
        running = {"phase": "Running", "containerStatuses": [{"name": "c", "resources": {}}]}
        await api.request("PUT", f"{PODS}/web/status", {**pod, "status": running})
        code, status = await resized(api, cpu="5")
        assert (code, status["message"]) == (
            403,
            'pods "web" is forbidden: node didn\'t have enough allocatable resources:'
            " cpu, requested: 5000, allocatable: 2000",
        )
        assert status["details"]["causes"] == [{"reason": "NodeCapacity"}]
        code, pod = await resized(api, cpu="2")
        assert code == 200, pod
        labels = {"metadata": {"labels": {"kubernetes.io/os": "plan9"}}}
        await api.request("PATCH", "/api/v1/nodes/n", labels, content_type="application/merge-patch+json")  # fmt: skip
        code, status = await resized(api, cpu="1")
        assert status["message"] == (
            'pods "web" is forbidden: pod resize is only supported on linux nodes, node "n" is "plan9"'
        )
