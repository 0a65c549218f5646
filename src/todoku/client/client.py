"""Requests to the API server in the words of resources; refusals are `todoku.api.errors`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from todoku.aio import Backoff
from todoku.aio import log as logs
from todoku.api import errors
from todoku.api.meta import Object
from todoku.client.config import ClientConfig, TokenFile
from todoku.client.http import Response, Transport, Unreachable
from todoku.client.names import Named, built_in, discovered, stale

log = logs.get(__name__)

PatchKind = Literal["merge", "strategic", "json", "apply"]

_PATCH_TYPES: dict[str, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
    "apply": "application/apply-patch+yaml",
}
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_METADATA = "application/json;as=PartialObjectMetadata{};g=meta.k8s.io;v=v1"
_RECONNECT = Backoff(initial=0.05, maximum=2.0, jitter=0.5)
_BUSY_RETRIES = 5
DISCOVERY_SECONDS = 1.0  # an unknown name asks the server again at most this often
# The server ends a watch after its own time-out; ours only bounds one that it never ends.
WATCH_SECONDS = 1800


@dataclass(frozen=True, slots=True)
class ObjectList:
    """A list as of `resource_version`; `next` continues a page that `limit` cut off."""

    items: list[Object]
    resource_version: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One change: `type` is ADDED, MODIFIED, DELETED or BOOKMARK; a deleted object is in its last state.

    `old` is the state before, where it is known (informers know it, plain watches do not).
    """

    type: str
    object: Object
    old: Object | None = None


