"""HTTPS from the API server into the cluster: webhooks and aggregated API servers.

A URL's host `NAME.NAMESPACE.svc` is resolved to the Service's ready pods and their port at the moment of dialing,
while the certificate is verified for that name against the caBundle given.
"""

from __future__ import annotations

import base64
import binascii
import re
import socket
import ssl
from collections import OrderedDict

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from todoku.api.errors import ApiError, NotFound
from todoku.api.validation import is_address
from todoku.apiserver.config import Config, Objects
from todoku.apiserver.service_endpoints import endpoints_of

_CACHED_CONTEXTS = 64
_KEEP_ALIVE_SECONDS = 15.0


async def read_answer(answer: aiohttp.ClientResponse, limit_bytes: int) -> bytes:
    """The whole body.  Raises ValueError beyond the limit: nobody's answer may fill the memory."""
    parts: list[bytes] = []
    size = 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > limit_bytes:
            raise ValueError(f"the answer is larger than {limit_bytes} bytes")
    return b"".join(parts)


class Outbound:
    """One pool of connections; `close` ends it."""

    def __init__(self, config: Config, objects: Objects) -> None:
        self._config = config
        self._objects = objects
        self._session: aiohttp.ClientSession | None = None
        self._contexts: OrderedDict[tuple[str, bool, bool], ssl.SSLContext] = OrderedDict()

    def session(self) -> aiohttp.ClientSession:
        """Made when first used, inside the loop."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_ServiceResolver(self._objects),
                use_dns_cache=False,
                limit=0,
                keepalive_timeout=_KEEP_ALIVE_SECONDS,
            )
            self._session = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, skip_auto_headers=("User-Agent",)
            )
        return self._session

    def tls(
        self, ca_bundle: str, *, insecure: bool = False, front_proxy: bool = False
    ) -> ssl.SSLContext:
        """A context that trusts `ca_bundle` (base64 PEM; "" the system's CAs).

        `front_proxy` shows the aggregator's own client certificate.  Raises ValueError for a bad bundle.
        """
        key = (ca_bundle, insecure, front_proxy)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = self._make(ca_bundle, insecure, front_proxy)
            if len(self._contexts) > _CACHED_CONTEXTS:
                self._contexts.popitem(last=False)
        return context

    def _make(self, ca_bundle: str, insecure: bool, front_proxy: bool) -> ssl.SSLContext:
        try:
            pem = base64.b64decode(ca_bundle, validate=True).decode() if ca_bundle else None
            context = ssl.create_default_context(cadata=pem)
        except (binascii.Error, UnicodeDecodeError, ssl.SSLError) as error:
            raise ValueError(
                "unable to load root certificates: unable to parse bytes as PEM block"
            ) from error
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if front_proxy and self._config.proxy_client_cert_file:
            context.load_cert_chain(
                self._config.proxy_client_cert_file, self._config.proxy_client_key_file
            )
        return context

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


class _ServiceResolver(AbstractResolver):
    """Knows `NAME.NAMESPACE.svc`; leaves every other name to the system."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._system: ThreadedResolver | None = None

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        parts = host.split(".")
        if len(parts) != 3 or parts[2] != "svc":
            return await self._by_system(host, port, family)
        try:
            found = endpoints_of(self._objects, parts[1], parts[0], str(port))
        except NotFound as error:
            raise OSError(f'service "{parts[0]}" not found') from error
        except ApiError as error:
            raise OSError(error.message) from error
        if not is_address(found[0].host):  # an ExternalName
            return await self._by_system(found[0].host, port, family)
        return [_result(host, one.host, one.port) for one in found]

    async def _by_system(
        self, host: str, port: int, family: socket.AddressFamily
    ) -> list[ResolveResult]:
        if self._system is None:
            self._system = ThreadedResolver()
        return await self._system.resolve(host, port, family)

    async def close(self) -> None:
        return None


def _result(name: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(
        hostname=name, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST
    )


def failure_text(error: BaseException) -> str:
    """A failed request as Go words it: what `dial tcp …: connect: connection refused` is to clients."""
    if isinstance(error, TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _untrusted(error.certificate_error)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _undialled(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _untrusted(error)
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    return str(error) or type(error).__name__


def _undialled(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {error.host}: no such host"
    if isinstance(cause, ConnectionRefusedError):
        # several addresses may have been tried; the text names the last
        found = _ADDRESSES.findall(str(cause))
        where = f" {_joined(*found[-1])}" if found else ""
        return f"dial tcp{where}: connect: connection refused"
    return cause.strerror or str(cause)


_ADDRESSES = re.compile(r"\('([^']+)', (\d+)")


def _joined(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _untrusted(error: BaseException) -> str:
    """A certificate that is not accepted, by OpenSSL's number for why (x509(3))."""
    code = getattr(error, "verify_code", 0)
    if code in _UNKNOWN_AUTHORITY:
        why = "certificate signed by unknown authority"
    elif code in (9, 10):
        why = "certificate has expired or is not yet valid"
    elif code in (62, 64):
        wanted = _WANTED.search(str(error))
        why = f"certificate is not valid for {wanted.group(1) if wanted else 'the name'}"
    else:
        why = str(error)
    return f"tls: failed to verify certificate: x509: {why}"


_UNKNOWN_AUTHORITY = frozenset((2, 18, 19, 20, 21, 27))
_WANTED = re.compile(r"not valid for '([^']+)'")
