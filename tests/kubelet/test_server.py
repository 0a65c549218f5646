"""The kubelet's port 10250 on a throw-away node: who may ask, logs, exec, attach and port-forward."""

import asyncio
import json

import pytest
import pytest_asyncio

pytestmark = [pytest.mark.kernel, pytest.mark.asyncio(loop_scope="module")]

TALK = {"name": "main", "image": "busybox",
        "command": ["sh", "-c", "echo one; sleep 0.1; echo two >&2; sleep 0.1; echo three; httpd -p 8080 -h /etc; exec sleep 1000"]}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def talker(node):
    await node.pod("talker", containers=[TALK])
    pod = await node.until("talker", lambda pod: pod.get("status", {}).get("phase") == "Running")
    async with asyncio.timeout(5):
        while "three" not in node.log_of(pod, "main"):
            await asyncio.sleep(0.02)
    return pod


@pytest.mark.parametrize(("path", "cert", "status"), [
    ("/healthz", False, 200), ("/pods", False, 401), ("/pods", True, 200),
    ("/containerLogs/default/nobody/main", True, 404), ("/containerLogs/default/talker/main?tailLines=x", True, 400),
])  # fmt: skip
async def test_only_the_api_server_and_administrators_are_answered(
    node, talker, path, cert, status
):
    async with node.kubelet(cert=cert) as session, session.get(path) as response:
        assert response.status == status, await response.text()


@pytest.mark.parametrize(("query", "expected"), [
    ("", "one\ntwo\nthree\n"), ("?tailLines=1", "three\n"), ("?limitBytes=5", "one\nt"),
    ("?stream=Stderr", "two\n"), ("?sinceSeconds=3600", "one\ntwo\nthree\n"), ("?tailLines=0", ""),
    ("?sinceTime=2100-01-01T00:00:00Z", ""),
])  # fmt: skip
async def test_logs_as_asked_for(node, talker, query, expected):
    async with (
        node.kubelet() as session,
        session.get(f"/containerLogs/default/talker/main{query}") as response,
    ):
        assert await response.text() == expected


async def test_timestamps_lead_the_lines(node, talker):
    async with (
        node.kubelet() as session,
        session.get("/containerLogs/default/talker/main?timestamps=true") as response,
    ):
        first = (await response.text()).splitlines()[0]
    stamp, _, text = first.partition(" ")
    assert text == "one" and stamp[4] == "-" and "T" in stamp


async def test_following_ends_with_the_container(node):
    await node.pod("brief", restartPolicy="Never", containers=[
        TALK | {"command": ["sh", "-c", "echo a; sleep 0.5; echo b"]}])  # fmt: skip
    await node.until("brief", lambda pod: pod.get("status", {}).get("phase") == "Running")
    async with (
        node.kubelet() as session,
        session.get("/containerLogs/default/brief/main?follow=true") as response,
    ):
        async with asyncio.timeout(5):
            assert await response.text() == "a\nb\n"


async def test_the_log_before_a_restart_can_be_read(node):
    await node.pod(
        "again", containers=[TALK | {"command": ["sh", "-c", "echo run; sleep 0.2; exit 1"]}]
    )
    await node.until("again", lambda pod: any(
        one["restartCount"] >= 1 for one in pod.get("status", {}).get("containerStatuses", [])))  # fmt: skip
    async with (
        node.kubelet() as session,
        session.get("/containerLogs/default/again/main?previous=true") as response,
    ):
        assert (response.status, await response.text()) == (200, "run\n")


async def exec_(node, pod, *command, stdin=None, tty=False):
    """(stdout, stderr, status) of a command over WebSocket, v5.channel.k8s.io."""
    query = [("command", one) for one in command] + [("output", "1")]
    query += [("tty", "1")] if tty else [("error", "1")]
    query += [("input", "1")] if stdin is not None else []
    out = {1: b"", 2: b"", 3: b""}
    async with node.kubelet() as session, session.ws_connect(
        f"/exec/default/{pod}/main", params=query, protocols=("v5.channel.k8s.io",)
    ) as ws:  # fmt: skip
        if stdin is not None:
            await ws.send_bytes(b"\x00" + stdin)
            await ws.send_bytes(b"\xff\x00")  # v5: the end of stdin
        async with asyncio.timeout(10):
            async for message in ws:
                out[message.data[0]] += message.data[1:]
    return out[1].decode(), out[2].decode(), json.loads(out[3])


