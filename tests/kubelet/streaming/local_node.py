"""A node for streaming tests: real processes of this machine stand in for containers."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import signal
import ssl
import struct
import termios
from contextlib import asynccontextmanager, suppress

from aiohttp import web

from tests.support.apiserver import loopback_socket, running_api
from tests.support.certificates import authority
from todoku.api.errors import ApiError, NotFound
from todoku.kubelet.streaming import add_routes


class Writer:
    def __init__(self, stream):
        self._stream = stream

    async def write(self, data, /):
        self._stream.write(data)
        await self._stream.drain()

    async def close(self):
        with suppress(OSError, RuntimeError):
            self._stream.close()


class Piped:
    """A process with pipes."""

    def __init__(self, process, streams):
        self._process = process
        self.stdin = Writer(process.stdin) if streams.stdin else None
        self.stdout = process.stdout if streams.stdout else None
        self.stderr = process.stderr if streams.stderr else None

    async def resize(self, width, height):
        return None

    async def wait(self):
        code = await self._process.wait()
        return code if code >= 0 else 128 - code

    async def close(self):
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


class Terminal(Piped):
    """A process on a pseudo-terminal."""

    def __init__(self, process, master, reader, transport, writer):
        self._process, self._master, self._transport = process, master, transport
        self.stdin, self.stdout, self.stderr = writer, reader, None

    async def resize(self, width, height):
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGWINCH)

    async def close(self):
        await super().close()
        self._transport.close()


class TerminalInput:
    def __init__(self, master):
        self._master = master

    async def write(self, data, /):
        while data:
            data = data[os.write(self._master, data) :]

    async def close(self):
        with suppress(OSError):
            os.write(self._master, b"\x04")


class LocalBackend:
    """Satisfies `Backend`; only the pods in `pods` are here, every container is this machine."""

    def __init__(self, pods):
        self.pods = pods
        self.attached = None
        self.log = [b"one\n", b"two\n"]
        self.closed = 0
        self.stopped = set()  # names of containers

    def _check(self, pod, container):
        if pod not in self.pods:
            raise NotFound.of("pods", pod)
        if container in self.stopped:
            raise NotFound(f'container not found ("{container}")')

    async def exec(self, namespace, pod, uid, container, command, streams):
        self._check(pod, container)
        return await (_terminal(command) if streams.tty else _piped(command, streams))

    async def attach(self, namespace, pod, uid, container, streams):
        self._check(pod, container)
        return await _piped(["cat"] if streams.stdin else ["sh", "-c", "echo attached"], streams)

    async def port_forward(self, namespace, pod, uid, port):
        self._check(pod, "")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        return reader, Writer(writer)

    async def logs(self, request):
        where = request.match_info
        self._check(where["pod"], where["container"])
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        for line in self.log:
            await response.write(line)
        if request.query.get("follow") == "true":
            await asyncio.sleep(0.3)
            await response.write(b"later\n")
        return response


async def _piped(command, streams):
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE if streams.stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE if streams.stdout else asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE if streams.stderr else asyncio.subprocess.DEVNULL,
    )
    return Piped(process, streams)


async def _terminal(command):
    master, slave = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(slave)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: _TerminalProtocol(reader), os.fdopen(master, "rb", buffering=0)
    )
    return Terminal(process, master, reader, transport, TerminalInput(master))


class _TerminalProtocol(asyncio.StreamReaderProtocol):
    def connection_lost(self, exc):
        super().connection_lost(None)  # EIO is how a terminal says that nobody has it open


@web.middleware
async def _refusals(request, handler):
    try:
        return await handler(request)
    except ApiError as error:
        return web.Response(status=error.code, text=error.message)


@asynccontextmanager
async def running_api_for_nodes(folder):
    """An API server that knows the nodes' CA and has a client certificate for them."""
    ca = authority()
    ca_file, _ = ca.pair.write(folder, "node-ca")
    pair = ca.issue("kube-apiserver-kubelet-client", groups=("system:masters",))
    cert, key = pair.write(folder, "kubelet-client")
    async with running_api(
        kubelet_ca_file=ca_file, kubelet_client_cert_file=cert, kubelet_client_key_file=key
    ) as api:
        yield api


@asynccontextmanager
async def running_node(api, name="n1", pods=("web",)):
    """A node `name` with its pods in the API, its streaming server on loopback; yields the backend."""
    backend = LocalBackend(set(pods))
    app = web.Application(middlewares=[_refusals])
    add_routes(app, backend)
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", backend.logs)
    cert, key = api.authority.issue("kubelet", hosts=("127.0.0.1",)).write(api.folder, "kubelet")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=api.ca_file)
    context.load_cert_chain(cert, key)
    context.verify_mode = ssl.CERT_REQUIRED
    sock = loopback_socket()
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.SockSite(runner, sock, ssl_context=context).start()
        await _register(api, name, sock.getsockname()[1], pods)
        yield backend
    finally:
        await runner.cleanup()
        sock.close()


async def _register(api, name, port, pods):
    await _post(
        api, "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}}
    )
    await _post(api, "/api/v1/nodes", {"metadata": {"name": name}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    code, answer = await api.request(
        "PATCH", f"/api/v1/nodes/{name}/status", {"status": status},
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert code == 200, answer
    for pod in pods:
        spec = {"nodeName": name, "containers": [{"name": "main", "image": "local"}]}
        await _post(
            api, "/api/v1/namespaces/default/pods", {"metadata": {"name": pod}, "spec": spec}
        )
        running = {"phase": "Running", "containerStatuses": [
            {"name": "main", "image": "local", "imageID": "", "ready": True, "restartCount": 0,
             "state": {"running": {"startedAt": "2026-11-23T10:00:00Z"}}}]}  # fmt: skip
        code, answer = await api.request(
            "PATCH", f"/api/v1/namespaces/default/pods/{pod}/status", {"status": running},
            content_type="application/merge-patch+json",
        )  # fmt: skip
        assert code == 200, answer


async def _post(api, path, body):
    code, answer = await api.request("POST", path, body)
    assert code in (201, 409), answer
