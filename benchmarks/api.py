"""The API server under one client in another process: latencies, throughput, lists, watch fan-out, memory.

Run: ./bench api [--objects 2000] [--rounds 5].  The server stores in SQLite on the disk of the temporary folder.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import aiohttp  # noqa: E402
import uvloop  # noqa: E402

from benchmarks.figures import emit, note  # noqa: E402

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
JSON = "application/json"


def pod(number: int) -> dict[str, Any]:
    """A pod of about the size that a Deployment makes."""
    labels = {"app": f"app-{number % 20}", "pod-template-hash": "5d4f8c7b9", "tier": "web"}
    env = [{"name": f"VARIABLE_{n}", "value": f"value-{n}-" + "x" * 20} for n in range(3)]
    container = {
        "name": "web",
        "image": "registry.example.com/team/web:1.2.3",
        "env": env,
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}},
        "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 10},
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    return {
        "metadata": {"name": f"web-{number:06}", "labels": labels},
        "spec": {"containers": [container], "volumes": [{"name": "data", "emptyDir": {}}]},
    }


class Client:
    """A JSON client over TLS that keeps its connections."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self.url = url
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=context, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
        )

    async def request(
        self, method: str, path: str, body: Any = None, content_type: str = JSON
    ) -> bytes:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": content_type} if data is not None else {}
        async with self.session.request(
            method, self.url + path, data=data, headers=headers
        ) as response:
            answer = await response.read()
            if response.status >= 300:
                raise RuntimeError(f"{method} {path}: {response.status} {answer[:300]!r}")
            return answer

    async def close(self) -> None:
        await self.session.close()


async def timed(run: Callable[[], Awaitable[object]]) -> float:
    """Milliseconds."""
    started = time.perf_counter()
    await run()
    return (time.perf_counter() - started) * 1000


async def latencies(client: Client, count: int) -> None:
    """One client, one request at a time; each value is one request."""

    def body(n: int, **data: str) -> dict[str, Any]:
        return {"metadata": {"name": f"one-{n}"}, "data": {"a": "1", **data}}

    async def each(act: Callable[[int], Awaitable[object]]) -> list[float]:
        return [await timed(lambda n=n: act(n)) for n in range(count)]  # type: ignore[misc]

    request = client.request
    emit("create ConfigMap", await each(lambda n: request("POST", CONFIG_MAPS, body(n))), "ms")
    emit("get ConfigMap", await each(lambda n: request("GET", f"{CONFIG_MAPS}/one-{n}")), "ms")
    merge = "application/merge-patch+json"
    patch = await each(
        lambda n: request("PATCH", f"{CONFIG_MAPS}/one-{n}", {"data": {"b": "2"}}, merge)
    )
    emit("merge patch ConfigMap", patch, "ms")
    apply = "application/apply-patch+yaml"

    def applied(n: int) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "ConfigMap", **body(n, c="3")}

    query = "?fieldManager=bench&force=true"
    patch = await each(
        lambda n: request("PATCH", f"{CONFIG_MAPS}/one-{n}{query}", applied(n), apply)
    )
    emit("apply patch ConfigMap", patch, "ms")
    await request("DELETE", CONFIG_MAPS)


async def throughput(client: Client, count: int) -> None:
    """50 requests in flight; one value for the whole run."""
    rate = await in_flight(50, count, lambda n: client.request("POST", PODS, pod(n)))
    emit("create pods, 50 in flight", [rate], "/s", objects=count)
    rate = await in_flight(50, count, lambda n: client.request("GET", f"{PODS}/web-{n:06}"))
    emit("get pods, 50 in flight", [rate], "/s", objects=count)


async def in_flight(width: int, count: int, act: Callable[[int], Awaitable[object]]) -> float:
    numbers = iter(range(count))

    async def work() -> None:
        for n in numbers:
            await act(n)

    started = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(width):
            tasks.create_task(work())
    return count / (time.perf_counter() - started)


async def lists(client: Client, rounds: int, objects: int) -> None:
    sizes = []

    async def all_pods() -> None:
        sizes.append(len(await client.request("GET", PODS)))

    values = [await timed(all_pods) for _ in range(rounds)]
    emit("list pods", values, "ms", objects=objects, bytes=sizes[-1])
    path = f"{PODS}?labelSelector=app%3Dapp-3"
    values = [await timed(lambda: client.request("GET", path)) for _ in range(rounds)]
    emit("list the 5 % of pods with a label", values, "ms", objects=objects)
    values = [
        await timed(lambda: client.request("GET", f"{PODS}?limit=100")) for _ in range(rounds)
    ]
    emit("list a page of 100 pods", values, "ms", objects=objects)


