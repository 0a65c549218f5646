"""exec, attach, cp, port-forward and logs with stock kubectl: through the API server to a node's streaming server."""

import asyncio
import fcntl
import hashlib
import os
import pty
import re
import struct
import termios
from contextlib import asynccontextmanager

import pytest

from tests.kubelet.streaming.local_node import running_api_for_nodes, running_node
from tests.support.kubectl import Kubectl, kubectls, require_kubectl

PROGRAMS = kubectls() or [""]


class Lab:
    def __init__(self, kubectl, node):
        self.kubectl, self.node = kubectl, node

    @asynccontextmanager
    async def started(self, *args, **streams):
        """kubectl running in the background."""
        process = await asyncio.create_subprocess_exec(
            self.kubectl.program, f"--kubeconfig={self.kubectl.kubeconfig}", *args, **streams
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()


@pytest.fixture(params=PROGRAMS, ids=[os.path.basename(one) or "none" for one in PROGRAMS])
async def lab(request, tmp_path):
    program = request.param or require_kubectl()
    async with running_api_for_nodes(tmp_path) as api, running_node(api) as node:
        yield Lab(Kubectl(program, api.kubeconfig, str(tmp_path / "cache")), node)


async def test_exec_returns_output_and_exit_status(lab):
    result = await lab.kubectl.run(
        "exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 7"
    )
    assert (result.code, result.out) == (7, "out\n")
    assert "err\n" in result.err
    assert "command terminated with exit code 7" in result.err
    assert (await lab.kubectl.run("exec", "web", "--", "true")).code == 0


async def test_exec_passes_stdin_and_its_end(lab):
    text = "".join(f"line {number}\n" for number in range(20_000))
    assert await lab.kubectl("exec", "-i", "web", "--", "cat", stdin=text) == text
    assert await lab.kubectl("exec", "-i", "web", "--", "sh", "-c", "wc -c", stdin="abc") == "3\n"


async def test_large_output_arrives_whole(lab):
    script = "head -c 30000000 /dev/zero | tr '\\0' x"
    out = await lab.kubectl("exec", "web", "--", "sh", "-c", script)
    assert len(out) == 30_000_000
    assert set(out) == {"x"}


async def test_a_reader_that_stops_early_does_not_hang_the_writer(lab):
    text = "x" * 1_000_000
    assert await lab.kubectl("exec", "-i", "web", "--", "head", "-c", "3", stdin=text) == "xxx"


async def test_exec_refusals_are_told(lab):
    result = await lab.kubectl.run("exec", "nobody", "--", "true")
    assert 'pods "nobody" not found' in result.err
    result = await lab.kubectl.run("exec", "web", "-c", "other", "--", "true")
    assert (
        "container other is not valid for pod web" in result.err
        or "container not found" in result.err
    )
    lab.node.pods.clear()
    result = await lab.kubectl.run("exec", "web", "--", "true")
    assert result.code == 1
    assert 'pods "web" not found' in result.err


async def test_exec_in_a_container_that_does_not_run_says_so_in_upstreams_words(lab):
    lab.node.stopped.add("main")
    result = await lab.kubectl.run("exec", "web", "--", "true")
    assert result.code == 1
    over_spdy = 'error: unable to upgrade connection: container not found ("main")'
    over_websocket = over_spdy.replace("error: ", "error: Internal error occurred: ")
    assert result.err.strip().splitlines()[-1] in (over_spdy, over_websocket)


async def test_exec_with_a_terminal_has_its_size_and_echo(lab):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    script = "sleep 0.3; stty size; read line; echo got $line; exit 3"
    try:
        async with lab.started(
            "exec", "-it", "web", "--", "sh", "-c", script,
            stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        ) as process:  # fmt: skip
            os.write(master, b"hello\n")
            seen = await asyncio.to_thread(_read_until, master, b"exit code 3")
            assert await process.wait() == 3
    finally:
        os.close(master)
        os.close(slave)
    assert re.search(rb"33 99", seen)
    assert b"got hello" in seen


def _read_until(descriptor, text):
    seen = b""
    while text not in seen:
        seen += os.read(descriptor, 4096)
    return seen


async def test_cp_both_ways(lab, tmp_path):
    data = os.urandom(3_000_000)
    (tmp_path / "here").write_bytes(data)
    away, back = tmp_path / "away", tmp_path / "back"
    await lab.kubectl("cp", str(tmp_path / "here"), f"web:{away}")
    assert away.read_bytes() == data
    await lab.kubectl("cp", f"web:{away}", str(back))
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(data).digest()


async def test_attach_reads_and_writes_the_main_process(lab):
    assert (await lab.kubectl("attach", "web")).endswith("attached\n")
    out = await lab.kubectl("attach", "-i", "web", stdin="echoed\n")
    assert "echoed\n" in out


async def test_logs_and_following_them(lab):
    assert await lab.kubectl("logs", "web") == "one\ntwo\n"
    assert await lab.kubectl("logs", "-f", "web") == "one\ntwo\nlater\n"


async def test_logs_of_a_container_that_waits_say_why(lab):
    result = await lab.kubectl.run("logs", "web", "-c", "missing")
    assert "container missing is not valid for pod web" in result.err
    lab.node.pods.clear()
    result = await lab.kubectl.run("logs", "web")
    assert 'pods "web" not found' in result.err


@asynccontextmanager
async def echo_server():
    async def serve(reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def forwarded(lab, port):
    """The local port of `kubectl port-forward`."""
    async with lab.started(
        "port-forward", "web", f":{port}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    ) as process:  # fmt: skip
        line = (await process.stdout.readline()).decode()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line + (await process.stderr.read()).decode()
        yield int(found.group(1)), process


async def test_port_forward_carries_many_connections_at_once(lab):
    data = os.urandom(400_000)

    async def exchange(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        sending = asyncio.create_task(_send(writer, data))
        got = await reader.readexactly(len(data))
        await sending
        writer.close()
        await writer.wait_closed()
        return got == data

    async with echo_server() as port, forwarded(lab, port) as (local, _), asyncio.timeout(30):
        assert await asyncio.gather(*(exchange(local) for _ in range(10))) == [True] * 10
        assert await exchange(local)


async def _send(writer, data):
    for start in range(0, len(data), 50_000):
        writer.write(data[start : start + 50_000])
        await writer.drain()


async def test_a_port_nobody_listens_on_is_reported_and_the_forward_goes_on(lab):
    async with echo_server() as port:
        pass
    async with forwarded(lab, port) as (local, process), asyncio.timeout(30):
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(b"x")
        assert await reader.read() == b""
        writer.close()
        line = await process.stderr.readline()
        assert b"error forwarding port" in line
