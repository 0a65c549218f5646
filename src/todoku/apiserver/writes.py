"""create, update and what patches share: from a request's object to a commit.

No lock is held while admission waits: the commit compares the revision that the decision was made on, and a
decision that was overtaken is made again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from todoku.api import errors, validation
from todoku.api.errors import FieldError
from todoku.api.meta import Object, copy
from todoku.apiserver import admitting, bodies, conversion, deletes, metadata
from todoku.apiserver.admitting import Seen, Wish
from todoku.apiserver.catalog import Served
from todoku.apiserver.commits import Raced, put, remove
from todoku.apiserver.context import Context, Engine
from todoku.apiserver.encoding import Cached
from todoku.apiserver.large import worked

GENERATE_ATTEMPTS = 8
UPDATE_ATTEMPTS = 50


@dataclass(frozen=True, slots=True)
class Written:
    """The stored result; `created` asks for a 201."""

    cached: Cached
    created: bool = False


async def create(engine: Engine, context: Context) -> Written:
    """Create the object in the request's body.  Raises AlreadyExists, Invalid and what admission refuses with."""
    obj = await worked(context.size_bytes, bodies.read_object, context)
    if context.info.name and not obj["metadata"].get("name"):
        obj["metadata"]["name"] = context.info.name
    return await create_object(engine, context, obj)


async def create_object(
    engine: Engine, context: Context, obj: Object, *, track: bool = True
) -> Written:
    """Create `obj`, which is changed.  `track` False: its managedFields are made already (apply)."""
    served = context.served
    strategy = served.resource.strategy
    metadata.settle_namespace(served, obj, context.info.namespace)
    await worked(context.size_bytes, strategy.default, obj)
    metadata.before_create(served, obj, engine.clock())
    generated = not obj["metadata"].get("name") and bool(obj["metadata"].get("generateName"))
    for attempt in range(GENERATE_ATTEMPTS):
        try:
            return await _create_once(engine, context, copy(obj) if generated else obj, track)
        except errors.AlreadyExists:
            if not generated or attempt == GENERATE_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


async def _create_once(engine: Engine, context: Context, obj: Object, track: bool) -> Written:
    served = context.served

    async def store(final: Object) -> Cached:
        name = final["metadata"]["name"]
        await engine.cache.wait()
        if engine.collection(served).get(context.info.namespace, name):
            raise errors.AlreadyExists.of(served.name, name)
        try:
            size = context.size_bytes
            return await put(engine, served, final, None, dry_run=context.dry_run, size_bytes=size)
        except Raced:
            raise errors.AlreadyExists.of(served.name, name) from None

    strategy = served.resource.strategy

    def prepare(new: Object) -> None:
        metadata.generate_name(new["metadata"])  # what mutates sees generateName only
        strategy.prepare_create(new)
        if strategy.note_creator is not None:
            strategy.note_creator(new, context.user.info())

    wish = Wish("CREATE", obj, None, _problems(served), track=track, prepare=prepare)
    cached = await admitting.admitted(engine, context, wish, store)
    return Written(cached, created=True)


def _problems(served: Served) -> Callable[[Object, Object | None], list[FieldError]]:
    strategy = served.resource.strategy

    def problems(new: Object, old: Object | None) -> list[FieldError]:
        found = _metadata_problems(served, new, old)
        return found + strategy.validate(new, old)

    return problems


# Groups whose kinds are validated outside of core, as custom resources are.
_BEYOND_CORE = frozenset(
    {"admissionregistration.k8s.io", "apiextensions.k8s.io", "apiregistration.k8s.io"}
)


def _metadata_problems(served: Served, new: Object, old: Object | None) -> list[FieldError]:
    resource = served.resource
    problems = validation.object_meta(
        new["metadata"],
        namespaced=resource.namespaced,
        name_rule=resource.name_rule if old is None else validation.any_name,
        plain_finalizers=served.custom is not None or resource.group in _BEYOND_CORE,
    )
    if old is None:
        return problems
    return problems + validation.object_meta_update(new["metadata"], old["metadata"])


def status_problems(served: Served) -> Callable[[Object, Object | None], list[FieldError]]:
    def problems(new: Object, old: Object | None) -> list[FieldError]:
        assert old is not None
        found = _metadata_problems(served, new, old)
        return found + served.resource.strategy.validate_status(new, old)

    return problems


Make = Callable[[Object], Object]
"""From the stored object (shared: not to be changed) to the wanted one (fresh, which later steps change)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How one kind of write treats the object: `make` wants it, `prepare` protects what it may not touch."""

    make: Make
    prepare: Callable[[Object, Object], None]
    problems: Callable[[Object, Object | None], list[FieldError]]
    on_missing: Callable[[], Awaitable[Written]] | None = None
    defaults: bool = True
    admission: bool = True
    seen: Seen | None = None  # what admission sees, if the subresource has a kind of its own
    track: bool = True  # managedFields; apply makes its own
    # For patches, whose result is checked as if it had been sent.
    patched: bodies.Patched | None = None


def main_change(served: Served, make: Make) -> Change:
    strategy = served.resource.strategy
    return Change(make=make, prepare=strategy.prepare_update, problems=_problems(served))


def status_change(served: Served, make: Make) -> Change:
    strategy = served.resource.strategy
    return Change(make=make, prepare=strategy.prepare_status, problems=status_problems(served))


async def update(engine: Engine, context: Context) -> Written:
    """Replace the object or its status with the request's.  Raises Conflict, NotFound, Invalid."""
    obj = await worked(context.size_bytes, bodies.read_object, context)
    return await update_object(engine, context, obj)


