"""The OpenAPI endpoints: documents made when first asked for, kept until what they describe changes, with ETags."""

from __future__ import annotations

import asyncio
import hashlib
from collections import ChainMap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from todoku import KUBERNETES_VERSION, __version__
from todoku.api import openapi, schemas
from todoku.api.meta import Object
from todoku.apiserver.catalog import Catalog, Served
from todoku.apiserver.encoding import dumps
from todoku.apiserver.negotiation import media_ranges

_PROTOBUF = "application/com.github.proto-openapi.spec.v2"
# Without the @: kubectl's parser of media types refuses it in an answer.
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
V2_JSON = V3_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Document:
    data: bytes
    content_type: str
    etag: str  # with its quotes
    immutable: bool = False  # its address carries its hash
    moved: str = ""  # where it is now, if the address carried another hash


class Remote(Protocol):
    """Schemas that extension API servers have (`aggregation.Aggregator`)."""

    version: int

    def schemas(self) -> Mapping[str, str]: ...

    def swaggers(self) -> Sequence[Object]: ...


class OpenApi:
    """Serves one catalog; documents are made in a thread, as large definitions take seconds."""

    def __init__(self, catalog: Catalog, remote: Remote | None = None) -> None:
        self._catalog = catalog
        self._remote = remote
        self._version = (-1, -1)
        self._groups: dict[str, list[Served]] = {}
        self._hashes: dict[str, str] = {}
        self._schemas: Mapping[str, str] = {}
        self._swaggers: Sequence[Object] = ()
        self._swagger_digest = ""
        self._made: dict[tuple[str, str], Document] = {}  # (path, hash) -> document
        self._making = asyncio.Lock()

    async def get(self, path: str, accept: str, wanted_hash: str) -> Document | None:
        """The document at `/openapi/…`, or None."""
        self._refresh()
        if path == "/openapi/v2":
            return await self._v2(accept)
        if path == "/openapi/v3":
            return self._index()
        name = path.removeprefix("/openapi/v3/")
        if name not in self._groups:
            return None
        digest = self._hashes[name]
        document = await self._v3(name, digest)
        if not wanted_hash:
            return document
        if document.etag == f'"{wanted_hash}"':
            return replace(document, immutable=True)
        return replace(document, moved=f"/openapi/v3/{name}?hash={digest}")

    def _refresh(self) -> None:
        version = self._catalog.version, self._remote.version if self._remote else 0
        if self._version == version:
            return
        self._schemas = self._remote.schemas() if self._remote else {}
        self._swaggers = self._remote.swaggers() if self._remote else ()
        self._swagger_digest = _digest(*(dumps(one).decode() for one in self._swaggers))
        groups: dict[str, list[Served]] = {}
        for served in self._catalog:
            one = served.resource
            groups.setdefault(openapi.v3_path(one.group, one.version), []).append(served)
        self._groups = groups
        self._hashes = {name: _fingerprint(found) for name, found in groups.items()}
        current = {*self._hashes.items(), ("", self._whole())}
        self._made = {
            key: document
            for key, document in self._made.items()
            if (key[0].removesuffix("#json").removesuffix("#protobuf"), key[1]) in current
        }
        self._version = version

    def _whole(self) -> str:
        return _digest(
            *sorted([*self._hashes.values(), *self._schemas.values(), self._swagger_digest])
        )

    def _index(self) -> Document:
        paths = {
            name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={digest}"}
            for name, digest in self._hashes.items()
        }
        paths |= {
            name: {"serverRelativeURL": address}
            for name, address in self._schemas.items()
            if name not in self._hashes
        }
        return Document(dumps({"paths": paths}), V3_JSON, f'"{self._whole()}"')

    async def _v3(self, name: str, digest: str) -> Document:
        served = self._groups[name]

        def make() -> Document:
            body = openapi.v3_document(
                [one.resource for one in served], _definitions(served, v3=True)
            )
            return Document(dumps(body), V3_JSON, f'"{digest}"')

        return await self._once((name, digest), make)

    async def _v2(self, accept: str) -> Document:
        binary = _wants_protobuf(accept)
        key = ("#protobuf" if binary else "#json", self._whole())
        served, swaggers = list(self._catalog), self._swaggers

        def make() -> Document:
            body = openapi.v2_document(
                [one.resource for one in served], _definitions(served, v3=False)
            )
            _merge(body, swaggers)
            data = openapi.v2_protobuf(body) if binary else dumps(body)
            kind = V2_PROTOBUF if binary else V2_JSON
            return Document(data, kind, f'"{_digest(key[0], key[1])}"')

        return await self._once(key, make)

    async def _once(self, key: tuple[str, str], make: Callable[[], Document]) -> Document:
        found = self._made.get(key)
        if found is None:
            async with self._making:
                found = self._made.get(key)
                if found is None:
                    found = self._made[key] = await asyncio.to_thread(make)
        return found


def _merge(body: Object, swaggers: Sequence[Object]) -> None:
    """Add what extension servers have; of two definitions with one name ours stays."""
    for one in swaggers:
        body["paths"] = one["paths"] | body["paths"]
        body["definitions"] = one["definitions"] | body["definitions"]


def _wants_protobuf(accept: str) -> bool:
    for media, _ in media_ranges(accept) if accept else ():
        if media.startswith(_PROTOBUF):
            return True
        if media in ("application/json", "*/*", "application/*"):
            return False
    return False


def _definitions(served: Sequence[Served], *, v3: bool) -> ChainMap[str, Object]:
    custom: dict[str, Object] = {}
    for one in served:
        if one.definitions is not None:
            custom.update(one.definitions(v3))
    return ChainMap(custom, schemas.definitions())


def _fingerprint(served: Sequence[Served]) -> str:
    """Changes when the document of these resources would."""
    parts = [KUBERNETES_VERSION, __version__]
    for one in served:
        parts.append(f"{one.resource.api_version}/{one.resource.plural}")
        if one.crd is not None:
            meta = one.crd["metadata"]  # a specification changes with its generation
            parts.append(f"{meta['uid']}/{meta.get('generation')}")
    return _digest(*parts)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40].upper()