async def test_exec_brings_output_errors_and_the_status(node, talker):
    out, error, status = await exec_(node, "talker", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (out, error) == ("out\n", "err\n")
    assert status["details"]["causes"] == [{"reason": "ExitCode", "message": "7"}]


async def test_exec_passes_input_on_to_its_end(node, talker):
    out, _, status = await exec_(node, "talker", "wc", "-c", stdin=b"12345")
    assert out.strip() == "5" and status["status"] == "Success"


async def test_exec_with_a_terminal_is_one(node, talker):
    out, _, _ = await exec_(node, "talker", "sh", "-c", "tty; echo $TERM", tty=True)
    assert out == "/dev/pts/0\r\nxterm\r\n"


async def test_exec_of_a_missing_command_says_so(node, talker):
    out, error, status = await exec_(node, "talker", "no-such-command")
    assert status["status"] == "Failure"
    assert "no-such-command" in out + error + json.dumps(status)


async def test_attach_shows_what_comes_next(node):
    await node.pod("chatty", containers=[
        TALK | {"stdin": True, "command": ["sh", "-c", "while read line; do echo got $line; done"]}])  # fmt: skip
    await node.until("chatty", lambda pod: pod.get("status", {}).get("phase") == "Running")
    async with node.kubelet() as session, session.ws_connect(
        "/attach/default/chatty/main?input=1&output=1&error=1", protocols=("v5.channel.k8s.io",)
    ) as ws:  # fmt: skip
        await ws.send_bytes(b"\x00hello\n")
        async with asyncio.timeout(5):
            async for message in ws:
                if message.data[1:]:
                    assert message.data == b"\x01got hello\n"
                    break


async def test_summary_counts_what_the_node_and_its_pods_use(node, talker):
    async with node.kubelet() as session, session.get("/stats/summary") as response:
        summary = await response.json()
    found = {pod["podRef"]["name"]: pod for pod in summary["pods"]}
    assert (
        found["talker"]["memory"]["usageBytes"] >= found["talker"]["memory"]["workingSetBytes"] > 0
    )
    assert [one["name"] for one in found["talker"]["containers"]] == ["main"]
    disk = summary["node"]["fs"]
    assert 0 < disk["availableBytes"] < disk["capacityBytes"]
    assert summary["node"]["memory"]["availableBytes"] > 0


async def test_the_resource_metrics_are_those_that_metrics_server_reads(node, talker):
    async with node.kubelet() as session, session.get("/metrics/resource") as response:
        assert response.content_type == "text/plain"
        page = await response.text()
    labels = 'container="main",namespace="default",pod="talker"'
    for start in (
        "node_cpu_usage_seconds_total ", "node_memory_working_set_bytes ",
        f"container_cpu_usage_seconds_total{{{labels}}} ",
        f"container_memory_working_set_bytes{{{labels}}} ",
        f"container_start_time_seconds{{{labels}}} ",
        'pod_cpu_usage_seconds_total{namespace="default",pod="talker"} ',
        'pod_memory_working_set_bytes{namespace="default",pod="talker"} ',
        "resource_scrape_error 0",
    ):  # fmt: skip
        assert any(line.startswith(start) for line in page.splitlines()), start


async def test_the_kubelet_tells_its_configuration_and_its_own_metrics(node, talker):
    async with node.kubelet() as session:
        async with session.get("/configz") as response:
            told = (await response.json())["kubeletconfig"]
        assert (told["kind"], told["clusterDomain"]) == ("KubeletConfiguration", "cluster.local")
        async with session.get("/metrics") as response:
            page = await response.text()
    assert 'kubelet_node_name{node="' in page
    running = next(line for line in page.splitlines() if line.startswith("kubelet_running_pods "))
    assert int(running.split()[1]) >= 1


async def test_the_logs_of_the_node_are_browsed_and_nothing_else(node, talker):
    async with node.kubelet() as session:
        async with session.get("/logs/") as response:
            assert '<a href="pods/">pods/</a>' in await response.text()
        async with session.get("/logs/pods", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (301, "pods/")
        folder = f"default_talker_{talker['metadata']['uid']}"
        async with session.get(f"/logs/pods/{folder}/main/0.log") as response:
            assert " stdout F one\n" in await response.text()
        for outside in ("/logs/nothing", "/logs/..%2f..%2fetc/passwd"):
            async with session.get(outside) as response:
                assert response.status == 404
