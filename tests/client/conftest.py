"""A small API server in the test's own loop: real TLS on loopback, one collection, list and watch."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.client.certificates import Authority
from todoku.client import Client, ClientConfig


@dataclass
class Request:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    peer: str  # the common name of the client's certificate


@dataclass
class TinyApi:
    """ConfigMaps only.  `history` is every watch event; `oldest` the first revision still kept."""

    authority: Authority
    requests: list[Request] = field(default_factory=list)
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    history: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    revision: int = 10
    oldest: int = 0
    connections: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        context = self.authority.server_context()
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, ssl=context, reuse_address=True
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def put(self, name: str, **data: str) -> None:
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.revision += 1
        uid = self.objects[name]["metadata"]["uid"] if name in self.objects else f"u{self.revision}"
        metadata = {"name": name, "namespace": "default", "resourceVersion": str(self.revision)}
        self.objects[name] = {"metadata": metadata | {"uid": uid}, "data": data}
        self._record(kind, self.objects[name])

    def remove(self, name: str) -> None:
        obj = self.objects.pop(name)
        self.revision += 1
        obj = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.revision)}}
        self._record("DELETED", obj)

    def tell(self, event: Any) -> None:
        """Send watchers something of the test's own."""
        self.revision += 1
        self._tell(event)

    def compact(self) -> None:
        self.oldest = self.revision
        self.history.clear()

    def _record(self, kind: str, obj: dict[str, Any]) -> None:
        typed = {"apiVersion": "v1", "kind": "ConfigMap"} | obj
        self._tell({"type": kind, "object": typed})

    def _tell(self, event: Any) -> None:
        self.history.append((self.revision, event))
        self._changed.set()
        self._changed = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.add(writer)
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(await self._request(head, reader, writer), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _request(
        self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Request:
        first, *lines = head.decode().strip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        subject = (writer.get_extra_info("peercert") or {}).get("subject", ())
        peer = next((v for part in subject for k, v in part if k == "commonName"), "")
        request = Request(
            method, url.path, query, headers, json.loads(body) if body else None, peer
        )
        self.requests.append(request)
        return request

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> None:
        if self.answers:
            status, headers, body = self.answers.pop(0)
            return self._send(writer, status, headers, body)
        if request.query.get("watch"):
            return await self._watch(request, writer)
        if request.method == "GET":
            items = list(self.objects.values())
            body = {"metadata": {"resourceVersion": str(self.revision)}, "items": items}
            return self._send(writer, 200, {}, json.dumps(body).encode())
        return self._send(writer, 200, {}, json.dumps(request.body or {}).encode())

    def _send(
        self, writer: asyncio.StreamWriter, status: int, headers: dict[str, str], body: bytes
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode() + body)

    async def _watch(self, request: Request, writer: asyncio.StreamWriter) -> None:
        seen = int(request.query.get("resourceVersion", 0))
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        if seen < self.oldest:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            self._chunk(writer, {"type": "ERROR", "object": gone})
            writer.write(b"0\r\n\r\n")
            return
        while True:
            changed = self._changed
            for revision, event in self.history:
                if revision > seen:
                    self._chunk(writer, event)
                    seen = revision
            await writer.drain()
            await changed.wait()

    def _chunk(self, writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
        line = json.dumps(event).encode() + b"\n"
        writer.write(b"%x\r\n%s\r\n" % (len(line), line))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(Path(tmp_path_factory.mktemp("pki")))


@pytest.fixture
async def api(authority: Authority) -> AsyncIterator[TinyApi]:
    server = TinyApi(authority)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def client(api: TinyApi, authority: Authority) -> AsyncIterator[Client]:
    cert, key = authority.issue("tester")
    config = ClientConfig(
        server=f"https://127.0.0.1:{api.port}", ca=authority.ca, certificate=cert, key=key
    )
    async with Client(config) as made:
        yield made
