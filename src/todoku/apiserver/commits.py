"""Putting one object into the store and taking one out, each guarded by the revision it was decided on."""

from __future__ import annotations

from time import perf_counter

from todoku.api.meta import Object
from todoku.apiserver import conversion
from todoku.apiserver.catalog import Served
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached, encode
from todoku.apiserver.keys import key_of
from todoku.apiserver.large import worked
from todoku.storage.store import Compare, Delete, Put

RELAXED = frozenset({"events", "leases.coordination.k8s.io"})


class Raced(Exception):
    """Somebody else wrote the object between reading and committing."""


async def put(
    engine: Engine,
    served: Served,
    obj: Object,
    previous: Cached | None,
    *,
    dry_run: bool = False,
    size_bytes: int = 0,
) -> Cached:
    """Store `obj` (in its served version, about so large) over `previous` (None: it must not exist).  Raises Raced."""
    meta = obj["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    value = await worked(size_bytes, encode, await _stored(engine, served, obj))
    revision = previous.revision if previous else 0
    if dry_run:
        return _shown(served, Cached(value, revision, namespace, name), obj)
    key = key_of(served.prefix, namespace, name)
    put = Put(key, value, relaxed=served.stored.name in RELAXED)
    started = perf_counter()
    committed = await engine.store.commit([Compare(key, revision)], [put])
    operation = "update" if revision else "create"
    engine.telemetry.store_seconds(operation, served.name).observe(perf_counter() - started)
    if not committed.succeeded:
        raise Raced
    return _shown(served, Cached(value, committed.revision, namespace, name), obj)


async def _stored(engine: Engine, served: Served, obj: Object) -> Object:
    """The object in the stored version."""
    if not served.needs_conversion:
        return served.store(obj)
    wanted = served.stored.api_version
    return (await conversion.convert(engine.components.converter, served, [obj], wanted))[0]


def _shown(served: Served, cached: Cached, obj: Object) -> Cached:
    if served.needs_conversion:
        conversion.remember(served, cached, obj)
    return cached


async def remove(engine: Engine, context: Context, final: Object, current: Cached) -> Cached:
    """Take `current` out of the store; the answer shows `final`.  Raises Raced."""
    served = context.served
    value = encode(await _stored(engine, served, final))
    if context.dry_run:
        gone = Cached(value, current.revision, current.namespace, current.name)
        return _shown(served, gone, final)
    key = key_of(served.prefix, current.namespace, current.name)
    started = perf_counter()
    committed = await engine.store.commit([Compare(key, current.revision)], [Delete(key)])
    engine.telemetry.store_seconds("delete", served.name).observe(perf_counter() - started)
    if not committed.succeeded:
        raise Raced
    if served.name == "services" and engine.components.services:
        await engine.components.services.on_delete(final)
    gone = Cached(value, committed.revision, current.namespace, current.name)
    return _shown(served, gone, final)
