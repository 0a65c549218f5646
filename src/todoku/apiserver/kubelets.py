"""Where a node's kubelet listens, and how the server speaks to it: TLS with the server's own client certificate."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass

import aiohttp
from yarl import URL

from todoku.api.errors import ApiError, InternalError, NotFound
from todoku.api.meta import Object
from todoku.apiserver.config import Config, Objects

_CONNECT_SECONDS = 10.0
_DEFAULT_PORT = 10250
_ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname")


@dataclass(frozen=True, slots=True)
class Place:
    """A kubelet's address."""

    host: str
    port: int

    @property
    def authority(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Kubelets:
    """Opens connections to kubelets; `close` ends the pooled ones."""

    def __init__(self, config: Config, objects: Objects) -> None:
        self._config = config
        self._objects = objects
        self._context: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    def place(self, node: str) -> Place:
        """Raises NotFound for an unknown node, InternalError for one without an address."""
        found = self._objects.get("nodes", node)
        if found is None:
            raise NotFound.of("nodes", node)
        return place_of(found)

    async def open(self, place: Place) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A fresh TLS connection.  Raises InternalError in the words of Go's dialer."""
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                return await asyncio.open_connection(
                    place.host, place.port, ssl=self._tls(), server_hostname=place.host
                )
        except TimeoutError as error:
            raise dial_error(place, "i/o timeout") from error
        except ssl.SSLError as error:
            raise dial_error(place, f"tls: {error.reason or error}") from error
        except OSError as error:
            raise dial_error(place, why(error)) from error

    def session(self) -> aiohttp.ClientSession:
        """For plain requests; made when first used, inside the loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._tls(), limit=0)
            timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=timeout, auto_decompress=False
            )
        return self._session

    def url(self, place: Place, path: str) -> URL:
        return URL(f"https://{place.authority}{path}", encoded=True)

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            config = self._config
            if config.kubelet_ca_file:
                self._context = ssl.create_default_context(cafile=config.kubelet_ca_file)
            else:  # as upstream without --kubelet-certificate-authority: encrypted, not verified
                self._context = ssl.create_default_context()
                self._context.check_hostname = False
                self._context.verify_mode = ssl.CERT_NONE
            if config.kubelet_client_cert_file:
                self._context.load_cert_chain(
                    config.kubelet_client_cert_file, config.kubelet_client_key_file
                )
        return self._context


def place_of(node: Object) -> Place:
    """Address and port from a Node's status (kubelet-preferred-address-types as kubeadm sets them)."""
    status = node.get("status") or {}
    addresses = {one.get("type"): one.get("address") for one in status.get("addresses") or ()}
    endpoint = (status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}
    for kind in _ADDRESS_TYPES:
        if addresses.get(kind):
            return Place(str(addresses[kind]), int(endpoint.get("Port") or _DEFAULT_PORT))
    name = node["metadata"]["name"]
    raise InternalError(f"no preferred addresses found; known addresses of node {name}: []")


def dial_error(place: Place, reason: str) -> ApiError:
    return InternalError.of(f"error dialing backend: dial tcp {place.authority}: {reason}")


def why(error: OSError) -> str:
    """A connection failure as Go words it."""
    words = {
        "ConnectionRefusedError": "connect: connection refused",
        "ConnectionResetError": "read: connection reset by peer",
        "TimeoutError": "i/o timeout",
    }
    known = words.get(type(error).__name__)
    if known:
        return known
    text = (error.strerror or str(error)).lower()
    return f"connect: {text}" if error.errno else text
