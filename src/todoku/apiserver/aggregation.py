"""Aggregated API servers: a group and version that an APIService gives to a Service is served by that Service.

A task keeps each APIService's Available condition, the resources it discovers and where its schemas are; requests go
on by `extension_requests`.  Source: docs, Kubernetes API Aggregation Layer; kube-aggregator.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from todoku.aio import log as logs
from todoku.api import times
from todoku.api.errors import ApiError
from todoku.api.meta import Object, copy
from todoku.apiserver.config import Objects
from todoku.apiserver.discovery import RemoteGroup, RemoteVersion
from todoku.apiserver.extension_checks import Unavailable, check_service
from todoku.apiserver.extension_requests import (
    CONNECT_SECONDS,
    Forwarder,
    host_of,
    identity,
    unavailable,
)
from todoku.apiserver.outbound import Outbound, failure_text, read_answer
from todoku.apiserver.request import SYSTEM_MASTERS, User

log = logs.get(__name__)

API_SERVICES = "apiservices.apiregistration.k8s.io"
_WATCHED = (API_SERVICES, "services", "endpointslices.discovery.k8s.io")
_RECHECK_SECONDS = 5.0
_SCHEMAS_EVERY_SECONDS = 60.0
_ATTEMPTS, _ATTEMPTS_SECONDS = 5, 6.0
_MAX_DOCUMENT_BYTES = 16 << 20
_CHECKER = User(name="system:kube-aggregator", groups=(SYSTEM_MASTERS,))
_READER = User(name="system:aggregator")

Key = tuple[str, str]
"""Group and version."""


@dataclass(slots=True)
class Extension:
    """What was found out about one group and version."""

    resources: Sequence[Object] = ()
    current: bool = False  # whether the last check could read the resources
    schema: str = ""  # where its OpenAPI v3 document is; "" if it has none
    swagger: Object = field(default_factory=dict)  # its paths and definitions in OpenAPI v2
    asked_at: float = float("-inf")  # when the schemas were asked for


class Aggregator:
    """Serves what APIServices give away; `version` changes whenever what clients discover does."""

    def __init__(self, objects: Objects, outbound: Outbound, clock: Callable[[], float]) -> None:
        self._objects = objects
        self._outbound = outbound
        self._clock = clock
        self._forwarder = Forwarder(objects, outbound)
        self._generation: int | None = None
        self._remote: dict[Key, Object] = {}
        self._found: dict[Key, Extension] = {}
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self.version = 0

    # -- routing and documents

    def find(self, path: str) -> Object | None:
        """The APIService that a path below `/apis/GROUP/VERSION` belongs to, if it is not ours."""
        if not path.startswith("/apis/"):
            return None
        remote = self._services()
        if not remote:
            return None
        parts = path.split("/", 4)
        return remote.get((parts[2], parts[3])) if len(parts) > 3 else None

    def find_schema(self, path: str) -> Object | None:
        """The APIService whose OpenAPI v3 document is at `/openapi/v3/apis/GROUP/VERSION`."""
        own = self.find(path.removeprefix("/openapi/v3"))
        return own if own and self._found.get(_key(own), Extension()).schema else None

    def groups(self) -> Mapping[str, RemoteGroup]:
        """The groups of extension servers; versions by priority."""
        found: dict[str, RemoteGroup] = {}
        services = self._services()
        ordered = sorted(services, key=lambda key: (-_spec(services[key], "versionPriority"), key))
        for group, version in ordered:
            extension = self._found.get((group, version), Extension())
            priority = _spec(services[group, version], "groupPriorityMinimum")
            one = found.setdefault(group, RemoteGroup())
            one.priority = max(one.priority, priority)
            one.versions[version] = RemoteVersion(extension.resources, extension.current)
        return found

    def schemas(self) -> Mapping[str, str]:
        """`apis/GROUP/VERSION` -> the address of its OpenAPI v3 document."""
        return {
            f"apis/{group}/{version}": found.schema
            for (group, version), found in sorted(self._found.items())
            if found.schema
        }

    def swaggers(self) -> Sequence[Object]:
        """Paths and definitions to merge into the OpenAPI v2 document."""
        return [found.swagger for _, found in sorted(self._found.items()) if found.swagger]

    def _services(self) -> Mapping[Key, Object]:
        generation = self._objects.generation(API_SERVICES)
        if generation != self._generation:
            self._generation = generation
            before = {key: one.get("spec") for key, one in self._remote.items()}
            self._remote = {
                _key(one): one
                for one in self._objects.list(API_SERVICES)
                if one.get("spec", {}).get("service")
            }
            if before != {key: one.get("spec") for key, one in self._remote.items()}:
                self.version += 1
        return self._remote

    # -- serving

    async def serve(
        self, request: web.BaseRequest, user: User, api_service: Object
    ) -> web.StreamResponse:
        """Pass an authorized request on and its answer back."""
        if not _is_available(api_service):
            return unavailable("service unavailable")
        return await self._forwarder.serve(request, user, api_service)

    async def serve_schema(
        self, request: web.BaseRequest, api_service: Object
    ) -> web.StreamResponse:
        """Pass a request for an OpenAPI document on, as the aggregator."""
        return await self.serve(request, _READER, api_service)

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
        if self._services() or self._found or _is_unjudged(new):
            self._changed.set()

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            for one in self._objects.list(API_SERVICES):
                if _is_unjudged(one):
                    message = "Local APIServices are always available"
                    await self._write(one, "True", "Local", message)
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
        gone = self._found.keys() - self._services().keys()
        for key in gone:
            del self._found[key]
        if gone:
            self.version += 1

    async def _check(self, api_service: Object) -> None:
        status, reason, message = "True", "Passed", "all checks passed"
        found = self._found.setdefault(_key(api_service), Extension())
        resources, current = found.resources, True
        try:
            check_service(self._objects, api_service)
            resources = await self._discover(api_service)
        except Unavailable as problem:
            status, reason, message = "False", problem.reason, str(problem)
            current = False
        if (found.resources, found.current) != (resources, current):
            found.resources, found.current = resources, current
            self.version += 1
        await self._write(api_service, status, reason, message)
        if current and self._clock() - found.asked_at >= _SCHEMAS_EVERY_SECONDS:
            found.asked_at = self._clock()
            await self._read_schemas(api_service, found)

    async def _discover(self, api_service: Object) -> Sequence[Object]:
        """The resources; any of several attempts will do.  Raises Unavailable."""
        group, version = _key(api_service)
        url = f"https://{host_of(api_service)}/apis/{group}/{version}"
        problem = ""
        try:
            async with asyncio.timeout(_ATTEMPTS_SECONDS):
                for _ in range(_ATTEMPTS):
                    try:
                        resources = (await self._get(api_service, url)).get("resources")
                        return resources if isinstance(resources, list) else []
                    except _Bad as bad:
                        problem = str(bad)
        except TimeoutError:
            problem = problem or f'Get "{url}": context deadline exceeded'
        text = f"failing or missing response from {url}: {problem}"
        raise Unavailable("FailedDiscoveryCheck", text)

    async def _get(self, api_service: Object, url: str) -> Any:
        """A JSON document, without verifying whose it is: it says only whether and what.  Raises _Bad."""
        headers = dict(identity(_CHECKER)) | {"Accept": "application/json"}
        try:
            async with (
                asyncio.timeout(CONNECT_SECONDS),
                self._outbound.session().get(
                    url,
                    headers=headers,
                    ssl=self._forwarder.tls(api_service, verified=False),
                    allow_redirects=False,
                ) as answer,
            ):
                data = await read_answer(answer, _MAX_DOCUMENT_BYTES)
                if not 200 <= answer.status < 300:
                    raise _Bad(f"bad status from {url}: {answer.status}")
                document = json.loads(data)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
            raise _Bad(f'Get "{url}": {failure_text(error)}') from error
        return document if isinstance(document, dict) else {}

    async def _read_schemas(self, api_service: Object, found: Extension) -> None:
        """Where the OpenAPI v3 document is, and the v2 paths and definitions; servers may have neither."""
        group, version = _key(api_service)
        base = f"https://{host_of(api_service)}/openapi"
        schema, swagger = "", {}
        try:
            paths = (await self._get(api_service, f"{base}/v3")).get("paths") or {}
            entry = paths.get(f"apis/{group}/{version}") or {}
            schema = str(entry.get("serverRelativeURL") or "")
        except _Bad as bad:
            log.debug("No OpenAPI v3", name=_name(api_service), why=bad)
        try:
            swagger = own_part(await self._get(api_service, f"{base}/v2"), group, version)
        except _Bad as bad:
            log.debug("No OpenAPI v2", name=_name(api_service), why=bad)
        if (found.schema, found.swagger) != (schema, swagger):
            found.schema, found.swagger = schema, swagger
            self.version += 1

    async def _write(self, api_service: Object, status: str, reason: str, message: str) -> None:
        name = _name(api_service)
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
        kept = [condition if one.get("type") == "Available" else one for one in conditions]
        changed["status"] = {"conditions": kept if old else [*kept, condition]}
        try:
            await self._objects.update(API_SERVICES, changed, subresource="status")
        except ApiError as error:  # somebody wrote it meanwhile: the change brings us back
            log.debug("APIService status not written", name=name, error=error)


class _Bad(Exception):
    """A document could not be read; the text says why."""


def own_part(document: Object, group: str, version: str) -> Object:
    """Of a server's OpenAPI v2 document what describes one group and version."""
    prefix = f"/apis/{group}/"
    paths = {
        path: item
        for path, item in (document.get("paths") or {}).items()
        if path == prefix or path.startswith(f"{prefix}{version}/")
    }
    if not paths:
        return {}
    return {"paths": paths, "definitions": document.get("definitions") or {}}


def _key(api_service: Object) -> Key:
    spec = api_service.get("spec") or {}
    return spec.get("group", ""), spec.get("version", "")


def _spec(api_service: Object, name: str) -> int:
    return int((api_service.get("spec") or {}).get(name) or 0)


def _available(api_service: Object | None) -> Object:
    conditions = ((api_service or {}).get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one.get("type") == "Available"), {})


def _is_available(api_service: Object) -> bool:
    return bool(_available(api_service).get("status") == "True")


def _is_unjudged(api_service: Object | None) -> bool:
    """A local APIService that a user made and nobody has called available yet."""
    if api_service is None or api_service.get("kind") != "APIService":
        return False
    local = not (api_service.get("spec") or {}).get("service")
    return local and _available(api_service).get("reason") != "Local"


def _name(api_service: Object) -> str:
    return str(api_service["metadata"]["name"])
