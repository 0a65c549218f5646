"""Logs that grow beyond their limit, on a node whose limit is small."""

import asyncio

import pytest
import pytest_asyncio

from tests.support.node import prepared_node

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(image_cache, tmp_path_factory):
    folder = tmp_path_factory.mktemp("node")
    async with prepared_node(image_cache, folder, log_limit_bytes=4000, log_files=3) as node:
        yield node


async def test_a_grown_log_is_rotated_and_a_follower_misses_nothing(node):
    script = "i=0; while [ $i -lt 400 ]; do echo line-$i; i=$((i+1)); sleep 0.005; done; sleep 1"
    await node.pod("loud", restartPolicy="Never", containers=[
        {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}])  # fmt: skip
    pod = await node.until("loud", lambda pod: pod.get("status", {}).get("phase") == "Running")
    async with (
        node.kubelet() as session,
        session.get("/containerLogs/default/loud/main?follow=true") as response,
    ):
        async with asyncio.timeout(20):
            seen = (await response.text()).splitlines()
    files = sorted(path.name for path in node.log_folder(pod, "main").iterdir())
    assert 2 <= len(files) <= 3 and files[0] == "0.log"
    assert seen == [f"line-{number}" for number in range(400)]