async def update_object(engine: Engine, context: Context, obj: Object) -> Written:
    served, info = context.served, context.info
    metadata.settle_namespace(served, obj, info.namespace)
    check_name(obj["metadata"].get("name", ""), info.name)
    make = replacement(context, obj)
    if info.subresource == "status":
        return await modify(engine, context, status_change(served, make))
    change = main_change(served, make)
    if served.resource.strategy.allow_create_on_update:
        change = replace(change, on_missing=lambda: _create_missing(engine, context, obj))
    return await modify(engine, context, change)


def replacement(context: Context, obj: Object) -> Make:
    """Want `obj` as it is.  Kinds that may not be overwritten blindly insist on a resourceVersion of clients."""
    served = context.served
    blind = context.internal or served.resource.strategy.allow_unconditional_update

    def make(old: Object) -> Object:
        if not blind and not obj["metadata"].get("resourceVersion"):
            path = errors.Path("metadata") / "resourceVersion"
            problem = errors.invalid(path, 0, "must be specified for an update")
            metadata.refuse(served, obj, [problem])
        return obj

    return make


async def _create_missing(engine: Engine, context: Context, obj: Object) -> Written:
    if obj["metadata"].get("resourceVersion") or obj["metadata"].get("uid"):
        raise errors.NotFound.of(context.served.name, context.info.name)
    return await create_object(engine, context, obj)


async def modify(engine: Engine, context: Context, change: Change) -> Written:
    """Read, change and commit, again when overtaken unless the client named a resourceVersion."""
    served, info = context.served, context.info
    for _ in range(UPDATE_ATTEMPTS):
        await engine.cache.wait()
        current = engine.collection(served).get(info.namespace, info.name)
        if current is None:
            if change.on_missing is not None:
                return await change.on_missing()
            raise errors.NotFound.of(served.name, info.name)
        await conversion.prepare(engine.components.converter, served, [current])
        try:
            return Written(await _modify_once(engine, context, change, current))
        except Raced:
            continue
    raise errors.Conflict.of(served.name, info.name, metadata.MODIFIED)


async def _modify_once(engine: Engine, context: Context, change: Change, current: Cached) -> Cached:
    served = context.served
    old = served.view(current)
    size = context.size_bytes = max(context.size_bytes, len(current.value))
    new = await worked(size, _changed, context, change, old)
    # What was asked for changes neither with what is, nor when a pod gets its node.
    counts = context.info.subresource not in ("status", "binding")

    def prepare(fresh: Object) -> None:
        metadata.before_update(served, fresh, old, owned=not change.track)
        change.prepare(fresh, old)
        if counts:
            metadata.raise_generation(served, fresh, old)

    await worked(size, prepare, new)

    async def store(final: Object) -> Cached:
        if counts:
            metadata.raise_generation(served, final, old)
        if deletes.is_over(served, final):
            return await remove(engine, context, final, current)
        if metadata.same(final, old) and not _stale(served, final, current):
            return current
        return await put(engine, served, final, current, dry_run=context.dry_run, size_bytes=size)

    wish = Wish(
        "UPDATE",
        new,
        old,
        change.problems,
        track=change.track,
        admission=change.admission,
        seen=change.seen,
        prepare=None if change.seen else prepare,
    )
    return await admitting.admitted(engine, context, wish, store)


def _stale(served: Served, final: Object, current: Cached) -> bool:
    """Whether the unchanged object would be stored otherwise: in a new version, or with a default that came later.

    Clients write objects back as they are to move them to a new stored version.
    """
    if served.custom is None:
        return False
    stored = current.object()
    if served.needs_conversion:
        return bool(stored["apiVersion"] != served.stored.api_version)
    return not metadata.same(served.store(final), stored)


def _changed(context: Context, change: Change, old: Object) -> Object:
    """What the change wants, complete and of this object."""
    served = context.served
    new: Object = copy(change.make(old))  # patches share what they leave alone with `old`
    if change.patched is not None:
        new = bodies.checked_patch(context, new, change.patched)
    _check_identity(served, new, old, patched=change.patched is not None)
    if new["metadata"].get("resourceVersion"):  # a patch carries that of `old`, and is tried again
        _check_version(new, old, served)
    if change.defaults:
        served.resource.strategy.default(new)
    return new


def _check_identity(served: Served, new: Object, old: Object, *, patched: bool) -> None:
    """A change is of this object: kind, name, namespace and uid stay.  Raises BadRequest, Invalid, Conflict."""
    bodies.settle_kind(new, served.resource.gvk, custom=served.custom is not None)
    fresh, stored = new["metadata"], old["metadata"]
    check_name(fresh.get("name", ""), stored["name"])
    if fresh.get("namespace"):
        metadata.settle_namespace(served, new, stored.get("namespace", ""))
    if not patched:
        metadata.check_uid(served, new, old)
    elif fresh.get("uid"):
        problems = validation.immutable(
            fresh["uid"], stored.get("uid"), errors.Path("metadata.uid")
        )
        metadata.refuse(served, old, problems)


def check_name(name: str, wanted: str) -> None:
    """Raises BadRequest when the object's name is not the one that the URL says."""
    if not name:
        raise errors.BadRequest(
            f"the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        )
    if name != wanted:
        raise errors.BadRequest(
            f"the name of the object ({name}) does not match the name on the URL ({wanted})"
        )


def _check_version(new: Object, old: Object, served: Served) -> None:
    """Raises Conflict when the version that the client read is gone."""
    if new["metadata"]["resourceVersion"] != old["metadata"]["resourceVersion"]:
        raise errors.Conflict.of(served.name, old["metadata"]["name"], metadata.MODIFIED)