class Client:
    """Speaks to one API server as one user.  Use `async with`, or call `close`.

    Every method raises `errors.ApiError`s for refusals and `Unreachable` when no answer came.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._transport = Transport(config.server, config.ssl_context(), config.server_name)
        self._authorization = config.authorization()
        self.stale: Sequence[str] = ()
        self._discovered: dict[str, Named] = {}
        self._discovered_at = float("-inf")
        self._discovering = asyncio.Lock()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._transport.close()

    async def get(
        self, resource: str, name: str, namespace: str = "", *, subresource: str = ""
    ) -> Object:
        named = await self.resolve(resource)
        return await self._json("GET", named.path(namespace, name, subresource))

    async def list(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        limit: int = 0,
        next: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> ObjectList:
        """One list; its items carry apiVersion and kind.  `metadata_only` fetches only metadata."""
        named = await self.resolve(resource)
        query = {
            "labelSelector": labels,
            "fieldSelector": fields,
            "limit": str(limit) if limit else "",
            "continue": next,
            "resourceVersion": resource_version,
        }
        accept = _METADATA.format("List") if metadata_only else "application/json"
        body = await self._json("GET", named.path(namespace), query=query, accept=accept)
        items: list[Object] = body.get("items") or []
        for item in items:
            item.setdefault("apiVersion", named.api_version)
            item.setdefault("kind", named.kind)
        metadata = body.get("metadata") or {}
        version = str(metadata.get("resourceVersion", ""))
        return ObjectList(items, version, metadata.get("continue", ""))

    async def create(
        self, resource: str, obj: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """POST; the namespace is the object's.  With a `subresource` the object's name is the parent's."""
        named = await self.resolve(resource)
        metadata = obj.get("metadata") or {}
        parent = metadata.get("name", "") if subresource else ""
        path = named.path(metadata.get("namespace"), parent, subresource)
        body = obj if subresource else _typed(obj, named)
        return await self._json("POST", path, body=body, query=_dry(dry_run))

    async def update(
        self, resource: str, obj: Object, *, subresource: str = "", dry_run: bool = False
    ) -> Object:
        """PUT; raises `Conflict` unless metadata.resourceVersion is absent or current."""
        named = await self.resolve(resource)
        metadata = obj["metadata"]
        path = named.path(metadata.get("namespace"), metadata["name"], subresource)
        body = obj if subresource not in ("", "status") else _typed(obj, named)
        return await self._json("PUT", path, body=body, query=_dry(dry_run))

    async def patch(
        self,
        resource: str,
        name: str,
        namespace: str,
        body: Any,
        *,
        kind: PatchKind = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
        dry_run: bool = False,
    ) -> Object:
        """PATCH; `body` is the patch as a value (a list for json patches)."""
        named = await self.resolve(resource)
        query = _dry(dry_run) | {
            "fieldManager": field_manager or "",
            "force": "true" if force else "",
        }
        path = named.path(namespace, name, subresource or "")
        return await self._json(
            "PATCH", path, body=body, query=query, content_type=_PATCH_TYPES[kind]
        )

    async def delete(
        self,
        resource: str,
        name: str,
        namespace: str = "",
        *,
        grace_period_seconds: int | None = None,
        propagation: str | None = None,
        uid: str | None = None,
        resource_version: str | None = None,
    ) -> Object:
        """DELETE; with `uid` or `resource_version` only that very object (else `Conflict`).

        Answers with the object (finalizers or grace remain) or a Status.
        """
        named = await self.resolve(resource)
        options = _delete_options(grace_period_seconds, propagation, uid, resource_version)
        return await self._json("DELETE", named.path(namespace, name), body=options)

    async def delete_collection(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        grace_period_seconds: int | None = None,
        propagation: str | None = None,
    ) -> Object:
        named = await self.resolve(resource)
        options = _delete_options(grace_period_seconds, propagation, None, None)
        query = {"labelSelector": labels, "fieldSelector": fields}
        return await self._json("DELETE", named.path(namespace), body=options, query=query)

    async def watch(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
    ) -> AsyncGenerator[WatchEvent, None]:
        """Follow a collection, forever: a lost connection is taken up again where it broke.

        Starts after `resource_version` ("" starts with the present objects as ADDED).  Raises `Expired` when the
        revision is gone: list again.  Other refusals are raised too; an unreachable server is waited for.
        """
        failures = 0
        version = resource_version
        while True:
            stream = self.watch_once(
                resource, namespace, labels=labels, fields=fields,
                resource_version=version, metadata_only=metadata_only,
            )  # fmt: skip
            failures += 1  # a server that ends each watch at once counts as failing
            try:
                async with aclosing(stream):
                    async for event in stream:
                        failures = 0
                        version = event.object["metadata"].get("resourceVersion", version)
                        yield event
            except Unreachable as error:
                log.debug("Watch interrupted", resource=resource, error=error)
            await asyncio.sleep(_RECONNECT.delay(failures))

    async def watch_once(
        self,
        resource: str,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        resource_version: str = "",
        metadata_only: bool = False,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[WatchEvent, None]:
        """One watch request, bookmarks included, until the server ends it.  See `watch`.

        `opened` is called once the server has accepted it.
        """
        named = await self.resolve(resource)
        query = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
            "labelSelector": labels,
            "fieldSelector": fields,
            "resourceVersion": resource_version,
        }
        accept = _METADATA.format("") if metadata_only else "application/json"
        target = _target(named.path(namespace), query)
        async with self.raw("GET", target, headers={"Accept": accept}) as response:
            await raise_for_status(response)
            if opened is not None:
                opened()
            async for line in response.lines():
                event = _watch_event(line)
                if event.type == "ERROR":
                    raise errors.from_status(event.object)
                yield event

    @asynccontextmanager
    async def raw(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        timeout_seconds: float | None = None,
    ) -> AsyncIterator[Response]:
        """Any request, its answer unread and unjudged; `target` is a path with its query.

        `timeout_seconds` bounds the wait for the answer's head (default: the configuration's).
        After a 101 `response.stream` is the raw connection.
        """
        config = self.config
        sent = {
            "User-Agent": config.user_agent,
            "Authorization": self._authorization(),
            "Impersonate-User": config.impersonate,
            **config.headers,
            **(headers or {}),
        }
        for group in config.impersonate_groups:
            sent["Impersonate-Group"] = group
        limit = config.timeout_seconds if timeout_seconds is None else timeout_seconds
        request = self._transport.request(method, target, sent, body)
        try:
            async with asyncio.timeout(limit):
                response = await request.__aenter__()
        except TimeoutError as error:
            problem = f"{config.server} did not answer {method} {target} within {limit:g} s"
            raise Unreachable(problem, sent=True) from error
        try:
            if response.status == 401 and isinstance(self._authorization, TokenFile):
                self._authorization.expire()
            yield response
        finally:
            await request.__aexit__(None, None, None)

    async def resolve(self, resource: str) -> Named:
        """Where a resource (`pods`, `deployments.apps`, a custom one) is served.

        Asks discovery for names that are not built in.  Raises `NotFound` when nobody serves it.
        """
        named = built_in().get(resource) or self._discovered.get(resource)
        if named is None:
            await self._discover_again()
            named = self._discovered.get(resource)
        if named is None:
            raise errors.NotFound(f'the server doesn\'t have a resource type "{resource}"')
        return named

    async def discover(self) -> Sequence[Named]:
        """Everything the server serves now, custom resources included; one version per resource.

        `stale` are then the groups and versions whose extension API server did not answer.
        """
        documents = [await self._json("GET", path, accept=_DISCOVERY) for path in ("/api", "/apis")]
        found = list(discovered(documents))
        self.stale = sorted(stale(documents))
        self._discovered = {named.name: named for named in found}
        return found

    async def _discover_again(self) -> None:
        async with self._discovering:
            if time.monotonic() - self._discovered_at < DISCOVERY_SECONDS:
                return
            await self.discover()
            self._discovered_at = time.monotonic()

    async def _json(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> Object:
        headers = {"Accept": accept}
        content = b""
        if body is not None:
            content = msgspec.json.encode(body)
            headers["Content-Type"] = content_type
        target = _target(path, query or {})
        for attempt in range(_BUSY_RETRIES + 1):
            async with self.raw(method, target, headers=headers, body=content) as response:
                wait = response.headers.get("retry-after", "")
                if response.status == 429 and wait.isdigit() and attempt < _BUSY_RETRIES:
                    await response.read()
                else:
                    return await self._decode(response)
            await asyncio.sleep(int(wait))
        raise AssertionError("the last attempt returns or raises")

    async def _decode(self, response: Response) -> Object:
        await raise_for_status(response)
        async with asyncio.timeout(self.config.timeout_seconds):
            content = await response.read()
        decoded = msgspec.json.decode(content)
        if not isinstance(decoded, dict):
            raise errors.InternalError("the server's answer is not an object")
        return decoded


async def raise_for_status(response: Response) -> None:
    """Turn an answer of 300 and above into the `ApiError` it stands for."""
    if response.status < 300:
        return
    content = await response.read()
    try:
        status = msgspec.json.decode(content)
    except msgspec.DecodeError:
        status = None
    if isinstance(status, dict) and status.get("kind") == "Status":
        raise errors.from_status(status)
    if response.status == 404:  # a page of a server that has no such group or version
        raise errors.NotFound("the server could not find the requested resource")
    text = content[:500].decode("utf-8", "replace").strip() or response.reason
    raise errors.from_status({"code": response.status, "message": text, "reason": ""})


def _typed(obj: Object, named: Named) -> Object:
    if obj.get("apiVersion") and obj.get("kind"):
        return obj
    return {"apiVersion": named.api_version, "kind": named.kind} | obj


def _dry(dry_run: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry_run else {}


def _delete_options(
    grace_period_seconds: int | None,
    propagation: str | None,
    uid: str | None,
    resource_version: str | None,
) -> Object | None:
    options: Object = {}
    if grace_period_seconds is not None:
        options["gracePeriodSeconds"] = grace_period_seconds
    if propagation:
        options["propagationPolicy"] = propagation
    preconditions = {"uid": uid, "resourceVersion": resource_version}
    if any(preconditions.values()):
        options["preconditions"] = {name: value for name, value in preconditions.items() if value}
    if not options:
        return None
    return {"kind": "DeleteOptions", "apiVersion": "v1"} | options


def _watch_event(line: bytes) -> WatchEvent:
    """Raises ValueError for what is none: an extension API server may send anything."""
    try:
        event = msgspec.json.decode(line)
        told = WatchEvent(str(event["type"]), event["object"])
        if told.type == "ERROR" or told.object["metadata"]["resourceVersion"]:
            return told
    except (msgspec.DecodeError, LookupError, TypeError) as error:
        raise ValueError(f"no watch event: {line[:100]!r}") from error
    raise ValueError(f"a watch event without resourceVersion: {line[:100]!r}")


def _target(path: str, query: Mapping[str, str]) -> str:
    text = urlencode({name: value for name, value in query.items() if value})
    return f"{path}?{text}" if text else path
