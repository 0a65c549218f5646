"""CustomResourceDefinitions become served resources.  The decisions are pure; `CrdController` acts on them.

A CRD is served while its names are accepted (no other definition of its group holds them first).  Its deletion
waits for its objects: a finalizer stays until the last one is gone.
Semantics: apiextensions-apiserver controllers status (naming), establish and finalizer.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from todoku.aio import log as logs
from todoku.api import errors, times
from todoku.api.meta import Object
from todoku.apiserver import deletes
from todoku.apiserver.catalog import Served
from todoku.apiserver.context import Engine
from todoku.apiserver.crd_status import is_true, status_of, terminating
from todoku.apiserver.custom_resources import served_versions
from todoku.apiserver.group_services import keep_custom
from todoku.apiserver.objects import EngineObjects

log = logs.get(__name__)

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = deletes.CRD_FINALIZER


_VERSION = re.compile(r"v([1-9]\d*)(?:(alpha|beta)([1-9]\d*))?")


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sorts as clients prefer: v2, v1, v2beta1, v1beta2, v1alpha1, then others by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match.group(2)]
    return (stage, -int(match.group(1)), -int(match.group(3) or 0), version)


class CrdController:
    """Keeps the catalog and the status of definitions; `run` is its one task."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._objects = EngineObjects.of(engine)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._served: dict[str, Any] = {}  # name -> what it was served from

    def start(self) -> None:
        """Serve what is established already; then every change is seen at once."""
        for crd in self._objects.list(CRDS):
            self._changed(None, crd)
        self._objects.subscribe(CRDS, self._changed)

    def _changed(self, old: Object | None, new: Object | None) -> None:
        crd = new or old
        assert crd is not None
        name = crd["metadata"]["name"]
        self._serve(name, new)
        self._add(name)
        group = crd["spec"]["group"]
        for other in self._objects.list(CRDS):  # a name that was given up may be waited for
            if other["spec"]["group"] == group and not is_true(other, "NamesAccepted"):
                self._add(other["metadata"]["name"])

    def _add(self, name: str) -> None:
        if name not in self._queued:
            self._queued.add(name)
            self._queue.put_nowait(name)

    def _serve(self, name: str, crd: Object | None) -> None:
        """Bring the catalog to what the definition says, if that changed."""
        if crd is None or not is_true(crd, "Established"):
            if self._served.pop(name, None) is not None:
                self._engine.catalog.replace(name, ())
            return
        meta = crd["metadata"]
        basis = (
            meta["uid"],
            crd["spec"],
            crd["status"].get("acceptedNames"),
            bool(meta.get("deletionTimestamp")),
        )
        known = self._served.get(name)
        if known == basis:
            crd["spec"] = known[
                1
            ]  # says the same; that of a large definition need not be there twice
            return
        try:
            versions = served_versions(crd)
        except Exception as problem:
            log.warning("Definition cannot be served", crd=name, problem=problem)
            return
        ranked = sorted(versions, key=lambda one: version_rank(one.resource.version))
        self._served[name] = basis
        self._engine.catalog.replace(name, ranked)

    async def run(self) -> None:
        while True:
            name = await self._queue.get()
            self._queued.discard(name)
            try:
                await self._reconcile(name)
            except errors.Conflict:
                self._add(name)
            except errors.NotFound:
                continue
            except Exception:
                log.exception("Definition not reconciled", crd=name)

    async def _reconcile(self, name: str) -> None:
        engine, group = self._engine, name.partition(".")[2]
        crd = self._objects.get(CRDS, name)
        await keep_custom(engine.catalog, self._objects, group, engine.clock())
        if crd is None:
            return
        if crd["metadata"].get("deletionTimestamp"):
            await self._finalize(crd)
            return
        others = [
            one
            for one in self._objects.list(CRDS)
            if one["spec"]["group"] == group and one["metadata"]["name"] != name
        ]
        now = times.text(self._engine.clock())
        status = status_of(crd, others, now)
        if status != crd.get("status"):
            await self._objects.update(CRDS, crd | {"status": status}, subresource="status")

    async def _finalize(self, crd: Object) -> None:
        """Delete all objects of the definition, then let it go."""
        meta = crd["metadata"]
        if FINALIZER not in (meta.get("finalizers") or ()):
            return
        served = self._engine.catalog.by_name(meta["name"])
        if served is not None and not await self._empty(served):
            status = terminating(crd, times.text(self._engine.clock()))
            if status != crd.get("status"):
                await self._objects.update(CRDS, crd | {"status": status}, subresource="status")
            asyncio.get_running_loop().call_later(0.2, self._add, meta["name"])
            return
        kept = [one for one in meta["finalizers"] if one != FINALIZER]
        await self._objects.update(CRDS, crd | {"metadata": meta | {"finalizers": kept}})

    async def _empty(self, served: Served) -> bool:
        collection = self._engine.collection(served)
        for key in tuple(collection.keys):
            one = collection.items.get(key)
            if one is not None and "deletionTimestamp" not in one.object()["metadata"]:
                try:
                    await self._objects.delete(served.name, one.name, one.namespace)
                except errors.NotFound:
                    continue
        return not collection.keys
