"""A real API server in this process: memory store, TLS on loopback, an admin, everything closed afterwards.

async with running_api() as api:
    status, pod = await api.request("GET", "/api/v1/namespaces/default/pods/web")
    api.url, api.ca_file, api.kubeconfig, api.cert_file, api.key_file
"""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from tests.support.certificates import Authority, authority
from todoku.apiserver.config import Config
from todoku.apiserver.server import ApiServer
from todoku.storage import MemoryStore, Store


@dataclass
class RunningApi:
    url: str
    folder: Path
    ca_file: str
    cert_file: str  # the admin's client certificate (system:masters)
    key_file: str
    kubeconfig: str
    authority: Authority
    server: ApiServer
    config: Config
    session: aiohttp.ClientSession = field(repr=False)

    def kubeconfig_for(self, user: str, *groups: str) -> str:
        """The path of a kubeconfig for another user."""
        safe = user.replace(":", "-").replace("/", "-")
        cert, key = self.authority.issue(user, groups=groups).write(self.folder, safe)
        return write_kubeconfig(self.folder / f"{safe}.conf", self.url, self.ca_file, cert, key)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """One request as the admin; the answer's status and decoded JSON, or text if it is that."""
        response, data = await self.raw(
            method, path, body, content_type=content_type, accept=accept, headers=headers
        )
        if response.content_type.startswith("text/"):
            return response.status, data.decode()
        return response.status, json.loads(data) if data else None

    async def raw(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        headers: dict[str, str] | None = None,
    ) -> tuple[aiohttp.ClientResponse, bytes]:
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        all_headers = {"Accept": accept, **(headers or {})}
        if data is not None:
            all_headers["Content-Type"] = content_type
        async with self.session.request(
            method, self.url + path, data=data, headers=all_headers
        ) as response:
            return response, await response.read()

    @asynccontextmanager
    async def watch(self, path: str) -> AsyncIterator[AsyncIterator[Any]]:
        """The decoded events of a watch."""
        async with self.session.get(self.url + path) as response:
            yield _events(response)


async def _events(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    async for line in response.content:
        yield json.loads(line)


def loopback_socket() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    return sock


def write_kubeconfig(path: Path, url: str, ca_file: str, cert: str, key: str) -> str:
    cluster = {"server": url, "certificate-authority": ca_file}
    user = {"client-certificate": cert, "client-key": key}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config))
    return str(path)


@asynccontextmanager
async def running_api(
    store: Store | str | None = None, **settings: Any
) -> AsyncIterator[RunningApi]:
    """Start a server; `settings` override fields of its `Config`."""
    ca = authority()
    with tempfile.TemporaryDirectory(prefix="todoku-api-") as name:
        folder = Path(name)
        ca_file, _ = ca.pair.write(folder, "ca")
        cert, key = ca.issue("server", hosts=("127.0.0.1", "localhost")).write(folder, "server")
        admin_pair = ca.issue("kubernetes-admin", groups=("system:masters",))
        admin_cert, admin_key = admin_pair.write(folder, "admin")
        sock = loopback_socket()
        url = f"https://127.0.0.1:{sock.getsockname()[1]}"
        own = store is None
        used = MemoryStore() if store is None else store
        config = Config(
            sockets=[sock], store=used, cert_file=cert, key_file=key, client_ca_file=ca_file
        )
        config = replace(config, **settings)
        kubeconfig = write_kubeconfig(folder / "kubeconfig", url, ca_file, admin_cert, admin_key)
        context = ssl.create_default_context(cafile=ca_file)
        context.load_cert_chain(admin_cert, admin_key)
        try:
            connector = aiohttp.TCPConnector(ssl=context, limit=0)
            async with (
                ApiServer(config) as server,
                aiohttp.ClientSession(connector=connector) as session,
            ):
                yield RunningApi(
                    url,
                    folder,
                    ca_file,
                    admin_cert,
                    admin_key,
                    kubeconfig,
                    ca,
                    server,
                    config,
                    session,
                )
        finally:
            sock.close()
            if own:
                assert not isinstance(used, str)
                await used.close()
