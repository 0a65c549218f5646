"""A throw-away node: a kubelet in its own network, PID and mount namespaces, against an API server in this process.

The namespaces have an init of their own; killing it ends every container and unmounts everything.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from tests.support.netns import Netns
from todoku.api import errors
from todoku.client import Client, ClientConfig
from todoku.images import Config, ImageStore, Server
from todoku.kubelet.logs import render
from todoku.kubelet.streaming import LogOptions
from todoku.linux.cgroups import Cgroups
from todoku.linux.namespaces import socket_in

if TYPE_CHECKING:
    from tests.support.apiserver import RunningApi

_numbers = itertools.count(1)


class TestNode:
    __test__ = False

    def __init__(
        self, api: RunningApi, client: Client, folder: Path, name: str, cgroup: str, netns: Netns
    ) -> None:
        self.api, self.client, self.folder = api, client, folder
        self.name, self.cgroup, self.netns = name, cgroup, netns
        self.process: asyncio.subprocess.Process | None = None
        self.agent: asyncio.subprocess.Process | None = None

    @property
    def log(self) -> str:
        return (self.folder / "agent.log").read_text()

    async def pod(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create a pod on this node; `containers` may be given short, as one spec."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", **spec.pop("metadata", {})},
            "spec": {"nodeName": self.name, "automountServiceAccountToken": False,
                     "terminationGracePeriodSeconds": 1, **spec},
        }  # fmt: skip
        return await self.client.create("pods", body)

    async def make(self, resource: str, obj: dict[str, Any]) -> None:
        """Create an object; one that is there already is fine."""
        with contextlib.suppress(errors.AlreadyExists):
            await self.client.create(resource, obj)

    async def get(self, name: str) -> dict[str, Any]:
        return await self.client.get("pods", name, "default")

    async def until(self, name: str, condition: Any, *, seconds: float = 20) -> dict[str, Any]:
        """Wait until a pod fulfils a condition; on time-out the error shows what it was like."""
        pod: dict[str, Any] = {}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            pod = await self.get(name)
            if condition(pod):
                return pod
            await asyncio.sleep(0.02)
        events = [f"{e['reason']}: {e['message']}" for e in await self.events(name)]
        raise AssertionError(
            f"{name} never got there: {json.dumps(pod.get('status'), indent=1)}\n{events}\n{self.log[-4000:]}"
        )

    async def gone(self, name: str, *, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                await self.get(name)
            except errors.NotFound:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{name} is still there\n{self.log[-3000:]}")

    async def events(self, name: str) -> list[dict[str, Any]]:
        found = await self.client.list("events", "default")
        return [one for one in found.items if one["involvedObject"]["name"] == name]

    async def output(self, name: str, script: str, **spec: Any) -> str:
        """Run a shell script in a busybox pod to its end; what it wrote.  `container` fields go beside it."""
        container = {"name": "main", "image": "busybox", "command": ["sh", "-c", script]}
        container |= spec.pop("container", {})
        await self.pod(name, restartPolicy="Never", containers=[container], **spec)
        done = {"Succeeded", "Failed"}
        pod = await self.until(name, lambda pod: pod.get("status", {}).get("phase") in done)
        text = await self.logs(pod, "main")
        assert pod["status"]["phase"] == "Succeeded", (pod["status"], text)
        return text

    async def logs(self, pod: dict[str, Any], container: str, restart: int = 0) -> str:
        """The text of a container's log file."""
        path = self.log_folder(pod, container) / f"{restart}.log"
        shown = (render(line, LogOptions()) for line in path.read_bytes().splitlines())
        return b"".join(line for line in shown if line is not None).decode()

    def log_folder(self, pod: dict[str, Any], container: str) -> Path:
        meta = pod["metadata"]
        return (
            self.folder / "host/var/log/pods" / f"default_{meta['name']}_{meta['uid']}" / container
        )

    def log_of(self, pod: dict[str, Any], container: str, restart: int = 0) -> str:
        """The raw log file."""
        return (self.log_folder(pod, container) / f"{restart}.log").read_text()

    async def inside(self, *argv: str, check: bool = True) -> str:
        """Run a program of this machine inside the node's namespaces; its output."""
        init = await self._init()
        process = await asyncio.create_subprocess_exec(
            "nsenter", f"--target={init}", "--net", "--mount", "--pid", "--", *argv,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert not check or process.returncode == 0, out.decode()
        return out.decode()

    @asynccontextmanager
    async def kubelet(self, *, cert: bool = True) -> AsyncIterator[aiohttp.ClientSession]:
        """A client of the node's port 10250, with the administrator's certificate or without one."""
        context = ssl.create_default_context(cafile=self.api.ca_file)
        if cert:
            context.load_cert_chain(self.api.cert_file, self.api.key_file)

        def inside(address: Any) -> socket.socket:
            sock = socket_in(self.netns.path, address[0], address[1])
            sock.setblocking(False)
            return sock

        connector = aiohttp.TCPConnector(ssl=context, socket_factory=inside)
        async with aiohttp.ClientSession("https://127.0.0.1:10250", connector=connector) as session:
            yield session

    async def stop_agent(self, number: int = signal.SIGTERM) -> None:
        assert self.agent is not None
        # nsenter forks to enter the PID namespace: its child is the agent
        pid = Path(f"/proc/{self.agent.pid}/task/{self.agent.pid}/children").read_text().split()[0]
        os.kill(int(pid), number)
        await self.agent.wait()

    async def start_agent(self) -> None:
        """Run the kubelet inside the node's namespaces."""
        assert self.process is not None
        init = await self._init()
        with open(self.folder / "agent.log", "ab") as log:
            self.agent = await asyncio.create_subprocess_exec(
                "nsenter", f"--target={init}", "--net", "--mount", "--pid", f"--wd={Path(__file__).parents[2]}",
                sys.executable, "-m", "tests.support.kubelet_child", str(self.folder / "settings.json"),
                stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip

    async def _init(self) -> int:
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        for _ in range(500):
            children = path.read_text().split()
            if children and b"catatonit" in Path(f"/proc/{children[0]}/cmdline").read_bytes():
                return int(children[0])
            await asyncio.sleep(0.01)
        raise AssertionError("the node's init did not start")


@asynccontextmanager
async def prepared_node(image_cache: Path, folder: Path, **more: Any) -> AsyncIterator[TestNode]:
    """A node with an API server and an image service of its own; `more` are settings of its kubelet."""
    from tests.support.apiserver import running_api  # only where a server is really started

    config = Config(
        root=image_cache / "images", packages=image_cache / "packages", order=("recipe",)
    )
    async with (
        running_api() as api,
        Server(ImageStore(config), folder / "images.sock"),
        running_node(api, folder / "images.sock", folder / "node", **more) as node,
    ):
        await node.make("namespaces", {"metadata": {"name": "default"}})
        await node.make("namespaces", {"metadata": {"name": "kube-node-lease"}})
        await node.make(
            "serviceaccounts", {"metadata": {"name": "default", "namespace": "default"}}
        )
        yield node


@asynccontextmanager
async def running_node(
    api: RunningApi, images: Path, folder: Path, **more: Any
) -> AsyncIterator[TestNode]:
    name = f"node-{next(_numbers)}"
    for part in ("root", "host", "run"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    cgroup = f"/todoku-test-{os.getpid()}-{name}"
    timings = {"backoff_initial": 0.3, "retry": 0.2, "housekeeping": 0.2, **more.pop("timings", {})}
    settings = {
        "node_name": name, "root_dir": str(folder / "root"), "host_root": str(folder / "host"),
        "run_dir": str(folder / "run"), "kubeconfig": api.kubeconfig, "images": str(images),
        "timings": timings, "more": {"cgroup_parent": cgroup, **more},
    }  # fmt: skip
    pair = api.authority.issue(
        f"system:node:{name}", groups=("system:nodes",), hosts=("127.0.0.1",)
    )
    cert, key = pair.write(folder, "kubelet")
    settings["more"] |= {"server_cert": cert, "server_key": key, "client_ca": api.ca_file}
    (folder / "settings.json").write_text(json.dumps(settings))
    netns = Netns(name)
    try:
        async with (
            _relayed(netns, api.url) as _,
            Client(ClientConfig.from_kubeconfig(api.kubeconfig)) as client,
        ):
            node = TestNode(api, client, folder, name, cgroup, netns)
            node.process = await asyncio.create_subprocess_exec(
                "nsenter", f"--net={netns.path}", "--", "unshare", "--mount", "--pid", "--fork", "--mount-proc",
                "--kill-child", "catatonit", "-P",
            )  # fmt: skip
            try:
                await node.start_agent()
                yield node
            finally:
                if node.agent is not None and node.agent.returncode is None:
                    await node.stop_agent(signal.SIGKILL)
                node.process.kill()
                await node.process.wait()
                cgroups = Cgroups()
                await asyncio.to_thread(cgroups.kill, cgroup)
                await asyncio.to_thread(cgroups.delete, cgroup)
    finally:
        netns.close()


@asynccontextmanager
async def _relayed(netns: Netns, url: str) -> AsyncIterator[None]:
    """The API server's loopback port, inside the node's namespace as well."""
    port = int(url.rsplit(":", 1)[1])
    sock = socket_in(netns.path, socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", port))

    talks: set[asyncio.Task[None] | None] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", port)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_pump(reader, back))
                    tasks.create_task(_pump(there, writer))
            finally:
                back.close()
        writer.close()

    async with await asyncio.start_server(talk, sock=sock) as server:
        yield
        server.close()
        for task in talks:
            if task is not None:
                task.cancel()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
