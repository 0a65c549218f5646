"""What is no resource: health, metrics, version, discovery, OpenAPI, the dumps of flow control, and the root's list."""

from __future__ import annotations

from email.utils import formatdate

import msgspec
from aiohttp import web

from todoku import KUBERNETES_VERSION
from todoku.api import errors
from todoku.api.resources.registry import GROUP_ORDER
from todoku.apiserver import discovery, negotiation, responses
from todoku.apiserver.context import Engine
from todoku.apiserver.encoding import dumps
from todoku.apiserver.flowcontrol.control import FlowControl
from todoku.apiserver.flowcontrol.dumps import DUMPS
from todoku.apiserver.health import Health, Probes
from todoku.apiserver.negotiation import PLAIN
from todoku.apiserver.openapi import OpenApi
from todoku.apiserver.request import RequestInfo
from todoku.apiserver.telemetry import slis

_YEAR_SECONDS = 365 * 24 * 3600
_UNCACHED = {"Cache-Control": "no-cache, private"}
_METRICS = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8", **_UNCACHED}
_BUILT_IN = frozenset(GROUP_ORDER)


class Documents:
    """The pages of one server.  They are made when first asked for and kept until what they show changes."""

    def __init__(self, engine: Engine, control: FlowControl, probes: Probes) -> None:
        self._engine, self._control = engine, control
        self._aggregator = engine.components.aggregator
        self._openapi = OpenApi(engine.catalog, self._aggregator)
        self._pages = discovery.Discovery(engine.catalog, self._aggregator)
        self._health = Health(probes)
        self.health_paths = frozenset(self._health.paths())

    async def answer(self, request: web.BaseRequest, info: RequestInfo) -> web.StreamResponse:
        """Answer a request for no resource.  Raises NotFound, MethodNotAllowed, NotAcceptable."""
        if request.method not in ("GET", "HEAD"):
            raise errors.no_method()
        path = info.path.rstrip("/") or "/"
        text = self._text(request, path)
        if text is not None:
            return text
        if path.startswith("/openapi/"):
            remote = self._aggregator.find_schema(path) if self._aggregator else None
            if self._aggregator and remote:
                return await self._aggregator.serve_schema(request, remote)
            return await self._schema(request, path)
        if _parts(path)[0] in ("api", "apis"):
            return self._discovery(request, path)
        if path == "/version":
            return responses.body(msgspec.json.format(dumps(_version()), indent=2))
        if path == "/":
            paths = dumps({"paths": self._paths()})
            return responses.body(msgspec.json.format(paths, indent=2))
        provider = self._engine.components.documents.get(path)
        if provider is None:
            raise errors.PathNotFound
        return responses.body(dumps(provider()))

    def _text(self, request: web.BaseRequest, path: str) -> web.Response | None:
        """Health, metrics and what flow control shows."""
        if path in self.health_paths:
            query = request.query
            excluded = query.getall("exclude", [])
            page = self._health.page(path, excluded=excluded, verbose="verbose" in query)
            assert page is not None, "it is one of its paths"
            headers = {"X-Content-Type-Options": "nosniff"}
            return web.Response(status=page.code, text=page.text, headers=_UNCACHED | headers)
        if path == "/metrics":
            text = self._engine.telemetry.page(self._engine, self._control)
            return web.Response(text=text, headers=_METRICS)
        if path == "/metrics/slis":
            return web.Response(text=slis(self._health), headers=_METRICS)
        dump = DUMPS.get(path)
        return web.Response(text=dump(self._control, request.query)) if dump else None

    def _paths(self) -> list[str]:
        groups = {served.resource.api_version for served in self._engine.catalog}
        found = [
            "/api",
            "/apis",
            "/openapi/v2",
            "/openapi/v3",
            "/version",
            "/metrics",
            "/metrics/slis",
        ]
        found += self._health.paths()
        found += [f"/apis/{one}" if "/" in one else f"/api/{one}" for one in groups]
        return sorted([*found, *self._engine.components.documents])

    def _discovery(self, request: web.BaseRequest, path: str) -> web.Response:
        accept = request.headers.get("Accept", "")
        page = self._pages.page(path, accept, request.host)
        if page is None:
            parts = _parts(path)
            raise unserved(parts[1] if parts[0] == "apis" and len(parts) > 1 else "")
        headers = {"ETag": page.etag, "Vary": "Accept"}
        if page.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        form = PLAIN
        if not discovery.wants_aggregated(accept):
            form = negotiation.form_of(accept, tables=False)
        return responses.body(
            page.data,
            form=form,
            content_type=page.content_type,
            gzip=_compressible(request),
            headers=headers,
        )

    async def _schema(self, request: web.BaseRequest, path: str) -> web.Response:
        if not negotiation.takes_documents(request.headers.get("Accept", "")):
            raise errors.NotAcceptable(
                f"only the following media types are accepted: {negotiation.JSON}"
            )
        document = await self._openapi.get(
            path, request.headers.get("Accept", ""), request.query.get("hash", "")
        )
        if document is None:
            raise errors.no_resource()
        if document.moved:
            return web.Response(status=301, headers={"Location": document.moved})
        cache = "public, immutable" if document.immutable else "no-cache, private"
        headers = {"ETag": document.etag, "Vary": "Accept", "Cache-Control": cache}
        if document.immutable:  # clients that do not know `immutable` ask no more for a year
            headers["Expires"] = formatdate(self._engine.clock() + _YEAR_SECONDS, usegmt=True)
        if document.etag in request.headers.get("If-None-Match", ""):
            return web.Response(status=304, headers=headers)
        return responses.body(
            document.data,
            content_type=document.content_type,
            gzip=_compressible(request),
            headers=headers,
        )


def unserved(group: str) -> errors.NotFound:
    """The refusal of a resource or version that is not there: built-in groups word it themselves."""
    if group in _BUILT_IN:
        return errors.no_resource()
    return errors.PathNotFound()


def _compressible(request: web.BaseRequest) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "")


def _parts(path: str) -> list[str]:
    return path.strip("/").split("/")


def _version() -> dict[str, str]:
    """GET /version; emulated and compatible versions as a server says them that emulates none (KEP-4330)."""
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": KUBERNETES_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }
