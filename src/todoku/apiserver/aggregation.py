"""Aggregated API servers: a group and version that an APIService gives to a Service is served by that Service.

Requests go on with the front-proxy certificate and the user in X-Remote-* headers; the extension server trusts both
through the ConfigMap `extension-apiserver-authentication`.  A task keeps each APIService's Available condition and the
resources it discovers.  Source: docs, Kubernetes API Aggregation Layer; kube-aggregator.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias
from urllib.parse import quote

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from todoku.aio import log as logs
from todoku.api import times
from todoku.api.errors import ApiError, ServiceUnavailable
from todoku.api.meta import Object, copy
from todoku.apiserver.config import Objects
from todoku.apiserver.outbound import Outbound, failure_text
from todoku.apiserver.request import User
from todoku.apiserver.service_endpoints import endpoints_of

log = logs.get(__name__)

API_SERVICES = "apiservices.apiregistration.k8s.io"
_WATCHED = (API_SERVICES, "services", "endpointslices.discovery.k8s.io")
_RECHECK_SECONDS = 5.0
_CHECK_SECONDS = 5.0
_MAX_DOCUMENT_BYTES = 4 << 20
_NOT_PASSED = frozenset(
    {
        "authorization", "connection", "host", "keep-alive", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "x-remote-user", "x-remote-uid", "x-remote-group",
    }
)  # fmt: skip
_NOT_PASSED_PREFIXES = ("impersonate-", "x-remote-extra-")

Groups: TypeAlias = Mapping[str, Mapping[str, Sequence[Object]]]
"""group -> version -> APIResources, as `/apis/GROUP/VERSION` lists them."""


class Aggregator:
    """Serves what APIServices give away; `version` changes whenever `groups` does."""

    def __init__(self, objects: Objects, outbound: Outbound, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._outbound = outbound
        self._clock = clock
        self._generation: int | None = None
        self._remote: dict[tuple[str, str], Object] = {}
        self._discovered: dict[tuple[str, str], Sequence[Object]] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self.version = 0

    # -- routing

    def find(self, path: str) -> Object | None:
        """The APIService that a path below `/apis/GROUP/VERSION` belongs to, if it is not ours."""
        remote = self._services()
        if not remote or not path.startswith("/apis/"):
            return None
        parts = path.split("/", 4)
        return remote.get((parts[2], parts[3])) if len(parts) > 3 else None

    def groups(self) -> Groups:
        """What the available extension servers have."""
        found: dict[str, dict[str, Sequence[Object]]] = {}
        for (group, version), resources in sorted(self._discovered.items()):
            found.setdefault(group, {})[version] = resources
        return found

    def _services(self) -> Mapping[tuple[str, str], Object]:
        generation = self._objects.generation(API_SERVICES)
        if generation != self._generation:
            self._generation = generation
            self._remote = {
                (one["spec"].get("group", ""), one["spec"].get("version", "")): one
                for one in self._objects.list(API_SERVICES)
                if one.get("spec", {}).get("service")
            }
        return self._remote

    # -- serving

    async def serve(
        self, request: web.BaseRequest, user: User, api_service: Object
    ) -> web.StreamResponse:
        """Pass an authorized request on and its answer back.  Raises ServiceUnavailable."""
        url = URL(f"https://{_host(api_service)}{request.raw_path}", encoded=True)
        try:
            async with self._outbound.session().request(
                request.method,
                url,
                headers=_headers(request, user),
                data=request.content if request.body_exists else None,
                ssl=self._tls(api_service),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=_CHECK_SECONDS),
            ) as answer:
                return await _passed_back(request, answer)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("Extension API server not reached", name=_name(api_service), why=error)
            raise ServiceUnavailable(
                f"error trying to reach service: {failure_text(error)}"
            ) from error

    def _tls(self, api_service: Object) -> ssl.SSLContext:
        spec = api_service["spec"]
        insecure = bool(spec.get("insecureSkipTLSVerify"))
        return self._outbound.tls(spec.get("caBundle") or "", insecure=insecure, front_proxy=True)

    # -- availability

    def start(self) -> None:
        self._unsubscribe = [self._objects.subscribe(one, self._on_change) for one in _WATCHED]
        self._task = asyncio.create_task(self._run(), name="aggregator")

    async def stop(self) -> None:
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _on_change(self, old: Object | None, new: Object | None) -> None:
        if self._services() or self._discovered:
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            for api_service in list(self._services().values()):
                try:
                    await self._check(api_service)
                except Exception as error:  # one APIService must not stop the others
                    log.exception("APIService not checked", name=_name(api_service), error=error)
            self._forget_others()
            waits = _RECHECK_SECONDS if self._services() else None
            try:
                async with asyncio.timeout(waits):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def _forget_others(self) -> None:
        gone = self._discovered.keys() - self._services().keys()
        for key in gone:
            del self._discovered[key]
        if gone:
            self.version += 1

    async def _check(self, api_service: Object) -> None:
        status, reason, message = "True", "Passed", "all checks passed"
        key = (api_service["spec"].get("group", ""), api_service["spec"]["version"])
        try:
            self._check_endpoints(api_service)
            resources = await self._discover(api_service, *key)
        except _Unavailable as problem:
            status, reason, message = "False", problem.reason, str(problem)
            resources = []
        if status == "True" and self._discovered.get(key) != resources:
            self._discovered[key] = resources
            self.version += 1
        await self._write(api_service, status, reason, message)

    def _check_endpoints(self, api_service: Object) -> None:
        service = api_service["spec"]["service"]
        namespace, name = service.get("namespace", ""), service.get("name", "")
        where = f'service/{name} in "{namespace}"'
        if self._objects.get("services", name, namespace) is None:
            raise _Unavailable("ServiceNotFound", f"{where} is not present")
        try:
            endpoints_of(self._objects, namespace, name, str(service.get("port") or 443))
        except ApiError as error:
            text = f"endpoints for {where} have no addresses"
            raise _Unavailable("MissingEndpoints", text) from error

    async def _discover(self, api_service: Object, group: str, version: str) -> Sequence[Object]:
        url = f"https://{_host(api_service)}/apis/{group}/{version}"
        headers = {"X-Remote-User": "system:kube-aggregator", "X-Remote-Group": "system:masters"}
        try:
            async with (
                asyncio.timeout(_CHECK_SECONDS),
                self._outbound.session().get(
                    url,
                    headers=headers | {"Accept": "application/json"},
                    ssl=self._tls(api_service),
                ) as answer,
            ):
                data = await answer.content.read(_MAX_DOCUMENT_BYTES)
                if answer.status != 200:
                    raise _failed(url, f"bad status from {url}: {answer.status}")
                resources = json.loads(data).get("resources")
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, AttributeError) as error:
            raise _failed(url, f'Get "{url}": {failure_text(error)}') from error
        return resources if isinstance(resources, list) else []

    async def _write(self, api_service: Object, status: str, reason: str, message: str) -> None:
        name = api_service["metadata"]["name"]
        current = self._objects.get(API_SERVICES, name)
        if current is None:
            return
        conditions = (current.get("status") or {}).get("conditions") or []
        old: Object = next((one for one in conditions if one.get("type") == "Available"), {})
        if (old.get("status"), old.get("reason"), old.get("message")) == (status, reason, message):
            return
        since = old.get("lastTransitionTime")
        if old.get("status") != status or not since:
            since = times.text(self._clock())
        condition = {
            "type": "Available",
            "status": status,
            "lastTransitionTime": since,
            "reason": reason,
            "message": message,
        }
        changed = copy(current)
        others = [one for one in conditions if one.get("type") != "Available"]
        changed["status"] = {"conditions": [*others, condition]}
        try:
            await self._objects.update(API_SERVICES, changed, subresource="status")
        except ApiError as error:  # somebody wrote it meanwhile: the change brings us back
            log.debug("APIService status not written", name=name, error=error)


class _Unavailable(Exception):
    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _failed(url: str, why: str) -> _Unavailable:
    text = f"failing or missing response from {url}: {why}"
    return _Unavailable("FailedDiscoveryCheck", text)


def _host(api_service: Object) -> str:
    service = api_service["spec"]["service"]
    port = service.get("port") or 443
    return f"{service.get('name', '')}.{service.get('namespace', '')}.svc:{port}"


def _name(api_service: Object) -> str:
    return str(api_service["metadata"]["name"])


def _headers(request: web.BaseRequest, user: User) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in request.headers.items():
        lower = name.lower()
        if lower not in _NOT_PASSED and not lower.startswith(_NOT_PASSED_PREFIXES):
            headers.add(name, value)
    headers.add("X-Remote-User", user.name)
    if user.uid:
        headers.add("X-Remote-Uid", user.uid)
    for group in user.groups:
        headers.add("X-Remote-Group", group)
    for key, values in user.extra.items():
        for value in values:
            headers.add(f"X-Remote-Extra-{quote(key, safe='')}", value)
    return headers


async def _passed_back(
    request: web.BaseRequest, answer: aiohttp.ClientResponse
) -> web.StreamResponse:
    headers: CIMultiDict[str] = CIMultiDict()
    for name, value in answer.headers.items():
        if name.lower() not in ("connection", "keep-alive", "transfer-encoding"):
            headers.add(name, value)
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response