async def fan_out(client: Client, watchers: int, rounds: int) -> None:
    """From sending a create to the last of all watchers having read its event."""
    async with contextlib.AsyncExitStack() as stack:
        streams = []
        path = f"{client.url}{CONFIG_MAPS}?watch=1&timeoutSeconds=600"
        for _ in range(watchers):
            streams.append(await stack.enter_async_context(client.session.get(path)))
        values = []
        for n in range(rounds):
            body = {"metadata": {"name": f"seen-{n}"}}

            async def seen_by_all(body: dict[str, Any] = body) -> None:
                async with asyncio.TaskGroup() as tasks:
                    for stream in streams:
                        tasks.create_task(stream.content.readline())
                    tasks.create_task(client.request("POST", CONFIG_MAPS, body))

            values.append(await timed(seen_by_all))
    emit("create seen by all watchers", values, "ms", watchers=watchers)
    await client.request("DELETE", CONFIG_MAPS)


async def growth(client: Client, sizes: Sequence[int], rounds: int) -> None:
    """The same answers out of ever larger stores: one object, a page of 100, 100 with a label, a create."""
    there = 0
    path = "/api/v1/namespaces/kube-public/configmaps"

    def config_map(n: int) -> dict[str, Any]:
        labels = {"app": "few" if n < 100 else f"many-{n % 50}"}
        return {"metadata": {"name": f"g-{n:06}", "labels": labels}, "data": {"a": "x" * 200}}

    for size in sizes:
        start = there
        await in_flight(
            50,
            size - there,
            lambda n, start=start: client.request("POST", path, config_map(start + n)),
        )
        there = size
        for figure, query in (
            ("get one", f"{path}/g-000050"),
            ("list a page of 100", f"{path}?limit=100"),
            ("list 100 by label", f"{path}?labelSelector=app%3Dfew"),
        ):
            await client.request("GET", query)
            values = [await timed(lambda q=query: client.request("GET", q)) for _ in range(rounds)]
            emit(f"{figure}, growing store", values, "ms", objects=size)
        numbers = range(900_000 + size, 900_000 + size + rounds)
        extra = [
            await timed(lambda n=n: client.request("POST", path, config_map(n))) for n in numbers
        ]
        emit("create, growing store", extra, "ms", objects=size)


async def clear(client: Client, objects: int) -> None:
    value = await timed(lambda: client.request("DELETE", PODS))
    emit("deletecollection of pods", [value], "ms", objects=objects)


def resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


@contextlib.asynccontextmanager
async def server(folder: Path) -> AsyncIterator[tuple[Client, int, float]]:
    """The server in a process of its own: a client, its pid, and milliseconds from start to ready."""
    from tests.support.certificates import authority

    ca = authority()
    ca.pair.write(folder, "ca")
    ca.issue("server", hosts=("127.0.0.1",)).write(folder, "server")
    cert, key = ca.issue("admin", groups=("system:masters",)).write(folder, "admin")
    ready, write = os.pipe()
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, __file__, "--serve", str(folder), "--ready", str(write)],
        pass_fds=(write,),
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}"},
    )
    os.close(write)
    try:
        with os.fdopen(ready) as pipe:
            port = (await asyncio.to_thread(pipe.readline)).strip()
        took = (time.perf_counter() - started) * 1000
        if not port:
            raise RuntimeError("the server did not start")
        context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
        context.load_cert_chain(cert, key)
        client = Client(f"https://127.0.0.1:{port}", context)
        try:
            yield client, process.pid, took
        finally:
            await client.close()
    finally:
        process.terminate()
        process.wait(10)


async def measure(objects: int, rounds: int, watchers: int, sizes: Sequence[int]) -> None:
    with tempfile.TemporaryDirectory(prefix="todoku-bench-") as name:
        async with server(Path(name)) as (client, pid, took):
            emit("process start to ready", [took], "ms")
            emit("resident memory, empty", [resident_mib(pid)], "MiB")
            account = {"metadata": {"name": "default"}}
            await client.request("POST", "/api/v1/namespaces/default/serviceaccounts", account)
            await latencies(client, 200)
            await fan_out(client, watchers, rounds)
            await throughput(client, objects)
            emit("resident memory", [resident_mib(pid)], "MiB", objects=objects)
            await lists(client, rounds, objects)
            await clear(client, objects)
            if sizes:
                await growth(client, sizes, rounds * 5)
                emit("resident memory", [resident_mib(pid)], "MiB", objects=sizes[-1])


async def serve(folder: Path, ready: int) -> None:
    import signal
    import socket

    from todoku.apiserver.config import Config
    from todoku.apiserver.process import tune
    from todoku.apiserver.server import ApiServer

    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    config = Config(
        sockets=[sock],
        store=str(folder / "todoku.db"),
        cert_file=str(folder / "server.crt"),
        key_file=str(folder / "server.key"),
        client_ca_file=str(folder / "ca.crt"),
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with ApiServer(config):
        tune()
        os.write(ready, f"{sock.getsockname()[1]}\n".encode())
        os.close(ready)
        await stop.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--watchers", type=int, default=100)
    parser.add_argument("--growth", default="1000,10000,50000", help="store sizes; empty skips it")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--ready", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        uvloop.run(serve(Path(options.serve), options.ready))
        return
    note(f"API server: {options.objects} pods, {options.watchers} watchers")
    sizes = [int(size) for size in options.growth.split(",") if size]
    uvloop.run(measure(options.objects, options.rounds, options.watchers, sizes))


if __name__ == "__main__":
    main()
