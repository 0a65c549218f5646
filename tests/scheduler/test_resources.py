"""What a pod asks for."""

from __future__ import annotations

import pytest

from todoku.scheduler.resources import nonzero_requests, requests


def container(cpu: str, **more: object) -> dict[str, object]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu}}} | more


SIDECAR = {"restartPolicy": "Always"}


@pytest.mark.parametrize(
    ("spec", "cpu"),
    [
        pytest.param({"containers": [container("1"), container("500m")]}, 1500, id="containers add up"),
        pytest.param({"containers": [container("1")], "initContainers": [container("3"), container("2")]}, 3000, id="the greatest init step"),
        pytest.param({"containers": [container("1")], "initContainers": [container("1", **SIDECAR)]}, 2000, id="a sidecar runs beside"),
        pytest.param(
            {"containers": [container("1")], "initContainers": [container("1", **SIDECAR), container("3")]}, 4000,
            id="an init step beside a sidecar",
        ),
        pytest.param({"containers": [container("1")], "overhead": {"cpu": "250m"}}, 1250, id="overhead"),
        pytest.param({"containers": [container("1")], "resources": {"requests": {"cpu": "3"}}}, 3000, id="at pod level"),
        pytest.param({"containers": [{"name": "c"}]}, 0, id="nothing"),
    ],
)  # fmt: skip
def test_requests(spec, cpu):
    assert requests({"spec": spec}).get("cpu", 0) == cpu


def test_containers_that_ask_for_nothing_count_a_little_when_nodes_are_compared():
    assert nonzero_requests({"spec": {"containers": [{"name": "a"}, container("1")]}}) == {
        "cpu": 1100,
        "memory": 2 * 200 * 1024 * 1024,
    }


@pytest.mark.parametrize(
    ("reason", "cpu"),
    [
        pytest.param("Infeasible", 200, id="never to be granted"),
        pytest.param("Deferred", 1500, id="granted later"),
        pytest.param("", 1500, id="under way"),
    ],
)
def test_a_resize_takes_what_is_wished_unless_it_cannot_be(reason, cpu):
    condition = {"type": "PodResizePending" if reason else "PodResizeInProgress", "reason": reason}
    running = {"requests": {"cpu": "200m"}}
    status = {
        "conditions": [condition],
        "containerStatuses": [
            {"name": "a", "allocatedResources": {"cpu": "100m"}, "resources": running}
        ],
    }
    wished = {"name": "a", "resources": {"requests": {"cpu": "1500m"}}}
    assert requests({"spec": {"containers": [wished]}, "status": status}) == {"cpu": cpu}
